# SPDX-License-Identifier: Apache-2.0
"""The columns of every table of measurements: which name a cell, and which are compared."""

from dataclasses import dataclass

from infwidth.catalogue import STUDIES
from infwidth.experiments.schema import RUNS, TABLES, Table

RATES = ("learning_rate", "kappa", "trunk_learning_rate")
_OF_RUNS = ("key", "device_seconds", "device")
_LOSSES = ("test_loss",)


@dataclass(frozen=True)
class Cells:
    """The columns of one table. Those that are not named are compared, but not judged.

    Attributes:
        arm: what was done; together with `repeat` and `within` they name a row.
        repeat: what makes independent repeats of an arm, such as the seed.
        within: parts of one repeat, over which outcomes are averaged before they are tested.
        choice: what tuning chose. It names a row of a trial, too, but not one of a reported run.
        outcomes: what training leads to; judged by the arms' means.
        counted: whole numbers that are the same on every platform.
        loose: hashes of runs, times, devices: never compared.
        close: without repeats, how far apart outcomes may be, in units of their rms over the
            table; None where they are not judged.
        by_run: rows are named by their run's `key`, whose arm stands in the table `runs`.
    """

    arm: tuple[str, ...]
    repeat: tuple[str, ...] = ()
    within: tuple[str, ...] = ()
    choice: tuple[str, ...] = ()
    outcomes: tuple[str, ...] = ()
    counted: tuple[str, ...] = ()
    loose: tuple[str, ...] = ()
    close: float | None = None
    by_run: bool = False


def _runs(*arm: str, counted: tuple[str, ...] = ("steps", "tokens", "flops")) -> Cells:
    """A table of training runs."""
    return Cells(
        ("role", *arm, "width"), ("seed",), (), RATES, _LOSSES, counted=counted, loose=_OF_RUNS
    )


def _of_schema(table: Table) -> Cells:
    """A table of a study."""
    arms = RUNS if table.by_run else Table({})
    return Cells(
        arms.of("arm") + table.of("arm"),
        arms.of("repeat") + table.of("repeat"),
        choice=arms.of("choice") + table.of("choice"),
        outcomes=table.of("outcome"),
        counted=table.of("counted"),
        loose=table.of("loose"),
        by_run=table.by_run,
    )


_PARAMETERS = tuple(f"parameters_{kind}" for kind in ("trunk", "features", "readout", "trained"))
_RUN = ("role", "variant", "width")
_CURVES = Cells((*_RUN, "step"), ("seed",), (), RATES, ("loss",), loose=("key",), by_run=True)
_DOCUMENTS = Cells(
    (*_RUN, "document", "name"),
    ("seed",),
    (),
    RATES,
    ("loss_sum",),
    ("tokens",),
    ("key",),
    None,
    True,
)
_SEED = ("seed",)

CELLS: dict[str, dict[str, Cells]] = {
    "lm_width": {
        "runs": _runs(
            "variant",
            counted=("steps", "tokens", "flops", *_PARAMETERS, "optimizer_state_bytes"),
        ),
        "curves": _CURVES,
        "documents": _DOCUMENTS,
    },
    "infinite_lm": {"runs": _runs("variant"), "curves": _CURVES},
    "optimizer_ablation": {
        "runs": _runs("context", "variant"),
        "digits": Cells(
            ("role", "rule", "kernel", "width"), _SEED, (), RATES[:1], ("loss", "accuracy")
        ),
    },
    "width_limit": {"runs": _runs("parametrization", "variant"), "known": _runs("variant")},
    "architectures": {
        "runs": _runs("architecture", "variant", counted=()),
        "images": Cells(
            ("architecture", "variant", "width"), _SEED, ("image",), (), ("loss", "correct")
        ),
        "selection": Cells(("architecture", "variant")),
    },
    "convergence": {
        "curves": Cells(
            ("rule", "width", "split", "step"), _SEED, outcomes=("loss", "accuracy", "distance")
        ),
        "gaps": Cells(("width", "reference", "view", "split"), _SEED, outcomes=("distance",)),
        "limits": Cells(
            ("rule", "split", "step"), outcomes=("loss", "accuracy", "rms_outputs"), close=1e-2
        ),
        # Products of all pairs of seeds are no independent repeats: the claims judge them.
        "products": Cells(("rule", "width", "view", "split", "seed_a", "seed_b")),
    },
    "expected_value": {
        # No training is in these: nothing amplifies rounding.
        "fixed": Cells(
            ("width", "point", "output"),
            outcomes=("mean", "variance"),
            counted=("inits",),
            close=1e-3,
        ),
        "trained": Cells(("case", "width"), ("init",), outcomes=("square", "product")),
        "infinite": Cells(("case",), outcomes=("mean_square", "accuracy"), close=1e-2),
    },
    "feature_selection": {
        "density_ratio": Cells(
            ("dimension", "kappa", "width"), _SEED, outcomes=("error", "loss", "moved", "price")
        ),
        "infinite": Cells(("rule",), _SEED, outcomes=("loss",)),
        "least_squares": Cells(("dimension", "width"), _SEED, outcomes=("error", "price")),
        "planted": Cells(("rule", "width", "step"), _SEED, outcomes=("aligned", "loss")),
        "pruning": Cells(
            ("rule", "kind", "retrained", "share", "kept"), _SEED, outcomes=("loss", "error")
        ),
        "selection": Cells(("study", "rule")),
        "tuning": Cells(("study", "rule"), _SEED, choice=RATES[:2]),
    },
    "feature_support": {
        "errors": Cells(("case", "readout", "width", "steps"), _SEED, outcomes=("error",)),
        "functions": Cells(("case", "x"), outcomes=("target", "best", "adam_star"), close=1e-1),
        "reports": Cells(("case",), _SEED, outcomes=("p_value", "score", "missing")),
        "residuals": Cells(("case", "inputs"), _SEED, outcomes=("residual",)),
    },
    "memory": {
        "state": Cells(("form", "size", "inputs"), counted=("features", "readout", "optimizer")),
        # What a compiled program needs besides is the compiler's own affair.
        "step": Cells(
            ("form", "size", "inputs"), counted=("arguments", "outputs"), loose=("temporary",)
        ),
        "resident": Cells(("form", "size"), counted=("counted",), loose=("resident",)),
    },
} | {study: {name: _of_schema(table) for name, table in TABLES.items()} for study in STUDIES}
