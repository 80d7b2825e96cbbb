"""The kernel of the population loss as something a compiled JAX program can call, without Python on the way.

XLA calls a function of C through its foreign function interface: https://docs.jax.dev/en/latest/ffi.html. What the
function is handed, a "call frame", is laid out in `xla/ffi/api/c_api.h` (`jax.ffi.include_dir()`), whose layout XLA
promises to keep (its version is asked for, and refused by XLA if it is not the one meant here). `jax.pure_callback`
would be simpler, but takes 200 µs a call and the interpreter's lock, and, where XLA calls it from a thread of its own,
in which double precision is not on, it rounds its arguments to single precision without a word.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Sequence
from typing import Any, get_type_hints

import numpy as np
from jaxtyping import Float
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from tegum.core.compiled import function_of_c, inlined, kernel
from tegum.core.population_kernel import evaluate, refresh_scale
from tegum.core.population_memory import RECORD, STATE, Scratch, aligned
from tegum.core.population_tables import Plan, frequencies
from tegum.core.simd import WIDE_LANES as L
from tegum.core.simd import pointer_at

GRADIENT, SLOPES = "tegum_population_gradient", "tegum_population_slopes"
"""The names under which XLA knows them."""

_STEP = 2.0**-23
"""Of the differences, relative to what is displaced. The error of a slope is about this part of it: enough for Newton's
method, and one model for each parameter in place of the two of a central difference."""
_LEAST = 1e-3
"""Rows of weights smaller than this part of the largest weight are displaced as if they were so large."""

# Words of a call frame, eight bytes each, and of what it points to.
_EXTENSION, _API, _ARGUMENT_COUNT, _ARGUMENTS, _RESULT_COUNT, _RESULTS = 1, 2, 7, 9, 12, 14
_API_VERSION, _API_ERROR = 4, 6
_METADATA, _METADATA_VERSION = 3, 3
_BUFFER_DTYPE, _BUFFER_DATA, _BUFFER_RANK, _BUFFER_SHAPE = 2, 3, 4, 5

_INT64, _FLOAT64 = 5, 12
"""XLA's numbers of dtypes."""
_ERROR_SIZE, _INVALID_ARGUMENT = 28, 3
"""Bytes that describe an error, and its code."""

# Words of a block's description.
_TABLE, _SERIES, _COUNT, _COARSE, _COARSE_COUNT, _PLAN = 0, 1, 2, 3, 4, 5


_operation: Any = intrinsic
"""Type checkers see the functions that emit code, and not those that they define."""


@_operation
def _words(typingctx: Any, address: Any) -> Any:  # noqa: ARG001 (numba's own convention)
    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:  # noqa: ARG001
        return builder.inttoptr(args[0], ir.IntType(64).as_pointer())

    return types.CPointer(types.int64)(address), emit


@_operation
def _numbers(typingctx: Any, address: Any) -> Any:  # noqa: ARG001
    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:  # noqa: ARG001
        return builder.inttoptr(args[0], ir.DoubleType().as_pointer())

    return types.CPointer(types.float64)(address), emit


