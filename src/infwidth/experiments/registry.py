# SPDX-License-Identifier: Apache-2.0
"""Every experiment: one row each, strings alone, and nothing imported.

An experiment is a folder here. It holds `settings` (what may be asked), `plan` (from what parts),
`measure` (the work), `measured` (the tables, what they say, and what claims may name, which in some
folders is `effects`), and a module for each figure and table. Those that train language models in
parts share `study` (the parts) and `runs` (the work); studies, which are lists of conditions,
`measured`, too.
"""

from typing import NamedTuple


class Row(NamedTuple):
    """What the rest of the project knows of an experiment.

    Attributes:
      question: that it asks.
      figures: modules in its folder that draw.
      tables: modules in its folder that tabulate.
      core_minutes: of the default configuration, where it is in that.
      settings: that measuring may read, besides the name.
      code: modules that its numbers hang on, with all that they import, where one job makes them.
      variants: whose rules it computes with, where its settings do not say so.
      split: whether `plan.parts` names jobs that train, before the one that makes the tables.
      grows_with: settings that the memory of a job grows with.
    """

    question: str
    figures: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    core_minutes: int | None = None
    settings: tuple[str, ...] = ()
    code: tuple[str, ...] = ()
    variants: tuple[str, ...] = ()
    split: bool = False
    grows_with: tuple[str, ...] = ()


def module(experiment: str, name: str) -> str:
    """A module of an experiment's folder."""
    return f"infwidth.experiments.{experiment}.{name}"


_DIGITS = "infwidth.data.digits"

REGISTRY: dict[str, Row] = {
    "lm_width": Row(
        "How does the final loss depend on the width of the MLPs, variant by variant? The paper's "
        "experiment.",
        ("fig1_loss_vs_width", "fig2_loss_curves", "fig3_learning_rate_sensitivity"),
        ("table1_final_loss", "table2_gap_closed", "table3_hyperparameters", "table4_compute"),
        420,
        settings=("data", "model", "training", "lm_width", "statistics"),
    ),
    "convergence": Row(
        "Do finite models come to the exact kernel machine as they widen, and how fast?",
        ("fig4_finite_to_infinite",),
        ("table7_convergence",),
        2,
        code=(module("convergence", "measure"), _DIGITS),
        split=True,
        grows_with=("convergence.widths", "convergence.batch_size"),
        settings=("convergence", "statistics.confidence", "statistics.judge"),
    ),
    "infinite_lm": Row(
        "What does a transformer do whose MLPs are infinitely wide, beside finite ones?",
        ("fig5_infinite_transformer",),
        core_minutes=9,
        grows_with=("infinite_lm.widths", "infinite_lm.steps", "infinite_lm.batch_size"),
        settings=("data.vocabulary", "model", "training", "infinite_lm", "statistics.confidence"),
    ),
    "expected_value": Row(
        "Is the mean over inits of finite models the infinite one?",
        ("fig6_expected_value",),
        core_minutes=1,
        code=(module("expected_value", "measure"), _DIGITS),
        grows_with=("expected_value.fixed.widths", "expected_value.trained.widths"),
        settings=("expected_value", "statistics.confidence"),
    ),
    "feature_selection": Row(
        "Can frozen features, weighted up and down, stand in for learned ones?",
        ("fig7_feature_selection",),
        core_minutes=2,
        code=(module("feature_selection", "measure"), _DIGITS),
        grows_with=(
            "feature_selection.density_ratio.particles",
            "feature_selection.planted.widths",
            "feature_selection.pruning.width",
        ),
        settings=("feature_selection", "statistics.confidence"),
    ),
    "feature_support": Row(
        "What stays out of reach where Ω is not totally supported?",
        ("fig8_feature_support",),
        core_minutes=2,
        code=(module("feature_support", "measure"),),
        grows_with=("feature_support.widths", "feature_support.fit_nodes.plane"),
        settings=("feature_support", "statistics.confidence"),
    ),
    "optimizer_ablation": Row(
        "Which part of the optimizer closes the gap, and where?",
        ("fig9_optimizer_ablation",),
        ("table6_ablation",),
        settings=("data", "model", "training", "optimizer_ablation", "statistics"),
        grows_with=(
            *("optimizer_ablation.width", "optimizer_ablation.standard_widths"),
            "training.microbatch_tokens",
        ),
    ),
    "infinite_rules": Row(
        "Which rule for the readout, with which features, is best at exactly infinite width?",
        ("fig17_infinite_rules",),
        ("table14_infinite_rules",),
        8,
        code=(module("infinite_rules", "measure"), _DIGITS),
        split=True,
        grows_with=("infinite_rules.width",),
        settings=("infinite_rules", "statistics.confidence"),
    ),
    "architectures": Row(
        "Is the order of the variants the same in an MLP, a CNN and an RNN?",
        ("fig10_architectures",),
        ("table9_architectures",),
        4,
        code=(module("architectures", "measure"), _DIGITS),
        split=True,
        grows_with=("architectures.widths", "architectures.batch_size"),
        settings=("architectures", "statistics.confidence", "statistics.gap_fraction"),
    ),
    "memory": Row(
        "What does the kernel form keep, beside a dense layer with its optimizer state?",
        ("fig11_memory",),
        core_minutes=1,
        code=(module("memory", "measure"), "infwidth.optim.adam_star"),
        variants=("frozen", "adam_star"),
        grows_with=("memory.widths", "memory.steps_seen"),
        settings=("model", "training.batch_size", "memory"),
    ),
    "width_limit": Row(
        "Do the ADAM variants meet the unfrozen model as the width grows?",
        ("fig12_width_limit",),
        ("table8_width_limit",),
        grows_with=("width_limit.widths", "training.microbatch_tokens"),
        settings=(
            *("data.vocabulary", "model", "training", "width_limit"),
            *("statistics.confidence", "statistics.judge"),
        ),
    ),
    "ladder": Row(
        "What do the claims become as training goes on, up to the paper's own steps?",
        ("fig13_ladder",),
        ("table10_ladder",),
        settings=("data", "model", "training", "ladder", "statistics"),
    ),
    "depth": Row(
        "What are the claims at the paper's own depth and steps, over widths?",
        ("fig14_depth",),
        ("table11_depth",),
        settings=("data", "model", "training", "depth", "statistics"),
    ),
    "readings": Row(
        "Does any reading of ADAM*, or of the setting, rescue or sink the claims?",
        ("fig15_readings",),
        ("table12_readings",),
        settings=("data", "model", "training", "readings", "statistics"),
    ),
    "scales": Row(
        "Is one fixed scale for each feature all that a kernel lacks against Adam?",
        ("fig16_scales",),
        ("table13_scales",),
        settings=("data", "model", "training", "scales", "statistics"),
    ),
}
"""Studies last, in the order of their worth, in which their runs are made."""

STUDIES = ("ladder", "depth", "readings", "scales")
"""Those that are lists of conditions."""

IN_PARTS = ("lm_width", "optimizer_ablation", "infinite_lm", "width_limit", *STUDIES)
"""Those that train language models in parts, variant by variant."""

BENCHES = tuple(name for name, row in REGISTRY.items() if row.code)
"""Those that are measured in a few small jobs, without the tokens."""
