# SPDX-License-Identifier: Apache-2.0
"""The variants of the experiments: how the two MLP groups train. A new variant is a new row.

Everything outside the MLPs (embeddings, attention, norms, head) trains with Adam, the same in all.
"""

from typing import Literal, NamedTuple

Features = Literal["adam", "fixed", "normalized", "shifted", "measured", "none"]
"""How ω is treated: trained by Adam, fixed as drawn, fixed and normalized (G), fixed and drawn with
biases that are negative in the mean (the control of G), fixed and divided by measured scales (R),
or absent."""

Readout = Literal[
    "adam",
    "nadam",
    "sgd",
    "momentum",
    "rms_star",
    "adam_star",
    "adam_star_global",
    "adam_star_factored",
    "adam_star_error",
    "adam_star_uncorrected",
    "nadam_star",
    "adagrad_star",
    "muon_star",
    "none",
]
"""Which rule of `infwidth.training.rules.RULES` trains M, if there is one."""


class Variant(NamedTuple):
    """One row of the table: two words that decide the training, and how the paper names it."""

    features: Features
    readout: Readout
    label: str
    note: str


NO_MLPS = Variant("none", "none", "No MLPs", "control: one run serves all widths")

VARIANTS: dict[str, Variant] = {
    "unfrozen": Variant("adam", "adam", "Unfrozen", "the original transformer"),
    "frozen": Variant("fixed", "adam", "Frozen features", "feature learning disabled"),
    "ntk": Variant("fixed", "sgd", "NTK (SGD)", "the traditional NTK"),
    "adam_star": Variant("fixed", "adam_star", "ADAM* NTK", "the paper's NTK, reconstruction B"),
    "ntk_normalized": Variant(
        "normalized", "sgd", "NTK (SGD), normalized", "ours: is it the features' scale?"
    ),
    "adam_star_normalized": Variant(
        "normalized", "adam_star", "ADAM* NTK, normalized", "ours: is it the features' scale?"
    ),
    "constant": NO_MLPS,
}

ABLATIONS: dict[str, Variant] = {
    "momentum": Variant("fixed", "momentum", "SGD with momentum", "ADAM* without v"),
    "rms_star": Variant("fixed", "rms_star", "RMSprop*", "ADAM* without momentum"),
    "adam_star_global": Variant("fixed", "adam_star_global", "ADAM*, global v (A)", "one v"),
    "adam_star_factored": Variant(
        "fixed", "adam_star_factored", "ADAM*, factored v (D)", "leaves the fixed kernel"
    ),
    "adam_star_uncorrected": Variant(
        "fixed", "adam_star_uncorrected", "ADAM*, no bias correction", "as it says"
    ),
    "nadam_star": Variant("fixed", "nadam_star", "NAdam*", "Nesterov's momentum"),
    "adagrad_star": Variant("fixed", "adagrad_star", "Adagrad*", "v is a sum, no momentum"),
    "muon_star": Variant("fixed", "muon_star", "Muon on M", "no v: an E x E factor"),
    "muon_star_normalized": Variant(
        "normalized", "muon_star", "Muon on M, normalized", "Muon on G"
    ),
    "unfrozen_muon_star": Variant(
        "adam", "muon_star", "Unfrozen, Muon on M", "do features matter under Muon, too?"
    ),
    "frozen_normalized": Variant("normalized", "adam", "Frozen, normalized", "Adam on G"),
    "frozen_nadam": Variant("fixed", "nadam", "Frozen, NAdam", "elementwise: control of NAdam*"),
    "nadam_star_normalized": Variant(
        "normalized", "nadam_star", "NAdam*, normalized", "Nesterov's momentum on G"
    ),
    "adam_star_shifted": Variant(
        "shifted", "adam_star", "ADAM* NTK, shifted biases", "control of the normalized features"
    ),
}
"""Rows of the ablation alone; the starred rules but D keep a kernel, on features that are fixed."""

ON_TRIAL: dict[str, Variant] = {
    "adam_star_error": Variant(
        "fixed", "adam_star_error", "ADAM*, v of errors (C)", "v of the errors δ alone"
    ),
    "ntk_measured": Variant(
        "measured", "sgd", "NTK (SGD), measured scales", "ours: is it one scale for each feature?"
    ),
    "adam_star_measured": Variant(
        "measured", "adam_star", "ADAM* NTK, measured scales", "ours: does it help, too?"
    ),
    "muon_star_measured": Variant(
        "measured", "muon_star", "Muon on M, measured scales", "and Muon?"
    ),
    "frozen_measured": Variant(
        "measured", "adam", "Frozen, measured scales", "Adam, which measures scales itself"
    ),
}
"""Rows that run only where an experiment's `variants` names them."""

ALL_VARIANTS = VARIANTS | ABLATIONS | ON_TRIAL
