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
sum, events that a series resolves badly are taken out of the products (see `patterns`). Outputs that cannot
be negative, or not positive, are moments alone. Second derivatives, on request, are described in `curvature`.

`evaluate` and `refresh_scale` are for other kernels: one block of eight runs, all vectors in lanes (parameters, 8), no
allocation. `value_and_gradient` and `evaluated` are the same for Python.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from tegum.core.compiled.compile import kernel, part
from tegum.core.compiled.lanes import WIDE_LANES as L
from tegum.core.compiled.lanes import (
    absolute,
    at_least,
    at_most,
    count_lanes,
    fma,
    is_set,
    load,
    negative,
    pointer_at,
    pointers,
    select,
    splat,
    store,
)
from tegum.core.features.distribution import FeatureDistribution
from tegum.core.population.kernel import memory as row
from tegum.core.population.kernel import tables as tables_of
from tegum.core.population.kernel.curvature import sum_curvature
from tegum.core.population.kernel.curvature_events import add_events
from tegum.core.population.kernel.memory import get, put, scale_rows
from tegum.core.population.kernel.patterns import integrals, probabilities, uncoupled_slopes
from tegum.core.population.kernel.series import sum_series
from tegum.core.population.truncation import MARGIN, TRUST, UNCOUPLED
from tegum.core.stopping import all_done, current, interruptible

_PI = math.pi

_SHORT = 2**20
"""Blocks times features² times frequencies that are summed in the main thread, in hundredths of a second."""

_ERROR_FLOOR = 5e-15
"""The rounding error, as a part of what was added up."""


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
    """E[z − x_j] and E[(z − x_j)²]; half the derivatives of the latter go to CLOSED."""
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
def _series_output(plan, table, series, count, s, j, b, scale, coupled_rows, mean, definite):
    """One output by its series.

    SLOPE gets its derivatives in the couplings, less CLOSED. Returns its loss less the halves of E[x_j²] and of
    E[(z − x_j)²], its derivative in the bias less the mean of z − x_j, the two changes of the loss with fewer
    frequencies, and a measure of what was added up. Lanes in which the output is definite get anything finite.
    """
    zero, one, half = splat(0.0), splat(1.0), splat(0.5)
    n = plan.features
    coupled_lanes = 0
    for p in range(n):
        coupled = (load(coupled_rows, p * L) > half) | definite
        if p == j:
            coupled = one > zero
        coupled_lanes += count_lanes(coupled)
        put(s, p, row.COUPLED, select(coupled, one, zero))
    mixed = coupled_lanes < n * L
    nothing = probabilities(plan, table, s)
    store(s.state, row.NOTHING * L, nothing)
    sum_series(plan, table, series, count, s, j, scale, b / scale, nothing, mixed)

    half_scale = half * scale
    for p in range(n):
        sum_ = half * get(s, p, row.SLOPE)
        if p < plan.singles:
            sum_ = sum_ * load(table, (2 * n + p) * L)
        if p == j:
            sum_ = half * load(s.state, row.OWN * L)
        rest = fma(negative(half), get(s, p, row.LONE), load(table, (n + p) * L))
        put(s, p, row.SLOPE, fma(half_scale, rest, sum_))
    lone, z, z_size, size, own_size, own_sign, own_square = integrals(plan, s, j, b, splat(_PI / 2) / scale)
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
        value = value + uncoupled_slopes(
            plan, table, s, j, bias, half_scale, own_sign + load(s.state, row.OWN_EVENTS * L)
        )
    uncertain = zero
    for less in range(len(TRUST)):
        change = absolute(total - load(s.state, (row.SMALLER + less) * L))
        uncertain = at_least(uncertain, splat(TRUST[less]) * change)
    return value, slope, uncertain


