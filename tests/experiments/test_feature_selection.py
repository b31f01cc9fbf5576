# SPDX-License-Identifier: Apache-2.0
"""The three studies against closed forms, quadrature and plain NumPy, and the experiment's plan.

Shapes: A examples, d = D + 1; H features, E outputs; S steps of K examples.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import ValidationError

from infwidth import infinite
from infwidth.analysis.selection import Cell
from infwidth.config.errors import UserError
from infwidth.config.feature_selection import (
    DensityRatioSettings,
    FeatureSelectionSettings,
    SearchSettings,
)
from infwidth.config.load import read_config, validate
from infwidth.experiments import feature_selection as experiment
from infwidth.experiments import feature_selection_density as density
from infwidth.experiments import feature_selection_planted as planted
from infwidth.experiments.feature_selection_infinite import kernel_rule
from infwidth.experiments.feature_selection_least_squares import best_readouts, products
from infwidth.experiments.feature_selection_pruning import Digits, cross_entropy
from infwidth.experiments.feature_selection_teacher import draw_teacher, extended, relu_features
from infwidth.experiments.feature_selection_training import (
    Constants,
    draw_batches,
    features_of,
    image_data,
    mean_loss,
    relu,
    teacher_data,
    train,
    unit_of_sgd,
)
from infwidth.experiments.feature_selection_tuning import search
from infwidth.experiments.parts import Parts
from infwidth.models.normalization import relu_second_moment
from tests.optim.oracle import Rule

RNG = np.random.default_rng(0)


SMOKE = validate(read_config(["config/smoke.yaml"])).feature_selection


@pytest.fixture(scope="module")
def settings():
    pruning = SMOKE.pruning.model_copy(
        update={"validation_examples": 20, "test_examples": 20, "shares": [0.5]}
    )
    return SMOKE.model_copy(update={"pruning": pruning})


# Density ratio.


@pytest.mark.parametrize("dimension", [1, 2])
def test_cells_have_equal_measure(dimension):
    bands, count = 4, 64_000
    omega_Nxd = np.random.default_rng(1).normal(size=(count, dimension + 1))
    found_C = np.bincount(density.cells(omega_Nxd, bands), minlength=32)
    assert found_C.size == 32
    # χ² of 31 degrees of freedom exceeds 70 with probability 1e-4.
    assert np.square(found_C - count / 32).sum() / (count / 32) < 70
    even_C = np.bincount(density.cells(density.grid(dimension, bands), bands))
    assert set(even_C) == {density.FINER**2}


def test_cells_do_not_see_lengths():
    omega_Nxd = RNG.normal(size=(50, 3))
    lengths_N = RNG.uniform(0.1, 10, size=50)
    first, second = (density.cells(w, 8) for w in (omega_Nxd, omega_Nxd * lengths_N[:, None]))
    assert (first == second).all()


def test_features_that_stayed_cost_what_their_lengths_do():
    # With M = 1, ρ = E|ω| everywhere: for d = 2 that is √(π/2), and E[M̃²] = π/4.
    omega_Nxd = density.even_normal(100_000, 2, seed=0)
    rho_C = density.density_ratio(omega_Nxd, np.ones(100_000), bands=4)
    np.testing.assert_allclose(rho_C, math.sqrt(math.pi / 2), rtol=0.02)
    assert np.square(rho_C).mean() / 2 == pytest.approx(math.pi / 4, rel=0.005)


@pytest.mark.parametrize("dimension", [1, 2])
def test_reweighting_gives_the_function_of_features_that_moved(dimension):
    # ω_t = Aω and M = 1: f(x) = E relu(Aω·x̃)/√d = |Aᵀx̃| / √(2π d), a closed form.
    d, bands = dimension + 1, 24
    A_dxd = np.diag([2.0, 1.0, 0.6][:d])
    omega_Nxd = density.even_normal(200_000, d, seed=1) @ A_dxd.T
    rho_C = density.density_ratio(omega_Nxd, np.ones(len(omega_Nxd)), bands)
    x_PxD = RNG.normal(size=(40, dimension))
    f_P = np.linalg.norm(extended(x_PxD) @ A_dxd, axis=1) / math.sqrt(2 * math.pi * d)
    grid_Fxd = density.grid(dimension, bands)
    limit_P = density.outputs(x_PxD, grid_Fxd, rho_C[density.cells(grid_Fxd, bands)])
    np.testing.assert_allclose(limit_P, f_P, rtol=0.01)
    # And by frozen features ω ~ N(0, I), within 4 Monte-Carlo errors at every point.
    frozen_Hxd = np.random.default_rng(3).normal(size=(100_000, d))
    term_PxH = relu_features(x_PxD, frozen_Hxd) * density.reweighted(rho_C, frozen_Hxd, bands)
    error_P = term_PxH.std(axis=1) / math.sqrt(100_000)
    assert np.abs(term_PxH.mean(axis=1) - f_P).max() < (4 * error_P + 0.01 * f_P).max()


def test_particles_descend_the_gradient_of_half_the_mean_square_error():
    N, n, d, rate, kappa = 6, 5, 3, 0.5, 0.2
    rng = np.random.default_rng(4)
    omega_Nxd, m_N, x_nxd, y_n = (
        jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in ((N, d), N, (n, d), n)
    )

    def loss(omega_Nxd, m_N):
        f_n = jnp.dot(m_N, jax.nn.relu(jnp.dot(omega_Nxd, x_nxd.T) / math.sqrt(d))) / N
        return jnp.mean(jnp.square(f_n - y_n)) / 2

    expected = omega_Nxd, m_N
    for _ in range(2):
        g_Nxd, g_N = jax.grad(loss, argnums=(0, 1))(*expected)
        expected = expected[0] - kappa * rate * N * g_Nxd, expected[1] - rate * N * g_N
    rates = (jnp.float32(rate), jnp.float32(kappa))
    *found, _ = density._descend(omega_Nxd, m_N, x_nxd, y_n, *rates, steps=2)
    for x, y in zip(found, expected, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)


@pytest.fixture(scope="module")
def small():
    return DensityRatioSettings(
        particles=2048, points=32, steps=20, bands=8, widths=[16, 256], draws=2, test_points=16
    )


def test_features_at_rest_are_reproduced_and_moved_ones_cost_more(small):
    still, moved = (density.reproduce(small, 2, kappa, seed=3) for kappa in (0.0, 1.0))
    assert (still["moved"] < 1e-3).all()
    assert (moved["moved"] > 0.1).all()
    assert still["error"].is_monotonic_decreasing
    # At rest M̃ is E[M | u], less or equal to M in mean square but for the cells' noise.
    assert still["price"][0] < 1.1 * still["trained_second_moment"][0]
    assert moved["price"][0] > 2 * moved["trained_second_moment"][0]
    assert moved["floor"][0] < 0.2


def test_a_network_that_diverges_names_the_setting(small):
    with pytest.raises(UserError, match=r"density_ratio\.learning_rate"):
        density.reproduce(small.model_copy(update={"learning_rate": 1e30}), 2, 1.0, 0)


# Least squares.


def test_products_are_integrals_over_normal_inputs():
    # D = 1: a sum over a grid of x; its error is that at the kinks, of the order of (6e-5)².
    x_A = np.linspace(-12, 12, 400_001)
    weight_A = np.exp(-(x_A**2) / 2) / math.sqrt(2 * math.pi) * (x_A[1] - x_A[0])
    omega_Hxd = np.random.default_rng(5).normal(size=(7, 2))
    omega_Hxd[1], omega_Hxd[2] = 2 * omega_Hxd[0], -omega_Hxd[0]
    g_AxH = relu_features(x_A[:, None], omega_Hxd)
    expected_HxH = g_AxH.T @ (weight_A[:, None] * g_AxH)
    np.testing.assert_allclose(products(omega_Hxd, omega_Hxd), expected_HxH, atol=1e-7)


def test_products_in_more_dimensions():
    omega_Hxd = np.random.default_rng(6).normal(size=(5, 4))
    found_HxH = products(omega_Hxd, omega_Hxd)
    sigma_H = np.linalg.norm(omega_Hxd[:, :-1], axis=1)
    ratio_H = math.sqrt(3) / 2 * omega_Hxd[:, -1] / sigma_H
    diagonal_H = sigma_H**2 * relu_second_moment(ratio_H) / 4
    np.testing.assert_allclose(np.diag(found_HxH), diagonal_H, rtol=1e-9)
    x_AxD = np.random.default_rng(7).normal(size=(200_000, 3))
    g_AxH = relu_features(x_AxD, omega_Hxd)
    # 5 standard errors of the mean.
    for h in range(5):
        terms_AxH = g_AxH[:, h : h + 1] * g_AxH
        error_H = terms_AxH.std(axis=0) / math.sqrt(200_000)
        assert (np.abs(terms_AxH.mean(axis=0) - found_HxH[h]) < 5 * error_H).all()


def test_the_best_readout_is_that_of_weighted_least_squares():
    rng = np.random.default_rng(8)
    frozen_Hxd, omega_Nxd, m_N = (
        rng.normal(size=(4, 2)),
        rng.normal(size=(3, 2)),
        rng.normal(size=3),
    )
    x_A = np.linspace(-9, 9, 100_001)
    root_A = np.sqrt(np.exp(-(x_A**2) / 2))
    f_A = density.outputs(x_A[:, None], omega_Nxd, m_N)
    fits = best_readouts(frozen_Hxd, omega_Nxd, m_N, [2, 4])
    assert [fit.width for fit in fits] == [2, 4]
    for fit in fits:
        g_AxH = relu_features(x_A[:, None], frozen_Hxd[: fit.width])
        share_H = np.linalg.lstsq(root_A[:, None] * g_AxH, root_A * f_A, rcond=None)[0]
        left = np.linalg.norm(root_A * (g_AxH @ share_H - f_A)) / np.linalg.norm(root_A * f_A)
        assert fit.error == pytest.approx(left, rel=1e-4)
        assert fit.price == pytest.approx(np.square(fit.width * share_H).mean(), rel=1e-4)


def test_a_network_of_frozen_features_is_had_exactly():
    rng = np.random.default_rng(9)
    frozen_Hxd, m_N = rng.normal(size=(6, 3)), rng.normal(size=4)
    (fit,) = best_readouts(frozen_Hxd, frozen_Hxd[:4], m_N, [6])
    assert fit.error < 1e-4
    # The readout is M_n H/N on the four, 0 on the two others.
    assert fit.price == pytest.approx(np.square(m_N * 6 / 4).sum() / 6, rel=1e-3)


# Training.

CONSTANTS = Constants.of(0.3, 0.0, 0.9, 0.98, 1e-9)


@pytest.fixture(scope="module")
def teacher():
    return teacher_data(seed=1, units=2, dimension=3, train=20, held_out=10)


def trained(data, rule, omega_Hxd, batch_SxK, logged, constants=CONSTANTS):
    problem = (data.x_Axd, data.target_A, data.outputs)
    return train(rule, *problem, omega_Hxd, batch_SxK, constants, logged)


def test_data_are_standardised_and_apart(teacher):
    data, drawn = teacher
    y_A = np.asarray(data.target_A[data.train, 0])
    assert (y_A.mean(), y_A.std()) == pytest.approx((0, 1), abs=1e-5)
    assert [len(data.x_Axd[s]) for s in (data.train, data.validation, data.test)] == [20, 10, 10]
    raw_A = drawn(np.asarray(data.x_Axd[:, :-1], np.float64))
    assert np.corrcoef(raw_A, np.asarray(data.target_A[:, 0]))[0, 1] == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(np.linalg.norm(drawn.v_Kxd, axis=1), 1)


@pytest.mark.parametrize("rule", ["sgd", "adam", "adam_star"])
def test_frozen_features_train_as_in_plain_numpy(teacher, rule):
    data, _ = teacher
    H, S, logged = 4, 6, (2, 6)
    omega_Hxd = features_of(0, H, data)
    batch_SxK = draw_batches(0, data, S, 5)
    assert int(batch_SxK.max()) < 20
    found = trained(data, rule, omega_Hxd, batch_SxK, logged).m_LxHxE
    g_AxH = relu_features(np.asarray(data.x_Axd[:, :-1]), np.asarray(omega_Hxd, np.float64))
    y_Ax1 = np.asarray(data.target_A, np.float64)
    of = Rule("per_output" if rule == "adam_star" else rule, 0.9, 0.98, 1e-9)
    m_Hx1 = np.zeros((H, 1))
    for number, index_K in enumerate(np.asarray(batch_SxK)):
        delta_Kx1 = (g_AxH[index_K] @ m_Hx1 / H - y_Ax1[index_K]) / 5
        fall = (1 + math.cos(math.pi * number / S)) / 2
        m_Hx1 = m_Hx1 - 0.3 * fall * of.direction(g_AxH[index_K].T @ delta_Kx1)
        if number + 1 in logged:
            np.testing.assert_allclose(found[logged.index(number + 1)], m_Hx1, rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize("rule", ["sgd", "adam_star"])
def test_the_kernel_form_is_the_same_training(teacher, rule):
    # The theorem of docs/theory.md, section 6, with Θ_H in the place of Θ; inputs stand for their
    # features, whose products are the kernel.
    data, _ = teacher
    H, S = 4, 6
    omega_Hxd, batch_SxK = features_of(0, H, data), draw_batches(0, data, S, 5)
    m_Hx1 = trained(data, rule, omega_Hxd, batch_SxK, (2, 6)).m_LxHxE[-1]
    g_AxH = relu(data.x_Axd, omega_Hxd)

    def kernel(g_AxH, g_BxH):
        return jnp.dot(g_AxH, g_BxH.T) / H

    readout = infinite.Readout(kernel, g_AxH[data.train], 1)
    solver = kernel_rule(rule, 0.3, 0.9, 0.98, 1e-9, S)
    state, _ = readout.train(solver, mean_loss, data.target_A[data.train], batch_SxK)
    found_Mx1 = readout(state.coefficients_NxE, g_AxH[data.test])
    expected_Mx1 = jnp.dot(g_AxH[data.test], m_Hx1) / H
    np.testing.assert_allclose(found_Mx1, expected_Mx1, rtol=1e-4, atol=1e-5)


def test_unfrozen_features_that_do_not_move_are_frozen_ones(teacher):
    data, _ = teacher
    omega_Hxd, batch_SxK = features_of(0, 4, data), draw_batches(0, data, 6, 5)
    frozen = trained(data, "adam", omega_Hxd, batch_SxK, (2, 6))
    still = trained(data, "unfrozen", omega_Hxd, batch_SxK, (2, 6))
    np.testing.assert_allclose(still.m_LxHxE, frozen.m_LxHxE, rtol=1e-5, atol=1e-6)
    assert (still.omega_LxHxd == omega_Hxd[None]).all()
    moving = Constants.of(0.3, 0.1, 0.9, 0.98, 1e-9)
    moved = trained(data, "unfrozen", omega_Hxd, batch_SxK, (2, 6), moving).omega_LxHxd
    # Adam's second step, the first with a gradient (M was 0), is of size κ η at most 10 times.
    assert 0 < float(jnp.abs(moved[0] - omega_Hxd).max()) < 10 * 0.1 * 0.3


def test_sgds_unit_makes_its_first_step_one(teacher):
    data, _ = teacher
    omega_Hxd, batch_SxK = features_of(0, 4, data), draw_batches(0, data, 1, 5)
    constants = Constants.of(unit_of_sgd(data, omega_Hxd, batch_SxK), 0.0, 0.9, 0.98, 1e-9)
    first = trained(data, "sgd", omega_Hxd, batch_SxK, (1,), constants).m_LxHxE
    assert float(jnp.sqrt(jnp.mean(jnp.square(first)))) == pytest.approx(1, rel=1e-5)


def test_classes_have_cross_entropy():
    f_AxE, label_A = RNG.normal(size=(6, 3)), np.array([0, 1, 2, 0, 1, 2])
    share_AxE = np.exp(f_AxE) / np.exp(f_AxE).sum(axis=1, keepdims=True)
    expected = -np.log(share_AxE[np.arange(6), label_A]).mean()
    assert cross_entropy(f_AxE, label_A) == pytest.approx(expected, rel=1e-12)
    found = mean_loss(jnp.asarray(f_AxE, jnp.float32), jnp.asarray(label_A))
    assert float(found) == pytest.approx(expected, rel=1e-5)


# Planted directions.


def test_mass_is_counted_where_it_lies():
    v_Kxd = draw_teacher(np.random.default_rng(2), 2, 3).v_Kxd
    rng = np.random.default_rng(3)
    omega_Hxd = np.concatenate([3 * v_Kxd, -v_Kxd[:1], rng.normal(size=(40, 4))])
    aligned_H = planted.alignment(omega_Hxd, v_Kxd)
    np.testing.assert_allclose(aligned_H[:3], 1)
    assert (aligned_H[3:] < 1 - 1e-6).all()
    only_Hx1 = np.zeros((43, 1))
    only_Hx1[:3] = 1
    assert planted.mass_on_aligned(omega_Hxd, only_Hx1, v_Kxd, 1 - 1e-6).aligned == 1
    found = planted.mass_on_aligned(omega_Hxd, np.ones((43, 1)), v_Kxd, 0.6)
    assert found.aligned == pytest.approx(found.at_random)
    # By sampling inputs: a feature's part is its mean square.
    g_AxH = relu_features(rng.normal(size=(100_000, 3)), omega_Hxd)
    square_H = np.square(g_AxH).mean(axis=0)
    expected = square_H[aligned_H > 0.6].sum() / square_H.sum()
    assert found.at_random == pytest.approx(expected, rel=0.02)


def test_a_training_that_diverged_is_nothing_but_nan(settings):
    high = Cell(1e6)
    assert planted.validation_loss(settings, "sgd", high, 0, 1.0) == math.inf
    table = planted.measure_mass(settings, "sgd", high, 8, 5, 1.0)
    assert table[["aligned", "at_random", "loss"]].isna().all(axis=None)
    assert table["step"].tolist() == [1, 4]
    sound = planted.measure_mass(settings, "sgd", Cell(0.1), 8, 5, 1.0)
    assert sound[["aligned", "at_random", "loss"]].notna().all(axis=None)


# Tuning.


def test_the_best_rate_is_found_beyond_the_grid():
    settings = SearchSettings(seeds=[0, 1], learning_rates=[0.1, 1.0], max_extensions=3)
    found = search("planted", "sgd", settings, 0.01, lambda cell, _: abs(cell.learning_rate - 10))
    assert found.cell == Cell(10.0)
    assert found.selection["interior"]
    assert len(found.trials) == 8  # 0.1, 1, 10, 100 on two seeds
    rates = SearchSettings(seeds=[0], learning_rates=[1.0, 3.0], kappas=[0.1], max_extensions=0)
    found = search("planted", "unfrozen", rates, 0.01, lambda cell, _: cell.learning_rate)
    assert found.cell == Cell(1.0, 0.1)
    with pytest.raises(UserError, match=r"every rate of sgd diverged.*tuning\.learning_rates"):
        search("planted", "sgd", settings, 0.01, lambda *_: math.nan)


# Pruning, and the whole plan.


def images():
    rng = np.random.default_rng(0)
    x_AxD = rng.normal(size=(80, 4))
    return x_AxD, (x_AxD[:, 0] > 0) + 2 * (x_AxD[:, 1] > 0)


def test_top_features_are_those_of_the_largest_readout(settings):
    table = Digits(settings, *images()).prune("adam", Cell(1.0), 5)
    assert (table["kept"] == [20, 20, 10, 10, 10, 10]).all()
    assert np.isfinite(table["loss"]).all()
    # By hand: train, keep 10 of 20, fit the scale on a grid, look at the test images.
    data = image_data(settings.pruning.data_seed, 20, 20, *images())
    omega_Hxd = features_of(5, 20, data)
    batch_SxK = draw_batches(5, data, settings.pruning.steps, settings.pruning.batch_size)
    constants = Constants.of(1.0, 0.0, settings.b1, settings.b2, settings.eps)
    m_HxE = np.asarray(
        trained(data, "adam", omega_Hxd, batch_SxK, (settings.pruning.steps,), constants).m_LxHxE[0]
    )
    g_AxH = relu_features(np.asarray(data.x_Axd[:, :-1]), np.asarray(omega_Hxd))
    rms_H = np.sqrt(np.square(g_AxH[data.train]).mean(axis=0))
    kept_k = np.argsort(-rms_H * np.linalg.norm(m_HxE, axis=1))[:10]
    f_AxE, label_A = g_AxH[:, kept_k] @ m_HxE[kept_k], np.asarray(data.target_A)
    losses = {
        cross_entropy(scale * f_AxE[data.validation], label_A[data.validation]): cross_entropy(
            scale * f_AxE[data.test], label_A[data.test]
        )
        for scale in np.geomspace(1e-4, 10, 400)
    }
    found = table.query("share == 0.5 and kind == 'top' and not retrained")["loss"].item()
    assert found == pytest.approx(losses[min(losses)], abs=2e-3)


def test_it_keeps_what_it_computed(settings, tmp_path, monkeypatch):
    # Fewer rules, since each is compiled for itself.
    monkeypatch.setattr(experiment, "RULES", ("unfrozen", "adam_star"))
    monkeypatch.setattr(experiment, "FROZEN", ("adam_star",))
    monkeypatch.setattr(planted, "KERNEL_RULES", ("adam_star",))
    digits = Digits(settings, *images())

    def parts(modules, retrain=False):
        return Parts(tmp_path, modules, "cpu", retrain)

    tables = experiment.measure(settings, digits, parts)
    widths = tables["planted"].groupby(["rule", "seed", "width", "step"]).size()
    assert (widths == 1).all()
    assert len(widths) == 2 * 2 * 1 * 2
    assert tables["infinite"].groupby("rule").size().to_dict() == {"adam_star": 2}
    assert tables["density_ratio"].groupby(["dimension", "kappa", "seed"]).size().tolist() == [2, 2]
    assert tables["least_squares"].groupby(["dimension", "seed"]).size().tolist() == [2, 2]
    assert len(tables["pruning"]) == 2 * (2 + 2 * 2)
    assert len(tables["selection"]) == 3
    assert len(tables["tuning"]) == 3 * 2

    def refuse(*_):
        raise AssertionError("computed again")

    used = ((planted, "train"), (planted, "infinite_losses"), (density, "train"))
    for module, name in (*used, (Digits, "_train")):
        monkeypatch.setattr(module, name, refuse)
    again = experiment.measure(settings, digits, parts)
    for name, table in tables.items():
        assert again[name].equals(table)
    with pytest.raises(AssertionError, match="computed again"):
        experiment.measure(settings, digits, partial(parts, retrain=True))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"seeds": [0, 10]}, "0 is among seeds and among tuning.seeds"),
        ({"pruning": {"judged_share": 0.3}}, r"judged_share \(0.3\) must be one of shares"),
        ({"pruning": {"test_examples": 1700}}, "must leave at least one"),
        ({"density_ratio": {"bands": 6}}, "multiple of 4"),
        ({"density_ratio": {"dimensions": [3]}}, "1 or 2"),
        ({"planted": {"widths": [2, 2]}}, "2 is given twice"),
    ],
)
def test_settings_that_do_not_fit_are_named(values, message):
    with pytest.raises(ValidationError, match=message):
        FeatureSelectionSettings.model_validate(values)
