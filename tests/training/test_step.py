# SPDX-License-Identifier: Apache-2.0
"""The training step of a model of finite width.

Shapes: V vocabulary, H width, B sequences of T + 1 tokens, E outputs of an MLP, N tokens.
"""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from infwidth.config.settings import ModelSettings, TrainingSettings
from infwidth.config.variants import ALL_VARIANTS, VARIANTS
from infwidth.models.features import mlp_maker
from infwidth.models.flops import training_flops
from infwidth.models.loss import cross_entropy
from infwidth.models.transformer import Transformer, random_streams
from infwidth.models.variables import Groups, merge, split
from infwidth.training.microbatches import microbatch_count
from infwidth.training.rules import schedule
from infwidth.training.step import compile_program
from tests.training.conftest import compiled_in, forty_steps, random_tokens, rates, replace_mlps

MODEL = ModelSettings(d_model=8, layers=1, heads=2, context=6)
TRAINING = forty_steps()
V, H, B, T = 16, 12, 4, 6


@cache
def _program(variant="unfrozen", width=H):
    """Tests share what is compiled, so they keep to few shapes."""
    return compile_program(MODEL, TRAINING, VARIANTS[variant], width, V)


def _tokens(steps=3, seed=0):
    return random_tokens(V, steps, B, T + 1, seed=seed)


def _transformer(**changes):
    model, rngs = MODEL.model_copy(update=changes), nnx.Rngs(**random_streams(0))
    return split(Transformer(model, mlp_maker(model, "adam", H), V, rngs=rngs))


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_learns_a_repeating_text_and_trains_only_its_groups(name):
    program = _program(name)
    text = np.tile(np.arange(T + 1, dtype=np.int32) % 3, (40, B, 1))
    before = program.init(0)
    after, metrics = program.train(program.init(0), rates(trunk=1e-2), text)
    assert metrics["loss"].shape == (40,)
    assert metrics["loss"][-1] < 0.5 * metrics["loss"][0]
    trains = {"trunk": True, "features": VARIANTS[name].features == "adam"}
    trains["readout"] = VARIANTS[name].readout != "none"
    assert set(program.groups) == {group for group, yes in trains.items() if yes}
    for group in Groups._fields:
        new, old = getattr(after, group), getattr(before, group)
        moved = [bool((new[name] != leaf).any()) for name, leaf in old.items()]
        assert all(moved) if group in program.groups else not any(moved)
        assert (f"update_rms/{group}" in metrics) == (group in program.groups)


def test_a_call_of_many_steps_equals_many_calls_of_one():
    program, tokens = _program(), _tokens()
    together, losses = program.train(program.init(0), rates(), tokens)
    state, single = program.init(0), []
    for batch in tokens:
        state, metrics = program.train(state, rates(), batch[None])
        single.append(metrics["loss"][0])
    np.testing.assert_array_equal(losses["loss"], np.array(single))
    jax.tree.map(np.testing.assert_array_equal, together, state)


def test_update_rms_is_the_size_of_what_was_added():
    program = _program()
    # The schedule is 0 at step 0.
    state, _ = program.train(program.init(0), rates(), _tokens()[:1])
    before = jax.tree.map(np.array, state)
    after, metrics = program.train(state, rates(), _tokens()[1:2])
    for group in program.groups:
        changes = jax.tree.map(lambda a, b: a - b, getattr(after, group), getattr(before, group))
        flat = np.concatenate([np.ravel(x) for x in changes.values()]).astype(np.float64)
        size = np.sqrt(np.mean(flat**2))
        # Differences of float32 parameters of size 1 know an update of 1e-3 to 1e-4 of itself.
        np.testing.assert_allclose(metrics[f"update_rms/{group}"][0], size, rtol=1e-3)


def test_sweeping_rates_and_seeds_compiles_nothing_anew(caplog):
    program, tokens = _program(), _tokens()
    state, _ = program.train(program.init(0), rates(), tokens)
    program.probe(state, tokens[0])

    def sweep():
        for seed, others in ((1, rates(1e-3)), (2, rates(readout=7.0)), (3, rates(kappa=8.0))):
            state, _ = program.train(program.init(seed), others, tokens)
            program.probe(state, tokens[0])

    assert not compiled_in(sweep, caplog)


def test_the_state_is_donated_and_tokens_and_rates_are_not():
    program, tokens, kept = _program("frozen"), jnp.asarray(_tokens()), rates()
    state = program.init(0)
    program.train(state, kept, tokens)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state))
    assert not any(leaf.is_deleted() for leaf in (tokens, *kept))