@kernel
def evaluate(plan, table, series, count, theta, scale, value, gradient, error, s, second=None, block=0):
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
            where parameters are. NaN when the flag of `s` is raised, and soon.
        gradient: (n m + n, 8), written; anything finite where the value is infinite.
        error: (8,), written: an estimate of how much the value would change with more frequencies.
        s: a `Scratch` for this plan.
        second: None, or `SecondDerivatives` or pointers to such, for which the block must have the same run in all of
            its lanes. Only with them is their code compiled.
        block: the number of the block among those of `second`.

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
        if is_set(s.stop):
            loss = splat(np.nan)
            break
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
            m, coupled_rows = load(scale, out * L), pointer_at(scale, (n + j * n) * L)
            outside = at_least(absolute(lower), absolute(upper)) > m
            part, part_slope, change = _series_output(
                plan, table, series, count, s, j, b, m, coupled_rows, mean, definite
            )
            output = select(definite, output, half * (square + power) + part)
            slope = select(definite, slope, mean + part_slope)
            uncertain = uncertain + importance * select(definite, zero, change)
            size = size + importance * select(definite, zero, m * m)
            excess = excess | (select(definite, zero, one) * select(outside, one, zero) > zero)
        loss = loss + importance * output
        size = size + importance * (square + power)
        store(gradient, (biases + out) * L, importance * slope)
        _fold(plan, theta, gradient, s, j, importance, above, definite)
        if second is not None:
            start = (block * n + j) * (n + 1) * (n + 2)
            _curve(plan, table, second, start, s, j, b, load(scale, out * L), importance, above, definite)
            store(second.sums, 0, importance * slope)
            second.entries[start + (n + 1) * (n + 1) + n] = second.sums[0]
    store(value, 0, select(excess, splat(np.inf), loss))
    store(error, 0, fma(splat(_ERROR_FLOOR), size, uncertain))


@part
def _fold(plan, theta, gradient, s, j, importance, above, definite):
    """Add the slopes in the couplings of output j to the gradient of the weights; a coupling is felt by two rows."""
    hidden = plan.hidden
    own = plan.feature[j] * hidden * L
    for p in range(plan.features):
        slope = _slope(s, p, importance, above, definite)
        other = plan.feature[p] * hidden * L
        for k in range(0, hidden * L, L):
            store(gradient, own + k, fma(slope, load(theta, other + k), load(gradient, own + k)))
            store(gradient, other + k, fma(slope, load(theta, own + k), load(gradient, other + k)))


@part
def _slope(s, p, importance, above, definite):
    """The derivative of the loss in the coupling of position p."""
    closed = get(s, p, row.CLOSED)
    return select(definite, select(above, closed + closed, splat(0.0)), closed + get(s, p, row.SLOPE)) * importance


@part
def _curve(plan, table, second, start, s, j, b, m, importance, above, definite):
    """Write the second derivatives of output j from entry `start` on, and its slopes but that of the bias."""
    zero, one = splat(0.0), splat(1.0)
    n = plan.features
    some = count_lanes(definite) < L
    if some:
        coupled_lanes = 0
        for p in range(n):
            coupled_lanes += count_lanes(get(s, p, row.COUPLED) > zero)
        sum_curvature(plan, table, second, s, j, m, b / m)
        nothing = load(s.state, row.NOTHING * L)
        add_events(plan, table, s, j, b, splat(_PI / 2) / m, nothing, coupled_lanes < n * L, second.sums)
    # E[z²], the moment among the terms of the loss, counts half where there is a series.
    moment = select(definite, select(above, one + one, zero), one)
    for p in range(n + 1):
        for q in range(p, n + 1):
            at = p * (n + 1) + q
            entry = moment * _second_moment(plan, table, p, q)
            if some:
                entry = entry + load(second.sums, at * L)
            store(second.sums, at * L, importance * entry)
            second.entries[start + at] = second.sums[at * L]
            second.entries[start + q * (n + 1) + p] = second.sums[at * L]
    for p in range(n):
        store(second.sums, 0, _slope(s, p, importance, above, definite))
        second.entries[start + (n + 1) * (n + 1) + p] = second.sums[0]


