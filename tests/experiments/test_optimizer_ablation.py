# SPDX-License-Identifier: Apache-2.0
"""The ablation: which parts there are, what each is run with, and what is gathered."""

from functools import reduce

import pytest
from pydantic import ValidationError

from infwidth.config.errors import UserError
from infwidth.config.settings import ModelSettings, Settings, TrainingSettings
from infwidth.experiments.optimizer_ablation.measured import TABLES
from infwidth.experiments.optimizer_ablation.plan import parts
from infwidth.experiments.optimizer_ablation.settings import (
    BASE,
    CONTEXTS,
    OptimizerAblationSettings,
)
from infwidth.experiments.runs import Bench, gather, report_part, tune_part
from infwidth.experiments.study import jobs_of
from tests.experiments.fake_runs import FakeRuns

OWN = OptimizerAblationSettings.model_validate(
    {
        "variants": ["ntk", "adam_star", "constant"],
        "width": 8,
        "standard_widths": [4],
        "seeds": [10, 11],
        "tuning": {"seeds": [0], "learning_rates": [1.0, 3.0, 9.0], "max_extensions": 0},
    }
)


RATES = "optimizer_ablation.tuning.learning_rates"
SGD_RATE = "optimizer_ablation.sgd_trunk_learning_rate"
_AS_IN_FIG1 = ("other_vocabulary", "mean_field", "own_rates", "confirmation")


@pytest.fixture
def bench(tmp_path):
    return Bench(FakeRuns(tmp_path), ModelSettings(), TrainingSettings(), "digest", 258, "cpu")


def reported(bench):
    return [spec for spec in bench.runs.specs if "test" in spec.splits]


def settings_of(own=OWN, **more):
    return Settings(**more).model_copy(update={"optimizer_ablation": own})


def run(bench, name, own=OWN):
    """Tunes and reports a part."""
    (part,) = (part for part in parts(settings_of(own)) if part.name == name)
    return report_part(bench, part, tune_part(bench, part))


def test_every_part_is_in_one_job_and_a_job_reads_one_vocabulary():
    for size in (1, 4, 100):
        settings = settings_of(OWN.model_copy(update={"parts_per_job": size}))
        jobs = [job.parts for job in jobs_of("optimizer_ablation", settings).values()]
        names = [part.name for job in jobs for part in job]
        assert sorted(names) == sorted(part.name for part in parts(settings))
        assert all(len({part.vocabulary for part in job}) == 1 for job in jobs)
        assert max(map(len, jobs)) <= size
        assert {part.condition for job in jobs for part in job} == {BASE, *CONTEXTS}


def test_a_context_changes_what_it_says():
    changed = {
        part.condition
        for part in parts(settings_of())
        if (part.model, part.training) != (ModelSettings(), TrainingSettings())
    }
    assert changed == CONTEXTS.keys() - set(_AS_IN_FIG1)
    others = {p.condition for p in parts(settings_of()) if p.vocabulary != "bytes"}
    assert others == {"other_vocabulary"}


@pytest.mark.parametrize(
    ("training", "words"),
    [
        (
            {"batch_size": 16, "mesh": {"data": 8}},
            "'small_batch' batch_size (4) must be a multiple of mesh.data × mesh.fsdp (8)",
        ),
        (
            {"steps": 200, "warmup_steps": 199, "checkpoint_every": 100},
            "'short' warmup_steps must be below steps (50)",
        ),
    ],
)
def test_what_a_context_cannot_do_is_refused_where_it_is_asked_for_alone(training, words):
    with pytest.raises(UserError) as caught:
        parts(settings_of(training=training))
    assert f"optimizer_ablation: in its condition {words}; mend that" in str(caught.value)
    few = OWN.model_copy(update={"contexts": ["mean_field"]})
    assert parts(settings_of(few, training=training))


def test_an_arm_in_the_setting_of_fig1_is_the_run_of_the_paper_experiment(bench):
    part = run(bench, "base-adam_star-8")
    assert part["selection"]["learning_rate"] == 3.0
    specs = reported(bench)
    assert [spec.seed for spec in specs] == [10, 11]
    for spec in specs:
        assert (spec.model, spec.training) == (bench.model, bench.training)
        assert (spec.width, spec.learning_rate, spec.features) == (8, 3.0, "fixed")


