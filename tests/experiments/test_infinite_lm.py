# SPDX-License-Identifier: Apache-2.0
"""Infinite width against finite ones: which runs there are, and what is gathered of them."""

import math
from dataclasses import replace

import pytest
from pydantic import ValidationError

from infwidth.catalogue import schemas
from infwidth.config.errors import UserError
from infwidth.config.settings import Settings, TrainingSettings
from infwidth.experiments.infinite_lm.plan import parts, training_of
from infwidth.experiments.infinite_lm.settings import InfiniteLmSettings
from infwidth.experiments.runs import Bench, gather, run_part
from tests.experiments.fake_runs import FakeRuns

OWN = InfiniteLmSettings.model_validate(
    {
        "widths": [8, 4],
        "extrapolated_widths": [16, 4],
        "seeds": [10, 11],
        "tuning": {"seeds": [0], "learning_rates": [1.0, 3.0, 9.0], "max_extensions": 0},
    }
)
PARTS = {part.name: part for part in parts(Settings(infinite_lm=OWN))}


@pytest.fixture
def bench(tmp_path):
    settings = Settings()
    return Bench(FakeRuns(tmp_path), settings.model, settings.training, "digest", 258, "cpu")


def _reported(bench):
    return [spec for spec in bench.runs.specs if "test" in spec.splits]


@pytest.mark.parametrize("name", ["ntk", "adam_star"])
def test_finite_and_infinite_runs_differ_in_width_alone(bench, name):
    part = run_part(bench, PARTS[name])
    specs = _reported(bench)
    assert [(spec.width, spec.seed) for spec in specs] == [
        (width, seed) for width in (4, 8, 16, None) for seed in (10, 11)
    ]
    roles = {entry["width"]: entry["role"] for entry in part["entries"] if entry["seed"] == 10}
    assert roles == {4: "report", 8: "report", 16: "extra", None: "report"}
    assert len({replace(spec, width=4, seed=10) for spec in specs}) == 1
    assert {spec.learning_rate for spec in specs} == {3.0} == {part["selection"]["learning_rate"]}
    tuning = [spec for spec in bench.runs.specs if "test" not in spec.splits]
    assert {(spec.width, spec.seed) for spec in tuning} == {(256, 0)}
    assert {spec.training.steps for spec in bench.runs.specs} == {OWN.steps}


@pytest.mark.parametrize(("name", "widths"), [("unfrozen", [4, 8]), ("constant", [0])])
def test_other_variants_run_at_finite_widths(bench, name, widths):
    run_part(bench, PARTS[name])
    assert sorted({spec.width for spec in _reported(bench)}) == widths


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("constant", "every trunk rate diverged; lower infinite_lm.trunk_learning_rate"),
        ("unfrozen", "lower infinite_lm.tuning.learning_rates or infinite_lm.trunk_learning_rate"),
    ],
)
def test_where_every_rate_diverges_the_experiments_own_settings_are_named(bench, name, line):
    bench.runs.result = lambda spec: {"status": "diverged"}
    with pytest.raises(UserError, match=rf"^{name}: .*{line}$"):
        run_part(bench, PARTS[name])


def test_what_is_gathered_are_all_runs_and_the_curves_of_reported_ones(bench, tmp_path):
    made = [run_part(bench, PARTS[name]) for name in ("adam_star", "constant")]
    tables = gather(schemas("infinite_lm"), made, tmp_path)
    runs, curves = tables["runs"], tables["curves"]
    assert len(runs) == len(bench.runs.specs)
    infinite = runs[runs["width"] == math.inf]
    assert list(infinite["seed"]) == [10, 11]
    assert set(infinite["test_loss"]) == {2.5}
    tuning = runs["role"].isin(["tuning", "trunk"])
    assert runs.loc[tuning, "test_loss"].isna().all()
    assert runs.loc[runs["role"] == "extra", "width"].tolist() == [16.0, 16.0]
    reported = runs[runs["role"] == "report"]
    assert set(curves["key"]) == set(reported["key"])
    assert len(curves) == 2 * len(reported)


def test_a_run_whose_result_is_gone_is_named(bench, tmp_path):
    part = run_part(bench, PARTS["adam_star"])
    key = part["entries"][-1]["key"]
    (tmp_path / key / "result.json").unlink()
    with pytest.raises(UserError, match=rf"{key}/result.json is damaged or gone"):
        gather(schemas("infinite_lm"), [part], tmp_path)


def test_the_experiments_own_settings_stand_over_the_common_ones():
    training = training_of(TrainingSettings(b2=0.9, batch_size=77), OWN)
    assert (training.steps, training.batch_size, training.b2) == (OWN.steps, OWN.batch_size, 0.9)
    # What is put together must be settings that a user could have written.
    TrainingSettings.model_validate(training.model_dump())


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"infinite_variants": ["frozen"]}, "'frozen', which has no kernel form here; allowed are"),
        ({"infinite_variants": ["adam_star_normalized"]}, "allowed are ntk, adam_star"),
        ({"variants": ["ntk"]}, "'adam_star', which is not one of variants"),
        ({"variants": ["ntkk"]}, "unknown variant 'ntkk'"),
        ({"steps": 35}, r"steps must be a multiple of log_every \(10\)"),
        ({"warmup_steps": 300}, r"warmup_steps must be below steps \(300\)"),
        ({"seeds": [0]}, "seed 0 is in seeds and in tuning.seeds"),
        ({"widths": [64, 64]}, "64 is given twice"),
    ],
)
def test_settings_that_do_not_fit_are_refused(values, line):
    with pytest.raises(ValidationError, match=line):
        InfiniteLmSettings.model_validate(values)
