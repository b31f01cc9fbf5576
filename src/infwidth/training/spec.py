# SPDX-License-Identifier: Apache-2.0
"""What one run is: everything that its numbers depend on, and the key that follows from it."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from infwidth.code_digest import PROCESS, code_digest
from infwidth.config.settings import ModelSettings, TrainingSettings
from infwidth.config.variants import Features, Readout, Variant
from infwidth.provenance import versions

_RUN_CODE = (
    "infwidth.data.batches.Batches",
    "infwidth.data.batches.evaluation_windows",
    "infwidth.training.execute.execute",
    "infwidth.training.step.compile_program",
)
_INFINITE_CODE = ("infwidth.training.infinite_step.InfiniteProgram",)
_AROUND = (
    "infwidth.training.runs.run_batches",
    "infwidth.training.runs.run_windows",
)
"""How a run gets its data."""

_TABLES = tuple(
    f"infwidth.config.variants.{name}"
    for name in ("Features", "Readout", "VARIANTS", "ABLATIONS", "ON_TRIAL")
)
"""Of these a run uses its own two words alone, which count for it."""

_OF_FEATURES = {
    "infwidth.models.features.feature_scale": "normalized",
    "infwidth.optim.measured_scales.on_measured_scales": "measured",
    "infwidth.training.execute.with_measured_scales": "measured",
}
"""Code that counts where features are so treated, and for no other run."""

_READING = (
    "infwidth.data.tokens.TokenDataset",
    "infwidth.data.files.damaged_file",
)
"""Opens data and reports damage; which data they are stands in a run's key. Code that numbers hang
on calls `open_split`, and no method of a `TokenDataset`."""

_SOFTWARE = ("jax", "jaxlib", "flax", "optax", "numpy", "scipy")


@cache
def run_code_digest(variant: Variant, infinite: bool = False) -> str:
    """Digest of the code that a run of this variant executes, at finite or at infinite width."""
    infinitely = _INFINITE_CODE if infinite else ()
    return variants_digest((*_RUN_CODE, *infinitely, *_AROUND), [variant])


def variants_digest(entries: Iterable[str], variants: Iterable[Variant]) -> str:
    """Digest of code that trains these variants (see `code_digest`), and of their words.

    Of the rules those of the variants count, and not how a variant is called or labelled.
    """
    words = sorted({(variant.features, variant.readout) for variant in variants})
    # All but the MLPs trains by one of the first two, as a setting says, which is in the key.
    rules = {"adam", "sgd", *(readout for _, readout in words)} - {"none"}
    only = dict.fromkeys(_TABLES, frozenset[str]())
    only["infwidth.training.rules.RULES"] = frozenset(rules)
    treated = {features for features, _ in words}
    only |= {code: frozenset() for code, word in _OF_FEATURES.items() if word not in treated}
    only |= dict.fromkeys(_READING, frozenset())
    choices = [f"{features} {readout}" for features, readout in words]
    return code_digest((*entries, *PROCESS), only, choices)


def plan_digest(entries: Iterable[str]) -> str:
    """Digest of code that decides which runs there are; what each is stands in its own key.

    What the tables say of variants and contexts is left out: a job names its own part beside this.
    """
    apart = (*_TABLES, "infwidth.training.runs.Runs", "infwidth.training.spec.RunSpec")
    return code_digest(entries, dict.fromkeys(apart, ()))


@cache
def _software() -> dict[str, str]:
    return versions(_SOFTWARE)


def key_of(record: dict[str, Any]) -> str:
    """The key of a run, from its `RunSpec.record()` or the `settings.json` that holds that."""
    text = json.dumps(record, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class RunSpec:
    """One training run, (experiment, variant, width, learning rate, seed) and all the rest.

    Attributes:
      data: digest of the tokens.
      features: how ω is treated.
      readout: which rule trains M.
      width: MLP width H; 0 where there is no MLP, None where it is infinite.
      learning_rate: the readout's peak rate, in units in which each rule's first step has rms η;
        None where there is no readout.
      kappa: rate of the features, η_ω = κ √d η_trunk; None where they do not train.
      seed: seeds the trunk, the features and the order of the data.
      splits: the held-out splits that are scored at the end.
      platform: "cpu", "gpu", "tpu" or "cpu-<machine>": numbers differ by rounding between them.
    """

    data: str
    vocabulary_size: int
    model: ModelSettings
    training: TrainingSettings
    features: Features
    readout: Readout
    width: int | None
    learning_rate: float | None
    kappa: float | None
    seed: int
    splits: tuple[str, ...]
    platform: str

    def record(self) -> dict[str, Any]:
        """The specification as JSON values, with the code and software that it ran on."""
        plain = asdict(self)
        plain["model"] = self.model.model_dump(mode="json")
        # How often a run is checkpointed leaves its numbers alone. So do, but for rounding, the
        # devices that share it: a run may go on with more or fewer of them.
        # Scales are of the features that have them.
        unused = {"checkpoint_every", "mesh", *(() if self.features == "measured" else ("scales",))}
        plain["training"] = self.training.model_dump(mode="json", exclude=unused)
        plain["splits"] = list(self.splits)
        plain["code"] = run_code_digest(
            Variant(self.features, self.readout, "", ""), infinite=self.width is None
        )
        plain["software"] = dict(_software())
        return plain

    @property
    def key(self) -> str:
        """16 hexadecimal digits that name the run's folder."""
        return key_of(self.record())