def test_microbatches_change_nothing_but_rounding():
    tokens, uncut = _tokens(), _program("frozen")
    program = compile_program(MODEL, forty_steps(microbatch_tokens=2 * T), VARIANTS["frozen"], H, V)
    lowered = jax.jit(program.train).lower(program.init(0), rates(), tokens).as_text()
    assert f"tensor<2x2x{T + 1}xi32>" in lowered
    (whole, _), (cut, _) = (p.train(p.init(0), rates(), tokens) for p in (uncut, program))
    # Adam divides by a gradient's size: where a gradient is mere rounding, so is its direction.
    close = partial(np.testing.assert_allclose, atol=2e-5)
    jax.tree.map(close, (cut.trunk, cut.readout), (whole.trunk, whole.readout))


def test_evaluation_sums_the_masked_losses():
    program, tokens = _program(), _tokens(seed=1)[0]
    state, _ = program.train(program.init(0), rates(), _tokens())
    mask = np.random.default_rng(1).integers(2, size=(4, MODEL.context)).astype(bool)
    mask[0], mask[1] = True, False
    logits_VxN = jax.jit(lambda state: program.model(state)(tokens[:, :-1]))(state)
    logits = np.asarray(logits_VxN, np.float64).T.reshape(4, MODEL.context, V)
    log_sums = np.log(np.exp(logits).sum(-1))
    chosen = np.take_along_axis(logits, tokens[:, 1:, None], axis=-1)[..., 0]
    expected = np.where(mask, log_sums - chosen, 0).sum(axis=1)
    sums = program.evaluate(state, tokens, mask)
    np.testing.assert_allclose(sums, expected, rtol=1e-5)
    assert sums[1] == 0
    # A step's loss is the mean over all targets.
    sums = program.evaluate(program.init(0), _tokens()[0], np.ones((4, MODEL.context), bool))
    _, metrics = program.train(program.init(0), rates(), _tokens())
    np.testing.assert_allclose(metrics["loss"][0], sums.sum() / sums.size / 6, rtol=1e-6)


def test_gradients_equal_finite_differences():
    structure, groups = _transformer(readout_init="normal")
    tokens = _tokens(steps=1)[0]
    with jax.enable_x64(True):
        groups = jax.tree.map(lambda x: jnp.asarray(np.asarray(x, np.float64)), groups)
        directions = jax.tree.map(
            lambda x: jnp.asarray(np.random.default_rng(x.size).normal(size=x.shape)), groups
        )

        @jax.jit
        @jax.value_and_grad
        def loss(groups):
            logits_VxN = merge(structure, groups)(tokens[:, :-1])
            return jnp.mean(cross_entropy(logits_VxN, jnp.asarray(tokens[:, 1:].reshape(-1))))

        _, gradients = loss(groups)
        for group in Groups._fields:
            for name, direction in getattr(directions, group).items():

                def along(distance, group=group, name=name, direction=direction):
                    leaves = dict(getattr(groups, group))
                    leaves[name] = leaves[name] + distance * direction
                    return float(loss(groups._replace(**{group: leaves}))[0])

                slope = (along(1e-6) - along(-1e-6)) / 2e-6
                exact = float(jnp.sum(getattr(gradients, group)[name] * direction))
                # Central differences: 1e-12 of curvature, 1e-16/1e-6 of rounding.
                assert slope == pytest.approx(exact, rel=1e-6, abs=1e-8)


