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
from tegum.training.exact.kernels.memory import Phase, come_in, forget, go_out, state_in_lane, states_in_lanes
from tegum.training.exact.kernels.probe import GRADIENT_ERROR, Way, dot, leave, loss_and_gradient
from tegum.training.exact.kernels.search import Verdict, begin_search, judge_trial

MOST_FREQUENCIES = 65536
MOST_FAILURES = 2
"""The number of failed line searches after which the descent uses more frequencies: with fewer, the loss is not smooth
enough."""
MOST_DESCENDED = 4096
"""The most frequencies to descend with; more cost more than they gain."""
_PATIENCE = 100.0
"""The number of steps without progress after which a run counts as stalled."""
LITTLE = 100.0
"""A gradient within this multiple of the tolerance is computed with the most frequencies more than once."""
_FAR = 10.0
"""A change of scale does not matter where the gain of a step, or the gradient, is this many times the series' error."""
_TOO_SMALL, _TOO_LARGE = 1.2, 0.5
"""The scale is renewed when the suitable one is larger, or smaller, than the present one by these factors."""


@kernel
def _directions(b, size):
    """Directions of the lanes that need one, their slopes, and the length of the first step of those without pairs."""
    end = size * L
    half = splat(0.5)
    needs = states_in_lanes(b.state).needs_direction > half
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
    gamma = select(load(b.rho, 0) > splat(0.0), states_in_lanes(b.state).gamma, length / norm)
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
        state = state_in_lane(b.state, lane)
        if state.needs_direction > 0:
            state.needs_direction = 0.0
            slope = b.slope[lane]
            if not slope < 0:
                # Rounding has spoilt the pairs (or the gradient is zero): down the gradient.
                slope = _steepest(b, size, lane)
            begin_search(state, slope)


@inlined
def _steepest(b, size, lane):
    """Forget the pairs of a lane and make its direction that of the gradient; returns the slope."""
    gamma = b.square[lane]
    forget(b, size, lane)
    slope = 0.0
    for p in range(lane, size * L, L):
        g = b.gradient[p]
        b.direction[p] = -gamma * g
        slope -= gamma * g * g
    return slope


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
    states = states_in_lanes(b.state)
    states.gamma = select(keep, curvature / square, states.gamma)


@kernel
def _fit(plan, b, s, size, scaled):
    """How the scales that would suit compare with those in use: the least and the largest quotient of any output.

    `square` becomes the squared norm of the gradient.
    """
    least, most = splat(1.0), splat(1.0)
    if scaled:
        refresh_scale(plan, b.x, b.fresh, s)
        for p in range(0, plan.features * L, L):
            share = load(b.fresh, p) / load(b.scale, p)
            least, most = at_most(least, share), at_least(most, share)
    store(b.least, 0, least)
    store(b.most, 0, most)
    store(b.square, 0, dot(b.gradient, b.gradient, size * L))


@inlined
def _uncorrected(state):
    """Whether what is descended is the very loss at K frequencies, without c."""
    return state.fine == state.coarse


@inlined
def _admit(b, book, tables, rows, size, queue, taken, snapshots):
    """Let runs of the queue into lanes that are free; returns how many have been taken from it."""
    for lane in range(L):
        if b.run[lane] < 0 and taken < len(queue):
            come_in(b, book, tables, rows, size, lane, queue[taken], snapshots)
            taken += 1
    return taken


@inlined
def _sort_out(b):
    """Mark the lanes that are to be anchored; returns how many have runs, how many of these are anchored or search."""
    active, anchors, searching = 0, 0, 0
    for lane in range(L):
        b.accept[lane] = 0.0
        b.anchor[lane] = 0.0
        b.grow[lane] = 0.0
        state = state_in_lane(b.state, lane)
        if b.run[lane] < 0:
            state.needs_direction = 0.0
            continue
        active += 1
        if state.phase == Phase.ANCHOR:
            b.anchor[lane] = 1.0
            # It has no direction until it has a gradient.
            state.needs_direction = 0.0
            anchors += 1
        elif state.needs_direction > 0:
            searching += 1
    return active, anchors, searching


@inlined
def _renew_scales(plan, b, s):
    """Give lanes that are anchored the scale that suits."""
    refresh_scale(plan, b.x, b.fresh, s)
    anchored = load(b.anchor, 0) > splat(0.5)
    for p in range(0, b.scale_rows * L, L):
        store(b.scale, p, select(anchored, load(b.fresh, p), load(b.scale, p)))


