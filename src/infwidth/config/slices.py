# SPDX-License-Identifier: Apache-2.0
"""Which settings each command reads: its rule is handed these, and it can read no others."""

from infwidth.catalogue import REGISTRY, STUDIES

_CORPUS = (
    "data.corpus",
    "data.path",
    "data.text_key",
    "data.validation_fraction",
    "data.test_fraction",
    "data.split_seed",
)
_VOCABULARY = ("data.vocabulary", "data.vocabulary_size", "data.vocabulary_model")
# How many tokens the largest run reads.
_BUDGET = (
    "training.steps",
    "training.batch_size",
    "model.context",
    "infinite_lm.steps",
    "infinite_lm.batch_size",
)
_C4 = ("data.corpus", "data.path", "data.text_key", "data.c4")
_TOKENS = (*_C4, "data.split_seed", *_VOCABULARY, *_BUDGET)

_JUDGED = (
    *("name", "statistics.confidence", "statistics.judge", "statistics.equivalence_margin"),
    *("statistics.gap_fraction", "convergence.slope_margin", "feature_support.margin"),
)

_PLANNED = (
    *("name", "experiments", "data.vocabulary", "data.vocabulary_size", "model", "training"),
    *("lm_width", "optimizer_ablation", "infinite_lm", "width_limit", *STUDIES),
)

SLICES: dict[str, tuple[str, ...]] = {
    "data corpus": (*_CORPUS, "data.c4"),
    "data vocabulary": (*_VOCABULARY, *_C4),
    "data shard": _TOKENS,
    "data tokenize": _TOKENS,
    "data show": ("model.context", "training.batch_size"),
    **{f"gather {name}": ("name", *row.settings) for name, row in REGISTRY.items() if row.settings},
    "table": (),
    "figure": (),
    "claims": _JUDGED,
    "pages": ("name", "experiments", "data", "model", "training", "statistics", *REGISTRY),
    "publish": ("experiments", *_JUDGED),
    "runs": ("name",),
    "doctor": (),
    "plan": _PLANNED,
    "status": _PLANNED,
}
