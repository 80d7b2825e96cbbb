"""Losses of the whole population for runs in lanes: what every optimiser of exact training is made of.

Eight runs at a time are lanes of float64: a vector of P numbers is a flat array (P, 8). In a run's own memory it is
contiguous, so a run that enters a lane is scattered and one that leaves is gathered.
"""

from __future__ import annotations

import math
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt32

from tegum.core.compiled.compile import inlined, kernel
from tegum.core.compiled.lanes import WIDE_LANES as L
from tegum.core.compiled.lanes import fma, is_set, load, pointer_at, pointers, splat, store
from tegum.core.population.kernel.evaluate import evaluate, refresh_scale
from tegum.core.population.kernel.memory import aligned
from tegum.core.population.kernel.rows import ListedRows, evaluate_rows, room_for_rows
from tegum.core.population.kernel.tables import Plan

GRADIENT_ERROR = 0.1
"""The error of the gradient, divided by the number of frequencies times the error of the loss; measured."""


class Way(IntEnum):
    """How the loss of a group of runs is computed."""

    SERIES = 0
    MOMENTS = 1
    FINITE = 2


class Tables(NamedTuple):
    """The numbers of each distribution of a group, and which run has which."""

    way: int
    """A `Way`, as a plain number: numba takes a tenth of a millisecond to see what an enum is."""
    values: Float[np.ndarray, " distribution_row"]
    """As the population kernel reads them, but of one run: (distribution, plan.rows), flat. Of a finite population the
    importances, which come first, are all that is read."""
    distribution: Int[np.ndarray, " run"]
    samples: int
    """The rows of a finite population, which is the same for all runs of a group; 0 where there is none, and what
    follows is empty."""
    floor: float
    first: Int[np.ndarray, " block_1"]
    place: UInt32[np.ndarray, " value"]
    value: Float[np.ndarray, " value"]
    """These as in `ListedRows`."""


class Room(NamedTuple):
    """What has to be known of a group to make its working memory."""

    parameters: int
    table: int
    """Rows of a table."""
    scale: int
    """Rows of lanes of a scale, of which a finite population has no need; 0 where nothing that is trained has one."""
    spare: int
    """Numbers that `loss_and_gradient` takes besides."""


