"""Second derivatives of one output's loss in its couplings a_p and its bias b, eight frequencies side by side.

With R = ½ E[z |z|] − E[x_j |z|], the part of the loss that is no moment (see `evaluate`), they are

    ∂²R / ∂a_p ∂a_q = E[x_p x_q (sign z − 2 x_j δ(z))],

and for the bias the same with 1 in the place of a magnitude. For |z| ≤ M and t = π k / M, k odd, the Fourier series

    sign z = (4/π) Σ sin(t z) / k      and      2 δ(z) = (4/M) Σ cos(t z)

have almost the same coefficients, so that both expectations are one:

    Σ_k Re( −i (4 w / π k) E[x_p x_q (1 − i t x_j) e^{itz}] ).

The factor (1 − i t x_j) only changes the moments of the output's own feature: e^{isU} times 1, U or U² is replaced by
the same times (1 − i t U). With these, each frequency is a product over all sets, with two of its factors
differentiated; no set, nor the output's own feature, is a special case.

A set is a mixture of components, and a component a chain of independent features. For all pairs of sets, and for all
pairs within a component, the products without two factors come from a running one: from the derivative of the first,
through the factors between, to the derivative of the second times all that stands behind it. So no product is divided
by a factor to leave it out, as a factor may be zero.

A search asks for the Hessian of one model, or of three. So here the lanes are frequencies, and one run fills them all;
the gradient, whose lanes are runs, has that run in every lane.

Events that a series resolves badly stay in the sums. What the sums then hold of them is summed beside, and exchanged
for closed forms afterwards (`curvature_events`).
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
from tegum.core.compiled.lanes import is_set, load, negative, splat, store
from tegum.core.population.kernel import memory as row
from tegum.core.population.kernel.characteristic import (
    mixture,
    next_waves,
    own_moments,
    third_moment,
    unit_wave,
)
from tegum.core.population.kernel.memory import get, get_complex, put, put_complex
from tegum.core.population.kernel.series import RESEED, seed_waves, start_waves, turn_bias_wave

_PI = math.pi


@kernel
def sum_curvature(plan, table, second, s, j, scale, bias_half_turns):
    """The sums over all frequencies for output j, and what they hold of each event; when stopped, anything.

    Args:
        plan, table, s: of a block with one run in all of its lanes; of `s`, SLOPE and CLOSED are left as they are.
        second: the `SecondDerivatives`; its sums are written on and above the diagonal: by position, the bias being
            the last, the same in all lanes.
        j: the position of the output.
        scale: M of the output.
        bias_half_turns: its bias over M.

    """
    to = second.sums
    _clear(plan, s, to)
    start_waves(plan, table, s, scale, bias_half_turns)
    _turn_by_lanes(plan, s, bias_half_turns)
    turn = splat(_PI) / scale
    for group in range(0, second.groups, 2):
        at = group * 2 * L
        k0, k1 = load(second.series, at), load(second.series, at + 2 * L)
        if group // 2 % RESEED == 0:
            if is_set(s.stop):
                return
            seed_waves(plan, s, k0, bias_half_turns)
        turn_bias_wave(s)
        for p in range(plan.features):
            first_wave, second_wave = next_waves(s, p)
            _store_moments(s, p, 0, first_wave, k0, p == j, turn)
            _store_moments(s, p, 2, second_wave, k1, p == j, turn)
        for f in range(0, 4, 2):
            weight = splat(4 / _PI) * load(second.series, at + f * L + L)
            bias_wave = load_complex(s.state, (row.BIAS_WAVE + f) * L)
            # −i times the weight
            weighted = weight * complex_lanes(bias_wave.imag, negative(bias_wave.real))
            store_complex(s.state, (row.WEIGHTED + f) * L, weighted)
            _add_steps(plan, s, f, weighted)
            product = _forward_over_sets(plan, table, s, f)
            _add(to, plan.features * (plan.features + 2), product, weighted)
            _backward_over_sets(plan, table, s, f, weighted, to)
        _add_pairs_of_sets(plan, s, to)
    _add_lanes(plan, s, to)


@inlined
def _clear(plan, s, to):
    """All sums are zero."""
    zero = splat(0.0)
    store(s.state, row.STEP_BIAS * L, zero)
    for p in range(plan.features):
        put(s, p, row.STEP, zero)
        put(s, p, row.STEP_U, zero)
        put(s, p, row.STEP_X, zero)
    for entry in range((plan.features + 1) * (plan.features + 1)):
        store(to, entry * L, zero)


@inlined
def _turn_by_lanes(plan, s, bias_half_turns):
    """Let waves turn from one group of frequencies to the next, which are odd numbers."""
    step = splat(2.0 * L)
    for p in range(plan.features):
        put_complex(s, p, row.TURN, unit_wave(get(s, p, row.HALF_TURNS), step))
    store_complex(s.state, row.BIAS_TURN * L, unit_wave(bias_half_turns, step))


@inlined
def _add_lanes(plan, s, to):
    """Put into all lanes of each sum what they amount to together."""
    n = plan.features
    _spread(s.state, row.STEP_BIAS * L)
    for p in range(n):
        for step in (row.STEP, row.STEP_U, row.STEP_X):
            _spread(s.records, (p * row.RECORD + step) * L)
    for p in range(n + 1):
        for q in range(p, n + 1):
            _spread(to, (p * (n + 1) + q) * L)


@part
def _spread(array, i):
    """Replace eight lanes by their sum, added pairwise."""
    low = (array[i] + array[i + 1]) + (array[i + 2] + array[i + 3])
    high = (array[i + 4] + array[i + 5]) + (array[i + 6] + array[i + 7])
    store(array, i, splat(low + high))


@part
def _add(to, entry, a, b):
    """Add Re(a · b) to an entry."""
    store(to, entry * L, add_real_of_product(a, b, load(to, entry * L)))


@part
def _store_moments(s, p, f, wave, k, own, turn):
    """Write the moments of position p at one frequency, those of the output's own feature with (1 − i t U)."""
    half = splat(0.5)
    h, inverse = get(s, p, row.ANGLE) * k, get(s, p, row.INVERSE) * (splat(1.0) / k)
    u, v, x = own_moments(wave, h, inverse)
    v, x = half * v, half * x
    if own:
        minus_t = negative(k * turn)
        third = half * third_moment(wave, h, inverse)
        u = scaled_sum(minus_t, times_i(v), u)
        v = scaled_sum(minus_t, times_i(x), v)
        x = scaled_sum(minus_t, times_i(third), x)
    put_complex(s, p, row.U + f, u)
    put_complex(s, p, row.V + f, v)
    put_complex(s, p, row.X + f, x)


