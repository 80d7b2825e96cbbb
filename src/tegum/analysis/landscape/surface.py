"""The population loss as a surface over its parameters: slope, curvature, and the rotations that leave it unchanged.

The parameters are θ = (W row by row, b), P = nm + n of them. `critical_points` describes what they are used for.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any, NamedTuple, final

import numpy as np
from jaxtyping import Float

from tegum.core import lapack
from tegum.core.description import short
from tegum.core.features.distribution import FeatureDistribution
from tegum.core.loss.population import check_series
from tegum.core.model import Activation, is_linear
from tegum.core.population.evaluate import evaluate

ORBIT = 1e-6
"""Rotations that move the weights by less than this fraction of their angle do not count as zero modes, since exactly
lower rank of W is only reached up to rounding. Embeddings have lengths of about 1, so this is an absolute length."""

KINK = 1e-5
"""A bias closer to a kink than this counts as on it: a central difference can hardly resolve less."""

SHORTEST = 0.05
"""Where W_j · W_j is less than this, the two kinks of an output are too close to be distinguished."""

ROUGH = 1e-6
"""The tolerance for a Hessian that only directs a step, which is then accurate to about a thousandth."""

ASIDE = 1e-3
"""The Hessian on one side of a kink is extrapolated from one, two and three times this distance to it."""

Parameters = Float[np.ndarray, " parameter"]
Matrix = Float[np.ndarray, "parameter parameter"]


def distance(
    weights: Float[np.ndarray, "n m"], bias: Float[np.ndarray, " n"], other: Float[np.ndarray, "n m"], b: Any
) -> float:
    """√(|W R − W′|² + |b − b′|²), minimised over orthogonal R (Procrustes: Schönemann, Psychometrika 31, 1966)."""
    left, _, right = lapack.svd(weights.T @ other)
    return float(np.hypot(np.linalg.norm(weights @ (left @ right) - other), np.linalg.norm(bias - np.asarray(b))))


def checked(tol: Any, call: str) -> float:
    """Check a tolerance and return it as a float.

    Raises:
        ValueError: `tol` is not a number between 0 and 1.

    """
    if not isinstance(tol, float | int | np.floating | np.integer) or not 0 < tol < 1:
        raise ValueError(f"{call}(tol={tol!r}): tol must be a number between 0 and 1")
    return float(tol)


def _real(value: Any) -> bool:
    try:
        return np.asarray(value).dtype.kind in "fiub"
    except (ValueError, TypeError):  # rows of different lengths; a Dataset
        return False


class Slope(NamedTuple):
    """Loss and gradient at one θ, with bounds on their errors."""

    loss: float
    error: float
    gradient: Parameters
    gradient_error: float


class Curvature(NamedTuple):
    """The Hessian at one θ on the sides of kinks where it is least and where it is largest; equal without kinks."""

    below: Matrix
    above: Matrix
    error: float
    """A bound on the 2-norm of the error of either matrix."""


@final
@dataclass(frozen=True)
class Surface:
    """The population loss of one distribution as a function of θ."""

    features: FeatureDistribution
    hidden: int
    tol: float
    activation: Activation = "relu"

    @classmethod
    def of(cls, weights: Any, features: FeatureDistribution, tol: float, activation: Activation, call: str) -> Surface:
        """The surface for weights of this shape.

        Raises:
            ValueError: `tol` does not lie between 0 and 1, the activation is unknown or has no population loss, the
                features have none, or the shape of the weights is not (n, m).

        """
        if not isinstance(features, FeatureDistribution):
            raise ValueError(f"{call}(features={type(features).__name__}): features must be a FeatureDistribution")
        tol = checked(tol, call)
        check_series(f"{call}({{}})", features, activation)
        shape = np.shape(weights)
        if len(shape) != 2 or shape[0] != features.n or shape[1] == 0:
            raise ValueError(f"{call}(weights of shape {shape}): it must be (n, m) with n = {features.n} features")
        return cls(features, shape[1], tol, activation)

    def parameters(self, weights: Any, bias: Any, call: str) -> Parameters:
        """θ of weights of shape (n, m) and a bias of shape (n,).

        Raises:
            ValueError: a shape is wrong, or a number is not finite.

        """
        if not all(_real(each) for each in (weights, bias)):
            raise ValueError(f"{call}(weights, bias={short(bias)}): both must be arrays of real numbers")
        W, b = np.asarray(weights, np.float64), np.asarray(bias, np.float64)
        n = self.features.n
        if W.shape != (n, self.hidden) or b.shape != (n,):
            rule = f"they must have the shapes {(n, self.hidden)} and {(n,)}"
            raise ValueError(f"{call}(weights of shape {W.shape}, bias of shape {b.shape}): {rule}")
        theta = np.concatenate([W.ravel(), b])
        if not np.isfinite(theta).all():
            raise ValueError(f"{call}(weights, bias): every number must be finite, as in a run that has not diverged")
        return theta

    def split(self, theta: Parameters) -> tuple[Float[np.ndarray, "n m"], Float[np.ndarray, " n"]]:
        """W and b."""
        size = self.features.n * self.hidden
        return theta[:size].reshape(-1, self.hidden), theta[size:]

    def distance(self, theta: Parameters, other: Parameters) -> float:
        """The distance between two θ, minimised over rotations of hidden space."""
        return distance(*self.split(theta), *self.split(other))

    def losses(
        self, thetas: Float[np.ndarray, "run parameter"], tol: float | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The losses of several θ, and bounds on their errors; to the tolerance of the surface or to a tighter one."""
        weights, bias = self._models(thetas)
        asked = self.tol if tol is None else tol
        found = evaluate(weights, bias, self.features, tol=asked, activation=self.activation, strict=False)
        return found.loss, found.error

    def _models(self, thetas: Float[np.ndarray, "run parameter"]) -> tuple[np.ndarray, np.ndarray]:
        n = self.features.n
        return thetas[:, :-n].reshape(len(thetas), n, self.hidden), thetas[:, -n:]

    def slope(self, theta: Parameters, tol: float | None = None) -> Slope:
        """Loss and gradient, to the tolerance of the surface or to another one."""
        weights, bias = self._models(theta[None])
        asked = self.tol if tol is None else tol
        found = evaluate(weights, bias, self.features, order=1, tol=asked, activation=self.activation, strict=False)
        assert found.gradient is not None
        assert found.gradient_error is not None
        return Slope(float(found.loss[0]), float(found.error[0]), found.gradient[0], float(found.gradient_error[0]))

    @property
    def kinked(self) -> bool:
        """Whether outputs have kinks, as those of ReLUs do."""
        return not is_linear(f"population loss (activation={self.activation!r})", self.activation)

    def kinks(self, theta: Parameters) -> tuple[int, ...]:
        """The outputs on a kink or next to one, whose second derivatives may differ on its two sides."""
        return tuple(self._kinks(theta))

    def _kinks(self, theta: Parameters) -> dict[int, tuple[float, int]]:
        """For each such output, the bias at the kink, and the side of it (in the bias) on which the Hessian is less.

        There are two kinks. At b_j = 0, z_j is 0 when nothing coupled to it is active; at b_j = −h G_jj, it is 0 when
        feature j alone is active, with its largest magnitude h. Above the first kink z_j is positive, which adds
        I P dz² to the loss, where P is the probability. Above the second, a part of x_j begins to be represented,
        which subtracts I P dz² / (h G_jj).
        """
        if not self.kinked:
            return {}
        weights, bias = self.split(theta)
        own = np.square(weights).sum(1) * self.features.rescaled("population loss({})")[1]
        found = {}
        for j in range(len(bias)):
            if abs(bias[j]) < KINK:
                found[j] = 0.0, -1
            elif own[j] > SHORTEST and abs(bias[j] + own[j]) < KINK:
                found[j] = -float(own[j]), 1
        return found

    def curvature(self, theta: Parameters) -> Curvature:
        """The Hessian on both sides of all kinks at θ."""
        kinks = self._kinks(theta)
        if not kinks:
            hessian, error = self._hessians(theta[None], None)
            return Curvature(hessian[0], hessian[0], float(error[0]))
        below, one = self._aside(theta, kinks, None)
        above, other = self._aside(theta, {j: (place, -side) for j, (place, side) in kinks.items()}, None)
        # Both hold for biases exactly on the kinks.
        bias = self.split(theta)[1]
        off = max(abs(bias[j] - place) for j, (place, _) in kinks.items()) * np.linalg.norm(above)
        return Curvature(below, above, max(one, other) + float(off))

    def own_side(self, theta: Parameters) -> Matrix:
        """The Hessian on the side of every kink on which θ lies, accurate enough for a step."""
        kinks = self._kinks(theta)
        if not kinks:
            return self._hessians(theta[None], ROUGH)[0][0]
        bias = self.split(theta)[1]
        own = {j: (place, 1 if bias[j] > place else -1) for j, (place, _) in kinks.items()}
        return self._aside(theta, own, ROUGH)[0]

    def _aside(self, theta: Parameters, sides: dict[int, tuple[float, int]], tol: float | None) -> tuple[Matrix, float]:
        # A quadratic through three distances from the kinks, as the loss is smooth on one side of them.
        direction = np.zeros_like(theta)
        biases = np.array(list(sides)) - self.features.n
        direction[biases] = [side for _, side in sides.values()]
        # Starting exactly on the kinks, so that nothing on the other side within KINK contributes.
        onto = theta.copy()
        onto[biases] = [place for place, _ in sides.values()]
        if tol is not None:
            # For the direction of a step, a straight line is good enough.
            (h1, h2), errors = self._hessians(onto + ASIDE * np.array([[1.0], [2.0]]) * direction, tol)
            return 2 * h1 - h2, float(errors @ [2, 1])
        (h1, h2, h3), errors = self._hessians(onto + ASIDE * np.array([[1.0], [2.0], [3.0]]) * direction, tol)
        hessian = 3 * h1 - 3 * h2 + h3
        curved = np.linalg.norm(h1 - 2 * h2 + h3)
        # The next term is smaller than the last by a factor of about the distance.
        return hessian, float(errors @ [3, 3, 1] + 10 * ASIDE * curved)

    def _hessians(self, thetas: Float[np.ndarray, "run parameter"], tol: float | None) -> tuple[np.ndarray, np.ndarray]:
        weights, bias = self._models(thetas)
        found = evaluate(
            weights,
            bias,
            self.features,
            order=2,
            # A tighter tolerance would use every available frequency.
            tol=max(self.tol, 1e-10 if tol is None else tol),
            activation=self.activation,
            strict=False,
            # Gradients are asked for on their own, and the direction of a step needs none.
            only_highest=True,
        )
        assert found.hessian is not None
        assert found.hessian_error is not None
        if not np.isfinite(found.hessian).all():
            raise ValueError(f"population loss (tol={self.tol!r}): the Hessian cannot be computed this accurately here")
        return found.hessian, found.hessian_error


