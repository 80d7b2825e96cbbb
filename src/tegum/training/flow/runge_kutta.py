"""One leg of gradient flow as a compiled program: Runge–Kutta methods and step-size control of diffrax.

Explicit: Tsitouras' 5(4) pairs (Tsitouras 2011, Computers & Mathematics with Applications 62). Implicit: Kværnø's
stiffly accurate, L-stable 5(4) ESDIRK method (Kværnø 2004, BIT 44). Coefficients and controller are diffrax's; the
stages are computed here, so that a Hessian can be kept over many steps.

The implicit stages are found by a modified Newton iteration (Hairer & Wanner 1996, Solving Ordinary Differential
Equations II, IV.8). A gradient flow has a symmetric Jacobian, −H: its eigenvectors, found once, solve the linear
systems of every stage and of steps of any length. They are kept until the iteration converges slowly. An implicit step
still costs about three explicit ones, and is taken only where the flow is stiff: where stability, and not accuracy,
limits the length of explicit steps (as LSODA does it, Petzold 1983, SIAM Journal on Scientific and Statistical
Computing 4).

The runs of a block are lanes: each takes its own steps, and stays where it is once it has arrived. No lane affects
another.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

from tegum.core.compiled.xla_ffi import counted, is_stopped
from tegum.core.jax_setup import compiled
from tegum.training.flow.fields import FIELDS, HESSIANS, Field

MOST_STEPS = 1_000_000
"""The number of steps attempted in one leg before a run is given up."""
_SHORTEST = 1e-13
"""The shortest step, as a fraction of a leg; a run that needs shorter ones is given up."""

_TINY = 1e-300
"""What replaces a denominator of 0."""
_ORDER = 5.0
"""The order of the error of both methods."""

_CLOSE = 0.1
"""The largest error of Newton's iteration, in tolerances of a step."""
_ITERATIONS = 8
"""The most iterations of Newton's method in one stage, before the step is rejected."""
_SLOW = 0.2
"""The factor by which each iteration must reduce the error; if it does not, the Hessian is out of date."""
_OLDEST = 30
"""The number of steps for which a Hessian is used."""
_GROWTH = 2.0
"""The longest implicit step, in units of the time in which the fastest-growing direction grows by a factor e. With
longer steps an implicit method would damp that growth, and miss the escape from a saddle."""

_STABLE, _WORTH = 2.5, 12.0
"""Bounds on the length of a step times the largest curvature. Above the first, an explicit step is close to its limit
of stability, 3.5; below the second, an implicit step does not pay."""
_SHORT, _LONGEST, _BACK_TO_EXPLICIT = 15, 240, 4
"""Numbers of consecutive steps. An explicit run turns to implicit steps after the first at the earliest and the second
at the latest; an implicit run turns back after the third."""


class Newton(NamedTuple):
    """What the implicit solver remembers of each run."""

    vectors: Any
    """Eigenvectors, as columns, of the Hessian at a recent step, shape (run, P, P)."""
    values: Any
    """Eigenvalues of that Hessian, shape (run, P)."""
    age: Any
    """Steps since they were computed; negative if there are none that can be used."""
    stiff: Any
    """Whether the run is taking implicit steps."""
    count: Any
    """Consecutive steps that favoured the other kind of step."""
    patience: Any
    """The number of these after which the run turns to implicit steps."""


def unknown(runs: int, size: int) -> Newton:
    """What the solver remembers at the start of runs with `size` parameters: nothing."""
    none = np.zeros(runs, np.int32)
    return Newton(np.zeros((runs, size, size)), np.zeros((runs, size)), none - 1, none > 0, none, none + _SHORT)


class Leg(NamedTuple):
    """The state of a leg, for each run."""

    time: Any
    """Time since the leg began."""
    step: Any
    """The length of the next whole step, as the controller chose it."""
    parameters: Any
    slope: Any
    """dθ/dt at the parameters."""
    newton: Newton | None
    """None for the explicit solver."""
    controller: Any
    taken: Any
    """Steps accepted so far."""
    rejected: Any
    failed: Any


