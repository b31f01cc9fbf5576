# SPDX-License-Identifier: Apache-2.0
"""Training of networks of one hidden layer, against plain NumPy and the kernel form.

Shapes: A examples, d = D + 1; H features, E outputs; S steps of K examples.
"""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from infwidth import infinite
from infwidth.experiments.feature_selection.planted import kernel_rule
from infwidth.experiments.feature_selection.pruning import cross_entropy
from infwidth.experiments.feature_selection.settings import FeatureSelectionSettings
from infwidth.experiments.feature_selection.training import (
    Task,
    mean_loss,
    relu,
    relu_features,
    teacher_data,
)
from infwidth.stats.selection import Cell
from tests.optim.oracle import Rule

RNG = np.random.default_rng(0)
H, LOGGED = 4, (2, 6)
SETTINGS = FeatureSelectionSettings.model_validate({"planted": {"logged_steps": LOGGED}})


@pytest.fixture(scope="module")
def teacher():
    return teacher_data(seed=1, units=2, dimension=3, train=20, held_out=10)


@pytest.fixture(scope="module")
def task(teacher):
    return Task(SETTINGS, teacher[0], 0, LOGGED, 5)


def trained(task, rule, kappa=None):
    return task.train(rule, Cell(0.3, kappa), task.features(H), 1.0)


def test_data_are_standardised_and_apart(teacher):
    data, drawn = teacher
    y_A = np.asarray(data.target_A[data.train, 0])
    assert (y_A.mean(), y_A.std()) == pytest.approx((0, 1), abs=1e-5)
    assert [len(data.x_Axd[s]) for s in (data.train, data.validation, data.test)] == [20, 10, 10]
    raw_A = drawn(np.asarray(data.x_Axd[:, :-1], np.float64))
    assert np.corrcoef(raw_A, np.asarray(data.target_A[:, 0]))[0, 1] == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(np.linalg.norm(drawn.v_Kxd, axis=1), 1)


@pytest.mark.parametrize("rule", ["sgd", "adam", "adam_star"])
def test_frozen_features_train_as_in_plain_numpy(task, rule):
    data, omega_Hxd = task.data, np.asarray(task.features(H), np.float64)
    assert int(task.batch_SxK.max()) < 20
    found = trained(task, rule).m_LxHxE
    g_AxH = relu_features(np.asarray(data.x_Axd[:, :-1]), omega_Hxd)
    y_Ax1 = np.asarray(data.target_A, np.float64)
    of = Rule("per_output" if rule == "adam_star" else rule, 0.9, 0.98, 1e-9)
    m_Hx1 = np.zeros((H, 1))
    for number, index_K in enumerate(np.asarray(task.batch_SxK)):
        delta_Kx1 = (g_AxH[index_K] @ m_Hx1 / H - y_Ax1[index_K]) / 5
        fall = (1 + math.cos(math.pi * number / 6)) / 2
        m_Hx1 = m_Hx1 - 0.3 * fall * of.direction(g_AxH[index_K].T @ delta_Kx1)
        if number + 1 in LOGGED:
            np.testing.assert_allclose(found[LOGGED.index(number + 1)], m_Hx1, rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize("rule", ["sgd", "adam_star"])
def test_the_kernel_form_is_the_same_training(task, rule):
    # The theorem of docs/theory.md, section 6, with Θ_H in the place of Θ; inputs stand for their
    # features, whose products are the kernel.
    data, m_Hx1 = task.data, trained(task, rule).m_LxHxE[-1]
    g_AxH = relu(data.x_Axd, task.features(H))

    def kernel(g_AxH, g_BxH):
        return jnp.dot(g_AxH, g_BxH.T) / H

    readout = infinite.Readout(kernel, g_AxH[data.train], 1)
    solver = kernel_rule(rule, 0.3, SETTINGS)
    state, _ = readout.train(solver, mean_loss, data.target_A[data.train], task.batch_SxK)
    found_Mx1 = readout(state.coefficients_NxE, g_AxH[data.test])
    expected_Mx1 = jnp.dot(g_AxH[data.test], m_Hx1) / H
    np.testing.assert_allclose(found_Mx1, expected_Mx1, rtol=1e-4, atol=1e-5)


def test_unfrozen_features_that_do_not_move_are_frozen_ones(task):
    omega_Hxd, still = task.features(H), trained(task, "unfrozen", 0.0)
    frozen = trained(task, "adam")
    np.testing.assert_allclose(still.m_LxHxE, frozen.m_LxHxE, rtol=1e-5, atol=1e-6)
    assert (still.omega_LxHxd == omega_Hxd[None]).all()
    moved = trained(task, "unfrozen", 0.1).omega_LxHxd
    # Adam's second step, the first with a gradient (M was 0), is of size κ η at most 10 times.
    assert 0 < float(jnp.abs(moved[0] - omega_Hxd).max()) < 10 * 0.1 * 0.3


def test_sgds_unit_makes_its_first_step_one(teacher):
    task = Task(SETTINGS, teacher[0], 0, (1,), 5)
    omega_Hxd = task.features(H)
    first = task.train("sgd", Cell(1.0), omega_Hxd, task.sgd_unit(omega_Hxd)).m_LxHxE
    assert float(jnp.sqrt(jnp.mean(jnp.square(first)))) == pytest.approx(1, rel=1e-5)


def test_classes_have_cross_entropy():
    f_AxE, label_A = RNG.normal(size=(6, 3)), np.array([0, 1, 2, 0, 1, 2])
    share_AxE = np.exp(f_AxE) / np.exp(f_AxE).sum(axis=1, keepdims=True)
    expected = -np.log(share_AxE[np.arange(6), label_A]).mean()
    assert cross_entropy(f_AxE, label_A) == pytest.approx(expected, rel=1e-12)
    found = mean_loss(jnp.asarray(f_AxE, jnp.float32), jnp.asarray(label_A))
    assert float(found) == pytest.approx(expected, rel=1e-5)
