"""L-BFGS on the population loss, eight runs at a time, each at its own place in its own search.

The direction is that of the two-loop recursion (Nocedal & Wright 2006, algorithm 7.4). Most of the work is done with
few frequencies: what is descended is L_K(x) + c·x + const, where the constant vector c is the difference of the
gradients of a finer series and of the K frequencies at some x, so that the minimum is that of the finer one (Nash 2000,
MG/OPT; multigrid's τ correction). When the gradient has become so small that the finer series or c may be in doubt,
`descend` lets the run go, its gradient is computed again with more frequencies, and `settle` renews c or ends the run.
"""

from __future__ import annotations

import math

from tegum.core.compiled.compile import inlined, kernel
from tegum.core.compiled.lanes import WIDE_LANES as L
from tegum.core.compiled.lanes import (
    at_least,
    at_most,
    fma,
    is_set,
    load,
    negative,
    pointer_at,
    pointers,
    select,
    splat,
    sqrt,
    store,
)
from tegum.core.population.kernel.evaluate import refresh_scale
from tegum.core.population.truncation import MARGIN
from tegum.training.exact.kernels import search as row
from tegum.training.exact.kernels.memory import ANCHOR, CHECK, DESCEND, DIVERGED, STALLED, come_in, forget, go_out
from tegum.training.exact.kernels.probe import GRADIENT_ERROR, dot, leave, loss_and_gradient
from tegum.training.exact.kernels.search import ACCEPT, FAIL, begin_search, next_step

MOST_FREQUENCIES = 65536
MOST_BARREN = 2
"""Searches without result after which more frequencies are descended with: fewer are not smooth enough."""
MOST_DESCENDED = 4096
"""More than that are not worth descending with."""
_PATIENCE = 100.0
"""Steps without progress after which a run has stalled."""
LITTLE = 100.0
"""A gradient of so many times the tolerance is worth the highest number of frequencies more than once."""
_FAR = 10.0
"""Where a step gains, or the gradient is, so many times the error of the series, a change of scale does not matter."""
_TOO_SMALL, _TOO_LARGE = 1.2, 0.5
"""A scale is renewed when the one that suits is more than, or less than, so many times as large."""


@kernel
def _directions(b, size):
    """Directions of the lanes that need one, their slopes, and the length of the first step of those without pairs."""
    end = size * L
    half = splat(0.5)
    needs = load(b.scalars, row.NEEDS * L) > half
    for p in range(0, end, L):
        store(b.direction, p, select(needs, load(b.gradient, p), load(b.direction, p)))
    for k in range(b.pairs):
        steps, changes = pointer_at(b.steps, k * end), pointer_at(b.changes, k * end)
        share = load(b.rho, k * L) * dot(steps, b.direction, end)
        share = select(needs, share, splat(0.0))
        store(b.shares, k * L, share)
        less = negative(share)
        for p in range(0, end, L):
            store(b.direction, p, fma(less, load(changes, p), load(b.direction, p)))
    # Without pairs, a tenth of the way to the origin: the loss has no length of its own.
    length = sqrt(dot(b.x, b.x, end))
    length = splat(0.1) * at_least(length, splat(0.1))
    norm = at_least(sqrt(dot(b.gradient, b.gradient, end)), splat(1e-300))
    gamma = select(load(b.rho, 0) > splat(0.0), load(b.scalars, row.GAMMA * L), length / norm)
    gamma = select(needs, gamma, splat(1.0))
    for p in range(0, end, L):
        store(b.direction, p, gamma * load(b.direction, p))
    for back in range(b.pairs):
        k = b.pairs - 1 - back
        steps, changes = pointer_at(b.steps, k * end), pointer_at(b.changes, k * end)
        share = load(b.shares, k * L) - load(b.rho, k * L) * dot(changes, b.direction, end)
        share = select(needs, share, splat(0.0))
        for p in range(0, end, L):
            store(b.direction, p, fma(share, load(steps, p), load(b.direction, p)))
    for p in range(0, end, L):
        direction = load(b.direction, p)
        store(b.direction, p, select(needs, negative(direction), direction))
    store(b.slope, 0, dot(b.gradient, b.direction, end))
    store(b.square, 0, gamma)


