"""The sums over frequencies of one output, eight runs side by side: where the time goes.

For every odd frequency k the characteristic function E e^{itz}, t = π k / M, is a product over sets, and so are the
expectations with x_i or x_i x_j before the exponential: one factor, or two, are replaced. With R the product of all
sets but the output's own one, F that one's own factor and F' the same with x_j before the exponential, the sums are

    of the value:            w/k² Re(R F') and w/k³ Im(R F),
    of the slope in the bias and in a_i:    w/k² Re and w/k Im of the same, with x_i before the exponential.

The latter two differ in the own factor alone, so that F and F' are put together first and then a single product runs
through the other sets: forward, leaving at each set the product of those before it, and backward, picking it up.
"""

from __future__ import annotations

import math

from tegum.core.compiled.compile import kernel, part
from tegum.core.compiled.lanes import WIDE_LANES as L
from tegum.core.compiled.lanes import absolute, fma, is_set, load, negative, select, splat, store
from tegum.core.population.kernel import memory as row
from tegum.core.population.kernel.characteristic import (
    add_slope,
    both_uniform,
    cos_sin,
    mixture,
    mixture_slopes,
    own_shared,
    shared_factor,
    shared_slopes,
    store_uniform,
    times,
    uniform_own,
    wave,
)
from tegum.core.population.kernel.memory import get, get_pair, load_pair, put, put_pair, store_pair
from tegum.core.population.kernel.tables import COLUMNS
from tegum.core.population.truncation import SHORTER

_PI = math.pi

_RESEED = 128
"""Frequencies after which waves are computed anew: until then they are turned on, and rounding adds up."""
_LEAST_HALF_TURNS = 1e-100
"""Stands for a coupling of zero, by which one could not divide."""


@part
def _seed(plan, s, k):
    """Waves at frequency k, in place of those that rounding has worn."""
    for p in range(plan.features):
        cosine, sine = cos_sin(get(s, p, row.HALF_TURNS), k)
        put_pair(s, p, row.WAVE, cosine, sine)


