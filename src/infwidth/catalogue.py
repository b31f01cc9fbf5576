# SPDX-License-Identifier: Apache-2.0
"""Every figure and table by name, and the experiment whose measurements it is made from.

A figure's module is `infwidth.drawing.<name>`, a table's `infwidth.analysis.tables.<name>`; those of
a study lie in its folder, `infwidth.experiments.<study>`.
"""

from collections.abc import Collection, Mapping
from importlib.util import find_spec

from infwidth.experiments.registry import REGISTRY, module

STUDIES = tuple(REGISTRY)
"""The experiments that are a folder each."""

FIGURES: dict[str, str] = {
    "fig1_loss_vs_width": "lm_width",
    "fig2_loss_curves": "lm_width",
    "fig3_learning_rate_sensitivity": "lm_width",
    "fig4_finite_to_infinite": "convergence",
    "fig5_infinite_transformer": "infinite_lm",
    "fig6_expected_value": "expected_value",
    "fig7_feature_selection": "feature_selection",
    "fig8_feature_support": "feature_support",
    "fig9_optimizer_ablation": "optimizer_ablation",
    "fig10_architectures": "architectures",
    "fig11_memory": "memory",
    "fig12_width_limit": "width_limit",
    **{figure: name for name, row in REGISTRY.items() for figure in row.figures},
}

TABLES: dict[str, str] = {
    "table1_final_loss": "lm_width",
    "table2_gap_closed": "lm_width",
    "table3_hyperparameters": "lm_width",
    "table4_compute": "lm_width",
    "table5_claims": "claims",
    "table6_ablation": "optimizer_ablation",
    "table7_convergence": "convergence",
    "table8_width_limit": "width_limit",
    "table9_architectures": "architectures",
    **{table: name for name, row in REGISTRY.items() for table in row.tables},
}

EXPERIMENTS = tuple(dict.fromkeys([*FIGURES.values(), *TABLES.values(), *STUDIES]))
"""All that measure, and `claims`, which judges."""


def covered(names: Mapping[str, str], experiments: Collection[str]) -> list[str]:
    """The figures or tables of these experiments, and of the claims."""
    return [name for name, experiment in names.items() if experiment in (*experiments, "claims")]


def figure_module(name: str) -> str:
    """The module that draws a figure."""
    experiment = FIGURES[name]
    return module(experiment, name) if experiment in STUDIES else f"infwidth.drawing.{name}"


def figure_code(name: str) -> tuple[str, ...]:
    """The modules that a figure's files hang on, with all that they import."""
    read = reader(FIGURES[name])
    return (figure_module(name), read, "infwidth.drawing.draw", "infwidth.drawing.save")


def table_module(name: str) -> str:
    """The module that makes a table."""
    experiment = TABLES[name]
    return module(experiment, name) if experiment in STUDIES else f"infwidth.analysis.tables.{name}"


def table_code(name: str) -> tuple[str, ...]:
    """The modules that a table's files hang on, with all that they import."""
    return (table_module(name), reader(TABLES[name]), "infwidth.drawing.write")


def reader(experiment: str) -> str:
    """The module whose `load` reads what an experiment measured."""
    study = experiment in STUDIES
    return "infwidth.experiments.measured" if study else f"infwidth.analysis.{experiment}"


def effects_module(experiment: str) -> str:
    """The module whose `effects` says what was found: one of its own, or else the reader."""
    if experiment in STUDIES:
        return module(experiment, "effects")
    own = f"{reader(experiment)}_effects"
    return own if find_spec(own) else reader(experiment)
