"""The loss of a model, on samples (empirical) and in expectation (population), and its gradient.

L = mean over the batch of Σ_j I_j (x_j − x̂_j)², x̂ = act(W Wᵀ x + b): a sum over features, never a mean. The population
loss is that for an infinite batch, to any asked accuracy.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, overload

import numpy as np
from jaxtyping import Float, Shaped

from tegum.core.arguments import refusing
from tegum.core.features.distribution import FeatureDistribution
from tegum.core.features.empirical import Empirical
from tegum.core.model import Activation, activation_named, exact_path, forward, model_arrays, namespace_of
from tegum.core.outside.arrays import arrays_of

BLOCK_ELEMENTS = 2**18
"""Elements of the largest temporary (2 MiB in float64): several of them stay in a processor's cache."""


@refusing
def empirical_loss(
    weights: Float[Any, "*run feature hidden"],
    bias: Float[Any, "*run feature"],
    x: Float[Any, "batch feature"],
    importance: float | int | Shaped[Any, " feature"] | Shaped[Any, ""] = 1.0,
    activation: Activation = "relu",
) -> Float[Any, "*run"]:
    """The mean over the batch of Σ_j I_j (x_j − x̂_j)², for every run on the same samples.

    NumPy arrays are computed in float64 whatever their precision, a block at a time, so that no temporary
    grows with the number of runs or samples. JAX arrays keep their precision, and the loss can be
    differentiated and compiled.

    Args:
        weights: shape (..., n, m).
        bias: shape (..., n).
        x: samples, shape (batch, n).
        importance: one number, or one for each feature, at least 0.
        activation: a name in `ACTIVATIONS`.

    Returns:
        Shape (...). A diverged run's loss is inf or NaN, without a warning.

    Raises:
        ValueError: shapes do not fit, an importance is negative or not finite, or there is no such
            activation.

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
    """The gradient of `empirical_loss` in weights and bias, in closed form and float64.

    With the batch as rows, h = x W, z = h Wᵀ + b and dz = 2 I (x̂ − x)·1[z > floor] / batch:
    dW = dzᵀ h + xᵀ (dz W) and db = Σ_batch dz.

    Args:
        weights: shape (..., n, m).
        bias: shape (..., n).
        x: samples, shape (batch, n).
        importance: one number, or one for each feature, at least 0.
        activation: a name in `ACTIVATIONS`.

    Returns:
        (dW, db), shaped as weights and bias. A diverged run's gradient is inf or NaN, without a warning.

    Raises:
        ValueError: shapes do not fit, an importance is negative or not finite, or there is no such
            activation.

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


@overload
def population_loss(
    weights: Any,
    bias: Any,
    features: FeatureDistribution,
    *,
    tol: float = ...,
    activation: Activation = ...,
    with_error: Literal[False] = ...,
    threads: int = ...,
) -> Any: ...
@overload
def population_loss(
    weights: Any,
    bias: Any,
    features: FeatureDistribution,
    *,
    tol: float = ...,
    activation: Activation = ...,
    with_error: Literal[True],
    threads: int = ...,
) -> tuple[Any, Any]: ...
@refusing
def population_loss(
    weights: Float[Any, "*run feature hidden"],
    bias: Float[Any, "*run feature"],
    features: FeatureDistribution,
    *,
    tol: float = 1e-8,
    activation: Activation = "relu",
    with_error: bool = False,
    threads: int = 1,
) -> Any:
    """The expectation of Σ_j I_j (x_j − x̂_j)² over the feature distribution, without samples, in float64.

    NumPy arrays go through a compiled kernel, JAX arrays through JAX in double precision, whatever JAX's own setting.
    There the loss can be differentiated twice: the gradient is as accurate as `tol` relative to max(1, |gradient|),
    second derivatives a thousand times less. Inside `jax.jit`, where nothing can be refused, what cannot be had to
    that accuracy is NaN. Of arrays in single precision the derivatives are single, too.

    The population of a distribution that is one `Empirical` set is finite: the loss is the exact mean over its rows,
    and `tol` does not matter. In JAX its second derivatives need forward mode, as in `jax.hessian`.

    Args:
        weights: shape (..., n, m).
        bias: shape (..., n).
        features: the feature distribution, with its importances.
        tol: the largest error of the loss; the number of frequencies is chosen for it.
        activation: a name in `ACTIVATIONS`.
        with_error: return a bound of the error as well, as it is estimated; in the middle of random models 25 times too
            large.
        threads: of a CPU, for NumPy arrays.

    Returns:
        The loss, shape (...), or (loss, error).

    Raises:
        ValueError: shapes do not fit, a parameter is not finite, `tol` is no positive number or cannot be reached, a
            set of features has no characteristic function (an `Empirical` set beside others, for instance), there
            is no such activation, or it has no population loss.

    """
    xp = namespace_of(weights, bias)
    weights, bias = _model("population_loss", weights, bias, features)
    _check_request("population_loss", tol, activation)
    if (rows := _finite("population_loss", features, activation)) is not None:
        from tegum.core.loss import finite

        of = finite.finite_loss if xp is np else finite.jax_finite_loss
        loss = of(weights, bias, rows, activation)
        return (loss[()], finite.rounding(weights, bias, rows)[()]) if with_error else loss[()]
    exact_path(f"population_loss(activation={activation!r})", activation)
    if xp is np:
        from tegum.core.population.evaluate import evaluate

        w, b = weights.reshape(-1, *weights.shape[-2:]), bias.reshape(-1, bias.shape[-1])
        found = evaluate(w, b, features, tol=tol, activation=activation, threads=threads)
        loss, error = found.loss.reshape(bias.shape[:-1]), found.error.reshape(bias.shape[:-1])
        return (loss[()], error[()]) if with_error else loss[()]
    from tegum.core.population.autodiff.series import jax_loss

    loss, error = jax_loss(weights, bias, features, tol, activation)
    return (loss, error) if with_error else loss


