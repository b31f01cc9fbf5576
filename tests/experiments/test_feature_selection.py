# SPDX-License-Identifier: Apache-2.0
"""Planted directions, tuning and pruning, and what the experiment keeps and refuses.

Shapes: A examples, d = D + 1; H features, E outputs; S steps of K examples.
"""

import json
import math

import numpy as np
import pandas as pd
import pytest

from infwidth.config.errors import UserError
from infwidth.config.load import read_config, validate
from infwidth.experiments.feature_selection import measure as experiment
from infwidth.experiments.feature_selection import planted
from infwidth.experiments.feature_selection.pruning import Digits, cross_entropy
from infwidth.experiments.feature_selection.settings import (
    LeastSquaresSettings,
    PlantedSettings,
    SearchSettings,
)
from infwidth.experiments.feature_selection.training import Task, draw_teacher, relu_features
from infwidth.experiments.parts import Parts
from infwidth.stats.selection import Cell

SMOKE = validate(read_config(["config/smoke.yaml"]))
PRUNING = SMOKE.feature_selection.pruning.model_copy(
    update={"validation_examples": 20, "test_examples": 20, "shares": [0.5]}
)
SETTINGS = SMOKE.feature_selection.model_copy(update={"pruning": PRUNING})


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


def test_a_training_that_diverged_is_nothing_but_nan():
    high = Cell(1e6)
    assert planted.validation_loss(SETTINGS, 1.0, "sgd", high, 0) == math.inf
    table = planted.measure_mass(SETTINGS, 1.0, "sgd", high, 8, 5)
    assert table[["aligned", "at_random", "loss"]].isna().all(axis=None)
    assert table["step"].tolist() == [1, 4]
    sound = planted.measure_mass(SETTINGS, 1.0, "sgd", Cell(0.1), 8, 5)
    assert sound[["aligned", "at_random", "loss"]].notna().all(axis=None)


# Tuning.


def test_the_best_rate_is_found_beyond_the_grid():
    settings = SearchSettings(seeds=[0, 1], learning_rates=[0.1, 1.0], max_extensions=3)
    found = experiment.search(
        "planted", "sgd", settings, 0.01, lambda cell, _: abs(cell.learning_rate - 10)
    )
    assert found.cell == Cell(10.0)
    assert found.selection["interior"]
    assert len(found.trials) == 8  # 0.1, 1, 10, 100 on two seeds
    rates = SearchSettings(seeds=[0], learning_rates=[1.0, 3.0], kappas=[0.1], max_extensions=0)
    found = experiment.search(
        "planted", "unfrozen", rates, 0.01, lambda cell, _: cell.learning_rate
    )
    assert found.cell == Cell(1.0, 0.1)
    with pytest.raises(UserError, match=r"every rate of sgd diverged.*tuning\.learning_rates"):
        experiment.search("planted", "sgd", settings, 0.01, lambda *_: math.nan)


# Pruning, and the whole plan.


def images():
    rng = np.random.default_rng(0)
    x_AxD = rng.normal(size=(80, 4))
    return x_AxD, (x_AxD[:, 0] > 0) + 2 * (x_AxD[:, 1] > 0)


def test_top_features_are_those_of_the_largest_readout():
    digits = Digits(SETTINGS, *images())
    table = digits.prune("adam", Cell(1.0), 5)
    assert (table["kept"] == [20, 20, 10, 10, 10, 10]).all()
    assert np.isfinite(table["loss"]).all()
    # By hand: train, keep 10 of 20, fit the scale on a grid, look at the test images.
    data = digits.data
    task = Task(SETTINGS, data, 5, [PRUNING.steps], PRUNING.batch_size)
    omega_Hxd = task.features(20)
    m_HxE = np.asarray(task.train("adam", Cell(1.0), omega_Hxd, 1.0).m_LxHxE[0])
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


def test_it_keeps_what_it_computed(tmp_path, monkeypatch):
    # Fewer rules, since each is compiled for itself.
    monkeypatch.setattr(experiment, "RULES", ("unfrozen", "adam_star"))
    monkeypatch.setattr(experiment, "FROZEN", ("adam_star",))
    monkeypatch.setattr(planted, "KERNEL_RULES", ("adam_star",))
    monkeypatch.setattr(experiment, "load_digits", images)
    settings = SMOKE.model_copy(update={"feature_selection": SETTINGS})

    def keeper(modules):
        return Parts(tmp_path, modules, "cpu")

    tables = experiment.tables(settings, keeper)
    widths = tables["planted"].groupby(["rule", "seed", "width", "step"]).size()
    assert (widths == 1).all()
    assert len(widths) == 2 * 2 * 1 * 2
    assert tables["infinite"].groupby("rule").size().to_dict() == {"adam_star": 2}
    assert tables["density_ratio"].groupby(["dimension", "kappa", "seed"]).size().tolist() == [2, 2]
    assert tables["least_squares"].groupby(["dimension", "seed"]).size().tolist() == [2, 2]
    assert len(tables["pruning"]) == 2 * (2 + 2 * 2)
    assert len(tables["selection"]) == 3
    assert len(tables["tuning"]) == 3 * 2

    class Kept(Parts):
        def table(self, name, settings, compute):
            def refuse():
                raise AssertionError("computed again")

            return super().table(name, settings, refuse)

    again = experiment.tables(settings, lambda modules: Kept(tmp_path, modules, "cpu"))
    for name, table in tables.items():
        assert again[name].equals(table)


class KeysAlone:
    """Parts that keep nothing, and of what is asked for what it depends on."""

    def __init__(self):
        self.asked = set()

    def table(self, name, depends_on, compute):
        self.asked.add((name, json.dumps(depends_on, sort_keys=True)))
        return pd.DataFrame({"validation_loss": [0.0]})


def asked_of_least_squares(own):
    parts = KeysAlone()
    experiment.tables(SMOKE.model_copy(update={"feature_selection": own}), lambda _: parts)
    return {asked for asked in parts.asked if asked[0].startswith("least_squares")}


READ_BY_LEAST_SQUARES = {
    "least_squares": set(LeastSquaresSettings.model_fields),
    "planted": set(PlantedSettings.model_fields) - {"widths", "tolerance"},
}


@pytest.mark.parametrize(
    ("section", "name"),
    [(section, name) for section, names in READ_BY_LEAST_SQUARES.items() for name in sorted(names)],
)
def test_least_squares_are_computed_anew_if_a_setting_changes(monkeypatch, section, name):
    monkeypatch.setattr(planted, "sgd_unit_of", lambda _: 1.0)
    monkeypatch.setattr(experiment, "load_digits", images)
    own = getattr(SETTINGS, section)
    value = getattr(own, name)
    other = [max(value) + 1] if isinstance(value, list) else value * 2
    changed = SETTINGS.model_copy(update={section: own.model_copy(update={name: other})})
    asked = asked_of_least_squares(SETTINGS)
    assert len(asked) == 2
    assert asked.isdisjoint(asked_of_least_squares(changed))
