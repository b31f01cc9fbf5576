# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from scipy.optimize import isotonic_regression

from infwidth.config.variants import VARIANTS
from infwidth.drawing.layout import spread
from infwidth.drawing.style import contrast, look
from infwidth.experiments.lm_width.fig2_loss_curves import smooth


def test_spread_is_the_least_move_that_keeps_the_gap():
    generator = np.random.default_rng(0)
    for count in range(1, 9):
        wanted = generator.uniform(0, 5, count)
        placed = np.array(spread(list(wanted), 1.0))
        order = np.argsort(wanted)
        oracle = isotonic_regression(wanted[order] - np.arange(count)).x + np.arange(count)
        assert placed[order] == pytest.approx(oracle, abs=1e-12)


def test_spread_leaves_what_has_room_and_stays_inside():
    assert spread([3.0, 1.0, 7.0], 1.0) == [3.0, 1.0, 7.0]
    assert spread([0.0, 0.0, 0.0], 1.0, low=0.0, high=10.0) == [0.0, 1.0, 2.0]
    assert spread([9.9, 10.0], 1.0, low=0.0, high=10.0) == [9.0, 10.0]
    crowded = spread([0.5] * 5, 1.0, low=0.0, high=2.0)
    assert np.diff(sorted(crowded)) == pytest.approx(np.ones(4))
    assert spread([], 1.0) == []


def test_smoothing_keeps_a_straight_line_and_lowers_noise():
    steps = np.array([1, 2, 4, 7, 11, 16, 22, 29, 37, 46, 56])
    assert smooth(steps, 3.0 - 0.1 * steps, 8.0) == pytest.approx(3.0 - 0.1 * steps, abs=1e-12)
    noise = np.random.default_rng(0).normal(size=400)
    assert smooth(np.arange(400), noise, 6.0).std() < 0.35


def test_smoothing_below_the_spacing_changes_little_and_short_curves_nothing():
    values = np.array([5.0, 3.0, 2.5, 2.2, 2.1])
    assert np.abs(smooth(np.arange(5) * 50, values, 0.1) - values).max() < 0.3
    assert smooth([50, 100], [2.0, 1.0], 5.0).tolist() == [2.0, 1.0]


def test_variants_differ_in_colour_in_marker_and_in_line():
    looks = [look(name) for name in VARIANTS]
    assert len({each.color for each in looks}) == len(looks)
    assert len({each.marker for each in looks}) == len(looks)
    # Two lines are solid: nothing else needs to tell the originals apart but their markers.
    assert len({(each.marker, str(each.line)) for each in looks}) == len(looks)


@pytest.mark.parametrize("name", VARIANTS)
def test_labels_are_legible_on_white(name):
    assert contrast(look(name).ink) >= 4.5
