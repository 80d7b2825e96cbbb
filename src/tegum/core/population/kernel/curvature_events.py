"""What events add to the second derivatives of an output: closed forms, less what the sums hold of them.

The events are those of `patterns`: no coupled feature is active, and z = b; or one is, and z = b + a_l U. In each, what
is differentiated twice is E[x_p x_q (sign z − 2 x_j δ(z))] over the event, where x_p is 1 for the bias. Write S for
the mean of sign z − 2 x_j δ(z) in an event less its series, and for the segment of feature l also with U and U² in
front of it: S_0, S_1 and S_2. A coupled feature other than l is not active, and adds nothing; one that is not coupled
is independent of the event, but for its own set.

For each component c of a set, of weight w and gates q, let A be the probability that no coupled feature is active, G_l
that l is the only one, and Z_c what all events give where the set is in that component: A times those outside of the
set, plus the S_0 of its own. Then

    (p, b):    Σ w (½ q_p Z_c)    for a feature not coupled,    Σ w G_p S_1    for a coupled one,

and pairs within a component and across sets are made of the same numbers. Which features are coupled differs from
lane to lane, and is therefore a factor 0 or 1 rather than a branch.
"""

from __future__ import annotations

from tegum.core.compiled.compile import inlined, kernel, part
from tegum.core.compiled.lanes import WIDE_LANES as L
from tegum.core.compiled.lanes import absolute, fma, load, select, splat, store
from tegum.core.population.kernel import memory as row
from tegum.core.population.kernel.memory import get, put
from tegum.core.population.kernel.patterns import crossing, sign_of

# Rows that are free once the sums are done.
_LOOSE, _ALONE = row.U, row.U + 1
"""In one component: half the gate of a feature not coupled; the probability that a coupled one is the only one, times
S_1 and the probability that no other set is active."""
_SILENT, _BEHIND = row.V, row.V + 1
"""In one component: the probability that the feature is not active if it is coupled, else 1; the product of these for
all that come after it."""


@kernel
def add_events(plan, table, s, j, b, turn, nothing, mixed, to):
    """Add what the events give beyond the sums of `sum_curvature`, on and above the diagonal.

    Args:
        plan, table, s: of the block, with NONE, OTHERS, LONE and COUPLED as `probabilities` left them.
        j: the position of the output.
        b: its bias.
        turn: π / 2 M.
        nothing: P(no coupled feature is active).
        mixed: whether a feature is not coupled to the output, in some lane.
        to: (n + 1, n + 1, 8).

    """
    zero = splat(0.0)
    n = plan.features
    sum_ = nothing * (sign_of(b) - load(s.state, row.STEP_BIAS * L))
    for p in range(n):
        _segment(s, p, b, turn, p == j)
        lone = get(s, p, row.LONE)
        sum_ = fma(lone, get(s, p, row.STEP), sum_)
        put(s, p, row.MEAN, zero)
        put(s, p, row.TOTAL, lone * get(s, p, row.STEP_U))
        _add(to, p * (n + 2), lone * get(s, p, row.STEP_X))
    _add(to, n * (n + 2), sum_)
    if mixed:
        for g in range(plan.sets):
            _within_set(plan, table, s, g, sum_, to)
        _across_sets(plan, s, sum_, to)
    for p in range(n):
        _add(to, p * (n + 1) + n, get(s, p, row.TOTAL))


@part
def _add(to, entry, value):
    """Add a value to an entry."""
    store(to, entry * L, load(to, entry * L) + value)


@part
def _segment(s, p, b, turn, own):
    """Write S_0, S_1 and S_2 of the segment of position p to the rows of their series."""
    zero = splat(0.0)
    sign, root, crosses = crossing(s, p, b, sign_of(b), turn)
    square = root * root
    cube = square * root
    of_sign = sign * (splat(1.0) - root - root)
    of_first = sign * (splat(0.5) - square)
    of_second = sign * (splat(1 / 3) - splat(2 / 3) * cube)
    if own:
        # 2 U δ(b + a U), once with each power of U
        density = select(crosses, (turn + turn) * absolute(get(s, p, row.INVERSE)), zero)
        of_sign = of_sign - density * root
        of_first = of_first - density * square
        of_second = of_second - density * cube
    put(s, p, row.STEP, of_sign - get(s, p, row.STEP))
    put(s, p, row.STEP_U, of_first - get(s, p, row.STEP_U))
    put(s, p, row.STEP_X, of_second - get(s, p, row.STEP_X))


@inlined
def _within_set(plan, table, s, g, sum_, to):
    """Add the pairs within a set, and set MEAN and TOTAL of its features that are not coupled."""
    zero, one = splat(0.0), splat(1.0)
    first, end = plan.first[g], plan.first[g + 1]
    none, others = get(s, first, row.NONE), get(s, first, row.OTHERS)
    within = zero
    for p in range(first, end):
        within = fma(get(s, p, row.LONE), get(s, p, row.STEP), within)
    # Where the set always has something coupled active, no component is silent, and what stands here does not count.
    given = one / select(none > zero, none, one)
    outside = (sum_ - within) * given
    for c in range(plan.component[g], plan.component[g + 1]):
        weight = load(table, (plan.weight[g] + c - plan.component[g]) * L)
        _component(plan, table, s, c, weight, outside, others, given, to)


@inlined
def _component(plan, table, s, c, weight, outside, others, given, to):
    """Add the pairs within one component."""
    one, half = splat(1.0), splat(0.5)
    n = plan.features
    first, last = plan.part[c], plan.part[c + 1] - 1
    silent = one
    for back in range(last + 1 - first):
        p = plan.position[last - back]
        active = get(s, p, row.COUPLED) * load(table, plan.gate[last - back] * L)
        put(s, p, _BEHIND, silent)
        put(s, p, _SILENT, one - active)
        silent = silent * (one - active)
    events = silent * outside
    before = others
    for place in range(first, last + 1):
        p = plan.position[place]
        q, coupled = load(table, plan.gate[place] * L), get(s, p, row.COUPLED)
        alone = before * (coupled * q) * get(s, p, _BEHIND)
        events = fma(alone, get(s, p, row.STEP), events)
        put(s, p, _ALONE, alone * get(s, p, row.STEP_U))
        put(s, p, _LOOSE, half * q * (one - coupled))
        before = before * get(s, p, _SILENT)
    for place in range(first, last + 1):
        p = plan.position[place]
        loose, alone = weight * get(s, p, _LOOSE), weight * get(s, p, _ALONE)
        gained = loose * events
        put(s, p, row.MEAN, fma(loose, silent * given, get(s, p, row.MEAN)))
        put(s, p, row.TOTAL, get(s, p, row.TOTAL) + gained)
        _add(to, p * (n + 2), splat(2 / 3) * gained)
        for other in range(place + 1, last + 1):
            i = plan.position[other]
            pair = fma(gained + alone, get(s, i, _LOOSE), loose * get(s, i, _ALONE))
            _add(to, p * (n + 1) + i, pair)


@inlined
def _across_sets(plan, s, sum_, to):
    """Add the pairs of features in different sets, of which one is not coupled at least: for others MEAN is 0."""
    n = plan.features
    for p in range(n):
        mean, total = get(s, p, row.MEAN), get(s, p, row.TOTAL)
        for q in range(plan.first[plan.set_of[p] + 1], n):
            other = get(s, q, row.MEAN)
            _add(to, p * (n + 1) + q, fma(mean, get(s, q, row.TOTAL) - other * sum_, other * total))
