# SPDX-License-Identifier: Apache-2.0
"""Measures whether a sweep's runs are quicker in one program: prints one JSON line a width.

python benchmarks/vmapped_sweep.py --variant adam_star --runs 2 4 8 --widths 64 256 1024

Runs of one width differ in rates and seed alone, so that `jax.vmap` can train several at once. They
are timed against the same runs one after the other, in turn, round after round, in one process, in
the default configuration's shape; and their losses are compared.
"""

import argparse
import json
import os
import statistics
import time
from typing import Any

CHUNK = 10
"""Steps a call."""

VOCABULARY = 258


def arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--variant", default="adam_star")
    parser.add_argument("--runs", type=int, nargs="+", default=[2, 4, 8], help="in one program")
    parser.add_argument("--widths", type=int, nargs="+", default=[64, 256, 1024])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def main() -> None:
    """Prints, by width, how many times as quick one program of several runs is."""
    options = arguments()
    os.environ["NPROC"] = str(options.threads)

    import jax

    from infwidth.config.settings import ModelSettings, TrainingSettings
    from infwidth.config.variants import ALL_VARIANTS
    from infwidth.training.step import compile_program

    variant = ALL_VARIANTS[options.variant]
    for width in options.widths:
        program = compile_program(ModelSettings(), TrainingSettings(), variant, width, VOCABULARY)
        row = {"width": width, "device": jax.devices()[0].device_kind}
        for runs in options.runs:
            speedup, apart = compare(program, runs, options.rounds)
            row |= {f"speedup_of_{runs}": round(speedup, 3), f"losses_apart_of_{runs}": apart}
        print(json.dumps(row), flush=True)


def compare(program: Any, runs: int, rounds: int) -> tuple[float, float]:
    """Times one program of several runs against several calls of the program of one.

    Returns:
        The ratio of times, median over rounds, and by how much a loss differs after `CHUNK` steps.
    """
    import jax
    import jax.numpy as jnp
    import numpy as np

    from infwidth.config.settings import ModelSettings, TrainingSettings
    from infwidth.training.rules import Hyperparameters

    rates = [
        Hyperparameters(*(jnp.float32(x) for x in (0.01, 1.0 + run, 1.0))) for run in range(runs)
    ]
    shape = (runs, CHUNK, TrainingSettings().batch_size, ModelSettings().context + 1)
    tokens = np.random.default_rng(0).integers(VOCABULARY, size=shape, dtype=np.int32)
    together = jax.jit(jax.vmap(program.train), donate_argnums=0)
    all_rates = jax.tree.map(lambda *leaves: jnp.stack(leaves), *rates)
    states = [program.init(seed) for seed in range(runs)]
    state = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)

    def one_by_one() -> np.ndarray:
        losses = []
        for run in range(runs):
            states[run], metrics = program.train(states[run], rates[run], tokens[run])
            losses.append(np.asarray(metrics["loss"]))
        return np.stack(losses)

    def at_once() -> np.ndarray:
        nonlocal state
        state, metrics = together(state, all_rates, tokens)
        return np.asarray(metrics["loss"])

    apart = float(np.abs(one_by_one() - at_once()).max())
    ratios = []
    for _ in range(rounds):
        start = time.perf_counter()
        one_by_one()
        middle = time.perf_counter()
        at_once()
        ratios.append((middle - start) / (time.perf_counter() - middle))
    return statistics.median(ratios), apart


if __name__ == "__main__":
    main()
