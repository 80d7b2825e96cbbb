"""How the series of the population loss is cut off: the one place for what its two implementations must share."""

from __future__ import annotations

from typing import Any

MARGIN = 1.3
"""M is so many times the largest |z|: at the bound itself the series has the corner of its period."""

UNCOUPLED = 1e-9
"""A coupling below this part of M is none."""

SHORTER = (0.5, 0.8, 0.95)
"""The error is judged by what fewer frequencies, these parts of all, would have given, …"""

TRUST = (0.35, 2.3, 20.0)
"""… and these multiples of the changes, the largest of them, and by what lingers (`truncation_tail`)."""


def window(position: Any) -> Any:
    """The weight of a frequency at a part of the highest: 1 up to one half, then smoothly to 0 at 1; NumPy or JAX."""
    xp = position.__array_namespace__()
    # Nearer to its ends the exponential overflows, where the weight is 1 or 0 to the last digit.
    y = xp.clip(2 * position - 1, 0.01, 0.99)
    falling = 1 / (1 + xp.exp(1 / (1 - y) - 1 / y))
    return xp.where(position <= 0.5, 1.0, xp.where(position < 1, falling, 0.0))
