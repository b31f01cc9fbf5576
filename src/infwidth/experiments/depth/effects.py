# SPDX-License-Identifier: Apache-2.0
"""What the paper's depth and steps say on the claims, width by width."""

from infwidth.analysis.effects import Effect
from infwidth.experiments.measured import Study


def effects(measured: Study) -> dict[str, list[Effect]]:
    """Contrasts of test losses, in nats per token, by width, ascending.

    Each of `infwidth.experiments.measured.CONTRASTS`, and `gap_closed`; with the ending `_wide` at
    the widths of at least 4 E.
    """
    places = {
        f"H = {width:,}": (name, width)
        for width, name in sorted((w, n) for n in measured.conditions for w in measured.widths(n))
    }
    wide = {where: place for where, place in places.items() if place[1] >= measured.wide}
    found = measured.contrasts(places)
    return found | {f"{name}_wide": some for name, some in measured.contrasts(wide).items()}
