"""Laws of magnitude as numbers that the kernel reads; `quantiles` is what it does with them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from tegum.core.features.magnitudes import (
    UNIT_RANGE,
    ConstantMagnitude,
    HalfNormalMagnitude,
    Magnitude,
    UniformMagnitude,
)

UNCHANGED, AFFINE, HALF_NORMAL = 0, 1, 2


class KernelLaw(NamedTuple):
    """A law as the kernel knows it."""

    number: int
    offset: float = 0.0
    scale: float = 1.0


LAW_NUMBERS = len(KernelLaw._fields)
"""How many numbers a law is for the kernel."""


_LAWS: dict[type[Magnitude], Callable[[Any], KernelLaw]] = {
    UniformMagnitude: lambda law: KernelLaw(AFFINE, law.low, law.high - law.low),
    ConstantMagnitude: lambda law: KernelLaw(AFFINE, law.value, 0.0),
    HalfNormalMagnitude: lambda law: KernelLaw(HALF_NORMAL, 0.0, law.scale * math.sqrt(2)),
}


def has_law(magnitude: Magnitude) -> bool:
    """Whether the kernel knows a law; other ones are drawn in JAX."""
    return type(magnitude) in _LAWS


def kernel_law(magnitude: Magnitude) -> KernelLaw:
    """A law that `has_law` knows."""
    return KernelLaw(UNCHANGED) if magnitude == UNIT_RANGE else _LAWS[type(magnitude)](magnitude)
