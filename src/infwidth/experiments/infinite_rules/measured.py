# SPDX-License-Identifier: Apache-2.0
"""Rules for the readout at exactly infinite width: losses on digits, and their differences.

Every loss is in nats per image; differences are paired by seed.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from infwidth.experiments.schema import RATES, SEED, Table
from infwidth.experiments.tables import SETTINGS, Experiment, MeasuredTables
from infwidth.stats.effects import Effect, paired_effect
from infwidth.stats.statistics import log_slopes
from infwidth.stored import require

TABLES = {
    # The loss and accuracy of a tuning run are of the validation's images, else of the test's.
    "runs": Table(
        ("role", "rule", "kernel", "width"),
        SEED,
        choice=RATES[:1],
        outcomes=("loss", "accuracy"),
        shown=("train_loss", "status"),
    ),
    # Of finite models on measured scales from the infinite one: rms over the test's images.
    "widths": Table(("rule", "width"), SEED, outcomes=("distance",), shown=("rms_outputs",)),
}

LABELS = {
    "sgd": "SGD",
    "sgd_decay": "SGD, weight decay",
    "momentum": "SGD with momentum",
    "rmsprop_star": "RMSprop*",
    "adam_star": "ADAM*",
    "adam_star_global": "ADAM*, global v (A)",
    "adam_star_error": "ADAM*, v of errors (C)",
    "adam_star_uncorrected": "ADAM*, no bias correction",
    "adam_star_decay": "ADAM*, weight decay",
    "nadam_star": "NAdam*",
    "adagrad_star": "Adagrad*",
    "muon_star": "Muon on M",
    "adam_star_factored": "ADAM*, factored v (D)",
    "adam": "Adam, elementwise",
}

OTHER_KERNEL_RULES = frozenset(LABELS) - {
    *("sgd", "sgd_decay", "adam_star", "adam_star_factored", "adam")
}
"""Other optimizers that keep the kernel; weight decay makes another one of ADAM*."""

KERNEL_LABELS = {
    "plain": "ReLU",
    "normalized": "normalized",
    "shifted": "shifted biases",
    "measured": "measured scales",
}

Arm = tuple[str, str]
"""A rule with a kernel."""

REFERENCE: Arm = ("adam", "plain")
"""Elementwise Adam on frozen plain features, at finite width."""


class InfiniteRules(Experiment):
    """What the experiment measured."""

    @property
    def settings(self) -> dict[str, Any]:
        """Of the experiment."""
        return self.measured.settings["infinite_rules"]

    @property
    def seeds(self) -> list[int]:
        """The seeds that every arm was to report, whether or not its run is there."""
        return sorted(self.settings["seeds"])

    def reported(self, rule: str, kernel: str) -> pd.DataFrame:
        """The reported runs of an arm."""
        return self.rows("runs", role="report", rule=rule, kernel=kernel)

    @property
    def arms(self) -> list[Arm]:
        """The (rule, kernel) pairs that ran, in the order of their labels."""
        runs = self.rows("runs", role="report")
        ran = set(zip(runs["rule"], runs["kernel"], strict=True))
        return [(r, k) for r in LABELS for k in KERNEL_LABELS if (r, k) in ran]

    def losses(self, rule: str, kernel: str) -> dict[int, float]:
        """The test losses of the runs that finished, by seed."""
        return self.by_seed("runs", "loss", role="report", rule=rule, kernel=kernel)

    def difference(
        self, rule: str, kernel: str, reference: Arm = REFERENCE, where: str = ""
    ) -> Effect:
        """The loss of a rule with a kernel minus that of another, paired by seed."""
        own, other = self.losses(rule, kernel), self.losses(*reference)
        return paired_effect(where, own, other, self.seeds)

    @property
    def distances(self) -> dict[str, pd.DataFrame]:
        """By rule, of finite models on measured scales from infinite width, a row a seed."""
        table = self.measured.tables["widths"]
        return {
            str(rule): rows.pivot(index="seed", columns="width", values="distance")
            for rule, rows in table.groupby("rule", sort=False)
        }


def load(folder: Path | str) -> InfiniteRules:
    """Reads and checks a folder of measurements."""
    measured = MeasuredTables.load(folder, TABLES, "infinite_rules", "statistics")
    measured.require_known("runs", rule=LABELS, kernel=KERNEL_LABELS)
    found = InfiniteRules(measured)
    require(Path(folder) / SETTINGS, "infinite_rules", found.settings, ("seeds", "width"))
    return found


def effects(measured: InfiniteRules) -> dict[str, list[Effect]]:
    """Differences of test losses, nats per image.

    - `kernel_rules_minus_adam_star`: by rule, plain features.
    - `adam_star_minus_adam`: by kernel that data has no part in, against elementwise Adam on frozen
      plain features.
    - `measured_minus_adam`: by rule, with the kernel of measured scales, against the same.
    - `measured_slope`: by rule, of the log distance of finite models on measured scales from the
      infinite one on log width, fitted for every seed of the features.
    - `shifted_minus_normalized`: ADAM* on the two kernels.
    """

    def less(where: str, arms: Iterable[Arm], other: Arm) -> list[Effect]:
        """Each of some arms less another, where both ran."""
        return [
            measured.difference(*arm, other, where.format(rule=LABELS[arm[0]], kernel=arm[1]))
            for arm in arms
            if {arm, other} <= set(measured.arms)
        ]

    kernel_rules = [(rule, "plain") for rule in LABELS if rule in OTHER_KERNEL_RULES]
    star = [("adam_star", kernel) for kernel in KERNEL_LABELS if kernel != "measured"]
    on_scales = [(rule, "measured") for rule in LABELS if rule != "adam"]
    shifted, normalized = ("adam_star", "shifted"), ("adam_star", "normalized")
    return {
        "kernel_rules_minus_adam_star": less("{rule}", kernel_rules, ("adam_star", "plain")),
        "adam_star_minus_adam": less("{kernel} features", star, REFERENCE),
        "measured_minus_adam": less("{rule}", on_scales, REFERENCE),
        "measured_slope": [
            Effect.of_repeats(LABELS[rule], log_slopes(distance_SxW, list(distance_SxW.columns)))
            for rule, distance_SxW in measured.distances.items()
        ],
        "shifted_minus_normalized": less("digits, infinite width", [shifted], normalized),
    }