@compiled(static_argnames=("kind", "biases"))
def integrate(
    kind: Field,
    biases: int,
    parameters: Any,
    step: Any,
    newton: Newton | None,
    length: Any,
    tolerances: Any,
    about: Any,
    stop: Any,
) -> Leg:
    """Follow the flow of some runs for a time.

    Args:
        kind: of the field, a name in `FIELDS`.
        biases: how many of the parameters, the last ones, are biases.
        parameters: (run, P).
        step: a first length for each run, (run,).
        newton: what is known of stiffness and Hessians; None for explicit steps alone.
        length: the time.
        tolerances: of a step; relative to the root mean square of the weights, or of the biases, and absolute.
        about: what the field has to know.
        stop: the address of a flag (`Stop.address`).

    Returns:
        The `Leg` at its end, or where it failed; when the flag is raised, soon, and anything.

    """
    # The loss has kinks in its curvature, which cost rejected steps: a step that grows fast again meets the next one.
    # Errors come in tolerances. What counts beside the last one keeps explicit steps from bouncing off the end of
    # their stability (Söderlind 2003, Numerical Algorithms 31).
    control = diffrax.PIDController(rtol=0, atol=1, pcoeff=0.2, icoeff=0.5, factormax=3.0)

    def field(y: Any) -> Any:
        return FIELDS[kind](y, about)

    def scale(y: Any) -> Any:
        """The tolerance of each parameter, the same for all coordinates that turn into one another."""
        rtol, atol = tolerances
        parts = jnp.split(y, [y.shape[1] - biases], axis=1)
        sizes = [jnp.broadcast_to(jnp.sqrt((part * part).mean(1, keepdims=True)), part.shape) for part in parts]
        return atol + rtol * jnp.concatenate(sizes, 1)

    def controlled(tried: Any, error: Any, state: Any) -> Any:
        zero, none = jnp.zeros_like(tried), jnp.zeros_like(error)
        keep, _, after, _, state, _ = control.adapt_step_size(zero, tried, none, none, None, error, _ORDER, state)
        return keep, after - jnp.where(keep, tried, zero), state

    def going(leg: Leg) -> Any:
        return (leg.time < length) & ~leg.failed

    def advance(leg: Leg) -> Leg:
        active = going(leg)
        start, newton = leg.parameters, leg.newton
        longest = jnp.inf
        if newton is not None:
            newton = _refreshed(kind, newton, active, start, about, stop)
            growth = jnp.maximum(-newton.values.min(1), _TINY)
            # What is at rest to the bit grows nowhere.
            longest = jnp.where(newton.stiff & (leg.slope != 0).any(1), _GROWTH / growth, jnp.inf)
        left = length - leg.time
        wanted = jnp.minimum(leg.step, longest)
        last = wanted >= left
        # No small step at the end: the last two are equal.
        tried = jnp.where(last, left, jnp.where(2 * wanted > left, left / 2, wanted))
        trial = _attempted(field, start, leg.slope, tried, scale(start), newton, active)
        bad = ~jnp.isfinite(trial.error).all(1) | ~jnp.isfinite(trial.moved).all(1) | ~jnp.isfinite(trial.rate)
        moved = jnp.where(bad[:, None], start, trial.moved)
        error = jnp.where(bad[:, None], jnp.inf, trial.error / jnp.maximum(scale(start), scale(moved)))
        keep, proposed, controller = jax.vmap(controlled)(tried, error, leg.controller)
        # A step cut short says nothing against a long one.
        proposed = jnp.where(keep, jnp.maximum(proposed, leg.step), proposed)
        if newton is not None:
            # With an old Hessian that is to blame, and not the length of the step.
            proposed = jnp.where(bad & (newton.age > 0), tried, proposed)
            newton = _judged(newton, trial, tried, keep, tried >= wanted, length)
        attempts = leg.taken + leg.rejected + 1
        after = Leg(
            time=jnp.where(keep, jnp.where(last, length, leg.time + tried), leg.time),
            step=proposed,
            parameters=jnp.where(keep[:, None], moved, start),
            slope=jnp.where(keep[:, None], trial.slope, leg.slope),
            newton=newton,
            controller=controller,
            taken=leg.taken + keep,
            rejected=leg.rejected + ~keep,
            failed=~keep & (proposed < _SHORTEST * length) | (attempts >= MOST_STEPS),
        )
        return jax.tree.map(functools.partial(_where, active), after, leg)

    zero = jnp.zeros(len(parameters), jnp.int32)
    ones = jnp.ones(len(parameters))
    leg = Leg(
        jnp.zeros_like(step), step, parameters, field(parameters), newton,
        (ones, ones, zero > 0), zero, zero, zero > 0,
    )  # fmt: skip

    def on(leg: Leg) -> Any:
        return going(leg).any() & ~is_stopped(stop, (leg.taken + leg.rejected).max())

    return jax.lax.while_loop(on, advance, leg)


