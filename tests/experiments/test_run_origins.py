# SPDX-License-Identifier: Apache-2.0
"""What collected runs have in common, from their own records."""

import json

import pytest

from infwidth.config.errors import UserError
from infwidth.experiments.run_origins import run_origins


def write(folder, key, code):
    (folder / key).mkdir()
    record = {"code": code, "software": {"jax": "0.10.2"}, "platform": "cpu", "width": 4}
    (folder / key / "settings.json").write_text(json.dumps(record))


def test_every_code_is_told_once_and_every_run_counted_once(tmp_path):
    for key, code in (("a", "two"), ("b", "one"), ("c", "two"), ("not asked", "three")):
        write(tmp_path, key, code)
    assert run_origins(tmp_path, ["c", "a", "b", "a"]) == {
        "software": {"jax": "0.10.2"},
        "platform": "cpu",
        "count": 3,
        "code": ["one", "two"],
    }
    assert run_origins(tmp_path, []) == {}


def test_a_run_whose_record_is_gone_is_named(tmp_path):
    with pytest.raises(UserError, match=r"lost/settings\.json is missing"):
        run_origins(tmp_path, ["lost"])
