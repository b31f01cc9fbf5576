# SPDX-License-Identifier: Apache-2.0
"""A decoder-only transformer with mean-field MLPs: pre-LN, no biases but the features'.

The head is tied to the token embedding, as in NanoDO. An activation has one column a token, the
sequences one after the other: CPUs are quickest at products of this form.

Shapes: B sequences, T tokens each, N = B·T tokens, V vocabulary, D residual stream.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import jax
import jax.numpy as jnp
from flax import nnx

from infwidth.config.settings import ModelSettings
from infwidth.models.attention import attend, chosen_implementation
from infwidth.models.fast_ops import Compute, look_up, product
from infwidth.models.features import FeatureMLP
from infwidth.models.loss import Head, block_size, blocked_losses, blocked_mean_loss, cross_entropy
from infwidth.models.variables import Groups, Trunk, merge, split

Observe = Callable[[str, jax.Array], None]
"""Called with the name and the value of an activation, one column a token."""

MLP = Callable[[jax.Array], jax.Array]
"""A module that maps the columns of x_DxN, one a token, each by itself."""

STREAMS = ("trunk", "features", "readout", "data")
"""The names of a seed's random streams. New names go last, so that the others stay as they are."""


def random_streams(seed: int) -> dict[str, jax.Array]:
    """One key for each of `STREAMS`, from the key of a seed."""
    keys = (jax.random.fold_in(jax.random.key(seed), index) for index in range(len(STREAMS)))
    return dict(zip(STREAMS, keys, strict=True))


def _ignore(name: str, x_DxN: jax.Array) -> None:
    del name, x_DxN


def _normal(rngs: nnx.Rngs, shape: tuple[int, ...], fan_in: int) -> Trunk:
    return Trunk(_draw_normal(rngs.trunk(), shape, 1 / math.sqrt(fan_in)))


@partial(jax.jit, static_argnums=(1, 2))
def _draw_normal(key: jax.Array, shape: tuple[int, ...], deviation: float) -> jax.Array:
    return jax.random.normal(key, shape) * deviation


class LayerNorm(nnx.Module):
    """Layer normalization with a scale and no bias."""

    def __init__(self, d_model: int, epsilon: float = 1e-6):
        self.scale_D = Trunk(jnp.ones(d_model))
        self.epsilon = epsilon

    def __call__(self, x_DxN: jax.Array) -> jax.Array:
        """Normalizes each column of x_DxN."""
        centred_DxN = x_DxN - jnp.mean(x_DxN, axis=0, keepdims=True)
        variance_1xN = jnp.mean(jnp.square(centred_DxN), axis=0, keepdims=True)
        return centred_DxN * jax.lax.rsqrt(variance_1xN + self.epsilon) * self.scale_D[...][:, None]


