# SPDX-License-Identifier: Apache-2.0
"""What collected runs have in common, from their own records."""

import json

import pytest

from infwidth.config.errors import UserError
from infwidth.experiments.run_rows import run_origins
from infwidth.training.spec import key_of


def write(folder, seed, code, **others):
    """Writes a run's settings and returns its key."""
    record = {"code": code, "software": {"jax": "0.10.2"}, "platform": "cpu", "seed": seed} | others
    key = key_of(record)
    (folder / key).mkdir()
    (folder / key / "settings.json").write_text(json.dumps(record))
    return key


def test_every_code_is_told_once_and_every_run_counted_once(tmp_path):
    codes = ("two", "one", "two", "not asked")
    keys = [write(tmp_path, seed, code) for seed, code in enumerate(codes)]
    assert run_origins(tmp_path, [keys[2], *keys[:2], keys[0]]) == {
        "software": {"jax": "0.10.2"},
        "platform": "cpu",
        "count": 3,
        "code": ["one", "two"],
    }
    assert run_origins(tmp_path, []) == {}


@pytest.mark.parametrize("other", [{"software": {"jax": "0.9"}}, {"platform": "gpu"}], ids=str)
def test_runs_of_two_versions_or_platforms_are_no_collection(tmp_path, other):
    keys = [write(tmp_path, 1, "one"), write(tmp_path, 2, "one", **other)]
    [what] = other
    with pytest.raises(UserError, match=f"runs of one experiment have different {what} "):
        run_origins(tmp_path, keys)


def test_a_run_whose_record_is_gone_is_named(tmp_path):
    with pytest.raises(UserError, match=r"lost/settings\.json is damaged or gone"):
        run_origins(tmp_path, ["lost"])
    key = write(tmp_path, 1, "one")
    (tmp_path / key).rename(tmp_path / "another")
    with pytest.raises(UserError, match=r"another/settings\.json is damaged or gone"):
        run_origins(tmp_path, ["another"])