@inlined
def _begin(b, size):
    """New searches, where they are needed."""
    _directions(b, size)
    for lane in range(L):
        if b.scalars[row.NEEDS * L + lane] > 0:
            b.scalars[row.NEEDS * L + lane] = 0.0
            slope = b.slope[lane]
            if not slope < 0:
                # Rounding has spoilt the pairs (or the gradient is zero): down the gradient.
                gamma = b.square[lane]
                forget(b, size, lane)
                slope = 0.0
                for p in range(size):
                    g = b.gradient[p * L + lane]
                    b.direction[p * L + lane] = -gamma * g
                    slope -= gamma * g * g
            begin_search(b.scalars, lane, slope)


@kernel
def _accept(b, size):
    """Go to the trial in the lanes of `accept`, and add a pair where the curvature along the step is positive."""
    end = size * L
    half, zero, one = splat(0.5), splat(0.0), splat(1.0)
    accept = load(b.accept, 0) > half
    curvature, square = zero, zero
    for p in range(0, end, L):
        step = load(b.trial, p) - load(b.x, p)
        change = load(b.trial_gradient, p) - load(b.gradient, p)
        curvature = fma(step, change, curvature)
        square = fma(change, change, square)
    keep = accept & (curvature > splat(1e-16) * square)
    for back in range(1, b.pairs):
        to, source = (b.pairs - back) * end, (b.pairs - back - 1) * end
        for p in range(0, end, L):
            store(b.steps, to + p, select(keep, load(b.steps, source + p), load(b.steps, to + p)))
            store(b.changes, to + p, select(keep, load(b.changes, source + p), load(b.changes, to + p)))
        to, source = (b.pairs - back) * L, (b.pairs - back - 1) * L
        store(b.rho, to, select(keep, load(b.rho, source), load(b.rho, to)))
    for p in range(0, end, L):
        x, g = load(b.x, p), load(b.gradient, p)
        trial, trial_gradient = load(b.trial, p), load(b.trial_gradient, p)
        store(b.steps, p, select(keep, trial - x, load(b.steps, p)))
        store(b.changes, p, select(keep, trial_gradient - g, load(b.changes, p)))
        store(b.x, p, select(accept, trial, x))
        store(b.gradient, p, select(accept, trial_gradient, g))
    store(b.rho, 0, select(keep, one / curvature, load(b.rho, 0)))
    old = load(b.scalars, row.GAMMA * L)
    store(b.scalars, row.GAMMA * L, select(keep, curvature / square, old))


@kernel
def _fit(plan, b, s, size):
    """How the scales that would suit compare with those in use: the least and the largest quotient of any output.

    `square` becomes the squared norm of the gradient.
    """
    refresh_scale(plan, b.x, b.fresh, s)
    least, most = splat(1.0), splat(1.0)
    for p in range(0, plan.features * L, L):
        share = load(b.fresh, p) / load(b.scale, p)
        least, most = at_most(least, share), at_least(most, share)
    store(b.least, 0, least)
    store(b.most, 0, most)
    store(b.square, 0, dot(b.gradient, b.gradient, size * L))


@inlined
def _coarse(scalars, lane):
    """Whether what is descended is the very loss at K frequencies."""
    return scalars[row.FINE * L + lane] == scalars[row.LEVEL * L + lane]


@inlined
def _grow(plan, b, s, count):
    """Let the scale follow a trial that gains far more than the error of the series: all a scale can change."""
    growing = 0
    for lane in range(L):
        if b.run[lane] >= 0 and b.anchor[lane] == 0.0 and _coarse(b.scalars, lane):
            gain = -b.scalars[row.ALPHA * L + lane] * b.scalars[row.SLOPE * L + lane]
            if gain * GRADIENT_ERROR * count > _FAR * b.scalars[row.ESTIMATE * L + lane]:
                b.grow[lane] = 1.0
                growing += 1
    if growing > 0:
        refresh_scale(plan, b.trial, b.fresh, s)
        grow = load(b.grow, 0) > splat(0.5)
        for p in range(0, plan.features * L, L):
            old, new = load(b.scale, p), load(b.fresh, p)
            store(b.scale, p, select(grow & (new > splat(MARGIN) * old), new, old))


@inlined
def _anchor(b, size, lane, value, count):
    """The first loss at K frequencies, or with another scale: it becomes the loss, or c becomes what is missing."""
    scalars = b.scalars
    end = size * L
    if _coarse(scalars, lane):
        for p in range(lane, end, L):
            b.gradient[p] = b.trial_gradient[p]
            b.correction[p] = 0.0
        scalars[row.VALUE * L + lane] = value
        scalars[row.OFFSET * L + lane] = 0.0
        scalars[row.ESTIMATE * L + lane] = GRADIENT_ERROR * count * b.error[lane]
        scalars[row.MOVED * L + lane] = 0.0
    else:
        offset = scalars[row.VALUE * L + lane] - value
        for p in range(lane, end, L):
            c = b.gradient[p] - b.trial_gradient[p]
            b.correction[p] = c
            offset -= c * b.x[p]
        scalars[row.OFFSET * L + lane] = offset
    scalars[row.PHASE * L + lane] = DESCEND


