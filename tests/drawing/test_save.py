# SPDX-License-Identifier: Apache-2.0
"""A figure's files appear together and whole, or stay as they were."""

import errno
import hashlib

import pytest
from matplotlib.figure import Figure

from infwidth.config.errors import UserError
from infwidth.drawing.make import save_figure
from infwidth.stored import load_json


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_same_figure_same_bytes(tmp_path):
    for folder in ("one", "two"):
        save_figure(Figure(), tmp_path / folder / "fig", {"commit": "c"})
    assert contents(tmp_path / "one").keys() == {"fig.pdf", "fig.png", "fig.json"}
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_the_record_holds_the_sha256_of_both_files(tmp_path):
    save_figure(Figure(), tmp_path / "fig", {"commit": "c"})
    record = load_json(tmp_path / "fig.json")
    drawn = {name: (tmp_path / name).read_bytes() for name in ("fig.pdf", "fig.png")}
    assert record == {
        "figure": "fig",
        "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in drawn.items()},
        "commit": "c",
    }


def test_a_disk_that_fills_midway_leaves_the_old_files_and_no_other(tmp_path, monkeypatch):
    save_figure(Figure(), tmp_path / "fig", {"commit": "old"})
    before = contents(tmp_path)
    save = Figure.savefig

    def fills(self, path, **options):
        save(self, path, **options)
        if path.suffix == ".png":
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", fills)
    with pytest.raises(UserError, match="No space left on device"):
        save_figure(Figure(figsize=(1, 1)), tmp_path / "fig", {"commit": "new"})
    assert contents(tmp_path) == before
