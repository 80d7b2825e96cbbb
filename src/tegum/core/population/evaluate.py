"""The population loss of many models to a given accuracy: value, gradient and Hessian, each with its error.

The number of frequencies is doubled, for each model separately, until the estimated error is small enough. Mixture
tables go through the fused kernel; other sets go through JAX. The linear model has a closed form.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, assert_never

import numpy as np
from jaxtyping import Float, Int

from tegum.core.features.distribution import FeatureDistribution
from tegum.core.limits import check_memory, check_time, exact_loss_seconds
from tegum.core.loss.linear import moment_form, squared_errors
from tegum.core.model import Activation, exact_path
from tegum.core.population.errors import (
    irreducible_errors,
    kernel_values,
    second_derivatives,
    tail_errors,
)
from tegum.core.population.parameters import hessian_in_parameters
from tegum.core.stopping import current, interruptible

FEWEST_FREQUENCIES, MOST_FREQUENCIES = 32, 2**16
"""The fewest and the most frequencies of the compiled kernel's series."""

STEADY = 1e-9
"""Changes of the Hessian below this, relative to it, may grow by rounding or by chance."""

GROWTH = 16
"""How much more than in proportion to frequencies its changes are taken to grow, as long as they do."""

_LARGEST = 1e70
"""The largest absolute value of a parameter: beyond it, a float64 may not hold the loss."""


class Evaluation(NamedTuple):
    """What `evaluate` found; derivatives are in the parameters (W row by row, b), P = nm + n of them."""

    loss: Float[np.ndarray, " run"]
    error: Float[np.ndarray, " run"]
    """An estimate of the loss's error, meant as a bound: for the median random model it is 25 times too large."""
    gradient: Float[np.ndarray, "run parameter"] | None = None
    gradient_error: Float[np.ndarray, " run"] | None = None
    """An estimate, meant as a bound, of the Euclidean norm of the gradient's error."""
    hessian: Float[np.ndarray, "run parameter parameter"] | None = None
    hessian_error: Float[np.ndarray, " run"] | None = None
    """An estimate, meant as a bound, of the Frobenius norm of the Hessian's error, and so of every eigenvalue's
    error."""
    frequencies: Int[np.ndarray, " run"] | None = None
    """The number of frequencies in the kernel; 0 for the linear model, and for sets that go through JAX."""


def evaluate(
    weights: Float[np.ndarray, "run feature hidden"],
    bias: Float[np.ndarray, "run feature"],
    features: FeatureDistribution | Sequence[FeatureDistribution],
    *,
    order: int = 0,
    tol: float = 1e-8,
    activation: Activation = "relu",
    threads: int = 1,
    strict: bool = True,
    only_highest: bool = False,
) -> Evaluation:
    """The population loss (order 0), and its gradient (order 1) and Hessian (order 2).

    Args:
        weights: W, shape (run, n, m).
        bias: b, shape (run, n).
        features: one distribution for all models, or one for each.
        order: the order of the highest derivative.
        tol: the largest error of the loss, and of the gradient in norm, relative to max(1, |gradient|). For the Hessian
            it is a thousand times as much, relative to max(1, |Hessian|).
        activation: a name in `ACTIVATIONS`.
        threads: the number of threads of the kernel.
        strict: refuse models that are not finite, and errors above `tol`. Otherwise the errors say what was reached,
            and models that are not finite have the loss NaN.
        only_highest: whether `tol` is for the highest derivative alone. In the kernel, the loss and lower derivatives
            are then no more accurate than the frequencies that it takes happen to make them.

    Raises:
        ValueError: shapes do not fit, the activation has no population loss, a set has no characteristic function,
            or, if strict, parameters are not finite or `tol` cannot be reached.

    """
    weights, bias = np.asarray(weights, dtype=np.float64), np.asarray(bias, dtype=np.float64)
    _check_call(weights, bias, order, tol)
    path = exact_path(f"evaluate(activation={activation!r})", activation)
    runs, n, m = weights.shape
    given = [features] * runs if isinstance(features, FeatureDistribution) else list(features)
    if len(given) != runs or any(each.n != n for each in given):
        raise ValueError(
            f"evaluate(weights of shape {weights.shape}): features must be a distribution of {n} features, "
            f"or {runs} of them"
        )
    _check_memory(runs, n, m, order)
    high = np.ones(runs)
    if path == "series":
        given, high = _in_units(given)
        given_shape = f"population loss(weights of shape {weights.shape})"
        least = exact_loss_seconds(runs, n, m) / min(threads, max(runs, 1))
        check_time(
            given_shape, f"the loss of {runs:,} models", least, "fewer models or a smaller one take less", least=True
        )
    bias = bias / high[:, None]
    theta = np.concatenate([weights.reshape(runs, -1), bias], 1)
    # The loss is of fourth order in the weights; NaN compares as False.
    finite = (np.abs(theta) <= _LARGEST).all(1)
    if strict and not finite.all():
        raise ValueError(
            f"population loss(weights, bias): model {int(np.argmin(finite))} has a parameter that is not finite, or is "
            f"beyond {_LARGEST:g}"
        )
    found = _blank(runs, theta.shape[1], order)
    # Enough for the highest derivative, once `_in_own_units` has scaled it, and so for lower ones.
    inner_tol = tol * float(np.minimum(high**order, high**-2.0).min(initial=1.0))
    if (good := np.flatnonzero(finite)).size:
        chosen = [given[run] for run in good.tolist()]
        match path:
            case "moments":
                part = _linear(weights[good], bias[good], chosen, order)
            case "series":
                if all(each.gated for each in chosen):
                    part = _by_kernel(theta[good], (n, m), chosen, order, inner_tol, threads, only_highest)
                else:
                    part = _by_jax(weights[good], bias[good], chosen, order, inner_tol)
            case _:
                assert_never(path)
        for whole, values in zip(found, part, strict=True):
            if whole is not None:
                whole[good] = values
    if (high != 1).any():
        found = _in_own_units(found, high, n * m)
    if strict:
        _refuse_inaccurate(found, order, tol, only_highest)
    return found