class CausalAttention(nnx.Module):
    """Multi-head self-attention in which a token sees itself and those before it."""

    def __init__(self, settings: ModelSettings, *, rngs: nnx.Rngs):
        d_model = settings.d_model
        self.heads = settings.heads
        self.compute: Compute = settings.numerics.compute_dtype
        self.implementation = chosen_implementation(settings.numerics, d_model // settings.heads)
        self.query_DxD = _normal(rngs, (d_model, d_model), fan_in=d_model)
        self.key_DxD = _normal(rngs, (d_model, d_model), fan_in=d_model)
        self.value_DxD = _normal(rngs, (d_model, d_model), fan_in=d_model)
        self.out_DxD = _normal(rngs, (d_model, d_model), fan_in=d_model)

    def __call__(self, x_DxN: jax.Array, T: int) -> jax.Array:
        """Applies attention to sequences of T tokens that lie one after the other in x_DxN."""
        scale = (x_DxN.shape[0] // self.heads) ** -0.5
        q_DxN = product(self.query_DxD[...] * scale, x_DxN, self.compute)
        k_DxN = product(self.key_DxD[...], x_DxN, self.compute)
        v_DxN = product(self.value_DxD[...], x_DxN, self.compute)
        mixed_DxN = attend(
            q_DxN, k_DxN, v_DxN, self.heads, T, self.implementation, jnp.dtype(self.compute)
        )
        return product(self.out_DxD[...], mixed_DxN, self.compute)


class Block(nnx.Module):
    """One layer: attention and MLP, each after a norm and around a residual connection."""

    def __init__(
        self,
        settings: ModelSettings,
        make_mlp: Callable[[nnx.Rngs], MLP] | None,
        *,
        rngs: nnx.Rngs,
    ):
        self.attention_norm = LayerNorm(settings.d_model)
        self.attention = CausalAttention(settings, rngs=rngs)
        self.has_mlp = make_mlp is not None
        if make_mlp is not None:
            self.mlp_norm = LayerNorm(settings.d_model)
            self.mlp = make_mlp(rngs)

    def __call__(self, x_DxN: jax.Array, T: int, name: str, observe: Observe) -> jax.Array:
        """Applies the block, showing `observe` the three activations of the layer."""
        attention_DxN = self.attention(self.attention_norm(x_DxN), T)
        observe(f"{name}/attention", attention_DxN)
        x_DxN = x_DxN + attention_DxN
        if self.has_mlp:
            mlp_DxN = self.mlp(self.mlp_norm(x_DxN))
            observe(f"{name}/mlp", mlp_DxN)
            x_DxN = x_DxN + mlp_DxN
        observe(f"{name}/residual", x_DxN)
        return x_DxN


class Transformer(nnx.Module):
    """The language model: tokens in, logits out."""

    def __init__(
        self,
        settings: ModelSettings,
        make_mlp: Callable[[nnx.Rngs], MLP] | None,
        vocabulary_size: int,
        *,
        rngs: nnx.Rngs,
    ):
        """Draws the parameters from the streams that `STREAMS` names.

        The trunk's are the same whatever the MLPs are, since these draw from other streams.
        `make_mlp` makes the MLP of a block, of a finite width (`mlp_maker` of
        `infwidth.models.features`) or of an infinite one; None leaves the MLPs out. Where
        `readout_target` is the vocabulary it makes the one that adds to the logits.
        """
        D, numerics = settings.d_model, settings.numerics
        self.compute: Compute = numerics.compute_dtype
        self.rematerialize, self.loss_block = numerics.rematerialize, numerics.loss_block
        self.embedding_VxD = _normal(rngs, (vocabulary_size, D), fan_in=D)
        self.position_DxT = _normal(rngs, (D, settings.context), fan_in=D)
        to_logits = settings.readout_target == "vocabulary"
        make_block_mlp = None if to_logits else make_mlp
        self.blocks = nnx.List(
            Block(settings, make_block_mlp, rngs=rngs) for _ in range(settings.layers)
        )
        self.norm = LayerNorm(D)
        self.has_mlp = to_logits and make_mlp is not None
        if to_logits and make_mlp is not None:
            self.mlp = make_mlp(rngs)

    def __call__(self, tokens_BxT: jax.Array, observe: Observe = _ignore) -> jax.Array:
        """Predicts each next token: logits_VxN, one column a token, T at most the context.

        `observe` is shown every activation, by name: `embedding`, then for layer i
        `blocks/i/attention`, `blocks/i/mlp` (what each adds to the residual stream) and
        `blocks/i/residual`; at last `mlp`, what an MLP adds to the logits.
        """
        x_DxN = self._stream(tokens_BxT, observe)
        logits_VxN = product(self.embedding_VxD[...], x_DxN, self.compute)
        if self.has_mlp:
            mlp_VxN = self.mlp(x_DxN)
            observe("mlp", mlp_VxN)
            logits_VxN = logits_VxN + mlp_VxN
        return logits_VxN

    def losses(self, tokens_BxT1: jax.Array) -> jax.Array:
        """losses_N, −log p of each token given those before it; not to be differentiated.

        Tokens 1 to T are the targets of tokens 0 to T − 1.
        """
        inputs_BxT, targets_N = tokens_BxT1[:, :-1], tokens_BxT1[:, 1:].reshape(-1)
        block = block_size(self.loss_block, targets_N.size, self.embedding_VxD.shape[0])
        if block is None:
            return cross_entropy(self(inputs_BxT), targets_N)
        head, parameters = self._head()
        return blocked_losses(head, block, parameters, self._stream(inputs_BxT), targets_N)

    def mean_loss(self, tokens_BxT1: jax.Array) -> jax.Array:
        """The mean of `losses`, to be differentiated."""
        inputs_BxT, targets_N = tokens_BxT1[:, :-1], tokens_BxT1[:, 1:].reshape(-1)
        block = block_size(self.loss_block, targets_N.size, self.embedding_VxD.shape[0])
        if block is None:
            return jnp.mean(cross_entropy(self(inputs_BxT), targets_N))
        head, parameters = self._head()
        return blocked_mean_loss(head, block, parameters, self._stream(inputs_BxT), targets_N)

    def _stream(self, tokens_BxT: jax.Array, observe: Observe = _ignore) -> jax.Array:
        """The residual stream after the blocks and the last norm."""
        B, T = tokens_BxT.shape
        embedding_VxD, position_DxT = self.embedding_VxD[...], self.position_DxT[...]
        token_DxN = look_up(embedding_VxD, tokens_BxT)
        x_DxN = token_DxN + jnp.tile(position_DxT[:, :T], (1, B))
        observe("embedding", x_DxN)
        for index, block in enumerate(self.blocks):
            if self.rematerialize and observe is _ignore:
                x_DxN = _rematerialized(block, x_DxN, T)
            else:
                x_DxN = block(x_DxN, T, f"blocks/{index}", observe)
        return self.norm(x_DxN)

    def _head(self) -> tuple[Head, Any]:
        """From the stream to the logits, as a function of parameters, and these."""
        compute, embedding_VxD = self.compute, self.embedding_VxD[...]
        if not self.has_mlp:
            return lambda embedding_VxD, x_DxK: product(
                embedding_VxD, x_DxK, compute
            ), embedding_VxD
        structure, groups = split(cast(FeatureMLP, self.mlp))

        def head(parameters: tuple[jax.Array, Groups], x_DxK: jax.Array) -> jax.Array:
            embedding_VxD, groups = parameters
            return product(embedding_VxD, x_DxK, compute) + merge(structure, groups)(x_DxK)

        return head, (embedding_VxD, groups)


def _rematerialized(block: Block, x_DxN: jax.Array, T: int) -> jax.Array:
    structure, groups = split(block)

    def apply(groups: Groups, x_DxN: jax.Array) -> jax.Array:
        return merge(structure, groups)(x_DxN, T, "", _ignore)

    return jax.checkpoint(apply)(groups, x_DxN)
