"""The kernels of the population loss as functions that compiled JAX programs call, by `tegum.core.compiled.xla_ffi`."""

from __future__ import annotations

import functools
import threading
from collections.abc import Sequence
from typing import Any, get_type_hints

import numpy as np
from jaxtyping import Float, Int64
from llvmlite import ir
from numba.core import types
from numba.core.ccallback import CFunc

from tegum.core.compiled.compile import inlined, kernel
from tegum.core.compiled.lanes import WIDE_LANES as L
from tegum.core.compiled.lanes import is_set, pointer_at
from tegum.core.compiled.xla_ffi import (
    ARGUMENT_COUNT,
    ARGUMENTS,
    BUFFER_DATA,
    FLOAT64,
    INT64,
    RESULT_COUNT,
    RESULTS,
    asked_for_version,
    has,
    known_to_xla,
    length,
    numbers,
    operation,
    places,
    refused,
    text,
    words,
)
from tegum.core.population.kernel.evaluate import evaluate, refresh_scale
from tegum.core.population.kernel.memory import RECORD, STATE, Scratch, aligned
from tegum.core.population.kernel.rows import ListedRows, evaluate_rows, room_for_rows
from tegum.core.population.kernel.tables import Plan, frequencies
from tegum.core.stopping import Stop

GRADIENT, SLOPES = "tegum_population_gradient", "tegum_population_slopes"
FINITE_GRADIENT = "tegum_finite_gradient"
"""The names under which XLA knows them."""

_STEP = 2.0**-23
"""Of the differences, relative to what is displaced. The error of a slope is about this part of it: enough for Newton's
method, and one model for each parameter in place of the two of a central difference."""
_LEAST = 1e-3
"""Rows of weights smaller than this part of the largest weight are displaced as if they were so large."""

# Words of a block's description.
_TABLE, _SERIES, _COUNT, _COARSE, _COARSE_COUNT, _STOP, _PLAN = range(7)


_GRADIENT_RULE = text(
    f"{GRADIENT} takes the parameters of 8 models, float64 of shape (8, P), and the address of their block, int64, and "
    "gives float64 of shape (8, P + 2), where P is the number of parameters that the block says"
)
_SLOPES_RULE = text(
    f"{SLOPES} takes the parameters of one model, float64 of shape (P,), the address of its block, int64, and its lane "
    "of 0 to 7, int64, and gives float64 of shape (P, P), where P is the number of parameters that the block says"
)

# Words of a finite population's description.
_FEATURES, _HIDDEN, _SAMPLES, _FLOOR, _FIRST, _PLACE, _VALUE, _IMPORTANCE, _FLAG, _ROOM = range(10)

_FINITE_RULE = text(
    f"{FINITE_GRADIENT} takes the parameters of models, float64 of shape (model, P), and the address of their "
    "population, int64, and gives float64 of shape (model, P + 1), where P is the number of parameters that the "
    "population says"
)

_IS_NUMBER = [kind is int for kind in get_type_hints(Plan).values()]
"""Of the fields of a `Plan`, which are numbers; the others are arrays of int64."""


@operation
def _plan_at(typingctx: Any, start: Any) -> Any:  # noqa: ARG001
    """The `Plan` of which one word after the other is a number or the address of an array."""
    items = [types.int64 if number else types.CPointer(types.int64) for number in _IS_NUMBER]
    result = types.NamedTuple(items, Plan)

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        word = ir.IntType(64)
        values = []
        for k, number in enumerate(_IS_NUMBER):
            value = builder.load(builder.gep(args[0], [ir.Constant(word, k)]))
            values.append(value if number else builder.inttoptr(value, word.as_pointer()))
        return context.make_tuple(builder, sig.return_type, values)

    return result(start), emit


@inlined
def _block(frame, arguments):
    """The address of the block's description; 0 if the number of buffers is wrong, or the second is not an address."""
    block = 0
    if frame[ARGUMENT_COUNT] == arguments and frame[RESULT_COUNT] == 1:
        buffer = words(words(frame[ARGUMENTS])[1])
        if has(buffer, INT64, 1) and length(buffer, 0) == 1:
            block = words(buffer[BUFFER_DATA])[0]
    return block


