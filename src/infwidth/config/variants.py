"""The variants of the experiment: how the two MLP groups train. A new variant is a new row.

Everything outside the MLPs (embeddings, attention, norms, head) trains with Adam, the same in all.
"""

from typing import Literal, NamedTuple

Features = Literal["adam", "fixed", "normalized", "none"]
"""How ω is treated: trained by Adam, fixed as drawn, fixed and normalised (G), or absent."""

Readout = Literal["adam", "sgd", "adam_star", "none"]
"""Which rule trains M; the rules stand in `infwidth.training.rules`."""


class Variant(NamedTuple):
    """One row of the table: two words that decide the training, and how the paper names it."""

    features: Features
    readout: Readout
    label: str
    note: str


VARIANTS: dict[str, Variant] = {
    "unfrozen": Variant("adam", "adam", "Unfrozen", "the original transformer"),
    "frozen": Variant("fixed", "adam", "Frozen features", "feature learning disabled"),
    "ntk": Variant("fixed", "sgd", "NTK (SGD)", "the traditional NTK"),
    "adam_star": Variant("fixed", "adam_star", "ADAM* NTK", "the paper's NTK, reconstruction B"),
    "ntk_normalized": Variant(
        "normalized", "sgd", "NTK (SGD), normalised", "ours: is it the features' scale?"
    ),
    "adam_star_normalized": Variant(
        "normalized", "adam_star", "ADAM* NTK, normalised", "ours: is it the features' scale?"
    ),
    "constant": Variant("none", "none", "No MLPs", "control: one run serves all widths"),
}
