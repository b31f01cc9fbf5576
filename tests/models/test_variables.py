# SPDX-License-Identifier: Apache-2.0
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from infwidth.config.settings import ModelSettings
from infwidth.models.features import mlp_maker
from infwidth.models.transformer import Transformer, random_streams
from infwidth.models.variables import Trunk, merge, split

SETTINGS = ModelSettings(d_model=8, layers=2, heads=2, context=4)


def _transformer(features, width=6, seed=0):
    rngs = nnx.Rngs(**random_streams(seed))
    return Transformer(SETTINGS, mlp_maker(SETTINGS, features, width), 16, rngs=rngs)


@pytest.mark.parametrize("features", ["adam", "fixed", "normalized", "none"])
def test_every_parameter_falls_in_exactly_one_group(features):
    model = _transformer(features)
    _, groups = split(model)
    names = [name for group in groups for name in group]
    paths = ["/".join(map(str, path)) for path, _ in nnx.to_flat_state(nnx.state(model))]
    assert sorted(names) == sorted(paths)
    mlps = 0 if features == "none" else SETTINGS.layers
    assert len(groups.features) == len(groups.readout) == mlps


@pytest.mark.parametrize("kind", [nnx.Param, nnx.BatchStat, type("Subclass", (Trunk,), {})])
def test_a_variable_of_no_group_is_refused_by_name(kind):
    model = _transformer("none")
    model.stranger = kind(jnp.zeros(3))
    with pytest.raises(TypeError, match="stranger"):
        split(model)


def test_merge_inverts_split():
    model = _transformer("fixed")
    structure, groups = split(model)
    tokens = jnp.arange(8).reshape(2, 4)
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
    narrow, wide = (split(_transformer("fixed", width))[1].features for width in (6, 50))
    for name, leaf in narrow.items():
        np.testing.assert_array_equal(leaf, wide[name][:6])
    first, second = narrow.values()
    assert (first != second).all()
