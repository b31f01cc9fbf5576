# SPDX-License-Identifier: Apache-2.0
"""The transformer of infinite width: its step is exact, the limit of finite ones, and in place.

Its runs are cached, keyed by their code, and resumed to the bit while buffers grow.
"""

from dataclasses import replace
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from infwidth.config.errors import UserError
from infwidth.config.settings import ModelSettings
from infwidth.config.variants import VARIANTS
from infwidth.infinite import support as support_module
from infwidth.kernels import relu_kernel
from infwidth.models.loss import cross_entropy
from infwidth.models.transformer import Transformer, random_streams
from infwidth.models.variables import merge, split
from infwidth.training import infinite_step
from infwidth.training.infinite_step import InfiniteProgram
from infwidth.training.records import read_rows
from infwidth.training.rules import schedule, sgd_unit
from infwidth.training.spec import run_code_digest
from infwidth.training.step import Program, compile_program
from tests.training.conftest import (
    PLACE,
    Stop,
    compiled_in,
    forty_steps,
    numbers,
    random_tokens,
    rates,
    stop_at,
)

MODEL = ModelSettings(d_model=8, layers=2, heads=2, context=6)
TRAINING = forty_steps()
V, D, N, BIAS = 16, 8, 24, 8**0.5 / 2
_rates = partial(rates, 1e-2, 1.0)


def _program(variant="adam_star", training=TRAINING):
    return InfiniteProgram(MODEL, training, VARIANTS[variant], V)


@cache
def _compiled(variant):
    """A program that tests share, since most of their time is compilation."""
    return _program(variant)


def _tokens(steps=40):
    return random_tokens(3, steps, TRAINING.batch_size, MODEL.context + 1)


class _DenseMLP:
    """f(x) = shift + Σ_i c_i Θ(x, x_i), all inputs and coefficients at hand; keeps its input."""

    def __init__(self, seen_DxT, c_ExT, shift_ExN):
        self.seen_DxT, self.c_ExT, self.shift_ExN = seen_DxT, c_ExT, shift_ExN

    def __call__(self, x_DxN):
        self.x_DxN = x_DxN
        theta_TxN = relu_kernel(self.seen_DxT.T, x_DxN.T, bias=BIAS)
        return self.shift_ExN + self.c_ExT @ theta_TxN


def _train_densely(rule, tokens_SxBxT1, peaks, clip_norm):
    """Losses and last trunk of training with coefficients and momentum for every input.

    Also how many of the layers' gradients were above the clipping norm.
    """
    structure, start = split(
        Transformer(MODEL, lambda rngs: nnx.Module(), V, rngs=nnx.Rngs(**random_streams(1)))
    )
    trunk, clipped, losses = start.trunk, 0, []
    adam = optax.chain(
        optax.clip_by_global_norm(clip_norm),
        optax.scale_by_adam(TRAINING.b1, TRAINING.b2, TRAINING.eps),
    )
    moments = adam.init(trunk)
    shape = (MODEL.layers, D, len(tokens_SxBxT1) * N)
    seen, c, a = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    v = np.zeros((MODEL.layers, D))

    def loss_and_inputs(trunk, shifts, seen, c, tokens):
        model = merge(structure, start._replace(trunk=trunk))
        layers = [_DenseMLP(*each) for each in zip(seen, c, shifts, strict=True)]
        for block, layer in zip(model.blocks, layers, strict=True):
            block.mlp = layer
        losses_N = cross_entropy(model(tokens[:, :-1]), tokens[:, 1:].reshape(-1))
        return jnp.mean(losses_N), [layer.x_DxN for layer in layers]

    gradients = jax.jit(jax.value_and_grad(loss_and_inputs, argnums=(0, 1), has_aux=True))
    kernel = jax.jit(lambda x_DxN: relu_kernel(x_DxN.T, x_DxN.T, bias=BIAS))

    @jax.jit
    def moved(trunk, gradient, moments, rate):
        with jax.numpy_dtype_promotion("standard"):
            direction, moments = adam.update(gradient, moments)
        return jax.tree.map(lambda p, u: p - rate * u, trunk, direction), moments

    for step, tokens in enumerate(tokens_SxBxT1, start=1):
        shifts = jnp.zeros((MODEL.layers, D, N))
        (loss, inputs), (gradient, deltas) = gradients(trunk, shifts, seen, c, tokens)
        losses.append(float(loss))
        scale = float(schedule(TRAINING)(step - 1))
        trunk, moments = moved(trunk, gradient, moments, jnp.asarray(scale * peaks[0]))
        slots = slice((step - 1) * N, step * N)
        for layer, (x_DxN, delta_ExN) in enumerate(zip(inputs, np.asarray(deltas), strict=True)):
            theta_NxN = np.asarray(kernel(x_DxN))
            square_E = np.einsum("en,nm,em->e", delta_ExN, theta_NxN, delta_ExN)
            norm = np.sqrt(square_E.sum())
            clipped += int(norm > clip_norm)
            shrink = min(1, clip_norm / norm)
            seen[layer, :, slots] = x_DxN
            if rule == "ntk":
                c[layer, :, slots] = -scale * peaks[1] * shrink * delta_ExN
                continue
            b1, b2 = TRAINING.b1, TRAINING.b2
            a[layer] *= b1
            a[layer, :, slots] = (1 - b1) * shrink * delta_ExN
            v[layer] = b2 * v[layer] + (1 - b2) * shrink**2 * square_E
            root_E = np.sqrt(v[layer] / (1 - b2**step)) + TRAINING.eps
            c[layer] -= scale * peaks[1] * a[layer] / (1 - b1**step) / root_E[:, None]
    return losses, trunk, clipped


