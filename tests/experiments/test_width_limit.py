# SPDX-License-Identifier: Apache-2.0
"""Runs whose losses are extrapolated: lm_width's at more widths, and the NTK parametrization."""

import json
import math

import numpy as np
import pytest
from infwidth.experiments.width_limit.measure import gather
from pydantic import ValidationError

from infwidth.config.errors import UserError
from infwidth.config.settings import LmWidthSettings, Settings
from infwidth.experiments.places import jobs
from infwidth.experiments.width_limit.plan import mean_field_jobs, parts
from infwidth.experiments.width_limit.settings import WidthLimitSettings
from infwidth.stats.selection import Cell

STUDY = LmWidthSettings.model_validate({"widths": [16, 64], "sensitivity": {"widths": []}})
OWN = WidthLimitSettings.model_validate({"variants": ["unfrozen", "adam_star"]})


def test_the_default_has_the_widths_that_the_protocol_asks_for():
    default = Settings()
    tuning, *reported = parts(default)
    widths = [width for part in reported for _, width in part.reports]
    assert len(widths) >= default.width_limit.fewest_widths
    assert widths[-1] / widths[0] >= default.width_limit.least_span
    assert {part.tuned_in for part in reported} == {tuning.name}
    assert {part.model.readout_init for part in (tuning, *reported)} == {"ntk"}


def test_at_lm_widths_own_widths_the_jobs_are_its_own():
    study = STUDY.model_copy(update={"widths_per_job": 2, "widths": [16, 64, 256]})
    own = OWN.model_copy(update={"extra_widths": [64, 32, 8]})
    wanted = mean_field_jobs(study, own)
    theirs = [job for job in jobs(study) if job[0] in own.variants]
    assert set(theirs) < set(wanted)
    assert set(wanted) - set(theirs) == {("unfrozen", "8_32"), ("adam_star", "8_32")}
    planned = parts(Settings(lm_width=study, width_limit=own))
    assert [part.name for part in planned] == ["ntk", "ntk_8_16", "ntk_32_64", "ntk_256"]


def _place(width, reference, cell):
    """The one reported run of the unfrozen model in the NTK parametrization at a width."""
    part = parts(Settings())[0]
    at_width = {"width": reference, "reports": [("report", width)], "seeds": [10]}
    [place] = part.model_copy(update=at_width).report_places(cell)
    return place


def _lazy_step(width, kappa, reference):
    """Adam's step of ω and of M' in the NTK parametrization, for η = κ = 1 at the reference."""
    place = _place(width, reference, Cell(1.0, kappa))
    readout_step = place.cell.learning_rate / math.sqrt(width)  # of M' = M / √H
    return place.cell.kappa, readout_step


def test_both_rates_of_the_ntk_parametrization_fall_as_the_root_of_the_width():
    at_64, at_1024 = _lazy_step(64, 0.3, 256), _lazy_step(1024, 0.3, 256)
    assert at_64[0] == 0.6
    assert [wide / narrow for wide, narrow in zip(at_1024, at_64, strict=True)] == [0.25, 0.25]


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


RESULT = {"status": "done", "steps": 2, "test_loss": 2.5, "tokens": 8, "flops": 5}
RESULT |= {"rate_unit": 1.0, "device_seconds": 0.1, "device": "cpu"}


def _entry(key, variant, width, role="report"):
    entry = {"key": key, "variant": variant, "width": width, "role": role, "seed": 10}
    return entry | {"learning_rate": 3.0, "kappa": None, "trunk_learning_rate": 0.01}


@pytest.fixture
def runs(tmp_path):
    for key in "abc":
        (tmp_path / key).mkdir()
        (tmp_path / key / "result.json").write_text(json.dumps(RESULT))
    return tmp_path


def _gathered(runs, mean_field, ntk=(), known=()):
    others = {
        "trained": {"adam_star-16.json": {"entries": mean_field}},
        "known": {"ntk.json": {"parts": [{"entries": known}]}},
    }
    return gather({"ntk_16": {"entries": ntk}}, others, runs)


def test_what_is_gathered_are_reported_runs_by_parametrization(runs):
    mean_field = [_entry("a", "adam_star", 16), _entry("x", "adam_star", 16, "sensitivity")]
    known = [
        _entry("a", "ntk", 16, "extra"),
        _entry("c", "ntk", None),
        _entry("x", "ntk", 16, "tuning"),
    ]
    tables = _gathered(runs, mean_field, [_entry("b", "unfrozen", 16)], known)
    named = tables["runs"][["parametrization", "key", "test_loss"]].to_numpy().tolist()
    assert named == [["mean-field", "a", 2.5], ["ntk", "b", 2.5]]
    assert tables["known"][["key", "width"]].to_numpy().tolist() == [["a", 16], ["c", math.inf]]
    nothing_known = _gathered(runs, mean_field)["known"]
    assert list(nothing_known) == list(tables["known"])


def test_a_run_whose_result_is_gone_is_named(runs):
    with pytest.raises(UserError, match=r"x/result.json is damaged or gone"):
        _gathered(runs, [_entry("x", "adam_star", 16)])


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"variants": ["adam_star", "frozen"]}, "compared with 'unfrozen'; add it"),
        ({"variants": ["unfrozen", "constant"]}, "'constant' has no width here; allowed are"),
        ({"variants": ["unfrozen"]}, "at least 2 items"),
        ({"exponents": [0.0]}, "greater than 0"),
        ({"extra_widths": [32, 32]}, "32 is given twice"),
    ],
)
def test_settings_that_do_not_fit_are_refused(values, line):
    with pytest.raises(ValidationError, match=line):
        WidthLimitSettings.model_validate(values)
