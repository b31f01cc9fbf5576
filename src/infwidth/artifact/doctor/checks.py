# SPDX-License-Identifier: Apache-2.0
"""What a device computes against what it should: attention, the loss, and steps of every variant.

Attention and the loss in blocks, which are chosen by device, are held to their plain forms; some
training steps of every variant, in every precision, to losses known from a CPU.
"""

import json
from collections.abc import Callable
from functools import partial
from importlib.resources import files
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from infwidth.config.section import NumericsSettings
from infwidth.config.settings import ModelSettings, TrainingSettings
from infwidth.config.variants import VARIANTS
from infwidth.models.attention import attend, causal_attention, chosen_implementation
from infwidth.models.fast_ops import product
from infwidth.models.loss import block_size, blocked_mean_loss, cross_entropy
from infwidth.training.rules import Hyperparameters
from infwidth.training.step import compile_program

Precision = Literal["float32", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")

KNOWN_LOSSES = files("infwidth.artifact.doctor") / "known_losses.json"
"""Losses of every step, nats per token, by variant: made by `infwidth doctor --record FILE`."""

TOLERANCES: dict[Precision, float] = {"float32": 1e-3, "bfloat16": 1e-2}
"""Nats per token by which any step's loss may differ from that of a CPU in float32."""
_OF_LARGEST: dict[Precision, float] = {"float32": 1e-4, "bfloat16": 3e-2}
"""Largest error of a value or a gradient of a part, over the largest value or gradient."""

VOCABULARY_SIZE, WIDTH, STEPS, BATCH = 64, 64, 12, 4
_SHAPE = {"d_model": 32, "layers": 1, "heads": 2, "context": 32}
_HEADS, _C, _T = 2, 64, 64
_V, _BLOCK = 1000, 100


def all_checks(devices: list[jax.Device]) -> list[partial]:
    """The checks to make: all of them on the first device, and one on each further one."""
    known = _known_losses()
    return [
        *(partial(check_attention, precision) for precision in PRECISIONS),
        *(partial(check_loss, precision) for precision in PRECISIONS),
        *(partial(check, v, p, devices[0]) for p in PRECISIONS for v in VARIANTS if v in known),
        *(partial(check, "adam_star", "float32", device) for device in devices[1:]),
    ]


def unchecked() -> list[str]:
    """The variants of which no losses are known, such as a new row of the table."""
    known = _known_losses()
    return [variant for variant in VARIANTS if variant not in known]


def chosen(precision: Precision, vocabulary_size: int, tokens: int) -> dict[str, Any]:
    """What `auto` comes to here: attention with heads of 64, and tokens a block of the loss."""
    numerics = NumericsSettings(compute_dtype=precision)
    return {
        "precision": precision,
        "attention": chosen_implementation(numerics, _C),
        "vocabulary_size": vocabulary_size,
        "tokens": tokens,
        "loss_block": block_size(None, tokens, vocabulary_size) or tokens,
    }


def check(variant: str, precision: Precision, device: jax.Device) -> dict[str, Any]:
    """Compares the losses of a variant on a device with the known ones."""
    known = _known_losses()[variant]
    with jax.default_device(device):
        ours = losses(variant, precision)
    difference = float(np.max(np.abs(np.subtract(ours, known))))
    name = f"{STEPS} steps of {variant}"
    return _row(name, precision, device, difference, TOLERANCES[precision])


def losses(variant: str, precision: Precision) -> list[float]:
    """Trains a small model on JAX's default device: the loss before each step, nats per token.

    Float32 is meant to the last bit: products are not rounded to TF32 or bfloat16 here.
    """
    numerics = NumericsSettings(compute_dtype=precision)
    model = ModelSettings.model_validate({**_SHAPE, "numerics": numerics})
    training = TrainingSettings(
        steps=STEPS, warmup_steps=1, batch_size=BATCH, log_every=STEPS, checkpoint_every=STEPS
    )
    rates = Hyperparameters(*(jnp.asarray(x, jnp.float32) for x in (1e-2, 3.0, 1.0)))
    with jax.default_matmul_precision("highest" if precision == "float32" else "default"):
        program = compile_program(model, training, VARIANTS[variant], WIDTH, VOCABULARY_SIZE)
        _, metrics = program.train(program.init(0), rates, _text())
        return np.asarray(metrics["loss"], np.float64).tolist()


def _known_losses() -> dict[str, list[float]]:
    return json.loads(KNOWN_LOSSES.read_text())


def _text() -> np.ndarray:
    """Tokens with something to learn: each follows from the one before, with some noise."""
    random = np.random.default_rng(0)
    tokens = np.zeros((STEPS, BATCH, _SHAPE["context"] + 1), np.int32)
    for t in range(_SHAPE["context"]):
        noise = random.integers(VOCABULARY_SIZE, size=(STEPS, BATCH))
        noise *= random.random((STEPS, BATCH)) < 0.3
        tokens[..., t + 1] = (5 * tokens[..., t] + 3 + noise) % VOCABULARY_SIZE
    return tokens


def check_attention(precision: Precision) -> dict[str, Any]:
    """Compares the attention that this device would use, and its gradients, with the plain form."""
    how = chosen_implementation(NumericsSettings(compute_dtype=precision), _C)
    q, k, v, g = _normal(*[(_HEADS * _C, 2 * _T)] * 4)
    ours = partial(attend, heads=_HEADS, T=_T, implementation=how, dtype=jnp.dtype(precision))
    plain = partial(causal_attention, heads=_HEADS, T=_T)
    return _compared(f"attention: {how}", precision, ours, plain, (q / 8, k, v), g)


def check_loss(precision: Precision) -> dict[str, Any]:
    """Compares the loss in blocks of tokens, and its gradients, with the plain form."""
    embedding_VxD, x_DxN = _normal((_V, 64), (64, 256))
    targets_N = jnp.arange(256) * 3 % _V

    def plain(embedding_VxD: jax.Array, x_DxN: jax.Array) -> jax.Array:
        return jnp.mean(cross_entropy(jnp.dot(embedding_VxD, x_DxN), targets_N))

    def blocked(embedding_VxD: jax.Array, x_DxN: jax.Array) -> jax.Array:
        head = partial(product, compute=precision)
        return blocked_mean_loss(head, _BLOCK, embedding_VxD, x_DxN, targets_N)

    inputs = (embedding_VxD / 8, x_DxN)
    return _compared("loss in blocks", precision, blocked, plain, inputs, jnp.ones(()))


def _normal(*shapes: tuple[int, ...]) -> list[jax.Array]:
    random = np.random.default_rng(0)
    return [jnp.asarray(random.normal(size=shape), jnp.float32) for shape in shapes]


def _compared(
    name: str, precision: Precision, ours: Callable, plain: Callable, inputs: tuple, g: jax.Array
) -> dict[str, Any]:
    def run(function: Callable) -> tuple:
        @jax.jit
        def value_and_gradients(*inputs: jax.Array) -> tuple:
            value, pull = jax.vjp(function, *inputs)
            return value, *pull(g)

        return value_and_gradients(*inputs)

    with jax.default_matmul_precision("highest"):
        expected = run(plain)
    with jax.default_matmul_precision("highest" if precision == "float32" else "default"):
        values = run(ours)
    errors = [
        float(np.max(np.abs(np.subtract(x, reference))) / np.max(np.abs(reference)))
        for x, reference in zip(values, expected, strict=True)
    ]
    difference = float(np.max(errors))
    return _row(name, precision, jax.devices()[0], difference, _OF_LARGEST[precision])


def _row(
    name: str, precision: Precision, device: jax.Device, difference: float, tolerance: float
) -> dict[str, Any]:
    return {
        "check": name,
        "precision": precision,
        "device": str(device),
        "difference": difference,
        "tolerance": tolerance,
        # What is not a number is not within any tolerance.
        "sound": difference <= tolerance,
    }
