# SPDX-License-Identifier: Apache-2.0
"""`make bundle`: the same bytes each time; unpacked, it knows its commit and redraws offline."""

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pandas as pd
import pytest

from infwidth import __version__
from infwidth.artifact.bundle import pack, read_tree
from infwidth.cli.main import main
from infwidth.config.errors import UserError
from infwidth.provenance import commit, edited

ROOT = Path(__file__).parents[1]
NAME = f"infwidth-{__version__}"
PARTS = ("config", "src", "results/published", "pyproject.toml")

# Redraws in a process that cannot reach any network.
OFFLINE = """
import socket
import sys


def refuse(*_, **__):
    raise AssertionError("this asks for the network")


socket.socket.connect = socket.getaddrinfo = refuse
from infwidth.cli.main import main

main(sys.argv[1:])
"""


@pytest.fixture(autouse=True)
def own_git(monkeypatch):
    """A git without the user's settings, and with an author."""
    for name in ("GLOBAL", "SYSTEM"):
        monkeypatch.setenv(f"GIT_CONFIG_{name}", os.devnull)
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "test")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "test@example.org")
        monkeypatch.setenv(f"GIT_{role}_DATE", "2001-09-09T01:46:40+0000")


def git(folder, *words):
    done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def committed(folder):
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "all")
    return folder


@pytest.fixture
def small(tmp_path):
    """A checkout of three files, one of them in a folder and executable."""
    folder = tmp_path / "small"
    (folder / "b").mkdir(parents=True)
    (folder / "b/run").write_text("#!/bin/sh\n")
    (folder / "b/run").chmod(0o755)
    (folder / "a").write_text("first\n")
    (folder / ".gitignore").write_text("dist/\n")
    return committed(folder)


def packed(folder, out, dirty=False):
    digest = pack(folder, read_tree(folder, dirty), "small", out)
    assert digest == hashlib.sha256(out.read_bytes()).hexdigest()
    return digest


def unpacked(archive, folder):
    with tarfile.open(archive) as file:
        # Python 3.11 has no filters before 3.11.4.
        if hasattr(tarfile, "data_filter"):
            file.extraction_filter = tarfile.data_filter
        file.extractall(folder)
    return folder


def test_two_builds_are_the_same_bytes(small, tmp_path):
    first = packed(small, tmp_path / "1.tar.gz")
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", str(small), str(clone))
    for path in clone.rglob("*"):
        if path.is_file() and ".git" not in path.parts:
            os.utime(path, (1, 1))
            path.chmod(path.stat().st_mode & 0o700)
    assert packed(clone, tmp_path / "elsewhere/2.tar.gz") == first


def test_what_the_archive_holds(small, tmp_path):
    packed(small, tmp_path / "small.tar.gz")
    with tarfile.open(tmp_path / "small.tar.gz") as archive:
        entries = archive.getmembers()
    names = [entry.name for entry in entries]
    assert names == [
        f"small/{name}" for name in (".gitignore", "COMMIT", "SHA256SUMS", "a", "b/run")
    ]
    assert [entry.mode for entry in entries] == [0o644, 0o644, 0o644, 0o644, 0o755]
    assert {(e.mtime, e.uid, e.gid, e.uname, e.gname) for e in entries} == {
        (1_000_000_000, 0, 0, "", "")
    }
    folder = unpacked(tmp_path / "small.tar.gz", tmp_path / "out") / "small"
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    sums = {line[66:]: line[:64] for line in lines}
    assert sums.keys() == {".gitignore", "COMMIT", "a", "b/run"}
    for name, digest in sums.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest


def test_a_bundle_knows_its_commit_and_whether_it_was_edited(small, tmp_path):
    head = git(small, "rev-parse", "HEAD")
    assert commit(small) == head
    packed(small, tmp_path / "small.tar.gz")
    # Inside another checkout, whose commit is not the bundle's.
    folder = unpacked(tmp_path / "small.tar.gz", small / "dist") / "small"
    assert (commit(folder), edited(folder)) == (head, [])
    (folder / "a").write_text("other\n")
    (folder / "b/run").unlink()
    assert (commit(folder), edited(folder)) == (f"{head}-dirty", ["a", "b/run"])


