# SPDX-License-Identifier: Apache-2.0
"""What is read off the measurements of losses over width."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from infwidth.config.errors import UserError
from infwidth.experiments.width_limit.measured import effects, load
from infwidth.stored import load_json
from tests.experiments.width_limit_synthetic import LIMITS, write


def test_limits_of_paired_differences_are_those_of_the_law(tmp_path):
    measured = load(write(tmp_path, noise=1e-4))
    found = effects(measured)
    for variant, reference, name in [
        ("adam_star", "mean-field", "limit_adam_star_minus_unfrozen"),
        ("adam_star_normalized", "mean-field", "limit_adam_star_normalized_minus_unfrozen"),
        ("adam_star", "ntk", "limit_adam_star_minus_unfrozen_ntk"),
    ]:
        (effect,) = found[name]
        truth = LIMITS[variant, "mean-field"] - LIMITS["unfrozen", reference]
        assert effect.estimate == pytest.approx(truth, abs=2e-3)
        interval = effect.interval(0.95)
        assert interval.lower < truth < interval.upper
        assert effect.where == (
            "H → ∞, NTK parametrization" if reference == "ntk" else "H → ∞, mean-field"
        )
        assert (effect.count, effect.lost) == (3 if reference == "ntk" else 5, 0)
        # 6 exponents from 6, 5 and 4 widths, and two powers at once.
        assert len(effect.readings) == 19


def test_the_two_adam_variants_are_compared_in_the_limit(tmp_path):
    three = ("unfrozen", "frozen", "adam_star")
    measured = load(write(tmp_path / "three", variants=three, noise=1e-4))
    (effect,) = effects(measured)["limit_adam_star_minus_frozen"]
    assert effect.estimate == pytest.approx(1.70 - 1.60, abs=2e-3)
    assert effect.count == 5
    assert effects(load(write(tmp_path / "two")))["limit_adam_star_minus_frozen"] == []


def test_losses_themselves_are_extrapolated_by_parametrization(tmp_path):
    measured = load(write(tmp_path))
    assert measured.models == list(LIMITS)
    for model, limit in LIMITS.items():
        seeds = [10, 11, 12] if model[1] == "ntk" else [10, 11, 12, 13, 14]
        fits = measured.loss(*model).fits
        (right,) = [f for f in fits if f.model.exponents == (0.7,) and not f.model.skipped]
        np.testing.assert_allclose(right.limit_S, limit + 0.02 * np.array(seeds), rtol=1e-9)


def test_a_diverged_run_takes_its_seed_out_and_forbids_the_test(tmp_path):
    lost = [("adam_star", "mean-field", 32, 13)]
    measured = load(write(tmp_path, noise=1e-4, diverged=lost))
    for reference, count, lost in (("mean-field", 4, 1), ("ntk", 3, 0)):
        limit = measured.difference("adam_star", reference)
        assert (len(limit.values_SxW), limit.lost) == (count, lost)
        assert math.isnan(limit.effect("").p_above(0)) == (lost > 0)


def remove(folder, **at):
    """Takes the runs at a place out of their table."""
    rows = pd.read_parquet(folder / "runs.parquet")
    there = np.logical_and.reduce([rows[column] == value for column, value in at.items()])
    assert there.any()
    rows[~there].to_parquet(folder / "runs.parquet")


def test_a_run_that_is_missing_is_lost_as_one_that_diverged(tmp_path):
    folder = write(tmp_path, noise=1e-4)
    remove(folder, variant="adam_star", seed=13)
    remove(folder, condition="ntk", seed=11)
    measured = load(folder)
    assert {each: measured.difference(*each).lost for each in measured.comparisons} == {
        ("adam_star", "mean-field"): 1,
        ("adam_star_normalized", "mean-field"): 0,
        ("adam_star", "ntk"): 1,
        ("adam_star_normalized", "ntk"): 1,
    }
    assert measured.loss("adam_star", "mean-field").lost == 1
    [effect] = effects(measured)["limit_adam_star_minus_unfrozen"]
    assert math.isfinite(effect.estimate)
    assert math.isnan(effect.p_above(-10.0))
    # A seed that no run has.
    remove(folder, seed=14)
    assert load(folder).difference("adam_star_normalized").lost == 1


@pytest.mark.parametrize("widths", [(16, 64, 256, 512, 1024), (32, 64, 128, 256, 512, 1024)])
def test_too_few_widths_or_too_small_a_span_leave_no_test(tmp_path, widths):
    measured = load(write(tmp_path, widths=widths, noise=0.01))
    for found in filter(None, effects(measured).values()):
        assert math.isfinite(found[0].estimate)
        assert math.isnan(found[0].p_above(-1.0))


def test_two_widths_give_no_effect(tmp_path):
    found = effects(load(write(tmp_path, widths=(4, 8))))
    assert set(map(len, found.values())) == {0}


def test_rates_that_are_not_interior_are_named(tmp_path):
    assert load(write(tmp_path)).not_interior() == {}
    measured = load(write(tmp_path / "edge", interior=False))
    assert measured.not_interior() == {"Unfrozen, 1/√H": "κ at the lower edge"}


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda runs: runs.assign(condition="ntk"), "no mean-field row of 'unfrozen'"),
        (lambda runs: runs.assign(variant="ntq"), "column 'variant' holds 'ntq'"),
    ],
)
def test_damaged_measurements_are_named_in_one_line(tmp_path, change, line):
    path = write(tmp_path) / "runs.parquet"
    change(pd.read_parquet(path)).to_parquet(path)
    with pytest.raises(UserError, match=line):
        load(tmp_path)


def test_damaged_settings_are_named_in_one_line(tmp_path):
    path = write(tmp_path) / "settings.json"
    settings = load_json(path)
    del settings["selection"]["ntk-unfrozen"]["note"]
    path.write_text(json.dumps(settings))
    with pytest.raises(UserError, match="the entry of 'ntk-unfrozen' lacks the key 'note'"):
        load(tmp_path)
