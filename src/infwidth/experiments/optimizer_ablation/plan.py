# SPDX-License-Identifier: Apache-2.0
"""The plan of the ablation: its arms, who trains them, in which settings (without JAX)."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from infwidth.config.settings import ModelSettings, Settings, TrainingSettings
from infwidth.config.variants import ALL_VARIANTS
from infwidth.experiments.optimizer_ablation.contexts import (
    BASE,
    CONTEXTS,
    SGD_TRUNK,
    changes_in,
    context_of,
)
from infwidth.experiments.optimizer_ablation.settings import OptimizerAblationSettings
from infwidth.experiments.places import has_mlps


class Arm(NamedTuple):
    """A variant in a context."""

    context: str
    variant: str

    @property
    def name(self) -> str:
        """As in the names of files."""
        return f"{self.context}-{self.variant}"

    @property
    def other_vocabulary(self) -> bool:
        """Whether it reads the text in the vocabulary that `data.vocabulary` is not."""
        return context_of(self.context).other_vocabulary


def asked_of(arm: Arm, settings: Settings) -> dict[str, Any]:
    """What an arm's context says of its runs, as JSON values, without labels and notes."""
    own = settings.optimizer_ablation
    row = {} if arm.context == BASE else CONTEXTS[arm.context]._asdict()
    changes = changes_in(arm.context, settings.training, own)
    return {
        k: v for k, v in row.items() if k not in ("label", "note", "variants")
    } | changes._asdict()


def arms(own: OptimizerAblationSettings) -> list[Arm]:
    """All arms, those of the setting of fig1 first."""
    base = [Arm(BASE, variant) for variant in own.variants]
    return base + [
        Arm(context, variant) for context in own.contexts for variant in CONTEXTS[context].variants
    ]


def jobs(own: OptimizerAblationSettings) -> dict[str, list[Arm]]:
    """The jobs by name: neighbouring arms that read the same tokens share a process."""
    named: dict[str, list[Arm]] = {}
    for other in (False, True):
        some = [arm for arm in arms(own) if arm.other_vocabulary == other]
        for start in range(0, len(some), own.arms_per_job):
            chunk = some[start : start + own.arms_per_job]
            more = f"-and-{len(chunk) - 1}-more" if len(chunk) > 1 else ""
            named[chunk[0].name + more] = chunk
    return named


def tuned_before(job: str, settings: Settings) -> list[str]:
    """The jobs whose searches some of this one's arms repeat, since just their reports differ.

    If they come first, this one finds the runs of its searches instead of waiting for them.
    """
    model, training, own = settings.model, settings.training, settings.optimizer_ablation
    named = jobs(own)
    job_of = {arm: name for name, some in named.items() for arm in some}
    repeated = [
        Arm(BASE, arm.variant)
        for arm in named[job]
        if not arm.other_vocabulary
        and in_context(arm.context, model, training, own) == (model, training)
    ]
    return sorted({job_of[arm] for arm in repeated if arm in job_of} - {job})


def in_context(
    name: str, model: ModelSettings, training: TrainingSettings, own: OptimizerAblationSettings
) -> tuple[ModelSettings, TrainingSettings]:
    """The settings of the runs of a context; Settings has checked that they are valid."""
    changes = changes_in(name, training, own)
    return model.model_copy(update=changes.model), training.model_copy(update=changes.training)


def trunk_rate_setting(context: str) -> str:
    """Which setting is the rate of all but the MLPs, by its name."""
    own = "optimizer_ablation.sgd_trunk_learning_rate"
    return own if context == SGD_TRUNK else "training.trunk_learning_rate"


def widths_of_arm(arm: Arm, own: OptimizerAblationSettings) -> Sequence[int]:
    """The widths of its reported runs."""
    if not has_mlps(ALL_VARIANTS[arm.variant]):
        return [0]
    if not context_of(arm.context).at_widths:
        return [own.width]
    return sorted([own.width, *own.standard_widths])


def tuned_widths_of_arm(arm: Arm, own: OptimizerAblationSettings) -> Sequence[int]:
    """The widths at which its rate is chosen, ascending; the others run at that of `own.width`."""
    each = context_of(arm.context).tuned_at_widths
    return widths_of_arm(arm, own) if each else [own.width]


def seeds_of_arm(arm: Arm, own: OptimizerAblationSettings) -> Sequence[int]:
    """The seeds of its reported runs."""
    return own.confirmation_seeds if context_of(arm.context).confirmation else own.seeds


def rate_at(width: int, rate: float, arm: Arm, own: OptimizerAblationSettings) -> float:
    """The standard readout is W = M/H, moved by η at every width: M's rate is H η."""
    if not context_of(arm.context).standard:
        return rate
    return float(f"{rate * width / own.width:.4g}")
