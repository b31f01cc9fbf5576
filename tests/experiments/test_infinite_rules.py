# SPDX-License-Identifier: Apache-2.0
"""The study of optimizers at infinite width: its models against plain NumPy, and its table.

Shapes: A images, P of them tested on; E classes, H features, K images a batch.
"""

import math

import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import ValidationError

from infwidth.config.settings import Settings
from infwidth.data.digits import Digits
from infwidth.experiments.infinite_rules import measure as study
from infwidth.experiments.infinite_rules import plan
from infwidth.experiments.infinite_rules.measured import TABLES
from infwidth.experiments.infinite_rules.models import (
    draw,
    features,
    finite_on_measured_scales,
    kernel_matrix,
    make_problem,
    measured_kernel,
    start_errors,
    trainer,
)
from infwidth.experiments.infinite_rules.settings import (
    FINITE_RULES,
    RULES,
    InfiniteRulesSettings,
)
from infwidth.experiments.parts import Parts

D, WIDTH, RATE = 4, 12, 0.7
SETTINGS = InfiniteRulesSettings(
    tuning_seeds=[0, 1],
    seeds=[2, 3, 4],
    test_examples=8,
    validation_examples=10,
    batch_size=5,
    steps=10,
    warmup_steps=2,
    eps=1e-4,
    muon_eps=1e-2,
    weight_decay=0.05,
    width=WIDTH,
)
RNG = np.random.default_rng(0)
X_AxD = RNG.normal(size=(40, D))
LABEL_A = (X_AxD[:, 0] > 0) + 1 * (X_AxD[:, 1] > 0)


@pytest.fixture(scope="module")
def problem():
    return make_problem(SETTINGS, X_AxD, LABEL_A)


def schedule(step):
    """Of the step's number, from 0: two steps of warm-up, then a cosine from 1 to a tenth."""
    if step < 2:
        return step / 2
    return 0.1 + 0.9 * (1 + math.cos(math.pi * (step - 2) / 8)) / 2


def by_hand(problem, rule, g_AxH, batch_SxK):
    """f after the last step, by a readout of H features, in NumPy and float64."""
    H, label_A = g_AxH.shape[1], np.asarray(problem.label_A)
    b1, b2, eps = SETTINGS.b1, SETTINGS.b2, SETTINGS.eps
    readout_HxE, m, trace, v, rows, total = np.zeros((H, 3)), 0.0, 0.0, 0.0, 0.0, 0.0
    units = []
    for step, batch_K in enumerate(np.asarray(batch_SxK)):
        odds_KxE = np.exp(g_AxH[batch_K] @ readout_HxE / H)
        share_KxE = odds_KxE / odds_KxE.sum(axis=1, keepdims=True)
        delta_KxE = (share_KxE - np.eye(3)[label_A[batch_K]]) / len(batch_K)
        g = g_AxH[batch_K].T @ delta_KxE
        units.append(1 / np.sqrt(np.mean(g**2)))
        of_each = {i: delta_KxE[batch_K == i].sum(axis=0) for i in set(batch_K.tolist())}
        square = {
            "adam": g**2,
            "adam_star_global": np.mean(g**2),
            "adam_star_error": np.square(list(of_each.values())).sum(axis=0),
        }.get(rule, np.mean(g**2, axis=0))
        t = step + 1
        m, trace = b1 * m + (1 - b1) * g, SETTINGS.momentum * trace + g
        v, total = b2 * v + (1 - b2) * square, total + square
        rows = b2 * rows + (1 - b2) * np.mean(g**2, axis=1, keepdims=True)
        v_hat = v / (1 - b2**t)
        if rule == "adam_star_factored":
            v_hat = v_hat * rows / rows.mean()
        adam = m / (1 - b1**t) / (np.sqrt(v_hat) + eps)
        ahead = b1 * m / (1 - b1 ** (t + 1)) + (1 - b1) * g / (1 - b1**t)
        left, size, right = np.linalg.svd(m / math.sqrt(H), full_matrices=False)
        size = size / np.sqrt(size**2 + SETTINGS.muon_eps * np.sum(size**2) / 3)
        move = {
            "sgd": units[0] * g,
            "sgd_decay": units[0] * g,
            "momentum": units[0] * trace,
            "rmsprop_star": g / (np.sqrt(v_hat) + eps),
            "adagrad_star": g / (np.sqrt(total) + eps),
            "adam_star_uncorrected": m / (np.sqrt(v) + eps),
            "nadam_star": ahead / (np.sqrt(v_hat) + eps),
            "muon_star": math.sqrt(H) * left * size @ right,
        }.get(rule, adam)
        decay = SETTINGS.weight_decay if rule.endswith("_decay") else 0.0
        readout_HxE = (1 - schedule(step) * decay) * readout_HxE - RATE * schedule(step) * move
    return g_AxH @ readout_HxE / H


