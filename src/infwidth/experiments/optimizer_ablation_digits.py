# SPDX-License-Identifier: Apache-2.0
"""Which optimizer, with which features, is best at exactly infinite width? On small digits.

Every rule of `infwidth.infinite` with every kernel, each rule's rate tuned by one procedure on
seeds of its own; and the rules that have no fixed kernel on as many frozen features as are told.
A rate is chosen by the loss of images that its own runs did not train on; reported is the loss of
images that no run trains or is tuned on.
"""

import logging
import math
import time
from collections.abc import Callable, Iterable
from functools import cache, lru_cache, partial
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from infwidth.analysis.selection import Cell, Trial, choose, count_extensions, next_cells
from infwidth.config.optimizer_ablation_digits import (
    FINITE_DIGITS_RULES,
    DigitsAblationSettings,
    DigitsKernel,
    DigitsRule,
)
from infwidth.data.digits import load_digits
from infwidth.experiments.optimizer_ablation_digits_models import (
    Outputs,
    Problem,
    draw,
    features,
    kernel_matrix,
    make_problem,
    trainer,
)
from infwidth.experiments.parts import Parts

COLUMNS = (
    "rule",
    "kernel",
    "width",
    "role",
    "seed",
    "learning_rate",
    "loss",
    "accuracy",
    "train_loss",
    "status",
)
"""Of the table: `role` is tuning or report; `width` inf or finite; `loss` and `accuracy` of the
validation's images when tuning and of the test's when reporting, `train_loss` of those trained on;
losses in nats per image, NaN where the run diverged; `status` is done or diverged."""

_LOG = logging.getLogger(__name__)

# What decides which models there are, and not what each of them is.
_BESIDE = {"rules", "kernels"}


def measure(settings: DigitsAblationSettings, parts: Parts) -> pd.DataFrame:
    """Tunes and reports every rule with every kernel.

    Args:
      settings: of the study.
      parts: keeps what is computed, a (rule, kernel) each.

    Returns:
      A row a run, with the columns `COLUMNS`.
    """
    digits = load_digits()
    problem = make_problem(settings, digits.x_AxD, digits.label_A)
    matrix = cache(partial(kernel_matrix, problem))
    tables = []
    for rule in settings.rules:
        compiled = cache(partial(trainer, problem, rule, settings))
        for kernel in settings.kernels:
            depends_on = settings.model_dump(mode="json", exclude=_BESIDE)
            depends_on |= {"rule": rule, "kernel": kernel}
            search = _Search(problem, settings, rule, kernel, compiled, matrix)
            tables.append(parts.table(f"digits-{rule}-{kernel}", depends_on, search.table))
    return pd.concat(tables, ignore_index=True)


class _Search:
    """One rule with one kernel: its rate, and its runs at that rate."""

    def __init__(
        self,
        problem: Problem,
        settings: DigitsAblationSettings,
        rule: DigitsRule,
        kernel: DigitsKernel,
        compiled: Callable[[], Outputs],
        matrix: Callable[[DigitsKernel], jax.Array],
    ) -> None:
        self._problem, self._settings = problem, settings
        self._rule, self._kernel = rule, kernel
        self._compiled, self._matrix = compiled, matrix
        self._finite = rule in FINITE_DIGITS_RULES
        # Of a seed; one set of features at a time, since they are larger than a kernel's matrix.
        self._given = lru_cache(maxsize=1)(self._features if self._finite else self._theta)

    def table(self) -> pd.DataFrame:
        """All runs: of the grid, of its extensions, of the refinements, and those reported."""
        settings, started = self._settings, time.monotonic()
        rows = self._tune(sorted(settings.learning_rates))
        while cells := self._next_cells(rows):
            rows += self._tune(cell.learning_rate for cell in cells)
        for _ in range(settings.refinements):
            rows += self._tune(_half_way(self._best(rows), {row["learning_rate"] for row in rows}))
        rate = self._best(rows)
        if rate is not None:
            rows += [self._run("report", seed, rate) for seed in settings.seeds]
        seconds = time.monotonic() - started
        _LOG.info("%s, %s: %d runs in %.1f s", self._rule, self._kernel, len(rows), seconds)
        return pd.DataFrame(rows, columns=list(COLUMNS))

    def _tune(self, rates: Iterable[float]) -> list[dict[str, Any]]:
        rates = list(rates)
        # Seed by seed, since the features of a seed serve all rates.
        return [
            self._run("tuning", seed, rate)
            for seed in self._settings.tuning_seeds
            for rate in rates
        ]

    def _next_cells(self, rows: list[dict[str, Any]]) -> list[Cell]:
        trials = _trials(rows)
        used = count_extensions(trials, self._settings.learning_rates)
        return next_cells(trials, self._settings.tolerance, self._settings.max_extensions - used)

    def _best(self, rows: list[dict[str, Any]]) -> float | None:
        return choose(_trials(rows), self._settings.tolerance).learning_rate

    def _run(self, role: str, seed: int, rate: float) -> dict[str, Any]:
        drawn = draw(self._problem, self._settings, seed)
        outputs = self._compiled()(self._given(seed), drawn.batch_SxK, jnp.float32(rate))
        f_AxE = np.asarray(outputs, np.float64)
        seen = drawn.validation_V if role == "tuning" else np.arange(self._problem.test)
        loss, accuracy = _scores(self._problem, f_AxE, seen)
        return {
            "rule": self._rule,
            "kernel": self._kernel,
            "width": float(self._settings.width) if self._finite else math.inf,
            "role": role,
            "seed": seed,
            "learning_rate": rate,
            "loss": loss,
            "accuracy": accuracy,
            "train_loss": _scores(self._problem, f_AxE, drawn.train_N)[0],
            "status": "done" if math.isfinite(loss) else "diverged",
        }

    def _theta(self, seed: int) -> jax.Array:
        del seed
        return self._matrix(self._kernel)

    def _features(self, seed: int) -> jax.Array:
        return features(self._problem, self._kernel, self._settings.width, seed)


def _trials(rows: list[dict[str, Any]]) -> list[Trial]:
    return [
        Trial(row["learning_rate"], row["loss"], row["seed"], row["status"] == "diverged")
        for row in rows
    ]


def _half_way(best: float | None, rates: Iterable[float]) -> list[float]:
    """The rates between the best and its neighbours, in the logarithm, to three digits."""
    if best is None:
        return []
    tried = sorted(rates)
    place = tried.index(best)
    around = tried[max(place - 1, 0) : place + 2]
    return [float(f"{math.sqrt(low * high):.3g}") for low, high in pairwise(around)]


def _scores(problem: Problem, f_AxE: np.ndarray, seen: np.ndarray) -> tuple[float, float]:
    """Mean loss over some images, nats per image, and accuracy; NaN if any output is not finite."""
    if not np.isfinite(f_AxE).all():
        return math.nan, math.nan
    f_MxE, label_M = f_AxE[seen], np.asarray(problem.label_A)[seen]
    highest_Mx1 = f_MxE.max(axis=1, keepdims=True)
    log_sum_M = np.log(np.exp(f_MxE - highest_Mx1).sum(axis=1)) + highest_Mx1[:, 0]
    loss_M = log_sum_M - f_MxE[np.arange(len(label_M)), label_M]
    return float(loss_M.mean()), float((f_MxE.argmax(axis=1) == label_M).mean())
