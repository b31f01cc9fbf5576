# SPDX-License-Identifier: Apache-2.0
"""What an output's record says of the code and environment that made it."""

import hashlib
import json
import subprocess
import sys

import pytest

from infwidth import provenance
from infwidth.provenance import comparable, made_by


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A repository that holds the module, with one commit."""

    def git(*arguments):
        identity = ("-c", "user.name=n", "-c", "user.email=e", "-c", "commit.gpgsign=false")
        command = ["git", "-C", str(tmp_path), *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    module = tmp_path / "src/infwidth/provenance.py"
    module.parent.mkdir(parents=True)
    module.write_text("")
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs/run.lock").write_text("a==1\n")
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message", "one")
    monkeypatch.setattr(provenance, "_HERE", module)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "venv"))
    return tmp_path, git


def test_the_commit_and_whether_files_were_edited(checkout):
    folder, git = checkout
    record = made_by("code", ())
    assert (record["commit"], record["dirty"]) == (git("rev-parse", "HEAD"), False)
    (folder / "new.txt").write_text("not tracked")
    assert made_by("code", ())["dirty"] is False
    (folder / "envs/run.lock").write_text("a==2\n")
    assert made_by("code", ())["dirty"] is True


def test_a_package_below_somebody_elses_checkout_has_no_commit(checkout):
    _, git = checkout
    git("rm", "--cached", "--quiet", "src/infwidth/provenance.py")
    git("commit", "--quiet", "--message", "two")
    record = made_by("code", ())
    assert (record["commit"], record["dirty"]) == (None, None)


def test_the_lock_is_the_one_that_the_environment_was_built_from(checkout):
    folder, _ = checkout
    assert made_by("code", ())["lock"] is None
    (folder / "venv").mkdir()
    (folder / "venv/infwidth-lock.txt").write_text("run.lock 0123 3.11.7 /some/where\n")
    assert made_by("code", ())["lock"] == {
        "name": "run.lock",
        "sha256": hashlib.sha256(b"a==1\n").hexdigest(),
    }


def test_software_that_is_not_there_is_left_out():
    software = made_by("code", ("numpy", "no-such-package"))["software"]
    assert software.keys() == {"numpy"}


def test_the_record_is_plain_json_and_complete():
    record = made_by("0123", ("numpy",), "cpu")
    assert json.loads(json.dumps(record)) == record
    assert record.keys() == {
        *("code", "commit", "dirty", "lock", "software", "python", "machine", "device")
    }
    assert (record["code"], record["device"]) == ("0123", "cpu")


def test_what_can_be_compared_between_machines():
    record = {"inputs": {"a": "b"}, "made_by": made_by("0", ()), "sha256": {"f.pdf": "1"}}
    assert comparable(record) == {"inputs": {"a": "b"}}
