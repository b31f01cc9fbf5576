# SPDX-License-Identifier: Apache-2.0
"""Is a sample of features totally supported, and if not, which direction is missing?

The question is put to functions and not to parameters. A fresh feature, drawn from a law that has
total support, is fitted by the features at hand on one half of the inputs; what is left of it on
the other half is out of their reach. The direction in which most is left is the one missing. What
sampling alone would leave is known from draws of the totally supported law, of the same number.

So an open cone of analytic features counts as supported, which it is, and one of ReLU does not
(docs/theory.md, section 10).

Shapes: H features, N inputs of dimension D, d = D + 1 with the appended constant, else D; A inputs
to fit on, B to test on; M candidate directions; R draws of the null, or ridges of a fit; K
dimensions that the inputs span.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import nnls
from scipy.special import bdtr

from infwidth.kernels.inputs import extended_inputs

Array = NDArray[np.float64]
Activation = Callable[[Array], Any]

MOST_INPUTS = 512
"""Inputs that are used; of more, that many are chosen at random."""

FRESH = 64
"""Fresh directions that are tried, besides those that the features' second moment names."""

RIDGES = (1e-6, 1e-3, 1.0)
"""Of fits, in units of the mean of the features' mean squares; for each function the best counts.

A function that is out of reach is fitted best with the largest: with little of a ridge the fit
follows what it cannot know."""

ROUNDS, MOVES = 24, 48
"""Of the local search from the worst candidate on, which names the direction."""

SAME = 1e-6
"""Below this share of the largest a size counts as 0."""


@dataclass(frozen=True, eq=False)
class SupportReport:
    """What `support_report` found; `str` of it is a paragraph.

    Attributes:
      missing: whether a direction is missing: the features, though there are enough, do not span
        what the inputs span; or `p_value` ≤ level, and `score` is above the null's median by more
        than the tolerance.
      direction_D: unit vector u in input space: of what the features do not span, that along which
        inputs are largest; else that of the feature furthest out of reach, whose kink (of an
        activation without kinks: zero) is at u·x = `offset`, and which is active beyond.
      offset: of that feature; infinite where its argument is nearly constant.
      share: how much of that feature's mean square is out of reach.
      score: what the test compares: the most that is out of reach of a candidate, before the local
        search, in units of the mean square of an average fresh feature.
      null_R: the scores of draws of the totally supported law.
      p_value: of the score among `null_R`.
      features: H.
      rank: dimensions that the features span, of those that the inputs do.
      full_rank: dimensions that the inputs span, the appended constant included.
      effective_rank: exp of the entropy of the arguments' spectrum.
      full_effective_rank: the same of the inputs' own spectrum.
      distinct: distinct features; under any density there are no ties.
      levels: the most values that a coordinate of ω takes.
      one_sided: all features lie in one open half-space, beyond chance: a cone.
    """

    missing: bool
    direction_D: Array
    offset: float
    share: float
    score: float
    null_R: Array
    p_value: float
    features: int
    rank: int
    full_rank: int
    effective_rank: float
    full_effective_rank: float
    distinct: int
    levels: int
    one_sided: bool

    def __str__(self) -> str:
        seen = (
            f"{self.features:,} features, {self.distinct:,} of them distinct, of effective rank "
            f"{self.effective_rank:.1f} (the inputs: {self.full_effective_rank:.1f})."
        )
        compared = (
            f"at most {self.null_R.max():.2g} in {self.null_R.size} draws of a totally supported "
            f"law, p = {self.p_value:.2g}"
        )
        if not self.missing:
            found = f"No direction is missing: the worst score is {self.score:.2g} ({compared})."
        else:
            place = f"{self._direction()}, kink at {round(self.offset, 2) + 0:g}"
            found = (
                f"MISSING: the feature along {place}, of which {self.share:.1%} is out of reach. "
                f"The score is {self.score:.2g} ({compared})."
            )
        return " ".join([seen, found, *self._causes()])

    def _direction(self) -> str:
        """The largest coordinates of the direction, in words."""
        order = np.argsort(-np.abs(self.direction_D), kind="stable")[:3]
        large = [i for i in order if abs(self.direction_D[i]) >= 0.005]
        shown = [f"{self.direction_D[i]:+.2f} x[{i}]" for i in large]
        rest = np.delete(self.direction_D, large)
        shown += ["…"] if np.any(np.abs(rest) >= 0.005) else []
        return " ".join(shown) or "the constant"

    def _causes(self) -> list[str]:
        causes = []
        if self.rank < self.full_rank:
            causes.append(
                f"The features span {self.rank} of the inputs' {self.full_rank} dimensions."
            )
        if self.distinct < self.features:
            causes.append(f"Wider than {self.distinct} adds nothing: features repeat.")
        if 2 * self.levels <= self.distinct:
            causes.append(f"Coordinates take at most {self.levels} values.")
        if self.one_sided:
            causes.append("All features lie on one side of a hyperplane through 0: a cone.")
        return causes


