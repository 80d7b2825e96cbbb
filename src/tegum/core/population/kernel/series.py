"""The sums over frequencies of one output, eight runs side by side: where the time goes.

For every odd frequency k the characteristic function E e^{itz}, t = π k / M, is a product over sets, and so are the
expectations with x_i or x_i x_j before the exponential: one factor, or two, are replaced. With R the product of all
sets but the output's own one, F that one's own factor and F' the same with x_j before the exponential, the sums are

    of the value:            w/k² Re(R F') and w/k³ Im(R F),
    of the slope in the bias and in a_i:    w/k² Re and w/k Im of the same, with x_i before the exponential.

The latter two differ in the own factor alone, so that F and F' are put together first and then a single product runs
through the other sets: forward, leaving at each set the product of those before it, and backward, picking it up.
No product is divided by a factor to leave it out, as a factor may be zero.

Two frequencies are taken at once, since the chain of one product leaves half of the processor idle. The innermost loops
run over singles and keep both products in registers; all other sets take one frequency after the other, `f` being 0
for the first and 2 for the second.
"""

from __future__ import annotations

import math

from tegum.core.compiled.compile import inlined, kernel, part
from tegum.core.compiled.complex_lanes import (
    add_real_of_product,
    complex_lanes,
    load_complex,
    scaled_sum,
    store_complex,
    times_i,
)
from tegum.core.compiled.lanes import WIDE_LANES as L
from tegum.core.compiled.lanes import absolute, fma, is_set, load, negative, select, splat, store
from tegum.core.population.kernel import memory as row
from tegum.core.population.kernel.characteristic import (
    add_slope,
    both_moments,
    mixture,
    mixture_slopes,
    next_waves,
    own_moments,
    own_shared,
    shared_factor,
    shared_slopes,
    store_moments,
    unit_wave,
)
from tegum.core.population.kernel.memory import get, get_complex, put, put_complex
from tegum.core.population.kernel.tables import COLUMNS
from tegum.core.population.truncation import SHORTER

_PI = math.pi

RESEED = 128
"""Frequencies after which waves are computed anew: until then they are turned on, and rounding adds up."""
_LEAST_HALF_TURNS = 1e-100
"""Stands for a coupling of zero, by which one could not divide."""


