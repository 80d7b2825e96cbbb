"""What features and sets of features add to a characteristic function, eight runs side by side.

A magnitude U uniform on [0, 1] has E e^{isU} = u(s), E[U e^{isU}] = v(s) and E[U² e^{isU}] = x(s). With h = s/2 and
the spherical Bessel functions j0 = sin h / h and j1 = (j0 − cos h) / h they are

    u = e^{ih} j0,   v = ½ e^{ih} (j0 + i j1),   x = ½ e^{ih} (j0 − j1/h + i j1).

Two frequencies are worked on at once. A complex number takes two rows of a record, or four: those of the first
frequency, then those of the second. Functions for one frequency take `f`, 0 or 2.
"""

from __future__ import annotations

import math

from tegum.core.compiled.compile import inlined, part
from tegum.core.compiled.lanes import WIDE_LANES as L
from tegum.core.compiled.lanes import absolute, count_lanes, fma, load, nearest, negative, select, splat
from tegum.core.population.kernel import memory as row
from tegum.core.population.kernel.memory import get, get_pair, load_pair, put, put_pair

_PI = math.pi

_SMALL = 0.03
"""Below this h the series of j1 is taken."""
_SMALL_OWN = 0.4


@part
def times(ar, ai, br, bi):
    """The product of two complex numbers."""
    return fma(negative(ai), bi, ar * br), fma(ar, bi, ai * br)


@part
def cos_sin(half_turns, k):
    """Cos and sin of π k x for a whole number k: k x is reduced without rounding, so that no digits go with k."""
    factor = splat(k)
    product = factor * half_turns
    rest = fma(factor, half_turns, negative(product))
    x = product - splat(2.0) * nearest(product * splat(0.5)) + rest
    one = splat(1.0)
    far = absolute(x) > splat(0.5)
    x = select(far, select(x > splat(0.0), one, splat(-1.0)) - x, x)
    theta = x * splat(_PI)
    y = theta * theta
    # Taylor's series, on [−π/2, π/2].
    sine = splat(1 / 51090942171709440000)
    sine = fma(sine, y, splat(-1 / 121645100408832000))
    sine = fma(sine, y, splat(1 / 355687428096000))
    sine = fma(sine, y, splat(-1 / 1307674368000))
    sine = fma(sine, y, splat(1 / 6227020800))
    sine = fma(sine, y, splat(-1 / 39916800))
    sine = fma(sine, y, splat(1 / 362880))
    sine = fma(sine, y, splat(-1 / 5040))
    sine = fma(sine, y, splat(1 / 120))
    sine = fma(sine, y, splat(-1 / 6))
    sine = fma(sine * y, theta, theta)
    cosine = splat(-1 / 1124000727777607680000)
    cosine = fma(cosine, y, splat(1 / 2432902008176640000))
    cosine = fma(cosine, y, splat(-1 / 6402373705728000))
    cosine = fma(cosine, y, splat(1 / 20922789888000))
    cosine = fma(cosine, y, splat(-1 / 87178291200))
    cosine = fma(cosine, y, splat(1 / 479001600))
    cosine = fma(cosine, y, splat(-1 / 3628800))
    cosine = fma(cosine, y, splat(1 / 40320))
    cosine = fma(cosine, y, splat(-1 / 720))
    cosine = fma(cosine, y, splat(1 / 24))
    cosine = fma(cosine, y, splat(-0.5))
    cosine = fma(cosine, y, one)
    return select(far, negative(cosine), cosine), sine


@part
def uniform(cosine, sine, angle, inverse, k, near):
    """The parts of u and of 2 v, given cos h, sin h, and h and 1/h of the first frequency.

    Where h is small j1 is a series, as it would lose digits; `near`: whether it is so in some lane.
    """
    inverse = inverse * splat(1 / k)
    j0 = sine * inverse
    j1 = (j0 - cosine) * inverse
    if near:
        h = angle * splat(k)
        square = h * h
        small = h * fma(square, fma(square, splat(1 / 840), splat(-1 / 30)), splat(1 / 3))
        j1 = select(square < splat(_SMALL**2), small, j1)
    ur, ui = j0 * cosine, j0 * sine
    return ur, ui, fma(negative(j1), sine, ur), fma(j1, cosine, ui)