@pytest.mark.parametrize("rule", RULES)
def test_models_are_trained_as_the_rules_say(problem, rule):
    g_AxH = np.maximum(np.random.default_rng(1).normal(size=(40, WIDTH)), 0)
    batch_SxK = draw(problem, SETTINGS, seed=2).batch_SxK
    given = g_AxH if rule in FINITE_RULES else g_AxH @ g_AxH.T / WIDTH
    train = trainer(problem, rule, SETTINGS)
    found_AxE = train(jnp.asarray(given, jnp.float32), batch_SxK, jnp.float32(RATE))
    expected_AxE = by_hand(problem, rule, g_AxH, batch_SxK)
    # Float32 over ten steps, outputs of some 1; 1 − β2 keeps five digits, Muon's root three less.
    np.testing.assert_allclose(found_AxE, expected_AxE, atol=2e-4 if rule == "muon_star" else 2e-5)


def test_features_have_the_kernels_that_stand_for_them(problem):
    few = problem._replace(x_AxD=problem.x_AxD[:6], label_A=problem.label_A[:6])
    batch_SxK = jnp.arange(6).reshape(2, 3)
    seen = []
    for kernel in ("plain", "normalized", "shifted"):
        g_AxH = np.asarray(features(few, kernel, 20_000, 0, batch_SxK), np.float64)
        products_AxAxH = g_AxH[:, None] * g_AxH[None]
        error_AxA = products_AxAxH.std(axis=2) / math.sqrt(20_000)
        seen.append(np.asarray(kernel_matrix(few, kernel), np.float64))
        # 21 different pairs, five standard errors.
        assert (np.abs(products_AxAxH.mean(axis=2) - seen[-1]) < 5 * error_AxA).all()
    assert (np.abs(seen[0] - seen[1]) > 5 * error_AxA).mean() > 0.5
    assert (np.abs(seen[1] - seen[2]) > 5 * error_AxA).any()


def on_measured_scales(problem, g_AxH, batch_SxK):
    """The features divided by s^(1/4), s from the gradients of a readout at f = 0, in NumPy."""
    squares = []
    for batch_K in np.asarray(batch_SxK):
        delta_KxE = (1 / 3 - np.eye(3)[np.asarray(problem.label_A)[batch_K]]) / len(batch_K)
        squares.append(np.square(g_AxH[batch_K].T @ delta_KxE).mean(axis=1))
    r_H = np.mean(squares, axis=0)
    return g_AxH * np.maximum(r_H / r_H.mean(), 1e-6) ** -0.25


def test_measured_scales_are_those_of_the_gradients_at_the_start(problem):
    batch_SxK = draw(problem, SETTINGS, seed=2).batch_SxK
    plain_AxH, found_AxH = (
        np.asarray(features(problem, kernel, 300, 5, batch_SxK), np.float64)
        for kernel in ("plain", "measured")
    )
    expected_AxH = on_measured_scales(problem, plain_AxH, batch_SxK)
    np.testing.assert_allclose(found_AxH, expected_AxH, rtol=2e-5, atol=1e-6)


