"""Adam and gradient descent on the population loss, eight runs at a time, each at its own step.

The updates are those of the sampled path, in its order of operations but in float64: without noise, a run is its twin.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from tegum.core.compiled.compile import inlined, kernel
from tegum.core.compiled.lanes import WIDE_LANES as L
from tegum.core.compiled.lanes import fma, is_set, load, pointer_at, pointers, select, splat, sqrt, store
from tegum.core.compiled.records import lane_of, lanes_of
from tegum.core.population.kernel.memory import aligned
from tegum.training.exact.kernels.probe import GRADIENT_ERROR, Room, enter, leave, loss_and_gradient, renew_scale

if TYPE_CHECKING:
    from tegum.training.spec.optimisers import Rule

ADAM, GD = 0, 1
EXACT_UPDATES: dict[Rule, int] = {"adam": ADAM, "momentum": GD}
"""The number by which the kernel of exact training knows each rule of an optimiser."""


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
    step: Int[np.ndarray, " run"]
    diverged_at: Int[np.ndarray, " run"]
    path: Float[np.ndarray, " run_snapshot_P"]
    snapshots: Int[np.ndarray, " snapshot"]


class Factors(NamedTuple):
    """What an update multiplies with, in each lane: numbers of the run's settings and its step."""

    kept: float
    """Of a parameter, with decoupled weight decay."""
    decay: float
    """Of a parameter that is added to its gradient: coupled weight decay."""
    beta1: float
    """Of the mean gradient, or momentum; then of the new gradient."""
    new1: float
    beta2: float
    new2: float
    step: float
    """Minus the learning rate, bias correction included."""
    root: float
    """Of the root of the mean square: its bias correction."""
    eps: float


_factors_in_lane, _factors_in_lanes = lane_of(Factors), lanes_of(Factors)


class Working(NamedTuple):
    """Working memory of `follow`: flat float64 lanes that start on a cache line."""

    run: Int[np.ndarray, " lane"]
    """−1 where there is none."""
    column: Int[np.ndarray, " lane"]
    """Of the run's next snapshot."""
    x: Float[np.ndarray, " _"]
    first: Float[np.ndarray, " _"]
    second: Float[np.ndarray, " _"]
    gradient: Float[np.ndarray, " _"]
    scale: Float[np.ndarray, " _"]
    spare: Float[np.ndarray, " _"]
    table: Float[np.ndarray, " _"]
    value: Float[np.ndarray, " _"]
    error: Float[np.ndarray, " _"]
    moves: Float[np.ndarray, " _"]
    """1 in lanes that take the step, else 0."""
    factors: Float[np.ndarray, " _"]
    """The `Factors` of each lane."""


def working(room: Room) -> Working:
    """Working memory for one thread and a group."""
    p = room.parameters * L
    lanes = np.full(L, -1), np.zeros(L, np.int64)
    sizes = (p, p, p, p, room.scale * L, room.spare, room.table * L, L, L, L, len(Factors._fields) * L)
    return Working(*lanes, *map(aligned, sizes))


def corrections(
    betas: Float[np.ndarray, " setting"], updates: Int[np.ndarray, " step"]
) -> Float[np.ndarray, "setting step"]:
    """1 − β^t for each β and t, by the scalar power: NumPy's vectorised one may round by position in the array."""
    return np.array([[1 - beta**t for t in updates.tolist()] for beta in betas.tolist()]).reshape(len(betas), -1)


@inlined
def _set_adam(b, plan, lane, setting, at):
    """The factors of Adam for one lane."""
    rate, decay = plan.rate[at], plan.weight_decay[setting]
    factors = _factors_in_lane(b.factors, lane)
    factors.kept = 1 - rate * decay
    factors.beta1 = plan.beta1[setting]
    factors.new1 = 1 - plan.beta1[setting]
    factors.beta2 = plan.beta2[setting]
    factors.new2 = 1 - plan.beta2[setting]
    factors.step = -rate / plan.correction1[at]
    factors.root = 1 / math.sqrt(plan.correction2[at])
    factors.eps = plan.eps[setting]


@inlined
def _set_gd(b, plan, lane, setting, at):
    """The factors of gradient descent for one lane."""
    factors = _factors_in_lane(b.factors, lane)
    factors.decay = plan.weight_decay[setting]
    factors.beta1 = plan.beta1[setting]
    factors.step = -plan.rate[at]


@kernel
def _update_adam(b, size):
    """Decoupled weight decay and bias-corrected moments (Loshchilov & Hutter 2019), as PyTorch orders them."""
    moves = load(b.moves, 0) > splat(0.5)
    factors = _factors_in_lanes(b.factors)
    kept, step, root, eps = factors.kept, factors.step, factors.root, factors.eps
    beta1, new1, beta2, new2 = factors.beta1, factors.new1, factors.beta2, factors.new2
    for p in range(0, size * L, L):
        g, x = load(b.gradient, p), load(b.x, p)
        first = fma(load(b.first, p), beta1, g * new1)
        second = fma(load(b.second, p), beta2, g * g * new2)
        moved = fma(step, first / fma(sqrt(second), root, eps), x * kept)
        store(b.first, p, select(moves, first, load(b.first, p)))
        store(b.second, p, select(moves, second, load(b.second, p)))
        store(b.x, p, select(moves, moved, x))


