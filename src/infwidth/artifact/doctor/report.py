# SPDX-License-Identifier: Apache-2.0
"""All that the doctor looks at, as one report with a verdict; and the speed of a training step."""

import importlib.metadata
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from infwidth.artifact.doctor import checks
from infwidth.config.section import NumericsSettings
from infwidth.config.settings import ModelSettings, TrainingSettings
from infwidth.config.variants import VARIANTS
from infwidth.training.devices import gpu_count
from infwidth.training.rules import Hyperparameters
from infwidth.training.step import compile_program

_SOFTWARE = ("infwidth", "jax", "jaxlib", "flax", "optax", "numpy")
_CALLS, _STEPS_A_CALL = 3, 2


class Size(NamedTuple):
    """What is trained, and the rows of the matrices of the plain product."""

    d_model: int
    layers: int
    heads: int
    context: int
    width: int
    vocabulary_size: int
    batch: int
    rows: int


ON_CPU = Size(256, 2, 4, 256, 1024, 8192, 2, 2048)
ELSEWHERE = Size(512, 6, 8, 512, 2048, 32_128, 32, 8192)
"""The shape of config/paper.yaml, with a batch that fits 16 GB."""


def examine(show: Callable[[dict[str, Any]], None] = lambda row: None) -> dict[str, Any]:
    """Looks at the devices of this process, and shows each check's row as it is done.

    Returns:
      JSON values: `devices`, `checks`, `unchecked` (variants), `chosen`, `speed`, `problems`, one
      line each, and `verdict`, "sound" where there are none, else "wrong".
    """
    start = time.perf_counter()
    devices = jax.local_devices()
    first = devices[0]
    rows = []
    for check in checks.all_checks(devices):
        rows.append(_attempted(check))
        show(rows[-1])
    size = ON_CPU if jax.default_backend() == "cpu" else ELSEWHERE
    # bfloat16 is emulated on CPUs, and of no use there.
    timed = checks.PRECISIONS if first.platform != "cpu" else checks.PRECISIONS[:1]
    speeds = [_attempted(partial(measure, precision, size)) for precision in timed]
    problems = _missing_gpus(first) + [
        f"{row.get('check', 'speed')}, {row['precision']}, {row.get('device', first)}: "
        + (row["error"] if "error" in row else f"off by {row['difference']:.2g}")
        for row in rows + speeds
        if "error" in row or not row.get("sound", True)
    ]
    return {
        "verdict": "wrong" if problems else "sound",
        "problems": problems,
        "software": {name: importlib.metadata.version(name) for name in _SOFTWARE},
        "devices": [_described(device) for device in devices],
        "chosen": [
            checks.chosen(precision, size.vocabulary_size, size.batch * size.context)
            for precision in checks.PRECISIONS
        ],
        "checks": rows,
        "unchecked": checks.unchecked(),
        "speed": speeds,
        "seconds": time.perf_counter() - start,
    }


def _attempted(check: partial) -> dict[str, Any]:
    try:
        return check()
    # Whatever a device or its driver raises is what is looked for.
    except Exception as error:
        name = getattr(check.func, "__name__", "check")
        text = (str(error) or type(error).__name__).splitlines()[0]
        arguments = [str(argument) for argument in check.args]
        precision = next(a for a in arguments if a in checks.PRECISIONS)
        return {"check": f"{name} {' '.join(arguments)}", "precision": precision, "error": text}


def _missing_gpus(first: jax.Device) -> list[str]:
    count = gpu_count()
    if count == 0 or first.platform == "gpu":
        return []
    return [f"{count} NVIDIA GPUs are here, but JAX finds none: install the lock `cuda` (make env)"]


def _described(device: jax.Device) -> dict[str, Any]:
    memory = device.memory_stats() or {}
    return {
        "device": str(device),
        "platform": device.platform,
        "kind": device.device_kind,
        "memory_bytes": memory.get("bytes_limit"),
        "peak_bytes_in_use": memory.get("peak_bytes_in_use"),
    }


def measure(precision: checks.Precision, size: Size) -> dict[str, Any]:
    """Times training steps of `adam_star` and plain matrix products, in turn, in one precision.

    Returns:
      `tokens_per_s`; `gflops`, of the products that the step needs; `peak_gflops`, of the plain
      product; `share_of_peak`, their ratio.
    """
    model = ModelSettings(
        d_model=size.d_model,
        layers=size.layers,
        heads=size.heads,
        context=size.context,
        numerics=NumericsSettings(compute_dtype=precision),
    )
    training = TrainingSettings(batch_size=size.batch)
    variant = VARIANTS["adam_star"]
    program = compile_program(model, training, variant, size.width, size.vocabulary_size)
    rates = Hyperparameters(*(jnp.asarray(x, jnp.float32) for x in (1e-3, 0.1, 1.0)))
    shape = (_STEPS_A_CALL, size.batch, size.context + 1)
    tokens = np.random.default_rng(0).integers(size.vocabulary_size, size=shape, dtype=np.int32)
    state = program.init(0)

    def train() -> None:
        nonlocal state
        state, metrics = program.train(state, rates, tokens)
        jax.block_until_ready(metrics)

    matrix = jnp.ones((size.rows, size.rows), precision)
    product = jax.jit(lambda x: jnp.dot(x, x, preferred_element_type=jnp.float32))

    def multiply() -> None:
        product(matrix).block_until_ready()

    for compile_and_warm_up in (train, multiply):
        compile_and_warm_up()
    durations = [
        (_seconds(train), min(_seconds(multiply) for _ in range(2))) for _ in range(_CALLS)
    ]
    steps_s, products_s = zip(*durations, strict=True)
    step_s = statistics.median(steps_s) / _STEPS_A_CALL
    peak = 2 * size.rows**3 / min(products_s)
    return {
        "precision": precision,
        "tokens_per_s": size.batch * size.context / step_s,
        "gflops": program.flops_per_step / step_s / 1e9,
        "peak_gflops": peak / 1e9,
        "share_of_peak": program.flops_per_step / step_s / peak,
        "size": size._asdict(),
    }


def _seconds(run: Callable[[], None]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start
