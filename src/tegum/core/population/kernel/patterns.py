"""The two kinds of event that a series would be slow to sum, in closed form: their probabilities and integrals.

A feature is coupled to an output z = b + Σ a_i x_i where |a_i| is not next to nothing. Where no coupled feature is
active, z = b, and where only feature l is, z = b + a_l U: a point, and a segment with two ends, of which the series of
|z| and z |z| know only after many frequencies. They are taken out of the series and added exactly. A feature that is
not coupled changes z by nothing, whether active or not, and its own derivative is the mean of its magnitude, given
the event, times that of the bias. The output's own feature always counts as coupled.
"""

from __future__ import annotations

from tegum.core.compiled.compile import kernel, part
from tegum.core.compiled.lanes import WIDE_LANES as L
from tegum.core.compiled.lanes import count_lanes, fma, load, negative, select, splat
from tegum.core.population.kernel import memory as row
from tegum.core.population.kernel.memory import get, put


@kernel
def probabilities(plan, table, s):
    """Fill NONE, OTHERS, ALONE and LONE of all records from COUPLED; returns P(no coupled feature is active)."""
    zero, one, half = splat(0.0), splat(1.0), splat(0.5)
    n = plan.features
    for p in range(plan.singles):
        coupled = get(s, p, row.COUPLED) > half
        put(s, p, row.NONE, select(coupled, load(table, (2 * n + plan.singles + p) * L), one))
        put(s, p, row.LONE, select(coupled, load(table, (2 * n + p) * L), zero))
    for g in range(plan.singles, plan.singles + plan.shared):
        idle, active = load(table, plan.weight[g] * L), load(table, (plan.weight[g] + 1) * L)
        count = zero
        for p in range(plan.first[g], plan.first[g + 1]):
            count = count + get(s, p, row.COUPLED)
        put(s, plan.first[g], row.NONE, select(count > half, idle, one))
        for p in range(plan.first[g], plan.first[g + 1]):
            put(s, p, row.LONE, get(s, p, row.COUPLED) * select(count > splat(1.5), zero, active))
    for g in range(plan.singles + plan.shared, plan.sets):
        for p in range(plan.first[g], plan.first[g + 1]):
            put(s, p, row.LONE, zero)
        none = zero
        for c in range(plan.component[g], plan.component[g + 1]):
            product = load(table, (plan.weight[g] + c - plan.component[g]) * L)
            first, last = plan.part[c], plan.part[c + 1] - 1
            for place in range(first, last + 1):
                p = plan.position[place]
                put(s, p, row.PARTIAL, product)
                product = product * (one - get(s, p, row.COUPLED) * load(table, plan.gate[place] * L))
            none = none + product
            product = one
            for back in range(last + 1 - first):
                p = plan.position[last - back]
                q = get(s, p, row.COUPLED) * load(table, plan.gate[last - back] * L)
                put(s, p, row.LONE, fma(get(s, p, row.PARTIAL) * q, product, get(s, p, row.LONE)))
                product = product * (one - q)
        put(s, plan.first[g], row.NONE, none)
    product = one
    for g in range(plan.sets):
        put(s, plan.first[g], row.OTHERS, product)
        product = product * get(s, plan.first[g], row.NONE)
    nothing = product
    product = one
    for back in range(plan.sets):
        g = plan.sets - 1 - back
        others = get(s, plan.first[g], row.OTHERS) * product
        put(s, plan.first[g], row.OTHERS, others)
        product = product * get(s, plan.first[g], row.NONE)
        for p in range(plan.first[g], plan.first[g + 1]):
            put(s, p, row.ALONE, others * get(s, p, row.COUPLED))
            put(s, p, row.LONE, others * get(s, p, row.LONE))
    return nothing


@part
def sign_of(x):
    """1, −1, or 0 for 0."""
    zero, one = splat(0.0), splat(1.0)
    return select(x > zero, one, select(x < zero, splat(-1.0), zero))


@part
def crossing(s, p, b, sign_b, turn):
    """Where z = b + a U changes its sign: from −sign to sign at U = root, and whether it does.

    Where it does not, the sign is that of all z and the root 0; no difference of nearly equal numbers is taken.
    `sign_b` is the sign of b, `turn` π / 2 M.
    """
    zero = splat(0.0)
    end = get(s, p, row.COUPLING) + b
    sign_end = sign_of(end)
    crosses = sign_b * sign_end < zero
    root = select(crosses, negative(b) * turn * get(s, p, row.INVERSE), zero)
    return select(crosses, sign_end, sign_of(end + b)), root, crosses


