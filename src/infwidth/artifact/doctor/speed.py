# SPDX-License-Identifier: Apache-2.0
"""Tokens a second of a training step, and its share of a plain matrix product's speed."""

import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from infwidth.artifact.doctor.steps import Precision
from infwidth.config.section import NumericsSettings
from infwidth.config.settings import ModelSettings, TrainingSettings
from infwidth.config.variants import VARIANTS
from infwidth.training.rules import Hyperparameters
from infwidth.training.step import compile_program

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


def size_here() -> Size:
    """What is measured on JAX's default device."""
    return ON_CPU if jax.default_backend() == "cpu" else ELSEWHERE


def measure(precision: Precision, size: Size) -> dict[str, Any]:
    """Times training steps of `adam_star` and matrix products, in turn, in one precision.

    Args:
      precision: type of the products' factors.
      size: of the model and of the plain product.

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
