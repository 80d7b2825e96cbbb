"""What features and sets of features add to a characteristic function, eight runs side by side.

A magnitude U uniform on [0, 1] has E e^{isU} = u(s), E[U e^{isU}] = v(s) and E[U² e^{isU}] = x(s). With h = s/2 and
the spherical Bessel functions j0 = sin h / h and j1 = (j0 − cos h) / h they are

    u = e^{ih} j0,   v = ½ e^{ih} (j0 + i j1),   x = ½ e^{ih} (j0 − j1/h + i j1).

The code keeps 2 v and 2 x. Two frequencies are worked on at once. A complex number takes two rows of a record, or four:
those of the first frequency, then those of the second. Functions for one frequency take `f`, 0 or 2.
"""

from __future__ import annotations

import math

from tegum.core.compiled.compile import inlined, part
from tegum.core.compiled.complex_lanes import add_real_of_product, complex_lanes, scaled_sum, times_i
from tegum.core.compiled.lanes import WIDE_LANES as L
from tegum.core.compiled.lanes import absolute, count_lanes, fma, load, nearest, negative, product_error, select, splat
from tegum.core.population.kernel import memory as row
from tegum.core.population.kernel.memory import get, get_complex, put, put_complex

_PI = math.pi

_SMALL = 0.03
"""Below this h the series of j1 is taken."""
_SMALL_OWN = 0.4


@part
def unit_wave(half_turns, k):
    """e^{i π k x} for lanes of whole numbers k, where x is `half_turns`.

    k x is reduced to a half turn without rounding, so that no digits are lost as k grows.
    """
    product = k * half_turns
    rest = product_error(k, half_turns, product)
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
    return complex_lanes(select(far, negative(cosine), cosine), sine)


@part
def moments(wave, angle, inverse, k, near):
    """(u, 2 v), given e^{ih}, and h and 1/h of the first frequency.

    Where h is small j1 is a series, as the difference j0 − cos h would lose digits; `near`: whether it is in some lane.
    """
    inverse = inverse * splat(1 / k)
    j0 = wave.imag * inverse
    j1 = (j0 - wave.real) * inverse
    if near:
        h = angle * splat(k)
        square = h * h
        small = h * fma(square, fma(square, splat(1 / 840), splat(-1 / 30)), splat(1 / 3))
        j1 = select(square < splat(_SMALL**2), small, j1)
    u = j0 * wave
    return u, scaled_sum(j1, times_i(wave), u)


@part
def _bessel(wave, h, inverse):
    """(j0, j1 / h, j1), the latter two by a series where h is small."""
    j0 = wave.imag * inverse
    square = h * h
    small = fma(square, splat(-1 / 518918400), splat(1 / 3991680))
    small = fma(small, square, splat(-1 / 45360))
    small = fma(small, square, splat(1 / 840))
    small = fma(small, square, splat(-1 / 30))
    small = fma(small, square, splat(1 / 3))
    ratio = select(square < splat(_SMALL_OWN**2), small, (j0 - wave.real) * inverse * inverse)
    return j0, ratio, ratio * h


@part
def own_moments(wave, h, inverse):
    """(u, 2 v, 2 x), given e^{ih}, h and 1/h.

    x divides by h twice and loses digits sooner than v: the series of j1 reaches further.
    """
    j0, ratio, j1 = _bessel(wave, h, inverse)
    u = j0 * wave
    v = scaled_sum(j1, times_i(wave), u)
    return u, v, scaled_sum(negative(ratio), wave, v)


@part
def third_moment(wave, h, inverse):
    """2 E[U³ e^{isU}] = e^{ih} (j0 − 3 j1 / 2h + i (j1 − j2 / 2h)), given the same."""
    j0, ratio, j1 = _bessel(wave, h, inverse)
    square = h * h
    # j2 / h, which divides by h once more.
    small = fma(square, splat(-1 / 7783776000), splat(1 / 51891840))
    small = fma(small, square, splat(-1 / 498960))
    small = fma(small, square, splat(1 / 7560))
    small = fma(small, square, splat(-1 / 210))
    small = h * fma(small, square, splat(1 / 15))
    second = fma(splat(3.0), ratio, negative(j0)) * inverse
    second = select(square < splat(_SMALL_OWN**2), small, second)
    real = fma(splat(-1.5), ratio, j0)
    imag = fma(splat(-0.5), second, j1)
    return scaled_sum(imag, times_i(wave), real * wave)


@part
def next_waves(s, p):
    """The waves e^{ikh} of position p at this frequency and the next; turns the stored one on by two."""
    first, turn = get_complex(s, p, row.WAVE), get_complex(s, p, row.TURN)
    second = first * turn
    put_complex(s, p, row.WAVE, second * turn)
    return first, second


@part
def both_moments(s, p, k0, k1):
    """What `moments` says of position p at both frequencies; turns its wave on."""
    first, second = next_waves(s, p)
    angle, inverse = get(s, p, row.ANGLE), get(s, p, row.INVERSE)
    near = count_lanes(absolute(angle) * splat(k0) < splat(_SMALL)) > 0
    return moments(first, angle, inverse, k0, near), moments(second, angle, inverse, k1, near)


