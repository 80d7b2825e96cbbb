"""The two forms in which samplers, moments and exact losses take a feature set."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float


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


class RayTable(NamedTuple):
    """A set written as a mixture of rays: x = a · direction with a uniform on [0, 1], or x = 0."""

    weights: Float[np.ndarray, " ray"]
    """The probability of each ray; with the remaining probability no feature is active."""
    directions: Float[np.ndarray, "ray size"]
    """The direction of each ray, shape (ray, size): the values of the features where the amplitude is 1."""