@inlined
def _ask(scalars, lane, frequencies):
    """The gradient is wanted with so many frequencies, or the run has stalled for want of more."""
    scalars[row.NEXT * L + lane] = frequencies
    scalars[row.PHASE * L + lane] = CHECK if frequencies <= MOST_FREQUENCIES else STALLED


@inlined
def _after(b, size, lane, tolerance):
    """What comes after a step or an anchor."""
    scalars = b.scalars
    square = 0.0
    for p in range(lane, size * L, L):
        square += b.gradient[p] * b.gradient[p]
    norm = math.sqrt(square)
    level, fine = scalars[row.LEVEL * L + lane], scalars[row.FINE * L + lane]
    estimate, moved = scalars[row.ESTIMATE * L + lane], scalars[row.MOVED * L + lane] > 0
    target = max(0.5 * tolerance, estimate) if fine == level else scalars[row.TAU * L + lane]
    value, step = scalars[row.VALUE * L + lane], scalars[row.STEP * L + lane]
    if norm <= target:
        if fine == level and moved and norm <= tolerance:
            scalars[row.PHASE * L + lane] = ANCHOR
        else:
            # Where there are no more frequencies c alone can become better, and is worth it if little is missing.
            last = 2 * fine > MOST_FREQUENCIES and scalars[row.REDUCED * L + lane] < LITTLE * tolerance
            again = fine > level and moved and (last or estimate < 0.5 * max(norm, 0.5 * tolerance))
            _ask(scalars, lane, fine if again else 2 * fine)
    elif norm < 0.5 * scalars[row.MARK_NORM * L + lane] or (
        value < scalars[row.MARK_VALUE * L + lane] - 1e-13 * scalars[row.SIZE * L + lane]
    ):
        scalars[row.MARK_NORM * L + lane] = norm
        scalars[row.MARK_VALUE * L + lane] = value
        scalars[row.MARK_STEP * L + lane] = step
        scalars[row.BARREN * L + lane] = 0.0
    elif step - scalars[row.MARK_STEP * L + lane] > _PATIENCE:
        scalars[row.PHASE * L + lane] = STALLED


@inlined
def _failed(b, size, lane):
    """A search found nothing: forget the pairs; without pairs, ask for a better gradient; in the end, give up."""
    scalars = b.scalars
    scalars[row.BARREN * L + lane] += 1
    if b.rho[lane] > 0 and scalars[row.BARREN * L + lane] <= MOST_BARREN:
        forget(b, size, lane)
        scalars[row.NEEDS * L + lane] = 1.0
        return
    scalars[row.BARREN * L + lane] = MOST_BARREN + 1
    fine, level = scalars[row.FINE * L + lane], scalars[row.LEVEL * L + lane]
    again = fine > level and scalars[row.MOVED * L + lane] > 0
    _ask(scalars, lane, fine if again else 2 * fine)
    if level >= MOST_DESCENDED:
        scalars[row.PHASE * L + lane] = STALLED