def _check_call(weights: np.ndarray, bias: np.ndarray, order: int, tol: float) -> None:
    if weights.ndim != 3 or weights.shape[2] < 1 or bias.shape != weights.shape[:2]:
        raise ValueError(
            f"evaluate(weights of shape {weights.shape}, bias of shape {bias.shape}): they must have the shapes "
            "(run, feature, hidden) and (run, feature)"
        )
    if order not in (0, 1, 2):
        raise ValueError(f"evaluate(order={order!r}): order must be 0, 1 or 2")
    if not tol > 0:
        raise ValueError(f"evaluate(tol={tol!r}): tol must be a positive number")


def _in_units(given: list[FeatureDistribution]) -> tuple[list[FeatureDistribution], Float[np.ndarray, " run"]]:
    """The distributions of all models with magnitudes on [0, 1], and by how much theirs are larger."""
    known = {id(each): each.rescaled("population loss({})") for each in {id(each): each for each in given}.values()}
    return [known[id(each)][0] for each in given], np.array([known[id(each)][1] for each in given])


def _in_own_units(found: Evaluation, high: Float[np.ndarray, " run"], weights: int) -> Evaluation:
    """L(W, b) = h² L₁(W, b/h), with its derivatives, from L₁, the loss of magnitudes on [0, 1]; `weights` of them."""
    square, steepest = high**2, np.maximum(1, 1 / high)
    gradient, gradient_error, hessian, hessian_error = found[2:6]
    if gradient is not None and gradient_error is not None:
        biases = gradient.shape[1] - weights
        inner = np.concatenate([np.ones((len(high), weights)), np.repeat(1 / high[:, None], biases, 1)], 1)
        gradient, gradient_error = square[:, None] * inner * gradient, square * steepest * gradient_error
        if hessian is not None and hessian_error is not None:
            hessian = square[:, None, None] * inner[:, :, None] * inner[:, None] * hessian
            hessian_error = square * steepest**2 * hessian_error
    return Evaluation(
        square * found.loss, square * found.error, gradient, gradient_error, hessian, hessian_error, found.frequencies
    )


