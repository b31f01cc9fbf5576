# SPDX-License-Identifier: Apache-2.0
"""Population residuals: the error that no width removes, computed without any feature's sample.

A readout over features g_ω, ω in the support of Ω, comes arbitrarily close to the functions in the
closure of their span in L²(P), P the law of the inputs, and to no others. The residual is the
squared distance of the target from it. Inputs are x ~ N(0, 1), or N(0, I_2) on the plane, with a
constant b appended, and features relu(ω·x̃/√d), of which only the direction matters here.

- *Cone* on the line: ω = r (cos φ, sin φ), |φ| < α. All features look to the right and have their
  kinks x = −b tan φ between ±T, T = b tan α. Left of −T they are 0, right of T all are affine, and
  in between their span is dense. So is it in the pairs of the two: a function from 0 to any value
  and slope at T needs as little room as one likes. The residual is therefore the target's square
  left of −T, and what the best straight line leaves right of T.
- *Atoms*: the distance from the span of finitely many functions, by least squares on a quadrature
  that is exact to rounding, since its panels end at all kinks.
- *Subspace* of the plane, ω_x ∥ p, ω_b free: the features see z = p·x alone, in which they are
  universal; the residual is E Var(y | z).
- *Analytic* features on an open set: none, that of total support. For h ∈ L² orthogonal to them
  all, ω ↦ E[h g_ω] is analytic (erf grows slowly enough in a strip around the reals) and 0 on an
  open set, thus 0 everywhere.

See docs/theory.md, section 10.

Shapes: N nodes, K atoms, M targets.
"""

import math

import numpy as np
from scipy.special import ndtr

from infwidth.experiments.feature_support.cases import (
    Array,
    Case,
    Target,
    line_nodes,
    relu,
    seen_direction,
    support,
)
from infwidth.experiments.feature_support.settings import FeatureSupportSettings


def residual(case: Case, settings: FeatureSupportSettings, y: Target, seed: int) -> Array:
    """The population residual of a case: the mean square of y that no width reaches.

    Of each output of y, in an array of their shape; the subspace's is that of the wave.
    """
    if case.kind == "total" or case.activation != "relu":
        return np.zeros(())
    if case.kind == "subspace":
        return np.array(wave_residual(settings.frequency, settings.subspace_angle))
    if case.kind == "cone":
        return cone_residual(y, settings.cone_half_angle, case.bias)
    return span_residual(y, support(case, settings, seed), case.bias)


def named(
    case: Case, settings: FeatureSupportSettings, seed: int, direction_D: Array, offset: float
) -> float:
    """How well a direction u names what is missing: its own residual over the largest there is.

    The mean square that is out of reach of the feature relu(u·x − offset), at unit length, over
    that of the worst feature: 1 where there is no worse. NaN where nothing is out of reach.
    """
    if case.kind == "total" or case.activation != "relu":
        return math.nan
    constant = -offset / case.bias if np.isfinite(offset) else -np.sign(offset)
    nu_d = np.append(direction_D, constant)
    nu_Mxd = np.concatenate([nu_d[None, :] / np.linalg.norm(nu_d), _directions(case.D)])
    if case.kind == "subspace":
        left_M = unseen_kink(nu_Mxd, seen_direction(settings), case.bias)
    else:
        features = Target(lambda x_Nx1: relu(x_Nx1 * nu_Mxd[:, 0] + case.bias * nu_Mxd[:, 1]))
        left_M = residual(case, settings, features, seed)
    return float(left_M[0] / left_M.max())


def _directions(D: int) -> Array:
    """Directions that lie close: on the circle every 2 degrees, on the sphere every 6 or so."""
    angle_M = np.radians(np.arange(0, 360, 2 if D == 1 else 6))
    circle_Mx2 = np.stack([np.cos(angle_M), np.sin(angle_M)], axis=1)
    if D == 1:
        return circle_Mx2
    height_K = np.linspace(-0.95, 0.95, 31)
    around = circle_Mx2[None, :, :] * np.sqrt(1 - np.square(height_K))[:, None, None]
    high = np.broadcast_to(height_K[:, None, None], (*around.shape[:2], 1))
    return np.concatenate([around, high], axis=2).reshape(-1, 3)


