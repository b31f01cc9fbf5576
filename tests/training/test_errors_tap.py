# SPDX-License-Identifier: Apache-2.0
"""The rule that is given squared errors (C) is given those of the whole batch, however it is cut.

Shapes: E outputs of an MLP, N tokens.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from infwidth.config.settings import ModelSettings, TrainingSettings
from infwidth.config.variants import ALL_VARIANTS
from infwidth.models.loss import cross_entropy
from infwidth.training.rules import Hyperparameters
from infwidth.training.step import compile_program

V, H, B, T = 16, 12, 4, 6
TOKENS = np.random.default_rng(0).integers(V, size=(2, B, T + 1), dtype=np.int32)
RATES = Hyperparameters(*(jnp.asarray(x, jnp.float32) for x in (3e-3, 0.3, 1.0)))


def program(target="residual", numerics=None, variant="adam_star_error", **changes):
    model = ModelSettings(
        d_model=8,
        layers=2,
        heads=2,
        context=T,
        readout_target=target,
        readout_init="normal",
        numerics=numerics or {},
    )
    training = TrainingSettings(
        steps=40, warmup_steps=0, batch_size=B, log_every=10, checkpoint_every=20, **changes
    )
    return compile_program(model, training, ALL_VARIANTS[variant], H, V)


def squared_errors(program):
    """Of a state and tokens: Σ_i δ_ie² by readout, from gradients for a shift of every output."""

    class Shifted:
        def __init__(self, layer, shift_ExN):
            self.layer, self.shift_ExN = layer, shift_ExN

        def __call__(self, x_DxN):
            return self.layer(x_DxN) + self.shift_ExN

    def loss(shifts, state, tokens_BxT1):
        model = program.model(state)
        for name, shift_ExN in shifts.items():
            path = name.split("/")
            holder = model if path[0] == "mlp" else model.blocks[int(path[1])]
            holder.mlp = Shifted(holder.mlp, shift_ExN)
        logits_VxN = model(tokens_BxT1[:, :-1], lambda *_: None)
        return jnp.mean(cross_entropy(logits_VxN, tokens_BxT1[:, 1:].reshape(-1)))

    @jax.jit
    def squares(state, tokens_BxT1):
        none = {name: jnp.zeros((m_HxE.shape[1], B * T)) for name, m_HxE in state.readout.items()}
        deltas = jax.grad(loss)(none, state, tokens_BxT1)
        return {name: jnp.sum(jnp.square(d_ExN), axis=1) for name, d_ExN in deltas.items()}

    return squares


@pytest.mark.parametrize(
    ("target", "numerics", "changes"),
    [
        ("residual", {}, {}),
        ("vocabulary", {}, {}),
        ("residual", {}, {"microbatch_tokens": T}),
        ("vocabulary", {"loss_block": 5}, {"microbatch_tokens": 2 * T}),
        ("residual", {"rematerialize": True}, {}),
    ],
    ids=["residual", "vocabulary", "quarters", "halves in blocks", "rematerialized"],
)
def test_v_is_the_running_mean_of_the_squared_errors_of_the_batch(target, numerics, changes):
    here = program(target, numerics, **changes)
    b2 = TrainingSettings().b2
    state, expected, squares = here.init(0), None, squared_errors(here)
    for batch in TOKENS:
        expected = {
            name: (1 - b2) * np.asarray(square_E) + (b2 * expected[name] if expected else 0)
            for name, square_E in squares(state, batch).items()
        }
        state, _ = here.train(state, RATES, batch[None])
    found = optax.tree.get(state.optimizer["readout"], "nu")
    assert found.keys() == state.readout.keys()
    for name, v_E in found.items():
        np.testing.assert_allclose(v_E, expected[name], rtol=1e-5)


def test_the_tap_is_in_no_state_and_changes_no_output():
    here, plain = program(), program(variant="adam_star")
    assert jax.tree.structure(here.init(0)) == jax.tree.structure(plain.init(0))
    assert here.parameter_counts == plain.parameter_counts
    losses = [p.train(p.init(0), RATES, TOKENS[:1])[1]["loss"] for p in (here, plain)]
    np.testing.assert_array_equal(*losses)
