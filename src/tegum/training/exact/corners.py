"""The final approach to an optimum on corners of the loss, where no series resolves the gradient.

A perfectly represented feature (W_j of length 1 and orthogonal to all others, b_j = 0) has loss 0, and sits on a
corner, where second derivatives jump. So does a collapsed set that is represented, in a part of hidden space to itself,
by its principal components: W_S W_Sᵀ is a projection, all other rows are orthogonal, and where nothing of the set is
active its outputs are at 0. Close to such corners, couplings and biases are so small that no number of frequencies
distinguishes them from 0, and the gradient is known only to about 1e-7; on the corners the series does not need them.
So these groups of features are moved onto their corners. There they keep to their part of hidden space, and the others
to its orthogonal complement: a linear space of parameters, in which the gradient is accurate and Newton's method needs
only a few steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from jaxtyping import Float, Int64

from tegum.core import lapack

NEAR = 1e-3
"""Features whose couplings to others and biases are smaller than this may be approaching a corner."""

FEWEST_CORNER_FREQUENCIES, MOST_CORNER_FREQUENCIES = 64, 4096
"""The fewest and the most frequencies for losses on corners, where few are enough."""

_STEPS = 8
"""The most steps of Newton's method."""

_DISPLACED = 1e-6
"""The displacement of the parameters for a product with the Hessian."""

_NEWTON_REDUCTION = 1e-4
"""The residual, relative to the norm of the gradient, to which a Newton step is solved."""

Parameters: TypeAlias = Float[np.ndarray, " parameter"]
Losses: TypeAlias = Callable[[Float[np.ndarray, "point parameter"], int], tuple[np.ndarray, np.ndarray, np.ndarray]]
"""A function from points and a number of frequencies to loss, estimated error and gradient (flat)."""


def settled(
    losses: Losses, theta: Parameters, features: int, tolerance: float, accuracy: float
) -> tuple[Parameters, float] | None:
    """A point near a given one with groups on their corners and a vanishing gradient, and its loss.

    Args:
        losses: the run's losses.
        theta: its parameters, (W row by row, b).
        features: the number of features, n.
        tolerance: the largest norm of the gradient, over all parameters.
        accuracy: the largest error of the loss.

    Returns:
        The parameters and the loss; None if no group is close to a corner, or no such point is found.

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
    # Over all parameters, and by the criteria of every other run. Directions off the corners may need more frequencies.
    while count <= MOST_CORNER_FREQUENCIES:
        (value,), _, gradient = losses(theta[None], count)
        (finer_value,), (error,), finer = losses(theta[None], 2 * count)
        within = max(np.linalg.norm(gradient), np.linalg.norm(finer) + np.linalg.norm(finer - gradient)) <= tolerance
        if within and max(abs(finer_value - value), error) <= accuracy:
            return theta, float(finer_value)
        count *= 2
    return None


def _on_corners(theta: Parameters, n: int) -> tuple[Parameters, Callable[[Parameters], Parameters]] | None:
    """θ with groups close to a corner moved onto it, and the projection onto directions that keep them there."""
    weights, bias = theta[:-n].reshape(n, -1).copy(), theta[-n:].copy()
    groups = _groups(weights, bias)
    spans = [_span(weights[group]) for group in groups]
    if not groups or sum(map(len, spans)) > weights.shape[1]:
        return None
    # The nearest orthonormal rows (Schönemann, Psychometrika 31, 1966).
    left, _, right = lapack.svd(np.concatenate(spans), full_matrices=False)
    axes = left @ right
    ends = np.cumsum([len(span) for span in spans])
    own = [axes[end - len(span) : end] for span, end in zip(spans, ends, strict=True)]
    on = np.concatenate(groups)
    bias[on] = 0.0

    def project(change: Parameters) -> Parameters:
        rows, rest = change[:-n].reshape(n, -1), change[-n:].copy()
        inside = [(rows[group] @ span.T) @ span for group, span in zip(groups, own, strict=True)]
        # Twice is enough (Parlett): once leaves the rounding errors of large components.
        for _ in range(2):
            rows = rows - (rows @ axes.T) @ axes
        rows[on], rest[on] = np.concatenate(inside), 0.0
        return np.concatenate([rows.ravel(), rest])

    placed = project(np.concatenate([weights.ravel(), bias]))
    rows = placed[:-n].reshape(n, -1)
    for group in groups:
        if len(group) == 1:  # Only its length is still wrong.
            rows[group] /= np.linalg.norm(rows[group])
    return placed, project


def _groups(weights: Float[np.ndarray, "n m"], bias: Float[np.ndarray, " n"]) -> list[Int64[np.ndarray, " member"]]:
    """Represented features that are coupled to one another, hardly to any other, and have biases close to 0."""
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
    """Orthonormal axes of the space that the rows span, apart from small components."""
    _, sizes, axes = lapack.svd(rows, full_matrices=False)
    return axes[sizes**2 >= NEAR * sizes[0] ** 2]


def _newton(
    losses: Losses, theta: Parameters, gradient: Parameters, project: Callable[[Parameters], Parameters], count: int
) -> Parameters | None:
    """−H⁻¹ g by conjugate gradients; None if H is not positive along them."""
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
