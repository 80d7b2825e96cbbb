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
from numba.core.ccallback import CFunc
from numba.extending import intrinsic

from tegum.core.compiled import inlined, kernel
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
_EXTENSION, _API, _ARGUMENTS, _RESULTS = 1, 2, 9, 14
_API_VERSION = 4
_METADATA, _METADATA_VERSION = 3, 3
_BUFFER_DATA = 3

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
def _operands(frame):
    """The parameters, the description of the block, and where the result goes."""
    arguments, results = _words(frame[_ARGUMENTS]), _words(frame[_RESULTS])
    theta = _numbers(_words(arguments[0])[_BUFFER_DATA])
    block = _words(_words(_words(arguments[1])[_BUFFER_DATA])[0])
    result = _numbers(_words(results[0])[_BUFFER_DATA])
    return theta, block, result


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
    theta, block, result = _operands(frame)
    plan = _plan_at(pointer_at(block, _PLAN))
    table, series, count = _numbers(block[_TABLE]), _numbers(block[_SERIES]), block[_COUNT]
    room = np.empty(_room(plan))
    lanes, slope, scale, value, error, scratch = _parts(plan, room)
    parameters = plan.features * (plan.hidden + 1)
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
    room[0] = 0.0  # numba frees an array after its last use, and knows nothing of the pointers
    return 0


@kernel
def _slopes(frame):
    """∂²L/∂θ∂θ of eight models by differences: θ (8, P) and a block's address to (8, P, P)."""
    if _asked_for_version(frame):
        return 0
    theta, block, result = _operands(frame)
    plan = _plan_at(pointer_at(block, _PLAN))
    table, series, count = _numbers(block[_TABLE]), _numbers(block[_COARSE]), block[_COARSE_COUNT]
    room = np.empty(_room(plan))
    lanes, slope, scale, value, error, scratch = _parts(plan, room)
    n, hidden = plan.features, plan.hidden
    parameters = n * (hidden + 1)
    steps, base = np.empty(parameters * L), np.empty(parameters * L)
    for lane in range(L):
        for i in range(parameters):
            lanes[i * L + lane] = theta[lane * parameters + i]
    # One scale for all: what the series is off by then varies as smoothly as the loss.
    refresh_scale(plan, lanes, scale, scratch)
    for lane in range(L):
        largest = 0.0
        for i in range(n * hidden):
            largest = max(largest, abs(lanes[i * L + lane]))
        for i in range(n):
            size = _LEAST * largest
            for k in range(i * hidden, (i + 1) * hidden):
                size = max(size, abs(lanes[k * L + lane]))
            for k in range(i * hidden, (i + 1) * hidden):
                steps[k * L + lane] = _STEP * (size if size > 0 else 1.0)
            steps[(n * hidden + i) * L + lane] = _STEP * scale[i * L + lane]
    evaluate(plan, table, series, count, lanes, scale, value, slope, error, scratch)
    for i in range(parameters * L):
        base[i] = slope[i]
    for column in range(parameters):
        for lane in range(L):
            lanes[column * L + lane] += steps[column * L + lane]
        evaluate(plan, table, series, count, lanes, scale, value, slope, error, scratch)
        for lane in range(L):
            here = column * L + lane
            original = theta[lane * parameters + column]
            moved = lanes[here] - original
            lanes[here] = original
            for i in range(parameters):
                place = (lane * parameters + i) * parameters + column
                result[place] = (slope[i * L + lane] - base[i * L + lane]) / moved
    room[0] = 0.0
    return 0


_registering = threading.Lock()


def register() -> None:
    """Make both known to XLA; once in a process."""
    with _registering:
        _register()


@functools.cache
def _register() -> list[Any]:
    import jax

    functions = [_of_c(_gradient), _of_c(_slopes)]
    for name, function in zip((GRADIENT, SLOPES), functions, strict=True):
        jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(function.ctypes), platform="cpu")
    return functions  # kept: XLA has their addresses


def _of_c(compiled: Any) -> CFunc:
    """A kernel of one argument as a function of C, cached on disk with the kernel's own stamp."""
    function: Any = CFunc(compiled.py_func, ((types.CPointer(types.int64),), types.intp), {}, {"nogil": True})
    function.enable_caching()
    function._cache._cache_file._source_stamp = compiled._cache._cache_file._source_stamp
    function.compile()
    return function


class Block:
    """Eight runs of one structure as the two functions are told of them: an address, and what lies there."""

    def __init__(self, plan: Plan, columns: Sequence[Float[np.ndarray, " row"]], count: int, coarse: int) -> None:
        """Describe up to eight runs.

        Args:
            plan: their structure.
            columns: each run's column of a table of `tables.groups`; the last one is repeated.
            count: frequencies for the gradient.
            coarse: frequencies for its slopes.

        """
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