@part
def _second_moment(plan, table, p, q):
    """E[x_p x_q] of positions p ≤ q, where x_n = 1 belongs to the bias."""
    n = plan.features
    moment = splat(1.0)
    if p < n:
        moment = load(table, (n + p) * L)
    if q < n:
        moment = moment * load(table, (n + q) * L)
        g = plan.set_of[p]
        if g == plan.set_of[q]:
            first = plan.first[g]
            size = plan.first[g + 1] - first
            moment = moment + load(table, (plan.covariance[g] + (p - first) * size + q - first) * L)
    return moment


@kernel
def refresh_scale(plan, theta, scale, s):
    """Write M of each output: `MARGIN` times the largest |z|, or 1 where z is nothing but 0; then what is coupled.

    (n + n², 8): n rows of M, in the order of features, then 1 or 0 for each output and feature, in that of positions.
    """
    plan, s = pointers(plan), pointers(s)
    zero, one = splat(0.0), splat(1.0)
    n = plan.features
    biases = plan.features * plan.hidden
    for j in range(plan.features):
        if is_set(s.stop):
            return
        out = plan.feature[j]
        lower, upper = _couplings(plan, theta, load(theta, (biases + out) * L), s, j)
        bound = splat(MARGIN) * at_least(absolute(lower), absolute(upper))
        bound = select(bound > zero, bound, one)
        store(scale, out * L, bound)
        for p in range(n):
            coupled = absolute(get(s, p, row.COUPLING)) > splat(UNCOUPLED) * bound
            store(scale, (n + j * n + p) * L, select(coupled, one, zero))


@kernel
def evaluate_blocks(plan, tables, series, count, theta, scale, value, gradient, error, s, first, last, refresh, second):
    """`evaluate` for blocks first … last − 1 of flat arrays of all blocks."""
    parameters, features = plan.features * (plan.hidden + 1) * L, plan.features * (plan.features + 1) * L
    plan_, s_ = pointers(plan), pointers(s)
    for block in range(first, last):
        if is_set(s_.stop):
            return
        here, scale_here = pointer_at(theta, block * parameters), pointer_at(scale, block * features)
        if refresh:
            refresh_scale(plan_, here, scale_here, s_)
        evaluate(
            plan_, pointer_at(tables, block * plan.rows * L), pointer_at(series, 0), count, here, scale_here,
            pointer_at(value, block * L), pointer_at(gradient, block * parameters), pointer_at(error, block * L), s_,
            second, block,
        )  # fmt: skip


class Evaluated(NamedTuple):
    """What the kernel found for many models."""

    loss: Float[np.ndarray, " run"]
    """Infinite where the scale is too small."""
    gradient: Float[np.ndarray, "run parameter"]
    error: Float[np.ndarray, " run"]
    """An estimate of the error of the loss."""
    slopes: Float[np.ndarray, "run feature feature_1"] | None = None
    """The derivatives of each output's part of the loss in its couplings and, last, in its bias."""
    curvature: Float[np.ndarray, "run feature feature_1 feature_1"] | None = None
    """The second derivatives of the same, exactly symmetric."""


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
    found = evaluated(weights, bias, features, frequencies=frequencies, scale=scale, threads=threads)
    size = weights.shape[1] * weights.shape[2]
    return found.loss, found.gradient[:, :size].reshape(weights.shape), found.gradient[:, size:], found.error


