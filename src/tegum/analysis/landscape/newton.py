"""The search for ∇L = 0: Newton's method in a trust region, which leads to saddles as well as to minima."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from tegum.analysis.landscape.surface import Parameters, Slope, Surface, without_rotations
from tegum.core import lapack

UNRESOLVED = 1e-4
"""A bias and couplings closer to 0 than this may be exact zeros that no series can resolve."""

LOOSE = 1e-8
"""Embeddings shorter than this, and couplings smaller than this, are zeros up to rounding."""

FLOOR = 1e-8
"""Curvatures below this fraction of the largest count as flat: no step divides by them."""

FIRST_RADIUS, LARGEST_RADIUS = 0.1, 0.5
"""Radii of the trust region, relative to max(1, |θ|)."""

ON_THE_WAY = 1e-6
"""The error allowed in a gradient far from a critical point."""

SURE = 10
"""A gradient can direct a step only if it is this many times as large as its error."""

SOFT = 1e-2
"""A last step is no longer than a gradient of the tolerance would call for along an axis of this curvature."""

PATIENCE = 8
"""The number of steps within which |g| must halve."""


def solve(
    surface: Surface,
    start: Parameters,
    steps: int,
    reach: float = float("inf"),
    corner: float = 0.0,
    longest: float = float("inf"),
) -> tuple[Parameters, Slope]:
    """Find a point near the start where ∇L = 0, or else the point at which the steps ended; the pose is kept.

    Steps end early if they lead farther than `reach` from the start, and none is longer than `longest`. With `corner`,
    biases and couplings smaller than that are held at 0 (`pinned`).

    The norm of the gradient should fall below the surface's `tol`. This is Newton's method in a trust region: a step
    minimises |g + H s|² over |s| ≤ radius, and is accepted if it reduces |g| or the length of the next such step; g is
    continuous even where H jumps.
    """
    if corner:
        start = pinned(surface, start, corner)[0]
    theta, at = _resolved(surface, start, ON_THE_WAY)
    size = max(1.0, float(np.linalg.norm(start)))
    first, largest = (min(part * size, longest) for part in (FIRST_RADIUS, LARGEST_RADIUS))
    radius = first
    lengths: list[float] = []
    fine = False
    for _ in range(steps):
        if at.gradient_error > surface.tol and not _length(at) > SURE * at.gradient_error:
            # A step along an error would lead away from a point that is already good.
            theta, at = _resolved(surface, theta, surface.tol)
        if _length(at) <= surface.tol and at.gradient_error <= surface.tol:
            break
        lengths.append(_length(at))
        if len(lengths) > PATIENCE and lengths[-1] > lengths[-1 - PATIENCE] / 2:
            # A minimum of |g| that is not a zero of it.
            break
        modes = _modes(surface, theta, at, corner)
        if not lengths[-1] > 1e-3 * surface.tol:
            break
        # Far from the end, a gradient need not be more accurate than a step.
        tol = surface.tol if fine else max(surface.tol, min(ON_THE_WAY, 1e-3 * lengths[-1]))
        step = _step(surface, theta, at, modes, radius, (1e-14 if fine else 1e-7) * size, tol, corner)
        if step is not None:
            radius = step.next_radius(largest)
            theta, at = step.theta, step.at
            if np.linalg.norm(theta - start) > reach:
                break
        elif not fine:
            # That no step makes progress may be due to an inaccurate gradient.
            fine = True
            theta, at = _resolved(surface, theta, surface.tol)
            radius = first
        else:
            break
    if at.gradient_error > surface.tol:
        theta, at = _resolved(surface, theta, surface.tol)
    return theta, at


def polished(surface: Surface, theta: Parameters, at: Slope, corner: float) -> tuple[Parameters, Slope]:
    """A point within the tolerance after one more of Newton's steps, if that helps.

    A gradient just below the tolerance leaves θ off by as much over the softest curvature. Newton's method converges so
    fast that one step more, which costs little, often reaches the accuracy of the gradient. It is kept short, lest it
    leads to a neighbour where a curvature almost vanishes.
    """
    if not _length(at) <= surface.tol:
        return theta, at
    curvatures, axes, slopes = _modes(surface, theta, at, corner)
    moved = theta + axes @ newton_step(curvatures, slopes, surface.tol / SOFT)
    trial = pinned(surface, moved, corner)[0] if corner else moved
    there = surface.slope(trial, surface.tol)
    return (trial, there) if _length(there) < _length(at) and there.gradient_error <= surface.tol else (theta, at)


class _Modes(NamedTuple):
    """The Hessian at a point and the gradient in its axes, both without rotations and with pinned quantities held."""

    curvatures: Float[np.ndarray, " mode"]
    axes: Float[np.ndarray, "parameter mode"]
    slopes: Float[np.ndarray, " mode"]


class _Step(NamedTuple):
    """An accepted step, and where it leads."""

    theta: Parameters
    at: Slope
    length: float
    radius: float
    gained: float
    """The decrease of |g| by the step."""
    foreseen: float
    """The decrease of |g| that a constant Hessian would give."""

    def next_radius(self, largest: float) -> float:
        """The next radius of the trust region, depending on how well the Hessian predicted this step."""
        if self.gained > 0.75 * self.foreseen:
            return min(max(self.radius, 3 * self.length), largest)
        if 0 < self.gained < 0.25 * self.foreseen:
            return self.length / 2
        return self.radius


def _modes(surface: Surface, theta: Parameters, at: Slope, corner: float) -> _Modes:
    basis = without_rotations(surface.split(theta)[0])
    if corner and len(kept := pinned(surface, theta, corner)[1]):
        # Only directions in which pinned quantities stay pinned.
        _, values, axes = lapack.svd(kept @ basis)
        basis = basis @ axes[int((values > 1e-9 * values[0]).sum()) :].T
    curvatures, axes = lapack.eigh(basis.T @ surface.own_side(theta) @ basis)
    axes = basis @ axes
    return _Modes(curvatures, axes, axes.T @ at.gradient)


def _step(
    surface: Surface,
    theta: Parameters,
    at: Slope,
    modes: _Modes,
    radius: float,
    least: float,
    tol: float,
    corner: float,
) -> _Step | None:
    """The first acceptable step as the radius shrinks; None if there is none down to the least radius."""
    curvatures, axes, slopes = modes
    length = _length(at)
    while True:
        amounts = newton_step(curvatures, slopes, radius)
        moved = theta + axes @ amounts
        trial, there = _resolved(surface, pinned(surface, moved, corner)[0] if corner else moved, tol)
        foreseen = float(length - np.linalg.norm(slopes + curvatures * amounts))
        gained = length - _length(there)
        if there.gradient_error < 0.1 * at.gradient_error:
            # The last gradient was known less accurately.
            gained += at.gradient_error
        size = float(np.linalg.norm(amounts))
        step = _Step(trial, there, size, radius, gained, foreseen)
        # NaN compares as False: no step is accepted to where the loss cannot be computed.
        if gained > 1e-4 * foreseen and gained > 0:
            return step
        # In a curved valley |g| rises for a while, as stiff directions outweigh the soft one being followed. The
        # next Newton step with the same Hessian weighs all directions equally (Deuflhard, Newton Methods, 2004).
        ahead = newton_step(curvatures, axes.T @ there.gradient, np.inf)
        if size < radius and np.linalg.norm(ahead) < 0.9 * size:
            return step
        radius = size / 4
        if radius < least:
            return None


def _resolved(surface: Surface, theta: Parameters, tol: float) -> tuple[Parameters, Slope]:
    """θ and its slope; or, if the series cannot resolve quantities that are almost zero, θ with exact zeros.

    An embedding that is orthogonal to others and has bias 0 is pinned there by the kink. Next to the kink, but not on
    it, z is close to 0 with a finite probability, and no number of frequencies gives the gradient to `tol`. Rounding
    residues of an absent embedding, or of the couplings of orthogonal ones, add to the error of the gradient as well,
    though the exact value is zero; which of several symmetric copies of a state has such residues is chance.
    """
    at = surface.slope(theta, tol)
    if at.gradient_error <= tol or not surface.kinked:
        return theta, at
    tidy = _tidied(surface, theta)
    for exact in (tidy, pinned(surface, tidy, UNRESOLVED)[0]):
        if np.array_equal(exact, theta):
            continue
        there = surface.slope(exact, tol)
        if _bound(there) < _bound(at):
            theta, at = exact, there
        if at.gradient_error <= tol:
            break
    return theta, at


def _tidied(surface: Surface, theta: Parameters) -> Parameters:
    """θ without rounding residues of absent embeddings and of couplings that are zero."""
    weights, bias = (part.copy() for part in surface.split(theta))
    weights[np.linalg.norm(weights, axis=1) < LOOSE] = 0.0
    pairs = np.argwhere(np.triu((np.abs(gram := weights @ weights.T) < LOOSE) & (gram != 0), 1))
    return np.concatenate([_orthogonal(weights, pairs).ravel(), bias])


def _orthogonal(weights: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """The weights with the least change after which W_i · W_j = 0 for these pairs (i, j), to first order."""
    for _ in range(6 if len(pairs) else 0):
        off = (weights @ weights.T)[pairs[:, 0], pairs[:, 1]]
        slopes = _products(weights, pairs)
        weights = weights + np.linalg.lstsq(slopes, -off, rcond=1e-9)[0].reshape(weights.shape)
    return weights


def _products(weights: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """The gradients of W_i · W_j with respect to the weights, shape (pair, nm)."""
    slopes = np.zeros((len(pairs), *weights.shape))
    slopes[np.arange(len(pairs)), pairs[:, 0]] += weights[pairs[:, 1]]
    slopes[np.arange(len(pairs)), pairs[:, 1]] += weights[pairs[:, 0]]
    return slopes.reshape(len(pairs), weights.size)


def pinned(
    surface: Surface, theta: Parameters, within: float
) -> tuple[Parameters, Float[np.ndarray, "constraint parameter"]]:
    """Set small biases, and the small couplings of their outputs, to exactly 0, and return what holds them there.

    Where z is 0 with a finite probability, the second derivatives of the loss jump. A critical point may sit on such a
    kink, and Newton's method does not find it by itself.

    Args:
        surface: the loss.
        theta: the parameters.
        within: the size below which a value is small. An embedding shorter than its square root is a dead row rather
            than an orthogonal one.

    Returns:
        The parameters, and the gradients of b_j and of W_i·W_j for all that are pinned; there may be none.

    """
    weights, bias = (part.copy() for part in surface.split(theta))
    size, gram = weights.size, weights @ weights.T
    here = (np.abs(bias) < within) & (np.diag(gram) > within)
    bias[here] = 0.0
    pairs = np.argwhere(np.triu((here[:, None] | here) & (np.abs(gram) < within), 1))

    weights = _orthogonal(weights, pairs)
    constraints = np.zeros((int(here.sum()) + len(pairs), len(theta)))
    constraints[np.arange(here.sum()), size + np.flatnonzero(here)] = 1
    constraints[here.sum() :, :size] = _products(weights, pairs)
    return np.concatenate([weights.ravel(), bias]), constraints


def _length(slope: Slope) -> float:
    return float(np.linalg.norm(slope.gradient))


def _bound(slope: Slope) -> float:
    return float(np.linalg.norm(slope.gradient)) + slope.gradient_error


def newton_step(
    curvatures: Float[np.ndarray, " mode"], slopes: Float[np.ndarray, " mode"], radius: float
) -> Float[np.ndarray, " mode"]:
    """The step s that minimises |g + λ s|² with |s| ≤ radius, in the axes of the Hessian; almost 0 along flat axes."""
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
