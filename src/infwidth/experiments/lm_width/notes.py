# SPDX-License-Identifier: Apache-2.0
"""What figures and tables say alike: what is reconstructed, which corpus, what is uncertain."""

from infwidth.config.variants import ALL_VARIANTS
from infwidth.experiments.lm_width.measured import Measurements


def label(measured: Measurements, variant: str) -> str:
    """The variant's name, with a dagger where its rate is not interior at some width."""
    return ALL_VARIANTS[variant].label + (" †" if measured.not_interior(variant) else "")


def figure_notes(measured: Measurements) -> list[str]:
    """What every figure says: the dagger, once for equal reasons, the rule, and the corpus."""
    reasons: dict[str, list[str]] = {}
    for name in measured.variants:
        for width, note in measured.not_interior(name).items():
            reasons.setdefault(note, []).append(f"{ALL_VARIANTS[name].label} at {width:,}")
    star = any(ALL_VARIANTS[name].readout == "adam_star" for name in measured.variants)
    return [
        *(f"† Not interior, {reason}: {'; '.join(names)}." for reason, names in reasons.items()),
        "ADAM* is our reconstruction of the paper's rule." if star else "",
        f"Corpus: {measured.settings['corpus']}.",
    ]


def divergence_note(measured: Measurements) -> str:
    """The sentence that explains the crosses, or nothing."""
    lost = int((measured.reported["status"] != "done").sum())
    runs = "run" if lost == 1 else "runs"
    crosses = f"× {lost} reported {runs} diverged; means are of the runs that finished."
    return crosses if lost else ""


def corpus_note(measured: Measurements) -> str:
    """What every table says."""
    return (
        f"Corpus: {measured.settings['corpus']}. "
        "ADAM*'s formula is our reconstruction (B), not the paper's text."
    )


def seeds_note(measured: Measurements) -> str:
    """How many seeds and which confidence a table's intervals have."""
    seeds = len(measured.seeds)
    if seeds < 2:
        return "one seed, so no interval over seeds"
    confidence = f"{measured.statistics.confidence:.0%}"
    return f"± is the half width of the {confidence} t interval over {seeds} seeds"
