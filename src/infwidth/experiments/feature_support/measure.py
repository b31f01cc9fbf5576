# SPDX-License-Identifier: Apache-2.0
"""What stays of the error, however wide, where Ω is not totally supported?

Each case is a law Ω whose support leaves something out, or nothing, and a target whose population
residual is computed beforehand (`residuals`). Against it stand the errors of
readouts over H features drawn from Ω, the best one and one trained by ADAM* (reconstructed), and
what `infwidth.kernels.support_report` says of the features. Errors are shares of the target's
variance, and expectations over inputs are quadratures.

Shapes: N nodes, P nodes to test at, H features, d = D + 1.
"""

import logging
from collections.abc import Iterator
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from scipy.linalg import cho_factor, cho_solve

from infwidth import infinite
from infwidth.experiments.feature_support.cases import (
    ACTIVATIONS,
    Array,
    Case,
    Nodes,
    cases,
    draw,
    sample_nodes,
    target,
)
from infwidth.experiments.feature_support.residuals import named, residual
from infwidth.experiments.feature_support.settings import (
    FeatureSupportSettings,
    NodesSettings,
    SupportTrainingSettings,
)
from infwidth.experiments.parts import Keeper, Parts
from infwidth.kernels import support_report

if TYPE_CHECKING:
    from infwidth.config.settings import Settings

CODE = (__name__,)

BEST, TRAINED = "best", "adam_star"
"""Readouts: by least squares, and by ADAM*."""

SHOWN = 3.0
"""Functions on the line are drawn between this and minus this."""

_BLOCK = 1024
"""Test nodes at which features are held at a time."""

_LOG = logging.getLogger(__name__)


def tables(settings: "Settings", keeper: Keeper) -> dict[str, pd.DataFrame]:
    """Residuals, errors and reports of every case, for the tables of the module `measured`."""
    study = _Study(settings.feature_support, keeper(CODE))
    every = cases(settings.feature_support)
    tables = {
        "residuals": pd.DataFrame([row for case in every for row in study.residuals(case)]),
        "errors": pd.concat([t for case in every for t in study.errors(case)]),
        "functions": pd.concat([study.functions(case) for case in every if case.D == 1]),
        "reports": pd.concat([study.reports(case) for case in every]),
    }
    return {name: table.reset_index(drop=True) for name, table in tables.items()}


class _Study:
    def __init__(self, settings: FeatureSupportSettings, parts: Parts) -> None:
        self._settings = settings
        self._parts = parts

    def residuals(self, case: Case) -> Iterator[dict[str, Any]]:
        """A row for each seed."""
        for seed in self._settings.seeds:
            value = float(residual(case, self._settings, target(case, self._settings), seed))
            yield {"case": case.name, "seed": seed, "inputs": case.D, "residual": value}

    def errors(self, case: Case) -> Iterator[pd.DataFrame]:
        """A table for each seed and width."""
        for seed, width in product(self._settings.seeds, self._settings.widths):
            yield self._parts.table(
                f"errors-{case.name}-{seed}-{width}",
                self._depends_on(case, seed) | {"width": width},
                partial(self._errors, case, seed, width),
            )

    def functions(self, case: Case) -> pd.DataFrame:
        """What the readouts of the first seed and the largest width are, on the line."""
        seed, width = self._settings.seeds[0], max(self._settings.widths)

        def compute() -> pd.DataFrame:
            x_Nx1 = np.linspace(-SHOWN, SHOWN, 241)[:, None]
            omega_Hxd = draw(case, self._settings, seed, width)
            g_NxH = case.features(x_Nx1, omega_Hxd)
            best_H, *_, trained_H = self._readouts(case, omega_Hxd).values()
            values = {BEST: g_NxH @ best_H, TRAINED: g_NxH @ trained_H}
            y_N = target(case, self._settings)(x_Nx1)
            return pd.DataFrame({"case": case.name, "x": x_Nx1[:, 0], "target": y_N} | values)

        settings = self._depends_on(case, seed) | {"width": width}
        return self._parts.table(f"functions-{case.name}", settings, compute)

    def reports(self, case: Case) -> pd.DataFrame:
        """A report a row; of features with total support there are many, for false alarms."""
        own, first = self._settings.report, self._settings.seeds[0]
        count = own.controls if case.kind == "total" else own.repeats
        seeds = range(first, first + count)
        return self._parts.table(
            f"reports-{case.name}",
            self._law(case) | {"seeds": list(seeds), "report": own.model_dump(mode="json")},
            lambda: pd.DataFrame([self._report(case, seed) for seed in seeds]),
        )

    def _errors(self, case: Case, seed: int, width: int) -> pd.DataFrame:
        omega_Hxd = draw(case, self._settings, seed, width)
        readouts = self._readouts(case, omega_Hxd)
        x_PxD, weight_P = self._nodes(case, self._settings.test_nodes)
        m_HxR = np.stack(list(readouts.values()), axis=1)
        f_PxR = np.concatenate(
            [
                case.features(x_PxD[first : first + _BLOCK], omega_Hxd) @ m_HxR
                for first in range(0, len(x_PxD), _BLOCK)
            ]
        )
        y_Px1 = target(case, self._settings)(x_PxD)[:, None]
        error_R = weight_P @ np.square(f_PxR - y_Px1)
        _LOG.info("%s, seed %d, width %d: %.4f", case.name, seed, width, error_R[0])
        names, steps = zip(*readouts, strict=True)
        place = {"case": case.name, "seed": seed, "width": width}
        return pd.DataFrame(place | {"readout": names, "steps": steps, "error": error_R})

    def _readouts(self, case: Case, omega_Hxd: Array) -> dict[tuple[str, int], Array]:
        """m_H by name and steps: the best readout, and those trained by ADAM*, the longest last."""
        own, y = self._settings, target(case, self._settings)
        x_NxD, weight_N = self._nodes(case, own.fit_nodes)
        best_H = best_readout(case.features(x_NxD, omega_Hxd), y(x_NxD), weight_N, own.ridge)
        x_NxD, weight_N = self._nodes(case, own.training.nodes)
        sample = case.features(x_NxD, omega_Hxd), y(x_NxD), weight_N
        return {(BEST, 0): best_H} | {
            (TRAINED, steps): adam_star_readout(*sample, steps, own.training)
            for steps in sorted(own.training.steps)
        }

    def _report(self, case: Case, seed: int) -> dict[str, Any]:
        own = self._settings.report
        omega_Hxd = draw(case, self._settings, seed, own.features)
        x_NxD = np.random.default_rng([seed, case.D]).normal(size=(own.inputs, case.D))
        report = support_report(
            omega_Hxd,
            x_NxD,
            activation=ACTIVATIONS[case.activation],
            bias=case.bias,
            draws=own.draws,
            level=own.level,
            seed=seed,
        )
        return {
            **{"case": case.name, "seed": seed, "missing": report.missing},
            **{"p_value": report.p_value, "score": report.score},
            "null": float(np.median(report.null_R)),
            "named": named(case, self._settings, seed, report.direction_D, report.offset),
            **{"rank": report.rank, "distinct": report.distinct, "levels": report.levels},
            "one_sided": report.one_sided,
        }

    def _nodes(self, case: Case, nodes: NodesSettings) -> Nodes:
        if case.D == 1:
            return sample_nodes(nodes.line, 1)
        return sample_nodes(nodes.plane, 2, self._settings.subspace_angle)

    def _law(self, case: Case) -> dict[str, Any]:
        own = self._settings
        angles = {"cone": own.cone_half_angle, "subspace": own.subspace_angle}
        return {"case": case._asdict(), "atoms": own.atoms} | angles

    def _depends_on(self, case: Case, seed: int) -> dict[str, Any]:
        left_out = {"widths", "seeds", "quantised_levels", "margin", "trained_margin", "report"}
        shared = self._settings.model_dump(mode="json", exclude=left_out)
        return shared | self._law(case) | {"seed": seed}