@_operation
def _called(typingctx: Any, function: Any, argument: Any) -> Any:  # noqa: ARG001
    """What a function of C answers; all three are words."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:  # noqa: ARG001
        word = ir.IntType(64)
        function = builder.inttoptr(args[0], ir.FunctionType(word, [word]).as_pointer())
        return builder.call(function, [args[1]])

    return types.int64(types.int64, types.int64), emit


def _text(message: str) -> Any:
    """A function for kernels that returns the address of a text."""

    @_operation
    def address(typingctx: Any) -> Any:  # noqa: ARG001
        def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:  # noqa: ARG001
            return builder.ptrtoint(context.insert_const_string(builder.module, message), ir.IntType(64))

        return types.int64(), emit

    return address


_GRADIENT_RULE = _text(
    f"{GRADIENT} takes the parameters of 8 models, float64 of shape (8, P), and the address of their block, int64, and "
    "gives float64 of shape (8, P + 2), where P is the number of parameters that the block says"
)
_SLOPES_RULE = _text(
    f"{SLOPES} takes the parameters of one model, float64 of shape (P,), the address of its block, int64, and its lane "
    "of 0 to 7, int64, and gives float64 of shape (P, P), where P is the number of parameters that the block says"
)

_IS_NUMBER = [kind is int for kind in get_type_hints(Plan).values()]
"""Of the fields of a `Plan`, which are numbers; the others are arrays of int64."""


@_operation
def _plan_at(typingctx: Any, words: Any) -> Any:  # noqa: ARG001
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

    return result(words), emit


@inlined
def _asked_for_version(frame):
    """Whether XLA only wants to know which version of the interface this is, which then is answered."""
    if frame[_EXTENSION] == 0:
        return False
    metadata = _words(_words(frame[_EXTENSION])[_METADATA])
    # The major version is 0, in the lower half; the minor one may be any, as those below are in all of them.
    metadata[_METADATA_VERSION] = _words(frame[_API])[_API_VERSION] & ~0xFFFFFFFF
    return True


@inlined
def _refused(frame, message):
    """An error with this message, made by XLA: what a handler returns in place of 0."""
    description = np.zeros(4, np.int64)
    description[0], description[2], description[3] = _ERROR_SIZE, message, _INVALID_ARGUMENT
    error = _called(_words(frame[_API])[_API_ERROR], description.ctypes.data)
    description[0] = 0  # numba frees an array after its last use, and knows nothing of the address
    return error


@inlined
def _has(buffer, dtype, rank):
    return (buffer[_BUFFER_DTYPE] & 0xFFFFFFFF) == dtype and buffer[_BUFFER_RANK] == rank


@inlined
def _length(buffer, axis):
    return _words(buffer[_BUFFER_SHAPE])[axis]


@inlined
def _block(frame, arguments):
    """The description of the block, or the address 0 if the buffers are not so many, or the second is none."""
    block = 0
    if frame[_ARGUMENT_COUNT] == arguments and frame[_RESULT_COUNT] == 1:
        buffer = _words(_words(frame[_ARGUMENTS])[1])
        if _has(buffer, _INT64, 1) and _length(buffer, 0) == 1:
            block = _words(buffer[_BUFFER_DATA])[0]
    return block


@inlined
def _room(plan):
    """Numbers of memory for one call, and for reaching a cache line."""
    return (2 * plan.features * (plan.hidden + 1) + plan.features * (1 + plan.features + RECORD) + STATE + 2) * L + L


@inlined
def _parts(plan, room):
    """Parameters, gradient, scale, value, error and scratch in lanes, each on a cache line of `room`."""
    start = -room.ctypes.data % 64 // 8
    size, n = plan.features * (plan.hidden + 1) * L, plan.features * L
    lanes, slope = pointer_at(room, start), pointer_at(room, start + size)
    start += 2 * size
    rows = n * (1 + plan.features)
    scale, value, error = pointer_at(room, start), pointer_at(room, start + rows), pointer_at(room, start + rows + L)
    start += rows + 2 * L
    scratch = Scratch(pointer_at(room, start), pointer_at(room, start + n * RECORD))
    return lanes, slope, scale, value, error, scratch


@kernel
def _gradient(frame):
    """∂L/∂θ of eight models, and L and its error: θ (8, P) and a block's address to (8, P + 2)."""
    if _asked_for_version(frame):
        return 0
    address = _block(frame, 2)
    if address == 0:
        return _refused(frame, _GRADIENT_RULE())
    block = _words(address)
    plan = _plan_at(pointer_at(block, _PLAN))
    parameters = plan.features * (plan.hidden + 1)
    given, made = _words(_words(frame[_ARGUMENTS])[0]), _words(_words(frame[_RESULTS])[0])
    if not (_has(given, _FLOAT64, 2) and _has(made, _FLOAT64, 2)):
        return _refused(frame, _GRADIENT_RULE())
    if _length(given, 0) != L or _length(given, 1) != parameters:
        return _refused(frame, _GRADIENT_RULE())
    if _length(made, 0) != L or _length(made, 1) != parameters + 2:
        return _refused(frame, _GRADIENT_RULE())
    theta, result = _numbers(given[_BUFFER_DATA]), _numbers(made[_BUFFER_DATA])
    table, series, count = _numbers(block[_TABLE]), _numbers(block[_SERIES]), block[_COUNT]
    room = np.empty(_room(plan))
    lanes, slope, scale, value, error, scratch = _parts(plan, room)
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
    if _asked_for_version(frame):
        return 0
    address = _block(frame, 3)
    if address == 0:
        return _refused(frame, _SLOPES_RULE())
    block = _words(address)
    plan = _plan_at(pointer_at(block, _PLAN))
    n, hidden = plan.features, plan.hidden
    parameters = n * (hidden + 1)
    arguments = _words(frame[_ARGUMENTS])
    given, number, made = _words(arguments[0]), _words(arguments[2]), _words(_words(frame[_RESULTS])[0])
    if not (_has(given, _FLOAT64, 1) and _has(number, _INT64, 0) and _has(made, _FLOAT64, 2)):
        return _refused(frame, _SLOPES_RULE())
    own = _words(number[_BUFFER_DATA])[0]
    if _length(given, 0) != parameters or own < 0 or own >= L:
        return _refused(frame, _SLOPES_RULE())
    if _length(made, 0) != parameters or _length(made, 1) != parameters:
        return _refused(frame, _SLOPES_RULE())
    theta, result = _numbers(given[_BUFFER_DATA]), _numbers(made[_BUFFER_DATA])
    tables, series, count = _numbers(block[_TABLE]), _numbers(block[_COARSE]), block[_COARSE_COUNT]
    room, spare = np.empty(_room(plan)), np.empty((plan.rows + 1) * L)
    lanes, slope, scale, value, error, scratch = _parts(plan, room)
    table = pointer_at(spare, -spare.ctypes.data % 64 // 8)
    for row in range(plan.rows):
        for lane in range(L):
            table[row * L + lane] = tables[row * L + own]
    for i in range(parameters):
        for lane in range(L):
            lanes[i * L + lane] = theta[i]
    # One scale for all: what the series is off by then varies as smoothly as the loss.
    refresh_scale(plan, lanes, scale, scratch)
    steps, base = np.empty(parameters), np.empty(parameters)
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
    # Model 0 is the one itself, model k has parameter k − 1 displaced.
    for first in range(0, parameters + 1, L):
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
                moved = lanes[column * L + lane] - theta[column]
                lanes[column * L + lane] = theta[column]
                for i in range(parameters):
                    result[i * parameters + column] = (slope[i * L + lane] - base[i]) / moved
    room[0], spare[0] = 0.0, 0.0
    return 0


_registering = threading.Lock()


def register() -> None:
    """Make both known to XLA; once in a process."""
    with _registering:
        _register()


@functools.cache
def _register() -> list[Any]:
    import jax

    frame = types.CPointer(types.int64)
    functions = [function_of_c(each, (frame,), types.intp) for each in (_gradient, _slopes)]
    for name, function in zip((GRADIENT, SLOPES), functions, strict=True):
        jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(function.ctypes), platform="cpu")
    return functions  # kept: XLA has their addresses


