# SPDX-License-Identifier: Apache-2.0
"""Files appear whole or not at all, and a file that cannot be read says what makes it anew."""

import errno
import json
import math
import os
import subprocess

import pytest

from infwidth.atomic import read_json, replacing_file, write_atomically, write_json
from infwidth.config.errors import UserError


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def write_half(path, error):
    with replacing_file(path) as temporary:
        assert temporary.suffix == path.suffix
        temporary.write_text("half of the n")
        raise error


def test_json_keeps_order_and_letters_and_has_no_nan(tmp_path):
    write_json(tmp_path / "new" / "a.json", {"ω": [1.5, math.nan], "b": (math.inf, 2)})
    assert (tmp_path / "new" / "a.json").read_text(encoding="utf-8") == (
        '{\n  "ω": [\n    1.5,\n    null\n  ],\n  "b": [\n    null,\n    2\n  ]\n}\n'
    )
    assert names(tmp_path / "new") == ["a.json"]


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
    write_json(tmp_path / "a.json", 1)
    assert names(tmp_path) == sorted([*kept, "a.json"])


def test_a_folder_that_cannot_be_made_is_one_line_that_names_it(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file/below: cannot write .*run the same command again"):
        write_json(tmp_path / "file" / "below" / "a.json", {})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"selection": ', "is damaged: delete it and run `infwidth tune` again"),
        (b"\xff\xfe", "is damaged"),
        (b"{}", "is damaged (no 'selection' in it)"),
        (b"null", "is damaged (no 'selection' in it)"),
    ],
)
def test_a_damaged_file_is_one_line_that_says_what_writes_it(tmp_path, content, words):
    path = tmp_path / "ntk.json"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_json(path, "infwidth tune", ("selection",))
    assert str(caught.value).startswith(f"{path} {words}")
    assert "`infwidth tune`" in str(caught.value)


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path):
    with pytest.raises(UserError, match=r"ntk\.json is missing: run `infwidth tune` first"):
        read_json(tmp_path / "ntk.json", "infwidth tune")
    with pytest.raises(UserError, match=r"cannot be read \(Is a directory\)"):
        read_json(tmp_path, "infwidth tune")


def test_what_was_written_is_read(tmp_path):
    content = {"é": [1, {"b": None}]}
    write_json(tmp_path / "a.json", content)
    assert read_json(tmp_path / "a.json", "infwidth tune", ("é",)) == content
    assert json.loads((tmp_path / "a.json").read_bytes()) == content
