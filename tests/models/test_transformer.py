# SPDX-License-Identifier: Apache-2.0
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from infwidth.config.settings import ModelSettings
from infwidth.models.features import mlp_maker
from infwidth.models.transformer import Transformer, random_streams
from infwidth.models.variables import merge, split

SETTINGS = ModelSettings(d_model=8, layers=2, heads=2, context=6)
V = 16


def _transformer(features="fixed", width=6, **settings):
    rngs = nnx.Rngs(**random_streams(0))
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


def test_without_readout_the_model_is_the_one_without_mlps():
    tokens = jnp.arange(6)[None, :]
    np.testing.assert_allclose(_transformer()(tokens), _transformer("none")(tokens), atol=1e-6)


def test_shorter_contexts_see_the_same_prefix():
    model, tokens = _transformer(), jnp.arange(6)[None, :]
    np.testing.assert_allclose(model(tokens[:, :4]), model(tokens)[:, :4], atol=1e-5)


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


def test_an_unknown_treatment_of_the_features_is_refused():
    with pytest.raises(ValueError, match="whitened"):
        _transformer("whitened")


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