def test_their_kernel_is_the_mean_over_features(problem):
    batch_SxK = draw(problem, SETTINGS, seed=2).batch_SxK
    # More than are averaged at a time.
    theta_AxA = measured_kernel(problem, start_errors(problem, batch_SxK), 8192, seed=0)
    g_AxH = np.asarray(features(problem, "measured", 8192, 1, batch_SxK), np.float64)
    # Of the images measured on: few units that are silent on these, with scales a thousand times
    # as small, make up what others have.
    seen_N = np.unique(np.asarray(batch_SxK))
    product_NxNxH = g_AxH[seen_N, None] * g_AxH[None, seen_N]
    error_NxN = product_NxNxH.std(axis=2) * math.sqrt(2 / 8192)
    off_NxN = product_NxNxH.mean(axis=2) - np.asarray(theta_AxA)[np.ix_(seen_N, seen_N)]
    assert (np.abs(off_NxN) < 5 * error_NxN).all()


@pytest.mark.parametrize("rule", ["sgd", "adam_star"])
def test_the_optimizer_on_measured_scales_is_the_rule_on_scaled_features(problem, rule):
    g_AxH = np.maximum(np.random.default_rng(1).normal(size=(40, WIDTH)), 0)
    batch_SxK = draw(problem, SETTINGS, seed=2).batch_SxK
    scaled_AxH = on_measured_scales(problem, g_AxH, batch_SxK)
    unit = 1.0
    if rule == "sgd":
        first_K = np.asarray(batch_SxK[0])
        delta_KxE = (1 / 3 - np.eye(3)[np.asarray(problem.label_A)[first_K]]) / len(first_K)
        unit = 1 / np.sqrt(np.mean(np.square(scaled_AxH[first_K].T @ delta_KxE)))
    given_AxH, rate = jnp.asarray(g_AxH, jnp.float32), jnp.float32(unit * RATE)
    found_AxE = finite_on_measured_scales(problem, rule, SETTINGS, given_AxH, batch_SxK, rate)
    expected_AxE = by_hand(problem, rule, scaled_AxH, batch_SxK)
    np.testing.assert_allclose(found_AxE, expected_AxE, atol=2e-5)


def test_finite_models_on_measured_scales_come_to_the_infinite_one(monkeypatch, keeper):
    monkeypatch.setattr(study, "load_digits", lambda: Digits(X_AxD, LABEL_A))
    own = SETTINGS.model_copy(
        update={"kernels": ["measured"], "nodes": 8192, "limit_widths": [64, 256, 1024]}
    )
    settings = Settings().model_copy(update={"infinite_rules": own})
    assert plan.parts(settings)[-1] == plan.WIDTHS
    assert study.part(settings, plan.WIDTHS, keeper) == 2 * 3 * 3
    widths = study.tables(
        settings.model_copy(update={"infinite_rules": own.model_copy(update={"rules": ["sgd"]})}),
        keeper,
    )["widths"]
    distance = widths.groupby(["rule", "width"], sort=True)["distance"].mean().unstack()
    # Three seeds; a mean over H falls by 1/2 for each four-fold of H.
    for ratio in (distance[256] / distance[64], distance[1024] / distance[256]):
        assert ((ratio > 0.3) & (ratio < 0.75)).all(), distance


def test_no_image_is_both_trained_on_and_looked_at(problem):
    for seed in range(5):
        drawn = draw(problem, SETTINGS, seed)
        assert sorted([*drawn.train_N, *drawn.validation_V]) == list(range(8, 40))
        assert drawn.validation_V.size == 10
        assert set(np.asarray(drawn.batch_SxK).ravel().tolist()) <= set(drawn.train_N.tolist())
    assert np.square(problem.x_AxD[8:]).mean() == pytest.approx(1, rel=1e-5)


CALLS = []