def _check_memory(runs: int, n: int, m: int, order: int) -> None:
    """Refuse more than fits in memory: each model has its couplings and, for Hessians, matrices in its parameters."""
    p = n * m + n
    what, size = "the couplings", 8 * runs * (6 * p + 2 * n * n)
    if order > 1:
        what, size = "the Hessian", size + 8 * (4 * runs * p * p + 6 * p * p + second_derivatives(runs, n))
    what = f"{what} of {f'{runs:,} models' if runs > 1 else 'a model'} with {n:,} features and {p:,} parameters"
    check_memory(f"population loss(weights of shape {(runs, n, m)})", what, size, "fewer models or a smaller one fit")


def _blank(runs: int, parameters: int, order: int) -> Evaluation:
    nan = np.full((3, runs), np.nan)
    gradient = np.full((runs, parameters), np.nan) if order > 0 else None
    hessian = np.full((runs, parameters, parameters), np.nan) if order > 1 else None
    return Evaluation(
        nan[0], nan[1],
        gradient, np.full(runs, np.nan) if order > 0 else None,
        hessian, nan[2] if order > 1 else None,
        np.zeros(runs, np.int64),
    )  # fmt: skip


def _targets(found: Evaluation, order: int, tol: float) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """The name of each derivative, its error and the largest error allowed."""
    targets = [("loss", found.error, np.full(len(found.error), tol))]
    if order > 0 and found.gradient is not None and found.gradient_error is not None:
        size = np.maximum(1, np.linalg.norm(found.gradient, axis=1))
        targets.append(("gradient", found.gradient_error, tol * size))
    if order > 1 and found.hessian is not None and found.hessian_error is not None:
        size = np.maximum(1, np.linalg.norm(found.hessian, axis=(1, 2)))
        targets.append(("Hessian", found.hessian_error, 1e3 * tol * size))
    return targets


def _refuse_inaccurate(found: Evaluation, order: int, tol: float, only_highest: bool) -> None:
    for name, error, allowed in _targets(found, order, tol)[order if only_highest else 0 :]:
        if (bad := np.flatnonzero(~(error <= allowed))).size:
            run = int(bad[0])
            raise ValueError(
                f"population_loss(tol={tol!r}): tol cannot be reached: the {name} of model {run} has an error of up to "
                f"{error[run]:.2g}; ask for at least {1.1 * tol * error[run] / allowed[run]:.2g}"
            )


