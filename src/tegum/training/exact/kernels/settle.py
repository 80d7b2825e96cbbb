"""Between the stretches of L-BFGS: what a gradient with more frequencies says of a run."""

from __future__ import annotations

import math

from tegum.core.compiled.compile import kernel
from tegum.training.exact.kernels import search as row
from tegum.training.exact.kernels.lbfgs import LITTLE, MOST_BARREN, MOST_DESCENDED, MOST_FREQUENCIES
from tegum.training.exact.kernels.memory import ANCHOR, CHECK, CONVERGED, DESCEND, STALLED
from tegum.training.exact.kernels.probe import GRADIENT_ERROR

_REDUCTION = 0.05
"""A correction c is trusted to reduce the gradient to this part of what it was when c was computed."""
_CONTRACTION = 0.25
"""Where c was so wrong, relative to that gradient, twice as many frequencies are descended with."""


@kernel
def settle(plan, book, queue, amount, values, errors, gradients, tolerance, accuracy):
    """Take in the loss and gradient of runs with NEXT frequencies: a run has converged, or goes on with a better c.

    It has converged where, at the same place, the norm of the gradient with FINE frequencies is within the tolerance,
    that with NEXT, twice as many, by as much as they differ, and the two losses agree within the accuracy. Where FINE
    is the most there are, NEXT is half as many.

    Args:
        plan: a `Plan`.
        book: a `Book`; changed in place.
        queue: runs whose phase is CHECK.
        amount: how many.
        values: (queue,) losses.
        errors: (queue,) their estimated errors.
        gradients: (queue, P), flat.
        tolerance: of the gradient's norm.
        accuracy: of the loss.

    """
    size = plan.features * (plan.hidden + 1)
    for at in range(amount):
        run = queue[at]
        scalars = (run + 1) * book.length - row.SAVED
        gradient = run * book.length + book.pairs * size
        correction = gradient + size
        old, new, difference, product = 0.0, 0.0, 0.0, 0.0
        for p in range(size):
            g, fine = book.second[gradient + p], gradients[at * size + p]
            change = fine - g
            old += g * g
            new += fine * fine
            difference += change * change
            product += change * book.params[run * size + p]
            book.second[gradient + p] = fine
            book.second[correction + p] += change
        old, new, difference = math.sqrt(old), math.sqrt(new), math.sqrt(difference)
        change = values[at] - book.second[scalars + row.VALUE]
        level, frequencies = book.second[scalars + row.LEVEL], book.second[scalars + row.NEXT]
        corrected = book.second[scalars + row.FINE] > level
        moved = book.second[scalars + row.MOVED] > 0
        if frequencies < book.second[scalars + row.FINE]:
            error = book.second[scalars + row.ESTIMATE] / (GRADIENT_ERROR * book.second[scalars + row.FINE])
            agree = old + difference <= tolerance and max(abs(change), error) <= accuracy
            book.second[scalars + row.PHASE] = CONVERGED if agree else STALLED
            continue
        if frequencies > book.second[scalars + row.FINE]:
            # Another function: what the last one had come to is no mark for it.
            book.second[scalars + row.MARK_NORM] = new
            book.second[scalars + row.MARK_VALUE] = values[at]
            book.second[scalars + row.MARK_STEP] = book.second[scalars + row.STEP]
        book.second[scalars + row.VALUE] = values[at]
        book.second[scalars + row.OFFSET] += change - product
        book.second[scalars + row.FINE] = frequencies
        book.second[scalars + row.MOVED] = 0.0
        estimate = GRADIENT_ERROR * frequencies * errors[at]
        # There the estimate is mostly rounding.
        most = 2 * frequencies > MOST_FREQUENCIES
        book.second[scalars + row.ESTIMATE] = estimate
        # What even more frequencies would change is taken to be no more than what these did.
        within = max(old, new + difference) <= tolerance and max(abs(change), errors[at]) <= accuracy
        if not math.isfinite(values[at]):
            book.second[scalars + row.PHASE] = STALLED
        elif within and not moved:
            book.second[scalars + row.PHASE] = CONVERGED
        elif new <= max(tolerance, estimate) and not (most and tolerance < new < LITTLE * tolerance):
            # Small enough, as far as so many frequencies show.
            book.second[scalars + row.NEXT] = frequencies / 2 if most else 2 * frequencies
            book.second[scalars + row.PHASE] = STALLED if most and new > tolerance else CHECK
        else:
            wrong = corrected and difference > _CONTRACTION * book.second[scalars + row.REDUCED]
            barren = book.second[scalars + row.BARREN] > MOST_BARREN
            if (wrong and level < MOST_DESCENDED) or barren:
                book.second[scalars + row.LEVEL] = min((4 if barren else 2) * level, frequencies)
                book.second[scalars + row.PHASE] = ANCHOR
                book.second[scalars + row.BARREN] = 0.0
                book.second[scalars + row.MARK_STEP] = book.second[scalars + row.STEP]
            else:
                book.second[scalars + row.PHASE] = DESCEND
            book.second[scalars + row.REDUCED] = new
            book.second[scalars + row.TAU] = max(0.5 * tolerance, 0.0 if most else estimate, _REDUCTION * new)
