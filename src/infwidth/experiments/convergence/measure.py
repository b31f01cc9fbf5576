# SPDX-License-Identifier: Apache-2.0
"""Do finite models converge to the exact infinite one as they widen, and how fast?

SGD, SGD with momentum and ADAM*, at finite width and in the kernel form of infinite width, on the
same mini-batches of scikit-learn's digits; and elementwise Adam, which has no kernel form and is
compared with ADAM*.

Shapes: A examples, of which the first N are trained on; E outputs; L logged steps; R seeds.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from infwidth.config.errors import UserError
from infwidth.data.digits import load_digits
from infwidth.experiments.convergence.models import (
    Problem,
    finite_model,
    infinite_outputs,
    make_problem,
)
from infwidth.experiments.convergence.settings import RULES, ConvergenceSettings, Rule
from infwidth.experiments.parts import Keeper, Parts

KERNEL_RULES: tuple[Rule, ...] = ("sgd", "momentum", "adam_star")

if TYPE_CHECKING:
    from infwidth.config.settings import Settings

CODE = (__name__, "infwidth.data.digits")

_LOG = logging.getLogger(__name__)

# What decides which models there are and how they are judged, and not what each of them is.
_BESIDE = {"widths", "seeds", "slope_from", "slope_margin"}


class Model(NamedTuple):
    """A finite model after training.

    Its curve has a row a (logged step, split); its outputs at the end a row an example.
    """

    width: int
    seed: int
    curve: pd.DataFrame
    outputs: pd.DataFrame


def tables(settings: "Settings", keeper: Keeper) -> dict[str, pd.DataFrame]:
    """All that the experiment measures, for the tables of the module `measured`."""
    own = settings.convergence
    return measure(make_problem(own, *load_digits()), own, keeper(CODE))


def part(settings: "Settings", name: Rule, keeper: Keeper) -> int:
    """Trains the models of a rule, and returns the number of them; `tables` finds them."""
    own = settings.convergence
    problem = make_problem(own, *load_digits())
    return sum(1 for _ in train(problem, name, own, keeper(CODE)))


def measure(
    problem: Problem, settings: ConvergenceSettings, parts: Parts
) -> dict[str, pd.DataFrame]:
    """Trains the models that are not kept, and compares all."""
    limits = {rule: _limit(problem, rule, settings) for rule in KERNEL_RULES}
    curves, final = [], {}
    for rule in RULES:
        limit = limits.get(rule, limits["adam_star"])
        models = list(train(problem, rule, settings, parts, limit))
        curves += [model.curve for model in models]
        final[rule] = {
            width: np.stack([m.outputs.to_numpy(np.float64) for m in models if m.width == width])
            for width in sorted(settings.widths)
        }
    return {
        "curves": pd.concat(curves, ignore_index=True),
        "limits": pd.DataFrame(
            [
                score | {"rule": rule}
                for rule, f_LxAxE in limits.items()
                for score in _scores(problem, f_LxAxE)
            ]
        ),
        "products": pd.DataFrame(
            [
                {"rule": rule, "width": width} | row
                for rule in ("adam_star", "adam")
                for width, f_RxAxE in final[rule].items()
                for row in _products(problem, f_RxAxE - limits["adam_star"][-1], settings.seeds)
            ]
        ),
        "gaps": pd.DataFrame(_gaps(problem, final["adam"], final["adam_star"], settings.seeds)),
    }


def train(
    problem: Problem,
    rule: Rule,
    settings: ConvergenceSettings,
    parts: Parts,
    limit_LxAxE: np.ndarray | None = None,
) -> Iterator[Model]:
    """Trains the finite models of a rule that are not kept, reads the others; by width and seed.

    They are compared with the exact machine (elementwise Adam with ADAM*'s); without its outputs
    after each logged step it is trained where it is needed.
    """
    limit = cache(lambda: _limit(problem, rule, settings) if limit_LxAxE is None else limit_LxAxE)
    shared = settings.model_dump(mode="json", exclude=_BESIDE) | {"rule": rule}

    def model(width: int, seed: int, outputs: Callable[[], np.ndarray]) -> Model:
        def curve() -> pd.DataFrame:
            distances = [
                _rms(step_AxE[split])
                for step_AxE in outputs() - limit()
                for split in _splits(problem).values()
            ]
            place = {"rule": rule, "width": width, "seed": seed}
            return pd.DataFrame(_scores(problem, outputs())).assign(distance=distances, **place)

        def final() -> pd.DataFrame:
            return pd.DataFrame(outputs()[-1].astype(np.float32)).rename(columns=str)

        name, depends_on = f"{rule}-{width}-{seed}", shared | {"width": width, "seed": seed}
        curves = parts.table(f"{name}-curve", depends_on, curve)
        return Model(width, seed, curves, parts.table(f"{name}-outputs", depends_on, final))

    for width in sorted(settings.widths):
        started, trained = time.monotonic(), 0
        compiled = cache(lambda width=width: finite_model(problem, rule, width, settings))
        for seed in settings.seeds:
            outputs = cache(lambda seed=seed, train=compiled: _finite(rule, train()(seed)))
            yield model(width, seed, outputs)
            trained += outputs.cache_info().currsize
        if trained:
            seconds = time.monotonic() - started
            _LOG.info("%s, width %d: %d seeds in %.1f s", rule, width, trained, seconds)


def _limit(problem: Problem, rule: Rule, settings: ConvergenceSettings) -> np.ndarray:
    """f_LxAxE of the exact machine; for elementwise Adam, which has none, of ADAM*'s."""
    rule = "adam_star" if rule == "adam" else rule
    return _finite(rule, infinite_outputs(problem, rule, settings))


def _finite(rule: Rule, f_LxAxE: ArrayLike) -> np.ndarray:
    f_LxAxE = np.asarray(f_LxAxE, np.float64)
    if not np.isfinite(f_LxAxE).all():
        setting = "adam" if rule == "adam_star" else rule
        raise UserError(f"{rule} diverged: lower convergence.{setting}_learning_rate")
    return f_LxAxE


def _splits(problem: Problem) -> dict[str, slice]:
    return {"train": slice(0, problem.examples), "test": slice(problem.examples, None)}


def _scores(problem: Problem, f_LxAxE: np.ndarray) -> list[dict[str, Any]]:
    """Loss, accuracy and size of the outputs after each logged step, by split."""
    label_A = np.asarray(problem.label_A)
    highest_LxAx1 = f_LxAxE.max(axis=2, keepdims=True)
    sum_LxA = np.exp(f_LxAxE - highest_LxAx1).sum(axis=2)
    log_sum_LxA = np.log(sum_LxA) + highest_LxAx1[..., 0]
    loss_LxA = log_sum_LxA - f_LxAxE[:, np.arange(len(label_A)), label_A]
    hit_LxA = f_LxAxE.argmax(axis=2) == label_A
    return [
        {
            "step": step,
            "split": name,
            "loss": float(loss_LxA[i, split].mean()),
            "accuracy": float(hit_LxA[i, split].mean()),
            **{f"rms_{view}": _rms(f[i, split]) for view, f in _views(f_LxAxE).items()},
        }
        for i, step in enumerate(problem.logged_steps)
        for name, split in _splits(problem).items()
    ]


def _products(
    problem: Problem, d_RxAxE: np.ndarray, seeds: Sequence[int]
) -> Iterator[dict[str, Any]]:
    """Mean products of the differences of every two seeds, each with itself among them."""
    for view, seen_RxAxE in _views(d_RxAxE).items():
        for name, split in _splits(problem).items():
            d_RxF = seen_RxAxE[:, split].reshape(len(seeds), -1)
            product_RxR = d_RxF @ d_RxF.T / d_RxF.shape[1]
            for a, b in combinations_with_replacement(range(len(seeds)), 2):
                pair = {"seed_a": seeds[a], "seed_b": seeds[b], "product": float(product_RxR[a, b])}
                yield {"view": view, "split": name} | pair


def _gaps(
    problem: Problem,
    adam: dict[int, np.ndarray],
    adam_star: dict[int, np.ndarray],
    seeds: Sequence[int],
) -> Iterator[dict[str, Any]]:
    """Distances of elementwise Adam, at the end, from two things that are no kernel machine.

    From ADAM* of the same width and features; and from the mean over all other seeds of Adam at the
    largest width, which stands for Adam's own limit.
    """
    widest_RxAxE = adam[max(adam)]
    for width, f_RxAxE in adam.items():
        for r, seed in enumerate(seeds):
            references = {"adam_star": adam_star[width][r]}
            if len(seeds) > 1:
                references["widest"] = np.delete(widest_RxAxE, r, axis=0).mean(axis=0)
            for reference, g_AxE in references.items():
                place = {"width": width, "seed": seed, "reference": reference}
                for view, d_AxE in _views(f_RxAxE[r] - g_AxE).items():
                    for name, split in _splits(problem).items():
                        yield place | {"view": view, "split": name, "distance": _rms(d_AxE[split])}


def _views(f: np.ndarray) -> dict[str, np.ndarray]:
    """Outputs as they are, and without their mean over classes, which no softmax sees."""
    return {"outputs": f, "centred": f - f.mean(axis=-1, keepdims=True)}


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.square(values).mean()))
