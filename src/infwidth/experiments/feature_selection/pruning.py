# SPDX-License-Identifier: Apache-2.0
"""Networks of frozen features, pruned by the size of their readout and at random.

Shapes: A images, H features, E classes; the k kept ones of H.
"""

from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np
import pandas as pd
from scipy import optimize
from scipy.special import logsumexp

from infwidth.experiments.digits import scaled
from infwidth.experiments.feature_selection.settings import FeatureSelectionSettings, Rule
from infwidth.experiments.feature_selection.training import Data, Task, extended, relu
from infwidth.stats.selection import Cell

KINDS = ("top", "random")
"""Kept: those of the largest readout, or as many drawn at random."""

RANDOM_DRAWS = 8
"""Random choices over which is averaged where nothing is trained; the first is trained anew."""

LOG_SCALES = (-6.0, 8.0)
"""Where the logarithm of a pruned network's scale is looked for."""


class Digits:
    """The images, split and scaled, and networks trained on them; `data` is what networks see."""

    def __init__(
        self, settings: FeatureSelectionSettings, x_AxD: np.ndarray, label_A: np.ndarray
    ) -> None:
        self._settings, own = settings, settings.pruning
        N = len(x_AxD) - own.validation_examples - own.test_examples
        order_A = np.random.default_rng(own.data_seed).permutation(len(x_AxD))
        train, self._label_A = slice(0, N), label_A[order_A]
        self.data = Data(
            jnp.asarray(extended(scaled(x_AxD[order_A], train)), jnp.float32),
            jnp.asarray(self._label_A, jnp.int32),
            train,
            slice(N, N + own.validation_examples),
            slice(N + own.validation_examples, None),
            int(label_A.max()) + 1,
        )

    def validation_loss(self, rule: Rule, cell: Cell, seed: int) -> float:
        """The loss of a tuning run, nats per image."""
        f_AxE, _, _ = self._train(rule, cell, seed, np.arange(self._settings.pruning.width))
        return self._loss(f_AxE, self.data.validation)

    def prune(self, rule: Rule, cell: Cell, seed: int) -> pd.DataFrame:
        """Trains a network, prunes it, and trains the readouts of what is kept anew.

        Rows of `share` and number `kept`, `kind` (top, random; whole, with all features),
        `retrained`, test `loss` in nats per image and `error`, the share of images read wrong. What
        is not retrained is multiplied by one number, fitted on the validation images.
        """
        return pd.DataFrame(self._pruned(rule, cell, seed)).assign(rule=rule, seed=seed)

    def _pruned(self, rule: Rule, cell: Cell, seed: int) -> Iterator[dict[str, Any]]:
        own = self._settings.pruning
        H = own.width
        f_AxE, g_AxH, m_HxE = self._train(rule, cell, seed, np.arange(H))
        for retrained in (False, True):
            place = {"share": 1.0, "kept": H, "kind": "whole", "retrained": retrained}
            yield place | self._scores(f_AxE, scaled=not retrained)
        rms_H = np.sqrt(np.square(g_AxH[self.data.train]).mean(axis=0))
        size_H = np.linalg.norm(m_HxE, axis=1) * rms_H
        rng = np.random.default_rng([seed, 2])
        orders = {
            "top": [np.argsort(-size_H, kind="stable")],
            "random": [rng.permutation(H) for _ in range(RANDOM_DRAWS)],
        }
        for share in sorted(own.shares):
            kept = max(1, round(share * H))
            for kind in KINDS:
                chosen = [np.sort(order_H[:kept]) for order_H in orders[kind]]
                place = {"share": share, "kept": kept, "kind": kind}
                cuts = [
                    self._scores(g_AxH[:, index_k] @ m_HxE[index_k] / kept, scaled=True)
                    for index_k in chosen
                ]
                mean = {name: float(np.mean([cut[name] for cut in cuts])) for name in cuts[0]}
                yield place | {"retrained": False} | mean
                again_AxE, _, _ = self._train(rule, cell, seed, chosen[0])
                yield place | {"retrained": True} | self._scores(again_AxE, scaled=False)

    def _train(
        self, rule: Rule, cell: Cell, seed: int, index_k: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Outputs of all images, their features, and the readout, of a network of some features."""
        own = self._settings.pruning
        task = Task(self._settings, self.data, seed, [own.steps], own.batch_size)
        omega_kxd = task.features(own.width)[index_k]
        # SGD's rate is in units of its own first step, as the other rules' rates are.
        unit = task.sgd_unit(omega_kxd) if rule == "sgd" else 1.0
        network = task.train(rule, cell, omega_kxd, unit)
        g_Axk = np.asarray(relu(self.data.x_Axd, omega_kxd), np.float64)
        m_kxE = np.asarray(network.m_LxHxE[-1], np.float64)
        return g_Axk @ m_kxE / len(index_k), g_Axk, m_kxE

    def _loss(self, f_AxE: np.ndarray, split: slice) -> float:
        return cross_entropy(f_AxE[split], self._label_A[split])

    def _scores(self, f_AxE: np.ndarray, scaled: bool) -> dict[str, float]:
        if scaled and np.isfinite(f_AxE).all():
            best = optimize.minimize_scalar(
                lambda log: self._loss(np.exp(log) * f_AxE, self.data.validation),
                bounds=LOG_SCALES,
                method="bounded",
            )
            f_AxE = f_AxE * float(np.exp(best.x))
        test = self.data.test
        wrong_A = f_AxE[test].argmax(axis=1) != self._label_A[test]
        return {"loss": self._loss(f_AxE, test), "error": float(wrong_A.mean())}


def cross_entropy(f_AxE: np.ndarray, label_A: np.ndarray) -> float:
    """The softmax's, nats per image."""
    chosen_A = np.take_along_axis(f_AxE, label_A[:, None], axis=1)[:, 0]
    return float((logsumexp(f_AxE, axis=1) - chosen_A).mean())
