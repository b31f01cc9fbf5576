# SPDX-License-Identifier: Apache-2.0
"""What one run is: everything that its numbers depend on, and the key that follows from it."""

import hashlib
import importlib.metadata
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from infwidth.code_digest import code_digest
from infwidth.config.settings import ModelSettings, TrainingSettings
from infwidth.config.variants import CODE_OF_WORD, SGD_LIKE, Features, Readout, Variant

_RUN_CODE = ("infwidth.training.execute", "infwidth.training.sharded_step")
_INFINITE_CODE = ("infwidth.training.infinite_step",)
_SOFTWARE = ("jax", "jaxlib", "flax", "optax", "numpy", "scipy")


@cache
def run_code_digest(variant: Variant, infinite: bool = False) -> str:
    """Digest of the code that a run of this variant executes, at finite or at infinite width."""
    return variants_digest((*_RUN_CODE, *(_INFINITE_CODE if infinite else ())), [variant])


def variants_digest(modules: Iterable[str], variants: Iterable[Variant]) -> str:
    """Digest of modules that train these variants, with all that decides how they train them."""
    variants = list(variants)
    # The unit of a rate is chosen by a table of infwidth.config, which is in no module's digest.
    in_gradients = sorted({v.readout for v in variants if v.readout in SGD_LIKE})
    return code_digest([*modules, *modules_of(variants)], in_gradients)


def modules_of(variants: Iterable[Variant]) -> list[str]:
    """The modules that are imported for the words of these variants alone."""
    words = {word for variant in variants for word in (variant.features, variant.readout)}
    return sorted({CODE_OF_WORD[word] for word in words if word in CODE_OF_WORD})


@cache
def _software() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in _SOFTWARE}


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
      platform: "cpu", "gpu" or "tpu": numbers differ by rounding between them.
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
        plain["training"] = self.training.model_dump(
            mode="json", exclude={"checkpoint_every", "mesh"}
        )
        plain["splits"] = list(self.splits)
        plain["code"] = run_code_digest(
            Variant(self.features, self.readout, "", ""), infinite=self.width is None
        )
        plain["software"] = dict(_software())
        return plain

    @property
    def key(self) -> str:
        """16 hexadecimal digits that name the run's folder."""
        text = json.dumps(self.record(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]
