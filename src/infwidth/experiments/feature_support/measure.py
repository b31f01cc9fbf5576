# SPDX-License-Identifier: Apache-2.0
"""What stays of the error, however wide, where Ω is not totally supported?

Each case is a law Ω whose support leaves something out, or nothing, and a target whose population
residual is computed beforehand (`feature_support_residuals`). Against it stand the errors of
readouts over H features drawn from Ω, the best one and one trained by ADAM* (reconstructed), and
what `infwidth.kernels.support_report` says of the features. Errors are shares of the target's
variance, and expectations over inputs are quadratures.

Shapes: N nodes, P nodes to test at, H features, d = D + 1.
"""

import logging
import math
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from infwidth.experiments.feature_support.cases import (
    ACTIVATIONS,
    Case,
    Target,
    cases,
    draw,
    relu,
    seen_direction,
    support,
    target,
)
from infwidth.experiments.feature_support.nodes import Array, Nodes, sample_nodes
from infwidth.experiments.feature_support.readouts import adam_star_readout, best_readout
from infwidth.experiments.feature_support.residuals import (
    cone_residual,
    span_residual,
    unseen_kink,
    wave_residual,
)
from infwidth.experiments.feature_support.settings import FeatureSupportSettings, NodesSettings
from infwidth.experiments.parts import Keeper, Parts
from infwidth.kernels import support_report

BEST, TRAINED = "best", "adam_star"
"""Readouts: by least squares, and by ADAM*."""

SHOWN = 3.0
"""Functions on the line are drawn between this and minus this."""

_BLOCK = 1024
"""Test nodes at which features are held at a time."""

if TYPE_CHECKING:
    from infwidth.config.settings import Settings

CODE = (__name__,)

_LOG = logging.getLogger(__name__)


def tables(settings: "Settings", keeper: Keeper) -> dict[str, pd.DataFrame]:
    """Computes residuals, errors and reports of every case.

    Args:
      settings: of the configuration.
      keeper: gives the parts that are kept, from the modules that their numbers hang on.

    Returns:
      The tables that `infwidth.experiments.feature_support.measured` describes.
    """
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
    """The cells of the experiment."""

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
        for seed in self._settings.seeds:
            for width in self._settings.widths:
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
        return pd.DataFrame(
            {
                "case": case.name,
                "seed": seed,
                "width": width,
                "readout": [name for name, _ in readouts],
                "steps": [steps for _, steps in readouts],
                "error": error_R,
            }
        )

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
            "case": case.name,
            "seed": seed,
            "missing": report.missing,
            "p_value": report.p_value,
            "score": report.score,
            "null": float(np.median(report.null_R)),
            "named": named(case, self._settings, seed, report.direction_D, report.offset),
            "rank": report.rank,
            "distinct": report.distinct,
            "levels": report.levels,
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


def residual(case: Case, settings: FeatureSupportSettings, y: Target, seed: int) -> Array:
    """The population residual of a case: the mean square of y that no width reaches.

    Of each output of y, in an array of their shape; the subspace's is that of the wave.
    """
    if case.kind == "total" or case.activation != "relu":
        return np.zeros(())
    if case.kind == "subspace":
        return np.array(wave_residual(settings.frequency, settings.subspace_angle))
    if case.kind == "cone":
        return cone_residual(y, settings.cone_half_angle, case.bias)
    return span_residual(y, support(case, settings, seed), case.bias)


def named(
    case: Case, settings: FeatureSupportSettings, seed: int, direction_D: Array, offset: float
) -> float:
    """How well a direction names what is missing: its own residual over the largest there is.

    Args:
      case: the law.
      settings: of the experiment.
      seed: of the features.
      direction_D: a unit vector u.
      offset: where the feature relu(u·x − offset) has its kink.

    Returns:
      The mean square that is out of reach of that feature, with ν at unit length, over that of the
      worst feature: 1 where there is no worse. NaN where nothing is out of reach.
    """
    if case.kind == "total" or case.activation != "relu":
        return math.nan
    constant = -offset / case.bias if np.isfinite(offset) else -np.sign(offset)
    nu_d = np.append(direction_D, constant)
    nu_Mxd = np.concatenate([nu_d[None, :] / np.linalg.norm(nu_d), _directions(case.D)])
    if case.kind == "subspace":
        left_M = unseen_kink(nu_Mxd, seen_direction(settings), case.bias)
    else:
        features = Target(lambda x_Nx1: relu(x_Nx1 * nu_Mxd[:, 0] + case.bias * nu_Mxd[:, 1]))
        left_M = residual(case, settings, features, seed)
    return float(left_M[0] / left_M.max())


def _directions(D: int) -> Array:
    """Directions that lie close: on the circle every 2 degrees, on the sphere every 6 or so."""
    angle_M = np.radians(np.arange(0, 360, 2 if D == 1 else 6))
    circle_Mx2 = np.stack([np.cos(angle_M), np.sin(angle_M)], axis=1)
    if D == 1:
        return circle_Mx2
    height_K = np.linspace(-0.95, 0.95, 31)
    around = circle_Mx2[None, :, :] * np.sqrt(1 - np.square(height_K))[:, None, None]
    high = np.broadcast_to(height_K[:, None, None], (*around.shape[:2], 1))
    return np.concatenate([around, high], axis=2).reshape(-1, 3)