def _by_kernel(
    theta: np.ndarray,
    shape: tuple[int, int],
    features: list[FeatureDistribution],
    order: int,
    tol: float,
    threads: int,
    only_highest: bool,
) -> Evaluation:
    found = _blank(len(theta), theta.shape[1], order)
    waiting = np.arange(len(theta))
    # The gradient and the Hessian with half as many frequencies, and how much each had then changed.
    last: list[Any] = [None, None, np.full(len(theta), np.inf), np.full(len(theta), np.inf)]
    # Errors of derivatives are seen by comparing counts; with many features the lowest ones are never enough.
    count = FEWEST_FREQUENCIES if order == 0 else max(FEWEST_FREQUENCIES // 4, 1 << (shape[0].bit_length() - 1))
    count = min(count, MOST_FREQUENCIES // 4)
    irreducible = irreducible_errors(theta, shape, features)
    at_best = irreducible + tail_errors(theta, shape, features, MOST_FREQUENCIES, order > 1)
    while waiting.size:
        here = [features[run] for run in waiting.tolist()]
        lost = irreducible[waiting] + tail_errors(theta[waiting], shape, here, count, order > 1)
        loss, gradient, error, hessian = kernel_values(theta[waiting], shape, here, count, threads, curved=order > 1)
        found.loss[waiting], found.error[waiting] = loss, error + lost[:, 0]
        assert found.frequencies is not None
        found.frequencies[waiting] = count
        done = _enough(error, lost[:, 0], at_best[waiting, 0], tol)
        now: list[Any] = [gradient, hessian, None, None]
        if order > 0 and found.gradient is not None and found.gradient_error is not None:
            # With half the frequencies a gradient is far less accurate, but now and then agrees by chance.
            now[2] = _change(gradient, last[0])
            error = np.maximum(1.5 * now[2], last[2] / 4)
            found.gradient[waiting], found.gradient_error[waiting] = gradient, error + lost[:, 1]
            target = tol * np.maximum(1, np.linalg.norm(gradient, axis=1))
            enough = _enough(error, lost[:, 1], at_best[waiting, 1], target)
            done = enough if only_highest else done & enough
        if order > 1 and found.hessian is not None and found.hessian_error is not None:
            assert hessian is not None
            now[3] = _change(hessian, last[1])
            error = np.maximum(2 * now[3], last[3])
            # Changes that still grow will go on growing until small couplings are resolved.
            growing = (
                np.isfinite(last[3]) & (now[3] > last[3]) & (now[3] > STEADY * np.linalg.norm(hessian, axis=(1, 2)))
            )
            error[growing] *= GROWTH * MOST_FREQUENCIES / count
            found.hessian[waiting], found.hessian_error[waiting] = hessian, error + lost[:, 2]
            target = 1e3 * tol * np.maximum(1, np.linalg.norm(hessian, axis=(1, 2)))
            enough = _enough(error, lost[:, 2], at_best[waiting, 2], target)
            done = enough if only_highest else done & enough
        if count >= MOST_FREQUENCIES:
            return found
        waiting = waiting[~done]
        last = [None if each is None else each[~done] for each in now]
        count *= 2
    return found


def _enough(error: np.ndarray, lost: np.ndarray, at_best: np.ndarray, target: Any) -> np.ndarray:
    """Where more frequencies are not needed, or cannot help because `lost` is too large even with the most."""
    return (error <= target) & ((error + lost <= target) | (at_best > target))


def _change(now: np.ndarray, before: np.ndarray | None) -> np.ndarray:
    """The change of each run's array, in the Euclidean norm; infinite if there was none before."""
    if before is None:
        return np.full(len(now), np.inf)
    return np.linalg.norm((now - before).reshape(len(now), -1), axis=1)


def _by_jax(
    weights: np.ndarray, bias: np.ndarray, features: list[FeatureDistribution], order: int, tol: float
) -> Evaluation:
    from tegum.core.jax_setup import check, scope

    check()
    import jax
    import jax.numpy as jnp

    from tegum.core.population.autodiff.series import derivatives, series_of

    runs, n, m = weights.shape
    found = _blank(runs, n * m + n, order)
    with scope(double=True):
        (device,) = jnp.zeros(()).devices()

    def work() -> None:
        # Settings of JAX hold only in the thread that sets them.
        with scope(double=True), jax.default_device(device):
            stop = current()
            address = stop.address if device.platform == "cpu" else None
            # Sequential, so that no temporary grows with the number of runs.
            for distribution in dict.fromkeys(features):
                here = np.array([each == distribution for each in features])
                series = series_of(distribution)._replace(stop=address)
                part = derivatives(weights[here], bias[here], series, tol, order)
                for whole, values in zip(found, part, strict=False):
                    if whole is not None:
                        whole[here] = np.asarray(values)
                stop.check()

    interruptible(work)
    return found


def _linear(weights: np.ndarray, bias: np.ndarray, features: list[FeatureDistribution], order: int) -> Evaluation:
    """x̂ = W Wᵀ x + b: each output's loss is a quadratic form in its couplings and bias."""
    runs, n, m = weights.shape
    found = _blank(runs, n * m + n, order)
    for run, distribution in enumerate(features):
        w, importance = weights[run], distribution.importance
        mean, second = distribution.first_moment(), distribution.second_moment()
        form, aim = moment_form(mean, second)
        rows = np.concatenate([w @ w.T, bias[run][:, None]], 1)
        pull = rows @ form
        found.loss[run] = importance @ squared_errors(rows, pull, aim, np.diag(second))
        found.error[run] = 1e-15 * importance @ (np.diag(second) + (np.abs(pull) + 2 * np.abs(aim)) @ np.ones(n + 1))
        if found.gradient is None or found.gradient_error is None:
            continue
        slopes = 2 * importance[:, None] * (pull - aim)
        symmetric = slopes[:, :n] + slopes[:, :n].T
        found.gradient[run] = np.concatenate([(symmetric @ w).ravel(), slopes[:, n]])
        found.gradient_error[run] = 1e-15 * (1 + np.abs(symmetric).sum() * np.abs(w).max())
        if found.hessian is None or found.hessian_error is None:
            continue
        curvature = 2 * importance[:, None, None] * form
        found.hessian[run] = hessian_in_parameters(w, slopes, curvature)
        found.hessian_error[run] = 1e-14 * np.linalg.norm(found.hessian[run])
    return found
