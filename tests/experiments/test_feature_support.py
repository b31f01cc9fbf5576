# SPDX-License-Identifier: Apache-2.0
"""Population residuals against brute force, readouts against plain ones, and the plan.

Shapes: N nodes, H features, K atoms, M directions.
"""

import itertools
import math

import numpy as np
import pytest
from scipy import integrate, stats

from infwidth.config.settings import Settings
from infwidth.experiments.feature_support import measure as feature_support
from infwidth.experiments.feature_support.cases import (
    Target,
    cases,
    draw,
    line_nodes,
    relu,
    sample_nodes,
    support,
    target,
    wave,
    zigzag,
)
from infwidth.experiments.feature_support.measure import adam_star_readout, best_readout
from infwidth.experiments.feature_support.residuals import (
    cone_residual,
    named,
    residual,
    span_residual,
    unseen_kink,
    wave_residual,
)
from infwidth.experiments.feature_support.settings import FeatureSupportSettings
from infwidth.experiments.parts import Parts
from tests.optim.oracle import Rule

SETTINGS = FeatureSupportSettings.model_validate(
    {
        "widths": [4, 16],
        "seeds": [3],
        "quantised_levels": [3],
        "fit_nodes": {"line": 64, "plane": 8},
        "test_nodes": {"line": 64, "plane": 16},
        "training": {"nodes": {"line": 32, "plane": 8}, "steps": [5, 20]},
        "report": {
            **{"features": 32, "inputs": 48, "draws": 19, "level": 0.05},
            **{"repeats": 1, "controls": 2},
        },
    }
)
CASES = {case.name: case for case in cases(SETTINGS)}
ZIGZAG = zigzag((-1.3, -0.3, 0.8))


def mean(function, *ends):
    """E f(x) under N(0, 1), by SciPy's adaptive rule."""
    points = [-12, *sorted(ends), 12]
    pieces = [
        integrate.quad(lambda x: function(x) * stats.norm.pdf(x), low, high, epsabs=1e-12)[0]
        for low, high in itertools.pairwise(points)
    ]
    return sum(pieces)


def of_line(y):
    return lambda x: float(y(np.array([[x]]))[0])


def test_rules_integrate_the_normal_law():
    for x_NxD, weight_N in (line_nodes([0.1234]), sample_nodes(64, 1), sample_nodes(64, 2, 30)):
        assert weight_N.sum() == pytest.approx(1, abs=1e-12)
        second = np.einsum("n,nd,ne->de", weight_N, x_NxD, x_NxD)
        # sample_nodes leaves the far tails out.
        np.testing.assert_allclose(second, np.eye(x_NxD.shape[1]), atol=2e-5)
    x_Nx1, weight_N = line_nodes([0.1234])
    exact = mean(lambda x: abs(x - 0.1234), 0.1234)
    assert weight_N @ np.abs(x_Nx1[:, 0] - 0.1234) == pytest.approx(exact, abs=1e-13)


def test_targets_have_mean_0_and_variance_1_and_their_kinks():
    assert mean(of_line(ZIGZAG), *ZIGZAG.kinks) == pytest.approx(0, abs=1e-10)
    square = mean(lambda x: of_line(ZIGZAG)(x) ** 2, *ZIGZAG.kinks)
    assert square == pytest.approx(1, abs=1e-9)
    x_N = np.array([-3, -2, -1, -0.8, 0, 0.5, 1, 2])
    slope = np.diff(ZIGZAG(x_N[:, None])) / np.diff(x_N)
    np.testing.assert_array_equal(np.sign(slope[::2]), [1, -1, 1, -1])
    y = wave(1.5)
    assert mean(lambda x: float(y(np.array([[x, 9.0]]))[0]) ** 2) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("name", CASES)
def test_a_wider_draw_begins_with_the_narrower_and_lies_in_the_support(name):
    case = CASES[name]
    omega_Hxd = draw(case, SETTINGS, 3, 400)
    np.testing.assert_array_equal(draw(case, SETTINGS, 3, 7), omega_Hxd[:7])
    assert np.any(draw(case, SETTINGS, 4, 7) != omega_Hxd[:7])
    if case.kind == "cone":
        angle_H = np.degrees(np.arctan2(omega_Hxd[:, 1], omega_Hxd[:, 0]))
        assert 44 < np.abs(angle_H).max() <= 45
    elif case.kind == "subspace":
        assert np.linalg.matrix_rank(omega_Hxd) == 2
        across = np.array([-math.sin(math.radians(30)), math.cos(math.radians(30)), 0])
        np.testing.assert_allclose(omega_Hxd @ across, 0, atol=1e-12)
    elif case.kind in ("atoms", "quantised"):
        atoms = {tuple(omega) for omega in support(case, SETTINGS, 3)}
        assert {tuple(omega) for omega in omega_Hxd} <= atoms
    else:
        np.testing.assert_allclose(np.cov(omega_Hxd.T), np.eye(case.D + 1), atol=0.2)


