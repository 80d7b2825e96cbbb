"""One leg of gradient flow as a compiled program: diffrax's solvers and step-size control, step by step.

Explicit: Tsitouras' 5(4) pairs (Tsitouras 2011, Computers & Mathematics with Applications 62). Implicit: Kværnø's
stiffly accurate, L-stable 5(4) ESDIRK method (Kværnø 2004, BIT 44), with a modified Newton iteration. Stepping by hand
in place of `diffrax.diffeqsolve` keeps the step that the controller would have taken next when a leg ends, and
compiles in half the time.

Runs of a block are lanes of `jax.vmap`: each has steps of its own, and is left as it is once it has arrived.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

from tegum.core.population_call import GRADIENT, SLOPES

MOST_STEPS = 1_000_000
"""Attempted in one leg before a run is given up."""
_SHORTEST = 1e-13
"""Of a leg: a run that needs shorter steps is given up."""


class Leg(NamedTuple):
    """Where a leg has come to; of each run."""

    time: Any
    """Since the leg began."""
    step: Any
    """The length the controller would take next, of a whole step."""
    parameters: Any
    solver: Any
    controller: Any
    taken: Any
    """Steps."""
    rejected: Any
    failed: Any


def population_field(parameters: Any, address: Any) -> Any:
    """−∂L/∂θ of one run of a block by the fused kernel, under `jax.vmap` over the eight of it.

    Its derivative is the kernel's matrix of differences: Newton's method asks for all of it.
    """
    return _population_field(_double(parameters), address)


def _double(parameters: Any) -> Any:
    """Refuse what the kernel, which is handed an address, would read as something else."""
    if parameters.dtype != np.float64:
        raise TypeError(f"the kernel takes float64, not {parameters.dtype}: it is called outside of double precision")
    return parameters


@jax.custom_jvp
def _population_field(parameters: Any, address: Any) -> Any:
    size = parameters.shape[0]
    out = jax.ShapeDtypeStruct((size + 2,), parameters.dtype)
    return -jax.ffi.ffi_call(GRADIENT, out, vmap_method="broadcast_all")(parameters, address)[:size]


@_population_field.defjvp
def _population_jvp(primals: Any, tangents: Any) -> Any:
    size = primals[0].shape[0]
    out = jax.ShapeDtypeStruct((size, size), primals[0].dtype)
    slopes = jax.ffi.ffi_call(SLOPES, out, vmap_method="broadcast_all")(*primals)
    return _population_field(*primals), -(slopes @ tangents[0])


def linear_field(parameters: Any, moments: Any) -> Any:
    """−∂L/∂θ of the linear model, L = Σ_j I_j E[(x_j − (W Wᵀ x + b)_j)²], from the moments of x."""

    def loss(y: Any) -> Any:
        mean, second, importance = moments
        n = len(mean)
        weights, bias = y[:-n].reshape(n, -1), y[-n:]
        off = weights @ weights.T - jnp.eye(n)
        through = off @ mean
        squares = ((off @ second) * off).sum(1) + 2 * bias * through + bias**2
        return importance @ squares

    return -jax.grad(loss)(parameters)


def series_field(parameters: Any, distribution: Any) -> Any:
    """−∂L/∂θ by the series in JAX, for sets that are no mixture table; its derivative by central differences."""
    return _series_field(parameters, distribution)


def _series_gradients(parameters: Any, distribution: Any) -> Any:
    from tegum.core.series import derivatives

    series, tol = distribution
    n = len(series.moments.mean)
    weights, bias = parameters[:, :-n].reshape(len(parameters), n, -1), parameters[:, -n:]
    return derivatives(weights, bias, series, tol, 1)[2]


@jax.custom_jvp
def _series_field(parameters: Any, distribution: Any) -> Any:
    return -_series_gradients(parameters[None], distribution)[0]


@_series_field.defjvp
def _series_jvp(primals: Any, tangents: Any) -> Any:
    parameters, distribution = primals
    # Each gradient has its own number of frequencies: their errors, of `tol`, must be small against the step.
    step = 1e-4
    moves = step * jnp.eye(len(parameters), dtype=parameters.dtype)
    near = _series_gradients(jnp.concatenate([parameters + moves, parameters - moves]), distribution)
    slopes = (near[: len(parameters)] - near[len(parameters) :]).T / (2 * step)
    return _series_field(*primals), -(slopes @ tangents[0])


FIELDS = {"population": population_field, "linear": linear_field, "series": series_field}


@functools.partial(jax.jit, static_argnames=("kind", "implicit"))
def integrate(kind: str, implicit: bool, parameters: Any, step: Any, length: Any, tolerances: Any, about: Any) -> Leg:
    """Follow the flow of some runs for a time.

    Args:
        kind: of the field, a name in `FIELDS`.
        implicit: the solver.
        parameters: (run, P).
        step: a first length for each run, (run,).
        length: the time.
        tolerances: relative and absolute, of a step.
        about: what the field has to know, the same for all runs.

    Returns:
        The `Leg` at its end, or where it failed.

    """
    along = functools.partial(_integrate, kind, implicit)
    return jax.vmap(along, in_axes=(0, 0, None, None, None))(parameters, step, length, tolerances, about)


def _integrate(kind: str, implicit: bool, parameters: Any, step: Any, length: Any, tolerances: Any, about: Any) -> Leg:
    rtol, atol = tolerances
    field = FIELDS[kind]
    term = diffrax.ODETerm(lambda t, y, args: field(y, args))  # noqa: ARG005 (diffrax's own convention)
    solver = _solver(implicit, rtol, atol)
    # The loss has kinks in its curvature, which cost rejected steps: a step that grows fast again meets the next one.
    control = diffrax.PIDController(rtol=rtol, atol=atol, factormax=3.0)
    order = solver.error_order(term)
    start = jnp.zeros_like(step)
    _, controller = control.init(term, start, length, parameters, step, about, solver.func, order)
    # Whether the first stage must be computed is asked of all lanes together, and one that is computed is not to the
    # bit the last stage of the step before. So it is given, and lanes know nothing of one another.
    memory = (jnp.array(False), term.vf(start, parameters, about))
    expected = jax.tree.structure(solver.init(term, start, length, parameters, about))
    assert jax.tree.structure(memory) == expected, "diffrax has changed what its solvers remember"
    zero = jnp.zeros((), jnp.int32)

    def _newton(y: Any, tried: Any) -> Any:
        # The iteration finds derivatives: what counts is how far off they put the parameters after a step.
        return (atol + rtol * jnp.sqrt(jnp.mean(y * y))) / tried

    def going(leg: Leg) -> Any:
        return (leg.time < length) & ~leg.failed

    def advance(leg: Leg) -> Leg:
        left = length - leg.time
        last = leg.step >= left
        # No small step at the end: the last two are equal.
        tried = jnp.where(last, left, jnp.where(2 * leg.step > left, left / 2, leg.step))
        moved, error, _, memory, result = _solver(implicit, rtol, _newton(leg.parameters, tried)).step(
            term, start, tried, leg.parameters, about, leg.solver, made_jump=False
        )
        bad = ~diffrax.is_okay(result) | ~jnp.isfinite(error).all() | ~jnp.isfinite(moved).all()
        moved = jnp.where(bad, leg.parameters, moved)
        error = jnp.where(bad, jnp.inf, error)
        keep, _, after, _, controller, _ = control.adapt_step_size(
            start, tried, leg.parameters, moved, about, error, order, leg.controller
        )
        proposed = after - jnp.where(keep, tried, start)
        # A step cut short says nothing against a long one.
        proposed = jnp.where(keep, jnp.maximum(proposed, leg.step), proposed)
        attempts = leg.taken + leg.rejected + 1
        return Leg(
            time=jnp.where(keep, jnp.where(last, length, leg.time + tried), leg.time),
            step=proposed,
            parameters=jnp.where(keep, moved, leg.parameters),
            solver=jax.tree.map(lambda new, old: jnp.where(keep, new, old), memory, leg.solver),
            controller=controller,
            taken=leg.taken + keep,
            rejected=leg.rejected + ~keep,
            failed=~keep & (proposed < _SHORTEST * length) | (attempts >= MOST_STEPS),
        )

    leg = Leg(start, step, parameters, memory, controller, zero, zero, jnp.array(False))
    return jax.lax.while_loop(going, advance, leg)


def _solver(implicit: bool, rtol: Any, atol: Any) -> Any:
    if implicit:
        return diffrax.Kvaerno5(root_finder=diffrax.VeryChord(rtol=rtol, atol=atol), scan_kind="lax")
    return diffrax.Tsit5(scan_kind="lax")


@jax.jit
def examine(parameters: Any, address: Any) -> Any:
    """∂L/∂θ, L and its estimated error of the eight runs of a block: (8, P) to (8, P + 2)."""
    out = jax.ShapeDtypeStruct((parameters.shape[0], parameters.shape[1] + 2), np.float64)
    return jax.ffi.ffi_call(GRADIENT, out)(_double(parameters), address)
