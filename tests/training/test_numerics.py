# SPDX-License-Identifier: Apache-2.0
"""Settings of how a model is computed: what they may change, and that nothing else changes."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from infwidth.config.section import NumericsSettings
from infwidth.config.settings import ModelSettings
from infwidth.config.variants import VARIANTS
from infwidth.models.features import mlp_maker
from infwidth.models.transformer import Transformer, random_streams
from infwidth.models.variables import merge, split
from infwidth.training.infinite_step import InfiniteProgram
from infwidth.training.step import Program, compile_program
from tests.training.conftest import forty_steps, rates

V, H, T = 32, 16, 8
TRAINING, RATES = forty_steps(log_every=20), rates(1e-2, 0.3)
BFLOAT16 = {"compute_dtype": "bfloat16"}


def _model(numerics, **shape):
    shape = {"d_model": 16, "layers": 1, "heads": 2, "context": T, **shape}
    return ModelSettings(numerics=NumericsSettings(**numerics), **shape)


def _program(numerics, variant, training=TRAINING, **shape):
    return compile_program(_model(numerics, **shape), training, VARIANTS[variant], H, V)


@cache
def _plain_program():
    return _program({}, "unfrozen")


def _text(steps):
    """Text with something to learn: each token follows from the one before, with some noise."""
    random = np.random.default_rng(0)
    tokens = np.zeros((steps, 4, T + 1), np.int32)
    for t in range(T):
        noise = random.integers(V, size=(steps, 4)) * (random.random((steps, 4)) < 0.2)
        tokens[..., t + 1] = (5 * tokens[..., t] + 3 + noise) % V
    return tokens


def _losses(program, steps=40):
    """In calls of 8 steps, which are compiled once."""
    state, losses = program.init(0), []
    for tokens in np.split(_text(steps), steps // 8):
        state, metrics = program.train(state, RATES, tokens)
        losses.append(metrics["loss"])
    return np.concatenate(losses), state


@pytest.mark.parametrize("variant", ["unfrozen", "adam_star"])
def test_bfloat16_losses_follow_those_of_float32(variant):
    exact, _ = _losses(_plain_program() if variant == "unfrozen" else _program({}, variant))
    rounded_program = _program(BFLOAT16, variant)
    # JAX cannot compile the gradient of its own attention where it promotes strictly.
    with jax.numpy_dtype_promotion("standard"):
        rounded, state = _losses(rounded_program)
        gradients = rounded_program.functional_gradients(state, _text(1)[0])
    assert exact[-1] < 0.75 * exact[0]
    # The stated tolerance: 0.02 nats, half a per cent of the loss at the start.
    np.testing.assert_allclose(rounded, exact, atol=0.02)
    assert np.abs(rounded - exact).max() > 1e-4
    floats = [
        x for x in jax.tree.leaves((state, gradients)) if jnp.issubdtype(x.dtype, jnp.inexact)
    ]
    assert {x.dtype for x in floats} == {jnp.dtype(jnp.float32)}


def test_what_saves_memory_changes_nothing_but_rounding():
    numerics = {"rematerialize": True, "loss_block": 5, "attention": "xla"}
    training = TRAINING.model_copy(update={"microbatch_tokens": 16})
    plain, _ = _losses(_plain_program(), steps=8)
    program = _program(numerics, "unfrozen", training)
    losses, state = _losses(program, steps=8)
    np.testing.assert_allclose(losses, plain, rtol=1e-5)
    tokens, mask = _text(1)[0], np.ones((4, T), bool)
    ours, expected = (p.evaluate(state, tokens, mask) for p in (program, _plain_program()))
    np.testing.assert_allclose(ours, expected, rtol=1e-6)


def _model_and_loss(numerics, **shape):
    settings = _model(numerics, readout_init="normal", **shape)
    rngs = nnx.Rngs(**random_streams(0))
    outputs = V if settings.readout_target == "vocabulary" else None
    structure, groups = split(
        Transformer(settings, mlp_maker(settings, "fixed", H, outputs), V, rngs=rngs)
    )
    return groups, lambda groups: merge(structure, groups).mean_loss(jnp.asarray(_text(1)[0]))


def test_a_readout_to_the_vocabulary_has_its_logits_in_blocks_too():
    results = []
    for numerics in ({}, {"loss_block": 5}):
        groups, loss = _model_and_loss(numerics, readout_target="vocabulary")
        results.append(jax.jit(jax.value_and_grad(loss))(groups))
    plain, blocked = map(jax.tree.leaves, results)
    for ours, reference in zip(blocked, plain, strict=True):
        np.testing.assert_allclose(ours, reference, rtol=1e-4, atol=1e-6)


def test_rematerialized_blocks_keep_little_more_than_their_inputs():
    def kept(numerics):
        groups, loss = _model_and_loss(numerics, layers=8)
        parameters = sum(x.size for x in jax.tree.leaves(groups))
        residuals = jax.eval_shape(lambda groups: jax.vjp(loss, groups)[1], groups)
        return sum(x.size for x in jax.tree.leaves(residuals)) - parameters

    inputs = 8 * 16 * 4 * T
    assert inputs < kept({"rematerialize": True}) < 2 * inputs < 0.2 * kept({})


def test_models_of_infinite_width_are_computed_as_by_default():
    def lowered(numerics):
        program = InfiniteProgram(_model(numerics), TRAINING, VARIANTS["adam_star"], V)
        train = jax.jit(partial(Program.train, program))
        return train.lower(program.init(0), RATES, _text(1)).as_text()

    settings = {"rematerialize": True, "loss_block": 5, **BFLOAT16}
    assert lowered(settings) == lowered({})
