# SPDX-License-Identifier: Apache-2.0
"""The ablation's differences, gaps and effects, from tables whose answers are known."""

import math

import pandas as pd
import pytest

from infwidth.config.errors import UserError
from infwidth.config.variants import ALL_VARIANTS
from infwidth.experiments.optimizer_ablation.measured import effects, load
from infwidth.experiments.optimizer_ablation.settings import BASE
from infwidth.experiments.optimizer_ablation.table6_ablation import build
from tests.experiments.ablation_synthetic import ABOVE_FROZEN, STANDARD, write


def test_differences_are_paired_by_seed_within_a_context(tmp_path):
    measured = load(write(tmp_path))
    for context in (BASE, "short"):
        found = measured.above_frozen((context, "adam_star", 256))
        assert found.estimate == pytest.approx(ABOVE_FROZEN["adam_star"])
        # The seeds' own levels, 0.1 apart, are gone; 0.004 is left.
        assert found.error == pytest.approx(0.004 / math.sqrt(3))


def test_the_gap_closed_is_the_ratio_of_means(tmp_path):
    rows = build(load(write(tmp_path))).raw.set_index(["context", "variant"])
    ntk, star = ABOVE_FROZEN["ntk"], ABOVE_FROZEN["adam_star"]
    closed = rows.loc[(BASE, "adam_star"), "gap_closed"]
    assert closed == pytest.approx((ntk - star) / ntk)


@pytest.mark.parametrize("is_missing", [False, True])
def test_a_run_that_diverged_or_is_missing_is_lost_and_forbids_the_test(tmp_path, is_missing):
    folder = write(tmp_path, diverged=[("short", "ntk", 11)])
    runs = pd.read_parquet(folder / "runs.parquet")
    if is_missing:
        runs[runs["status"] == "done"].to_parquet(folder / "runs.parquet")
    measured = load(folder)
    found = {e.where: e for e in effects(measured)["adam_star_minus_ntk"]}
    assert found["a third of the steps"].lost == 1
    assert math.isnan(found["a third of the steps"].p_above(0))
    assert found["as in fig. 1"].lost == 0
    assert measured.above_frozen(("short", "adam_star", 256)).lost == 0
    rows = build(measured).raw.set_index(["context", "variant"])
    assert rows.loc[("short", "ntk"), "diverged"] == (not is_missing)
    assert math.isnan(rows.loc[("short", "adam_star"), "gap_closed"])


def test_the_standard_parametrization_is_compared_at_every_width(tmp_path):
    found = effects(load(write(tmp_path)))["standard_minus_mean_field"]
    by_width = {effect.where: effect.estimate for effect in found}
    assert by_width == pytest.approx({"H = 64": STANDARD, "H = 1,024": STANDARD})


def test_sgd_is_compared_over_widths_at_its_own_rates_and_behind_a_fixed_trunk(tmp_path):
    folder = write(tmp_path, diverged=[("fixed_trunk", "ntk", 11)])
    found = effects(load(folder))
    rise = {"1,024 against 64": 0.07, "1,024 against 256": 0.05}
    by_place = {effect.where: effect.estimate for effect in found["own_rates_sgd_over_width"]}
    assert by_place == pytest.approx(rise)
    fall = found["fixed_trunk_sgd_over_width"]
    assert {e.where: -e.estimate for e in fall} == pytest.approx(rise)
    assert [effect.lost for effect in fall] == [1, 1]


def test_a_width_with_a_rate_of_its_own_shows_that_rate(tmp_path):
    edge = ("own_rates-ntk-1024",)
    table = build(load(write(tmp_path, variants=("frozen",), contexts=("own_rates",), edge=edge)))
    rows = table.raw[table.raw["context"] == "own_rates"].set_index("width")
    assert rows["learning_rate_tuned"].to_dict() == {64: 1.0, 256: 4.0, 1024: 16.0}
    assert rows["interior"].to_dict() == {64: True, 256: True, 1024: False}
    assert "'a rate for each width' at every width by itself" in table.caption
    assert "†" in table.caption


