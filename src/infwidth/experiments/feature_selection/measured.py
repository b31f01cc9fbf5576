# SPDX-License-Identifier: Apache-2.0
"""What reweighted frozen features reach: errors, prices, aligned mass, pruning; means over seeds.

Legend: S seeds. Losses of the planted study are in variances of its targets, those of pruning in
nats per image; errors of reweighting are relative to the outputs of the reconstructed network.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

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

    def mean(self, name: str, value: str, **place: Any) -> SampleMean:
        """The mean of a value over the seeds that did not diverge, with its interval."""
        return mean_interval(list(self.by_seed(name, value, **place).values()), self.confidence)

    def typical(self, name: str, value: str, **place: Any) -> Interval:
        """The same of a positive value that varies by factors: its geometric mean."""
        return self.typical_of(self.by_seed(name, value, **place))

    def typical_of(self, by_seed: dict[int, float]) -> Interval:
        """The geometric mean of what varies by factors, with its interval."""
        return geometric_mean(np.array(list(by_seed.values())), self.confidence)

    def lost(self, name: str) -> int:
        """Networks of a study with a number that is not finite."""
        table = self.table(name)
        bad = table[~np.isfinite(table["loss"])]
        return len(bad.drop_duplicates([c for c in ("rule", "width", "seed") if c in bad]))

    def power(self, name: str, value: str, **place: Any) -> dict[int, float]:
        """By seed, the exponent of a value in the width: the slope of the logarithms."""
        return {
            int(seed): float(np.polyfit(np.log(of["width"]), np.log(of[value]), 1)[0])
            for seed, of in self.rows(name, **place).groupby("seed")
        }

    def prices(self, column: str, **place: Any) -> dict[int, float]:
        """By seed E[M̃²] in units of the trained network's E[M²], at a place.

        `column` is `price`, or `coarse_price` of bands with 1/16 of the cells.
        """
        price = self.by_seed("density_ratio", column, **place)
        own = self.by_seed("density_ratio", "trained_second_moment", **place)
        return {seed: price[seed] / own[seed] for seed in price}

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
        return self.typical_of({seed: top[seed] / random[seed] for seed in top if seed in random})


def load(folder: Path | str) -> FeatureSelection:
    """Reads and checks a folder of measurements."""
    return FeatureSelection(MeasuredTables.load(folder, TABLES, "feature_selection", "statistics"))


def effects(measured: FeatureSelection) -> dict[str, list[Effect]]:
    """What the experiment says on claim 4, for the rules of the claims; by seed, paired.

    - `reweighting_error_slope`: exponent in H of the error of networks made again by density ratio;
      by theory −1/2 where E[M̃²] is finite.
    - `aligned_mass_gain_adam_star`: share of the readout's mass on features that are aligned with a
      planted direction, minus what it is for a readout that is independent of the features.
    - `aligned_mass_adam_star_minus_sgd`: difference of that share.
    - `pruning_top_minus_random`: test loss with the top features kept and their readout trained
      anew, minus that with as many random ones.
    """
    seeds, star = measured.seeds, "adam_star"

    def slope(dimension: int, kappa: float) -> Effect:
        by_seed = measured.power("density_ratio", "error", dimension=dimension, kappa=kappa)
        where = f"D = {dimension}, κ = {kappa:g}"
        return Effect.of_repeats(where, list(by_seed.values()), len(seeds) - len(by_seed))

    def more_aligned(rule: str, value: str) -> list[Effect]:
        """At every width, ADAM*'s aligned mass minus another value."""
        return [
            paired_effect(
                f"H = {width}",
                measured.at_end(star, width, "aligned"),
                measured.at_end(rule, width, value),
                seeds,
            )
            for width in measured.places("planted", "width")
        ]

    share = measured.settings["pruning"]["judged_share"]
    return {
        "reweighting_error_slope": [
            slope(*place) for place in measured.places("density_ratio", "dimension", "kappa")
        ],
        "aligned_mass_gain_adam_star": more_aligned(star, "at_random"),
        "aligned_mass_adam_star_minus_sgd": more_aligned("sgd", "aligned"),
        "pruning_top_minus_random": [
            paired_effect(
                f"{LABELS[rule]}, q = {share:.0%}",
                measured.pruned(rule, "top", share, retrained=True),
                measured.pruned(rule, "random", share, retrained=True),
                seeds,
            )
            for rule in measured.rules("pruning")
        ],
    }
