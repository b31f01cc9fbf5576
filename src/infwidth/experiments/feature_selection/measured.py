# SPDX-License-Identifier: Apache-2.0
"""What reweighted frozen features reach: errors, prices, aligned mass, pruning; means over seeds.

Legend: S seeds. Losses of the planted study are in variances of its targets, those of pruning in
nats per image; errors of reweighting are relative to the outputs of the reconstructed network.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from infwidth.experiments.convergence.measured import geometric_mean
from infwidth.experiments.schema import RATES, SEED, Table
from infwidth.experiments.tables import Experiment, MeasuredTables
from infwidth.stats.effects import Effect, paired_effect
from infwidth.stats.statistics import Interval, SampleMean, mean_interval

TABLES = {
    "density_ratio": Table(
        ("dimension", "kappa", "width"),
        SEED,
        outcomes=("error", "loss", "moved", "price"),
        shown=("trained_second_moment", "coarse_price", "floor"),
    ),
    "least_squares": Table(
        ("dimension", "width"),
        SEED,
        outcomes=("error", "price"),
        shown=("narrow_loss", "narrow_price"),
    ),
    "planted": Table(
        ("rule", "width", "step"), SEED, outcomes=("aligned", "loss"), shown=("at_random",)
    ),
    "infinite": Table(("rule",), SEED, outcomes=("loss",)),
    "pruning": Table(
        ("rule", "kind", "retrained", "share", "kept"), SEED, outcomes=("loss", "error")
    ),
    "selection": Table(
        ("study", "rule"), shown=("learning_rate", "kappa", "interior", "note", "extensions")
    ),
    "tuning": Table(("study", "rule"), SEED, choice=RATES[:2], shown=("validation_loss",)),
}

LABELS = {
    "unfrozen": "unfrozen",
    "adam": "Adam, frozen",
    "adam_star": "ADAM*, frozen",
    "sgd": "SGD, frozen",
}
"""By rule."""


@dataclass(frozen=True)
class DensityCell:
    """Networks made again by density ratio at one rate of the features.

    Attributes:
        kappa: κ, the features' rate as a multiple of the readout's.
        moved: mean angle that a feature's direction has moved, radians.
        price: E[M̃²] in units of the trained network's E[M²]; geometric mean over seeds.
        coarse_price: the same with densities estimated in a sixteenth of the cells.
    """

    kappa: float
    moved: SampleMean
    price: Interval
    coarse_price: Interval


@dataclass(frozen=True)
class FeatureSelection(Experiment):
    """What the experiment measured."""

    @property
    def settings(self) -> dict[str, Any]:
        """Of the experiment."""
        return self.measured.settings["feature_selection"]

    @property
    def seeds(self) -> list[int]:
        """That were to run."""
        return sorted(self.settings["seeds"])

    def table(self, name: str) -> pd.DataFrame:
        """A table as it was written."""
        return self.measured.tables[name]

    def places(self, name: str, *columns: str) -> list[Any]:
        """The values of a column of a table, or the tuples of some, ascending."""
        rows = self.table(name)[list(columns)].drop_duplicates().sort_values(list(columns))
        return [row[0] if len(row) == 1 else row for row in rows.itertuples(index=False, name=None)]

    def rules(self, name: str) -> list[str]:
        """The rules of a study, in the order in which they were run."""
        return self.table(name)["rule"].drop_duplicates().tolist()

    def by_seed(self, name: str, value: str, **place: Any) -> dict[int, float]:
        """A value of the runs at a place, by seed; those that diverged are left out."""
        rows = self.table(name)
        for column, wanted in place.items():
            rows = rows[rows[column] == wanted]
        found = rows.groupby("seed")[value].first()
        return {int(seed): float(x) for seed, x in found.items() if math.isfinite(x)}

    def mean(self, name: str, value: str, **place: Any) -> SampleMean:
        """Its mean over the seeds that did not diverge, with its interval."""
        return mean_interval(list(self.by_seed(name, value, **place).values()), self.confidence)

    def typical(self, name: str, value: str, **place: Any) -> Interval:
        """The same of a positive value that varies by factors: its geometric mean."""
        return geometric_mean(
            np.array(list(self.by_seed(name, value, **place).values())), self.confidence
        )

    def lost(self, name: str) -> int:
        """Networks of a study with a number that is not finite."""
        table = self.table(name)
        bad = table[~np.isfinite(table["loss"])]
        return len(bad.drop_duplicates([c for c in ("rule", "width", "seed") if c in bad]))

    def power(self, name: str, value: str, **place: Any) -> dict[int, float]:
        """By seed, the exponent of a value in the width: the slope of the logarithms."""
        rows = self.table(name)
        for column, wanted in place.items():
            rows = rows[rows[column] == wanted]
        return {
            int(seed): float(np.polyfit(np.log(of["width"]), np.log(of[value]), 1)[0])
            for seed, of in rows.groupby("seed")
        }

    def density(self, dimension: int) -> list[DensityCell]:
        """Every rate of the features at inputs of a dimension, ascending."""
        cells = []
        for kappa in sorted(self.table("density_ratio")["kappa"].unique()):
            at = {"dimension": dimension, "kappa": kappa}
            own = self._seeds_of("density_ratio", "trained_second_moment", **at)
            prices = [
                geometric_mean(self._seeds_of("density_ratio", column, **at) / own, self.confidence)
                for column in ("price", "coarse_price")
            ]
            cells.append(DensityCell(kappa, self.mean("density_ratio", "moved", **at), *prices))
        return cells

    def final_step(self) -> int:
        """The last logged step of the planted study."""
        return int(self.table("planted")["step"].max())

    def at_end(self, rule: str, width: int, value: str) -> dict[int, float]:
        """A value of the planted study after the last step, by seed."""
        return self.by_seed("planted", value, rule=rule, width=width, step=self.final_step())

    def best_losses(self) -> dict[int, float]:
        """By width, the least loss that any readout of frozen features has on the planted data.

        The square of the error with which they make a trained network again; that one is the
        teacher itself, up to `narrow_loss`. Empty where the two studies differ in dimension.
        """
        at = {"dimension": self.settings["planted"]["dimension"]}
        if at["dimension"] not in self.places("least_squares", "dimension"):
            return {}
        return {
            width: self.typical("least_squares", "error", width=width, **at).estimate ** 2
            for width in self.places("least_squares", "width")
        }

    def pruned(self, rule: str, kind: str, share: float, retrained: bool) -> dict[int, float]:
        """The test loss of pruned networks, by seed."""
        place = {"rule": rule, "kind": kind, "share": share, "retrained": retrained}
        return self.by_seed("pruning", "loss", **place)

    def top_over_random(self, rule: str, share: float, retrained: bool) -> Interval:
        """Test loss with top features over that with random ones; geometric mean, paired."""
        top, random = (self.pruned(rule, kind, share, retrained) for kind in ("top", "random"))
        ratios = [top[seed] / random[seed] for seed in sorted(set(top) & set(random))]
        return geometric_mean(np.array(ratios), self.confidence)

    def _seeds_of(self, name: str, value: str, **place: Any) -> NDArray[np.float64]:
        return np.array(list(self.by_seed(name, value, **place).values()))


def load(folder: Path | str) -> FeatureSelection:
    """Reads and checks a folder of measurements.

    Raises:
        UserError: a file is missing or unreadable, or lacks a column or key.
    """
    return FeatureSelection(MeasuredTables.load(folder, TABLES, "feature_selection", "statistics"))


def effects(measured: FeatureSelection) -> dict[str, list[Effect]]:
    """What the experiment says on claim 4, for the rules of the claims; by seed, paired.

    - `reweighting_error_slope`: exponent in H of the error of networks made again by density ratio;
      by theory −1/2 where E[M̃²] is finite.
    - `reweighting_log_price`: log of E[M̃²] over the trained network's E[M²].
    - `least_squares_error_slope`, `least_squares_price_slope`: exponents in H of the error of the
      best readout, and of its mean square.
    - `aligned_mass_gain_adam_star`: share of the readout's mass on features that are aligned with a
      planted direction, minus what it is for a readout that is independent of the features.
    - `aligned_mass_adam_star_minus_sgd`, `…_minus_adam`, `…_minus_unfrozen`: differences of that
      share. `planted_log_loss_adam_star_minus_…`: of the logarithm of the test loss.
    - `planted_log_loss_infinite_minus_unfrozen`: the same of exactly infinite width, rule by rule,
      against the unfrozen network of the largest width.
    - `pruning_top_minus_random`: test loss with the top features kept and their readout trained
      anew, minus that with as many random ones; `…_not_retrained`: without training.
    """
    return (
        _reweighting(measured)
        | _aligned(measured)
        | {
            "pruning_top_minus_random": _pruning(measured, retrained=True),
            "pruning_top_minus_random_not_retrained": _pruning(measured, retrained=False),
        }
    )


def _reweighting(measured: FeatureSelection) -> dict[str, list[Effect]]:
    ratio, fits = "density_ratio", "least_squares"

    def repeats(where: str, by_seed: dict[int, float]) -> Effect:
        lost = len(measured.seeds) - len(by_seed)
        return Effect.of_repeats(where, list(by_seed.values()), lost)

    def log_price(**at: Any) -> dict[int, float]:
        own = measured.by_seed(ratio, "trained_second_moment", **at)
        price = measured.by_seed(ratio, "price", **at)
        return {seed: math.log(price[seed] / own[seed]) for seed in price}

    def over_kappas(of: Callable[..., dict[int, float]]) -> list[Effect]:
        return [
            repeats(f"D = {D}, κ = {kappa:g}", of(dimension=D, kappa=kappa))
            for D, kappa in measured.places(ratio, "dimension", "kappa")
        ]

    def over_dimensions(value: str) -> list[Effect]:
        return [
            repeats(f"D = {D}", measured.power(fits, value, dimension=D))
            for D in measured.places(fits, "dimension")
        ]

    return {
        "reweighting_error_slope": over_kappas(lambda **at: measured.power(ratio, "error", **at)),
        "reweighting_log_price": over_kappas(log_price),
        "least_squares_error_slope": over_dimensions("error"),
        "least_squares_price_slope": over_dimensions("price"),
    }


def _aligned(measured: FeatureSelection) -> dict[str, list[Effect]]:
    widths = measured.places("planted", "width")

    def over_widths(first: Callable[[int], dict], second: Callable[[int], dict]) -> list[Effect]:
        return [
            paired_effect(f"H = {width}", first(width), second(width), measured.seeds)
            for width in widths
        ]

    def at_end(rule: str, value: str) -> Callable[[int], dict[int, float]]:
        return lambda width: measured.at_end(rule, width, value)

    def log_loss(rule: str) -> Callable[[int], dict[int, float]]:
        return lambda width: _logarithms(measured.at_end(rule, width, "loss"))

    star = "adam_star"
    found = {
        "aligned_mass_gain_adam_star": over_widths(
            at_end(star, "aligned"), at_end(star, "at_random")
        )
    }
    for rule in measured.rules("planted"):
        if rule != star:
            found[f"aligned_mass_adam_star_minus_{rule}"] = over_widths(
                at_end(star, "aligned"), at_end(rule, "aligned")
            )
            found[f"planted_log_loss_adam_star_minus_{rule}"] = over_widths(
                log_loss(star), log_loss(rule)
            )
    found["planted_log_loss_infinite_minus_unfrozen"] = [
        paired_effect(
            f"{LABELS[rule]}, against H = {widths[-1]}",
            _logarithms(measured.by_seed("infinite", "loss", rule=rule)),
            log_loss("unfrozen")(widths[-1]),
            measured.seeds,
        )
        for rule in measured.rules("infinite")
    ]
    return found


def _logarithms(by_seed: dict[int, float]) -> dict[int, float]:
    return {seed: math.log(value) for seed, value in by_seed.items()}


def _pruning(measured: FeatureSelection, retrained: bool) -> list[Effect]:
    share = measured.settings["pruning"]["judged_share"]
    return [
        paired_effect(
            f"{LABELS[rule]}, q = {share:.0%}",
            measured.pruned(rule, "top", share, retrained),
            measured.pruned(rule, "random", share, retrained),
            measured.seeds,
        )
        for rule in measured.rules("pruning")
    ]
