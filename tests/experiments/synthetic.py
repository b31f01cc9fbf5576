# SPDX-License-Identifier: Apache-2.0
"""Measurements with a known truth, in the form that the experiment writes."""

import json
import zlib
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from infwidth.experiments.lm_width.settings import LmWidthSettings
from infwidth.stats.selection import Trial, selection_entry
from tests.experiments.tables import write_table

RATES = (0.003, 0.01, 0.03, 0.1, 0.3)
KAPPAS = (1.0, 4.0, 16.0)
TOLERANCE = 0.003
DOCUMENTS = 23
ONE_RATE_SEEDS = 3
BLANK = {"learning_rate": None, "kappa": None}


@dataclass(frozen=True)
class Truth:
    """What the generator is told; every loss in nats per token."""

    widths: tuple[int, ...] = (64, 128, 256, 512, 1024, 4096)
    variants: tuple[str, ...] = tuple(LmWidthSettings().variants)
    seeds: int = 5
    seed_sd: float = 0.012
    """Shared by all variants of a seed: what pairing removes."""
    pair_sd: float = 0.004
    """A variant's own, by seed."""
    document_sd: float = 0.08
    """Shared by all variants of a document."""
    spread: float = 1.0
    """Scales every difference between variants; near 0 for a quick run."""
    steps: int = 1500
    judge: bool = True
    diverged: frozenset[tuple[str, int, int]] = frozenset()
    """(variant, width, seed) of reported runs."""
    diverging_rates: frozenset[tuple[str, float]] = frozenset({("ntk", 0.3)})
    edge: frozenset[str] = frozenset()
    """Variants whose best rate lies at the top of the grid."""
    all_rates_diverge: frozenset[str] = frozenset()
    reference_width: int = 256
    losses: dict[str, tuple[float, float]] = field(
        default_factory=lambda: {  # loss at infinite width, and what 1/√H adds
            "unfrozen": (1.455, 1.0),
            "frozen": (1.590, 0.49),
            "ntk": (1.715, -0.33),
            "adam_star": (1.640, 0.20),
            "ntk_measured": (1.684, -0.02),
            "adam_star_measured": (1.606, 0.42),
            "constant": (1.743, 0.0),
        }
    )

    def loss(self, variant: str, width: int) -> float:
        """The true loss of a cell."""
        limit, slope = self.losses[variant]
        raw = limit + (slope / np.sqrt(width) if width else 0.0)
        return 1.743 + self.spread * (raw - 1.743)


def _noise(*name: object) -> np.random.Generator:
    """A stream of random numbers that belongs to a name."""
    return np.random.default_rng(zlib.crc32(repr(name).encode()))


def write(folder: Path, truth: Truth | None = None) -> Path:
    """Writes a folder of measurements and returns it."""
    truth = truth or Truth()
    folder.mkdir(parents=True, exist_ok=True)
    runs: list[dict] = []
    documents: list[dict] = []
    curves: list[dict] = []
    tokens_D = _noise("tokens").integers(2_000, 12_000, DOCUMENTS)
    document_D = _noise("documents").normal(0, truth.document_sd, DOCUMENTS)
    selection = {"constant-0": _trunk(truth, runs)}
    for variant in truth.variants:
        for width in (0,) if variant == "constant" else truth.widths:
            if width:
                selection[f"{variant}-{width}"] = _tune(truth, variant, width, runs)
            chosen = selection[f"{variant}-{width}"] if width else BLANK
            for seed in range(10, 10 + truth.seeds):
                run = _run(truth, "report", variant, width, chosen, seed)
                loss = truth.loss(variant, width)
                loss += _noise("seed", seed).normal(0, truth.seed_sd)
                loss += _noise(variant, width, seed).normal(0, truth.pair_sd)
                if (variant, width, seed) in truth.diverged:
                    run |= dict.fromkeys(("train_loss", "validation_loss", "test_loss"), np.nan)
                    run["status"] = "diverged"
                else:
                    own_D = _noise("own", variant, width).normal(0, 0.01, DOCUMENTS)
                    loss_D = tokens_D * (loss + document_D + own_D)
                    run["test_loss"] = loss_D.sum() / tokens_D.sum()
                    run |= {"train_loss": loss - 0.03, "validation_loss": loss}
                    documents += [
                        {"key": run["key"], "document": n, "name": f"Address {n}"}
                        | {"loss_sum": float(own), "tokens": int(tokens)}
                        for n, (own, tokens) in enumerate(zip(loss_D, tokens_D, strict=True))
                    ]
                curves += _curve(truth, run, loss)
                runs.append(run)
                if width and seed < 10 + ONE_RATE_SEEDS:
                    runs.append(run | {"role": "one_rate"})
    write_table(folder, "lm_width", "runs", runs)
    for name, rows, columns in (
        ("documents", documents, ["key", "document", "name", "loss_sum", "tokens"]),
        ("curves", curves, ["key", "step", "loss"]),
    ):
        write_table(folder, "lm_width", name, pd.DataFrame(rows, columns=columns))
    settings = _settings(truth) | {"selection": selection}
    (folder / "settings.json").write_text(json.dumps(settings))
    return folder


