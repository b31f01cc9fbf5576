# SPDX-License-Identifier: Apache-2.0
"""What a command that measures records of itself, beside its settings."""

from collections.abc import Iterable
from typing import Any

from infwidth.code_digest import code_digest
from infwidth.provenance import MADE_BY, made_by

_PACKAGES = (
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "numpy",
    "scipy",
    "scikit-learn",
    "pandas",
    "pyarrow",
)


def origin(modules: Iterable[str], computes: bool = True) -> dict[str, Any]:
    """An entry for `settings.json`.

    Args:
      modules: those that make the tables; they and all that they import are digested.
      computes: whether the command itself computes with JAX, so that its device counts.
    """
    device = None
    if computes:
        import jax

        device = jax.devices()[0].device_kind
    return {MADE_BY: made_by(code_digest(modules), _PACKAGES, device)}