def best_readout(g_NxH: Array, y_N: Array, weight_N: Array, ridge: float) -> Array:
    """The readout m_H of least weighted squares, f = g m; the ridge is in units of Gram's trace."""
    root_N = np.sqrt(weight_N)
    g_NxH, y_N = g_NxH * root_N[:, None], y_N * root_N
    narrow = g_NxH.shape[1] < g_NxH.shape[0]
    gram = g_NxH.T @ g_NxH if narrow else g_NxH @ g_NxH.T
    gram[np.diag_indices_from(gram)] += ridge * np.trace(gram)
    factor = cho_factor(gram, overwrite_a=True)
    return cho_solve(factor, g_NxH.T @ y_N) if narrow else g_NxH.T @ cho_solve(factor, y_N)


def adam_star_readout(
    g_NxH: Array, y_N: Array, weight_N: Array, steps: int, training: SupportTrainingSettings
) -> Array:
    """The readout m_H = M / H after training by ADAM* from M = 0, f = g m.

    It trains in coefficients on the features' own kernel Θ_H, which is the same, and takes the
    same time, at every width (docs/theory.md, section 6). Each step sees the whole population.
    """
    theta_NxN = jnp.asarray(g_NxH @ g_NxH.T / g_NxH.shape[1], jnp.float32)
    constants = (training.learning_rate, training.b1, training.b2, training.eps)
    y, weight, *rule = (jnp.asarray(value, jnp.float32) for value in (y_N, weight_N, *constants))
    c_N = _train(theta_NxN, y, weight, jnp.asarray(steps, jnp.int32), tuple(rule))
    return g_NxH.T @ np.asarray(c_N, np.float64) / g_NxH.shape[1]


@jax.jit
def _train(
    theta_NxN: jax.Array, y_N: jax.Array, weight_N: jax.Array, steps: jax.Array, rule: tuple
) -> jax.Array:
    index_N = jnp.arange(y_N.size)
    rate, *constants = rule
    solver = infinite.adam_star(lambda taken: rate * (1 - taken / steps), *constants)
    product = partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)

    def step(_: jax.Array, carry: tuple) -> tuple:
        c_Nx1, state = carry
        delta_Nx1 = weight_N[:, None] * (product(theta_NxN, c_Nx1) - y_N[:, None])
        gradient = infinite.FunctionalGradient(delta_Nx1, index_N, theta_NxN)
        updates, state = solver.update(gradient, state, c_Nx1)
        return infinite.apply_updates(c_Nx1, updates), state

    c_Nx1 = jnp.zeros((y_N.size, 1))
    return jax.lax.fori_loop(0, steps, step, (c_Nx1, solver.init(c_Nx1)))[0][:, 0]