def _run(
    truth: Truth, role: str, variant: str, width: int, chosen: dict, seed: int, **more: object
) -> dict:
    rates = {name: np.nan if chosen[name] is None else chosen[name] for name in BLANK}
    return {
        "key": f"{role}-{variant}-{width}-{seed}-{chosen['learning_rate']}-{chosen['kappa']}",
        "role": role,
        "variant": variant,
        "width": width,
        **rates,
        "trunk_learning_rate": 0.003,
        "seed": seed,
        "status": "done",
        "steps": truth.steps,
        **dict.fromkeys(("train_loss", "validation_loss", "test_loss", "sgd_unit"), np.nan),
        "tokens": truth.steps * 32 * 64,
        "parameters_features": 2 * width * 65,
        "parameters_readout": 2 * width * 64,
        "device_seconds": 20.0 + width / 20 + _noise("time", variant, width, seed).uniform(0, 2),
        "device": "cpu",
    } | more


def _tuning_loss(truth: Truth, variant: str, width: int, rate: float, kappa: float | None) -> float:
    """A bowl in log rate (and log κ), shallower to the left."""
    best = 0.5 if variant in truth.edge else 0.03
    steps = np.log10(rate / best)
    bowl = 0.05 * steps**2 * (1.0 if steps > 0 else 0.4)
    if kappa is not None:
        bowl += 0.06 * np.log10(kappa / 4.0) ** 2
    return truth.loss(variant, width) + truth.spread * bowl


def _tune(truth: Truth, variant: str, width: int, runs: list[dict]) -> dict:
    trials = []
    for rate, kappa in product(RATES, KAPPAS if variant == "unfrozen" else (None,)):
        lost = variant in truth.all_rates_diverge or (
            any(name == variant and rate >= top for name, top in truth.diverging_rates)
        )
        for seed in range(2):
            loss = _tuning_loss(truth, variant, width, rate, kappa)
            loss = np.nan if lost else float(loss + _noise("tuning", seed).normal(0, truth.seed_sd))
            chosen = {"learning_rate": rate, "kappa": kappa}
            status = "diverged" if lost else "done"
            result = {"status": status, "validation_loss": loss}
            runs.append(_run(truth, "tuning", variant, width, chosen, seed, **result))
            trials.append(Trial(rate, loss, seed, lost, kappa))
    return selection_entry(trials, TOLERANCE)


def _trunk(truth: Truth, runs: list[dict]) -> dict:
    trials = []
    for rate in (0.0015, 0.003, 0.006):
        loss = truth.loss("constant", 0) + 0.1 * np.log2(rate / 0.005) ** 2
        runs.append(
            _run(truth, "trunk", "constant", 0, BLANK, 0, trunk_learning_rate=rate)
            | {"validation_loss": loss, "key": f"trunk-{rate}"}
        )
        trials.append(Trial(rate, loss, 0))
    return selection_entry(trials, TOLERANCE)


def _curve(truth: Truth, run: dict, loss: float) -> list[dict]:
    """A power law that ends at the loss, with the noise of the batches, shared by the variants."""
    step_T = np.arange(50, truth.steps + 1, 50)
    batch_T = _noise("batches", run["seed"]).normal(0, 0.02, len(step_T))
    own_T = _noise("curve", run["key"]).normal(0, 0.004, len(step_T))
    decay_T = (5.5 - loss) * ((1 + step_T / 60.0) ** -1.1 - (1 + truth.steps / 60.0) ** -1.1)
    value_T = loss + decay_T + batch_T + own_T
    if run["status"] == "diverged":
        value_T = value_T[: len(value_T) // 3] * 1.01 ** np.arange(len(value_T) // 3)
    return [
        {"key": run["key"], "step": int(step), "loss": float(value)}
        for step, value in zip(step_T, value_T, strict=False)
    ]


def _settings(truth: Truth) -> dict:
    return {
        "name": "synthetic",
        "commit": "0" * 40,
        "corpus": "a synthetic corpus, which is one domain",
        "lm_width": {
            "widths": list(truth.widths),
            "reference_width": truth.reference_width,
            "one_rate_seeds": ONE_RATE_SEEDS,
            "seeds": list(range(10, 10 + truth.seeds)),
            "variants": list(truth.variants),
            "tuning": {"tolerance": TOLERANCE, "learning_rates": list(RATES)},
        },
        "statistics": {"judge": truth.judge},
        "data": {"corpus": "sotu", "vocabulary": "bytes"},
        "model": {"d_model": 64, "layers": 2, "context": 64},
        "training": {"steps": truth.steps, "batch_size": 32, "trunk_learning_rate": 0.003},
    }
