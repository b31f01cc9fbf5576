# SPDX-License-Identifier: Apache-2.0
"""The models of the experiment against plain NumPy, and what is kept of them.

Shapes: A examples of dimension D, N of them trained on, E classes, H features, K examples a batch.
"""

import math

import numpy as np
import pytest
from flax import nnx

from infwidth.data.digits import load_digits
from infwidth.experiments.convergence import measure as convergence
from infwidth.experiments.convergence import models as convergence_models
from infwidth.experiments.convergence.models import finite_model, infinite_outputs, make_problem
from infwidth.experiments.convergence.settings import RULES, ConvergenceSettings
from infwidth.experiments.parts import Parts
from infwidth.models.features import FeatureMLP
from tests.optim.oracle import Rule

D, WIDTH = 4, 16
SETTINGS = ConvergenceSettings(
    widths=[8, WIDTH],
    seeds=[1, 2, 3],
    test_examples=10,
    batch_size=5,
    logged_steps=[1, 4, 12],
    sgd_learning_rate=2.0,
    momentum_learning_rate=0.5,
    slope_from=8,
)


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(0)
    x_AxD = rng.normal(size=(40, D))
    return make_problem(SETTINGS, x_AxD, (x_AxD[:, 0] > 0) + 2 * (x_AxD[:, 1] > 0))


def features(problem, width, seed):
    """g_ω(x) of the layer's own ω, in float64."""
    layer = FeatureMLP(D, width, rngs=nnx.Rngs(features=seed, readout=0))
    omega_Hxd = np.asarray(layer.omega_Hxd[...], np.float64)
    x_Axd = np.pad(problem.x_AxD, ((0, 0), (0, 1)), constant_values=math.sqrt(D) / 2)
    return np.maximum(x_Axd @ omega_Hxd.T / math.sqrt(D + 1), 0)


def by_hand(problem, rule, g_AxH):
    """f after each logged step, in NumPy and float64."""
    H = g_AxH.shape[1]
    label_A = np.asarray(problem.label_A)
    m_HxE, trace, found = np.zeros((H, 4)), 0.0, []
    adam = Rule(
        "per_output" if rule == "adam_star" else rule, SETTINGS.b1, SETTINGS.b2, SETTINGS.eps
    )
    for step, index_K in enumerate(np.asarray(problem.batch_SxK), start=1):
        f_KxE = g_AxH[index_K] @ m_HxE / H
        odds_KxE = np.exp(f_KxE)
        share_KxE = odds_KxE / odds_KxE.sum(axis=1, keepdims=True)
        delta_KxE = (share_KxE - np.eye(4)[label_A[index_K]]) / len(index_K)
        gradient_HxE = g_AxH[index_K].T @ delta_KxE
        if rule == "sgd":
            m_HxE = m_HxE - SETTINGS.sgd_learning_rate * gradient_HxE
        elif rule == "momentum":
            trace = SETTINGS.momentum * trace + gradient_HxE
            m_HxE = m_HxE - SETTINGS.momentum_learning_rate * trace
        else:
            m_HxE = m_HxE - SETTINGS.adam_learning_rate * adam.direction(gradient_HxE)
        if step in problem.logged_steps:
            found.append(g_AxH @ m_HxE / H)
    return np.stack(found)


@pytest.mark.parametrize("rule", RULES)
def test_finite_models_are_trained_as_the_rules_say(problem, rule):
    found_LxAxE = finite_model(problem, rule, WIDTH, SETTINGS)(1)
    expected_LxAxE = by_hand(problem, rule, features(problem, WIDTH, 1))
    # float32 against float64 over 12 steps: its share in a distance of 1e-2 would be 1e-3.
    np.testing.assert_allclose(found_LxAxE, expected_LxAxE, atol=1e-5)