@inlined
def _try(plan, tables, series, count, b, s, size, scaled):
    """Loss and gradient a step ahead, with c; of lanes that are anchored those where they are, without c."""
    zero = splat(0.0)
    end = size * L
    states = states_in_lanes(b.state)
    anchored = load(b.anchor, 0) > splat(0.5)
    alpha = select(anchored, zero, states.alpha)
    for p in range(0, end, L):
        x = load(b.x, p)
        store(b.trial, p, select(anchored, x, fma(alpha, load(b.direction, p), x)))
    if scaled:
        _grow(plan, b, s, count)
    loss_and_gradient(
        plan, tables, b.table, series, count, b.trial, b.scale, b.value, b.trial_gradient, b.error, b.run, s, b.spare,
    )  # fmt: skip
    corrected = load(b.value, 0) + states.offset
    for p in range(0, end, L):
        c = select(anchored, zero, load(b.correction, p))
        store(b.trial_gradient, p, load(b.trial_gradient, p) + c)
        corrected = fma(c, load(b.trial, p), corrected)
    store(b.value, 0, select(anchored, load(b.value, 0), corrected))
    store(b.slope, 0, dot(b.trial_gradient, b.direction, end))


@inlined
def _grow(plan, b, s, count):
    """Let the scale follow a trial that gains far more than the error of the series: all a scale can change."""
    growing = 0
    for lane in range(L):
        state = state_in_lane(b.state, lane)
        if b.run[lane] >= 0 and b.anchor[lane] == 0.0 and _uncorrected(state):
            gain = -state.alpha * state.slope
            if gain * GRADIENT_ERROR * count > _FAR * state.uncertainty:
                b.grow[lane] = 1.0
                growing += 1
    if growing > 0:
        refresh_scale(plan, b.trial, b.fresh, s)
        grow = load(b.grow, 0) > splat(0.5)
        for p in range(0, plan.features * L, L):
            old, new = load(b.scale, p), load(b.fresh, p)
            store(b.scale, p, select(grow & (new > splat(MARGIN) * old), new, old))


@inlined
def _judge(b, size, count, tolerance):
    """What the losses of this round say of each run; returns how many trials are accepted."""
    accepted = 0
    for lane in range(L):
        if b.run[lane] >= 0:
            if b.anchor[lane] > 0:
                _anchor(b, size, lane, count, tolerance)
            else:
                state = state_in_lane(b.state, lane)
                verdict = judge_trial(state, b.value[lane], b.slope[lane], b.error[lane])
                if verdict == Verdict.ACCEPT:
                    b.accept[lane] = 1.0
                    accepted += 1
                elif verdict == Verdict.FAIL:
                    _failed(b, size, lane)
    return accepted


@inlined
def _anchor(b, size, lane, count, tolerance):
    """The first loss at K frequencies, or with another scale: it becomes the loss, or c becomes what is missing."""
    state = state_in_lane(b.state, lane)
    value = b.value[lane]
    if math.isfinite(value):
        if _uncorrected(state):
            for p in range(lane, size * L, L):
                b.gradient[p] = b.trial_gradient[p]
                b.correction[p] = 0.0
            state.value = value
            state.offset = 0.0
            state.uncertainty = GRADIENT_ERROR * count * b.error[lane]
            state.moved = 0.0
        else:
            offset = state.value - value
            for p in range(lane, size * L, L):
                c = b.gradient[p] - b.trial_gradient[p]
                b.correction[p] = c
                offset -= c * b.x[p]
            state.offset = offset
        state.phase = Phase.DESCEND
        state.needs_direction = 1.0
        _after(b, size, lane, tolerance)
    else:
        state.value = math.nan
        state.phase = Phase.DIVERGED


@inlined
def _step_on(b, book, size, lane, count, tolerance, snapshots):
    """Book an accepted step: record it, and see whether the scale still suits and what comes next."""
    state = state_in_lane(b.state, lane)
    state.step += 1
    state.value = b.value[lane]
    state.moved = 1.0
    state.needs_direction = 1.0
    if _uncorrected(state):
        state.uncertainty = GRADIENT_ERROR * count * b.error[lane]
    column = int(state.column)
    if column < snapshots and book.snapshots[column] == state.step:
        leave(book.path, (b.run[lane] * snapshots + column) * size, b.x, size, lane)
        state.column = column + 1
    misfit = b.most[lane] > _TOO_SMALL or b.least[lane] < _TOO_LARGE
    far = b.square[lane] > (_FAR * state.uncertainty) ** 2
    if misfit and not (far and _uncorrected(state)):
        # The loss and c belong to the old scale.
        state.phase = Phase.ANCHOR
    else:
        if misfit:
            for p in range(lane, b.scale_rows * L, L):
                b.scale[p] = b.fresh[p]
        _after(b, size, lane, tolerance)