@inlined
def _add_steps(plan, s, f, weighted):
    """Add one frequency to what the sums hold of the events: z at the bias, and z on the segment of each feature."""
    store(s.state, row.STEP_BIAS * L, load(s.state, row.STEP_BIAS * L) + weighted.real)
    for p in range(plan.features):
        put(s, p, row.STEP, add_real_of_product(get_complex(s, p, row.U + f), weighted, get(s, p, row.STEP)))
        put(s, p, row.STEP_U, add_real_of_product(get_complex(s, p, row.V + f), weighted, get(s, p, row.STEP_U)))
        put(s, p, row.STEP_X, add_real_of_product(get_complex(s, p, row.X + f), weighted, get(s, p, row.STEP_X)))


@inlined
def _forward_over_sets(plan, table, s, f):
    """The product of all sets; leaves at each its factor, the product before it, and INNER."""
    zero, one = splat(0.0), splat(1.0)
    product = complex_lanes(one, zero)
    for g in range(plan.sets):
        first = plan.first[g]
        factor, _ = mixture(plan, table, s, g, -1, f, complex_lanes(zero, zero), one)
        put_complex(s, first, row.BEFORE + f, product)
        put_complex(s, first, row.FACTOR + f, factor)
        product = product * factor
    return product


@inlined
def _backward_over_sets(plan, table, s, f, weighted, to):
    """Add the pairs within each set, and leave what pairs of sets are made of.

    INNER gets the derivative of the set's factor in the coupling times the product before the set, BEHIND the same
    times that behind it.
    """
    behind = weighted
    for back in range(plan.sets):
        g = plan.sets - 1 - back
        first = plan.first[g]
        before = get_complex(s, first, row.BEFORE + f)
        for c in range(plan.component[g], plan.component[g + 1]):
            weight = load(table, (plan.weight[g] + c - plan.component[g]) * L)
            _add_component(plan, table, s, c, f, weight * before * behind, to)
        for p in range(first, plan.first[g + 1]):
            slope = get_complex(s, p, row.INNER + f) * get_complex(s, p, row.V + f)
            put_complex(s, p, row.INNER + f, before * slope)
            put_complex(s, p, row.BEHIND + f, slope * behind)
        behind = behind * get_complex(s, first, row.FACTOR + f)


@inlined
def _add_component(plan, table, s, c, f, around, to):
    """Add the second derivatives of one component, a chain of independent features; `around` is all else."""
    one = splat(1.0)
    n = plan.features
    first, last = plan.part[c], plan.part[c + 1] - 1
    for back in range(last + 1 - first):
        place = last - back
        p = plan.position[place]
        q = load(table, plan.gate[place] * L)
        put_complex(s, p, row.BEHIND + f, around * (q * get_complex(s, p, row.V + f)))
        put_complex(s, p, row.PARTIAL, around)
        around = around * scaled_sum(q, get_complex(s, p, row.U + f), one - q)
    before = complex_lanes(one, splat(0.0))
    for place in range(first, last + 1):
        p = plan.position[place]
        q = load(table, plan.gate[place] * L)
        _add(to, p * (n + 2), before * get_complex(s, p, row.PARTIAL), q * get_complex(s, p, row.X + f))
        running = before * (q * get_complex(s, p, row.V + f))
        for other in range(place + 1, last + 1):
            i = plan.position[other]
            _add(to, p * (n + 1) + i, running, get_complex(s, i, row.BEHIND + f))
            gate = load(table, plan.gate[other] * L)
            running = running * scaled_sum(gate, get_complex(s, i, row.U + f), one - gate)
        before = before * scaled_sum(q, get_complex(s, p, row.U + f), one - q)


@inlined
def _add_pairs_of_sets(plan, s, to):
    """Add the pairs of features in different sets, and of each feature with the bias: here the time goes.

    Two frequencies at once, so that an entry is read and written half as often.
    """
    n = plan.features
    first_bias = load_complex(s.state, row.WEIGHTED * L)
    second_bias = load_complex(s.state, (row.WEIGHTED + 2) * L)
    for p in range(n):
        first, second = get_complex(s, p, row.INNER), get_complex(s, p, row.INNER + 2)
        entries = p * (n + 1)
        for h in range(plan.set_of[p] + 1, plan.sets):
            start = plan.first[h]
            for q in range(start, plan.first[h + 1]):
                sum_ = load(to, (entries + q) * L)
                sum_ = add_real_of_product(first, get_complex(s, q, row.BEHIND), sum_)
                sum_ = add_real_of_product(second, get_complex(s, q, row.BEHIND + 2), sum_)
                store(to, (entries + q) * L, sum_)
            first = first * get_complex(s, start, row.FACTOR)
            second = second * get_complex(s, start, row.FACTOR + 2)
        _add(to, entries + n, first, first_bias)
        _add(to, entries + n, second, second_bias)
