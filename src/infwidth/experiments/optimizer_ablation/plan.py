# SPDX-License-Identifier: Apache-2.0
"""The parts of the ablation: a variant in a context, at the width where it is tuned (no JAX)."""

from collections.abc import Iterable, Iterator

from infwidth.config.settings import Settings
from infwidth.experiments.optimizer_ablation.contexts import (
    BASE,
    CONTEXTS,
    changes_in,
    context_of,
)
from infwidth.experiments.study import Condition, Part, arms, parts_in


def parts(settings: Settings) -> list[Part]:
    """Every variant in every context, those of the setting of fig1 first.

    Raises:
      UserError: what a context changes does not go with the other settings.
    """
    own = settings.optimizer_ablation
    planned = {BASE: own.variants} | {name: CONTEXTS[name].variants for name in own.contexts}
    return [
        part
        for context, variants in planned.items()
        for part in _in_context(context, variants, settings)
    ]


def _in_context(name: str, variants: Iterable[str], settings: Settings) -> Iterator[Part]:
    own, row = settings.optimizer_ablation, context_of(name)
    changes = changes_in(name, settings.training, own)
    vocabulary: str = settings.data.vocabulary
    if row.other_vocabulary:
        vocabulary = {"bytes": "sentencepiece", "sentencepiece": "bytes"}[vocabulary]
    widths = sorted([own.width, *(own.standard_widths if row.at_widths else [])])
    condition = Condition(
        name=name,
        label=row.label,
        arms=arms(variants, widths if row.tuned_at_widths else [own.width]),
        seeds=own.confirmation_seeds if row.confirmation else own.seeds,
        tuning=own.tuning,
        factors={},
        vocabulary=vocabulary,
        model=changes.model,
        training=changes.training,
    )
    for part in parts_in("optimizer_ablation", condition, settings):
        alone = row.tuned_at_widths or not part.width
        more = {
            "seeds": condition.seeds,
            "reports": [("report", width) for width in ([part.width] if alone else widths)],
            "rate_grows": row.standard,
        }
        yield part.model_copy(update=more)
