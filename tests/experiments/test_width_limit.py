# SPDX-License-Identifier: Apache-2.0
"""Runs whose losses are extrapolated over width, in two parametrizations."""

import math

import numpy as np
import pytest
from pydantic import ValidationError

from infwidth.config.settings import Settings
from infwidth.experiments.width_limit.plan import parts
from infwidth.experiments.width_limit.settings import WidthLimitSettings
from infwidth.stats.extrapolation import enough
from infwidth.stats.selection import Cell


def test_the_default_has_the_widths_that_the_protocol_asks_for():
    planned = parts(Settings())
    assert {part.name for part in planned if part.model.readout_init == "ntk"} == {"ntk-unfrozen"}
    for part in planned:
        assert enough([width for _, width in part.reports])


def _place(width, reference, cell):
    """The one reported run of the unfrozen model in the NTK parametrization at a width."""
    part = parts(Settings())[-1]
    at_width = {"width": reference, "reports": [("report", width)], "seeds": [10]}
    [place] = part.model_copy(update=at_width).report_places(cell)
    return place


def _adam_trained(scale, M_H, w_H, readout_rate, feature_rate, steps=5):
    """f = scale Σ M_h relu(w_h x) after steps of Adam (ε = 0) on a squared loss; and w."""
    x_N, y_N, beta1, beta2 = np.array([0.5, -1.0, 2.0]), np.array([1.0, 0.3, -0.7]), 0.9, 0.98

    def outputs():
        return scale * M_H @ np.maximum(np.outer(w_H, x_N), 0)

    m, v = np.zeros((2, M_H.size)), np.zeros((2, M_H.size))
    for t in range(1, steps + 1):
        active_HxN = np.outer(w_H, x_N) > 0
        error_N = outputs() - y_N
        gradient_M = scale * np.maximum(np.outer(w_H, x_N), 0) @ error_N
        gradient_w = scale * M_H * (active_HxN @ (error_N * x_N))
        g = np.stack([gradient_M, gradient_w])
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
        step = (m / (1 - beta1**t)) / np.sqrt(v / (1 - beta2**t))
        M_H, w_H = M_H - readout_rate * step[0], w_H - feature_rate * step[1]
    return outputs(), w_H


@pytest.mark.parametrize("width", [4, 64, 1024])
def test_the_mean_field_runs_are_those_of_the_ntk_parametrization(width):
    rng = np.random.default_rng(width)
    M_H, w_H = rng.normal(size=(2, width))
    reference, learning_rate, kappa, feature_unit = 256, 3.0, 0.3, 0.05
    root = math.sqrt(width)
    ntk = _adam_trained(
        *(1 / root, M_H, w_H, learning_rate / root),
        kappa * feature_unit * math.sqrt(reference) / root,
    )
    place = _place(width, reference, Cell(learning_rate, kappa))
    mean_field = _adam_trained(
        *(1 / width, root * M_H, w_H, place.cell.learning_rate), place.cell.kappa * feature_unit
    )
    for one, other in zip(ntk, mean_field, strict=True):  # κ_H has 6 digits
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    moved = np.abs(mean_field[1] - w_H).max()
    assert 0 < moved < 5 * 1.5 * kappa * feature_unit * math.sqrt(reference) / root


def test_at_the_reference_width_the_rates_are_those_that_were_tuned():
    assert _place(256, 256, Cell(3.0, 0.3)).cell == Cell(3.0, 0.3)


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"variants": ["adam_star", "frozen"]}, "compared with 'unfrozen'; add it"),
        ({"variants": ["unfrozen", "constant"]}, "'constant' has no width here; allowed are"),
        ({"variants": ["unfrozen"]}, "at least 2 items"),
        ({"widths": [32, 32]}, "32 is given twice"),
    ],
)
def test_settings_that_do_not_fit_are_refused(values, line):
    with pytest.raises(ValidationError, match=line):
        WidthLimitSettings.model_validate(values)
