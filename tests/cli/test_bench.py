# SPDX-License-Identifier: Apache-2.0
"""Commands that train language models: on how many devices each sets its process up."""

import json
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace

import pytest

from infwidth.cli.study import set_up_benches
from infwidth.config.errors import UserError
from infwidth.config.settings import ModelSettings, TrainingSettings
from infwidth.data.tokens import TokenDataset
from infwidth.layout import Layout
from infwidth.training import devices


@pytest.mark.parametrize(
    ("words", "count"),
    [
        (["tune", "--part", "ntk-4"], 2),
        (["train", "--part", "ntk-4"], 2),
        (["measure", "width_limit", "--part", "ntk-unfrozen"], 2),
        (["measure", "optimizer_ablation", "--part", "base-ntk-256"], 2),
        # A model of infinite width keeps all in one place.
        (["measure", "infinite_lm", "--part", "ntk"], 1),
    ],
)
def test_a_process_is_set_up_for_the_devices_of_its_runs(project, monkeypatch, words, count):
    def stop(compile_cache, devices):
        raise UserError(f"{devices} devices, compiled programs in {compile_cache}")

    monkeypatch.setattr(devices, "set_up", stop)
    part = {"condition": "lm_width", "variant": "ntk", "width": 4, "selection": {}}
    project.write("results/lm_width/tuning/ntk-4.json", json.dumps({"parts": [part]}))
    line = project.mistake(*words, "--config", "training={mesh: {data: 2}}")
    assert line == f"{count} devices, compiled programs in results/compile_cache"


@pytest.mark.parametrize(
    ("given", "tokens", "opened"),
    [
        (None, None, "results/mine/data/tokens"),
        (None, Path("others"), "others"),
        (Path("given"), Path("others"), "given"),
    ],
)
def test_every_bench_of_a_process_has_its_settings_and_tokens(monkeypatch, given, tokens, opened):
    calls = []
    monkeypatch.setattr(devices, "set_up", lambda *with_: calls.append(with_) or "cpu")
    monkeypatch.setattr(
        TokenDataset,
        "open",
        lambda path: SimpleNamespace(digest=f"digest of {path}", vocabulary_size=258),
    )
    args = Namespace(runs=Path("somewhere/runs"), tokens=given, retrain=False)
    model, training = ModelSettings(layers=1), TrainingSettings(steps=50, warmup_steps=1)
    job = SimpleNamespace(parts=[SimpleNamespace(model=model, training=training)])
    benches = set_up_benches(args, Layout("mine"), job, tokens)
    for name in ("base-ntk", "short-ntk"):
        with benches(name) as bench:
            assert (bench.model, bench.training, bench.platform) == (model, training, "cpu")
            assert (bench.data, bench.vocabulary_size) == (f"digest of {opened}", 258)
    assert calls == [(Path("somewhere/compile_cache"), 1)]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (
            ("gather", "depth"),
            "results/depth/parts/trunk-constant-0.json: trunk-constant-0 is not there: run "
            "`infwidth measure depth --part trunk-constant-0` first",
        ),
        (
            ("train", "--part", "ntk-4"),
            "results/lm_width/tuning/ntk-4.json: ntk-4 is not there: run `infwidth tune --part "
            "ntk-4` first",
        ),
    ],
)
def test_a_part_that_is_not_there_names_its_file(project, words, named):
    assert project.mistake(*words).partition(", with")[0] == named