def test_functional_gradients_are_the_width_times_the_gradients():
    program, tokens = _program("ntk"), _tokens(steps=1)[0]
    state = program.init(0)
    gradients = program.functional_gradients(state, tokens)
    assert gradients.keys() == state.readout.keys()
    # SGD's own step at rate 1 is minus G; the schedule passes 1 at the end of the warm-up.
    for rate in (0.0, 0.0, 1.0):
        state, _ = program.train(state, rates(trunk=0.0, readout=rate), tokens[None])
    for name, m_HxE in state.readout.items():
        np.testing.assert_allclose(-m_HxE, gradients[name], rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("name", ["frozen", "adam_star", "ntk"])
def test_activations_do_not_depend_on_the_width(name):
    tokens, sizes = _tokens(steps=8), []
    for width in (256, 4096):
        program = _program(name, width)
        start = program.probe(program.init(0), tokens[-1])
        state, _ = program.train(program.init(0), rates(readout=0.3), tokens)
        sizes.append((start, program.probe(state, tokens[-1])))
    (narrow_start, narrow), (wide_start, wide) = sizes
    assert narrow.keys() == wide.keys()
    assert wide["blocks/0/mlp"] > 0
    for activation, size in narrow.items():
        np.testing.assert_allclose(narrow_start[activation], wide_start[activation], rtol=1e-6)
        assert (wide_start[activation] == 0) == activation.endswith("/mlp")
        # A kernel of 256 features differs from its limit by about √(5/256) = 14%.
        assert float(size) == pytest.approx(float(wide[activation]), rel=0.3)


def test_counts_of_parameters_bytes_and_flops():
    program = _program("adam_star")
    D = MODEL.d_model
    assert program.parameter_counts["features"] == H * (D + 1)
    assert program.parameter_counts["readout"] == H * D
    assert program.flops_per_step == training_flops(MODEL, VARIANTS["adam_star"], H, V, 4)
    trunk = (V + MODEL.context) * D + D + 4 * D * D + 2 * D
    assert program.parameter_counts["trunk"] == trunk
    state = program.init(0)
    leaves = jax.tree.leaves(state.optimizer)
    assert program.optimizer_bytes == sum(np.asarray(leaf).nbytes for leaf in leaves)
    # Frozen features have no optimizer state: m and v of the trunk, m of M, v per output, counts.
    assert program.optimizer_bytes == 4 * (2 * trunk + H * D + D + len(program.groups))


def test_readouts_decay_with_the_schedule_and_nothing_else_does():
    plain, decaying = (
        compile_program(
            MODEL.model_copy(update={"readout_init": "normal"}),
            TRAINING.model_copy(update={"readout_decay": decay}),
            VARIANTS["ntk"],
            H,
            V,
        )
        for decay in (0.0, 0.1)
    )
    tokens, still = _tokens(), rates(trunk=0.0, readout=0.0)
    state, _ = plain.train(plain.init(0), still, tokens)
    shrunk, _ = decaying.train(decaying.init(0), still, tokens)
    curve = schedule(TRAINING)
    factor = np.prod([1 - 0.1 * float(curve(step)) for step in range(len(tokens))])
    assert factor < 0.9
    for name, m_HxE in state.readout.items():
        np.testing.assert_allclose(shrunk.readout[name], factor * m_HxE, rtol=1e-6)
    jax.tree.map(np.testing.assert_array_equal, shrunk.trunk, state.trunk)


@pytest.mark.parametrize(
    ("sequences", "context", "count"),
    [(32, 64, 4), (8, 64, 1), (1, 4096, 1), (7, 1000, 7), (6, 200, 3), (12, 128, 3)],
)
def test_least_divisor_whose_microbatches_fit(sequences, context, count):
    assert microbatch_count(sequences, context) == count


@pytest.mark.parametrize(("tokens", "count"), [(None, 4), (64, 32), (1, 32), (1024, 2), (4096, 1)])
def test_the_most_tokens_of_a_microbatch_can_be_set(tokens, count):
    assert microbatch_count(32, 64, tokens) == count


def _of_errors(target="residual", numerics=None, variant="adam_star_error", **changes):
    more = {"readout_target": target, "readout_init": "normal", "numerics": numerics or {}}
    model = ModelSettings(d_model=8, layers=2, heads=2, context=T, **more)
    training = forty_steps(warmup_steps=0, **changes)
    return compile_program(model, training, ALL_VARIANTS[variant], H, V)


def _squared_errors(program):
    """Of a state and tokens: Σ_i δ_ie² by readout, from gradients for a shift of every output."""

    def loss(shifts, state, tokens_BxT1):
        model = program.model(state)
        replace_mlps(model, lambda path, mlp: lambda x_DxN: mlp(x_DxN) + shifts[f"{path}/m_HxE"])
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
    here = _of_errors(target, numerics, **changes)
    b2 = TrainingSettings().b2
    state, expected, squares = here.init(0), None, _squared_errors(here)
    for batch in _tokens(steps=2):
        expected = {
            name: (1 - b2) * np.asarray(square_E) + (b2 * expected[name] if expected else 0)
            for name, square_E in squares(state, batch).items()
        }
        state, _ = here.train(state, rates(readout=0.3), batch[None])
    found = optax.tree.get(state.optimizer["readout"], "nu")
    assert found.keys() == state.readout.keys()
    for name, v_E in found.items():
        np.testing.assert_allclose(v_E, expected[name], rtol=1e-5)


def test_the_tap_is_in_no_state_and_changes_no_output():
    here, plain = _of_errors(), _of_errors(variant="adam_star")
    assert jax.tree.structure(here.init(0)) == jax.tree.structure(plain.init(0))
    assert here.parameter_counts == plain.parameter_counts
    ends = [p.train(p.init(0), rates(readout=0.3), _tokens(steps=1)) for p in (here, plain)]
    np.testing.assert_array_equal(*(metrics["loss"] for _, metrics in ends))