@inlined
def _room(plan):
    """Numbers of memory for one call, and for reaching a cache line."""
    return (2 * plan.features * (plan.hidden + 1) + plan.features * (1 + plan.features + RECORD) + STATE + 2) * L + L


@inlined
def _parts(plan, room, block):
    """Parameters, gradient, scale, value, error and scratch in lanes, each on a cache line of `room`."""
    start = -room.ctypes.data % 64 // 8
    size, n = plan.features * (plan.hidden + 1) * L, plan.features * L
    lanes, slope = pointer_at(room, start), pointer_at(room, start + size)
    start += 2 * size
    rows = n * (1 + plan.features)
    scale, value, error = pointer_at(room, start), pointer_at(room, start + rows), pointer_at(room, start + rows + L)
    start += rows + 2 * L
    scratch = Scratch(pointer_at(room, start), pointer_at(room, start + n * RECORD), words(block[_STOP]))
    return lanes, slope, scale, value, error, scratch


@kernel
def _gradient(frame):
    """∂L/∂θ of eight models, and L and its error: θ (8, P) and a block's address to (8, P + 2)."""
    if asked_for_version(frame):
        return 0
    address = _block(frame, 2)
    if address == 0:
        return refused(frame, _GRADIENT_RULE())
    block = words(address)
    plan = _plan_at(pointer_at(block, _PLAN))
    parameters = plan.features * (plan.hidden + 1)
    given, made = words(words(frame[ARGUMENTS])[0]), words(words(frame[RESULTS])[0])
    if not (has(given, FLOAT64, 2) and has(made, FLOAT64, 2)):
        return refused(frame, _GRADIENT_RULE())
    if length(given, 0) != L or length(given, 1) != parameters:
        return refused(frame, _GRADIENT_RULE())
    if length(made, 0) != L or length(made, 1) != parameters + 2:
        return refused(frame, _GRADIENT_RULE())
    theta, result = numbers(given[BUFFER_DATA]), numbers(made[BUFFER_DATA])
    table, series, count = numbers(block[_TABLE]), numbers(block[_SERIES]), block[_COUNT]
    room = np.empty(_room(plan))
    lanes, slope, scale, value, error, scratch = _parts(plan, room, block)
    for lane in range(L):
        for i in range(parameters):
            lanes[i * L + lane] = theta[lane * parameters + i]
    refresh_scale(plan, lanes, scale, scratch)
    evaluate(plan, table, series, count, lanes, scale, value, slope, error, scratch)
    for lane in range(L):
        row = lane * (parameters + 2)
        for i in range(parameters):
            result[row + i] = slope[i * L + lane]
        result[row + parameters] = value[lane]
        result[row + parameters + 1] = error[lane]
    room[0] = 0.0  # as above
    return 0