@kernel
def integrals(plan, s, j, b, turn):
    """Integrals over the segments, weighted with their probabilities.

    For each coupling a ∫ |b + aU| dU goes to SIZE and P ∫ U |b + aU| dU is added to SLOPE. `turn` is π / 2 M.

    Returns:
        Σ P, Σ P (b + a/2), Σ P ∫ z |z| dU, Σ P ∫ |z| dU, and of the output's own feature ∫ U |z| dU,
        ∫ U sign z dU, ∫ U² sign z dU.

    """
    zero = splat(0.0)
    half, third = splat(0.5), splat(1 / 3)
    sign_b = sign_of(b)
    total, mean, signed, size = zero, zero, zero, zero
    own_size, own_sign, own_square = zero, zero, zero
    for p in range(plan.features):
        a = get(s, p, row.COUPLING)
        lone = get(s, p, row.LONE)
        end = a + b
        sign, root, _ = crossing(s, p, b, sign_b, turn)
        along = root * b
        mean_z = fma(half, a, b)
        of_signed = sign * (fma(b, end, third * a * a) - splat(2 / 3) * along * b)
        of_size = sign * (mean_z - along)
        of_first = sign * (fma(third, a, half * b) - third * root * along)
        total = total + lone
        mean = fma(lone, mean_z, mean)
        signed = fma(lone, of_signed, signed)
        size = fma(lone, of_size, size)
        put(s, p, row.SIZE, of_size)
        put(s, p, row.SLOPE, fma(lone, of_first, get(s, p, row.SLOPE)))
        if p == j:
            own_size = of_first
            own_sign = sign * (half - root * root)
            own_square = sign * (third - splat(2 / 3) * root * root * root)
    return total, mean, signed, size, own_size, own_sign, own_square


@kernel
def uncoupled_slopes(plan, table, s, j, bias, half_scale, own_sign):
    """Add to SLOPE, for features not coupled, what the events give beyond their series.

    Given the event, a feature not coupled has the same mean wherever the event lies outside of its own set.

    Args:
        plan, table, s: the tables of the block.
        j: the output.
        bias: what the events give to the derivative in the bias, less their series.
        half_scale: M/2, the constant in the series of |z|.
        own_sign: ∫ U sign z dU for the output's own feature, less its series.

    """
    zero, half = splat(0.0), splat(0.5)
    added = zero
    for p in range(plan.features):
        loose = get(s, p, row.COUPLED) < half
        if count_lanes(loose) > 0:
            mean = _mean_without_others(plan, table, s, p)
            correction = _add_own_set(plan, table, s, j, p, mean, half_scale, own_sign, mean * bias)
            slope = get(s, p, row.SLOPE)
            put(s, p, row.SLOPE, select(loose, slope + correction, slope))
            # What is taken for uncoupled may since have become a little coupled.
            added = added + select(loose, correction * get(s, p, row.COUPLING), zero)
    return added


@part
def _mean_without_others(plan, table, s, p):
    """The mean of x_p, given that no coupled feature of its set is active."""
    zero, one, half = splat(0.0), splat(1.0), splat(0.5)
    g = plan.set_of[p]
    first, end = plan.first[g], plan.first[g + 1]
    if g < plan.singles:
        mean = half * load(table, (2 * plan.features + p) * L)
    elif g < plan.singles + plan.shared:
        count = zero
        for i in range(first, end):
            count = count + get(s, i, row.COUPLED)
        # With a coupled feature that is not active none of the set is.
        mean = select(count > half, zero, half * load(table, (plan.weight[g] + 1) * L))
    else:
        none = get(s, first, row.NONE)
        mean = half * _joint(plan, table, s, g, p, -1) / select(none > zero, none, one)
    return mean


@part
def _add_own_set(plan, table, s, j, p, mean, half_scale, own_sign, correction):
    """Add what differs for events in p's own set: there x_p depends on which other feature is active."""
    half = splat(0.5)
    g = plan.set_of[p]
    first = plan.first[g]
    mixture = g >= plan.singles + plan.shared
    for i in range(first, plan.first[g + 1]):
        if i != p:
            lone = get(s, i, row.LONE)
            both = half * lone
            if mixture:
                both = half * get(s, first, row.OTHERS) * get(s, i, row.COUPLED)
                both = both * _joint(plan, table, s, g, p, i)
            beyond = both - mean * lone
            correction = fma(beyond, get(s, i, row.SIZE) - half_scale - get(s, i, row.SEGMENT), correction)
            if i == j:
                correction = fma(negative(beyond), own_sign, correction)
    return correction


@kernel
def _joint(plan, table, s, g, p, i):
    """P(p and i active, and no other coupled feature of the mixture g); without i where that is −1."""
    one = splat(1.0)
    sum_ = splat(0.0)
    for c in range(plan.component[g], plan.component[g + 1]):
        product = load(table, (plan.weight[g] + c - plan.component[g]) * L)
        found = 0
        for place in range(plan.part[c], plan.part[c + 1]):
            at = plan.position[place]
            q = load(table, plan.gate[place] * L)
            if at in (p, i):
                product = product * q
                found += 1
            else:
                product = product * (one - q * get(s, at, row.COUPLED))
        if found == 2 or (found == 1 and i < 0):
            sum_ = sum_ + product
    return sum_
