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
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, lru_cache, partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from infwidth.data.digits import load_digits
from infwidth.experiments.infinite_rules.measured import TABLES
from infwidth.experiments.infinite_rules.models import (
    Outputs,
    Problem,
    draw,
    features,
    finite_on_measured_scales,
    kernel_matrix,
    make_problem,
    measured_kernel,
    sgd_unit,
    start_errors,
    trainer,
)
from infwidth.experiments.infinite_rules.plan import WIDTHS
from infwidth.experiments.infinite_rules.settings import (
    FINITE_RULES,
    MEASURED_RULES,
    InfiniteRulesSettings,
    Kernel,
    Rule,
)
from infwidth.experiments.parts import Keeper
from infwidth.stats.selection import Trial, choose, count_extensions, next_cells

if TYPE_CHECKING:
    from infwidth.config.settings import Settings

CODE = (__name__, "infwidth.data.digits")

_LOG = logging.getLogger(__name__)

# What decides which models there are, and not what each of them is.
_BESIDE = {"rules", "kernels", "limit_widths"}

_REFERENCE = 8
"""Times `nodes`, the features of the infinite width from which finite models are measured."""


def tables(settings: "Settings", keeper: Keeper) -> dict[str, pd.DataFrame]:
    """Trains what is not kept, and gathers the tables of `measured.TABLES`."""
    own = settings.infinite_rules
    runs = pd.concat(_trained(own, own.rules, keeper), ignore_index=True)
    return {"runs": runs, "widths": _widened(own, keeper)}


def part(settings: "Settings", name: str, keeper: Keeper) -> int:
    """Trains a rule with every kernel, or finite models, and returns the number of runs."""
    own = settings.infinite_rules
    if name == WIDTHS:
        return len(_widened(own, keeper))
    return sum(map(len, _trained(own, [cast(Rule, name)], keeper)))


def _trained(
    settings: InfiniteRulesSettings, rules: Sequence[Rule], keeper: Keeper
) -> Iterator[pd.DataFrame]:
    """The runs of each of some rules with each kernel, tuned and reported."""
    problem, parts = make_problem(settings, *load_digits()), keeper(CODE)

    @cache
    def matrix(kernel: Kernel, seed: int | None) -> jax.Array:
        """The kernel; that of measured scales with a seed, of the batches and of its features."""
        if seed is None:
            return kernel_matrix(problem, kernel)
        errors_RxA = start_errors(problem, draw(problem, settings, seed).batch_SxK)
        return measured_kernel(problem, errors_RxA, settings.nodes, seed)

    for rule in rules:
        train = trainer(problem, rule, settings)
        for kernel in settings.kernels:
            if kernel == "measured" and rule not in MEASURED_RULES:
                continue
            depends_on = settings.model_dump(mode="json", exclude=_BESIDE)
            depends_on |= {"rule": rule, "kernel": kernel}
            compute = partial(_runs, problem, settings, rule, kernel, train, matrix)
            yield parts.table(f"{rule}-{kernel}", depends_on, compute)


