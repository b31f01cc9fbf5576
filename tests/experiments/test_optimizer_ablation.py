# SPDX-License-Identifier: Apache-2.0
"""The ablation: which arms there are, what each is run with, and what is gathered."""

from functools import reduce
from pathlib import Path

import pytest
from pydantic import ValidationError

from infwidth.config.errors import UserError
from infwidth.config.settings import ModelSettings, Settings, TrainingSettings
from infwidth.config.slices import SLICES
from infwidth.experiments.optimizer_ablation.contexts import BASE, CONTEXTS
from infwidth.experiments.optimizer_ablation.measure import gather, run_arm, selections
from infwidth.experiments.optimizer_ablation.plan import (
    Arm,
    arms,
    in_context,
    jobs,
    tuned_before,
)
from infwidth.experiments.optimizer_ablation.settings import OptimizerAblationSettings
from infwidth.experiments.tuning import Bench
from tests.experiments.fake_runs import FakeRuns

ROOT = Path(__file__).parents[2]

OWN = OptimizerAblationSettings.model_validate(
    {
        "variants": ["ntk", "adam_star", "constant"],
        "width": 8,
        "standard_widths": [4],
        "seeds": [10, 11],
        "tuning": {"seeds": [0], "learning_rates": [1.0, 3.0, 9.0], "max_extensions": 0},
    }
)


_AS_IN_FIG1 = ("other_vocabulary", "mean_field", "own_rates", "confirmation")


@pytest.fixture
def bench(tmp_path):
    return Bench(FakeRuns(tmp_path), ModelSettings(), TrainingSettings(), "digest", 258, "cpu")


def reported(bench):
    return [spec for spec in bench.runs.specs if "test" in spec.splits]


def test_every_arm_is_in_one_job_and_a_job_reads_one_vocabulary():
    for size in (1, 4, 100):
        own = OWN.model_copy(update={"arms_per_job": size})
        chunks = list(jobs(own).values())
        assert sorted(arm for chunk in chunks for arm in chunk) == sorted(arms(own))
        assert all(len({arm.other_vocabulary for arm in chunk}) == 1 for chunk in chunks)
        assert max(map(len, chunks)) <= size


@pytest.mark.parametrize("context", [BASE, *CONTEXTS])
def test_a_context_changes_what_it_says_and_leaves_valid_settings(context):
    model, training = in_context(context, ModelSettings(), TrainingSettings(), OWN)
    ModelSettings.model_validate(model.model_dump())
    TrainingSettings.model_validate(training.model_dump())
    unchanged = (model, training) == (ModelSettings(), TrainingSettings())
    assert unchanged == (context in (BASE, *_AS_IN_FIG1))


def test_an_arm_in_the_setting_of_fig1_is_the_run_of_the_paper_experiment(bench):
    part = run_arm(bench, Arm(BASE, "adam_star"), OWN)
    assert part["selection"]["learning_rate"] == 3.0
    specs = reported(bench)
    assert [spec.seed for spec in specs] == [10, 11]
    for spec in specs:
        assert (spec.model, spec.training) == (bench.model, bench.training)
        assert (spec.width, spec.learning_rate, spec.features) == (8, 3.0, "fixed")


def test_the_standard_parametrization_scales_the_rate_with_the_width(bench):
    run_arm(bench, Arm("standard", "ntk"), OWN)
    rates = {spec.width: spec.learning_rate for spec in reported(bench)}
    assert rates == {4: 1.5, 8: 3.0}
    assert {spec.model.readout_init for spec in bench.runs.specs} == {"ntk"}


def test_a_width_has_its_own_rate_where_the_context_says_so(bench):
    bench.runs.best_rate = lambda spec: 9.0 if spec.width == 4 else 3.0
    part = run_arm(bench, Arm("own_rates", "ntk"), OWN)
    assert {spec.width: spec.learning_rate for spec in reported(bench)} == {4: 9.0, 8: 3.0}
    chosen = {name: one["learning_rate"] for name, one in selections([part]).items()}
    assert chosen == {"own_rates-ntk": 3.0, "own_rates-ntk-4": 9.0}
    run_arm(bench, Arm("mean_field", "ntk"), OWN)
    assert {spec.learning_rate for spec in reported(bench)[4:]} == {3.0}


