# SPDX-License-Identifier: Apache-2.0
"""The mean-field MLP: an average of H random features, read out by M.

Shapes: N inputs (B·T tokens), D input and E output dimension, d = D + 1, H width.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from numpy.typing import ArrayLike
from scipy.special import erfcx, ndtr

from infwidth.config.errors import UserError
from infwidth.config.settings import ModelSettings
from infwidth.config.variants import Features as FeatureTreatment
from infwidth.models.fast_ops import Compute, product, tapped
from infwidth.models.variables import Features, Readout

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "relu": jax.nn.relu,
    "gelu": partial(jax.nn.gelu, approximate=False),
}

BIAS_SHIFT = -0.41
"""Mean of ω_b where biases are shifted: plain features that are nearly as the normalized ones."""


def feature_bias(d_model: int, bias: float | None) -> float:
    """The constant b that is appended to every feature's input; √D/2 unless it is set."""
    return math.sqrt(d_model) / 2 if bias is None else bias


@partial(jax.jit, static_argnums=(1, 2))
def draw_features(key: jax.Array, width: int, d: int) -> jax.Array:
    """Draws ω_1 … ω_H ~ N(0, I_d), each row from a key of its own.

    The first H rows of a wider draw from the same key are the same numbers.
    """
    keys_H = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, jnp.arange(width))
    return jax.vmap(lambda row_key: jax.random.normal(row_key, (d,)))(keys_H)


def relu_second_moment(ratio: ArrayLike) -> np.ndarray:
    """E[relu(r + z)²] for z ~ N(0, 1): (r² + 1) Φ(r) + r φ(r), to 9 digits for r ≪ 0, too.

    For r of any shape, in NumPy's float64.
    """
    r = np.asarray(ratio, np.float64)
    phi = np.exp(-(r**2) / 2) / math.sqrt(2 * math.pi)
    direct = (r**2 + 1) * ndtr(r) + r * phi
    t = np.maximum(-r, 1.0)
    mills = math.sqrt(math.pi / 2) * erfcx(t / math.sqrt(2))
    return np.where(r > -1, direct, phi * ((t**2 + 1) * mills - t))


def feature_scale(omega_b: ArrayLike, d_model: int, bias: float) -> np.ndarray:
    """The scale s = (u/E u)^¼ that each normalized feature is divided by, of ω_b of any shape.

    With u(ω) = E_x[g_ω(x)²] under x ~ N(0, I_D), where |ω_x|² is replaced by its mean D: then
    z = ω·x̃/√d ~ N(μ, σ²), μ = b ω_b/√d, σ = √(D/d), and

        u = E[relu(z)²] = (μ² + σ²) Φ(μ/σ) + μσ φ(μ/σ),

    over ω_b ~ N(0, 1) with mean E u = (σ² + b²/d)/2. See docs/theory.md, normalized features. In
    NumPy's float64; s⁴ has mean 1.
    """
    per_omega_b = bias / math.sqrt(d_model)
    # relu(z)² + relu(−z)² = z², and ω_b is as often −ω_b: E u is half of E[z²].
    mean = (1 + per_omega_b**2) / 2
    moments = relu_second_moment(per_omega_b * np.asarray(omega_b, np.float64))
    return (moments / mean) ** 0.25