@pytest.mark.parametrize(
    ("rule", "rate", "clip_norm", "steps_with_room"),
    [("ntk", 20.0, 1e9, 8), ("adam_star", 1.0, 0.2, 4)],
)
def test_a_run_is_that_of_dense_kernels_and_a_momentum_for_every_input(
    rule, rate, clip_norm, steps_with_room, monkeypatch
):
    monkeypatch.setattr(support_module, "BLOCK_ON_CPU", 7)
    # The buffers of the second double on the way.
    monkeypatch.setattr(support_module, "FIRST_INPUTS", steps_with_room * N)
    training, tokens = TRAINING.model_copy(update={"clip_norm": clip_norm}), _tokens(steps=8)
    with jax.enable_x64(True):
        losses, trunk, clipped = _train_densely(rule, tokens, (1e-2, rate), clip_norm)
        program = _program(rule, training)
        state, first = program.train(program.init(1), rates(1e-2, rate), tokens[:4])
        state, second = program.train(state, rates(1e-2, rate), tokens[4:])
    np.testing.assert_allclose([*first["loss"], *second["loss"]], losses, rtol=1e-10)
    assert losses[0] > 1.2 * losses[-1]
    assert clipped == 0 if rule == "ntk" else 0 < clipped < len(tokens) * MODEL.layers
    for name, leaf in trunk.items():
        # Adam divides rounding of 1e-16 by gradients that may be 1e-8.
        np.testing.assert_allclose(state.trunk[name], leaf, rtol=0, atol=1e-8)


def test_finite_models_come_closer_with_width():
    tokens, program = _tokens(), _compiled("adam_star")
    _, metrics = program.train(program.init(0), _rates(), tokens)

    def gap(width):
        finite = compile_program(MODEL, TRAINING, VARIANTS["adam_star"], width, V)
        _, others = finite.train(finite.init(0), _rates(), tokens)
        return float(jnp.mean(jnp.abs(others["loss"] - metrics["loss"])))

    narrow, wide = gap(32), gap(16_384)
    # 512 times the features: 23 times closer, had the losses the rate that their kernels have.
    assert narrow > 5 * wide
    assert wide < 1e-3


def test_the_unit_of_sgd_is_that_of_very_wide_models():
    program, batch = _compiled("ntk"), _tokens()[0]
    unit = sgd_unit(program.functional_gradients(program.init(0), batch))
    finite = compile_program(MODEL, TRAINING, VARIANTS["ntk"], 65_536, V)
    finite_unit = sgd_unit(finite.functional_gradients(finite.init(0), batch))
    # A mean of G² over 65,536 features has a standard error of about √(5 / 65,536) = 0.9%.
    assert float(unit) == pytest.approx(float(finite_unit), rel=0.03)