def test_the_control_is_reported_once(bench):
    run(bench, "sgd_trunk-constant-0")
    assert [(spec.width, spec.seed) for spec in reported(bench)] == [(0, 10), (0, 11)]


def test_the_standard_parametrization_scales_the_rate_with_the_width(bench):
    run(bench, "standard-ntk-8")
    rates = {spec.width: spec.learning_rate for spec in reported(bench)}
    assert rates == {4: 1.5, 8: 3.0}
    assert {spec.model.readout_init for spec in bench.runs.specs} == {"ntk"}


def test_a_width_has_its_own_rate_where_the_context_says_so(bench):
    bench.runs.best_rate = lambda spec: 9.0 if spec.width == 4 else 3.0
    for width in (4, 8):
        run(bench, f"own_rates-ntk-{width}")
    assert {spec.width: spec.learning_rate for spec in reported(bench)} == {4: 9.0, 8: 3.0}
    run(bench, "mean_field-ntk-8")
    assert {spec.learning_rate for spec in reported(bench)[4:]} == {3.0}
    assert {spec.width for spec in reported(bench)[4:]} == {4, 8}


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("base-constant-0", ["training.trunk_learning_rate"]),
        ("sgd_trunk-constant-0", [SGD_RATE]),
        ("sgd_trunk-ntk-8", [RATES, SGD_RATE]),
        ("fixed_trunk-ntk-8", [RATES]),
    ],
)
def test_where_every_rate_diverges_the_arm_and_its_own_settings_are_named(bench, name, settings):
    bench.runs.result = lambda spec: {"status": "diverged"}
    with pytest.raises(UserError) as caught:
        run(bench, name)
    named, _, mend = str(caught.value).partition("; lower ")
    assert named.startswith(f"{name}: every ")
    assert mend.split(" or ") == settings
    for path in settings:
        assert reduce(getattr, path.split("."), Settings())


def test_a_race_spares_runs_and_reports_the_same(bench):
    own = OWN.model_copy(update={"tuning": OWN.tuning.model_copy(update={"seeds": [0, 1]})})
    raced = OWN.model_copy(update={"tuning": own.tuning.model_copy(update={"race_margin": 0.002})})
    whole, spared = (run(bench, "base-adam_star-8", each) for each in (own, raced))
    reports = [
        [e["key"] for e in part["entries"] if e["role"] == "report"] for part in (whole, spared)
    ]
    assert reports[0] == reports[1]
    tunings = [sum(e["role"] == "tuning" for e in part["entries"]) for part in (whole, spared)]
    assert tunings[1] < tunings[0] == 6


def test_what_was_run_is_gathered_by_context(bench):
    made = [run(bench, name) for name in ("base-ntk-8", "short-ntk-8")]
    runs = gather(TABLES, made, bench.runs.folder, ())["runs"]
    assert set(runs["condition"]) == {BASE, "short"}
    assert (runs["role"] == "report").sum() == 4
    assert runs.loc[runs["role"] == "report", "test_loss"].notna().all()
    assert set(runs["width"]) == {8}


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"variants": ["adam_stra"]}, "unknown variant 'adam_stra'"),
        ({"contexts": ["long"]}, "unknown context 'long'"),
        ({"seeds": [0, 10]}, r"seed 0 is in seeds and in tuning\.seeds; reported runs need"),
        ({"confirmation_seeds": [0]}, r"seed 0 is in confirmation_seeds and in tuning\.seeds"),
        ({"standard_widths": [256]}, "take it out"),
        ({"variants": []}, "at least 1"),
    ],
)
def test_mistakes_are_named(changes, line):
    with pytest.raises(ValidationError, match=line):
        OptimizerAblationSettings.model_validate(changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"model": {"readout_init": "ntk"}},
        {"model": {"readout_target": "vocabulary"}},
        {"training": {"readout_decay": 0.1}},
    ],
)
def test_what_infinite_mlps_cannot_do_is_said_beforehand(changes):
    with pytest.raises(ValidationError, match="infinite_variants, too"):
        Settings.model_validate(changes)
    Settings.model_validate(changes | {"infinite_lm": {"infinite_variants": []}})
