"""The two forms in which samplers, moments and exact losses take a feature set."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

_WHOLE = 1e-6
"""How far the sum of a table's weights may be from 1 by rounding."""


class MixtureTable(NamedTuple):
    """A gated set written as a mixture of components; within a component the features are independent.

    Example:
        A correlated pair of density 0.1 is inactive with probability 0.9, and otherwise entirely active.

        >>> import tegum as tg
        >>> table = tg.Correlated(size=2, density=0.1).table()
        >>> table.weights.round(6).tolist(), table.gates.tolist()
        ([0.9, 0.1], [[0.0, 0.0], [1.0, 1.0]])

    """

    weights: Float[np.ndarray, " component"]
    """The probability of each component; shape (component,), summing to 1."""
    gates: Float[np.ndarray, "component size"]
    """The probability that each feature is active, given the component; shape (component, size)."""


def checked(table: Any, features: int, call: str) -> MixtureTable:
    """A mixture table whose numbers are probabilities, in float64.

    Samplers, moments and losses read a table in different ways, and would disagree about any other.

    Args:
        table: the table, or a pair of weights and gates.
        features: the number of features that it must have.
        call: the beginning of every error message.

    Raises:
        ValueError: the weights are not probabilities that sum to 1, the gates are not probabilities, or their shapes
            do not fit.

    """
    try:
        weights, gates = (np.array(part, np.float64) for part in table)
    except (TypeError, ValueError):
        raise ValueError(f"{call}: it must be MixtureTable(weights, gates), two arrays of numbers") from None
    if weights.ndim != 1 or not len(weights) or gates.shape != (len(weights), features):
        shapes = f"weights of shape {weights.shape} and gates of shape {gates.shape}"
        rule = f"weights must have the shape (components,) and gates (components, {features}), one for each feature"
        raise ValueError(f"{call}: {shapes}: {rule}")
    for name, part in (("weights", weights), ("gates", gates)):
        if not ((part >= 0) & (part <= 1)).all():
            wrong = part[~((part >= 0) & (part <= 1))][0]
            raise ValueError(f"{call}: {name} must be probabilities in [0, 1], and one is {wrong:g}")
    if abs(weights.sum() - 1) > _WHOLE:
        rule = "weights must sum to 1; what is left is the probability of a component in which no feature is active"
        raise ValueError(f"{call}: the weights sum to {weights.sum():.6g}: {rule}")
    return MixtureTable(weights, gates)


class RayTable(NamedTuple):
    """A set written as a mixture of rays: x = a · direction with a uniform on [0, 1], or x = 0."""

    weights: Float[np.ndarray, " ray"]
    """The probability of each ray; with the remaining probability no feature is active."""
    directions: Float[np.ndarray, "ray size"]
    """The direction of each ray, shape (ray, size): the values of the features where the amplitude is 1."""