def test_what_is_said_of_muon_by_width_comes_from_fresh_seeds_alone(tmp_path):
    measured = load(write(tmp_path))
    runs = measured.measured.tables["runs"]
    assert set(runs.loc[runs["condition"] == "confirmation", "seed"]) == {20, 21, 22}
    assert measured.conditions[BASE]["seeds"] == [10, 11, 12]
    first = (runs["seed"] < 20) & (runs["variant"] == "muon_star")
    runs.loc[first, "test_loss"] += 1.0
    found = effects(measured)["muon_star_minus_frozen"]
    assert [effect.where for effect in found] == ["H = 64", "H = 256", "H = 1,024"]
    assert [e.estimate for e in found] == pytest.approx([ABOVE_FROZEN["muon_star"]] * 3)


def test_effects_by_rule_are_differences_from_adam_star(tmp_path):
    found = effects(load(write(tmp_path)))
    by_rule = {effect.where: effect.estimate for effect in found["kernel_rules_minus_adam_star"]}
    expected = ABOVE_FROZEN["muon_star"] - ABOVE_FROZEN["adam_star"]
    assert by_rule["Muon on M"] == pytest.approx(expected)
    assert len(by_rule) == 7


def test_shares_closed_are_of_what_separates_adam_star_from_frozen(tmp_path):
    folder = write(tmp_path)
    assert all(math.isnan(e.estimate) for e in effects(load(folder))["normalized_closes"])
    runs = pd.read_parquet(folder / "runs.parquet")
    runs.loc[runs["variant"] == "adam_star", "test_loss"] += 0.1
    runs.to_parquet(folder / "runs.parquet")
    found = effects(load(folder))
    places = [*("H = 64", "H = 256", "H = 1,024"), "H = 256, the other vocabulary"]
    for name, closed in (("normalized_closes", 0.08 / 0.09), ("factored_closes", 0.03 / 0.09)):
        assert [effect.where for effect in found[name]] == places
        assert [effect.estimate for effect in found[name]] == pytest.approx([closed] * 4)


def test_what_did_not_run_leaves_an_effect_without_places(tmp_path):
    some = effects(load(write(tmp_path, variants=("ntk", "adam_star"), contexts=())))
    assert {name for name, places in some.items() if places} == {"adam_star_minus_ntk"}


def test_the_table_has_a_row_an_arm_and_width(tmp_path):
    measured = load(write(tmp_path, contexts=("short", "standard"), edge=("short-ntk-256",)))
    table = build(measured)
    arms = {(row["context"], row["variant"], row["width"]) for _, row in table.raw.iterrows()}
    # A third of the steps: three variants; the standard parametrization: one at three widths.
    assert len(arms) == len(table.raw) == len(ALL_VARIANTS) + 3 + 3
    shown = table.shown.set_index(["Context", "Rule"])
    assert shown.loc[("a third of the steps", "NTK (SGD) †"), "gap closed"] == "–"
    assert "not interior" in table.caption
    assert "reconstruction" in table.caption
    by_variant = table.raw[table.raw["context"] == BASE].set_index("variant")
    assert by_variant.loc["muon_star", "minus_frozen_nats"] == pytest.approx(
        ABOVE_FROZEN["muon_star"]
    )


def test_one_seed_gives_numbers_and_no_intervals(tmp_path):
    table = build(load(write(tmp_path, seeds=(10,), contexts=())))
    assert "±" not in " ".join(table.shown["test loss"])
    assert set(table.shown["gap closed"]) <= {"–", "undefined", "no gap"}


@pytest.mark.parametrize(("column", "value"), [("condition", "long"), ("variant", "newton")])
def test_an_unknown_name_is_one_line(tmp_path, column, value):
    runs = pd.read_parquet(write(tmp_path) / "runs.parquet")
    runs.assign(**{column: value}).to_parquet(tmp_path / "runs.parquet")
    with pytest.raises(UserError, match=f"column '{column}' holds '{value}'"):
        load(tmp_path)