@pytest.mark.parametrize("rule", ["sgd", "momentum", "adam_star"])
def test_the_exact_machine_is_where_wide_models_go(problem, rule):
    exact_LxAxE = infinite_outputs(problem, rule, SETTINGS)
    size_L = np.sqrt(np.square(exact_LxAxE).mean(axis=(1, 2)))
    g_AxH = features(problem, 40_000, 7)
    far_L, near_L = (
        np.sqrt(np.square(by_hand(problem, rule, g) - exact_LxAxE).mean(axis=(1, 2))) / size_L
        for g in (g_AxH[:, :400], g_AxH)
    )
    # A hundredfold width divides the distance by 10, give or take one draw's luck.
    assert (near_L < far_L / 4).all()
    assert (near_L < 0.03).all()


def test_inputs_are_scaled_by_the_examples_trained_on(problem):
    x_NxD = np.asarray(problem.x_AxD)[: problem.examples]
    np.testing.assert_allclose(x_NxD.mean(axis=0), 0, atol=1e-6)
    assert np.square(x_NxD).mean() == pytest.approx(1, rel=1e-5)
    assert problem.batch_SxK.shape == (12, 5)
    assert 0 <= problem.batch_SxK.min() <= problem.batch_SxK.max() < problem.examples == 30


def plain_model(problem, rule, width, settings):
    """As `finite_model`, without the time that it takes to compile."""
    return lambda seed: by_hand(problem, rule, features(problem, width, seed))


def test_measurements_fit_together_and_nothing_is_trained_twice(problem, tmp_path, monkeypatch):
    monkeypatch.setattr(convergence, "finite_model", plain_model)
    parts = Parts(tmp_path, convergence_models.__name__, "cpu")
    tables = convergence.measure(problem, SETTINGS, parts)
    curves, products, gaps = (tables[name] for name in ("curves", "products", "gaps"))
    assert len(curves) == 4 * 2 * 3 * 3 * 2  # rules, widths, seeds, steps, splits
    assert len(tables["limits"]) == 3 * 3 * 2
    place = ["width", "split"]
    final = curves.query("step == 12 and rule == 'adam' and seed == 2").set_index(place)
    own = products.query("rule == 'adam' and view == 'outputs' and seed_a == seed_b == 2")
    # Both are distances from ADAM*'s limit; outputs are kept in float32.
    expected = final["distance"].loc[own.set_index(place).index] ** 2
    assert len(own) == 2 * 2
    np.testing.assert_allclose(own["product"], expected, rtol=1e-5)
    views = gaps.pivot_table(
        index=["width", "seed", "reference", "split"], columns="view", values="distance"
    )
    assert (views["centred"] <= views["outputs"]).all()

    def trained_again(*_):
        raise AssertionError("trained again")

    monkeypatch.setattr(convergence, "finite_model", trained_again)
    again = convergence.measure(problem, SETTINGS, parts)
    assert all(again[name].equals(table) for name, table in tables.items())


def test_one_more_seed_trains_that_alone(problem, tmp_path, monkeypatch):
    parts = Parts(tmp_path, convergence_models.__name__, "cpu")
    trained = []

    def recording(problem, rule, width, settings):
        of_seed = plain_model(problem, rule, width, settings)
        return lambda seed: trained.append((width, seed)) or of_seed(seed)

    monkeypatch.setattr(convergence, "finite_model", recording)
    list(convergence.train(problem, "sgd", SETTINGS, parts))
    assert len(trained) == 6
    more = SETTINGS.model_copy(update={"seeds": [1, 2, 3, 4]})
    assert len(list(convergence.train(problem, "sgd", more, parts))) == 8
    assert trained[6:] == [(8, 4), (WIDTH, 4)]


def test_features_are_shared_by_prefix(problem):
    narrow_AxH = features(problem, 8, 1)
    np.testing.assert_array_equal(narrow_AxH, features(problem, WIDTH, 1)[:, :8])


def test_the_digits_are_all_there():
    digits = load_digits()
    assert digits.x_AxD.shape == (1797, 64)
    assert (digits.x_AxD.min(), digits.x_AxD.max()) == (0, 16)
    assert sorted(set(digits.label_A.tolist())) == list(range(10))