@kernel
def descend(plan, tables, series, count, book, queue, amount, stop, snapshots, tolerance, s, working):
    """Take steps with K frequencies, until every run of a queue has done `stop` steps or has something else to do.

    When the flag of `s` is raised it returns soon, and what it has written is good for nothing.

    Args:
        plan: a `Plan`.
        tables: a `Tables`.
        series: `frequencies(K)`, flattened.
        count: its rows.
        book: a `Book`; changed in place.
        queue: runs that descend with K frequencies.
        amount: how many.
        stop: the step to stop at.
        snapshots: how many there are in the book.
        tolerance: of the gradient's norm.
        s: a `Scratch`.
        working: a `Block`.

    """
    linear, rows = tables.linear, plan.rows
    plan, s, b, book, tables = pointers(plan), pointers(s), pointers(working), pointers(book), pointers(tables)
    size = plan.features * (plan.hidden + 1)
    end = size * L
    half, zero = splat(0.5), splat(0.0)
    series = pointer_at(series, 0)
    scalars = b.scalars
    taken = 0
    while True:
        if is_set(s.stop):
            return
        active, anchors, needs = 0, 0, 0
        for lane in range(L):
            b.accept[lane] = 0.0
            if b.run[lane] < 0 and taken < amount:
                come_in(b, book, tables, rows, size, lane, queue[taken], snapshots)
                taken += 1
            b.anchor[lane] = 0.0
            b.grow[lane] = 0.0
            if b.run[lane] >= 0:
                active += 1
                if scalars[row.PHASE * L + lane] == ANCHOR:
                    b.anchor[lane] = 1.0
                    anchors += 1
                elif scalars[row.NEEDS * L + lane] > 0:
                    needs += 1
            else:
                scalars[row.NEEDS * L + lane] = 0.0
        if active == 0:
            return
        if anchors > 0:
            refresh_scale(plan, b.x, b.fresh, s)
            fresh = load(b.anchor, 0) > half
            for p in range(0, b.scale_rows * L, L):
                store(b.scale, p, select(fresh, load(b.fresh, p), load(b.scale, p)))
            for lane in range(L):
                if b.anchor[lane] > 0:
                    scalars[row.NEEDS * L + lane] = 0.0
        if needs > 0:
            _begin(b, size)
        fresh = load(b.anchor, 0) > half
        alpha = select(fresh, zero, load(scalars, row.ALPHA * L))
        for p in range(0, end, L):
            x = load(b.x, p)
            trial = fma(alpha, load(b.direction, p), x)
            store(b.trial, p, select(fresh, x, trial))
        _grow(plan, b, s, count)
        loss_and_gradient(
            plan, linear, b.table, series, count, b.trial, b.scale, b.value, b.trial_gradient, b.error, s, b.spare,
        )  # fmt: skip
        corrected = load(b.value, 0) + load(scalars, row.OFFSET * L)
        for p in range(0, end, L):
            c = select(fresh, zero, load(b.correction, p))
            store(b.trial_gradient, p, load(b.trial_gradient, p) + c)
            corrected = fma(c, load(b.trial, p), corrected)
        store(b.value, 0, select(fresh, load(b.value, 0), corrected))
        store(b.slope, 0, dot(b.trial_gradient, b.direction, end))
        accepted = 0
        for lane in range(L):
            if b.run[lane] >= 0:
                if b.anchor[lane] > 0:
                    if math.isfinite(b.value[lane]):
                        _anchor(b, size, lane, b.value[lane], count)
                        scalars[row.NEEDS * L + lane] = 1.0
                        _after(b, size, lane, tolerance)
                    else:
                        scalars[row.VALUE * L + lane] = math.nan
                        scalars[row.PHASE * L + lane] = DIVERGED
                else:
                    verdict = next_step(scalars, lane, b.value[lane], b.slope[lane], b.error[lane])
                    if verdict == ACCEPT:
                        b.accept[lane] = 1.0
                        accepted += 1
                    elif verdict == FAIL:
                        _failed(b, size, lane)
        if accepted > 0:
            _accept(b, size)
            _fit(plan, b, s, size)
            for lane in range(L):
                if b.accept[lane] > 0:
                    step = scalars[row.STEP * L + lane] + 1
                    scalars[row.STEP * L + lane] = step
                    scalars[row.VALUE * L + lane] = b.value[lane]
                    scalars[row.MOVED * L + lane] = 1.0
                    scalars[row.NEEDS * L + lane] = 1.0
                    if _coarse(scalars, lane):
                        scalars[row.ESTIMATE * L + lane] = GRADIENT_ERROR * count * b.error[lane]
                    column = int(scalars[row.COLUMN * L + lane])
                    if column < snapshots and book.snapshots[column] == step:
                        leave(book.path, (b.run[lane] * snapshots + column) * size, b.x, size, lane)
                        scalars[row.COLUMN * L + lane] = column + 1
                    misfit = b.most[lane] > _TOO_SMALL or b.least[lane] < _TOO_LARGE
                    far = b.square[lane] > (_FAR * scalars[row.ESTIMATE * L + lane]) ** 2
                    if misfit and not (far and _coarse(scalars, lane)):
                        scalars[row.PHASE * L + lane] = ANCHOR
                    else:
                        if misfit:
                            for p in range(lane, b.scale_rows * L, L):
                                b.scale[p] = b.fresh[p]
                        _after(b, size, lane, tolerance)
        for lane in range(L):
            if b.run[lane] >= 0:
                phase = scalars[row.PHASE * L + lane]
                arrived = phase == DESCEND and scalars[row.STEP * L + lane] >= stop
                if phase > DESCEND or arrived:
                    go_out(b, book, size, lane)