def _runs(
    problem: Problem,
    settings: InfiniteRulesSettings,
    rule: Rule,
    kernel: Kernel,
    train: Outputs,
    matrix: Callable[[Kernel, int | None], jax.Array],
) -> pd.DataFrame:
    """Of one rule with one kernel: those of the grid, its extensions, the refinements, reported."""
    started, tolerance = time.monotonic(), settings.tolerance
    finite = rule in FINITE_RULES
    rows: list[dict[str, Any]] = []
    trials: list[Trial] = []

    # One set of features at a time, since they are larger than a kernel's matrix.
    @lru_cache(maxsize=1)
    def given(seed: int) -> jax.Array:
        if not finite:
            return matrix(kernel, seed if kernel == "measured" else None)
        batch_SxK = draw(problem, settings, seed).batch_SxK
        return features(problem, kernel, settings.width, seed, batch_SxK)

    def run(role: str, seed: int, rate: float) -> float:
        drawn = draw(problem, settings, seed)
        outputs = train(given(seed), drawn.batch_SxK, jnp.float32(rate))
        f_AxE = np.asarray(outputs, np.float64)
        seen = drawn.validation_V if role == "tuning" else np.arange(problem.test)
        loss, accuracy = _scores(problem, f_AxE, seen)
        rows.append(
            {
                "rule": rule,
                "kernel": kernel,
                "width": float(settings.width) if finite else math.inf,
                "role": role,
                "seed": seed,
                "learning_rate": rate,
                "loss": loss,
                "accuracy": accuracy,
                "train_loss": _scores(problem, f_AxE, drawn.train_N)[0],
                "status": "done" if math.isfinite(loss) else "diverged",
            }
        )
        return loss

    def tune(rates: Sequence[float]) -> float | None:
        """Runs them all, and returns the best of all so far."""
        # Seed by seed, since the features of a seed serve all rates.
        for seed in settings.tuning_seeds:
            for rate in rates:
                loss = run("tuning", seed, rate)
                trials.append(Trial(rate, loss, seed, not math.isfinite(loss)))
        return choose(trials, tolerance).learning_rate

    def left() -> int:
        return settings.max_extensions - count_extensions(trials, settings.learning_rates)

    best = tune(sorted(settings.learning_rates))
    while cells := next_cells(trials, tolerance, left()):
        best = tune([cell.learning_rate for cell in cells])
    for _ in range(settings.refinements):
        best = tune(_half_way(best, {trial.learning_rate for trial in trials}))
    if best is not None:
        for seed in settings.seeds:
            run("report", seed, best)
    seconds = time.monotonic() - started
    _LOG.info("%s, %s: %d runs in %.1f s", rule, kernel, len(rows), seconds)
    return TABLES["runs"].frame(rows)


def _widened(settings: InfiniteRulesSettings, keeper: Keeper) -> pd.DataFrame:
    """How far finite models on measured scales are from the infinite one, on the test's images.

    All on the batches of the first seed to report, at the middle rate of the grid; seeds draw the
    features.
    """
    if "measured" not in settings.kernels:
        return TABLES["widths"].frame([])
    depends_on = settings.model_dump(mode="json", exclude={"rules", "kernels"})
    return keeper(CODE).table(WIDTHS, depends_on, partial(_distances, settings))


def _distances(settings: InfiniteRulesSettings) -> pd.DataFrame:
    problem = make_problem(settings, *load_digits())
    first, *_ = settings.seeds
    batch_SxK = draw(problem, settings, first).batch_SxK
    rates = sorted(settings.learning_rates)
    rate = jnp.float32(rates[len(rates) // 2])
    theta_AxA = measured_kernel(
        *(problem, start_errors(problem, batch_SxK)),
        *(_REFERENCE * settings.nodes, settings.data_seed),
    )
    rows = []
    for rule in ("sgd", "adam_star"):
        limit_AxE = trainer(problem, rule, settings)(theta_AxA, batch_SxK, rate)
        unit = sgd_unit(problem, theta_AxA, batch_SxK[0]) if rule == "sgd" else 1.0
        train = jax.jit(partial(finite_on_measured_scales, problem, rule, settings))
        for width in sorted(settings.limit_widths):
            for seed in settings.seeds:
                g_AxH = features(problem, "plain", width, seed, batch_SxK)
                f_AxE = train(g_AxH, batch_SxK, unit * rate)
                rms = [
                    float(np.sqrt(np.mean(np.square(np.asarray(each_AxE, np.float64)))))
                    for each_AxE in ((f_AxE - limit_AxE)[: problem.test], f_AxE[: problem.test])
                ]
                row = {"rule": rule, "width": width, "seed": seed}
                rows.append(row | dict(zip(("distance", "rms_outputs"), rms, strict=True)))
        _LOG.info("%s on measured scales at %d widths", rule, len(settings.limit_widths))
    return TABLES["widths"].frame(rows)


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
