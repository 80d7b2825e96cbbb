"""Characteristic functions of sets, from the two forms in which a set can describe itself.

A magnitude U uniform on [0, 1] has the transforms τ_p(s) = E[U^p e^{isU}], and τ_p' = i τ_(p+1): u = τ_0 is its
characteristic function and v = τ_1 its derivative, up to a factor i. The closed forms, (e^{is} − 1)/(is) and its
derivatives, lose all digits for small s, where Taylor series take over.
"""

from __future__ import annotations

import functools
import math
from typing import Any, assert_never

import jax
import numpy as np

from tegum.core.features.tables import MixtureTable, RayTable

_TERMS = 9
"""The number of terms of the Taylor series in s², used for |s| < 1; the next term is below 1e-16."""


@functools.cache
def _taylor(count: int) -> np.ndarray:
    """Coefficients of s^{2k} (real) and s^{2k+1} (imaginary part) of τ_p, from the highest k: (k, 2, p)."""
    return np.array(
        [
            [
                [(-1) ** k / (math.factorial(2 * k + odd) * (2 * k + odd + p + 1)) for p in range(count)]
                for odd in (0, 1)
            ]
            for k in range(_TERMS, -1, -1)
        ]
    )


def _transforms(count: int, s: Any) -> Any:
    """τ_0 … τ_(count − 1), as a new last axis."""
    xp = s.__array_namespace__()
    small = xp.abs(s) < 1
    near, far = xp.where(small, s, 0.0)[..., None], xp.where(small, 1.0, s)
    square: Any = (near * near)[..., None, :]
    sums: Any = 0.0
    for row in _taylor(count):
        sums = row + square * sums
    # By parts: E[U^p e^{isU}] = (e^{is} − p E[U^(p−1) e^{isU}]) / (is).
    turn, over = xp.exp(1j * far), -1j / far
    closed = [(turn - 1) * over]
    for power in range(1, count):
        closed.append((turn - power * closed[-1]) * over)
    return xp.where(small[..., None], sums[..., 0, :] + 1j * near * sums[..., 1, :], xp.stack(closed, -1))


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _jax_transforms(count: int, s: Any) -> Any:
    return _transforms(count, s)


@_jax_transforms.defjvp
def _jax_transforms_jvp(count: int, primals: Any, tangents: Any) -> Any:
    values = _jax_transforms(count + 1, *primals)
    return values[..., :-1], 1j * values[..., 1:] * tangents[0][..., None]


def uniform_transforms(s: Any) -> tuple[Any, Any]:
    """u(s) = E e^{isU} and v(s) = E[U e^{isU}] for U uniform on [0, 1]; NumPy or JAX, of any shape."""
    values = (_transforms if isinstance(s, np.ndarray) else _jax_transforms)(2, s)
    return values[..., 0], values[..., 1]


def marked(table: MixtureTable | RayTable, s: Any, own: Any, transforms: Any = None) -> tuple[Any, Any]:
    """F = E e^{is·x} and E[x_own e^{is·x}] of a set; the second is F if none of its features is `own`.

    Args:
        table: arrays with any leading axes, those of `s` after its first ones.
        s: (..., size).
        own: booleans that select at most one feature, (..., size).
        transforms: u(s) and v(s), if already known.

    """
    xp = s.__array_namespace__()
    match table:
        case MixtureTable():
            u, v = (each[..., None, :] for each in transforms or uniform_transforms(s))
            q = table.gates
            factor = 1 - q + q * u
            mine = xp.where(own[..., None, :], q * v, factor)
            return (table.weights * factor.prod(-1)).sum(-1), (table.weights * mine.prod(-1)).sum(-1)
        case RayTable():
            along = (table.directions * s[..., None, :]).sum(-1)
            u, v = uniform_transforms(along)
            whole = 1 - table.weights.sum(-1) + (table.weights * u).sum(-1)
            response = (table.directions * own[..., None, :]).sum(-1)
            return whole, xp.where(own.any(-1), (table.weights * response * v).sum(-1), whole)
        case _:
            assert_never(table)


def characteristic(table: MixtureTable | RayTable, s: np.ndarray, of_magnitudes: Any = None) -> Any:
    """F(s) for s of shape (..., size), complex128; a single s gives a number.

    `of_magnitudes` are the characteristic functions of magnitudes at s; None is that of [0, 1].
    """
    s = np.asarray(s, dtype=np.float64)
    transforms = None if of_magnitudes is None else (of_magnitudes, of_magnitudes)
    return marked(table, s, np.zeros(s.shape[-1:], dtype=bool), transforms)[0]