def evaluated(
    weights: Float[np.ndarray, "run feature hidden"],
    bias: Float[np.ndarray, "run feature"],
    features: FeatureDistribution | Sequence[FeatureDistribution],
    *,
    frequencies: int,
    scale: Float[np.ndarray, "run feature"] | None = None,
    threads: int = 1,
    curved: bool = False,
) -> Evaluated:
    """`value_and_gradient` with the parameters of a run as one vector, W row by row, then b.

    Args:
        weights, bias, features, frequencies, scale, threads: the same.
        curved: whether to find second derivatives; they take about n / 4 times as long as all else.

    Raises:
        ValueError: a set is no mixture table, or shapes do not fit.

    """
    runs, n, hidden = weights.shape
    if bias.shape != (runs, n) or hidden < 1:
        raise ValueError(f"weights of shape {weights.shape} need a bias of shape {(runs, n)}, not {bias.shape}")
    several = not isinstance(features, FeatureDistribution)
    distributions = list(features) if several else [features]
    if several and len(distributions) != runs:
        raise ValueError(f"{len(distributions)} distributions for {runs} runs: give one for each, or one for all")
    if any(each.n != n for each in distributions):
        raise ValueError(f"every distribution must have {n} features, as the weights have")
    number = {each: k for k, each in enumerate(dict.fromkeys(distributions))}
    distribution = np.array([number[each] for each in distributions] if several else [0] * runs, np.int64)
    theta = np.concatenate([weights.reshape(runs, n * hidden), bias], 1)
    found = Evaluated(np.empty(runs), np.empty_like(theta), np.empty(runs))
    if curved:
        found = found._replace(slopes=np.empty((runs, n, n + 1)), curvature=np.empty((runs, n, n + 1, n + 1)))
    for group in tables_of.groups(list(number), distribution, hidden, alone=curved):
        where = group.runs.ravel()
        scales = None if scale is None else scale[group.runs]
        loss, gradient, error, entries = _evaluate_group(group, theta[group.runs], scales, frequencies, threads, curved)
        found.loss[where], found.gradient[where], found.error[where] = loss, gradient, error
        if entries is not None and found.slopes is not None and found.curvature is not None:
            position = np.append(np.argsort(group.plan.feature), n)
            for run, of_run in zip(group.runs[:, 0].tolist(), entries, strict=True):
                ordered = of_run[position[:-1]][..., position]
                found.slopes[run], found.curvature[run] = ordered[:, -1], ordered[:, position]
    return found


def _evaluate_group(
    group: tables_of.Group,
    theta: Float[np.ndarray, "block lane parameter"],
    scale: Float[np.ndarray, "block lane feature"] | None,
    count: int,
    threads: int,
    curved: bool,
) -> tuple[
    Float[np.ndarray, " run"],
    Float[np.ndarray, "run parameter"],
    Float[np.ndarray, " run"],
    Float[np.ndarray, "block feature row feature_1"] | None,
]:
    """Loss, gradient and error of the runs of one structure, block by block, and second derivatives."""
    plan, blocks = group.plan, len(group.runs)
    n = plan.features
    series = tables_of.frequencies(count)
    packed = _to_lanes(theta)
    scales = tables_of.aligned(blocks * scale_rows(plan.features) * L)
    if scale is not None:
        # Everything counts as coupled, as nothing tells what was when the scale was chosen.
        rows = scales.reshape(blocks, -1, L)
        rows[:, :n] = scale.swapaxes(1, 2)
        rows[:, n:] = 1.0
    loss, error, gradient = (tables_of.aligned(size) for size in (blocks * L, blocks * L, packed.size))
    entries = np.empty((blocks, n, n + 2, n + 1)) if curved else None

    def work(share: np.ndarray) -> None:
        second = None if entries is None else tables_of.second_derivatives(plan, count, entries)
        evaluate_blocks(
            plan, group.tables.ravel(), series.ravel(), len(series), packed, scales, loss, gradient, error,
            tables_of.scratch(plan), share[0], share[-1] + 1, scale is None, second,
        )  # fmt: skip

    shares = np.array_split(np.arange(blocks), min(threads, blocks))
    if len(shares) > 1:
        with ThreadPoolExecutor(threads, thread_name_prefix="tegum") as pool:
            all_done(pool, [partial(work, share) for share in shares], current())
    elif blocks * n**2 * len(series) * (1 + n // 4 * curved) < _SHORT:
        # For a small model a thread would take longer than the loss.
        work(shares[0])
    else:
        interruptible(partial(work, shares[0]))
    current().check()
    gradient = gradient.reshape(blocks, -1, L).swapaxes(1, 2).reshape(blocks * L, -1)
    return loss, gradient, error, entries


def _to_lanes(values: Float[np.ndarray, "block lane value"]) -> Float[np.ndarray, " _"]:
    """Flat (block, value, lane), on a cache line."""
    lanes = tables_of.aligned(values.size)
    lanes[:] = values.swapaxes(1, 2).ravel()
    return lanes
