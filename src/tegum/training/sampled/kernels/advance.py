"""Many steps of many runs: the main loop of each thread in sampled training."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Int, UInt32

from tegum.core.compiled.compile import inlined, kernel
from tegum.core.compiled.lanes import LANES, count_lanes, fma, is_set, load, pointers, splat, sqrt, store, totals
from tegum.core.compiled.tiles import VECTOR
from tegum.core.stopping import current
from tegum.training.sampled.kernels.draw import STREAM_WORDS, draw_block, draw_count, next_groups, row_stride
from tegum.training.sampled.kernels.pairs import (
    LEAST_HIDDEN,
    MOST_SHARE,
    accumulate_pairs,
    add_rows,
    columns_to_rows,
    list_pairs,
    project_pairs,
    rows_to_columns,
)
from tegum.training.sampled.kernels.step import accumulate, outputs, project

if TYPE_CHECKING:
    from tegum.training.spec.optimisers import Rule

ADAMW, SGD = 0, 1
SAMPLED_UPDATES: dict[Rule, int] = {"adam": ADAMW, "momentum": SGD}
"""The number of each update rule in the kernel of sampled training."""

_MOST_BLOCK_BYTES = 64 * 1024
_MOST_GROUPS, _FEWEST_GROUPS = 64, 8


class TrainingPlan(NamedTuple):
    """What stays constant during a call: shapes, settings, and which run has which."""

    features: int
    hidden: int
    batch: int
    evaluation_batches: int
    """Batches in the evaluation sample."""
    floor: float
    """The activation is max(z, floor)."""
    optimiser: int
    distribution: Int[np.ndarray, " run"]
    setting: Int[np.ndarray, " run"]
    """The row of the settings below with which each run trains."""
    rate: Float[np.ndarray, "setting step"]
    """Learning rate at each step of this call, schedule included."""
    correction1: Float[np.ndarray, "setting step"]
    """1 − β₁^(step + 1)."""
    correction2: Float[np.ndarray, "setting step"]
    beta1: Float[np.ndarray, " setting"]
    """AdamW's β₁; SGD's momentum."""
    beta2: Float[np.ndarray, " setting"]
    eps: Float[np.ndarray, " setting"]
    weight_decay: Float[np.ndarray, " setting"]


class RunArrays(NamedTuple):
    """The state of all runs, changed in place."""

    weights: Float32[np.ndarray, "run feature hidden"]
    bias: Float32[np.ndarray, "run feature"]
    first: Float32[np.ndarray, "run parameter"]
    """First moments (or SGD's momentum) of the weights, row by row, then of the bias."""
    second: Float32[np.ndarray, "run parameter"]
    stream: UInt32[np.ndarray, "run word"]
    evaluation_stream: UInt32[np.ndarray, "run word"]
    diverged_at: Int[np.ndarray, " run"]


class Record(NamedTuple):
    """Where snapshots are written: the one at steps[k] into column k."""

    steps: Int[np.ndarray, " snapshot"]
    weights: Float32[np.ndarray, "run snapshot feature hidden"]
    bias: Float32[np.ndarray, "run snapshot feature"]
    loss: Float[np.ndarray, "run snapshot"]


class _Scratch(NamedTuple):
    """Working memory of one thread: flat float32 arrays that start on a cache line."""

    x: Float32[np.ndarray, " _"]
    dz: Float32[np.ndarray, " _"]
    h: Float32[np.ndarray, " _"]
    dh: Float32[np.ndarray, " _"]
    lanes: Float32[np.ndarray, " _"]
    """Gradient (parameter, lanes), packed like the parameters, before its lanes are summed."""
    dw: Float32[np.ndarray, " _"]
    """The part of `lanes` that belongs to the weights."""
    db: Float32[np.ndarray, " _"]
    """The part of `lanes` that belongs to the bias."""
    values: Float32[np.ndarray, " _"]
    """Weights, then bias; packed like all parameters."""
    first: Float32[np.ndarray, " _"]
    second: Float32[np.ndarray, " _"]
    gradient: Float32[np.ndarray, " _"]
    bias: Float32[np.ndarray, " _"]
    """The part of `values` that is the bias."""
    h_rows: Float32[np.ndarray, " _"]
    dh_rows: Float32[np.ndarray, " _"]
    dw_rows: Float32[np.ndarray, " _"]
    """See `pairs`; zero between steps."""
    x_first: Int[np.ndarray, " _"]
    x_sample: UInt32[np.ndarray, " _"]
    x_value: Float32[np.ndarray, " _"]
    dz_first: Int[np.ndarray, " _"]
    dz_sample: UInt32[np.ndarray, " _"]
    dz_value: Float32[np.ndarray, " _"]
    stream: UInt32[np.ndarray, " _"]
    evaluation_stream: UInt32[np.ndarray, " _"]
    stop: Int[np.ndarray, " 1"]
    """The flag of the call: see `tegum.core.stopping`."""


def block_groups(features: int) -> int:
    """Groups of sixteen samples in a block, so few that inputs and residuals stay in the fastest caches."""
    fitting = _MOST_BLOCK_BYTES // (2 * 4 * LANES * features)
    return min(max(fitting // 2 * 2, _FEWEST_GROUPS), _MOST_GROUPS)


def scratch(features: int, hidden: int) -> _Scratch:
    """Working memory for one thread, and the flag of the call that it works for."""
    groups = block_groups(features)
    width, row = (groups + 1) * LANES, -(-hidden // LANES) * LANES
    # A list is given up at the end of the feature with which it is too long.
    pairs = int(MOST_SHARE * features * width) + width + LANES
    # Rows of the weights are read sixteen values at a time, so the last read runs past them, into the bias or beyond.
    parameters = -(-max(features * (hidden + 1), features * hidden + row) // LANES) * LANES
    values, lanes = _aligned(parameters), _aligned(parameters * VECTOR)
    return _Scratch(
        x=_aligned(features * width),
        dz=_aligned(features * width),
        h=_aligned(row * width),
        dh=_aligned(row * width),
        lanes=lanes,
        dw=lanes[: features * hidden * VECTOR],
        db=lanes[features * hidden * VECTOR :],
        values=values,
        first=_aligned(parameters),
        second=_aligned(parameters),
        gradient=_aligned(parameters),
        bias=values[features * hidden :],
        h_rows=_aligned(width * row),
        dh_rows=_aligned(width * row),
        dw_rows=_aligned(features * row),
        x_first=np.zeros(features + 1, np.int64),
        x_sample=np.zeros(pairs, np.uint32),
        x_value=_aligned(pairs),
        dz_first=np.zeros(features + 1, np.int64),
        dz_sample=np.zeros(pairs, np.uint32),
        dz_value=_aligned(pairs),
        stream=_aligned(STREAM_WORDS, np.uint32),
        evaluation_stream=_aligned(STREAM_WORDS, np.uint32),
        stop=current().flag,
    )


def _aligned(size: int, dtype: type = np.float32) -> np.ndarray:
    """Zeros that start on a cache line: lanes that straddle two lines load at half the rate."""
    spare = np.zeros(size + LANES, dtype)
    first = -spare.ctypes.data % 64 // spare.itemsize
    return spare[first : first + size]


@inlined
def padded(hidden):
    """The length of a row over the hidden dimension: see `pairs`."""
    return -(-hidden // LANES) * LANES


@inlined
def _pack(weights, bias, target, features, hidden):
    """Weights (feature, hidden) and bias of one run into scratch."""
    for i in range(features):
        for k in range(hidden):
            target[i * hidden + k] = weights[i * hidden + k]
        target[features * hidden + i] = bias[i]


@inlined
def _unpack(source, weights, bias, features, hidden):
    for i in range(features):
        for k in range(hidden):
            weights[i * hidden + k] = source[i * hidden + k]
        bias[i] = source[features * hidden + i]


@kernel
def _pass(tables, s, features, hidden, batch, floor, distribution, most_groups, stream, train):
    """Draw a batch and return its summed loss; if `train`, add its gradient, in lanes, to s.dw and s.db.

    For a large model one block takes a good part of a second, so the flag is checked between its parts. NaN is returned
    once it is raised.
    """
    loss = 0.0
    samples = draw_count(tables, distribution, batch, stream)
    done = 0
    while done < samples:
        groups = next_groups(samples - done, most_groups)
        width, stride = groups * LANES, row_stride(groups)
        draw_block(tables, distribution, features, done, samples, stream, s.x, groups, stride)
        if is_set(s.stop):
            return math.nan
        listed = _to_hidden(s, features, hidden, width, stride)
        if is_set(s.stop):
            return math.nan
        loss += outputs(s, tables.importance, distribution * features, floor, features, hidden, width, stride)
        if is_set(s.stop):
            return math.nan
        if train:
            _add_gradient(s, features, hidden, width, stride, listed)
        done += width
    # Samples not drawn have nothing active, and nor have lanes beyond the batch.
    return loss + _pass_empty(tables, s, features, batch - done, floor, distribution)


@inlined
def _to_hidden(s, features, hidden, width, stride):
    """Compute h = Wᵀ x, and give whether the non-zero values of x are few, and have been listed for that."""
    row, listed = padded(hidden), False
    if hidden >= LEAST_HIDDEN:
        listed = list_pairs(s.x, features, width, stride, s.x_first, s.x_sample, s.x_value)
    if listed:
        project_pairs(s.values, s.h_rows, features, hidden, row, width, s.x_first, s.x_sample, s.x_value)
        rows_to_columns(s.h_rows, s.h, row, width, stride)
    else:
        project(s.values, s.x, s.h, features, hidden, width, stride)
    return listed


@inlined
def _add_gradient(s, features, hidden, width, stride, listed):
    """Add dW = dzᵀ h + xᵀ dh to s.dw, or to s.dw_rows what comes of lists; `listed` says whether x is in one.

    It may stop in the middle once the flag is raised.
    """
    row = padded(hidden)
    if listed and list_pairs(s.dz, features, width, stride, s.dz_first, s.dz_sample, s.dz_value):
        project_pairs(s.values, s.dh_rows, features, hidden, row, width, s.dz_first, s.dz_sample, s.dz_value)
        accumulate_pairs(s.dw_rows, s.h_rows, features, hidden, row, s.dz_first, s.dz_sample, s.dz_value)
    else:
        project(s.values, s.dz, s.dh, features, hidden, width, stride)
        if not is_set(s.stop):
            accumulate(s.dw, s.dz, s.h, features, hidden, width, stride)
        if listed:
            columns_to_rows(s.dh, s.dh_rows, row, width, stride)
    if is_set(s.stop):
        pass
    elif listed:
        accumulate_pairs(s.dw_rows, s.dh_rows, features, hidden, row, s.x_first, s.x_sample, s.x_value)
    else:
        accumulate(s.dw, s.x, s.dh, features, hidden, width, stride)


@inlined
def _pass_empty(tables, s, features, empty, floor, distribution):
    """The summed loss of `empty` samples in which nothing is active; adds their gradient to s.db.

    Their number is negative where lanes beyond the batch have been counted, which are such samples.
    """
    loss = 0.0
    if empty != 0:
        for j in range(features):
            z = s.bias[j]
            importance = tables.importance[distribution * features + j]
            out = max(z, floor)
            loss += empty * float(importance) * float(out) * float(out)
            if z > floor:
                s.db[j * VECTOR] += np.float32(2 * empty) * importance * out
    return loss


@inlined
def _adamw(s, size, rate, decay, beta1, beta2, eps, correction1, correction2):
    """Decoupled weight decay and bias-corrected moments (Loshchilov & Hutter 2019), as PyTorch orders them."""
    keep = splat(np.float32(1 - rate * decay))
    old1, new1 = splat(np.float32(beta1)), splat(np.float32(1 - beta1))
    old2, new2 = splat(np.float32(beta2)), splat(np.float32(1 - beta2))
    step = splat(np.float32(-rate / correction1))
    scale, small = splat(np.float32(1 / math.sqrt(correction2))), splat(np.float32(eps))
    for p in range(0, size, LANES):
        g = load(s.gradient, p)
        first = fma(load(s.first, p), old1, g * new1)
        second = fma(load(s.second, p), old2, g * g * new2)
        store(s.first, p, first)
        store(s.second, p, second)
        store(s.values, p, fma(step, first / fma(sqrt(second), scale, small), load(s.values, p) * keep))


@inlined
def _sgd(s, size, rate, decay, momentum):
    """Coupled weight decay and heavy-ball momentum, as PyTorch orders them."""
    decayed, kept, step = splat(np.float32(decay)), splat(np.float32(momentum)), splat(np.float32(-rate))
    for p in range(0, size, LANES):
        value = load(s.values, p)
        velocity = fma(kept, load(s.first, p), fma(decayed, value, load(s.gradient, p)))
        store(s.first, p, velocity)
        store(s.values, p, fma(step, velocity, value))


@inlined
def _gradient(s, size, share):
    """Add up the lanes: the gradient, packed like the parameters, times `share`."""
    scale = splat(np.float32(share))
    for p in range(0, size, LANES):
        store(s.gradient, p, totals(s.lanes, p * VECTOR) * scale)


@inlined
def _clear(array, size):
    nothing = splat(np.float32(0))
    for p in range(0, size, LANES):
        store(array, p, nothing)


@inlined
def _all_finite(array, size):
    """Whether all parameters are finite: only then is x − x zero."""
    zero = splat(np.float32(0))
    for p in range(0, size, LANES):
        values = load(array, p)
        if count_lanes((values - values) != zero) > 0:
            return False
    return True


@kernel
def _evaluate(tables, s, features, hidden, batch, batches, floor, distribution, most_groups, start):
    """Mean loss over the evaluation sample, which begins at `start` in a stream of its own."""
    for word in range(STREAM_WORDS):
        s.evaluation_stream[word] = start[word]
    loss = 0.0
    for _ in range(batches):
        if is_set(s.stop):
            return math.nan
        loss += _pass(
            tables, s, features, hidden, batch, floor, distribution, most_groups, s.evaluation_stream, False
        )  # fmt: skip
    return loss / (batches * batch)


@kernel
def advance(tables, plan, runs, record, first_run, last_run, start, stop, most_groups, scratch_arrays):
    """Train runs first_run … last_run − 1 from step `start` to `stop`, in place.

    Snapshots from `start` to `stop` are recorded. A run whose loss (of a batch or of a
    snapshot) is not finite, or whose parameters or moments are not at a snapshot, gets `diverged_at`, and NaN in its
    later snapshots.

    Once the flag of `scratch_arrays` is raised it returns soon, and what it has written must be discarded.
    """
    tables, s = pointers(tables), pointers(scratch_arrays)
    if plan.optimiser != ADAMW and plan.optimiser != SGD:
        raise ValueError("the plan's optimiser must be one of SAMPLED_UPDATES")
    size = scratch_arrays.values.size
    for run in range(first_run, last_run):
        _load_run(s, runs, run, size, plan.features, plan.hidden)
        column = 0
        if runs.diverged_at[run] < 0:
            column = _train(tables, plan, runs, record, run, start, stop, most_groups, s, size)
        if is_set(s.stop):
            return
        if runs.diverged_at[run] >= 0:
            # Recorded snapshots stay, including one at the step whose batch then showed the divergence.
            for late in range(column, record.steps.size):
                record.weights[run, late] = np.nan
                record.bias[run, late] = np.nan
                record.loss[run, late] = np.nan
        _store_run(s, runs, run, plan.features, plan.hidden)


@inlined
def _load_run(s, runs, run, size, features, hidden):
    """Copy the state of a run into scratch."""
    split = features * hidden
    # A diverged run may have left anything here.
    _clear(s.values, size)
    _clear(s.first, size)
    _clear(s.second, size)
    _clear(s.dw_rows, features * padded(hidden))
    _pack(runs.weights[run].ravel(), runs.bias[run], s.values, features, hidden)
    _pack(runs.first[run], runs.first[run, split:], s.first, features, hidden)
    _pack(runs.second[run], runs.second[run, split:], s.second, features, hidden)
    for word in range(STREAM_WORDS):
        s.stream[word] = runs.stream[run, word]


@inlined
def _store_run(s, runs, run, features, hidden):
    """Copy scratch into the state of a run."""
    split = features * hidden
    _unpack(s.values, runs.weights[run].ravel(), runs.bias[run], features, hidden)
    _unpack(s.first, runs.first[run], runs.first[run, split:], features, hidden)
    _unpack(s.second, runs.second[run], runs.second[run, split:], features, hidden)
    for word in range(STREAM_WORDS):
        runs.stream[run, word] = s.stream[word]


@inlined
def _train(tables, plan, runs, record, run, start, stop, most_groups, s, size):
    """Train the run in scratch and record it; give the number of its snapshots. It sets `diverged_at` if need be."""
    features, hidden, batch, floor = plan.features, plan.hidden, plan.batch, np.float32(plan.floor)
    distribution, setting = plan.distribution[run], plan.setting[run]
    step, column, going = start, 0, True
    while going:
        if column < record.steps.size and record.steps[column] == step:
            _unpack(s.values, record.weights[run, column].ravel(), record.bias[run, column], features, hidden)
            loss = _evaluate(
                tables, s, features, hidden, batch, plan.evaluation_batches, floor, distribution, most_groups,
                runs.evaluation_stream[run],
            )  # fmt: skip
            record.loss[run, column] = loss
            # Where the mean square of a gradient overflows, AdamW would stand still for ever.
            going = math.isfinite(loss) and _all_finite(s.values, size) and _all_finite(s.second, size)
            column += going
        if going and step < stop:
            _clear(s.lanes, size * VECTOR)
            loss = _pass(tables, s, features, hidden, batch, floor, distribution, most_groups, s.stream, True)
            going = math.isfinite(loss)
            if going:
                _update(plan, s, size, setting, step - start)
                step += 1
        elif going:
            return column
        if is_set(s.stop):
            return column
    runs.diverged_at[run] = step
    return column


@inlined
def _update(plan, s, size, setting, at):
    """Take the gradient out of the lanes, and step number `at` of this call."""
    _gradient(s, size, 1 / plan.batch)
    if plan.hidden >= LEAST_HIDDEN:
        add_rows(s.gradient, s.dw_rows, plan.features, plan.hidden, padded(plan.hidden), np.float32(1 / plan.batch))
    rate, decay = plan.rate[setting, at], plan.weight_decay[setting]
    if plan.optimiser == ADAMW:
        _adamw(
            s, size, rate, decay, plan.beta1[setting], plan.beta2[setting], plan.eps[setting],
            plan.correction1[setting, at], plan.correction2[setting, at],
        )  # fmt: skip
    elif plan.optimiser == SGD:
        _sgd(s, size, rate, decay, plan.beta1[setting])
