"""The population loss as a surface over its parameters: slope, curvature, rotations, and the way to ∇L = 0.

Parameters are θ = (W row by row, b), P = nm + n of them. What is found here is described in `landscape`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any, NamedTuple, final

import numpy as np
from jaxtyping import Float

from tegum.core.features import FeatureDistribution
from tegum.core.model import Activation, activation_named
from tegum.core.population import evaluate

ORBIT = 1e-6
"""Rotations that move the weights by less than this part of their angle do not count as zero modes: a W of exactly
lower rank is met only up to rounding. Embeddings have lengths of about 1, so that this is an absolute length."""

KINK = 1e-5
"""A bias nearer to 0 than this is on a kink: a central difference resolves hardly less."""

ROUGH = 1e-6
"""What is asked of a Hessian that only directs a step: a thousandth part of it."""

ASIDE = 1e-3
"""The Hessian on one side of a kink is extrapolated from once, twice and three times this distance."""

UNRESOLVED = 1e-4
"""A bias and couplings nearer to 0 than this may be zeros that no series resolves."""

FLOOR = 1e-8
"""Curvatures below this part of the largest are flat: a step divides by none of them."""

FIRST_RADIUS, LARGEST_RADIUS = 0.1, 0.5
"""Of the region of trust, relative to max(1, |θ|)."""

ON_THE_WAY = 1e-6
"""What is asked of a gradient far from where it vanishes."""

PATIENCE = 8
"""Steps in which |g| must fall to a half."""

Parameters = Float[np.ndarray, " parameter"]
Matrix = Float[np.ndarray, "parameter parameter"]


def distance(
    weights: Float[np.ndarray, "n m"], bias: Float[np.ndarray, " n"], other: Float[np.ndarray, "n m"], b: Any
) -> float:
    """√(|W R − W′|² + |b − b′|²), least over orthogonal R (Procrustes: Schönemann, Psychometrika 31, 1966)."""
    left, _, right = np.linalg.svd(weights.T @ other)
    return float(np.hypot(np.linalg.norm(weights @ (left @ right) - other), np.linalg.norm(bias - np.asarray(b))))


class Slope(NamedTuple):
    """Loss and gradient at one θ, with bounds of their errors."""

    loss: float
    error: float
    gradient: Parameters
    gradient_error: float


class Curvature(NamedTuple):
    """The Hessian below and above the kinks at one θ; the same matrix where there are none."""

    below: Matrix
    above: Matrix
    error: float
    """A bound of the 2-norm of the error of either."""


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
        """The surface on which weights of this shape lie.

        Raises:
            ValueError: `tol` is not positive, there is no such activation, or weights have another shape than (n, m).

        """
        if not isinstance(features, FeatureDistribution):
            raise ValueError(f"{call}(features={type(features).__name__}): features must be a FeatureDistribution")
        if not 0 < tol < 1:
            raise ValueError(f"{call}(tol={tol!r}): tol must lie between 0 and 1")
        activation_named(activation)
        shape = np.shape(weights)
        if len(shape) != 2 or shape[0] != features.n or shape[1] == 0:
            raise ValueError(f"{call}(weights of shape {shape}): it must be (n, m), n = {features.n} as the features")
        return cls(features, shape[1], float(tol), activation)

    def parameters(self, weights: Any, bias: Any, call: str) -> Parameters:
        """θ of weights (n, m) and a bias (n,).

        Raises:
            ValueError: another shape, or a number that is not finite.

        """
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
        """The distance without rotations."""
        return distance(*self.split(theta), *self.split(other))

    def losses(self, thetas: Float[np.ndarray, "run parameter"]) -> tuple[np.ndarray, np.ndarray]:
        """The loss of several θ and bounds of their errors."""
        weights, bias = self._models(thetas)
        found = evaluate(weights, bias, self.features, tol=self.tol, activation=self.activation, strict=False)
        return found.loss, found.error

    def _models(self, thetas: Float[np.ndarray, "run parameter"]) -> tuple[np.ndarray, np.ndarray]:
        n = self.features.n
        return thetas[:, :-n].reshape(len(thetas), n, self.hidden), thetas[:, -n:]

    def slope(self, theta: Parameters, tol: float | None = None) -> Slope:
        """Loss and gradient, as accurate as the surface or, on the way, less."""
        weights, bias = self._models(theta[None])
        asked = self.tol if tol is None else tol
        found = evaluate(weights, bias, self.features, order=1, tol=asked, activation=self.activation, strict=False)
        assert found.gradient is not None
        assert found.gradient_error is not None
        return Slope(float(found.loss[0]), float(found.error[0]), found.gradient[0], float(found.gradient_error[0]))

    def kinks(self, theta: Parameters) -> tuple[int, ...]:
        """Outputs with a bias of next to 0: their second derivatives may differ on its two sides."""
        if self.activation != "relu":
            return ()
        return tuple(np.flatnonzero(np.abs(self.split(theta)[1]) < KINK).tolist())

    def curvature(self, theta: Parameters) -> Curvature:
        """The Hessian, on both sides of the kinks that are there."""
        kinks = self.kinks(theta)
        if not kinks:
            hessian, error = self._hessians(theta[None], None)
            return Curvature(hessian[0], hessian[0], float(error[0]))
        below, one = self._aside(theta, dict.fromkeys(kinks, -1), None)
        above, other = self._aside(theta, dict.fromkeys(kinks, 1), None)
        # Both are those of biases of exactly 0.
        off = np.abs(self.split(theta)[1][list(kinks)]).max() * np.linalg.norm(above)
        return Curvature(below, above, max(one, other) + float(off))

    def own_side(self, theta: Parameters) -> Matrix:
        """The Hessian as it is on the side of every kink on which θ lies, good enough for a step."""
        kinks = self.kinks(theta)
        if not kinks:
            return self._hessians(theta[None], ROUGH)[0][0]
        bias = self.split(theta)[1]
        return self._aside(theta, {kink: 1 if bias[kink] > 0 else -1 for kink in kinks}, ROUGH)[0]

    def _aside(self, theta: Parameters, sides: dict[int, int], tol: float | None) -> tuple[Matrix, float]:
        # A quadratic through three distances from the kinks; on one side of them the loss is smooth.
        direction = np.zeros_like(theta)
        kinks = np.array(list(sides))
        direction[kinks - self.features.n] = list(sides.values())
        # From exactly 0: what is on the other side within KINK must not show.
        onto = theta.copy()
        onto[kinks - self.features.n] = 0.0
        (h1, h2, h3), errors = self._hessians(onto + ASIDE * np.array([[1.0], [2.0], [3.0]]) * direction, tol)
        hessian = 3 * h1 - 3 * h2 + h3
        curved = np.linalg.norm(h1 - 2 * h2 + h3)
        # The next term is smaller than the last one by about the distance itself.
        return hessian, float(errors @ [3, 3, 1] + 10 * ASIDE * curved)

    def _hessians(self, thetas: Float[np.ndarray, "run parameter"], tol: float | None) -> tuple[np.ndarray, np.ndarray]:
        weights, bias = self._models(thetas)
        found = evaluate(
            weights,
            bias,
            self.features,
            order=2,
            # Differences of gradients hold no more: asked for less than this, every frequency there is would be used.
            tol=max(self.tol, 1e-10 if tol is None else tol),
            activation=self.activation,
            strict=False,
        )
        assert found.hessian is not None
        assert found.hessian_error is not None
        if not np.isfinite(found.hessian).all():
            raise ValueError(f"population loss (tol={self.tol!r}): the Hessian cannot be had so accurately here")
        return found.hessian, found.hessian_error


def rotations(weights: Float[np.ndarray, "n m"]) -> tuple[Float[np.ndarray, "mode n m"], Float[np.ndarray, " mode"]]:
    """The directions W A, A antisymmetric, in which a rotation of hidden space moves W: orthonormal; and by how much.

    With W = Σ_i s_i u_i v_iᵀ they are (s_i u_i v_jᵀ − s_j u_j v_iᵀ) / √(s_i² + s_j²), i < j, and vanish where
    both singular values do.
    """
    n, m = weights.shape
    left, values, right = np.linalg.svd(weights, full_matrices=True)
    sizes = np.concatenate([values, np.zeros(m - len(values))])
    found, lengths = [], []
    for i, j in combinations(range(m), 2):
        # Where m > n the last singular values have no left vector, and are zero.
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
        # The left singular vectors beyond the rank.
        columns = np.linalg.svd(orbit.T, full_matrices=True)[0][:, len(orbit) :]
        basis = np.zeros((n * m + n, n * m + n - len(orbit)))
        basis[: n * m, : columns.shape[1]] = columns
        basis[n * m :, columns.shape[1] :] = np.eye(n)
    return basis


def solve(
    surface: Surface, start: Parameters, steps: int, reach: float = float("inf"), corner: float = 0.0
) -> tuple[Parameters, Slope]:
    """A point near the start where ∇L = 0, or where the steps ended; it lies in the pose of the start.

    Steps end early where they lead farther than `reach` from the start. With `corner` biases and couplings smaller than
    that are kept at 0 (`pinned`).

    The gradient is to be as small as the surface's `tol`. Newton's method in a region of trust: a step minimises
    |g + H s|² over |s| ≤ radius, and is taken if |g| or the next step of this kind falls; g changes continuously even
    where H jumps.
    """
    if corner:
        start = pinned(surface, start, corner)[0]
    theta, at = _resolved(surface, start, ON_THE_WAY)
    size = max(1.0, float(np.linalg.norm(start)))
    radius = FIRST_RADIUS * size
    lengths: list[float] = []
    fine = False
    for _ in range(steps):
        length = float(np.linalg.norm(at.gradient))
        if length <= surface.tol and at.gradient_error <= surface.tol:
            break
        lengths.append(length)
        if len(lengths) > PATIENCE and length > lengths[-1 - PATIENCE] / 2:
            # A minimum of |g| that is none of its zeros.
            break
        # Far from the end a gradient need not be more accurate than a step is.
        tol = surface.tol if fine else max(surface.tol, min(ON_THE_WAY, 1e-3 * length))
        basis = without_rotations(surface.split(theta)[0])
        if corner and len(kept := pinned(surface, theta, corner)[1]):
            # Only along what stays pinned.
            _, values, axes = np.linalg.svd(kept @ basis)
            basis = basis @ axes[int((values > 1e-9 * values[0]).sum()) :].T
        curvatures, axes = np.linalg.eigh(basis.T @ surface.own_side(theta) @ basis)
        axes = basis @ axes
        slopes = axes.T @ at.gradient
        if not length > 1e-3 * surface.tol:
            break
        while True:
            amounts = newton_step(curvatures, slopes, radius)
            moved = theta + axes @ amounts
            trial, there = _resolved(surface, pinned(surface, moved, corner)[0] if corner else moved, tol)
            foreseen = length - np.linalg.norm(slopes + curvatures * amounts)
            gained = length - np.linalg.norm(there.gradient)
            if there.gradient_error < 0.1 * at.gradient_error:
                # What was known of the last gradient was less.
                gained += at.gradient_error
            step = float(np.linalg.norm(amounts))
            # NaN compares as False: where the loss cannot be had, no step leads.
            if taken := gained > 1e-4 * foreseen and gained > 0:
                break
            # In a curved valley |g| rises for a while, as stiff directions outweigh the soft one that is followed.
            # Newton's next step, were the Hessian the same, weighs all alike (Deuflhard, Newton Methods, 2004).
            ahead = newton_step(curvatures, axes.T @ there.gradient, np.inf)
            if taken := step < radius and np.linalg.norm(ahead) < 0.9 * step:
                break
            radius = step / 4
            if radius < (1e-14 if fine else 1e-7) * size:
                break
        if not taken:
            if fine:
                break
            # What looks like a step that leads nowhere may be an inaccurate gradient.
            fine = True
            theta, at = _resolved(surface, theta, surface.tol)
            radius = FIRST_RADIUS * size
            continue
        if gained > 0.75 * foreseen:
            radius = min(max(radius, 3 * step), LARGEST_RADIUS * size)
        elif 0 < gained < 0.25 * foreseen:
            radius = step / 2
        theta, at = trial, there
        if np.linalg.norm(theta - start) > reach:
            break
    if at.gradient_error > surface.tol:
        theta, at = _resolved(surface, theta, surface.tol)
    return theta, at


def _resolved(surface: Surface, theta: Parameters, tol: float) -> tuple[Parameters, Slope]:
    """θ and its slope; or, where the series does not resolve next to orthogonal embeddings, θ with orthogonal ones.

    An embedding that is orthogonal to others, and has the bias 0, is pinned there by the kink. Next to it, but
    not on it, z is about 0 with a finite probability, where no number of frequencies gives the gradient to `tol`.
    """
    at = surface.slope(theta, tol)
    if at.gradient_error <= tol or surface.activation != "relu":
        return theta, at
    exact, constraints = pinned(surface, theta, UNRESOLVED)
    if not len(constraints):
        return theta, at
    there = surface.slope(exact, tol)
    if _bound(there) < _bound(at):
        return exact, there
    return theta, at


def pinned(
    surface: Surface, theta: Parameters, within: float
) -> tuple[Parameters, Float[np.ndarray, "constraint parameter"]]:
    """θ with small biases, and the small couplings of their outputs, set to exactly 0; and what keeps them there.

    Where z is 0 with a finite probability the loss has a corner in its second derivatives: a place to rest, and one
    that Newton's method does not find by itself.

    Args:
        surface: the loss.
        theta: the parameters.
        within: what is small. An embedding shorter than its root is a dead row, not one that is orthogonal.

    Returns:
        The parameters, and the gradients of b_j and of W_i·W_j for all that are pinned; there may be none.

    """
    weights, bias = (part.copy() for part in surface.split(theta))
    size, gram = weights.size, weights @ weights.T
    here = (np.abs(bias) < within) & (np.diag(gram) > within)
    bias[here] = 0.0
    pairs = np.argwhere(np.triu((here[:, None] | here) & (np.abs(gram) < within), 1))

    def products() -> np.ndarray:
        slopes = np.zeros((len(pairs), *weights.shape))
        slopes[np.arange(len(pairs)), pairs[:, 0]] += weights[pairs[:, 1]]
        slopes[np.arange(len(pairs)), pairs[:, 1]] += weights[pairs[:, 0]]
        return slopes.reshape(len(pairs), size)

    for _ in range(6 if len(pairs) else 0):
        # The least change of W for which W_i·W_j = 0 to first order.
        off = (weights @ weights.T)[pairs[:, 0], pairs[:, 1]]
        weights += np.linalg.lstsq(products(), -off, rcond=1e-9)[0].reshape(weights.shape)
    constraints = np.zeros((int(here.sum()) + len(pairs), len(theta)))
    constraints[np.arange(here.sum()), size + np.flatnonzero(here)] = 1
    constraints[here.sum() :, :size] = products()
    return np.concatenate([weights.ravel(), bias]), constraints


def _bound(slope: Slope) -> float:
    return float(np.linalg.norm(slope.gradient)) + slope.gradient_error


def newton_step(
    curvatures: Float[np.ndarray, " mode"], slopes: Float[np.ndarray, " mode"], radius: float
) -> Float[np.ndarray, " mode"]:
    """The amounts s of least |g + λ s|² with |s| ≤ radius, in the axes of the Hessian; next to none along flat ones."""
    floor = (FLOOR * np.abs(curvatures).max()) ** 2
    amounts = _damped(curvatures, slopes, floor)
    if np.linalg.norm(amounts) <= radius:
        return amounts
    # |s| falls as the damping grows: |s| ≤ |λ||g| / damping.
    low, high = floor, max(floor, float(np.abs(curvatures * slopes).sum()) / radius)
    for _ in range(60):
        middle = np.sqrt(low * high) if low > 0 else high / 1e3
        if np.linalg.norm(_damped(curvatures, slopes, middle)) > radius:
            low = middle
        else:
            high = middle
        if high < 1.01 * low:
            break
    return _damped(curvatures, slopes, high)


def _damped(curvatures: np.ndarray, slopes: np.ndarray, damping: float) -> np.ndarray:
    squares = np.square(curvatures) + damping
    return -np.divide(curvatures * slopes, squares, out=np.zeros_like(slopes), where=squares > 0)
