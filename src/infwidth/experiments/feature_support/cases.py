# SPDX-License-Identifier: Apache-2.0
"""Laws Ω of features that are not totally supported, functions to be learned, and quadratures.

Inputs are x ~ N(0, I_D), D = 1 (the line) or 2 (the plane), with the constant b = √D/2 appended.
Quadratures over them are Gauss–Legendre in panels, so that kinks do little harm.

Shapes: N inputs or nodes, H features, d = D + 1, K atoms.
"""

import math
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf, ndtri

from infwidth.experiments.feature_support.settings import FeatureSupportSettings
from infwidth.models.features import feature_bias

Array = NDArray[np.float64]

Kind = Literal["total", "subspace", "cone", "atoms", "quantised"]

REACH = 2.0
"""Quantised weights lie between this and minus this."""

FAR = 9.0
"""Inputs beyond this have a share of 2e-19."""

NEAR = 5.0
"""Inputs beyond this have a share of 6e-7, and are left out where features take samples."""

POINTS = 8
"""Nodes a panel of `sample_nodes`."""


class Case(NamedTuple):
    """A law of the features, and the features themselves.

    Inputs have D coordinates; `levels` are values of a quantised weight, 0 of other kinds.
    """

    kind: Kind
    D: int
    activation: Literal["relu", "erf"] = "relu"
    levels: int = 0

    @property
    def name(self) -> str:
        """Such as `cone_erf`, `quantised_3`, `total_plane`."""
        words = [self.kind, "plane" if (self.kind, self.D) == ("total", 2) else ""]
        words += [self.activation if self.activation != "relu" else "", str(self.levels or "")]
        return "_".join(word for word in words if word)

    @property
    def bias(self) -> float:
        """The constant b."""
        return feature_bias(self.D, None)

    def features(self, x_NxD: Array, omega_Hxd: Array) -> Array:
        """g_NxH, in float64."""
        z_NxH = x_NxD @ omega_Hxd[:, :-1].T + self.bias * omega_Hxd[:, -1]
        return ACTIVATIONS[self.activation](z_NxH / math.sqrt(self.D + 1))


class Target(NamedTuple):
    """A function of the inputs, y_N, or several, y_NxM; all kinks of one on the line are known."""

    function: Callable[[Array], Array]
    kinks: tuple[float, ...] = ()

    def __call__(self, x_NxD: Array) -> Array:
        """y_N, or y_NxM."""
        return self.function(x_NxD)


def relu(z: Array) -> Array:
    """max(z, 0)."""
    return np.maximum(z, 0)


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {"relu": relu, "erf": erf}


def cases(settings: FeatureSupportSettings) -> list[Case]:
    """All cases, the totally supported first."""
    return [
        Case("total", 1),
        Case("total", 2),
        Case("subspace", 2),
        Case("cone", 1),
        Case("cone", 1, "erf"),
        Case("atoms", 1),
        *(Case("quantised", 1, levels=levels) for levels in settings.quantised_levels),
    ]


def target(case: Case, settings: FeatureSupportSettings) -> Target:
    """What is to be learned: a zigzag on the line, a wave along the first input on the plane."""
    if case.D == 2:
        return wave(settings.frequency)
    return zigzag(tuple(settings.kinks))


def zigzag(kinks: tuple[float, ...]) -> Target:
    """The function of slope 1 and −1 in turn, shifted and scaled to mean 0 and variance 1."""
    turns = sorted(kinks)

    def shape(x_NxD: Array) -> Array:
        bends = [-2 * (-1) ** place * relu(x_NxD[:, 0] - t) for place, t in enumerate(turns)]
        return x_NxD[:, 0] + sum(bends)

    x_Nx1, weight_N = line_nodes(turns)
    mean = weight_N @ shape(x_Nx1)
    size = math.sqrt(weight_N @ np.square(shape(x_Nx1) - mean))
    return Target(lambda x_NxD: (shape(x_NxD) - mean) / size, tuple(turns))


def wave(frequency: float) -> Target:
    """sin(a x_1), scaled to variance 1; its mean is 0."""
    size = math.sqrt(-math.expm1(-2 * frequency**2) / 2)
    return Target(lambda x_NxD: np.sin(frequency * x_NxD[:, 0]) / size)


