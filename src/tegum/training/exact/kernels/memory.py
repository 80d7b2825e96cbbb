"""What L-BFGS remembers of each run, and the working memory in which eight of them are lanes.

A run is scattered into a lane when it comes in, and gathered into its own memory when it leaves; between two steps that
memory is all there is, so that training can be cut after any step and runs can change lanes.
"""

from __future__ import annotations

import zlib
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from tegum.core.compiled.compile import inlined
from tegum.core.compiled.lanes import WIDE_LANES as L
from tegum.core.compiled.records import lane_of, lanes_of, record_of
from tegum.core.population.kernel.memory import aligned
from tegum.training.exact.kernels.probe import Room, enter, leave

_MOST_PAIRS, _FEWEST_PAIRS, _MANY = 20, 10, 256
"""Pairs of a step and a change of the gradient that are remembered: of models with many parameters fewer."""


class Phase(IntEnum):
    """What comes next for a run; nothing from CONVERGED on."""

    ANCHOR = 0
    """The loss with a fresh scale, or with other frequencies, at the same place."""
    DESCEND = 1
    CHECK = 2
    """The gradient with more frequencies, outside of `descend`."""
    CONVERGED = 3
    STALLED = 4
    DIVERGED = 5


class RunState(NamedTuple):
    """All numbers of a run that are no vectors.

    First what is kept between steps, up to the digest; then what belongs to one search.
    """

    value: float
    """The loss: of the finer series, as far as it is known."""
    offset: float
    """What the loss that is descended has besides L_K(x) + c·x."""
    step: float
    coarse: float
    """K, the frequencies that are descended with."""
    fine: float
    """The frequencies of the last check, which c stands for; K where there was none, and c is 0."""
    wanted: float
    """The frequencies that the next check is to have."""
    target: float
    """The norm of the gradient at which c has to be renewed."""
    phase: float
    """A `Phase`."""
    uncertainty: float
    """The estimated error of the gradient with `fine` frequencies."""
    norm_at_check: float
    failures: float
    """Searches that found nothing since the last mark."""
    moved: float
    """1 where steps have been taken since the last check."""
    gamma: float
    """The inverse curvature with which the recursion of L-BFGS begins, from the newest pair."""
    mark_step: float
    """The step of the last mark: where the gradient had halved since the one before, or the loss had fallen."""
    mark_value: float
    mark_norm: float
    digest: float
    """Of the parameters, so that a run which was edited from outside is begun anew."""

    needs_direction: float
    """1 where the next step needs a new direction, else 0."""
    alpha: float
    """The step that is tried, as a part of the direction."""
    low: float
    """The lower end of the interval that has a minimum, with the loss and the slope there."""
    low_value: float
    low_slope: float
    high: float
    """The upper end, inf as long as there is none."""
    high_slope: float
    width: float
    """Of the last interval."""
    trials: float
    blocked: float
    """1 once a trial has left the range of the series."""
    slope: float
    """At the beginning of the search."""
    column: float
    """Of the run's next snapshot."""
    size: float
    """The loss where every output is zero: the measure of rounding."""
    high_value: float


SAVED = RunState._fields.index("digest") + 1
"""How many numbers of a state are kept between steps."""
_SAVED_TYPE = np.dtype([(name, np.float64) for name in RunState._fields[:SAVED]])

saved_state: Any = record_of(RunState)
state_in_lane: Any = lane_of(RunState)
states_in_lanes: Any = lanes_of(RunState)


class Book(NamedTuple):
    """Memory of all runs, contiguous in each, flat. P is the number of parameters."""

    params: Float[np.ndarray, " run_P"]
    first: Float[np.ndarray, " run_pairs_P"]
    """The steps, newest first."""
    second: Float[np.ndarray, " run_memory"]
    """Changes of the gradient (pairs, P), gradient (P), c (P), scale, 1 / (s·y) (pairs), and what is saved of a
    `RunState`."""
    size: Float[np.ndarray, " run"]
    """Loss where every output is zero: the measure of rounding."""
    path: Float[np.ndarray, " run_snapshot_P"]
    snapshots: Int[np.ndarray, " snapshot"]
    pairs: int
    length: int
    """Of a run's part of `second`."""


class Block(NamedTuple):
    """Working memory of `descend`: flat arrays that start on a cache line, lanes but for `run`."""

    pairs: int
    scale_rows: int
    run: Int[np.ndarray, " lane"]
    x: Float[np.ndarray, " _"]
    gradient: Float[np.ndarray, " _"]
    correction: Float[np.ndarray, " _"]
    direction: Float[np.ndarray, " _"]
    trial: Float[np.ndarray, " _"]
    """Where the loss is computed next."""
    trial_gradient: Float[np.ndarray, " _"]
    steps: Float[np.ndarray, " _"]
    changes: Float[np.ndarray, " _"]
    rho: Float[np.ndarray, " _"]
    scale: Float[np.ndarray, " _"]
    fresh: Float[np.ndarray, " _"]
    """The scale that would suit."""
    table: Float[np.ndarray, " _"]
    spare: Float[np.ndarray, " _"]
    shares: Float[np.ndarray, " _"]
    value: Float[np.ndarray, " _"]
    error: Float[np.ndarray, " _"]
    slope: Float[np.ndarray, " _"]
    square: Float[np.ndarray, " _"]
    accept: Float[np.ndarray, " _"]
    """1 in lanes whose trial is accepted, else 0."""
    anchor: Float[np.ndarray, " _"]
    """1 in lanes whose phase is ANCHOR, else 0."""
    grow: Float[np.ndarray, " _"]
    """1 in lanes whose scale may follow the trial, else 0."""
    least: Float[np.ndarray, " _"]
    """The least quotient of the scale that would suit and the one in use, of any output; then the largest."""
    most: Float[np.ndarray, " _"]
    state: Float[np.ndarray, " _"]
    """The `RunState` of each lane."""