@kernel
def sum_series(plan, table, series, count, s, j, scale, bias_half_turns, nothing, mixed):
    """The sums over all frequencies of output j, into the state, SLOPE and SEGMENT; when stopped, anything."""
    zero = splat(0.0)
    one = splat(1.0)
    singles, shared_end = plan.singles, plan.singles + plan.shared
    own = plan.set_of[j]
    n = plan.features
    for sum_ in range(row.SUMS):
        store(s.state, sum_ * L, zero)
    inverse_period = splat(0.5) / scale
    for p in range(n):
        put(s, p, row.SLOPE, zero)
        put(s, p, row.SEGMENT, zero)
        x = get(s, p, row.COUPLING) * inverse_period
        x = select(absolute(x) < splat(_LEAST_HALF_TURNS), splat(_LEAST_HALF_TURNS), x)
        angle = x * splat(_PI)
        put(s, p, row.HALF_TURNS, x)
        put(s, p, row.ANGLE, angle)
        put(s, p, row.INVERSE, one / angle)
        cosine, sine = cos_sin(x, 1.0)
        put_pair(s, p, row.WAVE, cosine, sine)
        cosine, sine = times(cosine, sine, cosine, sine)
        put_pair(s, p, row.TURN, cosine, sine)
    for p in range(singles):
        put(s, p, row.CHANCE, load(table, (2 * n + p) * L))
        put(s, p, row.IDLE, load(table, (2 * n + singles + p) * L))
    cosine, sine = cos_sin(bias_half_turns, 1.0)
    store_pair(s.state, row.BIAS_STATE, cosine, sine)
    cosine, sine = times(cosine, sine, cosine, sine)
    store_pair(s.state, row.BIAS_TURN, cosine, sine)
    lone_own = get(s, j, row.LONE)

    for r in range(0, count, 2):
        at = r * COLUMNS
        k0, k1 = series[at], series[at + COLUMNS]
        if r % _RESEED == 0 and r > 0:
            if is_set(s.stop):
                return
            _seed(plan, s, k0)
            cosine, sine = cos_sin(bias_half_turns, k0)
            store_pair(s.state, row.BIAS_STATE, cosine, sine)
        er, ei = load_pair(s.state, row.BIAS_STATE)
        tr, ti = load_pair(s.state, row.BIAS_TURN)
        store_pair(s.state, row.BIAS_WAVE, er, ei)
        er, ei = times(er, ei, tr, ti)
        store_pair(s.state, row.BIAS_WAVE + 2, er, ei)
        er, ei = times(er, ei, tr, ti)
        store_pair(s.state, row.BIAS_STATE, er, ei)

        # The output's own feature, and all that are in sets.
        c0, s0, c1, s1 = wave(s, j)
        angle, inverse = get(s, j, row.ANGLE), get(s, j, row.INVERSE)
        ur, ui, vr, vi, xr, xi = uniform_own(c0, s0, angle, inverse, k0)
        put_pair(s, j, row.U, ur, ui)
        put_pair(s, j, row.V, vr, vi)
        store_pair(s.state, row.OWN_X, xr, xi)
        ur, ui, vr, vi, xr, xi = uniform_own(c1, s1, angle, inverse, k1)
        put_pair(s, j, row.U + 2, ur, ui)
        put_pair(s, j, row.V + 2, vr, vi)
        store_pair(s.state, row.OWN_X + 2, xr, xi)
        for p in range(singles, n):
            if p != j:
                store_uniform(s, p, k0, k1)

        # Forward over singles: products of the sets before each one, and the sum over events.
        pr, pi, qr, qi = one, zero, one, zero
        ur, ui = get_pair(s, j, row.U)
        yr, yi = fma(lone_own, ur, nothing), lone_own * ui
        ur, ui = get_pair(s, j, row.U + 2)
        zr, zi = fma(lone_own, ur, nothing), lone_own * ui
        for p in range(singles):
            if p != j:
                first_uniform, second_uniform = both_uniform(s, p, k0, k1)
                chance, idle = get_pair(s, p, row.CHANCE)
                lone = get(s, p, row.LONE)
                ur, ui, vr, vi = first_uniform
                put_pair(s, p, row.V, vr, vi)
                put_pair(s, p, row.BEFORE, pr, pi)
                yr, yi = fma(lone, ur, yr), fma(lone, ui, yi)
                ur, ui = fma(chance, ur, idle), chance * ui
                put_pair(s, p, row.FACTOR, ur, ui)
                pr, pi = times(pr, pi, ur, ui)
                ur, ui, vr, vi = second_uniform
                put_pair(s, p, row.V + 2, vr, vi)
                put_pair(s, p, row.BEFORE + 2, qr, qi)
                zr, zi = fma(lone, ur, zr), fma(lone, ui, zi)
                ur, ui = fma(chance, ur, idle), chance * ui
                put_pair(s, p, row.FACTOR + 2, ur, ui)
                qr, qi = times(qr, qi, ur, ui)
        store_pair(s.state, row.PRODUCT, pr, pi)
        store_pair(s.state, row.PRODUCT + 2, qr, qi)
        store_pair(s.state, row.EVENT_SUM, yr, yi)
        store_pair(s.state, row.EVENT_SUM + 2, zr, zi)

        for f in range(0, 4, 2):
            column = at + f // 2 * COLUMNS
            # What ∂ℓ/∂a takes from E[x_i e^{itz}] (twice), and half of what it takes from E[x_i x_j e^{itz}] / i.
            second = splat(-4 / _PI**2 * series[column + 3]) * scale
            once = splat(2 / _PI * series[column + 2])
            er, ei = load_pair(s.state, row.BIAS_WAVE + f)
            second_r, second_i = second * er, second * ei
            store_pair(s.state, row.SECOND + f, second_r, second_i)
            ur, ui = get_pair(s, j, row.U + f)
            vr, vi = get_pair(s, j, row.V + f)
            star_r, star_i = fma(second, ur, negative(once * vi)), fma(second, ui, once * vr)
            if own < singles:
                gr, gi = load(table, (2 * n + j) * L), zero
                fr, fi = fma(gr, ur, load(table, (2 * n + singles + j) * L)), gr * ui
            elif own < shared_end:
                fr, fi, gr, gi = own_shared(plan, table, s, own, j, f, star_r, star_i)
            else:
                fr, fi, gr, gi = mixture(plan, table, s, own, j, f, star_r, star_i, second)

            # Forward over the other sets.
            pr, pi = load_pair(s.state, row.PRODUCT + f)
            yr, yi = load_pair(s.state, row.EVENT_SUM + f)
            for g in range(singles, plan.sets):
                if g >= shared_end or mixed:
                    for p in range(plan.first[g], plan.first[g + 1]):
                        if p != j:
                            lone = get(s, p, row.LONE)
                            ar, ai = get_pair(s, p, row.U + f)
                            yr, yi = fma(lone, ar, yr), fma(lone, ai, yi)
                if g != own:
                    if g < shared_end:
                        ar, ai = shared_factor(plan, table, s, g, f)
                    else:
                        ar, ai, _, _ = mixture(plan, table, s, g, -1, f, zero, zero, one)
                    first = plan.first[g]
                    put_pair(s, first, row.BEFORE + f, pr, pi)
                    put_pair(s, first, row.FACTOR + f, ar, ai)
                    pr, pi = times(pr, pi, ar, ai)

            # p is the product of all sets but the own one. Less the events: E e^{itz} and E x_j e^{itz}.
            ar, ai = times(pr, pi, fr, fi)
            ar, ai = times(ar - yr, ai - yi, er, ei)
            br, bi = times(pr, pi, gr, gi)
            br, bi = times(br - lone_own, bi, er, ei)
            cr, ci = times(br, bi, vr, vi)
            term = splat(2 / _PI**2) * scale * cr - splat(4 / _PI**3 * series[column + 1]) * scale * scale * ai
            store(s.state, row.VALUE * L, fma(splat(series[column + 3]), term, load(s.state, row.VALUE * L)))
            for less in range(len(SHORTER)):
                to = (row.SMALLER + less) * L
                store(s.state, to, fma(splat(series[column + 4 + less]), term, load(s.state, to)))
            store(s.state, row.BIAS * L, fma(second, ar, load(s.state, row.BIAS * L) - once * ci))
            xr, xi = load_pair(s.state, row.OWN_X + f)
            twice = once + once
            xr, xi = fma(second, vr, negative(twice * xi)), fma(second, vi, twice * xr)
            store(s.state, row.OWN * L, fma(xr, br, load(s.state, row.OWN * L) - xi * bi))
            if mixed:
                # What the events alone add to the slope of the bias, to the mean of sign z over the own segment,
                # and to the means of |z| over the segments of features in sets.
                cr, ci = times(er, ei, vr, vi)
                own_event = negative(once * ci)
                store(s.state, row.OWN_EVENTS * L, load(s.state, row.OWN_EVENTS * L) + own_event)
                event = fma(second_r, yr, lone_own * own_event) - second_i * yi
                store(s.state, row.EVENTS * L, load(s.state, row.EVENTS * L) + event)
                for p in range(singles, n):
                    ar, ai = get_pair(s, p, row.U + f)
                    ar = fma(second_r, ar, get(s, p, row.SEGMENT) - second_i * ai)
                    put(s, p, row.SEGMENT, ar)

            # Backward: the slopes of the own set, then of the others, from what they have in common.
            ar, ai = times(er, ei, pr, pi)
            if own >= shared_end:
                mixture_slopes(plan, s, own, j, f, ar, ai, second_r, second_i)
            elif own >= singles:
                for p in range(plan.first[own], plan.first[own + 1]):
                    if p != j:
                        br, bi = get_pair(s, p, row.INNER + f)
                        br, bi = times(br, bi, ar, ai)
                        lone = negative(get(s, p, row.LONE))
                        add_slope(s, p, f, fma(lone, second_r, br), fma(lone, second_i, bi))
            br, bi = times(gr, gi, vr, vi)
            ar, ai = fma(second, fr, negative(once * bi)), fma(second, fi, once * br)
            pr, pi = times(ar, ai, er, ei)
            for back in range(plan.sets - singles):
                g = plan.sets - 1 - back
                if g != own:
                    first = plan.first[g]
                    ar, ai = get_pair(s, first, row.BEFORE + f)
                    ar, ai = times(ar, ai, pr, pi)
                    if g < shared_end:
                        shared_slopes(plan, table, s, g, f, ar, ai, mixed, second_r, second_i)
                    else:
                        mixture_slopes(plan, s, g, -1, f, ar, ai, second_r, second_i)
                    ar, ai = get_pair(s, first, row.FACTOR + f)
                    pr, pi = times(pr, pi, ar, ai)
            store_pair(s.state, row.PRODUCT + f, pr, pi)

        # Backward over singles.
        pr, pi = load_pair(s.state, row.PRODUCT)
        qr, qi = load_pair(s.state, row.PRODUCT + 2)
        er, ei = load_pair(s.state, row.SECOND)
        dr, di = load_pair(s.state, row.SECOND + 2)
        for back in range(singles):
            p = singles - 1 - back
            if p != j:
                alone = negative(get(s, p, row.ALONE))
                slope = get(s, p, row.SLOPE)
                ar, ai = get_pair(s, p, row.BEFORE)
                ar, ai = times(ar, ai, pr, pi)
                ar, ai = fma(alone, er, ar), fma(alone, ei, ai)
                vr, vi = get_pair(s, p, row.V)
                slope = fma(vr, ar, fma(negative(vi), ai, slope))
                fr, fi = get_pair(s, p, row.FACTOR)
                pr, pi = times(pr, pi, fr, fi)
                ar, ai = get_pair(s, p, row.BEFORE + 2)
                ar, ai = times(ar, ai, qr, qi)
                ar, ai = fma(alone, dr, ar), fma(alone, di, ai)
                vr, vi = get_pair(s, p, row.V + 2)
                slope = fma(vr, ar, fma(negative(vi), ai, slope))
                fr, fi = get_pair(s, p, row.FACTOR + 2)
                qr, qi = times(qr, qi, fr, fi)
                put(s, p, row.SLOPE, slope)
