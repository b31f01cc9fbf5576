# SPDX-License-Identifier: Apache-2.0
"""Is the mean over inits of the finite model the infinite model?

Two halves, on the first classes of scikit-learn's digits. With a *fixed* readout function
M_ω = Σ_i c_i g_ω(x_i) the finite model f_H(x) = Σ_i c_i Θ_H(x, x_i) has the infinite one as its
mean, at every width. *Trained* on the same batches the finite model depends on its random kernel
Θ_H in a curved way, and its mean over inits is off by O(1/H).

That holds for squared loss with SGD, too. The model is linear in M, but the errors δ of a step
depend on Θ_H through f, and multiply Θ_H again: after S steps f_H is a polynomial of degree S in
Θ_H. Only its first step from M = 0 has no bias.

Shapes: P examples to compare at, E outputs, K = P E; R inits.
"""

import logging
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
import pandas as pd

from infwidth.config.errors import UserError
from infwidth.data.digits import load_digits
from infwidth.experiments.expected_value.measured import (
    interval_of,
    pair_estimate,
    squares_and_products,
)
from infwidth.experiments.expected_value.models import (
    Case,
    Problem,
    Solution,
    features,
    fixed_outputs,
    hyperparameters,
    make_problem,
    solve,
    trained_outputs,
)
from infwidth.experiments.expected_value.settings import ExpectedValueSettings
from infwidth.experiments.parts import Keeper, Parts

CASES = {
    "adam_star": Case("adam_star", "cross_entropy"),
    "sgd": Case("sgd", "cross_entropy"),
    "sgd_squared": Case("sgd", "squared"),
}
"""By name; the coefficients of the first make the fixed readout function."""

if TYPE_CHECKING:
    from infwidth.config.settings import Settings

CODE = (__name__, "infwidth.data.digits")

_LOG = logging.getLogger(__name__)

FEATURES_AT_A_TIME = 4096
"""Features, of some inits together, that are held at a time: what a core's caches have room for."""

FIXED = "fixed"

_PLACES = (*CASES, FIXED)
"""A name's place here is folded into the key of its inits, so that all have inits of their own."""


def tables(settings: "Settings", keeper: Keeper) -> dict[str, pd.DataFrame]:
    """All that the experiment measures, for the tables of the module `measured`."""
    own = settings.expected_value
    problem = make_problem(own, *load_digits())
    return measure(problem, own, settings.statistics.confidence, keeper(CODE))


def measure(
    problem: Problem, settings: ExpectedValueSettings, confidence: float, parts: Parts
) -> dict[str, pd.DataFrame]:
    """Compares finite models with the infinite ones; biases are resolved at that confidence."""
    study = _Study(problem, settings, confidence, parts)
    fixed = [study.fixed(width) for width in sorted(settings.fixed.widths)]
    trained = [table for name in CASES for table in study.trained(name)]
    return {
        "infinite": pd.DataFrame([study.infinite(name) for name in CASES]),
        "fixed": pd.concat(fixed, ignore_index=True),
        "trained": pd.concat(trained, ignore_index=True),
    }


