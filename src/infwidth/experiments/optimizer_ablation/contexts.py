# SPDX-License-Identifier: Apache-2.0
"""The contexts of the optimizer ablation: what is changed around the same variants."""

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from infwidth.config.settings import TrainingSettings
    from infwidth.experiments.optimizer_ablation.settings import OptimizerAblationSettings

BASE = "base"
"""The setting of fig1, which is no row of the table: its variants stand in the settings."""

SGD_TRUNK = "sgd_trunk"
"""The context in which the trunk has a rule and a rate of its own."""

PLAIN = ("ntk", "adam_star", "frozen")
SECOND_MOMENTS = (
    *PLAIN,
    "adam_star_normalized",
    "adam_star_global",
    "adam_star_factored",
)


class Context(NamedTuple):
    """One row of the table of contexts.

    Attributes:
      label: how figures name it.
      note: what is asked.
      variants: those that run in it.
      other_vocabulary: whether the text is in the vocabulary that `data.vocabulary` is not.
      at_widths: whether the variants also run at the widths `standard_widths`, whatever the
        parametrization.
      standard: whether rates grow with the width, as in the standard parametrization.
      tuned_at_widths: whether each of those widths is tuned by itself, instead of one for all.
      confirmation: whether the reported runs are on the seeds `confirmation_seeds`.
    """

    label: str
    note: str
    variants: tuple[str, ...] = PLAIN
    other_vocabulary: bool = False
    at_widths: bool = False
    standard: bool = False
    tuned_at_widths: bool = False
    confirmation: bool = False


CONTEXTS: dict[str, Context] = {
    "short": Context("a third of the steps", "does the gap grow with training?"),
    "small_batch": Context("a quarter of the batch", "does noise favour a rule?"),
    "other_vocabulary": Context(
        "the other vocabulary",
        "bytes against subwords",
        (*SECOND_MOMENTS, "muon_star"),
        other_vocabulary=True,
    ),
    "vocabulary_readout": Context(
        "readout to the logits",
        "gradients of frequent and rare tokens differ by far (Zipf)",
        (*PLAIN, "adam_star_normalized"),
    ),
    SGD_TRUNK: Context("SGD everywhere", "SGD outside the MLPs, too", ("constant", *PLAIN)),
    "weight_decay": Context("weight decay", "decoupled, on the readouts"),
    "mean_field": Context(
        "other widths",
        "one rate at every width",
        SECOND_MOMENTS,
        at_widths=True,
    ),
    "own_rates": Context(
        "a rate for each width",
        "is it the rate that makes SGD worse as width grows?",
        ("ntk",),
        at_widths=True,
        tuned_at_widths=True,
    ),
    "fixed_trunk": Context(
        "all but the readouts fixed",
        "or what the rest of the network learns?",
        ("ntk",),
        at_widths=True,
    ),
    "confirmation": Context(
        "Muon anew",
        "does what Muon gave at first hold on more seeds and at other widths?",
        ("muon_star", "frozen", "unfrozen_muon_star"),
        at_widths=True,
        confirmation=True,
    ),
    "standard": Context(
        "standard parametrization",
        "M_0 = √H N(0, 1), and rates that grow with the width",
        ("ntk",),
        at_widths=True,
        standard=True,
    ),
}


_FIG1 = Context("as in fig. 1", "")


def context_of(name: str) -> Context:
    """The row of a context, of the setting of fig1 too."""
    return _FIG1 if name == BASE else CONTEXTS[name]


class Changes(NamedTuple):
    """The settings that a context changes, by section."""

    model: dict[str, Any]
    training: dict[str, Any]


def changes_in(
    name: str, training: "TrainingSettings", own: "OptimizerAblationSettings"
) -> Changes:
    """What a context changes in the settings of its runs."""
    chunk = training.log_every
    changed: dict[str, dict[str, Any]] = {
        "short": {
            "steps": max(chunk, training.steps // 3 // chunk * chunk),
            "warmup_steps": training.warmup_steps // 3,
        },
        "small_batch": {"batch_size": max(1, training.batch_size // 4)},
        SGD_TRUNK: {
            "trunk_optimizer": "sgd",
            "trunk_learning_rate": own.sgd_trunk_learning_rate,
        },
        "weight_decay": {"readout_decay": own.readout_decay},
        "fixed_trunk": {"trunk_learning_rate": 0.0},
    }
    reshaped: dict[str, dict[str, Any]] = {
        "vocabulary_readout": {"readout_target": "vocabulary"},
        "standard": {"readout_init": "ntk"},
    }
    return Changes(reshaped.get(name, {}), changed.get(name, {}))