def pairs(parameters: int) -> int:
    """How many pairs are remembered."""
    return _MOST_PAIRS if parameters <= _MANY else _FEWEST_PAIRS


def length(parameters: int, scale: int) -> int:
    """How many numbers of `Book.second` belong to a run, with this many rows of a scale."""
    return (pairs(parameters) + 2) * parameters + scale + pairs(parameters) + SAVED


def block(room: Room) -> Block:
    """Working memory for one thread and a group."""
    p, scale, m, one = room.parameters * L, room.scale * L, pairs(room.parameters) * L, L
    sizes = (
        [p] * 6
        + [m * room.parameters] * 2
        + [m, scale, scale, room.table * L, room.spare, m]
        + [one] * 9
        + [len(RunState._fields) * L]
    )
    return Block(pairs(room.parameters), room.scale, np.full(L, -1), *map(aligned, sizes))


def digests(params: Float[np.ndarray, "run P"]) -> Float[np.ndarray, " run"]:
    """A checksum of the parameters of each run, which shows whether they were edited between two segments."""
    return np.array([zlib.crc32(each.tobytes()) for each in params], np.float64)


def begin(
    first: Float[np.ndarray, "run _first"],
    second: Float[np.ndarray, "run _second"],
    params: Float[np.ndarray, "run P"],
    runs: Int[np.ndarray, " some"],
    step: int,
    frequencies: Int[np.ndarray, " some"],
) -> None:
    """Restart some runs at a step from their present parameters, with so many frequencies each and an empty memory."""
    first[runs], second[runs] = 0, 0
    states = saved_states(second)
    states["phase"][runs] = Phase.ANCHOR
    states["step"][runs] = states["mark_step"][runs] = step
    states["coarse"][runs] = states["fine"][runs] = frequencies
    states["mark_norm"][runs] = np.inf
    states["digest"][runs] = digests(params[runs])


def saved_states(second: Float[np.ndarray, "run _second"]) -> np.ndarray:
    """What is saved of the `RunState` of each run, (run,) with its names as fields: a view of `Book.second`."""
    return second[:, -SAVED:].view(_SAVED_TYPE)[:, 0]


@inlined
def come_in(b, book, tables, rows, size, lane, run, snapshots):
    """A run comes into a lane; it begins with a new direction, as searches are not kept."""
    b.run[lane] = run
    enter(tables.values, tables.distribution[run] * rows, b.table, rows, lane)
    enter(book.params, run * size, b.x, size, lane)
    enter(book.first, run * b.pairs * size, b.steps, b.pairs * size, lane)
    start = run * book.length
    enter(book.second, start, b.changes, b.pairs * size, lane)
    enter(book.second, start + b.pairs * size, b.gradient, size, lane)
    enter(book.second, start + (b.pairs + 1) * size, b.correction, size, lane)
    start += (b.pairs + 2) * size
    enter(book.second, start, b.scale, b.scale_rows, lane)
    enter(book.second, start + b.scale_rows, b.rho, b.pairs, lane)
    enter(book.second, start + b.scale_rows + b.pairs, b.state, SAVED, lane)
    state = state_in_lane(b.state, lane)
    state.needs_direction = 1.0
    state.size = book.size[run]
    for p in range(size):
        b.direction[p * L + lane] = 0.0
    column = 0
    while column < snapshots and book.snapshots[column] <= state.step:
        column += 1
    state.column = column


@inlined
def go_out(b, book, size, lane):
    """The run of a lane goes back to its memory."""
    run = b.run[lane]
    b.run[lane] = -1
    leave(book.params, run * size, b.x, size, lane)
    leave(book.first, run * b.pairs * size, b.steps, b.pairs * size, lane)
    start = run * book.length
    leave(book.second, start, b.changes, b.pairs * size, lane)
    leave(book.second, start + b.pairs * size, b.gradient, size, lane)
    leave(book.second, start + (b.pairs + 1) * size, b.correction, size, lane)
    start += (b.pairs + 2) * size
    leave(book.second, start, b.scale, b.scale_rows, lane)
    leave(book.second, start + b.scale_rows, b.rho, b.pairs, lane)
    leave(book.second, start + b.scale_rows + b.pairs, b.state, SAVED, lane)


@inlined
def forget(b, size, lane):
    """Clear the pairs of a lane; a pair of zeros changes no direction."""
    for p in range(b.pairs * size):
        b.steps[p * L + lane] = 0.0
        b.changes[p * L + lane] = 0.0
    for k in range(b.pairs):
        b.rho[k * L + lane] = 0.0
