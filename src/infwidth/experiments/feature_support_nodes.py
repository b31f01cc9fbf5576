# SPDX-License-Identifier: Apache-2.0
"""Quadratures over inputs x ~ N(0, I), by Gauss–Legendre in panels, so that kinks do little harm.

Shapes: N nodes of D coordinates.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

FAR = 9.0
"""Inputs beyond this have a share of 2e-19."""

NEAR = 5.0
"""Inputs beyond this have a share of 6e-7, and are left out where features take samples."""

POINTS = 8
"""Nodes a panel of `sample_nodes`."""


class Nodes(NamedTuple):
    """A quadrature: nodes, one per row, and weights that sum to 1."""

    x_NxD: Array
    weight_N: Array


def line_nodes(ends: Sequence[float] = (), panels: int = 36, points: int = 16) -> Nodes:
    """A rule for N(0, 1) that is exact to rounding where the integrand is smooth within panels.

    Args:
      ends: where it may have kinks or jumps: panels end there, too.
      panels: of equal length, before they are cut at `ends`.
      points: nodes a panel.

    Returns:
      The rule, on the line.
    """
    inside = [end for end in ends if -FAR < end < FAR]
    edges = np.unique([*np.linspace(-FAR, FAR, panels + 1), *inside])
    return _composite(edges, points)


def sample_nodes(count: int, D: int, angle: float = 0.0) -> Nodes:
    """A rule for N(0, I_D) of which features may take samples.

    Args:
      count: nodes an axis, a multiple of 8.
      D: 1, or 2 for a grid.
      angle: of the grid's first axis with x_1, in degrees. Nodes share their coordinate along
        either axis, so that features that see one of them cannot tell these nodes apart.

    Returns:
      The rule, of count^D nodes.
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