@kernel
def _slopes(frame):
    """∂²L/∂θ∂θ of one model by differences: θ (P,), a block's address and a lane to (P, P).

    Eight columns are found side by side, all in lanes with the numbers of the model's own.
    """
    if asked_for_version(frame):
        return 0
    address = _block(frame, 3)
    if address == 0:
        return refused(frame, _SLOPES_RULE())
    block = words(address)
    plan = _plan_at(pointer_at(block, _PLAN))
    parameters = plan.features * (plan.hidden + 1)
    arguments = words(frame[ARGUMENTS])
    given, number, made = words(arguments[0]), words(arguments[2]), words(words(frame[RESULTS])[0])
    if not _fit_slopes(given, number, made, parameters):
        return refused(frame, _SLOPES_RULE())
    own = words(number[BUFFER_DATA])[0]
    theta, result = numbers(given[BUFFER_DATA]), numbers(made[BUFFER_DATA])
    tables, series, count = numbers(block[_TABLE]), numbers(block[_COARSE]), block[_COARSE_COUNT]
    room, spare = np.empty(_room(plan)), np.empty((plan.rows + 1) * L)
    lanes, slope, scale, value, error, scratch = _parts(plan, room, block)
    table = pointer_at(spare, -spare.ctypes.data % 64 // 8)
    for lane in range(L):
        _copy_lane(tables, own, table, lane, plan.rows)
        for i in range(parameters):
            lanes[i * L + lane] = theta[i]
    # One scale for all: what the series is off by then varies as smoothly as the loss.
    refresh_scale(plan, lanes, scale, scratch)
    steps, base = np.empty(parameters), np.empty(parameters)
    _fill_steps(plan, theta, scale, steps)
    # Model 0 is the one itself, model k has parameter k − 1 displaced.
    for first in range(0, parameters + 1, L):
        if is_set(scratch.stop):
            break
        for lane in range(L):
            column = first + lane - 1
            if 0 <= column < parameters:
                lanes[column * L + lane] += steps[column]
        evaluate(plan, table, series, count, lanes, scale, value, slope, error, scratch)
        if first == 0:
            for i in range(parameters):
                base[i] = slope[i * L]
        for lane in range(L):
            column = first + lane - 1
            if 0 <= column < parameters:
                # As it was rounded: a difference is divided by the step that was taken.
                moved = lanes[column * L + lane] - theta[column]
                lanes[column * L + lane] = theta[column]
                _write_column(result, column, slope, lane, base, moved, parameters)
    room[0], spare[0] = 0.0, 0.0
    return 0


@inlined
def _fit_slopes(given, number, made, parameters):
    """Whether the buffers are those of which the rule speaks."""
    fit = has(given, FLOAT64, 1) and has(number, INT64, 0) and has(made, FLOAT64, 2)
    if fit:
        own = words(number[BUFFER_DATA])[0]
        square = length(made, 0) == parameters and length(made, 1) == parameters
        fit = length(given, 0) == parameters and 0 <= own < L and square
    return fit


@inlined
def _copy_lane(source, its_lane, target, lane, rows):
    """Copy the numbers of a lane to another one."""
    for row in range(rows):
        target[row * L + lane] = source[row * L + its_lane]


@inlined
def _write_column(result, column, slope, lane, base, moved, parameters):
    """Write the difference of two gradients, over the step between them, to a column of the result."""
    for i in range(parameters):
        result[i * parameters + column] = (slope[i * L + lane] - base[i]) / moved


@inlined
def _fill_steps(plan, theta, scale, steps):
    """By how much each parameter is displaced: in proportion to the largest of its row of weights, or to M."""
    n, hidden = plan.features, plan.hidden
    largest = 0.0
    for i in range(n * hidden):
        largest = max(largest, abs(theta[i]))
    for i in range(n):
        size = _LEAST * largest
        for k in range(i * hidden, (i + 1) * hidden):
            size = max(size, abs(theta[k]))
        for k in range(i * hidden, (i + 1) * hidden):
            steps[k] = _STEP * (size if size > 0 else 1.0)
        steps[n * hidden + i] = _STEP * scale[i * L]


@kernel
def _finite_gradient(frame):
    """∂L/∂θ of models, one after the other, and L: θ (model, P) and a population's address to (model, P + 1)."""
    if asked_for_version(frame):
        return 0
    address = _block(frame, 2)
    if address == 0:
        return refused(frame, _FINITE_RULE())
    words_of = words(address)
    n, hidden = words_of[_FEATURES], words_of[_HIDDEN]
    parameters = n * (hidden + 1)
    given, made = words(words(frame[ARGUMENTS])[0]), words(words(frame[RESULTS])[0])
    if not (has(given, FLOAT64, 2) and has(made, FLOAT64, 2)):
        return refused(frame, _FINITE_RULE())
    models = length(given, 0)
    if length(given, 1) != parameters or length(made, 0) != models or length(made, 1) != parameters + 1:
        return refused(frame, _FINITE_RULE())
    floor = numbers(address + 8 * _FLOOR)[0]
    first, place, value = words(words_of[_FIRST]), places(words_of[_PLACE]), numbers(words_of[_VALUE])
    rows = ListedRows(n, hidden, words_of[_SAMPLES], floor, first, place, value)
    theta, result = numbers(given[BUFFER_DATA]), numbers(made[BUFFER_DATA])
    importance, stop = numbers(words_of[_IMPORTANCE]), words(words_of[_FLAG])
    memory = np.empty(words_of[_ROOM] + L)
    room = pointer_at(memory, -memory.ctypes.data % 64 // 8)
    for model in range(models):
        slope = pointer_at(result, model * (parameters + 1))
        slope[parameters] = evaluate_rows(
            rows, pointer_at(theta, model * parameters), importance, slope, room, stop
        )  # fmt: skip
    memory[0] = 0.0  # numba frees an array after its last use, and does not track the address
    return 0


_registering = threading.Lock()


def register() -> None:
    """Make those of the series known to XLA; once in a process."""
    with _registering:
        _register()


@functools.cache
def _register() -> list[CFunc]:
    return [known_to_xla(GRADIENT, _gradient), known_to_xla(SLOPES, _slopes)]


def register_finite() -> None:
    """Make that of finite populations known to XLA; once in a process."""
    with _registering:
        _register_finite()


@functools.cache
def _register_finite() -> CFunc:
    return known_to_xla(FINITE_GRADIENT, _finite_gradient)


class Population:
    """A finite population, as the function receives it: an address, and what lies there."""

    def __init__(self, rows: ListedRows, importance: Float[np.ndarray, " feature"], stop: Stop) -> None:
        """Describe a population, the importances of its features, and the flag that makes the function return soon."""
        arrays = rows.first, rows.place, rows.value, np.ascontiguousarray(importance), stop.flag
        words_of = np.array(
            [
                rows.features, rows.hidden, rows.samples, 0, *(each.ctypes.data for each in arrays),
                room_for_rows(rows.features, rows.hidden),
            ],
            np.int64,
        )  # fmt: skip
        words_of[_FLOOR] = np.array([rows.floor]).view(np.int64)[0]
        self._kept = arrays, words_of
        self.address: Int64[np.ndarray, " 1"] = np.array([words_of.ctypes.data], np.int64)
        """What the function takes, int64 of shape (1,); the population must live as long as it is used."""


class RunBlock:
    """Eight runs of one structure, as the two functions receive them: an address, and what lies there."""

    def __init__(
        self,
        plan: Plan,
        columns: Sequence[Float[np.ndarray, " row"]],
        count: int,
        coarse: int,
        stop: Stop | None = None,
    ) -> None:
        """Describe up to eight runs.

        Args:
            plan: their structure.
            columns: each run's column of a table of `tables.groups`; the last one is repeated.
            count: frequencies for the gradient.
            coarse: frequencies for its slopes.
            stop: when its flag is raised, both return soon, with anything.

        Raises:
            ValueError: there is no column or more than eight, or one is not of this structure.

        """
        if not 1 <= len(columns) <= L or any(column.shape != (plan.rows,) for column in columns):
            shapes = [column.shape for column in columns]
            raise ValueError(f"RunBlock(columns of shapes {shapes}): must be 1 to {L} columns of shape ({plan.rows},)")
        lanes = [*columns, *[columns[-1]] * (L - len(columns))]
        table = aligned(plan.rows * L)
        table[:] = np.stack(lanes, -1).ravel()
        series, less = _frequencies(count), _frequencies(coarse)
        values = [each if isinstance(each, int) else each.ctypes.data for each in plan]
        of_series = [series.ctypes.data, len(series), less.ctypes.data, len(less)]
        flag = (stop or Stop()).flag
        words_of = np.array([table.ctypes.data, *of_series, flag.ctypes.data, *values], np.int64)
        self._kept = plan, table, series, less, flag, words_of
        self.address: Int64[np.ndarray, " 1"] = np.array([words_of.ctypes.data], np.int64)
        """What the functions take, int64 of shape (1,); the block must live as long as it is used."""


@functools.lru_cache(maxsize=64)
def _frequencies(count: int) -> np.ndarray:
    return frequencies(count)