@kernel
def _update_gd(b, size):
    """Coupled weight decay and heavy-ball momentum, as PyTorch orders them."""
    moves = load(b.moves, 0) > splat(0.5)
    factors = _factors_in_lanes(b.factors)
    decay, momentum, step = factors.decay, factors.beta1, factors.step
    for p in range(0, size * L, L):
        x = load(b.x, p)
        velocity = fma(momentum, load(b.first, p), fma(decay, x, load(b.gradient, p)))
        store(b.first, p, select(moves, velocity, load(b.first, p)))
        store(b.x, p, select(moves, fma(step, velocity, x), x))


@inlined
def _come_in(b, runs, tables, rows, size, adam, lane, run, snapshots):
    """A run comes into a lane."""
    b.run[lane] = run
    enter(tables.values, tables.distribution[run] * rows, b.table, rows, lane)
    enter(runs.params, run * size, b.x, size, lane)
    enter(runs.first, run * size, b.first, size, lane)
    if adam:
        enter(runs.second, run * size, b.second, size, lane)
    column = 0
    while column < snapshots and runs.snapshots[column] <= runs.step[run]:
        column += 1
    b.column[lane] = column


@inlined
def _go_out(b, runs, size, adam, lane):
    """The run of a lane goes back to its memory."""
    run = b.run[lane]
    b.run[lane] = -1
    leave(runs.params, run * size, b.x, size, lane)
    leave(runs.first, run * size, b.first, size, lane)
    if adam:
        leave(runs.second, run * size, b.second, size, lane)


@inlined
def _admit(b, runs, tables, rows, size, adam, queue, taken, snapshots):
    """Let runs of the queue into free lanes; returns how many were taken so far, and how many lanes are in use."""
    active = 0
    for lane in range(L):
        if b.run[lane] < 0 and taken < len(queue):
            _come_in(b, runs, tables, rows, size, adam, lane, queue[taken], snapshots)
            taken += 1
        active += b.run[lane] >= 0
    return taken, active


@inlined
def _sort_out(b, runs, settings, size, adam, count, origin, accuracy):
    """See which runs take a step with these gradients, and with which factors; all others leave their lanes."""
    for lane in range(L):
        b.moves[lane] = 0.0
        run = b.run[lane]
        if run >= 0:
            if not math.isfinite(b.value[lane]):
                runs.diverged_at[run] = runs.step[run]
                _go_out(b, runs, size, adam, lane)
            elif GRADIENT_ERROR * count * b.error[lane] > accuracy:
                _go_out(b, runs, size, adam, lane)
            else:
                b.moves[lane] = 1.0
                setting = settings.setting[run]
                at = setting * settings.steps + runs.step[run] - origin
                if adam:
                    _set_adam(b, settings, lane, setting, at)
                else:
                    _set_gd(b, settings, lane, setting, at)


@inlined
def _step_on(b, runs, size, adam, stop, snapshots):
    """Book the steps that were taken: record them, and let runs out that have done all of theirs."""
    for lane in range(L):
        if b.moves[lane] > 0:
            run, column = b.run[lane], b.column[lane]
            runs.step[run] += 1
            if column < snapshots and runs.snapshots[column] == runs.step[run]:
                leave(runs.path, (run * snapshots + column) * size, b.x, size, lane)
                b.column[lane] = column + 1
            if runs.step[run] >= stop:
                _go_out(b, runs, size, adam, lane)


@kernel
def follow(plan, tables, series, count, settings, origin, runs, queue, stop, accuracy, s, working_memory):
    """Train the runs of a queue with K frequencies, in place, each from its own step to `stop`.

    A run whose loss is not finite gets `diverged_at`, and stays where it is. One whose gradient seems to be less
    accurate than is asked stays as well, at the step that it could not take, unless `accuracy` is infinite. When the
    flag of `s` is raised it returns soon, and what it has written is good for nothing.

    Args:
        plan: a `Plan`.
        tables: a `Tables`.
        series: `frequencies(K)`, flattened.
        count: its rows.
        settings: a `Settings`.
        origin: the step of its first column.
        runs: a `Runs`; changed in place, with the snapshots at steps that are reached.
        queue: which runs.
        stop: one after the last step.
        accuracy: of the gradient.
        s: a `Scratch`.
        working_memory: a `Working`.

    """
    rows, adam, snapshots = plan.rows, settings.optimiser == ADAM, len(runs.snapshots)
    if settings.optimiser != ADAM and settings.optimiser != GD:
        raise ValueError("the settings' optimiser must be one of EXACT_UPDATES")
    plan, s, b, tables = pointers(plan), pointers(s), pointers(working_memory), pointers(tables)
    settings, runs, series = pointers(settings), pointers(runs), pointer_at(series, 0)
    size = plan.features * (plan.hidden + 1)
    taken = 0
    while not is_set(s.stop):
        taken, active = _admit(b, runs, tables, rows, size, adam, queue, taken, snapshots)
        if active == 0:
            return
        renew_scale(plan, tables.way, b.x, b.scale, s)
        loss_and_gradient(
            plan, tables, b.table, series, count, b.x, b.scale, b.value, b.gradient, b.error, b.run, s, b.spare,
        )  # fmt: skip
        _sort_out(b, runs, settings, size, adam, count, origin, accuracy)
        if adam:
            _update_adam(b, size)
        else:
            _update_gd(b, size)
        _step_on(b, runs, size, adam, stop, snapshots)
