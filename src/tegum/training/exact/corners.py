"""The last part of the way to an optimum that rests on corners of the loss, where no series shows the gradient.

A feature that is represented perfectly, W_j of length 1 and orthogonal to all others and b_j = 0, has the loss 0, and
sits on a corner of second derivatives. So does a collapsed set that has a part of hidden space to itself, as its
principal components: W_S W_Sᵀ is a projection, all others are orthogonal, and where nothing of the set is active its
outputs are at 0. Next to such corners are couplings and biases so small that no number of frequencies tells them
from 0, and the gradient is known to about 1e-7 only; on them the series needs none of them. So these groups of features
are put on their corners. There they keep to their part of hidden space, and the others to what is orthogonal to it: a
linear space of parameters. In it the gradient is accurate, and Newton's method needs a few steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from jaxtyping import Float, Int64

NEAR = 1e-3
"""Features whose couplings to others and biases are smaller may be on their way to a corner."""

FEWEST_CORNER_FREQUENCIES, MOST_CORNER_FREQUENCIES = 64, 4096
"""The fewest and the most frequencies of losses on corners, where few are enough."""

_STEPS = 8
"""Of Newton's method, at most."""

_DISPLACED = 1e-6
"""By how much parameters are displaced for a product with the Hessian."""

_NEWTON_REDUCTION = 1e-4
"""The part of the norm of the gradient to which a step of Newton's method solves its equation."""

Parameters: TypeAlias = Float[np.ndarray, " parameter"]
Losses: TypeAlias = Callable[[Float[np.ndarray, "point parameter"], int], tuple[np.ndarray, np.ndarray, np.ndarray]]
"""Loss, estimated error and gradient (flat) at some points, with so many frequencies."""


def settled(
    losses: Losses, theta: Parameters, features: int, tolerance: float, accuracy: float
) -> tuple[Parameters, float] | None:
    """A point next to one given where the gradient vanishes, groups being on their corners, and its loss.

    Args:
        losses: of the run.
        theta: its parameters, (W row by row, b).
        features: n.
        tolerance: of the gradient's norm, over all parameters.
        accuracy: of the loss.

    Returns:
        None where no group is nearly on a corner, or no such point is found.

    """
    found = _on_corners(theta, features)
    if found is None:
        return None
    theta, project = found
    count = FEWEST_CORNER_FREQUENCIES
    while count <= MOST_CORNER_FREQUENCIES:
        gradient, finer = (project(losses(theta[None], each)[2]) for each in (count, 2 * count))
        if np.linalg.norm(finer - gradient) <= 0.1 * tolerance:
            break
        count *= 2
    else:
        return None
    for _ in range(_STEPS):
        if np.linalg.norm(gradient) <= 0.25 * tolerance:
            break
        step = _newton(losses, theta, gradient, project, count)
        if step is None or np.linalg.norm(step) > NEAR:
            return None
        theta = theta + step
        gradient = project(losses(theta[None], count)[2])
    # Over all parameters, and judged as every other run is. What leads off the corners may need more frequencies.
    while count <= MOST_CORNER_FREQUENCIES:
        (value,), _, gradient = losses(theta[None], count)
        (finer_value,), (error,), finer = losses(theta[None], 2 * count)
        within = max(np.linalg.norm(gradient), np.linalg.norm(finer) + np.linalg.norm(finer - gradient)) <= tolerance
        if within and max(abs(finer_value - value), error) <= accuracy:
            return theta, float(finer_value)
        count *= 2
    return None


def _on_corners(theta: Parameters, n: int) -> tuple[Parameters, Callable[[Parameters], Parameters]] | None:
    """θ with groups that are nearly on a corner put there, and the projection on directions in which they stay so."""
    weights, bias = theta[:-n].reshape(n, -1).copy(), theta[-n:].copy()
    groups = _groups(weights, bias)
    spans = [_span(weights[group]) for group in groups]
    if not groups or sum(map(len, spans)) > weights.shape[1]:
        return None
    # The nearest orthonormal rows (Schönemann, Psychometrika 31, 1966).
    left, _, right = np.linalg.svd(np.concatenate(spans), full_matrices=False)
    axes = left @ right
    ends = np.cumsum([len(span) for span in spans])
    own = [axes[end - len(span) : end] for span, end in zip(spans, ends, strict=True)]
    on = np.concatenate(groups)
    bias[on] = 0.0

    def project(change: Parameters) -> Parameters:
        rows, rest = change[:-n].reshape(n, -1), change[-n:].copy()
        inside = [(rows[group] @ span.T) @ span for group, span in zip(groups, own, strict=True)]
        # Twice is enough (Parlett): once leaves what rounding makes of large components.
        for _ in range(2):
            rows = rows - (rows @ axes.T) @ axes
        rows[on], rest[on] = np.concatenate(inside), 0.0
        return np.concatenate([rows.ravel(), rest])

    placed = project(np.concatenate([weights.ravel(), bias]))
    rows = placed[:-n].reshape(n, -1)
    for group in groups:
        if len(group) == 1:  # It is perfect, but for its length.
            rows[group] /= np.linalg.norm(rows[group])
    return placed, project


def _groups(weights: Float[np.ndarray, "n m"], bias: Float[np.ndarray, " n"]) -> list[Int64[np.ndarray, " member"]]:
    """Represented features that are coupled to one another, and nearly to no other, with biases of nearly 0."""
    from scipy.sparse.csgraph import connected_components

    couplings = np.abs(weights @ weights.T)
    represented = couplings.diagonal() >= NEAR
    count, label = connected_components(couplings >= NEAR, directed=False)
    groups = [np.flatnonzero(represented & (label == number)) for number in range(count)]
    return [
        group
        for group in groups
        if len(group)
        and (np.abs(bias[group]) < NEAR).all()
        and (len(group) > 1 or np.abs(couplings[group, group] - 1) < NEAR)
    ]


def _span(rows: Float[np.ndarray, "member m"]) -> Float[np.ndarray, "axis m"]:
    """Orthonormal axes of the space in which rows lie, up to what is small."""
    _, sizes, axes = np.linalg.svd(rows, full_matrices=False)
    return axes[sizes**2 >= NEAR * sizes[0] ** 2]


def _newton(
    losses: Losses, theta: Parameters, gradient: Parameters, project: Callable[[Parameters], Parameters], count: int
) -> Parameters | None:
    """−H⁻¹ g by conjugate gradients; None where H is not positive along them."""
    step, residual = np.zeros_like(theta), -gradient
    direction, square = residual, residual @ residual
    for _ in range(2 * theta.size):
        if np.sqrt(square) <= _NEWTON_REDUCTION * np.linalg.norm(gradient):
            break
        length = _DISPLACED / np.linalg.norm(direction)
        slopes = losses(theta + length * np.array([[1.0], [-1.0]]) * direction, count)[2].reshape(2, -1)
        product = project((slopes[0] - slopes[1]) / (2 * length))
        curvature = direction @ product
        if not curvature > 0:
            return None
        amount = square / curvature
        step = step + amount * direction
        residual = residual - amount * product
        square, last = residual @ residual, square
        direction = residual + square / last * direction
    return step