def rotations(weights: Float[np.ndarray, "n m"]) -> tuple[Float[np.ndarray, "mode n m"], Float[np.ndarray, " mode"]]:
    """The orthonormal directions W A, A antisymmetric, in which rotations of hidden space move W, and by how much.

    With W = Σ_i s_i u_i v_iᵀ they are (s_i u_i v_jᵀ − s_j u_j v_iᵀ) / √(s_i² + s_j²) for i < j. They vanish if both
    singular values do.
    """
    n, m = weights.shape
    left, values, right = lapack.svd(weights, full_matrices=True)
    sizes = np.concatenate([values, np.zeros(m - len(values))])
    found, lengths = [], []
    for i, j in combinations(range(m), 2):
        # If m > n the last singular values have no left vector, and are zero.
        parts = [
            size * np.outer(left[:, row], right[column])
            for size, row, column in ((sizes[i], i, j), (-sizes[j], j, i))
            if row < n
        ]
        if (length := np.hypot(sizes[i], sizes[j])) > ORBIT:
            found.append(sum(parts) / length)
            lengths.append(length)
    return np.array(found).reshape(len(found), n, m), np.array(lengths, np.float64)


def without_rotations(weights: Float[np.ndarray, "n m"]) -> Float[np.ndarray, "parameter mode"]:
    """An orthonormal basis of all changes of θ that are orthogonal to the rotations."""
    n, m = weights.shape
    orbit = rotations(weights)[0].reshape(-1, n * m)
    basis = np.eye(n * m + n)
    if len(orbit):
        # The left singular vectors beyond the rank are orthogonal to all rotations.
        columns = lapack.svd(orbit.T, full_matrices=True)[0][:, len(orbit) :]
        basis = np.zeros((n * m + n, n * m + n - len(orbit)))
        basis[: n * m, : columns.shape[1]] = columns
        basis[n * m :, columns.shape[1] :] = np.eye(n)
    return basis
