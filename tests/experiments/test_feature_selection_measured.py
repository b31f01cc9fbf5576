# SPDX-License-Identifier: Apache-2.0
"""Effects and means against a truth that is known."""

import math

import numpy as np
import pytest

from infwidth.experiments.feature_selection import measured as feature_selection
from infwidth.experiments.feature_selection.measured import effects
from tests.experiments.feature_selection_synthetic import Truth, write

TRUTH = Truth()


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    return feature_selection.load(write(tmp_path_factory.mktemp("measured"), TRUTH))


@pytest.fixture(scope="module")
def found(measured):
    return effects(measured)


def of(found, name):
    return {effect.where: effect for effect in found[name]}


def test_exponents_are_found(found):
    slopes = of(found, "reweighting_error_slope")
    assert list(slopes) == [f"D = {D}, κ = {kappa:g}" for D in (1, 2) for kappa in (0, 0.3, 1)]
    for effect in slopes.values():
        assert effect.estimate == pytest.approx(-0.5, abs=1e-9)
        assert (effect.count, effect.lost) == (4, 0)


def test_the_price_is_in_units_of_the_trained_networks(measured):
    at = {"dimension": 2, "kappa": 1.0}
    logs = np.log(list(measured.by_seed("density_ratio", "price", **at).values()))
    fine, coarse = (
        measured.typical_of(measured.prices(column, **at)).estimate
        for column in ("price", "coarse_price")
    )
    assert fine == pytest.approx(math.exp(np.mean(logs)) / 10)
    assert fine == pytest.approx(2 * coarse)


def test_aligned_mass_is_compared_by_seed(found):
    gain = of(found, "aligned_mass_gain_adam_star")
    assert list(gain) == ["H = 128", "H = 512"]
    assert gain["H = 128"].estimate == pytest.approx(0.35, abs=0.005)
    # Seeds' factors are the same in both and cancel.
    for effect in found["aligned_mass_adam_star_minus_sgd"]:
        assert effect.estimate == pytest.approx(0.1, abs=1e-12)
        assert effect.error < 1e-12


def test_pruning_is_compared_at_the_judged_share(measured, found):
    chosen = of(found, "pruning_top_minus_random")
    assert list(chosen) == [f"{x}, frozen, q = 5%" for x in ("Adam", "ADAM*", "SGD")]
    random = measured.pruned("adam", "random", 0.05, retrained=True)
    for effect in chosen.values():
        assert effect.estimate == pytest.approx(-0.5 * np.mean(list(random.values())))
    ratio = measured.top_over_random("adam", 0.05, retrained=True)
    assert (ratio.estimate, ratio.lower, ratio.upper) == pytest.approx((0.5, 0.5, 0.5))


def test_what_diverged_is_counted_and_left_out(tmp_path):
    truth = Truth(diverged=frozenset({("sgd", 128, 10), ("sgd", 128, 11), ("adam", 512, 10)}))
    measured = feature_selection.load(write(tmp_path, truth))
    assert measured.lost("planted") == 3
    assert measured.lost("pruning") == 0
    assert sorted(measured.at_end("sgd", 128, "loss")) == [12, 13]
    found = of(effects(measured), "aligned_mass_adam_star_minus_sgd")
    assert (found["H = 128"].count, found["H = 128"].lost) == (2, 2)
    assert math.isnan(found["H = 128"].p_above(0))
    assert (found["H = 512"].count, found["H = 512"].lost) == (4, 0)


def test_one_seed_gives_numbers_and_no_intervals(tmp_path):
    measured = feature_selection.load(write(tmp_path, Truth(seeds=(10,))))
    for name, places in effects(measured).items():
        for effect in places:
            assert math.isfinite(effect.estimate), name
            assert math.isnan(effect.interval(0.95).lower)
            assert math.isnan(effect.p_above(0))


def test_the_best_loss_is_the_square_of_the_error_where_dimensions_agree(measured, tmp_path):
    best = measured.best_losses()
    assert list(best) == [32, 128, 512]
    assert best[128] / best[32] == pytest.approx(4 ** (2 * TRUTH.fit_slope))
    other = feature_selection.load(write(tmp_path, Truth(fit_dimensions=(4,))))
    assert other.best_losses() == {}