@pytest.mark.parametrize(
    ("arm", "settings"),
    [
        (Arm(BASE, "constant"), ["training.trunk_learning_rate"]),
        (Arm("sgd_trunk", "constant"), ["optimizer_ablation.sgd_trunk_learning_rate"]),
        (
            Arm("sgd_trunk", "ntk"),
            [
                "optimizer_ablation.tuning.learning_rates",
                "optimizer_ablation.sgd_trunk_learning_rate",
            ],
        ),
        (Arm("fixed_trunk", "ntk"), ["optimizer_ablation.tuning.learning_rates"]),
    ],
)
def test_where_every_rate_diverges_the_arm_and_its_own_settings_are_named(bench, arm, settings):
    bench.runs.result = lambda spec: {"status": "diverged"}
    with pytest.raises(UserError) as caught:
        run_arm(bench, arm, OWN)
    named, _, mend = str(caught.value).partition("; lower ")
    assert named.startswith(f"{arm.context}-{arm.variant}: every ")
    assert mend.split(" or ") == settings
    for path in settings:
        assert reduce(getattr, path.split("."), Settings())


def test_a_search_that_another_job_makes_comes_first():
    own = OptimizerAblationSettings(arms_per_job=1)
    settings = Settings().model_copy(update={"optimizer_ablation": own})
    assert tuned_before("confirmation-muon_star", settings) == ["base-muon_star"]
    assert tuned_before("own_rates-ntk", settings) == ["base-ntk"]
    assert tuned_before("base-muon_star", settings) == []
    # All else is tuned anew, since its runs are others.
    assert tuned_before("fixed_trunk-ntk", settings) == []
    assert tuned_before("other_vocabulary-ntk", settings) == []


def test_jobs_of_many_arms_wait_for_earlier_ones_alone():
    for size in (2, 5, 100):
        own = OptimizerAblationSettings(arms_per_job=size)
        settings = Settings().model_copy(update={"optimizer_ablation": own})
        order = list(jobs(own))
        for job in order:
            before = tuned_before(job, settings)
            assert all(order.index(other) < order.index(job) for other in before)


def test_a_race_spares_runs_and_reports_the_same(bench):
    own = OWN.model_copy(update={"tuning": OWN.tuning.model_copy(update={"seeds": [0, 1]})})
    raced = OWN.model_copy(update={"tuning": own.tuning.model_copy(update={"race_margin": 0.002})})
    whole = run_arm(bench, Arm(BASE, "adam_star"), own)
    spared = run_arm(bench, Arm(BASE, "adam_star"), raced)
    reports = [
        [e["key"] for e in part["entries"] if e["role"] == "report"] for part in (whole, spared)
    ]
    assert reports[0] == reports[1]
    tunings = [sum(e["role"] == "tuning" for e in part["entries"]) for part in (whole, spared)]
    assert tunings[1] < tunings[0] == 6


def test_what_was_run_is_gathered_by_context(bench):
    parts = [run_arm(bench, arm, OWN) for arm in (Arm(BASE, "ntk"), Arm("short", "ntk"))]
    runs = gather(parts, bench.runs.folder)["runs"]
    assert set(runs["context"]) == {BASE, "short"}
    assert (runs["role"] == "report").sum() == 4
    assert runs.loc[runs["role"] == "report", "test_loss"].notna().all()
    assert set(runs["width"]) == {8.0}


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"variants": ["adam_stra"]}, "unknown variant 'adam_stra'"),
        ({"contexts": ["long"]}, "unknown context 'long'"),
        ({"seeds": [0]}, "reported runs need others"),
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


def test_the_command_is_given_every_setting_that_an_arm_reads():
    given = {name.partition(".")[2] for name in SLICES["optimizer_ablation train"]}
    assert given >= set(OptimizerAblationSettings.model_fields) - {"arms_per_job"}


@pytest.mark.parametrize("name", ["seeds", "confirmation_seeds"])
def test_a_rate_is_not_reported_on_the_seeds_that_chose_it(name):
    with pytest.raises(ValidationError, match=rf"seed 0 is in {name} and in tuning\.seeds"):
        OptimizerAblationSettings.model_validate({name: [0, 10]})
