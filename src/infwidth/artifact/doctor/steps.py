# SPDX-License-Identifier: Apache-2.0
"""Some training steps of every variant in every precision, against losses known from a CPU."""

import json
from functools import partial
from importlib.resources import files
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from infwidth.config.section import NumericsSettings
from infwidth.config.settings import ModelSettings, TrainingSettings
from infwidth.config.variants import VARIANTS
from infwidth.training.rules import Hyperparameters
from infwidth.training.step import compile_program

Precision = Literal["float32", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")

KNOWN_LOSSES = files("infwidth.artifact.doctor") / "known_losses.json"
"""Losses of every step, nats per token, by variant: made by `infwidth doctor --record FILE`."""

TOLERANCES: dict[Precision, float] = {"float32": 1e-3, "bfloat16": 1e-2}
"""Nats per token by which any step's loss may differ from that of a CPU in float32."""

VOCABULARY_SIZE, WIDTH, STEPS, BATCH = 64, 64, 12, 4
_SHAPE = {"d_model": 32, "layers": 1, "heads": 2, "context": 32}


def losses(variant: str, precision: Precision) -> list[float]:
    """Trains a small model for some steps on JAX's default device.

    Float32 is meant to the last bit: products are not rounded to TF32 or bfloat16 here.

    Args:
      variant: a row of the table of variants.
      precision: type of the products' factors.

    Returns:
      The loss before each step, nats per token.
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


def check(variant: str, precision: Precision, device: jax.Device) -> dict[str, Any]:
    """Compares the losses of a variant on a device with the known ones.

    Args:
      variant: a row of the table of variants.
      precision: type of the products' factors.
      device: where to train.

    Returns:
      What was compared, `difference`, the largest of any step, `tolerance` and `sound`.
    """
    known = _known_losses()[variant]
    with jax.default_device(device):
        ours = losses(variant, precision)
    difference = float(np.max(np.abs(np.subtract(ours, known))))
    return {
        "check": f"{STEPS} steps of {variant}",
        "precision": precision,
        "device": str(device),
        "difference": difference,
        "tolerance": TOLERANCES[precision],
        # A loss that is not a number is not within any tolerance.
        "sound": difference <= TOLERANCES[precision],
    }


def checks(devices: list[jax.Device]) -> list[partial]:
    """The checks to make: all of them on the first device, and one on each further one."""
    known = _known_losses()
    on_first = [
        partial(check, v, p, devices[0]) for p in PRECISIONS for v in VARIANTS if v in known
    ]
    return on_first + [partial(check, "adam_star", "float32", device) for device in devices[1:]]


def unchecked() -> list[str]:
    """The variants of which no losses are known, such as a new row of the table."""
    known = _known_losses()
    return [variant for variant in VARIANTS if variant not in known]


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
