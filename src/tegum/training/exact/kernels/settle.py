"""Between the stretches of L-BFGS: what a gradient with more frequencies says of a run."""

from __future__ import annotations

import math

from tegum.core.compiled.compile import inlined, kernel
from tegum.training.exact.kernels.lbfgs import LITTLE, MOST_DESCENDED, MOST_FAILURES, MOST_FREQUENCIES
from tegum.training.exact.kernels.memory import SAVED, Phase, saved_state
from tegum.training.exact.kernels.probe import GRADIENT_ERROR

_REDUCTION = 0.05
"""A correction c is trusted to reduce the gradient to this part of what it was when c was computed."""
_CONTRACTION = 0.25
"""Where c was so wrong, relative to that gradient, twice as many frequencies are descended with."""


@kernel
def settle(plan, book, queue, values, errors, gradients, tolerance, accuracy):
    """Take in the loss and gradient of runs with `wanted` frequencies: a run has converged, or goes on with a better c.

    It has converged where, at the same place, the norm of the gradient with `fine` frequencies is within the tolerance,
    that with `wanted`, twice as many, by as much as they differ, and the two losses agree within the accuracy. Where
    `fine` is the most there are, `wanted` is half as many.

    Args:
        plan: a `Plan`.
        book: a `Book`; changed in place.
        queue: runs whose phase is CHECK.
        values: (queue,) losses.
        errors: (queue,) their estimated errors.
        gradients: (queue, P), flat.
        tolerance: of the gradient's norm.
        accuracy: of the loss.

    """
    size = plan.features * (plan.hidden + 1)
    for at in range(len(queue)):
        run = queue[at]
        state = saved_state(book.second, (run + 1) * book.length - SAVED)
        old, new, difference, product = _take_in(book, run, size, gradients, at)
        change = values[at] - state.value
        if state.wanted < state.fine:
            error = state.uncertainty / (GRADIENT_ERROR * state.fine)
            agree = old + difference <= tolerance and max(abs(change), error) <= accuracy
            state.phase = Phase.CONVERGED if agree else Phase.STALLED
        else:
            # What even more frequencies would change is taken to be no more than what these did.
            within = max(old, new + difference) <= tolerance and max(abs(change), errors[at]) <= accuracy
            converged = within and not state.moved > 0
            corrected = state.fine > state.coarse
            _renew(state, values[at], errors[at], new, change - product)
            if not math.isfinite(values[at]):
                state.phase = Phase.STALLED
            elif converged:
                state.phase = Phase.CONVERGED
            else:
                _choose(state, new, corrected and difference > _CONTRACTION * state.norm_at_check, tolerance)


@inlined
def _take_in(book, run, size, gradients, at):
    """Replace a run's gradient by the one of this check, and add the change to c.

    Returns:
        The norms of the old gradient, of the new one and of the change, and the product of the change with θ.

    """
    gradient = run * book.length + book.pairs * size
    correction = gradient + size
    old, new, difference, product = 0.0, 0.0, 0.0, 0.0
    for p in range(size):
        before, after = book.second[gradient + p], gradients[at * size + p]
        change = after - before
        old += before * before
        new += after * after
        difference += change * change
        product += change * book.params[run * size + p]
        book.second[gradient + p] = after
        book.second[correction + p] += change
    return math.sqrt(old), math.sqrt(new), math.sqrt(difference), product


@inlined
def _renew(state, value, error, norm, offset):
    """From now on the loss is the one of this check; `offset` is what the constant beside c·x changes by."""
    if state.wanted > state.fine:
        # Another function: what the last one had come to is no mark for it.
        state.mark_norm = norm
        state.mark_value = value
        state.mark_step = state.step
    state.value = value
    state.offset += offset
    state.fine = state.wanted
    state.moved = 0.0
    state.uncertainty = GRADIENT_ERROR * state.wanted * error


@inlined
def _choose(state, norm, wrong, tolerance):
    """Another check with more frequencies, or steps again; with more frequencies where c was too wrong to help."""
    # There are no more: then the uncertainty is mostly rounding.
    most = 2 * state.fine > MOST_FREQUENCIES
    if norm <= max(tolerance, state.uncertainty) and not (most and tolerance < norm < LITTLE * tolerance):
        # Small enough, as far as this number of frequencies can show.
        state.wanted = state.fine / 2 if most else 2 * state.fine
        state.phase = Phase.STALLED if most and norm > tolerance else Phase.CHECK
    else:
        failed = state.failures > MOST_FAILURES
        if (wrong and state.coarse < MOST_DESCENDED) or failed:
            state.coarse = min((4 if failed else 2) * state.coarse, state.fine)
            state.phase = Phase.ANCHOR
            state.failures = 0.0
            state.mark_step = state.step
        else:
            state.phase = Phase.DESCEND
        state.norm_at_check = norm
        state.target = max(0.5 * tolerance, 0.0 if most else state.uncertainty, _REDUCTION * norm)
