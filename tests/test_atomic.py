# SPDX-License-Identifier: Apache-2.0
"""Files appear whole or not at all."""

import errno
import os
import subprocess

import pytest

from infwidth.atomic import replacing_file, write_atomically
from infwidth.config.errors import UserError


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def write_half(path, error):
    with replacing_file(path) as temporary:
        assert temporary.suffix == path.suffix
        temporary.write_text("half of the n")
        raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left")])
def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path, error):
    path = tmp_path / "a.pdf"
    write_atomically(path, "old")
    expected = UserError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected):
        write_half(path, error)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.pdf"]


def test_what_a_killed_writer_left_is_removed_and_what_others_write_is_not(tmp_path):
    gone = subprocess.Popen(["true"])
    gone.wait()
    kept = [f".a.{os.getppid()}.json", f".b.{gone.pid}.json", ".a.old.json", f"a.{gone.pid}.json"]
    for name in (*kept, f".a.{gone.pid}.json"):
        (tmp_path / name).touch()
    write_atomically(tmp_path / "a.json", "1")
    assert names(tmp_path) == sorted([*kept, "a.json"])


def test_a_folder_that_cannot_be_made_is_one_line_that_names_it(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file/below: cannot write .*run the same command again"):
        write_atomically(tmp_path / "file" / "below" / "a.json", "{}")
