# SPDX-License-Identifier: Apache-2.0
"""An archive of runs: where it is imported, what it holds is not trained again."""

import io
import lzma
import os
import shutil
import tarfile

import pytest

from infwidth.config.errors import UserError
from infwidth.training.archive import Imported, export_runs, import_runs
from infwidth.training.records import read_record
from infwidth.training.runs import if_free
from tests.training.conftest import PLACE, make_bench

DAMAGED = r"runs\.tar\.xz is damaged, or no archive of runs"


@pytest.fixture(scope="module")
def trained(tokens, tmp_path_factory):
    """A folder of two finished runs."""
    bench = make_bench(tokens, tmp_path_factory.mktemp("trained"))
    for seed in (1, 2):
        bench.run(PLACE._replace(seed=seed))
    return bench.folder


@pytest.fixture
def archive(trained, tmp_path):
    """Of the two, a copy of which lies in `runs`."""
    shutil.copytree(trained, tmp_path / "runs")
    export_runs(tmp_path / "runs", tmp_path / "runs.tar.xz")
    return tmp_path / "runs.tar.xz"


def contents(folder):
    """Of every file of a record, by its path."""
    paths = [path for path in folder.glob("*/*") if path.suffix in (".json", ".jsonl")]
    return {path.relative_to(folder): path.read_bytes() for path in paths}


def test_who_imports_runs_trains_only_what_is_new(bench, archive, tmp_path):
    rows = []
    assert import_runs(archive, tmp_path / "fresh") == Imported(new=2, known=0, busy=0)
    assert contents(tmp_path / "fresh") == contents(tmp_path / "runs")
    there = bench(report=lambda spec, _: rows.append(spec.seed), folder="fresh")
    for seed in (1, 2, 3):
        there.run(PLACE._replace(seed=seed))
    assert set(rows) == {3}


def test_the_same_runs_are_the_same_bytes(archive, tmp_path):
    shutil.copytree(tmp_path / "runs", tmp_path / "copy")
    for path in (tmp_path / "copy").rglob("*"):
        os.utime(path, (1, 1))
    (tmp_path / "copy" / "unfinished").mkdir()
    assert export_runs(tmp_path / "copy", tmp_path / "again.tar.xz") == 2
    assert (tmp_path / "again.tar.xz").read_bytes() == archive.read_bytes()


def test_what_is_finished_or_in_training_is_left_alone(bench, archive, tmp_path):
    key = bench().spec(PLACE._replace(seed=1)).key
    other = tmp_path / "other"
    shutil.copytree(tmp_path / "runs" / key, other / key)
    before = (other / key / "result.json").stat().st_mtime_ns
    assert import_runs(archive, other) == Imported(new=1, known=1, busy=0)
    assert (other / key / "result.json").stat().st_mtime_ns == before
    (other / key / "result.json").unlink()
    with if_free(other / key):
        assert import_runs(archive, other) == Imported(new=0, known=1, busy=1)
    assert not (other / key / "result.json").exists()
    assert import_runs(archive, other) == Imported(new=1, known=1, busy=0)


def test_a_damaged_archive_is_one_line_and_nothing_is_imported(archive, tmp_path):
    content = archive.read_bytes()
    for place in range(0, len(content), 199):
        flipped = bytes([content[place] ^ 1 << place % 8])
        for damaged in (content[:place] + flipped + content[place + 1 :], content[:place]):
            archive.write_bytes(damaged)
            with pytest.raises(UserError, match=DAMAGED):
                import_runs(archive, tmp_path / "fresh")
    archive.unlink()
    with pytest.raises(UserError, match=r"runs\.tar\.xz: cannot be read \(No such file"):
        import_runs(archive, tmp_path / "fresh")
    assert not (tmp_path / "fresh").exists()


@pytest.mark.parametrize("edited", ["index.json", None])
def test_a_record_that_was_edited_is_refused(archive, tmp_path, edited):
    """Though the compression's own checksums are right."""
    content = bytearray(lzma.decompress(archive.read_bytes()))
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        member = tar.getmember(edited) if edited else tar.getmembers()[-1]
    content[member.offset_data + content[member.offset_data :].index(b'":') - 1] ^= 1
    archive.write_bytes(lzma.compress(content))
    with pytest.raises(UserError, match="its index is of other files"):
        import_runs(archive, tmp_path / "fresh")


def test_a_run_under_the_key_of_another_is_refused(archive, tmp_path, monkeypatch):
    first, second = sorted((tmp_path / "runs").iterdir())
    record = read_record(first)
    with monkeypatch.context() as patch:
        patch.setattr("infwidth.training.archive.read_record", lambda _: record)
        export_runs(tmp_path / "runs", archive)
    with pytest.raises(UserError, match=f"{second.name} is another run's key"):
        import_runs(archive, tmp_path / "fresh")


def test_a_run_whose_record_is_damaged_is_not_exported(archive, tmp_path):
    first, second = sorted((tmp_path / "runs").iterdir())
    shutil.copy(first / "metrics.jsonl", second / "metrics.jsonl")
    with pytest.raises(UserError, match=f"{second.name}: the record of this run is damaged"):
        export_runs(tmp_path / "runs", archive)


def test_only_finished_runs_are_exported(bench, archive, tmp_path):
    key = bench().spec(PLACE._replace(seed=1)).key
    (tmp_path / "runs" / key / "result.json").unlink()
    assert export_runs(tmp_path / "runs", archive) == 1
    with pytest.raises(UserError, match=f"{key}: no finished run"):
        export_runs(tmp_path / "runs", archive, [key])
    with pytest.raises(UserError, match="nowhere: no finished run to export"):
        export_runs(tmp_path / "nowhere", archive)