@kernel
def sum_series(plan, table, series, count, s, j, scale, bias_half_turns, nothing, mixed):
    """The sums over all frequencies of output j, into the state, SLOPE and SEGMENT; when stopped, anything.

    Args:
        plan, table, s: of the block.
        series: `frequencies(K)`, flattened.
        count: its rows, an even number.
        j: the position of the output.
        scale: M of the output.
        bias_half_turns: its bias over M.
        nothing: P(no coupled feature is active).
        mixed: whether a feature is not coupled to the output, in some lane.

    """
    _clear(plan, s)
    start_waves(plan, table, s, scale, bias_half_turns)
    for r in range(0, count, 2):
        at = r * COLUMNS
        k0, k1 = series[at], series[at + COLUMNS]
        if r % RESEED == 0 and r > 0:
            if is_set(s.stop):
                return
            seed_waves(plan, s, splat(k0), bias_half_turns)
        turn_bias_wave(s)
        _store_moments_of_sets(plan, s, j, k0, k1)
        _forward_over_singles(plan, s, j, k0, k1, nothing)
        for f in range(0, 4, 2):
            _one_frequency(plan, table, series, at + f // 2 * COLUMNS, s, j, f, scale, mixed)
        _backward_over_singles(plan, s, j)


@inlined
def _clear(plan, s):
    """All sums are zero."""
    for sum_ in range(row.SUMS):
        store(s.state, sum_ * L, splat(0.0))
    for p in range(plan.features):
        put(s, p, row.SLOPE, splat(0.0))
        put(s, p, row.SEGMENT, splat(0.0))


@inlined
def start_waves(plan, table, s, scale, bias_half_turns):
    """Angles and waves at the first frequency; and what singles need in the innermost loops, close to it in memory."""
    n, singles = plan.features, plan.singles
    inverse_period = splat(0.5) / scale
    for p in range(n):
        x = get(s, p, row.COUPLING) * inverse_period
        x = select(absolute(x) < splat(_LEAST_HALF_TURNS), splat(_LEAST_HALF_TURNS), x)
        angle = x * splat(_PI)
        put(s, p, row.HALF_TURNS, x)
        put(s, p, row.ANGLE, angle)
        put(s, p, row.INVERSE, splat(1.0) / angle)
        wave = unit_wave(x, splat(1.0))
        put_complex(s, p, row.WAVE, wave)
        # The series is odd: from each frequency to the next are two turns of the first wave.
        put_complex(s, p, row.TURN, wave * wave)
    for p in range(singles):
        put(s, p, row.CHANCE, load(table, (2 * n + p) * L))
        put(s, p, row.IDLE, load(table, (2 * n + singles + p) * L))
    wave = unit_wave(bias_half_turns, splat(1.0))
    store_complex(s.state, row.BIAS_STATE * L, wave)
    store_complex(s.state, row.BIAS_TURN * L, wave * wave)


@part
def seed_waves(plan, s, k, bias_half_turns):
    """Waves at the frequencies k of the lanes, in place of those that rounding has worn."""
    for p in range(plan.features):
        put_complex(s, p, row.WAVE, unit_wave(get(s, p, row.HALF_TURNS), k))
    store_complex(s.state, row.BIAS_STATE * L, unit_wave(bias_half_turns, k))


@inlined
def turn_bias_wave(s):
    """The bias's wave e^{itb} at both frequencies; turns the stored one on by two."""
    wave, turn = load_complex(s.state, row.BIAS_STATE * L), load_complex(s.state, row.BIAS_TURN * L)
    store_complex(s.state, row.BIAS_WAVE * L, wave)
    wave = wave * turn
    store_complex(s.state, (row.BIAS_WAVE + 2) * L, wave)
    store_complex(s.state, row.BIAS_STATE * L, wave * turn)


@inlined
def _store_moments_of_sets(plan, s, j, k0, k1):
    """Moments of the output's own feature, which alone needs x, and of all that are in sets; turns their waves on."""
    first, second = next_waves(s, j)
    angle, inverse = get(s, j, row.ANGLE), get(s, j, row.INVERSE)
    u, v, x = own_moments(first, angle * splat(k0), inverse * splat(1 / k0))
    put_complex(s, j, row.U, u)
    put_complex(s, j, row.V, v)
    store_complex(s.state, row.OWN_X * L, x)
    u, v, x = own_moments(second, angle * splat(k1), inverse * splat(1 / k1))
    put_complex(s, j, row.U + 2, u)
    put_complex(s, j, row.V + 2, v)
    store_complex(s.state, (row.OWN_X + 2) * L, x)
    for p in range(plan.singles, plan.features):
        if p != j:
            store_moments(s, p, k0, k1)


@inlined
def _forward_over_singles(plan, s, j, k0, k1, nothing):
    """Products of the sets before each single, and the sum of P(event) E[e^{itz} | event] over events.

    The events are that no coupled feature is active, and that a single one is. Moments of singles are computed here,
    while they are in registers, and not before.
    """
    one, zero = splat(1.0), splat(0.0)
    first, second = complex_lanes(one, zero), complex_lanes(one, zero)
    lone = get(s, j, row.LONE)
    first_events = scaled_sum(lone, get_complex(s, j, row.U), nothing)
    second_events = scaled_sum(lone, get_complex(s, j, row.U + 2), nothing)
    for p in range(plan.singles):
        if p != j:
            (first_u, first_v), (second_u, second_v) = both_moments(s, p, k0, k1)
            chance, idle = get(s, p, row.CHANCE), get(s, p, row.IDLE)
            lone = get(s, p, row.LONE)
            put_complex(s, p, row.V, first_v)
            put_complex(s, p, row.BEFORE, first)
            first_events = scaled_sum(lone, first_u, first_events)
            factor = scaled_sum(chance, first_u, idle)
            put_complex(s, p, row.FACTOR, factor)
            first = first * factor
            put_complex(s, p, row.V + 2, second_v)
            put_complex(s, p, row.BEFORE + 2, second)
            second_events = scaled_sum(lone, second_u, second_events)
            factor = scaled_sum(chance, second_u, idle)
            put_complex(s, p, row.FACTOR + 2, factor)
            second = second * factor
    store_complex(s.state, row.PRODUCT * L, first)
    store_complex(s.state, (row.PRODUCT + 2) * L, second)
    store_complex(s.state, row.EVENT_SUM * L, first_events)
    store_complex(s.state, (row.EVENT_SUM + 2) * L, second_events)


@inlined
def _one_frequency(plan, table, series, column, s, j, f, scale, mixed):
    """All that is summed at one frequency, but for the slopes of singles: it leaves their common part in PRODUCT."""
    zero = splat(0.0)
    # What ∂ℓ/∂a takes from E[x_i e^{itz}] (twice), and half of what it takes from E[x_i x_j e^{itz}] / i.
    twice = splat(-4 / _PI**2 * series[column + 3]) * scale
    once = splat(2 / _PI * series[column + 2])
    bias_wave = load_complex(s.state, (row.BIAS_WAVE + f) * L)
    second = twice * bias_wave
    store_complex(s.state, (row.SECOND + f) * L, second)
    u, v = get_complex(s, j, row.U + f), get_complex(s, j, row.V + f)
    # u_j as the slopes in the other couplings take it, with x_j before the exponential and without at once.
    star = scaled_sum(twice, u, times_i(once * v))
    own, singles, shared_end = plan.set_of[j], plan.singles, plan.singles + plan.shared
    if own < singles:
        n = plan.features
        own_slope = complex_lanes(load(table, (2 * n + j) * L), zero)
        own_factor = scaled_sum(load(table, (2 * n + j) * L), u, load(table, (2 * n + singles + j) * L))
    elif own < shared_end:
        own_factor, own_slope = own_shared(plan, table, s, own, j, f, star)
    else:
        own_factor, own_slope = mixture(plan, table, s, own, j, f, star, twice)
    others, events = _forward_over_sets(plan, table, s, j, f, mixed)

    # E e^{itz} and E x_j e^{itz} / v_j, less the events, which are integrated in closed form.
    lone = get(s, j, row.LONE)
    whole = (others * own_factor - events) * bias_wave
    with_own = (others * own_slope - lone) * bias_wave
    _add_to_sums(series, column, s, f, scale, once, twice, whole, with_own, v)
    if mixed:
        _add_events(plan, s, f, lone, events, once, second, bias_wave, v)

    # Backward: the slopes of the own set, then of the others, from what they have in common.
    around = bias_wave * others
    if own >= shared_end:
        mixture_slopes(plan, s, own, j, f, around, second)
    elif own >= singles:
        _own_shared_slopes(plan, s, own, j, f, around, second)
    common = scaled_sum(twice, own_factor, times_i(once * (own_slope * v))) * bias_wave
    common = _backward_over_sets(plan, table, s, own, f, common, mixed, second)
    store_complex(s.state, (row.PRODUCT + f) * L, common)


@inlined
def _forward_over_sets(plan, table, s, j, f, mixed):
    """The product of all sets but the output's own one, and the sum over events, those of features in sets included.

    Leaves factors, and the products before them, at the sets. In a set with one gate no feature is ever active alone,
    unless some of it is not coupled. Both chains run through one loop, where each hides the other's latency.
    """
    zero, one = splat(0.0), splat(1.0)
    own, shared_end = plan.set_of[j], plan.singles + plan.shared
    product = load_complex(s.state, (row.PRODUCT + f) * L)
    events = load_complex(s.state, (row.EVENT_SUM + f) * L)
    for g in range(plan.singles, plan.sets):
        first = plan.first[g]
        if g >= shared_end or mixed:
            for p in range(first, plan.first[g + 1]):
                if p != j:
                    events = scaled_sum(get(s, p, row.LONE), get_complex(s, p, row.U + f), events)
        if g != own:
            if g < shared_end:
                factor = shared_factor(plan, table, s, g, f)
            else:
                factor, _ = mixture(plan, table, s, g, -1, f, complex_lanes(zero, zero), one)
            put_complex(s, first, row.BEFORE + f, product)
            put_complex(s, first, row.FACTOR + f, factor)
            product = product * factor
    return product, events


@inlined
def _add_to_sums(series, column, s, f, scale, once, twice, whole, with_own, v):
    """Add one frequency to the sums of the value, and of the slopes in the bias and in the output's own coupling.

    `whole` is E e^{itz} and `with_own` E x_j e^{itz} / v_j, both less the events.
    """
    with_x = with_own * v
    term = splat(2 / _PI**2) * scale * with_x.real - splat(4 / _PI**3 * series[column + 1]) * scale * scale * whole.imag
    store(s.state, row.VALUE * L, fma(splat(series[column + 3]), term, load(s.state, row.VALUE * L)))
    for less in range(len(SHORTER)):
        to = (row.SMALLER + less) * L
        store(s.state, to, fma(splat(series[column + 4 + less]), term, load(s.state, to)))
    bias = load(s.state, row.BIAS * L) - once * with_x.imag
    store(s.state, row.BIAS * L, fma(twice, whole.real, bias))
    x = scaled_sum(twice, v, times_i((once + once) * load_complex(s.state, (row.OWN_X + f) * L)))
    own = load(s.state, row.OWN * L) - x.imag * with_own.imag
    store(s.state, row.OWN * L, fma(x.real, with_own.real, own))


@inlined
def _add_events(plan, s, f, lone, events, once, second, bias_wave, v):
    """Add what the events alone give: the series of what is integrated in closed form, for features not coupled.

    It goes to the slope of the bias, to the mean of sign z over the own segment, and to the means of |z| over the
    segments of features in sets.
    """
    own_event = negative(once * (bias_wave * v).imag)
    store(s.state, row.OWN_EVENTS * L, load(s.state, row.OWN_EVENTS * L) + own_event)
    event = fma(second.real, events.real, lone * own_event) - second.imag * events.imag
    store(s.state, row.EVENTS * L, load(s.state, row.EVENTS * L) + event)
    for p in range(plan.singles, plan.features):
        u = get_complex(s, p, row.U + f)
        put(s, p, row.SEGMENT, fma(second.real, u.real, get(s, p, row.SEGMENT) - second.imag * u.imag))


@inlined
def _own_shared_slopes(plan, s, own, j, f, around, second):
    """Add the slopes of the output's own set, one with one gate, but for its own; `around` is all else."""
    for p in range(plan.first[own], plan.first[own + 1]):
        if p != j:
            inner = get_complex(s, p, row.INNER + f) * around
            add_slope(s, p, f, scaled_sum(negative(get(s, p, row.LONE)), second, inner))


@inlined
def _backward_over_sets(plan, table, s, own, f, common, mixed, second):
    """Add the slopes of all other sets; returns what singles have in common, `common` times these sets."""
    shared_end = plan.singles + plan.shared
    for back in range(plan.sets - plan.singles):
        g = plan.sets - 1 - back
        if g != own:
            first = plan.first[g]
            around = get_complex(s, first, row.BEFORE + f) * common
            if g < shared_end:
                shared_slopes(plan, table, s, g, f, around, mixed, second)
            else:
                mixture_slopes(plan, s, g, -1, f, around, second)
            common = common * get_complex(s, first, row.FACTOR + f)
    return common


@inlined
def _backward_over_singles(plan, s, j):
    """Add the slopes of singles; a slope stays in its register for both frequencies."""
    first, second = load_complex(s.state, row.PRODUCT * L), load_complex(s.state, (row.PRODUCT + 2) * L)
    first_event, second_event = load_complex(s.state, row.SECOND * L), load_complex(s.state, (row.SECOND + 2) * L)
    for back in range(plan.singles):
        p = plan.singles - 1 - back
        if p != j:
            alone = negative(get(s, p, row.ALONE))
            slope = get(s, p, row.SLOPE)
            around = scaled_sum(alone, first_event, get_complex(s, p, row.BEFORE) * first)
            slope = add_real_of_product(get_complex(s, p, row.V), around, slope)
            first = first * get_complex(s, p, row.FACTOR)
            around = scaled_sum(alone, second_event, get_complex(s, p, row.BEFORE + 2) * second)
            slope = add_real_of_product(get_complex(s, p, row.V + 2), around, slope)
            second = second * get_complex(s, p, row.FACTOR + 2)
            put(s, p, row.SLOPE, slope)