def room_of(plan: Plan, way: Way, scale: int) -> Room:
    """What a group needs."""
    match way:
        case Way.SERIES | Way.MOMENTS:
            spare = plan.features * L
        case Way.FINITE:
            spare = -(-(2 * plan.parameters + plan.features) // L) * L + room_for_rows(plan.features, plan.hidden)
    return Room(plan.parameters, plan.rows, scale, spare)


@inlined
def enter(source, start, target, size, lane):
    """Scatter `size` contiguous numbers, from source[start] on, to a lane."""
    for p in range(size):
        target[p * L + lane] = source[start + p]


@inlined
def leave(target, start, source, size, lane):
    """Gather a lane into `size` contiguous numbers, from target[start] on."""
    for p in range(size):
        target[start + p] = source[p * L + lane]


@inlined
def dot(x, y, size):
    """Scalar products of the lanes of two vectors; `size` counts elements, 8 P."""
    found = splat(0.0)
    for p in range(0, size, L):
        found = fma(load(x, p), load(y, p), found)
    return found


@kernel
def _evaluate_linear(plan, table, theta, value, gradient, error, couplings, stop):
    """`evaluate` for x̂ = W Wᵀ x + b: the loss is Σ_j I_j E[(c·x + b_j)²] with c_i = (W Wᵀ)_ji − δ_ij, moments alone."""
    n, hidden = plan.features, plan.hidden
    zero, one = splat(0.0), splat(1.0)
    biases = n * hidden
    for row in range(biases + n):
        store(gradient, row * L, zero)
    loss = zero
    for j in range(n):
        if is_set(stop):
            loss = splat(math.nan)
            break
        importance = load(table, j * L)
        own = plan.feature[j] * hidden * L
        mean = load(theta, (biases + plan.feature[j]) * L)
        for p in range(n):
            other = plan.feature[p] * hidden * L
            c = zero
            for k in range(0, hidden * L, L):
                c = fma(load(theta, own + k), load(theta, other + k), c)
            if p == j:
                c = c - one
            store(couplings, p * L, c)
            mean = fma(c, load(table, (n + p) * L), mean)
        twice = importance + importance
        square = mean * mean
        for g in range(plan.sets):
            first, end, row = plan.first[g], plan.first[g + 1], plan.covariance[g]
            for p in range(first, end):
                spread = zero
                for i in range(first, end):
                    spread = fma(load(table, row * L), load(couplings, i * L), spread)
                    row += 1
                square = fma(spread, load(couplings, p * L), square)
                slope = twice * fma(mean, load(table, (n + p) * L), spread)
                other = plan.feature[p] * hidden * L
                for k in range(0, hidden * L, L):
                    store(gradient, own + k, fma(slope, load(theta, other + k), load(gradient, own + k)))
                    store(gradient, other + k, fma(slope, load(theta, own + k), load(gradient, other + k)))
        loss = fma(importance, square, loss)
        store(gradient, (biases + plan.feature[j]) * L, twice * mean)
    store(value, 0, loss)
    store(error, 0, zero)


@kernel
def _evaluate_finite(plan, tables, table, theta, value, gradient, error, used, spare, stop):
    """`evaluate` for the rows of a finite population: each lane that is used by itself, as `evaluate_rows` has its own.

    The others keep what was there.
    """
    n, hidden = plan.features, plan.hidden
    size = n * (hidden + 1)
    rows = ListedRows(n, hidden, tables.samples, tables.floor, tables.first, tables.place, tables.value)
    own, slope, importance = spare, pointer_at(spare, size), pointer_at(spare, 2 * size)
    # On a cache line, as `spare` is.
    room = pointer_at(spare, -(-(2 * size + n) // L) * L)
    for lane in range(L):
        if used[lane] >= 0:
            leave(own, 0, theta, size, lane)
            leave(importance, 0, table, n, lane)
            value[lane] = evaluate_rows(rows, own, importance, slope, room, stop)
            enter(slope, 0, gradient, size, lane)
        error[lane] = 0.0


@inlined
def renew_scale(plan, way, theta, scale, s):
    """`refresh_scale`, where there is a scale."""
    if way != Way.FINITE:
        refresh_scale(plan, theta, scale, s)


@inlined
def loss_and_gradient(plan, tables, table, series, count, theta, scale, value, gradient, error, used, s, spare):
    """`evaluate`, or the same of the linear model or of a finite population.

    A lane is used where `used` is not negative; the numbers of all others may be anything.
    """
    if tables.way == Way.MOMENTS:
        _evaluate_linear(plan, table, theta, value, gradient, error, spare, s.stop)
    elif tables.way == Way.FINITE:
        _evaluate_finite(plan, tables, table, theta, value, gradient, error, used, spare, s.stop)
    else:
        evaluate(plan, table, series, count, theta, scale, value, gradient, error, s)


class Probe(NamedTuple):
    """Working memory of `probe`: flat float64 arrays that start on a cache line, but for `used`."""

    used: Int[np.ndarray, " lane"]
    theta: Float[np.ndarray, " _"]
    gradient: Float[np.ndarray, " _"]
    table: Float[np.ndarray, " _"]
    scale: Float[np.ndarray, " _"]
    spare: Float[np.ndarray, " _"]
    value: Float[np.ndarray, " _"]
    error: Float[np.ndarray, " _"]


def probe_memory(room: Room) -> Probe:
    """Working memory of `probe` for one thread and a group."""
    rows = (room.parameters, room.parameters, room.table, room.scale)
    return Probe(np.zeros(L, np.int64), *(aligned(each * L) for each in rows), *map(aligned, (room.spare, L, L)))


@kernel
def probe(plan, tables, series, count, points, runs, amount, values, errors, gradients, s, room):
    """Loss, estimated error and gradient at some points, each with the scale that suits it.

    When the flag of `s` is raised it returns soon, and what it has written is good for nothing.

    Args:
        plan: a `Plan`.
        tables: a `Tables`.
        series: `frequencies(K)`, flattened.
        count: its rows.
        points: (point, P), flat.
        runs: to which run each point belongs.
        amount: how many points, at least 1.
        values: (point,), written.
        errors: (point,), written.
        gradients: (point, P), flat, written.
        s: a `Scratch`.
        room: a `Probe`.

    """
    plan, s, b, rows, numbers = pointers(plan), pointers(s), pointers(room), plan.rows, pointers(tables)
    size = plan.features * (plan.hidden + 1)
    for first in range(0, amount, L):
        if is_set(s.stop):
            return
        for lane in range(L):
            # Lanes that would stay empty repeat the last point.
            point = min(first + lane, amount - 1)
            b.used[lane] = 0 if first + lane < amount else -1
            enter(points, point * size, b.theta, size, lane)
            enter(tables.values, tables.distribution[runs[point]] * rows, b.table, rows, lane)
        renew_scale(plan, tables.way, b.theta, b.scale, s)
        loss_and_gradient(
            plan, numbers, b.table, pointer_at(series, 0), count, b.theta, b.scale, b.value, b.gradient, b.error,
            b.used, s, b.spare,
        )  # fmt: skip
        for lane in range(min(L, amount - first)):
            values[first + lane] = b.value[lane]
            errors[first + lane] = b.error[lane]
            leave(gradients, (first + lane) * size, b.gradient, size, lane)