def support_report(
    omega_Hxd: jax.typing.ArrayLike,
    x_NxD: jax.typing.ArrayLike,
    *,
    activation: Activation | None = None,
    bias: float = 0.0,
    draws: int = 99,
    level: float = 0.01,
    tolerance: float = 0.001,
    seed: int = 0,
) -> SupportReport:
    """Looks for the direction that features g_ω(x) = activation(ω·x̃/√d) leave out.

    A direction that is not spanned is certain. Else it is a Monte-Carlo test of "ω ~ N(0, s² I)",
    s² the mean square of ω's entries, under which the chance of a false alarm is at most `level`.
    It speaks of these features on these inputs: a law with total support, such as that of trained
    features, misses a direction, too, where it has so few features there that they leave out more
    of it than N(0, s² I) would; and where even that leaves out much, for want of features or
    inputs, little is found. Inputs should number some hundreds.

    Args:
      omega_Hxd: one feature a row; its last coordinate goes with the appended constant, if any.
      x_NxD: inputs, one a row: a sample of the data that matter.
      activation: elementwise, on arrays; None is ReLU.
      bias: b ≥ 0, the constant appended to every input; 0 appends none.
      draws: R, of the null.
      level: of the test.
      tolerance: least score, beyond the null's median, that counts.
      seed: of everything random.

    Returns:
      The report, a function of the arguments; about a second for some hundreds of features.

    Raises:
      ValueError: shapes do not fit, a number is not finite, there are fewer than 16 inputs, all
        features are 0, or `draws` cannot reach `level`, which lies between 0 and 1.

    Examples:
      >>> import numpy as np
      >>> from infwidth.kernels import support_report
      >>> rng = np.random.default_rng(0)
      >>> x_NxD, omega_Hxd = rng.normal(size=(300, 3)), rng.normal(size=(200, 3))
      >>> omega_Hxd[:, 2] = 0.0  # a plane
      >>> report = support_report(omega_Hxd, x_NxD)
      >>> report.missing, report.rank, abs(report.direction_D).round(1)
      (True, 2, array([0., 0., 1.]))
    """
    x_Nxd, omega_Hxd = _checked(omega_Hxd, x_NxD, bias)
    if not 0 < level < 1:
        raise ValueError(f"the level of a test lies between 0 and 1; got {level}")
    if not draws >= 1 / level - 1:
        raise ValueError(f"a test at level {level} needs {1 / level - 1:.0f} draws; got {draws}")
    bench = _Bench.of(x_Nxd, omega_Hxd, activation, seed)
    score, worst_d, fit_RxBxA = bench.score(omega_Hxd)
    rank, full_rank, unseen_d = _unseen(omega_Hxd, x_Nxd)
    if unseen_d is None:
        share, nu_d = bench.search(fit_RxBxA, worst_d)
    else:
        share, nu_d = bench.worst(fit_RxBxA, np.stack([unseen_d, -unseen_d]))
    rng = np.random.default_rng([seed, 1])
    null_R = np.array(
        [bench.score(bench.scale * rng.normal(size=omega_Hxd.shape))[0] for _ in range(draws)]
    )
    p_value = (1 + int((null_R >= score).sum())) / (draws + 1)
    found = p_value <= level and score - float(np.median(null_R)) > tolerance
    direction_D, offset = _kink(nu_d, x_Nxd, bias)
    spectrum, full = _spectra(omega_Hxd, x_Nxd)
    return SupportReport(
        missing=found or unseen_d is not None,
        direction_D=direction_D,
        offset=offset,
        share=share,
        score=score,
        null_R=null_R,
        p_value=p_value,
        features=omega_Hxd.shape[0],
        rank=rank,
        full_rank=full_rank,
        effective_rank=effective_rank(spectrum),
        full_effective_rank=effective_rank(full),
        distinct=len(np.unique(omega_Hxd, axis=0)),
        levels=max(len(np.unique(column_H)) for column_H in omega_Hxd.T),
        one_sided=one_sided(omega_Hxd, level),
    )


