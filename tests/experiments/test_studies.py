# SPDX-License-Identifier: Apache-2.0
"""The studies: which parts they plan, which runs a part asks for, and what is gathered."""

import itertools
import json
import math
import re

import numpy as np
import pytest

from infwidth.catalogue import STUDIES
from infwidth.config.errors import UserError
from infwidth.config.settings import Settings
from infwidth.experiments.readings.plan import FACTORS, design
from infwidth.experiments.runs import POINTS, Bench, gather, run_part
from infwidth.experiments.schema import STUDY
from infwidth.experiments.study import Job, conditions, jobs_of, parts_of, priorities
from tests.experiments.fake_runs import FakeRuns

SETTINGS = Settings()


def settings_of(study, **changes):
    return Settings.model_validate({study: changes})


def part_of(study, name, settings=SETTINGS):
    (part,) = (part for part in parts_of(study, settings) if part.name == name)
    return part


@pytest.fixture
def bench(tmp_path):
    return Bench(FakeRuns(tmp_path), SETTINGS.model, SETTINGS.training, "d", 258, "cpu")


@pytest.mark.parametrize("study", STUDIES)
def test_parts_are_named_apart_kept_as_text_and_reported_on_fresh_seeds(study):
    parts, jobs = parts_of(study, SETTINGS), jobs_of(study, SETTINGS)
    assert len({part.name for part in parts}) == len(jobs) == len(parts)
    assert all(re.fullmatch("[a-z0-9_-]+", name) for name in jobs)
    assert all(Job.model_validate_json(job.model_dump_json()) == job for job in jobs.values())
    used = {*range(50), *SETTINGS.lm_width.seeds}
    assert not any(set(part.seeds) & {*used, *part.tuning.seeds} for part in parts)


def test_every_rung_has_every_variant_and_its_own_length():
    parts = parts_of("ladder", SETTINGS)
    assert len(parts) == 2 * 5 * 8
    (longest,) = (p for p in parts if p.name == "bytes_40000-ntk-256")
    assert (longest.training.steps, longest.training.warmup_steps) == (40000, 1000)
    assert longest.search == part_of("ladder", "bytes_4500-ntk-256").training
    assert part_of("ladder", "bytes_1500-ntk-256").training.warmup_steps == 100
    for part in parts:
        assert part.training.checkpoint_every <= 1000
        assert part.seeds == ([50, 51, 52, 53] if part.width else [])


def test_another_rung_changes_no_part_that_was_there():
    def jobs(steps):
        named = jobs_of("ladder", settings_of("ladder", steps=steps))
        return {name: job.model_dump_json() for name, job in named.items()}

    assert jobs([500, 1500]).items() <= jobs([500, 1500, 4500]).items()


def test_short_runs_come_first_and_bytes_before_subwords():
    order = priorities("ladder", SETTINGS)
    some = [f"{v}_{steps}-ntk-256" for v in ("bytes", "subwords") for steps in (500, 4500, 40000)]
    assert sorted(some, key=order.get, reverse=True) == some
    assert min(order.values()) > max(priorities("depth", SETTINGS).values())


def test_parts_share_a_process_only_where_they_read_one_text():
    jobs = jobs_of("ladder", settings_of("ladder", parts_per_job=30)).values()
    assert [len(job.parts) for job in jobs] == [30, 10, 30, 10]
    for job in jobs:
        assert len({part.vocabulary for part in job.parts}) == 1


def test_the_readings_are_a_plan_of_resolution_four():
    level_CxF = np.array([[cell[name] for name in FACTORS] for cell in design()])
    assert len({tuple(row) for row in level_CxF}) == 16
    np.testing.assert_array_equal(level_CxF.T @ level_CxF, 16 * np.eye(7))
    for i, j in itertools.combinations(range(7), 2):
        both_C = level_CxF[:, i] * level_CxF[:, j]
        assert not (level_CxF.T @ both_C).any()


def test_unfrozen_runs_in_four_cells_in_which_every_factor_is_balanced():
    full = [c for c in conditions("readings", SETTINGS) if ("unfrozen", 256) in c.arms]
    assert len(full) == 4
    for factor in FACTORS:
        assert sorted(cell.factors[factor] for cell in full) == [-1, -1, 1, 1]


def test_the_centre_lies_between_the_levels():
    planned = {condition.name: condition for condition in conditions("readings", SETTINGS)}
    assert len(planned) == 17
    centre = planned["centre"]
    assert (centre.model["layers"], centre.training["steps"]) == (3, 2700)
    assert (1 - centre.training["b2"]) ** 2 == pytest.approx(0.02 * 0.001, rel=0.02)
    assert set(centre.factors.values()) == {0}


def test_a_cell_changes_what_its_name_says():
    part = part_of("readings", "cell_abcdefg-ntk-256")
    model = part.model
    assert (part.vocabulary, model.layers, model.readout_init) == ("sentencepiece", 4, "normal")
    assert model.activation == "gelu"
    assert (part.training.steps, part.training.b2) == (4800, 0.999)
    assert (part.training.trunk_optimizer, part.training.trunk_learning_rate) == ("sgd", 0.5)
    assert part_of("readings", "cell_0-ntk-256").training.trunk_optimizer == "adam"


