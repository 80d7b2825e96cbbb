"""The right-hand sides of gradient flow, −∂L/∂θ, and the Hessians that an implicit solver asks for.

By the fused kernel for eight runs of one structure; from moments for the linear model; by the series in JAX for sets
that are no mixture table.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from tegum.core.jax_setup import compiled
from tegum.core.loss.linear import linear_loss
from tegum.core.population.kernel.xla_calls import GRADIENT, SLOPES

Field = Literal["population", "linear", "series"]
"""Where a right-hand side comes from: the kernel, moments, or the series."""


def _double(parameters: Any) -> Any:
    """Refuse what the kernel would not take, before XLA does so at greater length."""
    if parameters.dtype != np.float64:
        raise TypeError(f"the kernel takes float64, not {parameters.dtype}: it is called outside of double precision")
    return parameters


@compiled()
def examine(parameters: Any, address: Any) -> Any:
    """∂L/∂θ, L and its estimated error of the eight runs of a block: (8, P) to (8, P + 2)."""
    out = jax.ShapeDtypeStruct((parameters.shape[0], parameters.shape[1] + 2), np.float64)
    return jax.ffi.ffi_call(GRADIENT, out)(_double(parameters), address)


def _population_field(parameters: Any, address: Any) -> Any:
    """By the fused kernel, of the eight runs of a block."""
    return -examine(parameters, address)[:, :-2]


def _population_hessian(parameters: Any, address: Any, lane: Any) -> Any:
    size = parameters.shape[0]
    out = jax.ShapeDtypeStruct((size, size), parameters.dtype)
    return jax.ffi.ffi_call(SLOPES, out)(_double(parameters), address, jnp.asarray(lane, jnp.int64))


def _linear_loss(y: Any, moments: Any) -> Any:
    n = len(moments[0])
    return linear_loss(y[:-n].reshape(n, -1), y[-n:], *moments)


def _linear_field(parameters: Any, moments: Any) -> Any:
    return -jax.vmap(jax.grad(_linear_loss), (0, None))(parameters, moments)


def _linear_hessian(parameters: Any, moments: Any, lane: Any) -> Any:  # noqa: ARG001
    return jax.hessian(_linear_loss)(parameters, moments)


def _series_field(parameters: Any, distribution: Any) -> Any:
    """By the series in JAX, for sets that are no mixture table."""
    from tegum.core.population.autodiff.series import derivatives

    series, tol = distribution
    n = len(series.moments.mean)
    weights, bias = parameters[:, :-n].reshape(len(parameters), n, -1), parameters[:, -n:]
    return -derivatives(weights, bias, series, tol, 1)[2]


def _series_hessian(parameters: Any, distribution: Any, lane: Any) -> Any:  # noqa: ARG001
    """By central differences."""
    # Each gradient has its own number of frequencies: their errors, of `tol`, must be small against the step.
    step = 1e-4
    moves = step * jnp.eye(len(parameters), dtype=parameters.dtype)
    near = _series_field(jnp.concatenate([parameters - moves, parameters + moves]), distribution)
    return (near[: len(parameters)] - near[len(parameters) :]) / (2 * step)


FIELDS: dict[Field, Callable[..., Any]] = {
    "population": _population_field,
    "linear": _linear_field,
    "series": _series_field,
}
"""−∂L/∂θ of some runs: parameters (run, P) and what the field must know to (run, P)."""
HESSIANS: dict[Field, Callable[..., Any]] = {
    "population": _population_hessian,
    "linear": _linear_hessian,
    "series": _series_hessian,
}
"""∂²L/∂θ∂θ of one run: parameters (P,), what the field must know, and which run it is to (P, P)."""