@part
def uniform_own(cosine, sine, angle, inverse, k):
    """The parts of u, of 2 v and of 2 x, given the same. The series reaches further: x would lose digits sooner."""
    inverse = inverse * splat(1 / k)
    h = angle * splat(k)
    j0 = sine * inverse
    square = h * h
    small = fma(square, splat(-1 / 518918400), splat(1 / 3991680))
    small = fma(small, square, splat(-1 / 45360))
    small = fma(small, square, splat(1 / 840))
    small = fma(small, square, splat(-1 / 30))
    small = fma(small, square, splat(1 / 3))
    # j1 / h
    ratio = select(square < splat(_SMALL_OWN**2), small, (j0 - cosine) * inverse * inverse)
    j1 = ratio * h
    ur, ui = j0 * cosine, j0 * sine
    vr, vi = fma(negative(j1), sine, ur), fma(j1, cosine, ui)
    return ur, ui, vr, vi, fma(negative(ratio), cosine, vr), fma(negative(ratio), sine, vi)


@part
def wave(s, p):
    """The wave e^{ikh} of position p at two frequencies; moves on to the next two."""
    cosine, sine = get_pair(s, p, row.WAVE)
    turn_r, turn_i = get_pair(s, p, row.TURN)
    next_cosine, next_sine = times(cosine, sine, turn_r, turn_i)
    last_cosine, last_sine = times(next_cosine, next_sine, turn_r, turn_i)
    put_pair(s, p, row.WAVE, last_cosine, last_sine)
    return cosine, sine, next_cosine, next_sine


@part
def both_uniform(s, p, k0, k1):
    """What `uniform` says of position p at both frequencies; moves its wave on."""
    c0, s0, c1, s1 = wave(s, p)
    angle, inverse = get(s, p, row.ANGLE), get(s, p, row.INVERSE)
    near = count_lanes(absolute(angle) * splat(k0) < splat(_SMALL)) > 0
    return uniform(c0, s0, angle, inverse, k0, near), uniform(c1, s1, angle, inverse, k1, near)


@part
def store_uniform(s, p, k0, k1):
    """Write u and 2 v of position p at both frequencies; move its wave on."""
    first, second = both_uniform(s, p, k0, k1)
    put_pair(s, p, row.U, first[0], first[1])
    put_pair(s, p, row.V, first[2], first[3])
    put_pair(s, p, row.U + 2, second[0], second[1])
    put_pair(s, p, row.V + 2, second[2], second[3])


@part
def add_slope(s, p, f, kr, ki):
    """Add Re(2 v k) to the slope of position p."""
    vr, vi = get_pair(s, p, row.V + f)
    put(s, p, row.SLOPE, fma(vr, kr, fma(negative(vi), ki, get(s, p, row.SLOPE))))


@inlined
def shared_factor(plan, table, s, g, f):
    """F of a set with one gate; leaves the product of the features before each one in PARTIAL."""
    first = plan.first[g]
    pr, pi = get_pair(s, first, row.U + f)
    for p in range(first + 1, plan.first[g + 1]):
        put_pair(s, p, row.PARTIAL, pr, pi)
        ur, ui = get_pair(s, p, row.U + f)
        pr, pi = times(pr, pi, ur, ui)
    idle, active = load_pair(table, plan.weight[g])
    return fma(active, pr, idle), active * pi


@inlined
def shared_slopes(plan, table, s, g, f, kr, ki, single, er, ei):
    """Add the slopes of such a set; k is the product of all other sets.

    `single`: whether one feature of it may be the only coupled one, in some lane; e is then what that event takes.
    """
    first = plan.first[g]
    active = load(table, (plan.weight[g] + 1) * L)
    kr, ki = kr * active, ki * active
    for back in range(plan.first[g + 1] - first):
        p = plan.first[g + 1] - 1 - back
        ar, ai = kr, ki
        if p > first:
            pr, pi = get_pair(s, p, row.PARTIAL)
            ar, ai = times(pr, pi, kr, ki)
            ur, ui = get_pair(s, p, row.U + f)
            kr, ki = times(kr, ki, ur, ui)
        if single:
            lone = negative(get(s, p, row.LONE))
            ar, ai = fma(lone, er, ar), fma(lone, ei, ai)
        add_slope(s, p, f, ar, ai)