def _where(runs: Any, new: Any, old: Any) -> Any:
    """The new values of some runs, and the old ones of the others."""
    return jnp.where(runs.reshape(-1, *[1] * (new.ndim - 1)), new, old)


def _refreshed(kind: Field, newton: Newton, active: Any, parameters: Any, about: Any, stop: Any) -> Newton:
    """With a Hessian for the runs that need one."""
    needed = active & newton.stiff & (newton.age < 0)

    def compute(lane: Any, newton: Newton) -> Newton:
        hessian = HESSIANS[kind](parameters[lane], about, lane)
        hessian = jnp.where(jnp.isfinite(hessian).all(), (hessian + hessian.T) / 2, 0.0)
        values, vectors = jnp.linalg.eigh(hessian, symmetrize_input=False)
        return newton._replace(
            vectors=newton.vectors.at[lane].set(vectors),
            values=newton.values.at[lane].set(values),
            age=newton.age.at[lane].set(0),
        )

    def visit(lane: Any, newton: Newton) -> Newton:
        return jax.lax.cond(needed[lane], compute, lambda _, newton: newton, lane, newton)

    def visit_all(newton: Newton) -> Newton:
        # An eigendecomposition can take seconds: between two of them there is a way out.
        return counted(np.int32(len(parameters)), visit, newton, stop)

    return jax.lax.cond(needed.any(), visit_all, lambda newton: newton, newton)


def _judged(newton: Newton, trial: Trial, tried: Any, keep: Any, whole: Any, length: Any) -> Newton:
    """What is known after a step: whether the Hessian will do for another one, and whether the flow is stiff."""
    stiff = newton.stiff
    age = jnp.where((trial.rate <= _SLOW) & (newton.age < _OLDEST), newton.age + 1, -1)
    # Explicit steps as long as is stable, in a leg with room for a long one; or implicit ones that do not pay.
    largest = jnp.where(stiff, newton.values.max(1), trial.curvature)
    wrong = jnp.where(stiff, tried * largest < _WORTH, (tried * largest > _STABLE) & (length * largest > _WORTH))
    # An explicit step cut short says nothing.
    counts = keep & (stiff | whole)
    count = jnp.where(counts, jnp.where(wrong, newton.count + 1, 0), newton.count)
    turn = count >= jnp.where(stiff, _BACK_TO_EXPLICIT, newton.patience)
    # Who turned to implicit steps for nothing waits for longer the next time.
    patience = jnp.where(stiff & turn, jnp.minimum(2 * newton.patience, _LONGEST), newton.patience)
    patience = jnp.where(stiff & counts & ~wrong, _SHORT, patience)
    return newton._replace(
        age=jnp.where(stiff & ~turn, age, -1),
        stiff=stiff ^ turn,
        count=jnp.where(turn, 0, count),
        patience=patience,
    )


class Trial(NamedTuple):
    """A step that was tried, of each run."""

    moved: Any
    """Where it leads."""
    slope: Any
    """dθ/dt there."""
    error: Any
    rate: Any
    """Of Newton's convergence at its slowest; inf where there was none, 0 of an explicit step."""
    curvature: Any
    """The curvature of the loss in the direction of the last stages of an explicit step (Hairer & Wanner 1996, IV.2):
    where the length of steps is limited by stability, about the largest one."""


def _attempted(field: Any, start: Any, slope: Any, step: Any, scale: Any, newton: Newton | None, active: Any) -> Trial:
    """One step of each run, by the method that is its own at the moment."""
    if newton is None:
        return _explicit(field, start, slope, step)
    stiff, none = active & newton.stiff, jnp.zeros_like(step)
    nothing = Trial(start, slope, jnp.zeros_like(start), none, none)
    one = jax.lax.cond(
        (active & ~newton.stiff).any(), lambda: _explicit(field, start, slope, step), lambda: nothing
    )  # fmt: skip
    other = jax.lax.cond(
        stiff.any(), lambda: _implicit(field, start, slope, step, scale, newton, stiff), lambda: nothing
    )
    return jax.tree.map(functools.partial(_where, newton.stiff), other, one)


def _coefficients(rows: Any) -> Any:
    """The rows below the diagonal as a matrix."""
    matrix = np.zeros((len(rows) + 1, len(rows) + 1))
    for i, row in enumerate(rows):
        matrix[i + 1, : i + 1] = row
    return jnp.asarray(matrix)


