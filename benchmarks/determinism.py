# SPDX-License-Identifier: Apache-2.0
"""What a run's bits depend on: the same run, in processes that differ in one thing.

Prints the table of docs/determinism.md: by what differs, whether all losses have the same bits, and
if not by how much they differ.

    infwidth data corpus && infwidth data vocabulary && infwidth data tokenize
    python -m benchmarks.determinism --tokens results/data/tokens --steps 100
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ONE_THREAD = {
    "NPROC": "1",
    "OMP_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
}


def main() -> None:
    """Trains and compares."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--tokens", type=Path, default=Path("results/data/tokens"))
    arguments.add_argument("--steps", type=int, default=100)
    arguments.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    args = arguments.parse_args()
    if args.child:
        print(json.dumps(train(args.tokens, args.child, args.steps)))
        return
    one_thread = ONE_THREAD["XLA_FLAGS"]
    two = {"NPROC": "2", "OMP_NUM_THREADS": "2"}
    cases: dict[str, dict[str, str]] = {
        "again, another process": ONE_THREAD,
        "one core only": {**ONE_THREAD, "CORES": "1"},
        "two threads": {**two, "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=true"},
        "two threads, products on one": {**two, "XLA_FLAGS": one_thread},
        "instructions: AVX2 at most": {
            **ONE_THREAD,
            "XLA_FLAGS": f"{one_thread} --xla_cpu_max_isa=AVX2",
        },
        "instructions: SSE4.2 at most": {
            **ONE_THREAD,
            "XLA_FLAGS": f"{one_thread} --xla_cpu_max_isa=SSE4_2",
        },
    }
    first = losses_of(args, ONE_THREAD)
    for name, environment in cases.items():
        losses = losses_of(args, environment)
        pairs = list(zip(first, losses, strict=True))
        same = sum(a == b for a, b in pairs)
        largest = max(abs(a - b) for a, b in pairs)
        print(f"{name}: {same} of {len(pairs)} losses the same, largest difference {largest:.1e}")


def losses_of(args: argparse.Namespace, environment: dict[str, str]) -> list[float]:
    """All losses of the run, made anew in a process with these variables."""
    command = [sys.executable, "-m", "benchmarks.determinism", "--steps", str(args.steps)]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [*command, "--tokens", str(args.tokens), "--child", folder],
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            check=True,
            text=True,
        )
    return json.loads(done.stdout)


def train(tokens: Path, folder: Path, steps: int) -> list[float]:
    """Trains ADAM* at width 256 with the default's model; all losses."""
    if "CORES" in os.environ:
        os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[: int(os.environ["CORES"])]))
    from infwidth.config.settings import ModelSettings, TrainingSettings
    from infwidth.data.tokens import TokenDataset
    from infwidth.experiments.runs import Bench
    from infwidth.experiments.study import Place
    from infwidth.stats.selection import Cell
    from infwidth.training.records import read_rows
    from infwidth.training.runs import Runs

    training = TrainingSettings(
        steps=steps,
        warmup_steps=steps // 10,
        log_every=10,
        checkpoint_every=steps,
        evaluation_tokens=20_000,
    )
    dataset = TokenDataset.open(tokens)
    bench = Bench(
        Runs(folder, dataset, False, lambda *_: None),
        ModelSettings(),
        training,
        dataset.digest,
        dataset.vocabulary_size,
        "cpu",
    )
    place = Place("report", "adam_star", 256, Cell(3.0), 10)
    _, result = bench.run(place)
    rows = read_rows(folder / bench.spec(place).key)
    return [*(row["loss"] for row in rows), result["validation_loss"], result["test_loss"]]


if __name__ == "__main__":
    main()