def cone_residual(target: Target, half_angle: float, bias: float) -> Array:
    """The residual of ReLU features in a cone around the input's coordinate, on the line.

    E y² left of −b tan α, and right of b tan α the mean square that a straight line leaves, of each
    of the target's outputs; the half angle α is in degrees, below 90.
    """
    end = bias * math.tan(math.radians(half_angle))
    x_Nx1, weight_N = line_nodes([*target.kinks, -end, end])
    y_N, x_N = target(x_Nx1), x_Nx1[:, 0]
    left, right = x_N < -end, x_N > end
    silent = weight_N[left] @ np.square(y_N[left])
    line_Nx2 = np.stack([np.ones_like(x_N), x_N], axis=1)[right]
    return silent + _distance(line_Nx2, y_N[right], weight_N[right])


def span_residual(target: Target, omega_Kx2: Array, bias: float) -> Array:
    """The mean square that the span of ReLU features on the line leaves, of each output.

    The atoms' second coordinate goes with the constant b.
    """
    turning = omega_Kx2[omega_Kx2[:, 0] != 0]
    x_Nx1, weight_N = line_nodes([*target.kinks, *(-bias * turning[:, 1] / turning[:, 0])])
    g_NxK = relu(x_Nx1 * omega_Kx2[:, 0] + bias * omega_Kx2[:, 1])
    return _distance(g_NxK, target(x_Nx1), weight_N)


def wave_residual(frequency: float, angle: float) -> float:
    """E Var(y | z) of the wave y ∝ sin(a x_1) of variance 1, z at an angle β (degrees) with x_1.

    With x_1 = z cos β + v sin β, E[sin(a x_1) | z] = exp(−(a sin β)²/2) sin(a z cos β), and
    E sin²(k z) = (1 − exp(−2k²)) / 2.
    """
    seen, unseen = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    mean_square = math.exp(-((frequency * unseen) ** 2)) * -math.expm1(-2 * (frequency * seen) ** 2)
    return 1 - mean_square / -math.expm1(-2 * frequency**2)


def unseen_kink(nu_Mx3: Array, seen_2: Array, bias: float) -> Array:
    """E Var(relu(ν·x̃) | p·x) on the plane, for each ν: what is out of reach of a feature there."""
    z_Nx1, weight_N = line_nodes(panels=12, points=8)
    across_2 = np.array([-seen_2[1], seen_2[0]])
    sigma_Mx1 = np.maximum(np.abs(nu_Mx3[:, :2] @ across_2), 1e-12)[:, None]
    mean_MxN = (nu_Mx3[:, :2] @ seen_2)[:, None] * z_Nx1[:, 0] + bias * nu_Mx3[:, 2:]
    h_MxN = mean_MxN / sigma_Mx1
    phi_MxN, cdf_MxN = np.exp(-np.square(h_MxN) / 2) / math.sqrt(2 * math.pi), ndtr(h_MxN)
    first_MxN = h_MxN * cdf_MxN + phi_MxN
    second_MxN = h_MxN * first_MxN + cdf_MxN
    variance_MxN = np.maximum(second_MxN - np.square(first_MxN), 0)
    return np.square(sigma_Mx1[:, 0]) * (variance_MxN @ weight_N)


def _distance(g_NxK: Array, y_N: Array, weight_N: Array) -> Array:
    """The weighted mean square of y, or of each of its columns, that the best fit leaves."""
    root_N = np.sqrt(weight_N)
    g_NxK, y_N = g_NxK * root_N[:, None], (y_N.T * root_N).T
    best_K = np.linalg.lstsq(g_NxK, y_N, rcond=1e-12)[0]
    return np.square(y_N - g_NxK @ best_K).sum(axis=0)