class Block:
    """Eight runs of one structure as the two functions are told of them: an address, and what lies there."""

    def __init__(self, plan: Plan, columns: Sequence[Float[np.ndarray, " row"]], count: int, coarse: int) -> None:
        """Describe up to eight runs.

        Args:
            plan: their structure.
            columns: each run's column of a table of `tables.groups`; the last one is repeated.
            count: frequencies for the gradient.
            coarse: frequencies for its slopes.

        Raises:
            ValueError: there is no column or more than eight, or one is not of this structure.

        """
        if not 1 <= len(columns) <= L or any(column.shape != (plan.rows,) for column in columns):
            shapes = [column.shape for column in columns]
            raise ValueError(f"Block(columns of shapes {shapes}): must be 1 to {L} columns of shape ({plan.rows},)")
        lanes = [*columns, *[columns[-1]] * (L - len(columns))]
        table = aligned(plan.rows * L)
        table[:] = np.stack(lanes, -1).ravel()
        series, less = _frequencies(count), _frequencies(coarse)
        values = [each if isinstance(each, int) else each.ctypes.data for each in plan]
        of_series = [series.ctypes.data, len(series), less.ctypes.data, len(less)]
        self._kept = plan, table, series, less, np.array([table.ctypes.data, *of_series, *values], np.int64)
        self.address = np.array([self._kept[-1].ctypes.data], np.int64)
        """What the functions take, int64 of shape (1,); the block must live as long as it is used."""


@functools.lru_cache(maxsize=64)
def _frequencies(count: int) -> np.ndarray:
    return frequencies(count)
