"""The right-hand sides of gradient flow, −∂L/∂θ, and the Hessians that an implicit solver asks for.

By the fused kernel for eight runs of one structure; from moments for the linear model; from its rows for a finite
population; by the series in JAX for sets that are no mixture table.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from tegum.core.jax_setup import compiled
from tegum.core.loss.linear import linear_loss
from tegum.core.population.kernel.xla_calls import FINITE_GRADIENT, GRADIENT, SLOPES

Field = Literal["population", "linear", "finite", "series"]
"""Where a right-hand side comes from: the kernel, moments, rows, or the series."""


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


@compiled()
def examine_finite(parameters: Any, address: Any) -> Any:
    """∂L/∂θ and L of some runs that have a finite population: (run, P) to (run, P + 1)."""
    out = jax.ShapeDtypeStruct((parameters.shape[0], parameters.shape[1] + 1), np.float64)
    return jax.ffi.ffi_call(FINITE_GRADIENT, out)(_double(parameters), address)


def _finite_field(parameters: Any, address: Any) -> Any:
    return -examine_finite(parameters, address)[:, :-1]


def _series_field(parameters: Any, distribution: Any) -> Any:
    """By the series in JAX, for sets that are no mixture table."""
    from tegum.core.population.autodiff.series import derivatives

    series, tol = distribution
    n = len(series.moments.mean)
    weights, bias = parameters[:, :-n].reshape(len(parameters), n, -1), parameters[:, -n:]
    return -derivatives(weights, bias, series, tol, 1)[2]


def _by_differences(field: Callable[..., Any]) -> Callable[..., Any]:
    """The Hessian that belongs to a field, by central differences."""
    # Gradients of a series have each its own number of frequencies: their errors, of `tol`, must be small against the
    # step. Those of a finite population jump at kinks of the loss: over such a step these are what they amount to, a
    # part of the curvature.
    step = 1e-4

    def hessian(parameters: Any, about: Any, lane: Any) -> Any:  # noqa: ARG001
        moves = step * jnp.eye(len(parameters), dtype=parameters.dtype)
        near = field(jnp.concatenate([parameters - moves, parameters + moves]), about)
        return (near[: len(parameters)] - near[len(parameters) :]) / (2 * step)

    return hessian


FIELDS: dict[Field, Callable[..., Any]] = {
    "population": _population_field,
    "linear": _linear_field,
    "finite": _finite_field,
    "series": _series_field,
}
"""−∂L/∂θ of some runs: parameters (run, P) and what the field must know to (run, P)."""
HESSIANS: dict[Field, Callable[..., Any]] = {
    "population": _population_hessian,
    "linear": _linear_hessian,
    "finite": _by_differences(_finite_field),
    "series": _by_differences(_series_field),
}
"""∂²L/∂θ∂θ of one run: parameters (P,), what the field must know, and which run it is to (P, P)."""