def test_of_fewer_factors_the_cells_are_left_that_differ_in_them():
    some = settings_of("readings", factors=["readout_init", "activation"])
    cells = conditions("readings", some)
    assert len(cells) == 4
    assert all(cell.vocabulary == "bytes" and not cell.training for cell in cells)


def test_a_control_of_the_scales_changes_them_alone():
    plain = part_of("scales", "widths-ntk_measured-256")
    for name, change in {
        "permuted": {"permuted": True},
        "held_20": {"hold_after": 20},
        "never_held": {"hold_after": None},
        "power_0p125": {"power": 0.125},
        "floor_1em08": {"floor": 1e-8},
    }.items():
        control = part_of("scales", f"{name}-ntk_measured-256")
        assert control.model == plain.model
        changed = control.training.model_copy(update={"scales": plain.training.scales})
        assert changed == plain.training
        scales = plain.training.scales.model_dump() | change
        assert control.training.scales.model_dump() == scales


def test_a_condition_that_does_not_go_with_the_settings_is_one_line():
    with pytest.raises(UserError) as raised:
        parts_of("ladder", settings_of("ladder", steps=[510, 1500]))
    text = str(raised.value)
    assert all(word in text for word in ("ladder", "'bytes_510'", "log_every"))
    assert "\n" not in text


def roles(part):
    return [(entry["role"], entry["learning_rate"], entry["seed"]) for entry in part["entries"]]


def test_a_part_is_tuned_by_itself_and_asks_for_the_same_runs_again(bench):
    part = part_of("ladder", "bytes_4500-ntk-256")
    made = run_part(bench, part)
    assert made["selection"]["learning_rate"] == 3.0
    assert roles(made)[-4:] == [("report", 3.0, seed) for seed in (50, 51, 52, 53)]
    assert {role for role, *_ in roles(made)[:-4]} == {"tuning"}
    assert {(spec.training.steps, spec.width) for spec in bench.runs.specs} == {(4500, 256)}
    keys = [spec.key for spec in bench.runs.specs]
    bench.runs.specs.clear()
    assert run_part(bench, part) == made
    assert [spec.key for spec in bench.runs.specs] == keys


def test_from_the_choice_of_a_shorter_search_it_goes_on_at_full_length(bench):
    # At full length a larger rate is best.
    bench.runs.best_rate = lambda spec: 3.0 if spec.training.steps == 4000 else 9.0
    part = part_of("depth", "width_256-adam_star-256")
    made = run_part(bench, part)
    checks = [entry for entry in roles(made) if entry[0] == "check"]
    assert checks == [("check", rate, 0) for rate in (3.0, 1.0, 10.0, 30.0)]
    assert made["selection"]["learning_rate"] == 10.0
    assert made["selection"]["searched_learning_rate"] == 3.0
    assert made["selection"]["interior"]
    assert roles(made)[-3:] == [("report", 10.0, seed) for seed in (50, 51, 52)]
    steps = [spec.training.steps for spec in bench.runs.specs]
    assert steps == [4000] * (len(steps) - 7) + [40000] * 7
    assert {spec.model.layers for spec in bench.runs.specs} == {6}


def test_the_trunks_rate_is_checked_where_nothing_is_reported(bench):
    made = run_part(bench, part_of("depth", "trunk-constant-0"))
    assert {role for role, *_ in roles(made)} == {"trunk"}
    rates = {spec.training.trunk_learning_rate for spec in bench.runs.specs}
    assert rates == {0.005, 0.01, 0.02}
    assert {spec.training.steps for spec in bench.runs.specs} == {40000}


def test_what_is_gathered_has_the_columns_and_kinds_of_the_schema(bench):
    made = [run_part(bench, part_of("depth", f"width_64-{v}-64")) for v in ("ntk", "frozen")]
    long = bench.runs.specs[-1].key
    rows = [{"step": 50 * k, "loss": float(k)} for k in range(1, 801)]
    log = bench.runs.folder / long / "metrics.jsonl"
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = log.with_name("result.json")
    result.write_text(json.dumps(json.loads(result.read_text()) | {"steps": 40000}))
    tables = gather(STUDY, made, bench.runs.folder, POINTS)
    assert tables.keys() == STUDY.keys()
    for name, table in tables.items():
        assert tuple(table.columns) == STUDY[name].columns
    kinds = tables["runs"].dtypes.map(str)
    assert dict(kinds[["width", "seed", "test_loss", "kappa"]]) == {
        **dict.fromkeys(("width", "seed"), "int64"),
        **dict.fromkeys(("test_loss", "kappa"), "float64"),
    }
    runs = tables["runs"]
    assert set(runs["role"]) == {"tuning", "check", "report"}
    assert set(runs["condition"]) == {"width_64"}
    assert not runs.duplicated(["condition", "role", "variant", "learning_rate", "seed"]).any()
    curve = tables["curves"].query("key == @long")
    assert len(curve) == 100
    # Eight rows a point: the mean of their losses, at the step of the last.
    assert curve["step"].tolist() == [400 * k for k in range(1, 101)]
    assert curve["loss"].iloc[0] == pytest.approx(4.5)
    reported = set(runs.loc[runs["role"] == "report", "key"])
    assert set(tables["curves"]["key"]) == reported
    assert math.isnan(runs["kappa"].iloc[0])
