"""What L-BFGS remembers of each run, and the working memory in which eight of them are lanes.

A run is scattered into a lane when it comes in, and gathered into its own memory when it leaves; between two steps that
memory is all there is, so that training can be cut after any step and runs can change lanes.
"""

from __future__ import annotations

import zlib
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from tegum.core.compiled.compile import inlined
from tegum.core.compiled.lanes import WIDE_LANES as L
from tegum.core.population.kernel.memory import scale_rows
from tegum.core.population.kernel.tables import aligned
from tegum.training.exact.kernels import search as row
from tegum.training.exact.kernels.probe import enter, leave

_MOST_PAIRS, _FEWEST_PAIRS, _MANY = 20, 10, 256
"""Pairs of a step and a change of the gradient that are remembered: of models with many parameters fewer."""

ANCHOR, DESCEND, CHECK, CONVERGED, STALLED, DIVERGED = 0.0, 1.0, 2.0, 3.0, 4.0, 5.0
"""What comes next for a run: the loss with a fresh scale; steps; the gradient with more frequencies; or nothing."""


class Book(NamedTuple):
    """Memory of all runs, contiguous in each, flat. P is the number of parameters."""

    params: Float[np.ndarray, " run_P"]
    first: Float[np.ndarray, " run_pairs_P"]
    """The steps, newest first."""
    second: Float[np.ndarray, " run_memory"]
    """Changes of the gradient (pairs, P), gradient (P), c (P), scale, 1 / (s·y) (pairs), and scalars."""
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
    trial_gradient: Float[np.ndarray, " _"]
    steps: Float[np.ndarray, " _"]
    changes: Float[np.ndarray, " _"]
    rho: Float[np.ndarray, " _"]
    scale: Float[np.ndarray, " _"]
    fresh: Float[np.ndarray, " _"]
    table: Float[np.ndarray, " _"]
    spare: Float[np.ndarray, " _"]
    shares: Float[np.ndarray, " _"]
    value: Float[np.ndarray, " _"]
    error: Float[np.ndarray, " _"]
    slope: Float[np.ndarray, " _"]
    square: Float[np.ndarray, " _"]
    accept: Float[np.ndarray, " _"]
    keep: Float[np.ndarray, " _"]
    anchor: Float[np.ndarray, " _"]
    grow: Float[np.ndarray, " _"]
    least: Float[np.ndarray, " _"]
    most: Float[np.ndarray, " _"]
    scalars: Float[np.ndarray, " _"]


def pairs(parameters: int) -> int:
    """How many pairs are remembered."""
    return _MOST_PAIRS if parameters <= _MANY else _FEWEST_PAIRS


def length(parameters: int, features: int) -> int:
    """How many numbers of `Book.second` belong to a run."""
    return (pairs(parameters) + 2) * parameters + scale_rows(features) + pairs(parameters) + row.SAVED


def block(parameters: int, features: int, rows: int) -> Block:
    """Working memory for one thread and groups of these sizes; a table has so many rows."""
    p, n, m, one = parameters * L, scale_rows(features) * L, pairs(parameters) * L, L
    sizes = [p] * 6 + [m * parameters] * 2 + [m, n, n, rows * L, features * L, m] + [one] * 10 + [row.SCALARS * L]
    return Block(pairs(parameters), scale_rows(features), np.full(L, -1), *map(aligned, sizes))


def digests(params: Float[np.ndarray, "run P"]) -> Float[np.ndarray, " run"]:
    """A number for the parameters of each run, by which it is seen that they are those that were left."""
    return np.array([zlib.crc32(each.tobytes()) for each in params], np.float64)


def begin(
    first: Float[np.ndarray, "run _first"],
    second: Float[np.ndarray, "run _second"],
    params: Float[np.ndarray, "run P"],
    runs: Int[np.ndarray, " some"],
    step: int,
    frequencies: int,
) -> None:
    """Let some runs start at a step, with so many frequencies, from where they are: they remember nothing."""
    first[runs], second[runs] = 0, 0
    scalars = second[:, -row.SAVED :]
    scalars[runs, row.PHASE] = ANCHOR
    scalars[runs, row.STEP] = scalars[runs, row.MARK_STEP] = step
    scalars[runs, row.LEVEL] = scalars[runs, row.FINE] = frequencies
    scalars[runs, row.MARK_NORM] = np.inf
    scalars[runs, row.DIGEST] = digests(params[runs])


@inlined
def come_in(b, book, tables, rows, size, lane, run, snapshots):
    """A run comes into a lane."""
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
    enter(book.second, start + b.scale_rows + b.pairs, b.scalars, row.SAVED, lane)
    b.scalars[row.NEEDS * L + lane] = 1.0
    b.scalars[row.SIZE * L + lane] = book.size[run]
    for p in range(size):
        b.direction[p * L + lane] = 0.0
    column = 0
    while column < snapshots and book.snapshots[column] <= b.scalars[row.STEP * L + lane]:
        column += 1
    b.scalars[row.COLUMN * L + lane] = column


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
    leave(book.second, start + b.scale_rows + b.pairs, b.scalars, row.SAVED, lane)


@inlined
def forget(b, size, lane):
    """Clear the pairs of a lane; a pair of zeros changes no direction."""
    for p in range(b.pairs * size):
        b.steps[p * L + lane] = 0.0
        b.changes[p * L + lane] = 0.0
    for k in range(b.pairs):
        b.rho[k * L + lane] = 0.0
