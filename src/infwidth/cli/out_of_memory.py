# SPDX-License-Identifier: Apache-2.0
"""What is said where a command runs out of memory."""

import argparse

from infwidth.experiments.registry import REGISTRY

_A_BATCH = "training.microbatch_tokens"
GROWS_WITH = {
    **dict.fromkeys(("tune", "train"), ("lm_width.widths", _A_BATCH)),
    **{f"gather {name}": row.grows_with for name, row in REGISTRY.items() if row.grows_with},
}
"""By command: the settings that the memory of what it computes with JAX grows with."""


def out_of_memory(arguments: argparse.Namespace) -> str:
    """Names the command, its part, and the settings that its memory grows with."""
    command = getattr(arguments, "command", "")
    words = [command, *(getattr(arguments, name, None) for name in ("experiment", "part"))]
    grows_with = GROWS_WITH.get(f"gather {getattr(arguments, 'experiment', '')}")
    grows_with = grows_with or GROWS_WITH.get(command)
    mend = f"lower {' or '.join(grows_with)}" if grows_with else "end what else takes it"
    return f"{' '.join(filter(None, words))}: out of memory; {mend}"