@inlined
def _after(b, size, lane, tolerance):
    """What comes after a step or an anchor."""
    state = state_in_lane(b.state, lane)
    square = 0.0
    for p in range(lane, size * L, L):
        square += b.gradient[p] * b.gradient[p]
    norm = math.sqrt(square)
    target = max(0.5 * tolerance, state.uncertainty) if _uncorrected(state) else state.target
    if norm <= target:
        _arrive(state, norm, tolerance)
    elif norm < 0.5 * state.mark_norm or state.value < state.mark_value - 1e-13 * state.size:
        state.mark_norm = norm
        state.mark_value = state.value
        state.mark_step = state.step
        state.failures = 0.0
    elif state.step - state.mark_step > _PATIENCE:
        state.phase = Phase.STALLED


@inlined
def _arrive(state, norm, tolerance):
    """The gradient is as small as is worth while without another check."""
    moved = state.moved > 0
    if _uncorrected(state) and moved and norm <= tolerance:
        # First with the scale that suits this place; if the gradient is still as small, a check follows.
        state.phase = Phase.ANCHOR
    else:
        # Where there are no more frequencies c alone can become better, and is worth it if little is missing.
        last = 2 * state.fine > MOST_FREQUENCIES and state.norm_at_check < LITTLE * tolerance
        precise = state.uncertainty < 0.5 * max(norm, 0.5 * tolerance)
        again = state.fine > state.coarse and moved and (last or precise)
        _ask(state, state.fine if again else 2 * state.fine)


@inlined
def _ask(state, frequencies):
    """Ask for the gradient with this many frequencies; a run that would need more than there are has stalled."""
    state.wanted = frequencies
    state.phase = Phase.CHECK if frequencies <= MOST_FREQUENCIES else Phase.STALLED


@inlined
def _failed(b, size, lane):
    """A search found nothing: forget the pairs; without pairs, ask for a better gradient; in the end, give up."""
    state = state_in_lane(b.state, lane)
    state.failures += 1
    if b.rho[lane] > 0 and state.failures <= MOST_FAILURES:
        forget(b, size, lane)
        state.needs_direction = 1.0
    else:
        state.failures = MOST_FAILURES + 1
        again = state.fine > state.coarse and state.moved > 0
        _ask(state, state.fine if again else 2 * state.fine)
        if state.coarse >= MOST_DESCENDED:
            state.phase = Phase.STALLED


@inlined
def _retire(b, book, size, stop):
    """Runs that have done their steps, or have something else to do, leave their lanes."""
    for lane in range(L):
        if b.run[lane] >= 0:
            state = state_in_lane(b.state, lane)
            arrived = state.phase == Phase.DESCEND and state.step >= stop
            if state.phase > Phase.DESCEND or arrived:
                go_out(b, book, size, lane)


@kernel
def descend(plan, tables, series, count, book, queue, stop, tolerance, s, working):
    """Take steps with K frequencies, until every run of a queue has done `stop` steps or has something else to do.

    When the flag of `s` is raised it returns soon, and what it has written is good for nothing.

    Args:
        plan: a `Plan`.
        tables: a `Tables`.
        series: `frequencies(K)`, flattened.
        count: its rows.
        book: a `Book`; changed in place.
        queue: runs that descend with K frequencies.
        stop: the step to stop at.
        tolerance: of the gradient's norm.
        s: a `Scratch`.
        working: a `Block`.

    """
    rows, snapshots, scaled = plan.rows, len(book.snapshots), tables.way != Way.FINITE
    plan, s, b, book, tables = pointers(plan), pointers(s), pointers(working), pointers(book), pointers(tables)
    size = plan.features * (plan.hidden + 1)
    series = pointer_at(series, 0)
    taken = 0
    while not is_set(s.stop):
        taken = _admit(b, book, tables, rows, size, queue, taken, snapshots)
        active, anchors, searching = _sort_out(b)
        if active == 0:
            return
        if anchors > 0 and scaled:
            _renew_scales(plan, b, s)
        if searching > 0:
            _begin(b, size)
        _try(plan, tables, series, count, b, s, size, scaled)
        if _judge(b, size, count, tolerance) > 0:
            _accept(b, size)
            _fit(plan, b, s, size, scaled)
            for lane in range(L):
                if b.accept[lane] > 0:
                    _step_on(b, book, size, lane, count, tolerance, snapshots)
        _retire(b, book, size, stop)