class FeatureMLP(nnx.Module):
    """f(x) = (1/H) Σ_h M_h relu(ω_h·x̃/√d), x̃ = (x, b), d = D + 1, or with gelu for relu.

    See equation (1) of docs/theory.md. The readout M starts at 0, so that f is 0 at every width,
    as in the limit; or at N(0, 1), where f's size at the start falls as H^−½; or at √H N(0, 1),
    where it does not depend on H, as in the NTK parametrization.
    """

    def __init__(
        self,
        d_model: int,
        width: int,
        *,
        bias: float | None = None,
        outputs: int | None = None,
        readout_init: Literal["zeros", "normal", "ntk"] = "zeros",
        normalized: bool = False,
        bias_shift: float = 0.0,
        activation: Literal["relu", "gelu"] = "relu",
        has_tap: bool = False,
        compute: Compute = "float32",
        rngs: nnx.Rngs,
    ):
        """Draws the features from the stream `features`, M (unless it is 0) from `readout`.

        Args:
          bias: b; None means √D/2.
          outputs: E; None means D.
          readout_init: M at the start: 0, N(0, 1) or √H N(0, 1).
          normalized: divide feature h by s(ω_h) (docs/theory.md, normalized features). A ReLU
            is positively homogeneous, so this scales ω_h once and costs nothing afterwards.
          bias_shift: mean of the bias coordinate ω_b, whose variance is 1.
          has_tap: whether there is a leaf `tap_E` whose gradient is Σ_i δ_ie² (`tapped`).
          compute: type of the factors of the two products.
        """
        self.bias = feature_bias(d_model, bias)
        self.activation = activation
        self.has_tap = has_tap
        self.compute: Compute = compute
        omega_Hxd = draw_features(rngs.features(), width, d_model + 1)
        if bias_shift:
            omega_Hxd = omega_Hxd.at[:, -1].add(bias_shift)
        if normalized:
            s_H = feature_scale(omega_Hxd[:, -1], d_model, self.bias)
            omega_Hxd = omega_Hxd / jnp.asarray(s_H, jnp.float32)[:, None]
        key = rngs.readout()
        self.omega_Hxd = Features(omega_Hxd)
        shape = (width, d_model if outputs is None else outputs)
        size = {"zeros": 0.0, "normal": 1.0, "ntk": math.sqrt(width)}[readout_init]
        self.m_HxE = Readout(size * jax.random.normal(key, shape) if size else jnp.zeros(shape))
        if has_tap:
            self.tap_E = Readout(jnp.zeros(shape[1]))

    def __call__(self, x_DxN: jax.Array) -> jax.Array:
        """Applies the layer to each column of x_DxN."""
        H = self.omega_Hxd.shape[0]
        f_ExN = product(self.m_HxE[...].T * (1 / H), self.features(x_DxN), self.compute)
        return tapped(f_ExN, self.tap_E[...]) if self.has_tap else f_ExN

    def features(self, x_DxN: jax.Array) -> jax.Array:
        """The features g_HxN of each column of x_DxN."""
        omega_Hxd = self.omega_Hxd[...]
        scaled_Hxd = omega_Hxd * (1 / math.sqrt(omega_Hxd.shape[1]))
        bias_H = scaled_Hxd[:, -1] * self.bias
        z_HxN = product(scaled_Hxd[:, :-1], x_DxN, self.compute) + bias_H[:, None]
        return ACTIVATIONS[self.activation](z_HxN)


def mlp_maker(
    settings: ModelSettings,
    features: FeatureTreatment,
    width: int,
    outputs: int | None = None,
    has_tap: bool = False,
) -> Callable[[nnx.Rngs], FeatureMLP] | None:
    """How a transformer makes its MLPs of finite width, from the random streams.

    Features `none` leave the MLPs out: None. The other arguments are those of `FeatureMLP`.

    Raises:
      ValueError: no such treatment.
      UserError: the treatment is of ReLU features, and these are others.
    """
    if features not in get_args(FeatureTreatment):
        raise ValueError(f"features must be one of {get_args(FeatureTreatment)}: {features}")
    if features == "none":
        return None
    if features in ("normalized", "shifted") and settings.activation != "relu":
        raise UserError(
            f"{features} features are of ReLU: set model.activation to relu, or take the variants "
            f"with {features} features out"
        )
    return lambda rngs: FeatureMLP(
        settings.d_model,
        width,
        bias=settings.feature_bias,
        outputs=outputs,
        readout_init=settings.readout_init,
        normalized=features == "normalized",
        bias_shift=BIAS_SHIFT if features == "shifted" else 0.0,
        activation=settings.activation,
        has_tap=has_tap,
        compute=settings.numerics.compute_dtype,
        rngs=rngs,
    )
