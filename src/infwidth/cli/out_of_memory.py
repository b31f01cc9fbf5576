# SPDX-License-Identifier: Apache-2.0
"""What is said where a command runs out of memory."""

import argparse

_A_BATCH = "training.microbatch_tokens"
GROWS_WITH = {
    "tune": ("lm_width.reference_width", _A_BATCH),
    "train": ("lm_width.widths", "width_limit.extra_widths", _A_BATCH),
    "width_limit tune": ("lm_width.reference_width", _A_BATCH),
    "width_limit train": ("lm_width.widths", "width_limit.extra_widths", _A_BATCH),
    "infinite_lm train": ("infinite_lm.widths", "infinite_lm.steps", "infinite_lm.batch_size"),
    "optimizer_ablation train": (
        "optimizer_ablation.width",
        "optimizer_ablation.standard_widths",
        _A_BATCH,
    ),
    "optimizer_ablation digits": ("optimizer_ablation.digits.width",),
    "convergence": ("convergence.widths", "convergence.batch_size"),
    "expected_value": ("expected_value.fixed.widths", "expected_value.trained.widths"),
    "memory": ("memory.widths", "memory.steps_seen"),
    "architectures": ("architectures.widths", "architectures.batch_size"),
    "feature_selection": (
        "feature_selection.density_ratio.particles",
        "feature_selection.planted.widths",
        "feature_selection.pruning.width",
    ),
    "feature_support": ("feature_support.widths", "feature_support.fit_nodes.plane"),
}
"""By command: the settings that the memory of what it computes with JAX grows with."""


def out_of_memory(arguments: argparse.Namespace) -> str:
    """Names the command, its arm, and the settings that its memory grows with."""
    command = getattr(arguments, "command", "")
    words = [command]
    for name in ("variant", "arms", "rule", "rules", "widths"):
        given = getattr(arguments, name, None) or []
        words += [given] if isinstance(given, str) else given
    if command not in GROWS_WITH:
        return f"{' '.join(words)}: out of memory; end what else takes it"
    return f"{' '.join(words)}: out of memory; lower {' or '.join(GROWS_WITH[command])}"
