"""Which settings each command reads: its rule is handed these, and it can read no others."""

_CORPUS = (
    "data.corpus",
    "data.path",
    "data.text_key",
    "data.validation_fraction",
    "data.test_fraction",
    "data.split_seed",
)
_VOCABULARY = ("data.vocabulary", "data.vocabulary_size")

SLICES: dict[str, tuple[str, ...]] = {
    "data corpus": _CORPUS,
    "data vocabulary": _VOCABULARY,
    "data tokenize": (),
    "data show": ("model.context", "training.batch_size"),
    "tune": ("model", "training", "lm_width.reference_width", "lm_width.tuning"),
    "train": (
        "model",
        "training",
        "lm_width.seeds",
        "lm_width.sensitivity",
    ),
    "collect": ("name", "data", "model", "training", "lm_width", "statistics"),
    "convergence": ("name", "convergence", "statistics.confidence", "statistics.judge"),
    "infinite_lm train": ("model", "training", "infinite_lm"),
    "infinite_lm collect": (
        "name",
        "model",
        "training",
        "infinite_lm",
        "statistics.confidence",
    ),
    "expected_value": ("name", "expected_value", "statistics.confidence"),
    "memory": ("name", "model", "training.batch_size", "memory"),
    "architectures": (
        "name",
        "architectures",
        "statistics.confidence",
        "statistics.gap_fraction",
    ),
    "table": (),
    "figure": (),
    "status": ("name", "model", "training", "lm_width"),
}