@inlined
def own_shared(plan, table, s, g, j, f, star_r, star_i):
    """F and ∂F/∂u_j of the output's own set, one with one gate.

    Leaves in INNER the derivatives of F in the other features, with `star` in the place of u_j.
    """
    first, last = plan.first[g], plan.first[g + 1] - 1
    idle, active = load_pair(table, plan.weight[g])
    pr, pi = active, splat(0.0)
    for p in range(first, last + 1):
        if p != j:
            put_pair(s, p, row.PARTIAL, pr, pi)
            ur, ui = get_pair(s, p, row.U + f)
            pr, pi = times(pr, pi, ur, ui)
    kr, ki = star_r, star_i
    for back in range(last + 1 - first):
        p = last - back
        if p != j:
            ar, ai = get_pair(s, p, row.PARTIAL)
            ar, ai = times(ar, ai, kr, ki)
            put_pair(s, p, row.INNER + f, ar, ai)
            ur, ui = get_pair(s, p, row.U + f)
            kr, ki = times(kr, ki, ur, ui)
    ur, ui = get_pair(s, j, row.U + f)
    fr, fi = times(pr, pi, ur, ui)
    return fr + idle, fi, pr, pi


@part
def mixture(plan, table, s, g, j, f, star_r, star_i, otherwise):
    """F and ∂F/∂u_j of any mixture; for a set other than the output's own, j is −1 and the derivative means nothing.

    Leaves in INNER the derivatives of F in its features but j: with `star` in the place of u_j, and multiplied by
    `otherwise` in the components where j has no part.
    """
    zero, one = splat(0.0), splat(1.0)
    for p in range(plan.first[g], plan.first[g + 1]):
        put_pair(s, p, row.INNER + f, zero, zero)
    fr, fi, gr, gi = zero, zero, zero, zero
    for c in range(plan.component[g], plan.component[g + 1]):
        pr, pi = load(table, (plan.weight[g] + c - plan.component[g]) * L), zero
        kr, ki = otherwise, zero
        first, last = plan.part[c], plan.part[c + 1] - 1
        mine = -1
        for place in range(first, last + 1):
            p = plan.position[place]
            if p == j:
                mine = place
            else:
                put_pair(s, p, row.PARTIAL, pr, pi)
                q = load(table, plan.gate[place] * L)
                ur, ui = get_pair(s, p, row.U + f)
                pr, pi = times(pr, pi, fma(q, ur, one - q), q * ui)
        if mine < 0:
            fr, fi = fr + pr, fi + pi
        else:
            q = load(table, plan.gate[mine] * L)
            ur, ui = get_pair(s, j, row.U + f)
            ar, ai = times(pr, pi, fma(q, ur, one - q), q * ui)
            fr, fi = fr + ar, fi + ai
            gr, gi = fma(q, pr, gr), fma(q, pi, gi)
            kr, ki = fma(q, star_r, (one - q) * otherwise), q * star_i
        for back in range(last + 1 - first):
            place = last - back
            p = plan.position[place]
            if p != j:
                q = load(table, plan.gate[place] * L)
                pr, pi = get_pair(s, p, row.PARTIAL)
                ar, ai = times(pr, pi, kr, ki)
                br, bi = get_pair(s, p, row.INNER + f)
                put_pair(s, p, row.INNER + f, fma(q, ar, br), fma(q, ai, bi))
                ur, ui = get_pair(s, p, row.U + f)
                kr, ki = times(kr, ki, fma(q, ur, one - q), q * ui)
    return fr, fi, gr, gi


@part
def mixture_slopes(plan, s, g, j, f, kr, ki, er, ei):
    """Add the slopes of a set whose derivatives are in INNER, without j; k is the product of all other sets."""
    for p in range(plan.first[g], plan.first[g + 1]):
        if p != j:
            ar, ai = get_pair(s, p, row.INNER + f)
            ar, ai = times(ar, ai, kr, ki)
            lone = negative(get(s, p, row.LONE))
            add_slope(s, p, f, fma(lone, er, ar), fma(lone, ei, ai))
