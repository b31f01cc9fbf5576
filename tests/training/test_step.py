# SPDX-License-Identifier: Apache-2.0
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from infwidth.config.settings import ModelSettings, TrainingSettings
from infwidth.config.variants import VARIANTS
from infwidth.models.features import mlp_maker
from infwidth.models.flops import training_flops
from infwidth.models.loss import cross_entropy
from infwidth.models.transformer import Transformer, random_streams
from infwidth.models.variables import Groups, merge, split
from infwidth.training.rules import Hyperparameters, schedule
from infwidth.training.step import compile_program

MODEL = ModelSettings(d_model=8, layers=1, heads=2, context=6)
TRAINING = TrainingSettings(
    steps=40, warmup_steps=2, batch_size=4, log_every=10, checkpoint_every=20
)
V, H = 16, 12


def _rates(trunk=3e-3, readout=3e-2, kappa=1.0):
    return Hyperparameters(*(jnp.asarray(x, jnp.float32) for x in (trunk, readout, kappa)))


@cache
def _program(variant="unfrozen", width=H):
    """Tests share what is compiled, so they keep to few shapes."""
    return compile_program(MODEL, TRAINING, VARIANTS[variant], width, V)


def _tokens(steps=3, batch=4, seed=0):
    shape = (steps, batch, MODEL.context + 1)
    return np.random.default_rng(seed).integers(V, size=shape, dtype=np.int32)


def _groups(variant):
    trained = {"trunk": True, "features": variant.features == "adam"}
    trained["readout"] = variant.readout != "none"
    return {group for group, yes in trained.items() if yes}


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_learns_a_repeating_text_and_trains_only_its_groups(name):
    program = _program(name)
    text = np.tile(np.arange(MODEL.context + 1, dtype=np.int32) % 3, (40, 4, 1))
    before = program.init(0)
    after, metrics = program.train(program.init(0), _rates(trunk=1e-2), text)
    assert metrics["loss"].shape == (40,)
    assert metrics["loss"][-1] < 0.5 * metrics["loss"][0]
    assert set(program.groups) == _groups(VARIANTS[name])
    for group in Groups._fields:
        moved = [
            bool((new != old).any())
            for new, old in zip(
                getattr(after, group).values(), getattr(before, group).values(), strict=True
            )
        ]
        assert all(moved) if group in program.groups else not any(moved)
        assert (f"update_rms/{group}" in metrics) == (group in program.groups)


def test_a_call_of_many_steps_equals_many_calls_of_one():
    program, tokens = _program(), _tokens()
    together, losses = program.train(program.init(0), _rates(), tokens)
    state, single = program.init(0), []
    for batch in tokens:
        state, metrics = program.train(state, _rates(), batch[None])
        single.append(metrics["loss"][0])
    np.testing.assert_array_equal(losses["loss"], np.array(single))
    jax.tree.map(np.testing.assert_array_equal, together, state)


def test_update_rms_is_the_size_of_what_was_added():
    program = _program()
    # The schedule is 0 at step 0.
    state, _ = program.train(program.init(0), _rates(), _tokens()[:1])
    before = jax.tree.map(np.array, state)
    after, metrics = program.train(state, _rates(), _tokens()[1:2])
    for group in program.groups:
        changes = jax.tree.map(lambda a, b: a - b, getattr(after, group), getattr(before, group))
        flat = np.concatenate([np.ravel(x) for x in changes.values()]).astype(np.float64)
        size = np.sqrt(np.mean(flat**2))
        # Differences of float32 parameters of size 1 know an update of 1e-3 to 1e-4 of itself.
        np.testing.assert_allclose(metrics[f"update_rms/{group}"][0], size, rtol=1e-3)


def test_sweeping_rates_and_seeds_compiles_nothing_anew(caplog):
    program, tokens = _program(), _tokens()
    state, _ = program.train(program.init(0), _rates(), tokens)
    program.probe(state, tokens[0])
    with jax.log_compiles(True), caplog.at_level("WARNING"):
        for seed, rates in ((1, _rates(1e-3)), (2, _rates(readout=7.0)), (3, _rates(kappa=8.0))):
            state, _ = program.train(program.init(seed), rates, tokens)
            program.probe(state, tokens[0])
    assert not [r.message for r in caplog.records if "Compiling" in r.message]


def test_the_state_is_donated_and_tokens_and_rates_are_not():
    program, tokens, rates = _program("frozen"), jnp.asarray(_tokens()), _rates()
    state = program.init(0)
    program.train(state, rates, tokens)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state))
    assert not any(leaf.is_deleted() for leaf in (tokens, *rates))