def test_the_residual_of_a_cone_is_what_ever_more_features_leave():
    # The distance from 400 features of the cone, computed as for atoms, falls towards it.
    angle_K = np.linspace(-math.pi / 4, math.pi / 4, 400)
    fine_Kx2 = np.stack([np.cos(angle_K), np.sin(angle_K)], axis=1)
    exact = float(cone_residual(ZIGZAG, 45, 0.5))
    distances = [float(span_residual(ZIGZAG, fine_Kx2[::step], 0.5)) for step in (21, 7, 3, 1)]
    assert distances == sorted(distances, reverse=True)
    assert 0 < distances[-1] - exact < 3e-3


def test_the_residual_of_a_cone_by_hand():
    # y = relu(x − 1) is 0 on the left; on the right of 1/2, the normal equations by quad.
    y, ends = Target(lambda x_Nx1: relu(x_Nx1[:, 0] - 1), (1.0,)), (0.5, 1.0)

    def right(power, of_target=0):
        return mean(lambda x: x**power * max(x - 1, 0) ** of_target * (x > 0.5), *ends)

    gram = np.array([[right(0), right(1)], [right(1), right(2)]])
    by_target = np.array([right(0, 1), right(1, 1)])
    expected = right(0, 2) - by_target @ np.linalg.solve(gram, by_target)
    assert cone_residual(y, 45, 0.5) == pytest.approx(expected, rel=1e-7)
    inside = Target(lambda x_Nx1: relu(x_Nx1[:, 0] - 0.45), (0.45,))
    assert cone_residual(inside, 45, 0.5) == pytest.approx(0, abs=1e-14)
    assert cone_residual(inside, 15, 0.5) > 1e-4


def test_the_residual_of_atoms_is_0_for_what_they_span_and_else_a_distance():
    omega_Kx2 = np.array([[1.0, 0.4], [-2.0, 0.3], [0.0, 1.0]])
    m_K = np.array([1.5, -0.7, 0.2])

    def spanned(x_Nx1):
        return relu(x_Nx1 * omega_Kx2[:, 0] + 0.5 * omega_Kx2[:, 1]) @ m_K

    kinks = (-0.2, 0.075)
    assert span_residual(Target(spanned, kinks), omega_Kx2, 0.5) == pytest.approx(0, abs=1e-20)
    # One atom, relu(x): the closed form E y² − (E y g)² / E g².
    product = mean(lambda x: of_line(ZIGZAG)(x) * max(x, 0), 0, *ZIGZAG.kinks)
    found = span_residual(ZIGZAG, np.array([[2.0, 0.0]]), 0.5)
    assert found == pytest.approx(1 - product**2 / 0.5, rel=1e-8)
    many = Target(lambda x_Nx1: np.stack([ZIGZAG(x_Nx1), 2 * ZIGZAG(x_Nx1)], axis=1), ZIGZAG.kinks)
    np.testing.assert_allclose(
        span_residual(many, np.array([[2.0, 0.0]]), 0.5), [found, 4 * found], rtol=1e-9
    )


def test_the_residual_of_a_subspace_is_the_variance_that_is_not_seen():
    (z_Nx1, weight_N), (v_Mx1, weight_M) = line_nodes(), line_nodes()
    for angle in (10, 30, 80):
        cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        x_NxM = cos * z_Nx1 + sin * v_Mx1[:, 0]
        y_NxM = wave(1.5)(x_NxM.reshape(-1, 1)).reshape(x_NxM.shape)
        seen = weight_N @ np.square(y_NxM @ weight_M)
        assert wave_residual(1.5, angle) == pytest.approx(1 - seen, rel=1e-9)


def test_the_kink_that_is_not_seen():
    seen_2 = np.array([0.6, 0.8])
    rng = np.random.default_rng(0)
    nu_Mx3 = np.concatenate([rng.normal(size=(4, 3)), [[0.6, 0.8, 0.3]]])
    (z_Nx1, weight_N), (v_Mx1, weight_M) = line_nodes(), line_nodes(panels=200)
    for nu, found in zip(nu_Mx3, unseen_kink(nu_Mx3, seen_2, 0.7), strict=True):
        along, across = nu[:2] @ seen_2, nu[:2] @ np.array([-0.8, 0.6])
        g_NxM = relu(along * z_Nx1 + across * v_Mx1[:, 0] + 0.7 * nu[2])
        variance = np.square(g_NxM) @ weight_M - np.square(g_NxM @ weight_M)
        assert found == pytest.approx(weight_N @ variance, rel=2e-3, abs=1e-6)


