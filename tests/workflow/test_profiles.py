# SPDX-License-Identifier: Apache-2.0
"""The profiles of clusters keep what the default one says, and know every rule that trains."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
REMOTE = ("slurm", "kubernetes", "googlebatch")


def profile(name):
    return yaml.safe_load((ROOT / f"profiles/{name}/config.yaml").read_text())


@pytest.mark.parametrize("name", REMOTE)
def test_a_profile_repeats_the_default_one_whose_place_it_takes(name):
    assert profile("default").items() <= profile(name).items()


@pytest.mark.parametrize("name", ["slurm", "kubernetes"])
def test_a_profile_asks_for_a_gpu_where_a_rule_would_take_one(name):
    text = "\n".join(file.read_text() for file in (ROOT / "workflow/rules").glob("*.smk"))
    rules = re.split(r"^rule (\w+):\n", text, flags=re.MULTILINE)
    training = {n for n, body in zip(rules[1::2], rules[2::2], strict=True) if "gpu=" in body}
    assert len(training) > 10
    asked = profile(name)["set-resources"]
    assert {rule for rule, resources in asked.items() if resources["gpu"] == 1} == training
