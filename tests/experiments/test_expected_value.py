# SPDX-License-Identifier: Apache-2.0
"""Finite models against plain NumPy and against their own kernel, and the experiment's plan.

Shapes: A examples of dimension D, N of them trained on, P compared at; E classes, R inits, F
features of all of them, H of one.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from infwidth import infinite
from infwidth.config.errors import UserError
from infwidth.experiments.expected_value import measure as expected_value
from infwidth.experiments.expected_value import models as expected_value_models
from infwidth.experiments.expected_value.measure import CASES
from infwidth.experiments.expected_value.models import (
    Case,
    batch_loss,
    features,
    fixed_outputs,
    hyperparameters,
    make_problem,
    solve,
    trained_outputs,
)
from infwidth.experiments.expected_value.settings import ExpectedValueSettings
from infwidth.experiments.parts import Parts
from infwidth.models.features import draw_features

D, E, H, R = 4, 3, 8, 5
SETTINGS = ExpectedValueSettings.model_validate(
    {
        "train_examples": 12,
        "test_examples": 6,
        "fixed": {"widths": [1, 4], "features": 4096},
        "trained": {
            "widths": [4, 8],
            "inits_per_unit": 2,
            "steps": 6,
            "batch_size": 5,
            "adam_star_learning_rate": 0.3,
            "sgd_learning_rate": 2.0,
        },
    }
)


def examples():
    rng = np.random.default_rng(0)
    x_AxD = rng.normal(size=(40, D))
    return x_AxD, (x_AxD[:, 0] > 0) + 2 * (x_AxD[:, 1] > 0)


@pytest.fixture(scope="module")
def problem():
    return make_problem(SETTINGS, *examples())


@pytest.fixture(scope="module")
def drawn(problem):
    return features(problem, jax.random.key(3), R * H)


def of_init(g_AxF, r):
    return np.asarray(g_AxF, np.float64)[:, r * H : (r + 1) * H]


def test_examples_are_of_the_first_classes_and_scaled_as_those_trained_on(problem):
    assert problem.label_P.max() < SETTINGS.classes
    np.testing.assert_allclose(problem.x_NxD.mean(axis=0), 0, atol=1e-6)
    assert np.square(problem.x_NxD).mean() == pytest.approx(1, rel=1e-6)
    assert problem.batch_SxK.shape == (6, 5)
    assert all(len(set(index_K)) == 5 for index_K in np.asarray(problem.batch_SxK).tolist())
    both = np.concatenate([problem.x_NxD, problem.x_PxD])
    assert len(np.unique(both, axis=0)) == 18


def test_features_are_those_of_the_layer(problem, drawn):
    omega_Fxd = np.asarray(draw_features(jax.random.key(3), R * H, D + 1), np.float64)
    for x_AxD, g_AxF in zip((problem.x_NxD, problem.x_PxD), drawn, strict=True):
        x_Axd = np.pad(x_AxD, ((0, 0), (0, 1)), constant_values=math.sqrt(D) / 2)
        expected_AxF = np.maximum(x_Axd @ omega_Fxd.T / math.sqrt(D + 1), 0)
        np.testing.assert_allclose(g_AxF, expected_AxF, atol=2e-6)


def test_a_fixed_readout_gives_the_empirical_kernel(drawn):
    g_NxF, g_PxF = drawn
    c_NxE = np.random.default_rng(1).normal(size=(g_NxF.shape[0], E)).astype(np.float32)
    f_RxPxE = fixed_outputs(jnp.asarray(c_NxE), g_NxF, g_PxF, H)
    for r in range(R):
        theta_PxN = of_init(g_PxF, r) @ of_init(g_NxF, r).T / H
        np.testing.assert_allclose(f_RxPxE[r], theta_PxN @ c_NxE, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("name", CASES)
def test_training_in_parameters_is_training_in_coefficients_on_its_own_kernel(problem, drawn, name):
    # The theorem of docs/theory.md, section 6, with Θ_H in the place of Θ; inputs stand for their
    # features, whose products are the kernel.
    case, (g_NxF, g_PxF) = CASES[name], drawn
    constants = hyperparameters(case, SETTINGS.trained)
    f_RxPxE = trained_outputs(problem, case, constants, g_NxF, g_PxF, H)
    solver = infinite.sgd(SETTINGS.trained.sgd_learning_rate)
    if case.rule == "adam_star":
        of = SETTINGS.trained
        solver = infinite.adam_star(of.adam_star_learning_rate, of.b1, of.b2, of.eps)

    def kernel(g_AxH, g_BxH):
        return jnp.dot(g_AxH, g_BxH.T) / H

    loss = partial(batch_loss, case.loss)
    for r in range(R):
        readout = infinite.Readout(kernel, of_init(g_NxF, r).astype(np.float32), E)
        state, _ = readout.train(solver, loss, problem.target_NxE, problem.batch_SxK)
        expected_PxE = readout(state.coefficients_NxE, of_init(g_PxF, r).astype(np.float32))
        np.testing.assert_allclose(f_RxPxE[r], expected_PxE, rtol=1e-4, atol=2e-5)


def test_one_step_of_sgd_is_a_fixed_readout_and_so_without_bias(problem, drawn):
    # From M = 0 the errors of the first batch do not know the features: c = −ηδ at every init.
    case = Case("sgd", "squared")
    first = problem._replace(batch_SxK=problem.batch_SxK[:1])
    constants = hyperparameters(case, SETTINGS.trained)
    c_NxE = solve(first, case, SETTINGS.trained).c_NxE
    assert np.any(c_NxE)
    np.testing.assert_allclose(
        trained_outputs(first, case, constants, *drawn, H),
        fixed_outputs(c_NxE, *drawn, H),
        rtol=1e-5,
        atol=1e-6,
    )


@pytest.fixture
def parts(tmp_path):
    return partial(Parts, tmp_path, expected_value_models.__name__, "cpu")


@pytest.fixture
def one_case(monkeypatch):
    """Only the case that compiles soonest: a plan is the same for all."""
    monkeypatch.setattr(expected_value, "CASES", {"sgd": CASES["sgd"]})


@pytest.mark.usefixtures("one_case")
def test_it_stops_where_the_bias_is_not_resolved_and_keeps_what_it_computed(
    problem, parts, monkeypatch
):
    # At that confidence nothing is resolved: it ends with the first width.
    tables = expected_value.measure(problem, SETTINGS, 1 - 1e-9, parts())
    assert list(tables["infinite"]["case"]) == ["sgd"]
    assert list(tables["trained"]["width"]) == [4] * 8
    fixed = tables["fixed"]
    assert fixed.groupby("width")["inits"].first().to_dict() == {1: 4096, 4: 1024}
    # The variance of one init falls as 1/H. Single outputs have heavy tails: over seeds 1,024 inits
    # gave ratios of 3.6 to 4.1, and 64 of 2.8 to 9.3.
    variance = fixed.groupby("width")["variance"].mean()
    assert variance[1] / variance[4] == pytest.approx(4, rel=0.35)
    z = fixed["mean"] / np.sqrt(fixed["variance"] / fixed["inits"])
    assert np.abs(z).max() < 4.5

    def refuse(*_):
        raise AssertionError("computed again")

    for name in ("trained_outputs", "fixed_outputs"):
        monkeypatch.setattr(expected_value, name, refuse)
    again = expected_value.measure(problem, SETTINGS, 1 - 1e-9, parts())
    for name, table in tables.items():
        assert again[name].equals(table)
    with pytest.raises(AssertionError, match="computed again"):
        expected_value.measure(problem, SETTINGS, 1 - 1e-9, parts(retrain=True))


@pytest.mark.usefixtures("one_case")
def test_resolved_widths_are_followed_by_the_next(problem, parts, monkeypatch):
    monkeypatch.setattr(expected_value, "pair_estimate", lambda *_: (1.0, 0.1))
    trained = expected_value.measure(problem, SETTINGS, 0.95, parts())["trained"]
    assert trained.groupby("width").size().to_dict() == {4: 8, 8: 16}


def test_a_rate_at_which_models_diverge_is_named(problem, parts, monkeypatch):
    # Squared loss, since the errors of the cross-entropy are bounded.
    monkeypatch.setattr(expected_value, "CASES", {"sgd_squared": CASES["sgd_squared"]})
    trained = SETTINGS.trained.model_copy(update={"sgd_learning_rate": 1e20})
    settings = SETTINGS.model_copy(update={"trained": trained})
    with pytest.raises(UserError, match=r"expected_value\.trained\.sgd_learning_rate"):
        expected_value.measure(problem, settings, 0.95, parts())


def test_too_few_examples_are_named():
    settings = SETTINGS.model_copy(update={"train_examples": 40})
    with pytest.raises(UserError, match="ask for 46 examples, and the first 3 classes have"):
        make_problem(settings, *examples())
