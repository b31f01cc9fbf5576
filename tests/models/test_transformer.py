# SPDX-License-Identifier: Apache-2.0
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from infwidth.config.settings import ModelSettings
from infwidth.models.features import mlp_maker
from infwidth.models.transformer import Transformer, random_streams
from infwidth.models.variables import Trunk, merge, split

SETTINGS = ModelSettings(d_model=8, layers=2, heads=2, context=6)
V = 16


def _transformer(features="fixed", width=6, seed=0, **settings):
    rngs = nnx.Rngs(**random_streams(seed))
    shape = SETTINGS.model_copy(update=settings)
    return Transformer(shape, mlp_maker(shape, features, width), V, rngs=rngs)


def test_a_prediction_depends_on_no_later_token_and_on_every_earlier_one():
    structure, groups = split(_transformer(readout_init="normal", width=50))
    embedding_VxD = groups.trunk["embedding_VxD"]
    tokens = jnp.arange(6)[None, :]

    @jax.jit
    @jax.grad
    def gradient(embedding_VxD, position):
        trunk = {**groups.trunk, "embedding_VxD": embedding_VxD}
        logits_VxN = merge(structure, groups._replace(trunk=trunk))(tokens)
        # Token V−1 is not in the text: through the head it has no part in the other tokens' rows.
        return logits_VxN[V - 1, position]

    for position in range(6):
        gradient_VxD = gradient(embedding_VxD, position)
        assert not gradient_VxD[position + 1 : 6].any()
        assert gradient_VxD[: position + 1].any(axis=1).all()


def test_sequences_of_a_batch_do_not_meet():
    model = _transformer(readout_init="normal")
    tokens = jax.random.randint(jax.random.key(0), (3, 6), 0, V)
    together = model(tokens).reshape(V, 3, 6)
    for row in range(3):
        # The products are blocked otherwise for another batch: a few units in the last place.
        np.testing.assert_allclose(model(tokens[row : row + 1]), together[:, row], atol=1e-5)


def test_shorter_contexts_see_the_same_prefix_and_without_readout_mlps_are_as_none():
    model, tokens = _transformer(), jnp.arange(6)[None, :]
    np.testing.assert_allclose(model(tokens[:, :4]), model(tokens)[:, :4], atol=1e-5)
    np.testing.assert_allclose(model(tokens), _transformer("none")(tokens), atol=1e-6)


def test_logits_have_size_one_at_the_start():
    settings = ModelSettings(d_model=64, layers=2, heads=4, context=64)
    model = Transformer(settings, None, 512, rngs=nnx.Rngs(**random_streams(0)))
    logits = model(jax.random.randint(jax.random.key(0), (4, 64), 0, 512))
    # Normalized activations on rows of an embedding N(0, 1/D); the current token's own row is
    # correlated with its activation, which raises the mean square above 1.
    assert float(jnp.sqrt(jnp.mean(jnp.square(logits)))) == pytest.approx(1, rel=0.1)


def test_activations_are_shown_by_name():
    seen = {}
    _transformer()(jnp.zeros((1, 6), jnp.int32), lambda name, x: seen.update({name: x.shape}))
    names = [f"blocks/{i}/{part}" for i in range(2) for part in ("attention", "mlp", "residual")]
    assert seen == dict.fromkeys(["embedding", *names], (8, 6))


def test_a_readout_to_the_vocabulary_adds_to_the_logits_and_leaves_the_blocks_without_mlps():
    shape = SETTINGS.model_copy(update={"readout_target": "vocabulary", "readout_init": "normal"})
    rngs = nnx.Rngs(**random_streams(0))
    model = Transformer(shape, mlp_maker(shape, "fixed", 6, V), V, rngs=rngs)
    tokens, seen = jnp.arange(6)[None, :], {}
    logits = model(tokens, lambda name, x: seen.update({name: x}))
    assert seen["mlp"].shape == (V, 6)
    assert "blocks/0/mlp" not in seen
    assert np.abs(seen["mlp"]).max() > 0.1
    without = _transformer("none")(tokens)
    np.testing.assert_allclose(logits - seen["mlp"], without, atol=1e-5)


@pytest.mark.parametrize("features", ["adam", "fixed", "normalized", "none"])
def test_every_parameter_falls_in_exactly_one_group(features):
    model = _transformer(features)
    _, groups = split(model)
    names = [name for group in groups for name in group]
    paths = ["/".join(map(str, path)) for path, _ in nnx.to_flat_state(nnx.state(model))]
    assert sorted(names) == sorted(paths)
    mlps = 0 if features == "none" else SETTINGS.layers
    assert len(groups.features) == len(groups.readout) == mlps


def test_an_unknown_treatment_of_the_features_is_refused():
    with pytest.raises(ValueError, match="whitened"):
        _transformer("whitened")


@pytest.mark.parametrize("kind", [nnx.Param, nnx.BatchStat, type("Subclass", (Trunk,), {})])
def test_a_variable_of_no_group_is_refused_by_name(kind):
    model = _transformer("none")
    model.stranger = kind(jnp.zeros(3))
    with pytest.raises(TypeError, match="stranger"):
        split(model)


def test_merge_inverts_split():
    model = _transformer("fixed")
    structure, groups = split(model)
    tokens = jnp.arange(12).reshape(2, 6)
    np.testing.assert_array_equal(merge(structure, groups)(tokens), model(tokens))


def test_trunk_is_the_same_for_every_width_and_treatment_and_differs_between_seeds():
    _, reference = split(_transformer("adam"))
    for other in (_transformer("adam", width=50), _transformer("normalized"), _transformer("none")):
        trunk = split(other)[1].trunk
        for name, leaf in trunk.items():
            np.testing.assert_array_equal(leaf, reference.trunk[name])
    _, other = split(_transformer("adam", seed=1))
    assert (other.trunk["embedding_VxD"] != reference.trunk["embedding_VxD"]).all()


def test_features_are_shared_by_prefix_over_widths_and_differ_between_layers():
    narrow, wide = (split(_transformer(width=width))[1].features for width in (6, 50))
    for name, leaf in narrow.items():
        np.testing.assert_array_equal(leaf, wide[name][:6])
    first, second = narrow.values()
    assert (first != second).all()
