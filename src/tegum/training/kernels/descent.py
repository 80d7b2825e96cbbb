"""Adam and gradient descent on the population loss, eight runs at a time, step by step together.

The updates are those of the sampled path, in its order of operations but in float64: without noise, a run is its twin.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from tegum.core.compiled import inlined, kernel
from tegum.core.population_kernel import refresh_scale
from tegum.core.population_tables import aligned
from tegum.core.simd import WIDE_LANES as L
from tegum.core.simd import fma, load, pointer_at, pointers, select, splat, sqrt, store
from tegum.training.kernels.probe import enter, leave, loss_and_gradient

ADAM, GD = 0, 1


class Settings(NamedTuple):
    """How each run is trained; rows are settings, columns the steps of this call."""

    optimiser: int
    steps: int
    """How many columns there are."""
    setting: Int[np.ndarray, " run"]
    rate: Float[np.ndarray, " setting_step"]
    """Learning rate, schedule included; flat."""
    correction1: Float[np.ndarray, " setting_step"]
    """1 − β₁^(step + 1)."""
    correction2: Float[np.ndarray, " setting_step"]
    beta1: Float[np.ndarray, " setting"]
    """Adam's β₁; the momentum of gradient descent."""
    beta2: Float[np.ndarray, " setting"]
    eps: Float[np.ndarray, " setting"]
    weight_decay: Float[np.ndarray, " setting"]


class Runs(NamedTuple):
    """The state of all runs, changed in place; flat. P is the number of parameters."""

    params: Float[np.ndarray, " run_P"]
    first: Float[np.ndarray, " run_P"]
    """Mean gradient, or momentum."""
    second: Float[np.ndarray, " run_P"]
    """Mean squared gradient; used by Adam alone."""
    diverged_at: Int[np.ndarray, " run"]
    path: Float[np.ndarray, " run_snapshot_P"]
    snapshots: Int[np.ndarray, " snapshot"]


class Working(NamedTuple):
    """Working memory of `follow`: flat float64 lanes that start on a cache line."""

    x: Float[np.ndarray, " _"]
    first: Float[np.ndarray, " _"]
    second: Float[np.ndarray, " _"]
    gradient: Float[np.ndarray, " _"]
    scale: Float[np.ndarray, " _"]
    spare: Float[np.ndarray, " _"]
    table: Float[np.ndarray, " _"]
    value: Float[np.ndarray, " _"]
    error: Float[np.ndarray, " _"]
    alive: Float[np.ndarray, " _"]
    numbers: Float[np.ndarray, " _"]
    """What an update multiplies with, a row each."""


def working(parameters: int, features: int, rows: int) -> Working:
    """Working memory for one thread and groups of these sizes."""
    p, n = parameters * L, features * L
    return Working(*map(aligned, (p, p, p, p, n, n, rows * L, L, L, L, 8 * L)))


@inlined
def _adam(b, plan, lane, setting, at):
    rate, decay = plan.rate[at], plan.weight_decay[setting]
    beta1, beta2 = plan.beta1[setting], plan.beta2[setting]
    b.numbers[lane] = 1 - rate * decay
    b.numbers[L + lane] = beta1
    b.numbers[2 * L + lane] = 1 - beta1
    b.numbers[3 * L + lane] = beta2
    b.numbers[4 * L + lane] = 1 - beta2
    b.numbers[5 * L + lane] = -rate / plan.correction1[at]
    b.numbers[6 * L + lane] = 1 / math.sqrt(plan.correction2[at])
    b.numbers[7 * L + lane] = plan.eps[setting]


