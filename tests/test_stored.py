# SPDX-License-Identifier: Apache-2.0
"""Files appear whole or not at all; damage is found when one is read, named and out of the way."""

import errno
import json
import math
import os
import subprocess

import pandas as pd
import pytest

from infwidth import stored
from infwidth.atomic import replacing_file, write_atomically
from infwidth.config.errors import UserError
from infwidth.layout import PUBLISHED
from infwidth.stored import OWN, Damaged, read_json, write_json, write_table

CONTENT = {"ω": [1.5, {"b": None}], "own": {OWN: "nested"}}
TABLE = pd.DataFrame({"x": [0.1, math.nan, math.inf], "name": ["a", "b", "ω"]})


def test_json_keeps_order_and_letters_and_has_no_nan(tmp_path):
    write_json(tmp_path / "new" / "a.json", {"ω": [1.5, math.nan], "b": (math.inf, 2)})
    written = json.loads((tmp_path / "new" / "a.json").read_text(encoding="utf-8"))
    assert len(written.pop(OWN)) == 64
    assert list(written.items()) == [("ω", [1.5, None]), ("b", [None, 2])]
    assert "ω" in (tmp_path / "new" / "a.json").read_text(encoding="utf-8")


def test_what_was_written_is_read(tmp_path):
    write_json(tmp_path / "a.json", CONTENT)
    assert read_json(tmp_path / "a.json", "infwidth tune", ("ω",)) == CONTENT
    write_table(tmp_path / "a.parquet", TABLE)
    pd.testing.assert_frame_equal(stored.read_table(tmp_path / "a.parquet", ""), TABLE)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "a.parquet"), TABLE)


def test_a_file_without_a_digest_is_taken_as_it_is(tmp_path):
    (tmp_path / "a.json").write_text('["by hand"]')
    assert read_json(tmp_path / "a.json", "infwidth tune") == ["by hand"]
    TABLE.to_parquet(tmp_path / "a.parquet")
    pd.testing.assert_frame_equal(stored.read_table(tmp_path / "a.parquet", ""), TABLE)


@pytest.mark.parametrize("indent", [None, 4])
def test_json_that_was_written_anew_with_its_digest_is_damaged(tmp_path, indent):
    path = tmp_path / "a.json"
    write_json(path, CONTENT)
    path.write_text(json.dumps(json.loads(path.read_text()), indent=indent))
    with pytest.raises(Damaged):
        stored.load_json(path)


@pytest.mark.parametrize("text", ["[]", '{"sha256": null}'])
def test_a_record_that_is_none_is_damaged(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"a\.json is damaged \(it is no record\)"):
        stored.check(path, "infwidth figure")


def test_no_bit_of_json_may_flip(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, CONTENT)
    whole = path.read_bytes()
    for bit in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        with pytest.raises(Damaged):
            stored.load_json(path)
    for size in range(len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(Damaged):
            stored.load_json(path)


def test_no_bit_of_a_table_that_counts_may_flip(tmp_path):
    path = tmp_path / "a.parquet"
    write_table(path, TABLE)
    whole = path.read_bytes()
    found = 0
    for bit in range(0, 8 * len(whole), 3):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        try:
            # Without its name the digest counts for nothing, and the table is what it was.
            pd.testing.assert_frame_equal(stored.load_table(path), TABLE)
        except Damaged:
            found += 1
    assert 8 * len(whole) / 3 - found <= 8 * len(OWN) / 3 + 1
    for size in range(0, len(whole), 7):
        path.write_bytes(whole[:size])
        with pytest.raises(Damaged):
            stored.load_table(path)


def test_a_file_of_something_else_is_damaged(tmp_path):
    write_table(tmp_path / "a.parquet", TABLE, of="one")
    with pytest.raises(Damaged):
        stored.load_table(tmp_path / "a.parquet", of="another")
    with pytest.raises(Damaged):
        stored.parse_json(stored.dump_json({"step": 1}, of="one"), of="another")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b'{"selection": ', "not readable as JSON"),
        (b"\xff\xfe", "not readable as JSON"),
        (b"[" * 10_000, "not readable as JSON"),
        (b"{}", "no 'selection' in it"),
        (b"null", "no 'selection' in it"),
    ],
)
def test_a_damaged_file_is_set_aside_and_one_line_says_what_writes_it(tmp_path, content, why):
    path = tmp_path / "ntk.json"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_json(path, "infwidth tune", ("selection",))
    words = f"{path} is damaged ({why}), set aside as ntk.json.damaged: run `infwidth tune`"
    assert str(caught.value).startswith(words)
    assert not path.exists()
    assert (tmp_path / "ntk.json.damaged").read_bytes() == content


def test_a_damaged_table_is_set_aside(tmp_path):
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1")
    with pytest.raises(UserError, match=r"a\.parquet is damaged \(not a readable Parquet file\)"):
        stored.read_table(path, "infwidth collect")
    assert [each.name for each in tmp_path.iterdir()] == ["a.parquet.damaged"]


def test_what_is_published_stays_and_is_to_be_restored(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = PUBLISHED / "claims.json"
    path.parent.mkdir(parents=True)
    path.write_text("{")
    with pytest.raises(UserError, match="restore it, as by `git checkout`"):
        read_json(path, "infwidth claims")
    assert path.exists()


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path):
    with pytest.raises(UserError, match=r"ntk\.json is missing: run `infwidth tune` first"):
        read_json(tmp_path / "ntk.json", "infwidth tune")
    with pytest.raises(UserError, match=r"cannot be read \(Is a directory\)"):
        read_json(tmp_path, "infwidth tune")


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
