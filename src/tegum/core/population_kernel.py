"""The population loss and its gradient for many runs, eight at a time.

The model is the toy model of Elhage et al. (2022): x̂_j = relu(z_j), z = W Wᵀ x + b, and the loss
Σ_j I_j E[(x_j − x̂_j)²], here without samples. With relu(z) = (z + |z|)/2 an output costs

    E[x_j²] − E[x_j z] + ½ E[z²] − E[x_j |z|] + ½ E[z |z|].

The first three are moments. For |z| ≤ M and t = π k / M, k odd, the Fourier series

    |z| = M/2 − (4 M / π²) Σ cos(t z) / k²      and      z |z| = M z − (8 M² / π³) Σ sin(t z) / k³

turn the last two into sums over E[e^{itz}] and E[x_j e^{itz}], which are products over independent sets of features.
The sums are cut off by a smooth window. M is kept apart from the parameters (it is frozen while they are moved, say
along a line), so that the gradient is that of the very sum: derivatives in the couplings and the bias are the same
products with a factor replaced, and are added up by prefix and suffix products, never by a division. Before the
sum, events that a series resolves badly are taken out of the products (see `population_events`). Outputs that cannot
be negative, or not positive, are moments alone.

`evaluate` and `refresh_scale` are for other kernels: one block of eight runs, all vectors in lanes (parameters, 8), no
allocation. `value_and_gradient` is the same for Python.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from jaxtyping import Float

from tegum.core import population_memory as row
from tegum.core import population_tables as tables_of
from tegum.core.compiled import kernel, part
from tegum.core.features import FeatureDistribution
from tegum.core.population_events import integrals, probabilities, uncoupled_slopes
from tegum.core.population_memory import get, get_pair, load_pair, put, put_pair, store_pair
from tegum.core.population_tables import COLUMNS
from tegum.core.population_waves import (
    SMALL,
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
from tegum.core.simd import WIDE_LANES as L
from tegum.core.simd import (
    absolute,
    at_least,
    at_most,
    count_lanes,
    fma,
    load,
    negative,
    pointer_at,
    pointers,
    select,
    splat,
    store,
)

MARGIN = 1.3
"""M is so many times the bound of |z|: at the bound itself the series has the corner of its period."""

UNCOUPLED = 1e-9
"""A coupling below this part of M is not coupled."""

_PI = math.pi
_RESEED = 128
"""Frequencies after which waves are computed anew: until then they are turned on, and rounding adds up."""
_LEAST_HALF_TURNS = 1e-100
"""Stands for a coupling of zero, by which one could not divide."""

_ERROR_FACTOR, _ERROR_FLOOR = 2.0, 2e-15
"""Of the change that fewer frequencies make, and of what was added up: one error in a thousand is larger than told."""


@part
def _couplings(plan, theta, bias, s, j):
    """Write a_i = (W Wᵀ)_ji of output j by position; returns the least and the largest z."""
    hidden = plan.hidden
    own = plan.feature[j] * hidden * L
    zero = splat(0.0)
    lower, upper = bias, bias
    for p in range(plan.features):
        other = plan.feature[p] * hidden * L
        a = zero
        for k in range(0, hidden * L, L):
            a = fma(load(theta, own + k), load(theta, other + k), a)
        put(s, p, row.COUPLING, a)
        lower = lower + at_most(a, zero)
        upper = upper + at_least(a, zero)
    return lower, upper


@part
def _moments(plan, table, s, j, bias):
    """E[z − x_j] and E[(z − x_j)²]; half the derivatives of the latter go to `closed`."""
    one = splat(1.0)
    n = plan.features
    a_own = get(s, j, row.COUPLING)
    put(s, j, row.COUPLING, a_own - one)
    mean = bias
    for p in range(n):
        mean = fma(get(s, p, row.COUPLING), load(table, (n + p) * L), mean)
    square = mean * mean
    for g in range(plan.sets):
        first, end = plan.first[g], plan.first[g + 1]
        at = plan.covariance[g]
        for p in range(first, end):
            spread = splat(0.0)
            for i in range(first, end):
                spread = fma(load(table, at * L), get(s, i, row.COUPLING), spread)
                at += 1
            square = fma(spread, get(s, p, row.COUPLING), square)
            put(s, p, row.CLOSED, fma(mean, load(table, (n + p) * L), spread))
    put(s, j, row.COUPLING, a_own)
    return mean, square


@part
def _seed(plan, s, k):
    """Waves at frequency k, in place of those that rounding has worn."""
    for p in range(plan.features):
        cosine, sine = cos_sin(get(s, p, row.HALF_TURNS), k)
        put_pair(s, p, row.WAVE, cosine, sine)


@kernel
def _sum_series(plan, table, series, count, s, j, scale, bias_half_turns, nothing, mixed):
    """The sums over all frequencies of output j, into `sums`, `slopes` and `segment`."""
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
        smallest = np.inf
        for lane in range(L):
            smallest = min(smallest, abs(s.records[(p * row.RECORD + row.ANGLE) * L + lane]))
        s.records[(p * row.RECORD + row.NEAR) * L] = SMALL / smallest
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
            for less in range(2):
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


@part
def _series_output(plan, table, series, count, s, j, b, scale, mean, definite):
    """One output by its series.

    `slopes` gets its derivatives in the couplings, less `closed`. Returns its loss less the halves of E[x_j²] and of
    E[(z − x_j)²], its derivative in the bias less the mean of z − x_j, the two changes of the loss with fewer
    frequencies, and a measure of what was added up. Lanes in which the output is definite get anything finite.
    """
    zero, one, half = splat(0.0), splat(1.0), splat(0.5)
    n = plan.features
    limit = scale * splat(UNCOUPLED)
    coupled_lanes = 0
    for p in range(n):
        coupled = (absolute(get(s, p, row.COUPLING)) > limit) | definite
        if p == j:
            coupled = limit >= zero
        coupled_lanes += count_lanes(coupled)
        put(s, p, row.COUPLED, select(coupled, one, zero))
    mixed = coupled_lanes < n * L
    nothing = probabilities(plan, table, s)
    _sum_series(plan, table, series, count, s, j, scale, b / scale, nothing, mixed)

    half_scale = half * scale
    for p in range(n):
        sum_ = half * get(s, p, row.SLOPE)
        if p < plan.singles:
            sum_ = sum_ * load(table, (2 * n + p) * L)
        if p == j:
            sum_ = half * load(s.state, row.OWN * L)
        rest = fma(negative(half), get(s, p, row.LONE), load(table, (n + p) * L))
        put(s, p, row.SLOPE, fma(half_scale, rest, sum_))
    lone, z, z_size, size, own_size, own_sign, own_square = integrals(plan, s, j, b)
    lone_own = get(s, j, row.LONE)
    put(s, j, row.SLOPE, get(s, j, row.SLOPE) - lone_own * own_square)

    b_size = absolute(b)
    events = fma(nothing, b_size, size) - lone_own * own_sign
    slope = half_scale * (one - nothing - lone) + load(s.state, row.BIAS * L) + events
    value = half_scale * (mean + half * lone_own - nothing * b - z)
    total = load(s.state, row.VALUE * L)
    value = value + total + half * fma(nothing, b * b_size, z_size) - lone_own * own_size
    if mixed:
        bias = events - half_scale * (nothing + lone) - load(s.state, row.EVENTS * L)
        uncoupled_slopes(plan, table, s, j, bias, half_scale, own_sign + load(s.state, row.OWN_EVENTS * L))
    one_change = absolute(total - load(s.state, row.SMALLER * L))
    other_change = absolute(total - load(s.state, (row.SMALLER + 1) * L))
    return value, slope, at_least(one_change, other_change)


@kernel
def evaluate(plan, table, series, count, theta, scale, value, gradient, error, s):
    """The population loss of eight runs, its gradient, and how far the series may be off.

    All arrays are flat and start on a cache line, or are pointers to such. Nothing is allocated.

    Args:
        plan: a `Plan`, its arrays or pointers to them.
        table: the block's numbers, `Group.tables[block]`.
        series: `frequencies(K)`, flattened.
        count: its rows.
        theta: parameters (n m + n, 8): weights row by row, then biases.
        scale: M of each output, (n, 8), as written by `refresh_scale`; not changed with the parameters, so that the
            gradient is that of the value.
        value: (8,), written. +inf where |z| could exceed M: refresh the scale, or take a shorter step. NaN or inf
            where parameters are.
        gradient: (n m + n, 8), written; anything finite where the value is infinite.
        error: (8,), written: an estimate of how much the value would change with more frequencies.
        s: a `Scratch` for this plan.

    """
    plan, s = pointers(plan), pointers(s)
    n, hidden = plan.features, plan.hidden
    zero, one, half = splat(0.0), splat(1.0), splat(0.5)
    biases = n * hidden
    for parameter in range(biases + n):
        store(gradient, parameter * L, zero)
    loss, uncertain, size = zero, zero, zero
    excess = zero > zero
    for j in range(n):
        importance = load(table, j * L)
        out = plan.feature[j]
        b = load(theta, (biases + out) * L)
        lower, upper = _couplings(plan, theta, b, s, j)
        mean, square = _moments(plan, table, s, j, b)
        mean_own = load(table, (n + j) * L)
        g = plan.set_of[j]
        place = j - plan.first[g]
        own_row = plan.covariance[g] + place * (plan.first[g + 1] - plan.first[g]) + place
        power = fma(mean_own, mean_own, load(table, own_row * L))
        above = (lower >= zero) & (upper > zero)
        # A bias of −∞ is to be seen in the value.
        below = (upper <= zero) & (lower > splat(-np.inf))
        definite = above | below
        output = select(above, square, power)
        slope = select(above, mean + mean, zero)
        if count_lanes(definite) < L:
            m = load(scale, out * L)
            outside = at_least(absolute(lower), absolute(upper)) > m
            part, part_slope, change = _series_output(plan, table, series, count, s, j, b, m, mean, definite)
            output = select(definite, output, half * (square + power) + part)
            slope = select(definite, slope, mean + part_slope)
            uncertain = uncertain + importance * select(definite, zero, change)
            size = size + importance * select(definite, zero, m * m)
            excess = excess | (select(definite, zero, one) * select(outside, one, zero) > zero)
        loss = loss + importance * output
        size = size + importance * (square + power)
        store(gradient, (biases + out) * L, importance * slope)
        _fold(plan, theta, gradient, s, j, importance, above, definite)
    store(value, 0, select(excess, splat(np.inf), loss))
    store(error, 0, fma(splat(_ERROR_FACTOR), uncertain, splat(_ERROR_FLOOR) * size))


@part
def _fold(plan, theta, gradient, s, j, importance, above, definite):
    """Add the slopes in the couplings of output j to the gradient of the weights; a coupling is felt by two rows."""
    hidden = plan.hidden
    zero = splat(0.0)
    own = plan.feature[j] * hidden * L
    for p in range(plan.features):
        closed = get(s, p, row.CLOSED)
        slope = select(definite, select(above, closed + closed, zero), closed + get(s, p, row.SLOPE)) * importance
        other = plan.feature[p] * hidden * L
        for k in range(0, hidden * L, L):
            store(gradient, own + k, fma(slope, load(theta, other + k), load(gradient, own + k)))
            store(gradient, other + k, fma(slope, load(theta, own + k), load(gradient, other + k)))


@kernel
def refresh_scale(plan, theta, scale, s):
    """Write M of each output, (n, 8): `MARGIN` times the largest |z|, or 1 where z is nothing but 0."""
    plan, s = pointers(plan), pointers(s)
    zero, one = splat(0.0), splat(1.0)
    biases = plan.features * plan.hidden
    for j in range(plan.features):
        out = plan.feature[j]
        lower, upper = _couplings(plan, theta, load(theta, (biases + out) * L), s, j)
        bound = splat(MARGIN) * at_least(absolute(lower), absolute(upper))
        store(scale, out * L, select(bound > zero, bound, one))


@kernel
def evaluate_blocks(plan, tables, series, count, theta, scale, value, gradient, error, s, first, last, refresh):
    """`evaluate` for blocks first … last − 1 of flat arrays of all blocks."""
    parameters, features = plan.features * (plan.hidden + 1) * L, plan.features * L
    plan_, s_ = pointers(plan), pointers(s)
    for block in range(first, last):
        here, scale_here = pointer_at(theta, block * parameters), pointer_at(scale, block * features)
        if refresh:
            refresh_scale(plan_, here, scale_here, s_)
        evaluate(
            plan_, pointer_at(tables, block * plan.rows * L), pointer_at(series, 0), count, here, scale_here,
            pointer_at(value, block * L), pointer_at(gradient, block * parameters), pointer_at(error, block * L), s_,
        )  # fmt: skip


def value_and_gradient(
    weights: Float[np.ndarray, "run feature hidden"],
    bias: Float[np.ndarray, "run feature"],
    features: FeatureDistribution | Sequence[FeatureDistribution],
    *,
    frequencies: int,
    scale: Float[np.ndarray, "run feature"] | None = None,
    threads: int = 1,
) -> tuple[
    Float[np.ndarray, " run"],
    Float[np.ndarray, "run feature hidden"],
    Float[np.ndarray, "run feature"],
    Float[np.ndarray, " run"],
]:
    """The population loss of many models and its gradient, in float64.

    Args:
        weights: W.
        bias: b.
        features: made of mixture tables; one distribution, or one for each run.
        frequencies: terms of the series, at least 1.
        scale: M of each output, at least the largest |z| it can have; None for 1.3 times as much.
        threads: how many, at most one for every eight runs.

    Returns:
        The loss, its gradients in W and b, and the estimated error of the loss. The loss is inf where the scale is too
        small.

    Raises:
        ValueError: a set is no mixture table, or shapes do not fit.

    """
    runs, n, hidden = weights.shape
    several = not isinstance(features, FeatureDistribution)
    distributions = list(features) if several else [features]
    if several and len(distributions) != runs:
        raise ValueError(f"{len(distributions)} distributions for {runs} runs: give one for each, or one for all")
    if any(each.n != n for each in distributions):
        raise ValueError(f"every distribution must have {n} features, as the weights have")
    number = {each: k for k, each in enumerate(dict.fromkeys(distributions))}
    distribution = np.array([number[each] for each in distributions] if several else [0] * runs, np.int64)
    series = tables_of.frequencies(frequencies)
    theta = np.concatenate([weights.reshape(runs, n * hidden), bias], 1)
    loss, error, gradient = np.empty(runs), np.empty(runs), np.empty_like(theta)
    for group in tables_of.groups(list(number), distribution, hidden):
        where = group.runs.ravel()
        scales = None if scale is None else scale[group.runs]
        loss[where], gradient[where], error[where] = _evaluate_group(group, theta[group.runs], scales, series, threads)
    return loss, gradient[:, : n * hidden].reshape(weights.shape), gradient[:, n * hidden :], error


def _evaluate_group(
    group: tables_of.Group,
    theta: Float[np.ndarray, "block lane parameter"],
    scale: Float[np.ndarray, "block lane feature"] | None,
    series: Float[np.ndarray, "frequency column"],
    threads: int,
) -> tuple[Float[np.ndarray, " run"], Float[np.ndarray, "run parameter"], Float[np.ndarray, " run"]]:
    """Loss, gradient and error of the runs of one structure, block by block."""
    plan, blocks = group.plan, len(group.runs)
    packed = _to_lanes(theta)
    scales = tables_of.aligned(blocks * plan.features * L) if scale is None else _to_lanes(scale)
    loss, error, gradient = (tables_of.aligned(size) for size in (blocks * L, blocks * L, packed.size))

    def work(share: np.ndarray) -> None:
        evaluate_blocks(
            plan, group.tables.ravel(), series.ravel(), len(series), packed, scales, loss, gradient, error,
            tables_of.scratch(plan), share[0], share[-1] + 1, scale is None,
        )  # fmt: skip

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, np.array_split(np.arange(blocks), min(threads, blocks))))
    return loss, gradient.reshape(blocks, -1, L).swapaxes(1, 2).reshape(blocks * L, -1), error


def _to_lanes(values: Float[np.ndarray, "block lane value"]) -> Float[np.ndarray, " _"]:
    """Flat (block, value, lane), on a cache line."""
    lanes = tables_of.aligned(values.size)
    lanes[:] = values.swapaxes(1, 2).ravel()
    return lanes