def _explicit(field: Any, start: Any, slope: Any, step: Any) -> Trial:
    table = diffrax.Tsit5.tableau
    lower, h = _coefficients(table.a_lower), step[:, None]
    stages = len(lower)

    def stage(i: Any, carry: Any) -> Any:
        slopes, here, _ = carry
        there = start + h * jnp.tensordot(lower[i], slopes, 1)
        return slopes.at[i].set(field(there)), there, here

    slopes = jnp.zeros((stages, *start.shape)).at[0].set(slope)
    # Both of the last two stages stand at the end of the step, the last one where it leads.
    slopes, moved, near = jax.lax.fori_loop(1, stages, stage, (slopes, start, start))
    turned, apart = slopes[-1] - slopes[-2], moved - near
    curvature = jnp.sqrt((turned * turned).sum(1) / jnp.maximum((apart * apart).sum(1), _TINY))
    error = h * jnp.tensordot(jnp.asarray(table.b_error), slopes, 1)
    return Trial(moved, slopes[-1], error, jnp.zeros_like(step), curvature)


def _implicit(field: Any, start: Any, slope: Any, step: Any, scale: Any, newton: Newton, active: Any) -> Trial:
    table: Any = diffrax.Kvaerno5.tableau
    lower, guess, h = _coefficients(table.a_lower), _coefficients(table.a_predictor), step[:, None]
    stages = len(lower)
    reach = h * table.a_diagonal[-1]

    def stage(i: Any, carry: Any) -> Any:
        slopes, rate, worst = carry
        base = start + h * jnp.tensordot(lower[i], slopes, 1)
        first = jnp.tensordot(guess[i], slopes, 1)
        found, rate, seen = _solved(field, base, first, reach, newton, scale, rate, active)
        return slopes.at[i].set(found), rate, jnp.maximum(worst, seen)

    slopes = jnp.zeros((stages, *start.shape)).at[0].set(slope)
    carry = slopes, jnp.ones_like(step), jnp.zeros_like(step)
    slopes, _, rate = jax.lax.fori_loop(1, stages, stage, carry)
    moved = start + h * jnp.tensordot(jnp.asarray(table.b_sol), slopes, 1)
    error = h * jnp.tensordot(jnp.asarray(table.b_error), slopes, 1)
    return Trial(moved, slopes[-1], error, rate, jnp.zeros_like(step))


class _Iteration(NamedTuple):
    count: Any
    done: Any
    slopes: Any
    size: Any
    """Of the last change, in tolerances."""
    rate: Any
    """By how much changes become smaller, as estimated."""
    worst: Any
    """The largest one seen, inf where changes grow."""


def _solved(field: Any, base: Any, guess: Any, reach: Any, newton: Newton, scale: Any, rate: Any, active: Any) -> Any:
    """The slopes k = field(base + reach k) of an implicit stage, by Newton's method with a Hessian that is kept.

    Returns:
        k; the estimated rate of convergence; and the largest rate that was seen, inf where there was no convergence.

    """
    inverse = 1 / (1 + reach * newton.values)

    def iterate(s: _Iteration) -> _Iteration:
        residual = field(base + reach * s.slopes) - s.slopes
        coordinates = inverse * jnp.einsum("lij,li->lj", newton.vectors, residual)
        change = jnp.einsum("lij,lj->li", newton.vectors, coordinates)
        size = jnp.sqrt(((reach * change / scale) ** 2).mean(1))
        seen = jnp.where(s.count > 0, size / jnp.maximum(s.size, _TINY), 0.0)
        rate = jnp.where(s.count > 0, jnp.maximum(0.3 * s.rate, seen), s.rate)
        worst = jnp.where((seen > 2) | ~jnp.isfinite(size), jnp.inf, jnp.maximum(s.worst, seen))
        done = (size * jnp.minimum(rate, 1.0) < _CLOSE) | jnp.isinf(worst)
        runs = done | s.done, s.slopes + change, size, rate, worst
        return _Iteration(s.count + 1, *jax.tree.map(functools.partial(_where, ~s.done), runs, tuple(s[1:])))

    zero = jnp.zeros_like(rate)
    first = _Iteration(jnp.int32(0), ~active, guess, zero, rate, zero)
    last = jax.lax.while_loop(lambda s: ~s.done.all() & (s.count < _ITERATIONS), iterate, first)
    return last.slopes, last.rate, jnp.where(last.done, last.worst, jnp.inf)
