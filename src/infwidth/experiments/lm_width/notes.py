# SPDX-License-Identifier: Apache-2.0
"""The small print that figures share: what is reconstructed, which corpus, what is uncertain."""

from infwidth.config.variants import ALL_VARIANTS
from infwidth.experiments.lm_width.measured import Measurements


def reconstruction_note(measured: Measurements) -> str:
    """Said on every figure."""
    star = any(ALL_VARIANTS[name].readout == "adam_star" for name in measured.variants)
    corpus = f"Corpus: {measured.settings['corpus']}."
    return f"ADAM* is our reconstruction of the paper's rule. {corpus}" if star else corpus


def not_interior(measured: Measurements, variant: str) -> dict[int, str]:
    """The widths at which tuning left the variant's optimum unbracketed, and its note on each."""
    if variant == "constant":
        return {}
    chosen = {width: measured.choice(variant, width) for width in measured.widths}
    return {
        width: entry["note"]
        for width, entry in chosen.items()
        if entry is not None and not entry["interior"]
    }


def label(measured: Measurements, variant: str) -> str:
    """The variant's name, with a dagger where its rate is not interior at some width."""
    return ALL_VARIANTS[variant].label + (" †" if not_interior(measured, variant) else "")


def warning(measured: Measurements) -> str:
    """The sentence that explains the dagger, or nothing; equal reasons are said once."""
    reasons: dict[str, list[str]] = {}
    for name in measured.variants:
        for width, note in not_interior(measured, name).items():
            reasons.setdefault(note, []).append(f"{ALL_VARIANTS[name].label} at {width:,}")
    return " ".join(
        f"† Not interior, {reason}: {'; '.join(names)}." for reason, names in reasons.items()
    )


def divergence_note(measured: Measurements) -> str:
    """The sentence that explains the crosses, or nothing."""
    lost = int((measured.reported["status"] != "done").sum())
    if not lost:
        return ""
    runs = "run" if lost == 1 else "runs"
    return f"× {lost} reported {runs} diverged; means are of the runs that finished."


def corpus_note(measured: Measurements) -> str:
    """What a reader must know beside every number."""
    return (
        f"Corpus: {measured.settings['corpus']}. "
        "ADAM*'s formula is our reconstruction (B), not the paper's text."
    )


def seeds_note(measured: Measurements) -> str:
    """How many seeds and which confidence the intervals have."""
    seeds = len(measured.seeds)
    if seeds < 2:
        return "one seed, so no interval over seeds"
    confidence = f"{measured.statistics.confidence:.0%}"
    return f"± is the half width of the {confidence} t interval over {seeds} seeds"
