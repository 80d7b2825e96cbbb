"""The population loss of features whose population is finite: the exact mean over the rows of an `Empirical` set.

There is no series and no tolerance, and the only error is rounding. Rows are processed a block at a time.
"""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float

from tegum.core.features.empirical import Empirical, Matrix
from tegum.core.features.samples import gathered
from tegum.core.jax_setup import check, compiled, scope
from tegum.core.loss.empirical import empirical_gradient, empirical_loss, is_traced
from tegum.core.model import ACTIVATIONS, Activation, namespace_of

if TYPE_CHECKING:
    import jax

ROWS_AT_ONCE = 1024
"""The number of rows in a block, in JAX."""


def finite_loss(
    weights: Float[np.ndarray, "*run feature hidden"],
    bias: Float[np.ndarray, "*run feature"],
    rows: Empirical,
    activation: Activation,
) -> Float[np.ndarray, "*run"]:
    """Compute the loss of NumPy arrays in float64: the mean of `empirical_loss` over all rows.

    Args:
        weights: W, shape (..., n, m).
        bias: b, shape (..., n).
        rows: the set, with its importances.
        activation: "relu" or "linear".

    Returns:
        The loss, shape (...).

    """
    importance, total = rows.importances, np.zeros(bias.shape[:-1])
    for block in rows.data.blocks():
        total += empirical_loss(weights, bias, block, importance, activation) * (len(block) / rows.samples)
    return total


def finite_gradient(
    weights: Float[np.ndarray, "*run feature hidden"],
    bias: Float[np.ndarray, "*run feature"],
    rows: Empirical,
    activation: Activation,
) -> tuple[Float[np.ndarray, "*run feature hidden"], Float[np.ndarray, "*run feature"]]:
    """Compute the gradient of `finite_loss` in weights and bias.

    Args:
        weights: W, shape (..., n, m).
        bias: b, shape (..., n).
        rows: the set, with its importances.
        activation: "relu" or "linear".

    Returns:
        (dW, db), shaped as weights and bias.

    """
    dW, db = np.zeros(weights.shape), np.zeros(bias.shape)
    for block in rows.data.blocks():
        share = len(block) / rows.samples
        part = empirical_gradient(weights, bias, block, rows.importances, activation)
        dW += part[0] * share
        db += part[1] * share
    return dW, db


def rounding(weights: Any, bias: Any, rows: Empirical) -> Any:
    """Bound the rounding error of the loss: number of terms × ε × their size.

    The terms of x̂_j − x_j sum to at most Σ_i (|W||W|ᵀ)_ji x_i + x_j + |b_j|, whose mean square consists of moments.

    Args:
        weights: W, shape (..., n, m).
        bias: b, shape (..., n).
        rows: the set, with its importances.

    Returns:
        The bound, shape (...).

    """
    traced = is_traced(weights) or is_traced(bias)
    xp, kind = (namespace_of(weights, bias), weights.dtype) if traced else (np, np.float64)
    W, b = xp.abs(xp.asarray(weights, kind)), xp.abs(xp.asarray(bias, kind))
    n, m = W.shape[-2:]
    a = W @ W.mT + np.eye(n, dtype=W.dtype)
    mean, second, importance = (
        xp.asarray(each, dtype=W.dtype) for each in (rows.first_moment(), rows.second_moment(), rows.importances)
    )
    squares = ((a @ second) * a).sum(-1) + 2 * b * (a @ mean) + b**2
    return 2 * (n + m + 8) * float(np.finfo(kind).eps) * (squares @ importance)


class _Problem(NamedTuple):
    """What the loss depends on besides the model: a tree of arrays."""

    arrays: Any
    blocks: Any
    """Row numbers, (block, row); the last block is padded with row 0."""
    weight: Any
    """1 for rows and 0 for padding."""
    importance: Any