@kernel
def _update(b, settings, setting, column, size):
    """One update of the lanes that are alive; `setting` has each lane's."""
    for lane in range(L):
        mine = setting[lane]
        at = mine * settings.steps + column
        if settings.optimiser == ADAM:
            _adam(b, settings, lane, mine, at)
        else:
            b.numbers[lane] = settings.weight_decay[mine]
            b.numbers[L + lane] = settings.beta1[mine]
            b.numbers[2 * L + lane] = -settings.rate[at]
    alive = load(b.alive, 0) > splat(0.5)
    if settings.optimiser == ADAM:
        # Decoupled weight decay and bias-corrected moments (Loshchilov & Hutter 2019), as PyTorch orders them.
        keep, old1, new1 = load(b.numbers, 0), load(b.numbers, L), load(b.numbers, 2 * L)
        old2, new2, step = load(b.numbers, 3 * L), load(b.numbers, 4 * L), load(b.numbers, 5 * L)
        scale, small = load(b.numbers, 6 * L), load(b.numbers, 7 * L)
        for p in range(0, size * L, L):
            g, x = load(b.gradient, p), load(b.x, p)
            first = fma(load(b.first, p), old1, g * new1)
            second = fma(load(b.second, p), old2, g * g * new2)
            moved = fma(step, first / fma(sqrt(second), scale, small), x * keep)
            store(b.first, p, select(alive, first, load(b.first, p)))
            store(b.second, p, select(alive, second, load(b.second, p)))
            store(b.x, p, select(alive, moved, x))
    else:
        # Coupled weight decay and heavy-ball momentum, as PyTorch orders them.
        decayed, kept, step = load(b.numbers, 0), load(b.numbers, L), load(b.numbers, 2 * L)
        for p in range(0, size * L, L):
            x = load(b.x, p)
            velocity = fma(kept, load(b.first, p), fma(decayed, x, load(b.gradient, p)))
            store(b.first, p, select(alive, velocity, load(b.first, p)))
            store(b.x, p, select(alive, fma(step, velocity, x), x))


@kernel
def follow(plan, tables, series, count, settings, origin, runs, queue, amount, start, stop, snapshots, s, room):
    """Train the runs of a queue from step `start` to `stop` with K frequencies, in place.

    A run whose loss is not finite gets `diverged_at`, and stays where it is.

    Args:
        plan: a `Plan`.
        tables: a `Tables`.
        series: `frequencies(K)`, flattened.
        count: its rows.
        settings: a `Settings`.
        origin: the step of its first column.
        runs: a `Runs`; changed in place.
        queue: which runs.
        amount: how many.
        start: the first step.
        stop: one after the last.
        snapshots: how many there are; those in (start, stop] are recorded.
        s: a `Scratch`.
        room: a `Working`.

    """
    linear, rows, adam = tables.linear, plan.rows, settings.optimiser == ADAM
    setting = np.zeros(L, np.int64)
    plan, s, b, tables = pointers(plan), pointers(s), pointers(room), pointers(tables)
    settings, runs, series = pointers(settings), pointers(runs), pointer_at(series, 0)
    size, features = plan.features * (plan.hidden + 1), plan.features
    first_column = 0
    while first_column < snapshots and runs.snapshots[first_column] <= start:
        first_column += 1
    for block in range(0, amount, L):
        filled = min(L, amount - block)
        for lane in range(L):
            # Lanes that would stay empty repeat the last run, and leave nothing behind.
            run = queue[min(block + lane, amount - 1)]
            setting[lane] = settings.setting[run]
            b.alive[lane] = 1.0
            enter(tables.values, tables.distribution[run] * rows, b.table, rows, lane)
            enter(runs.params, run * size, b.x, size, lane)
            enter(runs.first, run * size, b.first, size, lane)
            if adam:
                enter(runs.second, run * size, b.second, size, lane)
        column = first_column
        for step in range(start, stop):
            refresh_scale(plan, b.x, b.scale, s)
            loss_and_gradient(
                plan, linear, b.table, series, count, b.x, b.scale, b.value, b.gradient, b.error, s, b.spare,
            )  # fmt: skip
            alive = 0
            for lane in range(filled):
                if b.alive[lane] > 0 and not math.isfinite(b.value[lane]):
                    b.alive[lane] = 0.0
                    runs.diverged_at[queue[block + lane]] = step
                alive += b.alive[lane] > 0
            if alive == 0:
                break
            _update(b, settings, pointer_at(setting, 0), step - origin, size)
            if column < snapshots and runs.snapshots[column] == step + 1:
                for lane in range(filled):
                    if b.alive[lane] > 0:
                        run = queue[block + lane]
                        leave(runs.path, (run * snapshots + column) * size, b.x, size, lane)
                column += 1
        for lane in range(filled):
            run = queue[block + lane]
            leave(runs.params, run * size, b.x, size, lane)
            leave(runs.first, run * size, b.first, size, lane)
            if adam:
                leave(runs.second, run * size, b.second, size, lane)
