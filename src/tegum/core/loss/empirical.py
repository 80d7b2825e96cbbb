"""The loss of a model on samples, and its gradient.

L = mean over the batch of Σ_j I_j (x_j − x̂_j)², x̂ = act(W Wᵀ x + b): a sum over features, never a mean.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from tegum.core.arguments import refusing
from tegum.core.model import Activation, activation_named, forward, model_arrays, namespace_of

BLOCK_ELEMENTS = 2**18
"""The largest number of elements in a temporary (2 MiB in float64): several of them fit into a processor's cache."""


@refusing
def empirical_loss(
    weights: Float[Any, "*run feature hidden"],
    bias: Float[Any, "*run feature"],
    x: Float[Any, "batch feature"],
    importance: float | int | Shaped[Any, " feature"] | Shaped[Any, ""] = 1.0,
    activation: Activation = "relu",
) -> Float[Any, "*run"]:
    """Compute the mean over a batch of Σ_j I_j (x_j − x̂_j)², for every run on the same samples.

    This is the importance-weighted loss of Elhage et al. 2022 (section "Demonstrating Superposition") for one batch:
    a sum over features, never a mean. NumPy arrays of any precision are computed in float64, a block at a time, so
    that no temporary grows with the number of runs or samples. JAX arrays keep their precision; the loss can then be
    differentiated and compiled.

    Args:
        weights: W, shape (..., n, m); features are rows.
        bias: b, shape (..., n).
        x: samples, shape (batch, n).
        importance: the weight I of each feature's squared error, one number or shape (n,), at least 0.
        activation: "relu" or "linear".

    Returns:
        The loss of each run, shape (...). That of a diverged run is inf or NaN, without a warning.

    Raises:
        ValueError: the shapes do not fit together, an importance is negative or not finite, or there is no
            activation of that name.

    Example:
        A model of zeros predicts nothing, so that its loss is the features' mean square, here (1 + 4) / 2.

        >>> import tegum as tg
        >>> import numpy as np
        >>> float(tg.empirical_loss(np.zeros((2, 1)), np.zeros(2), np.array([[1.0, 0.0], [0.0, 2.0]])))
        2.5

    """
    xp = namespace_of(weights, bias, x, importance)
    weights, bias, x = model_arrays("empirical_loss", weights, bias, x)
    weight = _importance("empirical_loss", importance, x.shape[1])
    activation_named(f"empirical_loss(activation={activation!r})", activation)
    if xp is not np:
        x = xp.asarray(x)
        error = x - forward(weights, bias, x, activation)
        return (xp.asarray(weight, dtype=error.dtype) * error**2).sum(-1).mean(-1)

    W, b = weights.reshape(-1, *weights.shape[-2:]), bias.reshape(-1, bias.shape[-1])
    total = np.zeros(len(W))
    with np.errstate(over="ignore", invalid="ignore"):
        for run, sample in _blocks(len(W), len(x), *W.shape[1:]):
            samples = x[sample].astype(np.float64)
            error = forward(W[run].astype(np.float64), b[run].astype(np.float64), samples, activation)
            error -= samples
            error *= error
            total[run] += (error @ weight).sum(-1)
        return (total / len(x)).reshape(bias.shape[:-1])


def empirical_gradient(
    weights: Float[np.ndarray, "*run feature hidden"],
    bias: Float[np.ndarray, "*run feature"],
    x: Float[np.ndarray, "batch feature"],
    importance: float | int | Shaped[np.ndarray, " feature"] = 1.0,
    activation: Activation = "relu",
) -> tuple[Float[np.ndarray, "*run feature hidden"], Float[np.ndarray, "*run feature"]]:
    """Compute the gradient of `empirical_loss` in weights and bias, in closed form and float64.

    With samples as rows, h = x W, z = h Wᵀ + b and dz = 2 I (x̂ − x)·1[z > floor] / batch, backpropagation gives

        dW = dzᵀ h + xᵀ (dz W),   db = Σ_batch dz.

    Args:
        weights: W, shape (..., n, m); features are rows.
        bias: b, shape (..., n).
        x: samples, shape (batch, n).
        importance: the weight of each feature's squared error, one number or shape (n,), at least 0.
        activation: "relu" or "linear".

    Returns:
        (dW, db), shaped as weights and bias. The gradient of a diverged run is inf or NaN, without a warning.

    Raises:
        ValueError: the shapes do not fit together, an importance is negative or not finite, or there is no
            activation of that name.

    """
    weights, bias, x = (np.asarray(array) for array in model_arrays("empirical_gradient", weights, bias, x))
    n, m = weights.shape[-2:]
    weight = _importance("empirical_gradient", importance, n)
    act = activation_named(f"empirical_gradient(activation={activation!r})", activation)
    W, b = weights.reshape(-1, n, m), bias.reshape(-1, n)
    dW, db = np.zeros(W.shape), np.zeros(b.shape)
    with np.errstate(over="ignore", invalid="ignore"):
        for run, sample in _blocks(len(W), len(x), n, m):
            samples, rows = x[sample].astype(np.float64), W[run].astype(np.float64)
            h = samples @ rows
            z = h @ rows.mT + b[run, None].astype(np.float64)
            dz = (2 / len(x)) * weight * (act.function(z) - samples) * (z > act.floor)
            dW[run] += dz.mT @ h + samples.T @ (dz @ rows)
            db[run] += dz.sum(-2)
    return dW.reshape(weights.shape), db.reshape(bias.shape)


def _importance(call: str, importance: Any, n: int) -> Any:
    """Importance for each feature in float64; a JAX array unchanged, as JAX may be tracing it."""
    if np.shape(importance) not in ((), (n,)):
        raise ValueError(
            f"{call}(importance of shape {np.shape(importance)}): importance must be one number or {n}, "
            "one for each feature"
        )
    if namespace_of(importance) is not np:
        return importance
    weight = np.array(np.broadcast_to(np.asarray(importance, dtype=np.float64), n))
    if not np.all((weight >= 0) & (weight < np.inf)):
        raise ValueError(f"{call}(importance={importance!r}): importance must be at least 0 and finite")
    return weight


def _blocks(runs: int, batch: int, n: int, m: int) -> Iterator[tuple[slice, slice]]:
    """Slices of the runs and of the samples that cover all pairs, each within `BLOCK_ELEMENTS`."""
    samples = min(batch, max(1, BLOCK_ELEMENTS // max(n, m)))
    together = max(1, BLOCK_ELEMENTS // max(samples * n, samples * m, n * m))
    for run in range(0, runs, together):
        for sample in range(0, batch, samples):
            yield slice(run, run + together), slice(sample, sample + samples)


def is_traced(value: Any) -> bool:
    """Whether the value is being differentiated or compiled by JAX, so that its numbers may not be known."""
    import sys

    jax = sys.modules.get("jax")
    return jax is not None and isinstance(value, jax.core.Tracer)
