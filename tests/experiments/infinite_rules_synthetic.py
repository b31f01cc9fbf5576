# SPDX-License-Identifier: Apache-2.0
"""Measurements of `infinite_rules` as the experiment writes them, from a formula."""

import math
from pathlib import Path

from infwidth.experiments.infinite_rules.settings import (
    FINITE_RULES,
    KERNELS,
    MEASURED_RULES,
    RULES,
    InfiniteRulesSettings,
)
from tests.experiments.tables import write_measurements


def write(folder: Path, rules=RULES, kernels=KERNELS, seeds=(10, 11, 12), diverged=()) -> Path:
    """Writes runs and settings; `diverged` are (rule, kernel, seed).

    A rule's loss is 0.01 above that of the rule before it in the table, and a kernel's 0.02.
    """
    own = InfiniteRulesSettings(rules=list(rules), kernels=list(kernels), seeds=list(seeds))
    rows = []
    for place, rule in enumerate(RULES):
        for shift, kernel in enumerate(KERNELS):
            ran = kernel != "measured" or rule in MEASURED_RULES
            for seed in seeds if ran and rule in rules and kernel in kernels else ():
                lost = (rule, kernel, seed) in diverged
                loss = 0.1 + 0.01 * place + 0.02 * shift + (0.001 * seed if place else 0.0)
                rows.append(
                    {
                        "rule": rule,
                        "kernel": kernel,
                        "width": float(own.width) if rule in FINITE_RULES else math.inf,
                        "role": "report",
                        "seed": seed,
                        "learning_rate": 1.0,
                        "loss": math.nan if lost else loss,
                        "status": "diverged" if lost else "done",
                    }
                )
    widths = [
        {"rule": rule, "width": width, "seed": seed, "distance": factor * width**-0.5}
        for rule, factor in {"sgd": 1.0, "adam_star": 2.0}.items()
        for width in own.limit_widths
        for seed in (seeds if "measured" in kernels else ())
    ]
    return write_measurements(
        folder,
        "infinite_rules",
        {"runs": rows, "widths": widths},
        infinite_rules=own.model_dump(mode="json"),
        statistics={"confidence": 0.95},
    )
