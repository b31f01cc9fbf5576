# SPDX-License-Identifier: Apache-2.0
"""Compares the training step with nanoGPT's and NanoDO's: interleaved, one shape, one thread count.

python benchmarks/against_peers.py --nanogpt PATH --nanogpt-python PYTHON --nanodo PATH
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nanogpt", type=Path, help="your checkout of nanoGPT")
    parser.add_argument("--nanogpt-python", help="a Python that has PyTorch")
    parser.add_argument("--nanodo", type=Path, help="your checkout of NanoDO")
    parser.add_argument("--nanodo-python", default=sys.executable, help="a Python that has JAX")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--d-model", type=int, default=64)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--width", type=int, default=256, help="nanoGPT's is always 4 × d_model")
    parser.add_argument("--context", type=int, default=64)
    parser.add_argument("--vocab", type=int, default=512)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=200)
    options = parser.parse_args()
    if options.nanogpt and not options.nanogpt_python:
        parser.error("--nanogpt needs --nanogpt-python, a Python that has PyTorch")
    return options


def commands(options: argparse.Namespace) -> dict[str, list[str]]:
    """The command that measures each contender."""
    names = ("d_model", "layers", "heads", "width", "context", "vocab", "batch", "steps")
    shape = {name: getattr(options, name) for name in names}
    flags = [text for name in names for text in (f"--{name.replace('_', '-')}", str(shape[name]))]
    threads = str(options.threads)
    runs = {
        "infwidth": [
            sys.executable,
            str(HERE / "train_speed.py"),
            *flags,
            "--variant",
            "unfrozen",
            "--threads",
            threads,
        ]
    }
    if options.nanogpt:
        script = str(HERE / "peers" / "nanogpt_step.py")
        checkout = str(options.nanogpt)
        runs["nanogpt"] = [options.nanogpt_python, script, checkout, threads, json.dumps(shape)]
    if options.nanodo:
        script = str(HERE / "peers" / "nanodo_step.py")
        runs["nanodo"] = [options.nanodo_python, script, str(options.nanodo), json.dumps(shape)]
    return runs


def main() -> None:
    """Measures every contender once a round, and prints medians and ratios of medians."""
    options = arguments()
    runs = commands(options)
    environment = {**os.environ, "NPROC": str(options.threads)}
    speeds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(options.rounds):
        for name, command in runs.items():
            done = subprocess.run(
                command, env=environment, stdout=subprocess.PIPE, text=True, check=True
            )
            speeds[name].append(json.loads(done.stdout.splitlines()[-1])["tokens_per_s"])
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    peers = [name for name in runs if name != "infwidth"]
    ratios = {f"infwidth/{name}": medians["infwidth"] / medians[name] for name in peers}
    print(json.dumps({"threads": options.threads, "tokens_per_s": speeds, "ratios": ratios}))


if __name__ == "__main__":
    main()