def test_sweeping_rates_and_seeds_compiles_nothing_anew(caplog):
    program, tokens = _compiled("adam_star"), _tokens()
    program.train(program.init(0), _rates(), tokens)
    sweep = partial(program.train, program.init(1), rates(2e-3, 3.0), tokens)
    assert not compiled_in(sweep, caplog)


def test_a_step_takes_no_memory_for_all_that_was_seen_but_the_support_itself():
    program, tokens = _program(), _tokens(steps=2)
    steps = support_module.steps_with_room(16_000, N)
    state = jax.eval_shape(lambda seed: program.resized(program.init(seed), steps), 0)
    train = jax.jit(partial(Program.train, program), donate_argnums=0)
    compiled = train.lower(state, _rates(), tokens).compile()
    memory = compiled.memory_analysis()
    support = support_module.support_bytes(steps, N, D, MODEL.layers)
    # Neither a copy of it nor a matrix of the batch by all inputs: a few times the vectors q.
    vectors = 4 * steps * D * MODEL.layers
    assert memory.temp_size_in_bytes < 4 * vectors + 2**18 < support / 5
    assert memory.alias_size_in_bytes > support


def test_counts_of_parameters_and_bytes():
    program = _program()
    trunk = (V + MODEL.context) * D + D + MODEL.layers * (4 * D * D + 2 * D)
    seen = MODEL.layers * TRAINING.steps * N
    assert program.parameter_counts == {
        "trunk": trunk,
        "features": seen * (D + 1),
        "readout": seen * D + MODEL.layers * TRAINING.steps * D,
    }
    # m and v of the trunk and a count; v of each layer.
    assert program.optimizer_bytes == 4 * (2 * trunk + 1 + MODEL.layers * D)


@pytest.mark.parametrize("name", ["unfrozen", "frozen", "adam_star_normalized", "constant"])
def test_variants_without_a_kernel_here_are_refused(name):
    with pytest.raises(ValueError, match="fixed features and trains by sgd or adam_star"):
        _program(name)


def test_a_run_that_would_outgrow_memory_does_not_start(monkeypatch):
    monkeypatch.setattr(support_module, "device_memory", lambda: 1000)
    with pytest.raises(UserError, match=r"960 inputs in each of 2 layers.* lower steps \(40\)"):
        _program()


_shared = cache(InfiniteProgram)


@pytest.fixture
def bench(bench, monkeypatch):
    """Makes a bench whose runs start with room for 10 of their 20 steps of 32 tokens."""
    monkeypatch.setattr(support_module, "FIRST_INPUTS", 320)
    # Programs have no state, and most of the time is compilation.
    monkeypatch.setattr(infinite_step, "InfiniteProgram", _shared)
    return bench


def _spec(bench):
    return replace(bench.spec(PLACE), width=None)


def _folder(bench):
    return bench.folder / _spec(bench).key


def test_a_run_is_trained_once_and_one_that_is_interrupted_ends_with_the_same_bits(bench):
    """Interrupted while its buffers grow."""
    whole = bench(folder="whole")
    result = whole.runs.result(_spec(whole))
    assert result["status"] == "done"
    assert result["test_loss"] < 5.4
    assert read_rows(_folder(whole))[-1].keys() >= {
        *("step", "loss", "learning_rate/trunk", "gradient_rms/readout", "blocks/0/mlp")
    }
    seen = []
    again = bench(report=lambda _, row: seen.append(row), folder="whole")
    assert again.runs.result(_spec(again)) == result
    assert seen == []

    stopped, resumed = bench(report=stop_at(15), folder="stopped"), bench(folder="stopped")
    with pytest.raises(Stop):
        stopped.runs.result(_spec(stopped))
    resumed.runs.result(_spec(resumed))
    assert numbers(_folder(resumed)) == numbers(_folder(whole))


def test_infinite_and_finite_runs_differ_in_key_and_only_the_infinite_one_hangs_on_its_code(bench):
    here = bench()
    assert _spec(here).key != here.spec(PLACE).key
    variant = VARIANTS[PLACE.variant]
    assert _spec(here).record()["code"] == run_code_digest(variant, infinite=True)
    assert here.spec(PLACE).record()["code"] == run_code_digest(variant)
    assert run_code_digest(variant) != run_code_digest(variant, infinite=True)