@part
def store_moments(s, p, k0, k1):
    """Write u and 2 v of position p at both frequencies; turns its wave on."""
    (u0, v0), (u1, v1) = both_moments(s, p, k0, k1)
    put_complex(s, p, row.U, u0)
    put_complex(s, p, row.V, v0)
    put_complex(s, p, row.U + 2, u1)
    put_complex(s, p, row.V + 2, v1)


@part
def add_slope(s, p, f, outer):
    """Add Re(2 v · outer) to the slope of position p."""
    put(s, p, row.SLOPE, add_real_of_product(get_complex(s, p, row.V + f), outer, get(s, p, row.SLOPE)))


@inlined
def shared_factor(plan, table, s, g, f):
    """F of a set with one gate; leaves the product of the features before each one in PARTIAL."""
    first = plan.first[g]
    product = get_complex(s, first, row.U + f)
    for p in range(first + 1, plan.first[g + 1]):
        put_complex(s, p, row.PARTIAL, product)
        product = product * get_complex(s, p, row.U + f)
    idle, active = load(table, plan.weight[g] * L), load(table, (plan.weight[g] + 1) * L)
    return scaled_sum(active, product, idle)


@inlined
def shared_slopes(plan, table, s, g, f, outer, single, second):
    """Add the slopes of such a set; `outer` is the product of all other sets.

    `single`: whether one feature of it may be the only coupled one, in some lane; `second` is what that event takes.
    """
    first = plan.first[g]
    # What stands behind a feature in the product: those after it, gathered on the way back.
    behind = load(table, (plan.weight[g] + 1) * L) * outer
    for back in range(plan.first[g + 1] - first):
        p = plan.first[g + 1] - 1 - back
        around = behind
        if p > first:
            around = get_complex(s, p, row.PARTIAL) * behind
            behind = behind * get_complex(s, p, row.U + f)
        if single:
            around = scaled_sum(negative(get(s, p, row.LONE)), second, around)
        add_slope(s, p, f, around)


@inlined
def own_shared(plan, table, s, g, j, f, star):
    """F and ∂F/∂u_j of the output's own set, one with one gate.

    Leaves in INNER the derivatives of F in the other features, with `star` in the place of u_j.
    """
    first, last = plan.first[g], plan.first[g + 1] - 1
    idle, active = load(table, plan.weight[g] * L), load(table, (plan.weight[g] + 1) * L)
    product = complex_lanes(active, splat(0.0))
    for p in range(first, last + 1):
        if p != j:
            put_complex(s, p, row.PARTIAL, product)
            product = product * get_complex(s, p, row.U + f)
    behind = star
    for back in range(last + 1 - first):
        p = last - back
        if p != j:
            put_complex(s, p, row.INNER + f, get_complex(s, p, row.PARTIAL) * behind)
            behind = behind * get_complex(s, p, row.U + f)
    return product * get_complex(s, j, row.U + f) + idle, product


@part
def mixture(plan, table, s, g, j, f, star, otherwise):
    """F and ∂F/∂u_j of any mixture; for a set other than the output's own, j is −1 and the derivative means nothing.

    Leaves in INNER the derivatives of F in its features but j: with `star` in the place of u_j, and multiplied by
    `otherwise` in the components where j has no part.
    """
    zero, one = splat(0.0), splat(1.0)
    nothing = complex_lanes(zero, zero)
    for p in range(plan.first[g], plan.first[g + 1]):
        put_complex(s, p, row.INNER + f, nothing)
    factor, own_slope = nothing, nothing
    for c in range(plan.component[g], plan.component[g + 1]):
        product = complex_lanes(load(table, (plan.weight[g] + c - plan.component[g]) * L), zero)
        behind = complex_lanes(otherwise, zero)
        first, last = plan.part[c], plan.part[c + 1] - 1
        mine = -1
        for place in range(first, last + 1):
            p = plan.position[place]
            if p == j:
                mine = place
            else:
                put_complex(s, p, row.PARTIAL, product)
                q = load(table, plan.gate[place] * L)
                product = product * scaled_sum(q, get_complex(s, p, row.U + f), one - q)
        if mine < 0:
            factor = factor + product
        else:
            q = load(table, plan.gate[mine] * L)
            factor = factor + product * scaled_sum(q, get_complex(s, j, row.U + f), one - q)
            own_slope = scaled_sum(q, product, own_slope)
            behind = scaled_sum(q, star, (one - q) * otherwise)
        _inner_slopes(plan, table, s, j, f, first, last, behind)
    return factor, own_slope


@part
def _inner_slopes(plan, table, s, j, f, first, last, behind):
    """Add to INNER the derivatives of one component in its features but j, on the way back over its places."""
    one = splat(1.0)
    for back in range(last + 1 - first):
        place = last - back
        p = plan.position[place]
        if p != j:
            q = load(table, plan.gate[place] * L)
            around = get_complex(s, p, row.PARTIAL) * behind
            put_complex(s, p, row.INNER + f, scaled_sum(q, around, get_complex(s, p, row.INNER + f)))
            behind = behind * scaled_sum(q, get_complex(s, p, row.U + f), one - q)


@part
def mixture_slopes(plan, s, g, j, f, outer, second):
    """Add the slopes of a set whose derivatives are in INNER, without j; `outer` is the product of all other sets."""
    for p in range(plan.first[g], plan.first[g + 1]):
        if p != j:
            around = get_complex(s, p, row.INNER + f) * outer
            add_slope(s, p, f, scaled_sum(negative(get(s, p, row.LONE)), second, around))
