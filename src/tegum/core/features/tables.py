"""The two forms of a set of features that samplers, moments and exact losses know."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float


class MixtureTable(NamedTuple):
    """A gated set as a mixture of components in which its features are independent."""

    weights: Float[np.ndarray, " component"]
    """Probability of each component; they add up to 1."""
    gates: Float[np.ndarray, "component size"]
    """Probability that a feature is active, given the component."""


class RayTable(NamedTuple):
    """A set as a mixture of rays: x = a·direction with a uniform on [0, 1], or nothing active."""

    weights: Float[np.ndarray, " ray"]
    """Probability of each ray; with the rest of the probability nothing is active."""
    directions: Float[np.ndarray, "ray size"]
