"""How the series of the population loss is truncated: what its two implementations must share."""

from __future__ import annotations

from typing import Any

MARGIN = 1.3
"""M is this multiple of the largest |z|: at |z| = M itself the periodic series has a corner."""

UNCOUPLED = 1e-9
"""A coupling below this fraction of M counts as zero."""

SHORTER = (0.5, 0.8, 0.95)
"""The error is estimated from the sums over fewer frequencies, these fractions of all."""

TRUST = (0.35, 2.3, 20.0)
"""The estimate is the largest of the changes times these factors, to which the tail is added (`truncation_tail`)."""


def window(position: Any) -> Any:
    """The weight of a frequency, given as a fraction of the highest: 1 up to ½, then smoothly to 0; NumPy or JAX."""
    xp = position.__array_namespace__()
    # Closer to either end the exponential overflows, and the weight is 1 or 0 to the last digit.
    y = xp.clip(2 * position - 1, 0.01, 0.99)
    falling = 1 / (1 + xp.exp(1 / (1 - y) - 1 / y))
    return xp.where(position <= 0.5, 1.0, xp.where(position < 1, falling, 0.0))