def test_without_git_and_bundle_the_commit_is_unknown_and_a_line_says_so(tmp_path, caplog):
    assert commit(tmp_path) == "unknown"
    (line,) = caplog.messages
    assert line.startswith(
        f"the commit of {tmp_path} is unknown, and no record will name it: fatal"
    )


def test_where_git_refuses_a_folder_its_own_advice_is_told(small, monkeypatch, caplog):
    # Git's own tests make it take a folder for another user's by this.
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    assert commit(small) == "unknown"
    assert commit(small) == "unknown"
    (line,) = caplog.messages
    advice = f"git config --global --add safe.directory {small}"
    assert line.endswith(advice)
    with pytest.raises(UserError, match=f"not a git checkout with a commit.*{advice}"):
        read_tree(small, dirty=False)


def test_without_git_the_line_says_that(small, monkeypatch, caplog):
    monkeypatch.setenv("PATH", "")
    assert commit(small) == "unknown"
    assert "No such file or directory: 'git'" in caplog.text


@pytest.mark.parametrize("name", ["a", "new"])
def test_what_is_not_committed_is_refused_unless_asked_for(small, tmp_path, name):
    (small / name).write_text("edited\n")
    with pytest.raises(UserError, match=rf"not committed: .. {name}; commit it"):
        read_tree(small, dirty=False)
    packed(small, tmp_path / "small.tar.gz", dirty=True)
    folder = unpacked(tmp_path / "small.tar.gz", tmp_path / "out") / "small"
    assert (folder / "a").read_text() == ("edited\n" if name == "a" else "first\n")
    assert not (folder / "new").exists()
    assert commit(folder).endswith("-dirty") == (name == "a")


def test_only_the_root_of_a_checkout_is_packed(small, tmp_path):
    with pytest.raises(UserError, match="not a git checkout"):
        read_tree(tmp_path, dirty=False)
    with pytest.raises(UserError, match="run this at its root"):
        read_tree(small / "b", dirty=False)


def test_a_link_is_refused(small):
    (small / "link").symlink_to("a")
    git(small, "add", "--all")
    git(small, "commit", "--quiet", "--message", "link")
    with pytest.raises(UserError, match="link: a link or a submodule"):
        read_tree(small, dirty=False)


def test_the_unpacked_bundle_redraws_offline(tmp_path, monkeypatch, capsys):
    """A figure and a table, in a fresh folder; .ci/run redraws everything so."""
    project = tmp_path / "project"
    for part in PARTS:
        (project / part).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / part).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
            shutil.copytree(ROOT / part, project / part, ignore=ignored)
        else:
            shutil.copy(ROOT / part, project / part)
    monkeypatch.chdir(committed(project))
    with pytest.raises(SystemExit) as ended:
        main(["bundle", "--out", str(tmp_path / "dist")])
    assert not ended.value.code
    head, output = git(project, "rev-parse", "HEAD"), capsys.readouterr().out
    archive = tmp_path / f"dist/{NAME}.tar.gz"
    assert f"files of commit {head}\n" in output
    assert hashlib.sha256(archive.read_bytes()).hexdigest() in output
    folder = unpacked(archive, tmp_path / "fresh") / NAME
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE, "redraw", "fig11_memory", "table7_convergence"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": "src"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    drawn = folder / "results/redrawn/tables/table7_convergence.csv"
    published = folder / "results/published/tables/table7_convergence.csv"
    # Linear algebra on another processor may round the last digit otherwise.
    pd.testing.assert_frame_equal(pd.read_csv(drawn), pd.read_csv(published), rtol=1e-9)
    assert commit(folder) == head
