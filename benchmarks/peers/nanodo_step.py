# SPDX-License-Identifier: Apache-2.0
"""One JSON line: the training step of NanoDO's model on a CPU. Run by against_peers.py.

The model is NanoDO's; its loss and AdamW, which come with its data pipeline, are written out.
"""

import json
import statistics
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

checkout, shape = sys.argv[1], json.loads(sys.argv[2])
sys.path.insert(0, checkout)
from nanodo.model import DoConfig, TransformerDo  # noqa: E402  (NanoDO's own, in its checkout)

model = TransformerDo(
    DoConfig(
        D=shape["d_model"],
        H=shape["heads"],
        L=shape["context"],
        N=shape["layers"],
        V=shape["vocab"],
        F=shape["width"],
        fsdp_enabled=False,
    )
)
tokens = np.random.default_rng(0).integers(
    shape["vocab"], size=(shape["batch"], shape["context"] + 1), dtype=np.int32
)
parameters = model.init(jax.random.key(0), tokens[:, :-1])
optimizer = optax.adamw(1e-3, 0.9, 0.98, 1e-9)
state = optimizer.init(parameters)


def mean_loss(parameters: Any, tokens: jax.Array) -> jax.Array:
    """Next-token cross-entropy."""
    logits = model.apply(parameters, tokens[:, :-1])
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, tokens[:, 1:]))


@jax.jit
def update(parameters: Any, state: Any, tokens: jax.Array) -> tuple[Any, Any, jax.Array]:
    """One training step."""
    loss, gradients = jax.value_and_grad(mean_loss)(parameters, tokens)
    updates, state = optimizer.update(gradients, state, parameters)
    return optax.apply_updates(parameters, updates), state, loss


def step() -> float:
    """Takes a training step; returns its seconds."""
    global parameters, state
    start = time.perf_counter()
    parameters, state, loss = update(parameters, state, tokens)
    loss.block_until_ready()
    return time.perf_counter() - start


for _ in range(10):
    step()
median = statistics.median(step() for _ in range(shape["steps"]))
print(json.dumps({"tokens_per_s": shape["batch"] * shape["context"] / median}))
