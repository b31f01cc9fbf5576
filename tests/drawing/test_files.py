# SPDX-License-Identifier: Apache-2.0
"""The files of a figure or a table appear together and whole, or stay as they were."""

import errno
import hashlib
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure

from infwidth.config.errors import UserError
from infwidth.drawing.make import save_figure
from infwidth.drawing.table import Table, write_table
from infwidth.stored import load_json


def a_figure(folder, size):
    return save_figure(Figure(figsize=(size, 1)), folder / "one", {"commit": "c"})


def a_table(folder, cell):
    frame = pd.DataFrame({"loss": [cell]})
    table = Table("one", f"A caption, {cell}.", frame, frame.astype(str))
    return write_table(table, folder / "one", {"commit": "c"})


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("write", "kind", "endings"),
    [(a_figure, "figure", ("pdf", "png")), (a_table, "table", ("csv", "md", "tex"))],
)
def test_the_record_holds_the_sha256_of_what_was_written(tmp_path, write, kind, endings):
    *written, record = write(tmp_path, 1)
    assert [path.name for path in written] == [f"one.{ending}" for ending in endings]
    assert load_json(record) == {
        kind: "one",
        "sha256": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in written},
        "commit": "c",
    }


def test_a_disk_that_fills_midway_leaves_the_old_figure_and_no_other_file(tmp_path, monkeypatch):
    a_figure(tmp_path, 1)
    before = contents(tmp_path)
    save = Figure.savefig

    def fills(self, path, **options):
        save(self, path, **options)
        if path.suffix == ".png":
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", fills)
    with pytest.raises(UserError, match="No space left on device"):
        a_figure(tmp_path, 2)
    assert contents(tmp_path) == before


def test_a_full_disk_leaves_no_half_written_table(tmp_path, monkeypatch):
    a_table(tmp_path, 1)
    before = contents(tmp_path)
    write = Path.write_text

    def fills(self, text, **options):
        write(self, text[: len(text) // 2], **options)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", fills)
    with pytest.raises(UserError, match="No space left on device"):
        a_table(tmp_path, 2)
    assert contents(tmp_path) == before
