"""The plan of the ablation: which arms there are and who trains them (without JAX)."""

from collections.abc import Sequence
from typing import NamedTuple

from infwidth.config.contexts import BASE, CONTEXTS
from infwidth.config.optimizer_ablation import OptimizerAblationSettings


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
        return self.context != BASE and CONTEXTS[self.context].other_vocabulary


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


def halves(rules: Sequence[str]) -> dict[str, list[str]]:
    """The rules of the study on digits in two jobs; one, where there is one rule."""
    some = {"first": list(rules[::2]), "second": list(rules[1::2])}
    return {name: half for name, half in some.items() if half}
