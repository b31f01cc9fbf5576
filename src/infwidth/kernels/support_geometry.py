# SPDX-License-Identifier: Apache-2.0
"""What a sample of features spans, where the kink of one lies, and whether all are on one side.

Shapes: H features, N inputs, d their dimension, K dimensions that the inputs span, R of them that
the features do; D = d − 1 with an appended constant, else d.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls
from scipy.special import bdtr

Array = NDArray[np.float64]

SAME = 1e-6
"""Below this share of the largest a size counts as 0."""


def kink(nu_d: Array, x_Nxd: Array, bias: float) -> tuple[Array, float]:
    """Where ν·x̃ = 0, as a unit vector in input space and a distance along it."""
    # What the inputs do not span is of no effect, and would be arbitrary.
    basis_Kxd = _basis(x_Nxd)
    nu_d = basis_Kxd.T @ (basis_Kxd @ nu_d)
    nu_D, constant = (nu_d[:-1], nu_d[-1] * bias) if bias > 0 else (nu_d, 0.0)
    norm = float(np.linalg.norm(nu_D))
    if norm <= SAME * np.linalg.norm(nu_d):
        return np.zeros_like(nu_D), -np.inf * np.sign(constant)
    return nu_D / norm, -constant / norm


def spectra(omega_Hxd: Array, x_Nxd: Array) -> tuple[Array, Array]:
    """Singular values of the arguments x̃ω, and of the inputs x̃."""
    of_x, of_omega = (np.linalg.qr(values)[1] for values in (x_Nxd, omega_Hxd))
    return (
        np.linalg.svd(of_x @ of_omega.T, compute_uv=False),
        np.linalg.svd(of_x, compute_uv=False),
    )


def unseen(omega_Hxd: Array, x_Nxd: Array) -> tuple[int, int, Array | None]:
    """Dimensions that ω and the inputs span, and the direction of the latter that ω does not.

    Of several, that along which inputs are largest; None if there is none, or if there are too few
    features to span the inputs at all.
    """
    full_Kxd = _basis(x_Nxd)
    omega_HxK = omega_Hxd @ full_Kxd.T
    seen_RxK = _basis(omega_HxK)
    R, K = seen_RxK.shape
    if R == K or omega_Hxd.shape[0] < K:
        return R, K, None
    unseen_KxK = np.eye(K) - seen_RxK.T @ seen_RxK
    _, _, axes_KxK = np.linalg.svd(x_Nxd @ full_Kxd.T @ unseen_KxK, full_matrices=False)
    return R, K, axes_KxK[0] @ full_Kxd


def _basis(values_Nxd: Array) -> Array:
    """An orthonormal basis of what the rows span, up to rounding."""
    _, sizes, basis_Kxd = np.linalg.svd(values_Nxd, full_matrices=False)
    return basis_Kxd[sizes > SAME * sizes[0]]


def effective_rank(sizes: Array) -> float:
    """exp of the entropy of the spectrum (Roy & Vetterli 2007), by squares."""
    share = np.square(sizes) / np.square(sizes).sum()
    share = share[share > 0]
    return float(np.exp(-(share * np.log(share)).sum()))


def one_sided(omega_Hxd: Array, level: float) -> bool:
    """Whether an open half-space holds all features, and chance does not explain it.

    It does unless 0 is in the convex hull of their directions. Of H directions from a symmetric law
    some half-space holds all with probability P(Binomial(H − 1, ½) < d) (Wendel 1962).
    """
    norm_H = np.linalg.norm(omega_Hxd, axis=1)
    u_Hxd = omega_Hxd[norm_H > 0] / norm_H[norm_H > 0, None]
    u_Hxd = np.unique(u_Hxd, axis=0)
    H, d = u_Hxd.shape
    if bdtr(min(d, H) - 1, H - 1, 0.5) > level:
        return False
    _, distance = nnls(np.vstack([u_Hxd.T, np.ones(H)]), np.append(np.zeros(d), 1.0))
    return bool(distance > SAME)
