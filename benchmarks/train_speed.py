# SPDX-License-Identifier: Apache-2.0
"""Measures the training step: prints one JSON line.

python benchmarks/train_speed.py --d-model 64 --layers 2 --heads 4 --width 256 --context 64 \
    --vocab 512 --batch 32 --variant unfrozen --steps 200
"""

import argparse
import json
import math
import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

CHUNK = 10
"""Steps a call: the median is taken over calls."""

MATMUL = 2048
"""Rows and columns of the product that measures the machine's peak."""


def arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--d-model", type=int, default=64)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--width", type=int, default=256, help="H, the width of the MLPs")
    parser.add_argument("--context", type=int, default=64)
    parser.add_argument("--vocab", type=int, default=512)
    parser.add_argument("--batch", type=int, default=32, help="sequences a step")
    parser.add_argument("--variant", default="unfrozen")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument(
        "--threads",
        type=int,
        default=len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1,
        help="CPU threads, each a device with its share of the batch (default: one a core)",
    )
    parser.add_argument(
        "--mesh",
        type=int,
        nargs=3,
        metavar=("DATA", "FSDP", "WIDTH"),
        help="devices along each axis (default: the threads along the first)",
    )
    return parser.parse_args()


def seconds(run: Callable[[], Any], times: int) -> list[float]:
    """Times calls of `run`, one by one."""
    durations = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        durations.append(time.perf_counter() - start)
    return durations


def main() -> None:
    """Trains on random tokens and prints what it took."""
    options = arguments()
    fitting = max(n for n in range(1, options.threads + 1) if options.batch % n == 0)
    mesh = options.mesh or (fitting, 1, 1)
    devices = math.prod(mesh)
    flags = f"--xla_force_host_platform_device_count={devices}"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}"
    os.environ["NPROC"] = str(options.threads)

    import jax
    import jax.numpy as jnp
    import numpy as np

    from infwidth.config.settings import ModelSettings, TrainingSettings
    from infwidth.config.variants import VARIANTS
    from infwidth.training.rules import Hyperparameters
    from infwidth.training.step import compile_program

    if jax.default_backend() != "cpu" and not options.mesh:
        mesh, devices = (1, 1, 1), 1
    shape = {name: getattr(options, name) for name in ("d_model", "layers", "heads", "context")}
    model = ModelSettings.model_validate(shape)
    training = TrainingSettings.model_validate(
        {
            "batch_size": options.batch,
            "mesh": dict(zip(("data", "fsdp", "width"), mesh, strict=True)),
        }
    )
    program = compile_program(
        model, training, VARIANTS[options.variant], options.width, options.vocab
    )
    hyperparameters = Hyperparameters(*(jnp.asarray(x, jnp.float32) for x in (3e-3, 3e-2, 1.0)))
    tokens = np.random.default_rng(0).integers(
        options.vocab, size=(CHUNK, options.batch, options.context + 1), dtype=np.int32
    )
    state = program.init(0)

    def step() -> None:
        nonlocal state
        state, metrics = program.train(state, hyperparameters, tokens)
        jax.block_until_ready(metrics)

    compilation = seconds(step, 1)[0]
    step()
    seconds_per_step = statistics.median(seconds(step, max(1, options.steps // CHUNK))) / CHUNK

    matrix = jnp.ones((MATMUL, MATMUL), jnp.float32)
    product = jax.jit(jnp.dot)
    product(matrix, matrix).block_until_ready()
    peak = 2 * MATMUL**3 / min(seconds(lambda: product(matrix, matrix).block_until_ready(), 10))

    print(
        json.dumps(
            {
                "tokens_per_s": options.batch * options.context / seconds_per_step,
                "ms_per_step": 1e3 * seconds_per_step,
                "matmul_gflops_peak": peak / 1e9,
                "fraction_of_peak": program.flops_per_step / seconds_per_step / peak,
                "flops_per_step": program.flops_per_step,
                "compilation_s": compilation,
                "threads": options.threads,
                "mesh": list(mesh),
                "device": jax.devices()[0].device_kind,
                "variant": options.variant,
            }
        )
    )


if __name__ == "__main__":
    main()