def test_a_named_direction_is_measured_against_the_worst():
    cone, subspace = CASES["cone"], CASES["subspace"]
    # On the line what looks to the left is missing, and what looks to the right at 0 is not.
    assert named(cone, SETTINGS, 3, np.array([-1.0]), -0.2) > 0.95
    assert named(cone, SETTINGS, 3, np.array([1.0]), 0.2) == pytest.approx(0, abs=1e-12)
    assert named(cone, SETTINGS, 3, np.zeros(1), -math.inf) > 0.1  # the constant
    angle = math.radians(SETTINGS.subspace_angle)
    unseen_2 = np.array([-math.sin(angle), math.cos(angle)])
    assert named(subspace, SETTINGS, 3, unseen_2, 0.0) > 0.7
    seen_2 = np.array([math.cos(angle), math.sin(angle)])
    assert named(subspace, SETTINGS, 3, seen_2, 0.3) < 1e-9
    assert math.isnan(named(CASES["total"], SETTINGS, 3, np.ones(1), 0.0))


@pytest.mark.parametrize("H", [5, 60])
def test_the_best_readout_is_that_of_least_squares(H):
    rng = np.random.default_rng(0)
    g_NxH, y_N, weight_N = rng.normal(size=(40, H)), rng.normal(size=40), rng.random(40)
    m_H = best_readout(g_NxH, y_N, weight_N, 1e-13)
    root_Nx1 = np.sqrt(weight_N)[:, None]
    expected_H = np.linalg.lstsq(g_NxH * root_Nx1, y_N * root_Nx1[:, 0], rcond=None)[0]
    np.testing.assert_allclose(m_H, expected_H, rtol=1e-6, atol=1e-8)


def test_training_in_coefficients_is_training_the_readout_by_adam_star():
    # 9 steps on M itself in plain NumPy, the rate falling to 0.
    H, steps, own = 6, 9, SETTINGS.training
    rng = np.random.default_rng(0)
    g_NxH, y_N, weight_N = rng.normal(size=(20, H)), rng.normal(size=20), np.full(20, 0.05)
    found_H = adam_star_readout(g_NxH, y_N, weight_N, steps, own)
    rule, m_Hx1 = Rule("per_output", own.b1, own.b2, own.eps), np.zeros((H, 1))
    for taken in range(steps):
        delta_N = weight_N * ((g_NxH @ m_Hx1)[:, 0] / H - y_N)
        direction_Hx1 = rule.direction((g_NxH.T @ delta_N)[:, None])
        m_Hx1 = m_Hx1 - own.learning_rate * (1 - taken / steps) * direction_Hx1
    np.testing.assert_allclose(found_H, m_Hx1[:, 0] / H, rtol=2e-4, atol=1e-5)


def tables(folder, own=SETTINGS):
    settings = Settings().model_copy(update={"feature_support": own})
    return feature_support.tables(settings, lambda modules: Parts(folder, modules, "cpu"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("parts")


@pytest.fixture(scope="module")
def measured(folder):
    return tables(folder)


def test_every_case_is_measured_at_every_width(measured):
    errors = measured["errors"]
    cells = errors.groupby(["case", "seed", "width", "readout", "steps"]).size()
    # The best readout, and two lengths of training.
    assert len(cells) == len(CASES) * 2 * 3
    assert (cells == 1).all()
    assert np.isfinite(errors["error"]).all()
    reports = measured["reports"].groupby("case").size()
    assert reports["total"] == reports["total_plane"] == 2
    assert reports["cone"] == 1
    assert set(measured["reports"]["seed"]) == {3, 4}
    assert set(measured["functions"]["case"]) == {c.name for c in CASES.values() if c.D == 1}


def test_no_error_is_below_its_residual(measured):
    both = measured["errors"].merge(measured["residuals"], on=["case", "seed"])
    # Quadratures of 64 nodes are right to some per cent.
    assert (both["error"] > 0.95 * both["residual"]).all()
    y = target(CASES["cone"], SETTINGS)
    expected = float(residual(CASES["cone"], SETTINGS, y, 3))
    of_case = measured["residuals"].set_index("case")["residual"]
    assert of_case["cone"] == expected > 0
    assert of_case["cone_erf"] == of_case["total"] == 0


def test_what_is_computed_is_kept(measured, folder, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("computed again")

    for name in ("best_readout", "support_report"):
        monkeypatch.setattr(feature_support, name, refuse)
    again = tables(folder)
    for name, table in measured.items():
        assert again[name].equals(table)
    with pytest.raises(AssertionError, match="computed again"):
        tables(folder, SETTINGS.model_copy(update={"widths": [4, 16, 32]}))


def test_names_are_those_of_the_law():
    settings = FeatureSupportSettings(quantised_levels=[2, 5])
    names = [case.name for case in cases(settings)]
    assert names == [
        *("total", "total_plane", "subspace", "cone", "cone_erf", "atoms"),
        *("quantised_2", "quantised_5"),
    ]
