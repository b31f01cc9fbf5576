# SPDX-License-Identifier: Apache-2.0
"""Every figure of the catalogue, with measurements of many sorts from which it can be drawn."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from infwidth.catalogue import FIGURES, STUDIES
from infwidth.config.load import read_config, validate
from infwidth.config.settings import Settings
from infwidth.experiments.study import conditions
from tests.experiments import (
    ablation_synthetic,
    architectures_synthetic,
    convergence_synthetic,
    expected_value_synthetic,
    feature_selection_synthetic,
    feature_support_synthetic,
    infinite_lm_synthetic,
    infinite_rules_synthetic,
    memory_synthetic,
    studies_synthetic,
    synthetic,
    width_limit_synthetic,
)

RECONSTRUCTION = "our reconstruction"

LEAST = {
    "ladder": {"steps": [500], "vocabularies": ["bytes"], "seeds": [50]},
    "depth": {"widths": [64], "seeds": [50]},
    "readings": {"factors": ["steps"], "seeds": [50]},
    "scales": {"widths": [64], "wide_widths": [], "controls": [], "other_vocabulary": False},
}


class Picture(NamedTuple):
    """Measurements of a figure.

    Attributes:
      write: writes those of a case into a folder.
      cases: what makes each another, as arguments of `write` or of its `Truth`.
      said: words, and the cases in which the figure's texts have them; None for all.
    """

    write: Callable[..., Path]
    cases: dict[str, dict[str, Any]]
    said: dict[str, tuple[str, ...] | None]


def of_truth(module: Any, **base: Any) -> Callable[..., Path]:
    """Writes what a `Truth` says."""
    return lambda folder, **case: module.write(folder, module.Truth(**{**base, **case}))


def of_study(study: str) -> Picture:
    """A study by its own plan; in the full one all runs of the NTK somewhere have diverged."""

    def write(folder: Path, settings: Settings, loses: bool = False) -> Path:
        somewhere, width = next(
            (condition, width)
            for condition in conditions(study, settings)
            for variant, width in condition.arms
            if variant == "ntk"
        )
        diverged = [(somewhere.name, "ntk", width, seed) for seed in somewhere.seeds]
        return studies_synthetic.write(folder, study, settings, lost=diverged if loses else ())

    return Picture(
        write,
        {
            "quick": {
                "settings": validate(read_config(["config/config.yaml", "config/quick.yaml"]))
            },
            "full": {"settings": Settings(), "loses": True},
            "least": {"settings": Settings.model_validate(LEAST)},
        },
        {f"ADAM* is {RECONSTRUCTION}": None, "a synthetic corpus": None, "diverged": ("full",)},
    )


THREE = (10, 11, 12)
BASE = synthetic.Truth(widths=(64, 256, 1024), seeds=3)
NONE_FINISHED = {(v, 256, s) for v in ("ntk", "frozen") for s in THREE}
LM_WIDTH = Picture(
    lambda folder, **case: synthetic.write(folder, dataclasses.replace(BASE, **case)),
    {
        "full": {},
        "one seed, nearly equal": {
            **{"widths": (32, 64), "reference_width": 64, "seeds": 1},
            **{"spread": 0.003, "seed_sd": 5e-4, "steps": 100},
        },
        "diverged, edges, a proxy": {
            "widths": (64, 256, 16_384),
            "diverged": frozenset({("ntk", 16_384, 10)} | {("adam_star", 256, s) for s in THREE}),
            "edge": frozenset({"frozen", "ntk_measured"}),
        },
        "one width, few variants": {"widths": (256,), "variants": ("ntk", "frozen")},
        "no baseline": {"variants": ("ntk", "adam_star", "constant")},
        "nothing finished": {
            **{"widths": (256,), "variants": ("ntk", "frozen")},
            "diverged": frozenset(NONE_FINISHED),
            "all_rates_diverge": frozenset({"ntk", "frozen"}),
        },
        "control alone": {"variants": ("constant",)},
    },
    {"one domain": None},
)
PICTURES = {
    "fig1_loss_vs_width": LM_WIDTH,
    "fig2_loss_curves": LM_WIDTH,
    "fig3_learning_rate_sensitivity": LM_WIDTH,
    "fig4_finite_to_infinite": Picture(
        of_truth(convergence_synthetic),
        {
            "full": {},
            "one seed": {"seeds": 1},
            "two widths": {"widths": (16, 32), "slope_from": 16},
        },
        {"reconstruction": None},
    ),
    "fig5_infinite_transformer": Picture(
        infinite_lm_synthetic.write,
        {
            "full": {},
            "diverged, edges": {"diverged": [("ntk", 64.0, 10)], "edge": ("ntk", "frozen")},
            "one seed": {"seeds": (10,)},
            "one width": {
                **{"widths": (64,), "variants": ("adam_star", "constant"), "infinite": ()}
            },
            "one rule": {
                "variants": ("adam_star", "frozen", "constant"),
                "infinite": ("adam_star",),
            },
            "all of a cell diverged": {"diverged": [("ntk", 64.0, seed) for seed in THREE]},
        },
        {"reconstruction": None, "one domain": None, "†": ("diverged, edges",)},
    ),
    "fig6_expected_value": Picture(
        of_truth(expected_value_synthetic),
        {
            "resolved": {},
            "biased": {"fixed_bias": 0.2, "fixed_widths": (1, 4, 16, 64)},
            "unresolved": {"bias": 0.0},
            "one width": {"fixed_widths": (8,), "trained_widths": (16,)},
            "one case": {"cases": ("adam_star",)},
        },
        {f"ADAM* is {RECONSTRUCTION}": None},
    ),
    "fig7_feature_selection": Picture(
        of_truth(feature_selection_synthetic),
        {
            "as little as there may be": {
                **{"seeds": (10,), "dimensions": (2,), "kappas": (1.0,), "fit_dimensions": (4,)},
                **{"widths": (128,), "steps": (1, 10), "shares": (0.05,)},
            },
            "many widths and rates, diverged": {
                "kappas": (0.0, 0.03, 0.1, 0.3, 1.0),
                "ratio_widths": tuple(4**k for k in range(2, 9)),
                "widths": tuple(2**k for k in range(5, 12)),
                "shares": (0.01, 0.02, 0.05, 0.1, 0.2, 0.5),
                "diverged": frozenset({("sgd", 512, 10), ("sgd", 512, 11)}),
                "edge": "unfrozen",
            },
        },
        {
            f"ADAM* is {RECONSTRUCTION}": None,
            "diverged and are left out: 2.": ("many widths and rates, diverged",),
            "Rates not bracketed by the search: planted, unfrozen.": (
                "many widths and rates, diverged",
            ),
            "One seed.": ("as little as there may be",),
        },
    ),
    "fig8_feature_support": Picture(
        of_truth(feature_support_synthetic),
        {
            "full": {},
            "every case apart": {"left": 0.02, "trained_left": 0.06},
            "many levels": {
                "cases": ("total", "cone", "quantised_2", "quantised_3", "quantised_17")
            },
            "one width, one seed": {"widths": (64,), "seeds": 1},
            "control alone": {"cases": ("total",), "alarms": 0},
            "nothing found": {"found": 0},
        },
        {f"is {RECONSTRUCTION}": None},
    ),
    "fig9_optimizer_ablation": Picture(
        ablation_synthetic.write,
        {
            "full": {},
            "diverged, edges": {
                "diverged": [("base", "ntk", 10)],
                "edge": ("base-ntk-256", "short-frozen-256"),
            },
            "one seed": {"seeds": (10,)},
            "no contexts": {"contexts": ()},
            "few": {"variants": ("ntk", "frozen"), "contexts": ("short",)},
        },
        {"reconstruction": None, "†": ("diverged, edges",)},
    ),
    "fig17_infinite_rules": Picture(
        infinite_rules_synthetic.write,
        {
            "full": {},
            "diverged": {"diverged": [("sgd", "plain", 10)]},
            "one seed": {"seeds": (10,)},
            "few": {"rules": ("adam_star", "adam"), "kernels": ("plain",)},
            "no Adam": {"rules": ("sgd", "adam_star")},
        },
        {"our reconstruction": None, "One seed.": ("one seed",)},
    ),
    "fig10_architectures": Picture(
        of_truth(architectures_synthetic),
        {
            "nearly equal, one architecture": {
                **{"architectures": ("rnn",), "scale": 0.01, "seed_sd": 1e-4}
            },
            "whole": {},
            "one architecture": {"architectures": ("cnn",)},
            "diverged, edges": {
                "diverged": frozenset({("cnn", "ntk", 16, 10), ("rnn", "adam_star", 1024, 11)}),
                "edge": frozenset({("mlp", "ntk"), ("rnn", "frozen")}),
            },
            "one seed, one width, few variants": {
                **{"seeds": 1, "widths": (64,), "variants": ("ntk", "adam_star")},
                "architectures": ("mlp", "cnn"),
            },
            "intervals beyond zero": {
                **{"architectures": ("mlp",), "seeds": 2, "noise": 0.1, "scale": 3.0}
            },
            "frozen features never finish": {
                **{"architectures": ("mlp",), "widths": (8, 64), "seeds": 2},
                "variants": ("frozen", "ntk"),
                "diverged": frozenset(
                    ("mlp", "frozen", width, 10 + seed) for width in (8, 64) for seed in range(2)
                ),
            },
        },
        {f"ADAM* is {RECONSTRUCTION}": None, "seed draws its training images": None},
    ),
    "fig11_memory": Picture(
        memory_synthetic.write,
        {
            "memory": {},
            "many widths": {"widths": tuple(2**k for k in range(6, 17, 2))},
            "nothing crossed": {"widths": (1, 2)},
            "one size, no process": {"inputs": (4096,), "resident": False},
        },
        {f"ADAM* is {RECONSTRUCTION}": None},
    ),
    "fig12_width_limit": Picture(
        width_limit_synthetic.write,
        {
            "full": {"noise": 0.01},
            "edge, diverged": {
                "interior": False,
                "diverged": [("adam_star", "mean-field", 16, 10)],
            },
            "one seed": {
                **{"seeds": (10,), "ntk_seeds": (10,), "variants": ("unfrozen", "adam_star")}
            },
            "two widths": {"widths": (4, 8)},
            "many widths": {"widths": tuple(2**k for k in range(4, 15))},
            "all of a variant diverged": {
                "seeds": (10, 11),
                "diverged": [("adam_star", "mean-field", 16, seed) for seed in (10, 11)],
            },
        },
        {
            f"ADAM* is {RECONSTRUCTION}": None,
            "one domain": None,
            "too little to judge": ("two widths",),
            "not interior, κ": ("edge, diverged",),
        },
    ),
}
PICTURES |= {figure: of_study(name) for figure, name in FIGURES.items() if name in STUDIES}