class _Study:
    """The cells of both halves, one problem for all."""

    def __init__(
        self, problem: Problem, settings: ExpectedValueSettings, confidence: float, parts: Parts
    ) -> None:
        self._problem, self._settings = problem, settings
        self._confidence, self._parts = confidence, parts
        self._solutions = {name: self._solve(name) for name in CASES}

    def infinite(self, name: str) -> dict[str, Any]:
        """The row of an infinite model: size of its outputs, share of the labels that it gets."""
        f_PxE = np.asarray(self._solutions[name].f_PxE, np.float64)
        hits = f_PxE.argmax(axis=1) == self._problem.label_P
        return {"case": name, "mean_square": np.square(f_PxE).mean(), "accuracy": hits.mean()}

    def fixed(self, width: int) -> pd.DataFrame:
        """Mean and variance over inits of the difference from the infinite model, per output."""
        solution = self._solutions[next(iter(CASES))]
        inits = self._settings.fixed.features // width

        def outputs(g_NxF: jax.Array, g_PxF: jax.Array) -> jax.Array:
            return fixed_outputs(solution.c_NxE, g_NxF, g_PxF, width)

        def compute() -> pd.DataFrame:
            total_PxE = square_PxE = np.zeros(solution.f_PxE.shape)
            for d_RxPxE in self._differences(FIXED, width, inits, solution, outputs):
                total_PxE = total_PxE + d_RxPxE.sum(axis=0)
                square_PxE = square_PxE + np.square(d_RxPxE).sum(axis=0)
            mean_PxE = total_PxE / inits
            variance_PxE = (square_PxE - inits * np.square(mean_PxE)) / (inits - 1)
            point_PxE, output_PxE = np.indices(mean_PxE.shape)
            place = {"width": width, "point": point_PxE.ravel(), "output": output_PxE.ravel()}
            moments = {"mean": mean_PxE.ravel(), "variance": variance_PxE.ravel()}
            return pd.DataFrame(place | {"inits": inits} | moments)

        return self._parts.table(f"fixed-{width}", self._depends_on(width, inits), compute)

    def trained(self, name: str) -> Iterator[pd.DataFrame]:
        """One width after the other, until the bias is not resolved."""
        for width in sorted(self._settings.trained.widths):
            inits = self._settings.trained.inits_per_unit * width
            table = self._parts.table(
                f"{name}-{width}",
                self._depends_on(width, inits),
                partial(self._train, name, width, inits),
            )
            yield table
            estimate, error = pair_estimate(table["square"], table["product"])
            if interval_of(estimate, error, inits, self._confidence).lower <= 0:
                return

    def _train(self, name: str, width: int, inits: int) -> pd.DataFrame:
        """Of each init, what `pair_estimate` needs."""
        case, solution = CASES[name], self._solutions[name]
        constants = hyperparameters(case, self._settings.trained)

        def outputs(g_NxF: jax.Array, g_PxF: jax.Array) -> jax.Array:
            return trained_outputs(self._problem, case, constants, g_NxF, g_PxF, width)

        chunks = list(self._differences(name, width, inits, solution, outputs))
        d_RxK = np.concatenate(chunks).reshape(inits, -1)
        if not np.isfinite(d_RxK).all():
            raise UserError(
                f"a model of width {width} diverged under {name}: lower "
                f"expected_value.trained.{case.rule}_learning_rate"
            )
        square_R, product_R = squares_and_products(d_RxK)
        place = {"case": name, "width": width, "init": np.arange(inits)}
        return pd.DataFrame(place | {"square": square_R, "product": product_R})

    def _differences(
        self,
        name: str,
        width: int,
        inits: int,
        solution: Solution,
        outputs: Callable[[jax.Array, jax.Array], jax.Array],
    ) -> Iterator[np.ndarray]:
        """Outputs of finite models minus those of the infinite one, float64, some inits a time."""
        key = jax.random.key(self._settings.seed)
        for number in (_PLACES.index(name), width):
            key = jax.random.fold_in(key, number)
        f_PxE = np.asarray(solution.f_PxE, np.float64)
        _LOG.info("%s, width %d: %d inits", name, width, inits)
        size = max(1, FEATURES_AT_A_TIME // width)
        for first in range(0, inits, size):
            # The last chunk is as long as the others, so that one program serves all.
            drawn = features(self._problem, jax.random.fold_in(key, first), size * width)
            f_RxPxE = np.asarray(outputs(*drawn), np.float64)
            yield f_RxPxE[: inits - first] - f_PxE

    def _solve(self, name: str) -> Solution:
        solution = solve(self._problem, CASES[name], self._settings.trained)
        if not np.isfinite(solution.f_PxE).all():
            raise UserError(
                f"the infinite model diverged under {name}: lower "
                f"expected_value.trained.{CASES[name].rule}_learning_rate"
            )
        return solution

    def _depends_on(self, width: int, inits: int) -> dict[str, Any]:
        shared = self._settings.model_dump(mode="json", exclude={"fixed"})
        del shared["trained"]["widths"], shared["trained"]["inits_per_unit"]
        return shared | {"width": width, "inits": inits}