def jax_finite_loss(weights: Any, bias: Any, rows: Empirical, activation: Activation) -> Any:
    """The loss of JAX arrays, in double precision whatever JAX's own setting, shape (...).

    It can be differentiated twice, the second time in forward mode, as `jax.hessian` does. Inside transformations the
    result has the caller's precision.
    """
    check()
    import jax

    single = (is_traced(weights) or is_traced(bias)) and not jax.config.read("jax_enable_x64")
    with scope(double=True):
        flat = weights.reshape(-1, *weights.shape[-2:]).astype(float), bias.reshape(-1, bias.shape[-1]).astype(float)
        kind = _Kind(rows.traced(), activation)
        loss = _functions()[0](kind, *flat, _problem(rows)).reshape(bias.shape[:-1])
        return loss.astype(np.float32) if single else loss


def _problem(rows: Empirical) -> _Problem:
    size = min(ROWS_AT_ONCE, rows.samples)
    blocks = -(-rows.samples // size)
    number = np.arange(blocks * size)
    there = number < rows.samples
    shape = blocks, size
    # In their own precision: each block is converted to double precision when it is used.
    arrays = rows.data.arrays(np.result_type(rows.data.dtype, np.float32))
    chosen = np.where(there, number, 0).astype(np.int32).reshape(shape)
    return _Problem(arrays, chosen, there.astype(np.float64).reshape(shape), rows.importances)


class _Kind(NamedTuple):
    """What a program is compiled for."""

    matrix: Matrix
    activation: Activation


@cache
def _functions() -> Any:
    """The loss and its gradient, defined where JAX is first needed."""
    import jax
    import jax.numpy as jnp

    def summed(kind: _Kind, w: jax.Array, b: jax.Array, problem: _Problem, order: int) -> Any:
        """The loss of one model, and its gradient if `order` is 1, block by block."""
        act = ACTIVATIONS[kind.activation]

        def block(total: Any, part: Any) -> Any:
            which, there = part
            x = gathered(problem.arrays, which, kind.matrix.size, kind.matrix.longest).astype(float)
            h = x @ w
            z = h @ w.T + b
            error = act.function(z) - x
            weighted = problem.importance * error * there[:, None]
            loss = total[0] + (weighted * error).sum()
            if not order:
                return (loss,), None
            dz = 2 * weighted * (z > act.floor)
            return (loss, total[1] + dz.T @ h + x.T @ (dz @ w), total[2] + dz.sum(0)), None

        zero = jnp.zeros((), w.dtype), jnp.zeros_like(w), jnp.zeros_like(b)
        found, _ = jax.lax.scan(block, zero if order else zero[:1], (problem.blocks, problem.weight))
        return tuple(each / kind.matrix.samples for each in found)

    @compiled(static_argnums=(0, 4))
    def each(kind: _Kind, weights: Any, bias: Any, problem: _Problem, order: int) -> Any:
        return jax.lax.map(lambda model: summed(kind, model[0], model[1], problem, order), (weights, bias))

    @partial(jax.custom_jvp, nondiff_argnums=(0, 3))
    def loss(kind: _Kind, weights: Any, bias: Any, problem: Any) -> Any:
        with scope(double=True):
            return each(kind, weights, bias, problem, 0)[0]

    @partial(jax.custom_jvp, nondiff_argnums=(0, 3))
    def gradient(kind: _Kind, weights: Any, bias: Any, problem: Any) -> Any:
        with scope(double=True):
            return each(kind, weights, bias, problem, 1)[1:]

    # Derivatives are taken outside the scope of double precision, where differentiating the loop would lose it.
    @loss.defjvp
    def _(kind: _Kind, problem: Any, primals: Any, tangents: Any) -> Any:
        dW, db = gradient(kind, *primals, problem)
        return loss(kind, *primals, problem), (dW * tangents[0]).sum((-2, -1)) + (db * tangents[1]).sum(-1)

    @gradient.defjvp
    def _(kind: _Kind, problem: Any, primals: Any, tangents: Any) -> Any:
        with scope(double=True):
            return jax.jvp(lambda w, b: each(kind, w, b, problem, 1)[1:], primals, tangents)

    return loss, gradient