def _checked(
    omega_Hxd: jax.typing.ArrayLike, x_NxD: jax.typing.ArrayLike, bias: float
) -> tuple[Array, Array]:
    x_Nxd = np.asarray(extended_inputs(x_NxD, x_NxD, bias)[0], np.float64)
    omega_Hxd = np.asarray(omega_Hxd, np.float64)
    d = x_Nxd.shape[1]
    if omega_Hxd.ndim != 2 or omega_Hxd.shape[0] == 0 or omega_Hxd.shape[1] != d:
        raise ValueError(
            f"features are a matrix, one a row, of the dimension {d} of the inputs with the "
            f"appended constant, if any; got shape {omega_Hxd.shape}"
        )
    if x_Nxd.shape[0] < 16:
        raise ValueError(f"a report needs 16 inputs, better some hundreds; got {x_Nxd.shape[0]}")
    for name, values in (("feature", omega_Hxd), ("input", x_Nxd)):
        finite = np.isfinite(values).all(axis=1)
        if not finite.all():
            raise ValueError(f"{name} {int(np.argmin(finite))} holds a number that is not finite")
    if not omega_Hxd.any():
        raise ValueError("all features are 0")
    return x_Nxd, omega_Hxd


class _Bench(NamedTuple):
    """What all samples of features are measured with: fits on one half of the inputs, scores on the
    other."""

    x_Axd: Array
    x_Bxd: Array
    activation: Activation
    scale: float
    """Root mean square of ω's entries."""
    fresh_Mxd: Array
    unit: float
    """Mean square of an average fresh feature."""
    seed: int

    @classmethod
    def of(
        cls, x_Nxd: Array, omega_Hxd: Array, activation: Activation | None, seed: int
    ) -> "_Bench":
        """A bench for features of this size, ReLU where no activation is given."""
        rng = np.random.default_rng([seed, 0])
        x_Nxd = x_Nxd[rng.permutation(len(x_Nxd))[:MOST_INPUTS]]
        half = len(x_Nxd) // 2
        scale = float(np.sqrt(np.square(omega_Hxd).mean()))
        fresh_Mxd = rng.normal(size=(FRESH, x_Nxd.shape[1]))
        activation = activation or (lambda z: np.maximum(z, 0))
        bench = cls(x_Nxd[:half], x_Nxd[half:], activation, scale, fresh_Mxd, 1.0, seed)
        unit = float(np.square(bench._values(x_Nxd, bench._sized(fresh_Mxd))).mean())
        if not unit > 0:
            raise ValueError("features that are drawn anew are 0 at all inputs")
        return bench._replace(unit=unit)

    def score(self, omega_Hxd: Array) -> tuple[float, Array, Array]:
        """The worst score of a candidate, that candidate, and the features' fits."""
        fit_RxBxA = self._fits(omega_Hxd)
        _, vectors_dxd = np.linalg.eigh(omega_Hxd.T @ omega_Hxd)
        named_Mxd = np.concatenate([vectors_dxd.T, omega_Hxd.mean(axis=0, keepdims=True)])
        nu_Mxd = self._sized(np.concatenate([self.fresh_Mxd, named_Mxd, -named_Mxd]))
        left_M, _ = self._left(fit_RxBxA, nu_Mxd)
        worst = int(left_M.argmax())
        return float(left_M[worst]) / self.unit, nu_Mxd[worst], fit_RxBxA

    def search(self, fit_RxBxA: Array, nu_d: Array) -> tuple[float, Array]:
        """Moves a direction to where more is out of reach; returns the feature's share, too."""
        rng = np.random.default_rng([self.seed, 2])
        share = 0.0
        for radius in np.geomspace(0.7, 0.01, ROUNDS):
            move_Mxd = rng.normal(size=(MOVES, nu_d.size)) * np.linalg.norm(nu_d)
            near_Mxd = nu_d + radius / np.sqrt(nu_d.size) * move_Mxd
            share, nu_d = self.worst(fit_RxBxA, np.append(near_Mxd, nu_d[None, :], axis=0))
        return share, nu_d

    def worst(self, fit_RxBxA: Array, nu_Mxd: Array) -> tuple[float, Array]:
        """The direction of which most is out of reach, and its feature's share that is."""
        nu_Mxd = self._sized(nu_Mxd)
        left_M, square_M = self._left(fit_RxBxA, nu_Mxd)
        worst = int(left_M.argmax())
        return float(left_M[worst] / max(square_M[worst], 1e-300)), nu_Mxd[worst]

    def _sized(self, nu_Mxd: Array) -> Array:
        """Directions as features of the size that a fresh one has."""
        norm_Mx1 = np.linalg.norm(nu_Mxd, axis=1, keepdims=True)
        size = self.scale * np.sqrt(nu_Mxd.shape[1])
        return nu_Mxd * (size / np.where(norm_Mx1 > 0, norm_Mx1, 1))

    def _values(self, x_Nxd: Array, omega_Hxd: Array) -> Array:
        z_NxH = x_Nxd @ omega_Hxd.T / np.sqrt(x_Nxd.shape[1])
        return np.asarray(self.activation(z_NxH), np.float64)

    def _fits(self, omega_Hxd: Array) -> Array:
        """For each ridge, from a function's values on A to its fit on B, shape (R, B, A)."""
        g_AxH, g_BxH = self._values(self.x_Axd, omega_Hxd), self._values(self.x_Bxd, omega_Hxd)
        k_AxA, k_AxB = g_AxH @ g_AxH.T, g_AxH @ g_BxH.T
        mean = np.trace(k_AxA) / len(k_AxA) or 1.0
        eye_AxA = np.eye(len(k_AxA))
        return np.stack(
            [cho_solve(cho_factor(k_AxA + r * mean * eye_AxA), k_AxB).T for r in RIDGES]
        )

    def _left(self, fit_RxBxA: Array, nu_Mxd: Array) -> tuple[Array, Array]:
        """Mean squares on B: of what the best fit leaves, and of the feature.

        A fit counts times the best factor, so that it never leaves more than there is.
        """
        g_AxM, g_BxM = self._values(self.x_Axd, nu_Mxd), self._values(self.x_Bxd, nu_Mxd)
        fitted_RxBxM = fit_RxBxA @ g_AxM
        square_M = np.square(g_BxM).mean(axis=0)
        of_fit_RxM = np.square(fitted_RxBxM).mean(axis=1)
        product_RxM = (fitted_RxBxM * g_BxM).mean(axis=1)
        reached_RxM = np.square(product_RxM) / np.where(of_fit_RxM > 0, of_fit_RxM, 1)
        return np.maximum(square_M - reached_RxM.max(axis=0), 0), square_M