@refusing
def population_gradient(
    weights: Float[np.ndarray, "*run feature hidden"],
    bias: Float[np.ndarray, "*run feature"],
    features: FeatureDistribution,
    *,
    tol: float = 1e-8,
    activation: Activation = "relu",
) -> tuple[Float[np.ndarray, "*run feature hidden"], Float[np.ndarray, "*run feature"]]:
    """The gradient of `population_loss` in weights and bias, in float64.

    Args:
        weights: shape (..., n, m).
        bias: shape (..., n).
        features: the feature distribution, with its importances.
        tol: the largest error, by the norm over all parameters of a model and relative to max(1, |gradient|).
        activation: a name in `ACTIVATIONS`.

    Returns:
        (dW, db), shaped as weights and bias.

    Raises:
        ValueError: as `population_loss`.

    """
    weights, bias = (np.asarray(each) for each in _model("population_gradient", weights, bias, features))
    _check_request("population_gradient", tol, activation)
    if (rows := _finite("population_gradient", features, activation)) is not None:
        from tegum.core.loss.finite import finite_gradient

        return finite_gradient(weights, bias, rows, activation)
    exact_path(f"population_gradient(activation={activation!r})", activation)
    from tegum.core.population.evaluate import evaluate

    w, b = weights.reshape(-1, *weights.shape[-2:]), bias.reshape(-1, bias.shape[-1])
    gradient = evaluate(w, b, features, order=1, tol=tol, activation=activation).gradient
    assert gradient is not None
    cut = w[0].size
    return gradient[:, :cut].reshape(weights.shape), gradient[:, cut:].reshape(bias.shape)


def _finite(call: str, features: FeatureDistribution, activation: Activation) -> Empirical | None:
    """The one set whose population is finite, None where there is no such set; others beside it are refused."""
    found = [each for each in features.sets if isinstance(each, Empirical)]
    if not found:
        return None
    if len(features.sets) == 1:
        return found[0]
    if activation_named(f"{call}(activation={activation!r})", activation).exact == "moments":  # which are enough
        return None
    raise ValueError(
        f"{call}(features=[…, {found[0]!r}, …]): an Empirical set must be the only one, as there is no population loss "
        "for it beside others; use empirical_loss on samples"
    )


def _model(call: str, weights: Any, bias: Any, features: Any) -> tuple[Any, Any]:
    """A model for these features as arrays of one kind, with finite parameters as far as they are known."""
    weights, bias = arrays_of(call, weights=weights, bias=bias)
    w, b = np.shape(weights), np.shape(bias)
    if not isinstance(features, FeatureDistribution):
        raise ValueError(f"{call}(features={type(features).__name__}): features must be a FeatureDistribution")
    n = features.n
    if 0 in w:
        raise ValueError(
            f"{call}(weights of shape {w}): there must be at least one model, feature and hidden dimension"
        )
    if len(w) < 2 or w[-2] != n:
        raise ValueError(
            f"{call}(weights of shape {w}): weights must have the shape (..., {n}, hidden), as features has n = {n}"
        )
    if b != w[:-1]:
        raise ValueError(f"{call}(bias of shape {b}): bias must have the shape {w[:-1]}, as weights has {w}")
    for name, value in (("weights", weights), ("bias", bias)):
        if isinstance(value, np.ndarray) and value.dtype.kind not in "fiu":
            raise ValueError(f"{call}({name} of dtype {value.dtype}): {name} must hold real numbers")
        if not is_traced(value) and not np.isfinite(np.asarray(value)).all():
            raise ValueError(f"{call}({name}): {name} must be finite, and there is a NaN or an infinity among them")
    xp = namespace_of(weights, bias)
    return xp.asarray(weights), xp.asarray(bias)


def is_traced(value: Any) -> bool:
    """Whether the value is being differentiated or compiled by JAX, so that its numbers may not be known."""
    import sys

    jax = sys.modules.get("jax")
    return jax is not None and isinstance(value, jax.core.Tracer)


def _check_request(call: str, tol: float, activation: str) -> None:
    if isinstance(tol, bool) or not isinstance(tol, float | int | np.floating) or not 0 < tol < np.inf:
        raise ValueError(f"{call}(tol={tol!r}): tol must be a positive finite number")
    activation_named(f"{call}(activation={activation!r})", activation)


def _importance(call: str, importance: Any, n: int) -> Any:
    """Importance for each feature in float64; from JAX as it is, for its values may not be known yet."""
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
    """Slices of the runs and of the samples that cover all pairs, few enough at once for `BLOCK_ELEMENTS`."""
    samples = min(batch, max(1, BLOCK_ELEMENTS // max(n, m)))
    together = max(1, BLOCK_ELEMENTS // max(samples * n, samples * m, n * m))
    for run in range(0, runs, together):
        for sample in range(0, batch, samples):
            yield slice(run, run + together), slice(sample, sample + samples)