def test_microbatches_change_nothing_but_rounding():
    tokens = _tokens()
    whole, _ = (uncut := _program("frozen")).train(uncut.init(0), _rates(), tokens)
    training = TRAINING.model_copy(update={"microbatch_tokens": 2 * MODEL.context})
    program = compile_program(MODEL, training, VARIANTS["frozen"], H, V)
    lowered = jax.jit(program.train).lower(program.init(0), _rates(), tokens).as_text()
    assert f"tensor<2x2x{MODEL.context + 1}xi32>" in lowered
    cut, _ = program.train(program.init(0), _rates(), tokens)
    # Adam divides by a gradient's size: where a gradient is mere rounding, so is its direction.
    for group in ("trunk", "readout"):
        for name, leaf in getattr(whole, group).items():
            np.testing.assert_allclose(getattr(cut, group)[name], leaf, atol=2e-5)


def test_evaluation_sums_the_masked_losses():
    program, tokens = _program(), _tokens(seed=1)[0]
    state, _ = program.train(program.init(0), _rates(), _tokens())
    mask = np.random.default_rng(1).integers(2, size=(4, MODEL.context)).astype(bool)
    mask[0], mask[1] = True, False
    rngs = nnx.Rngs(**random_streams(0))
    structure, _ = split(Transformer(MODEL, mlp_maker(MODEL, "adam", H), V, rngs=rngs))
    groups = Groups(state.trunk, state.features, state.readout)
    logits_VxN = jax.jit(lambda groups: merge(structure, groups)(tokens[:, :-1]))(groups)
    logits = np.asarray(logits_VxN, np.float64).T.reshape(4, MODEL.context, V)
    log_sums = np.log(np.exp(logits).sum(-1))
    chosen = np.take_along_axis(logits, tokens[:, 1:, None], axis=-1)[..., 0]
    expected = np.where(mask, log_sums - chosen, 0).sum(axis=1)
    sums = program.evaluate(state, tokens, mask)
    np.testing.assert_allclose(sums, expected, rtol=1e-5)
    assert sums[1] == 0


def test_loss_is_the_mean_over_all_targets():
    program, tokens = _program(), _tokens(steps=1)
    sums = program.evaluate(program.init(0), tokens[0], np.ones((4, MODEL.context), bool))
    _, metrics = program.train(program.init(0), _rates(), tokens)
    np.testing.assert_allclose(metrics["loss"][0], sums.sum() / sums.size / 6, rtol=1e-6)


def test_gradients_equal_finite_differences():
    rngs = nnx.Rngs(**random_streams(0))
    model = MODEL.model_copy(update={"readout_init": "normal"})
    structure, groups = split(Transformer(model, mlp_maker(model, "adam", H), V, rngs=rngs))
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
        state, _ = program.train(state, _rates(trunk=0.0, readout=rate), tokens[None])
    for name, m_HxE in state.readout.items():
        np.testing.assert_allclose(-m_HxE, gradients[name], rtol=1e-5, atol=1e-8)


def test_activations_at_the_start_do_not_depend_on_the_width():
    tokens = _tokens()[0]
    narrow, wide = (
        (program := _program("frozen", width)).probe(program.init(0), tokens)
        for width in (256, 4096)
    )
    assert narrow.keys() == wide.keys()
    for name, size in narrow.items():
        np.testing.assert_allclose(size, wide[name], rtol=1e-6)
        assert (size == 0) == name.endswith("/mlp")


@pytest.mark.parametrize("name", ["frozen", "adam_star", "ntk"])
def test_activations_after_some_steps_agree_over_widths(name):
    tokens = _tokens(steps=8)
    narrow, wide = (
        (program := _program(name, width)).probe(
            program.train(program.init(0), _rates(readout=0.3), tokens)[0], tokens[-1]
        )
        for width in (256, 4096)
    )
    assert wide["blocks/0/mlp"] > 0
    for activation, size in narrow.items():
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
    tokens, still = _tokens(), _rates(trunk=0.0, readout=0.0)
    state, _ = plain.train(plain.init(0), still, tokens)
    shrunk, _ = decaying.train(decaying.init(0), still, tokens)
    curve = schedule(TRAINING)
    factor = np.prod([1 - 0.1 * float(curve(step)) for step in range(len(tokens))])
    assert factor < 0.9
    for name, m_HxE in state.readout.items():
        np.testing.assert_allclose(shrunk.readout[name], factor * m_HxE, rtol=1e-6)
    jax.tree.map(np.testing.assert_array_equal, shrunk.trunk, state.trunk)
