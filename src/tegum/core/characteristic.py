"""Characteristic functions of sets, from the two forms in which a set can describe itself.

A magnitude U uniform on [0, 1] has the transforms τ_p(s) = E[U^p e^{isU}], and τ_p' = i τ_(p+1): u = τ_0 is its
characteristic function and v = τ_1 its derivative, but for a factor i. In closed form (e^{is} − 1)/(is) and its
derivatives lose all digits for small s, where Taylor series take over.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import jax
import numpy as np

from tegum.core.sets import MixtureTable, RayTable

_TERMS = 9
"""Of the Taylor series in s², for |s| < 1: the next one is below 1e-16."""


def _transform(p: int, s: Any) -> Any:
    xp = s.__array_namespace__()
    small = xp.abs(s) < 1
    near, far = xp.where(small, s, 0.0), xp.where(small, 1.0, s)
    square, real, imaginary = near * near, 0.0, 0.0
    for k in range(_TERMS, -1, -1):
        real = (-1) ** k / (math.factorial(2 * k) * (2 * k + p + 1)) + square * real
        imaginary = (-1) ** k / (math.factorial(2 * k + 1) * (2 * k + p + 2)) + square * imaginary
    # By parts: E[U^p e^{isU}] = (e^{is} − p E[U^(p−1) e^{isU}]) / (is).
    turn = xp.exp(1j * far)
    closed = (turn - 1) / (1j * far)
    for power in range(1, p + 1):
        closed = (turn - power * closed) / (1j * far)
    return xp.where(small, real + 1j * near * imaginary, closed)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _jax_transform(p: int, s: Any) -> Any:
    return _transform(p, s)


@_jax_transform.defjvp
def _jax_transform_jvp(p: int, primals: Any, tangents: Any) -> Any:
    return _jax_transform(p, *primals), 1j * _jax_transform(p + 1, *primals) * tangents[0]


def uniform_transforms(s: Any) -> tuple[Any, Any]:
    """u(s) = E e^{isU} and v(s) = E[U e^{isU}] for U uniform on [0, 1]; NumPy or JAX, of any shape."""
    transform = _transform if isinstance(s, np.ndarray) else _jax_transform
    return transform(0, s), transform(1, s)


def marked(table: MixtureTable | RayTable, s: Any, own: Any) -> tuple[Any, Any]:
    """F = E e^{is·x} and E[x_own e^{is·x}] of a set; the latter is F where no feature of it is `own`.

    Args:
        table: arrays with any leading axes, those of `s` after its first ones.
        s: (..., size).
        own: truth values that select at most one feature, (..., size).

    """
    xp = s.__array_namespace__()
    if isinstance(table, MixtureTable):
        u, v = uniform_transforms(s[..., None, :])
        q = table.gates
        factor = 1 - q + q * u
        mine = xp.where(own[..., None, :], q * v, factor)
        return (table.weights * factor.prod(-1)).sum(-1), (table.weights * mine.prod(-1)).sum(-1)
    along = (table.directions * s[..., None, :]).sum(-1)
    u, v = uniform_transforms(along)
    whole = 1 - table.weights.sum(-1) + (table.weights * u).sum(-1)
    response = (table.directions * own[..., None, :]).sum(-1)
    return whole, xp.where(own.any(-1), (table.weights * response * v).sum(-1), whole)


def characteristic(table: MixtureTable | RayTable, s: np.ndarray) -> np.ndarray:
    """F(s) for s of shape (..., size); complex128."""
    s = np.asarray(s, dtype=np.float64)
    return marked(table, s, np.zeros(s.shape[-1:], dtype=bool))[0]