def stub(problem, rule, settings):
    """A rule whose best rate is 6 and which diverges beyond 50; `adam` always does."""

    def train(given, batch_SxK, rate):
        CALLS.append((rule, given.shape, float(rate)))
        right_AxE = np.eye(3)[np.asarray(problem.label_A)]
        size = math.nan if rule == "adam" or rate > 50 else 5 - abs(math.log(rate / 6))
        return size * right_AxE

    return train


@pytest.fixture
def stubbed(monkeypatch):
    CALLS.clear()
    monkeypatch.setattr(study, "trainer", stub)
    monkeypatch.setattr(study, "load_digits", lambda: Digits(X_AxD, LABEL_A))
    changes = {"rules": ["sgd", "adam"], "kernels": ["plain"], "learning_rates": [1.0, 3.0]}
    own = SETTINGS.model_copy(update=changes | {"tolerance": 0.0, "refinements": 1})
    return Settings().model_copy(update={"infinite_rules": own})


@pytest.fixture
def keeper(tmp_path):
    return lambda modules: Parts(tmp_path, modules, "cpu")


def test_rates_are_extended_refined_and_reported(stubbed, keeper):
    table = study.tables(stubbed, keeper)["runs"]
    assert tuple(table.columns) == TABLES["runs"].columns
    sgd = table[table["rule"] == "sgd"]
    tuning, report = (sgd[sgd["role"] == role] for role in ("tuning", "report"))
    # 9 and 27 extend the grid, and half-way between 3, 9 and 27 lie 5.2 and 15.6.
    assert sorted(set(tuning["learning_rate"])) == [1.0, 3.0, 5.2, 9.0, 15.6, 27.0]
    assert set(tuning["seed"]) == {0, 1}
    assert list(report["seed"]) == [2, 3, 4]
    assert set(report["learning_rate"]) == {5.2}
    assert (report["loss"] == report["train_loss"]).all()
    assert (report["accuracy"] == 1).all()
    assert (sgd["width"] == math.inf).all()
    adam = table[table["rule"] == "adam"]
    assert set(adam["status"]) == {"diverged"}
    assert set(adam["role"]) == {"tuning"}
    assert adam["loss"].isna().all()
    assert (adam["width"] == WIDTH).all()
    assert {shape for rule, shape, _ in CALLS if rule == "adam"} == {(40, WIDTH)}


def test_measured_scales_are_for_few_rules(stubbed, keeper):
    own = stubbed.infinite_rules.model_copy(
        update={"kernels": ["measured"], "rules": ["sgd", "momentum"], "nodes": 8}
    )
    settings = stubbed.model_copy(update={"infinite_rules": own})
    assert study.part(settings, "sgd", keeper) > 0
    assert study.part(settings, "momentum", keeper) == 0


def test_nothing_is_computed_twice(stubbed, keeper):
    trained = [study.part(stubbed, rule, keeper) for rule in plan.parts(stubbed)]
    count = len(CALLS)
    first = study.tables(stubbed, keeper)["runs"]
    assert len(first) == sum(trained)
    assert len(CALLS) == count
    own = stubbed.infinite_rules.model_copy(update={"rules": ["sgd", "adam", "momentum"]})
    more = stubbed.model_copy(update={"infinite_rules": own})
    assert len(study.tables(more, keeper)["runs"]) > len(first)
    assert {rule for rule, _, _ in CALLS[count:]} == {"momentum"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": [0, 9]}, "seed 0 is in seeds and in tuning_seeds"),
        ({"test_examples": 1700, "validation_examples": 97}, "leave none of the 1,797 images"),
        ({"steps": 20}, r"warmup_steps must be below steps \(20\)"),
        ({"rules": ["lion"]}, "rules"),
        ({"kernels": ["plain", "plain"]}, "given twice"),
        ({"kernels": ["measured"], "rules": ["momentum"]}, "none of rules runs on measured scales"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        InfiniteRulesSettings(**changes)
