# SPDX-License-Identifier: Apache-2.0
"""A table's files appear whole or stay as they were."""

import errno
import hashlib
from pathlib import Path

import pandas as pd
import pytest

from infwidth.config.errors import UserError
from infwidth.drawing.table import Table, write_table
from infwidth.stored import load_json


def table(cell):
    frame = pd.DataFrame({"loss": [cell]})
    return Table("table9", f"A caption, {cell}.", frame, frame.astype(str))


def contents(folder):
    return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}


def test_the_record_holds_the_sha256_of_what_was_written(tmp_path):
    *shown, record = write_table(table(1), tmp_path / "table9", {"commit": "c"})
    assert [path.name for path in shown] == ["table9.csv", "table9.md", "table9.tex"]
    assert load_json(record) == {
        "table": "table9",
        "sha256": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in shown},
        "commit": "c",
    }


def test_a_full_disk_leaves_no_half_written_table(tmp_path, monkeypatch):
    written = write_table(table(1), tmp_path / "table9", {"commit": "c"})
    before = contents(tmp_path)
    assert sorted(before) == sorted(path.name for path in written)
    write = Path.write_text

    def fills(self, text, **options):
        write(self, text[: len(text) // 2], **options)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", fills)
    with pytest.raises(UserError, match="No space left on device"):
        write_table(table(2), tmp_path / "table9", {"commit": "c"})
    assert contents(tmp_path) == before