def _kink(nu_d: Array, x_Nxd: Array, bias: float) -> tuple[Array, float]:
    """Where ν·x̃ = 0, as a unit vector in input space and a distance along it."""
    # What the inputs do not span is of no effect, and would be arbitrary.
    basis_Kxd = _basis(x_Nxd)
    nu_d = basis_Kxd.T @ (basis_Kxd @ nu_d)
    nu_D, constant = (nu_d[:-1], nu_d[-1] * bias) if bias > 0 else (nu_d, 0.0)
    norm = float(np.linalg.norm(nu_D))
    if norm <= SAME * np.linalg.norm(nu_d):
        return np.zeros_like(nu_D), -np.inf * np.sign(constant)
    return nu_D / norm, -constant / norm


def _spectra(omega_Hxd: Array, x_Nxd: Array) -> tuple[Array, Array]:
    """Singular values of the arguments x̃ω, and of the inputs x̃."""
    of_x, of_omega = (np.linalg.qr(values)[1] for values in (x_Nxd, omega_Hxd))
    return (
        np.linalg.svd(of_x @ of_omega.T, compute_uv=False),
        np.linalg.svd(of_x, compute_uv=False),
    )


def _unseen(omega_Hxd: Array, x_Nxd: Array) -> tuple[int, int, Array | None]:
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
