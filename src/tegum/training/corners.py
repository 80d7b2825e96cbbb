"""The last part of the way to an optimum that rests on corners of the loss, where no series shows the gradient.

A feature that is represented perfectly, W_j of length 1 and orthogonal to all others and b_j = 0, has the loss 0, and
sits on a corner of second derivatives. Next to it are couplings and biases so small that no number of frequencies
tells them from 0, and the gradient is known to about 1e-7 only; on it the series needs none of them. So such features
are put on their corners, and the others descend in what is left to them, hidden space orthogonal to these: a linear
space of parameters. There the gradient is accurate, and Newton's method needs a few steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from jaxtyping import Float

NEAR = 1e-3
"""A feature whose couplings and bias differ by less from those of a perfect one may be on its way to it."""

FEWEST, MOST = 64, 4096
"""Frequencies: on the corners few are enough."""

_STEPS = 8
"""Of Newton's method, at most."""

_DISPLACED = 1e-6
"""By how much parameters are displaced for a product with the Hessian."""

_REDUCTION = 1e-4
"""A step of Newton's method solves its equation to this part of the gradient."""

Parameters: TypeAlias = Float[np.ndarray, " parameter"]
Losses: TypeAlias = Callable[[Float[np.ndarray, "point parameter"], int], tuple[np.ndarray, np.ndarray, np.ndarray]]
"""Loss, estimated error and gradient (flat) at some points, with so many frequencies."""


def settled(
    losses: Losses, theta: Parameters, features: int, tolerance: float, accuracy: float
) -> tuple[Parameters, float] | None:
    """A point next to one given where the gradient vanishes, perfect features being on their corners, and its loss.

    Args:
        losses: of the run.
        theta: its parameters, (W row by row, b).
        features: n.
        tolerance: of the gradient's norm, over all parameters.
        accuracy: of the loss.

    Returns:
        None where no feature is nearly perfect, or no such point is found.

    """
    found = _on_corners(theta, features)
    if found is None:
        return None
    theta, project = found
    count = FEWEST
    while count <= MOST:
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
    # Over all parameters, and judged as every other run is.
    (value,), _, gradient = losses(theta[None], count)
    (finer_value,), (error,), finer = losses(theta[None], 2 * count)
    within = max(np.linalg.norm(gradient), np.linalg.norm(finer) + np.linalg.norm(finer - gradient)) <= tolerance
    if not (within and max(abs(finer_value - value), error) <= accuracy):
        return None
    return theta, float(finer_value)


def _on_corners(theta: Parameters, n: int) -> tuple[Parameters, Callable[[Parameters], Parameters]] | None:
    """θ with nearly perfect features made perfect, and the projection on directions in which they stay so."""
    weights, bias = theta[:-n].reshape(n, -1).copy(), theta[-n:].copy()
    off = np.abs(weights @ weights.T - np.eye(n)).max(1)
    perfect = (off < NEAR) & (np.abs(bias) < NEAR)
    if not perfect.any():
        return None
    # The nearest orthonormal rows (Schönemann, Psychometrika 31, 1966).
    left, _, right = np.linalg.svd(weights[perfect], full_matrices=False)
    axes = left @ right
    bias[perfect] = 0.0

    def project(change: Parameters) -> Parameters:
        rows, rest = change[:-n].reshape(n, -1), change[-n:].copy()
        # Twice is enough (Parlett): once leaves what rounding makes of large components.
        for _ in range(2):
            rows = rows - (rows @ axes.T) @ axes
        rows[perfect], rest[perfect] = 0.0, 0.0
        return np.concatenate([rows.ravel(), rest])

    placed = project(np.concatenate([weights.ravel(), bias]))
    placed[:-n].reshape(n, -1)[perfect] = axes
    return placed, project


def _newton(
    losses: Losses, theta: Parameters, gradient: Parameters, project: Callable[[Parameters], Parameters], count: int
) -> Parameters | None:
    """−H⁻¹ g by conjugate gradients; None where H is not positive along them."""
    step, residual = np.zeros_like(theta), -gradient
    direction, square = residual, residual @ residual
    for _ in range(2 * theta.size):
        if np.sqrt(square) <= _REDUCTION * np.linalg.norm(gradient):
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