def draw(case: Case, settings: FeatureSupportSettings, seed: int, width: int) -> Array:
    """Draws omega_Hxd; the first rows of a wider draw are the same."""
    d = case.D + 1
    uniform_Hxd = _rng(case, seed, "features").random((width, d))
    if case.kind == "cone":
        angle_H = math.radians(settings.cone_half_angle) * (2 * uniform_Hxd[:, 0] - 1)
        radius_H = np.sqrt(-2 * np.log1p(-uniform_Hxd[:, 1]))
        return radius_H[:, None] * np.stack([np.cos(angle_H), np.sin(angle_H)], axis=1)
    if case.kind == "atoms":
        atoms_Kxd = support(case, settings, seed)
        return atoms_Kxd[(uniform_Hxd[:, 0] * len(atoms_Kxd)).astype(int)]
    # 0 would be −∞; it comes up once in 2^53.
    normal_Hxd = ndtri(np.maximum(uniform_Hxd, 2.0**-54))
    if case.kind == "subspace":
        seen_2 = seen_direction(settings)
        return np.concatenate([normal_Hxd[:, :1] * seen_2, normal_Hxd[:, 1:2]], axis=1)
    if case.kind == "quantised":
        values_L = np.linspace(-REACH, REACH, case.levels)
        return values_L[np.abs(normal_Hxd[:, :, None] - values_L).argmin(axis=2)]
    return normal_Hxd


def support(case: Case, settings: FeatureSupportSettings, seed: int) -> Array:
    """All atoms of a law that has finitely many, atoms_Kxd."""
    if case.kind == "atoms":
        return _rng(case, seed, "atoms").normal(size=(settings.atoms, case.D + 1))
    assert case.kind == "quantised", f"{case.name} has infinitely many atoms"
    values_L = np.linspace(-REACH, REACH, case.levels)
    grid = np.meshgrid(*[values_L] * (case.D + 1), indexing="ij")
    return np.stack(grid, axis=-1).reshape(-1, case.D + 1)


def seen_direction(settings: FeatureSupportSettings) -> Array:
    """The unit vector p of the plane whose multiples the subspace holds."""
    angle = math.radians(settings.subspace_angle)
    return np.array([math.cos(angle), math.sin(angle)])


def _rng(case: Case, seed: int, use: str) -> np.random.Generator:
    return np.random.default_rng([seed, *f"{case.name} {use}".encode()])


class Nodes(NamedTuple):
    """A quadrature: nodes, one per row, and weights that sum to 1."""

    x_NxD: Array
    weight_N: Array


def line_nodes(ends: Sequence[float] = (), panels: int = 36, points: int = 16) -> Nodes:
    """A rule for N(0, 1) that is exact to rounding where the integrand is smooth within panels.

    Equal panels are cut where it may have kinks or jumps, at `ends`.
    """
    inside = [end for end in ends if -FAR < end < FAR]
    edges = np.unique([*np.linspace(-FAR, FAR, panels + 1), *inside])
    return _composite(edges, points)


def sample_nodes(count: int, D: int, angle: float = 0.0) -> Nodes:
    """A rule for N(0, I_D) of which features may take samples, of count^D nodes, count in eights.

    The grid of D = 2 is turned, by an angle in degrees from x_1. Nodes share their coordinate along
    either axis, so that features that see one of them cannot tell these nodes apart.
    """
    x_Nx1, weight_N = _composite(np.linspace(-NEAR, NEAR, count // POINTS + 1), POINTS)
    weight_N = weight_N / weight_N.sum()
    if D == 1:
        return Nodes(x_Nx1, weight_N)
    first, second = (axis.ravel() for axis in np.meshgrid(x_Nx1, x_Nx1, indexing="ij"))
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    x_Nx2 = np.stack([cos * first - sin * second, sin * first + cos * second], axis=1)
    return Nodes(x_Nx2, np.outer(weight_N, weight_N).ravel())


def _composite(edges: Array, points: int) -> Nodes:
    node_Q, weight_Q = np.polynomial.legendre.leggauss(points)
    half = np.diff(edges)[:, None] / 2
    x = (edges[:-1, None] + half) + half * node_Q
    density = np.exp(-np.square(x) / 2) / math.sqrt(2 * math.pi)
    return Nodes(x.reshape(-1, 1), (half * weight_Q * density).ravel())
