"""C functions that compiled JAX programs call without going through Python, and the flag by which they are stopped.

XLA calls them through its foreign function interface: https://docs.jax.dev/en/latest/ffi.html. The argument of such a
function, a "call frame", is laid out in `xla/ffi/api/c_api.h` (`jax.ffi.include_dir()`), and XLA promises to keep that
layout (it asks for the version, and refuses one that it does not support). `jax.pure_callback` would be simpler, but a
call takes 200 µs and the interpreter lock. Where XLA calls it from a thread of its own, in which double precision is
off, it also silently rounds its arguments to single precision.
"""

from __future__ import annotations

import functools
import threading
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.ccallback import CFunc
from numba.extending import intrinsic

from tegum.core.compiled.compile import function_of_c, inlined, kernel
from tegum.core.compiled.lanes import is_set

STOPPED = "tegum_stopped"
"""The name under which XLA knows the flag."""

# Positions in a call frame and in the structures it points to, in words of eight bytes.
_EXTENSION, _API, ARGUMENT_COUNT, ARGUMENTS, RESULT_COUNT, RESULTS = 1, 2, 7, 9, 12, 14
_API_VERSION, _API_ERROR = 4, 6
_METADATA, _METADATA_VERSION = 3, 3
_BUFFER_DTYPE, BUFFER_DATA, _BUFFER_RANK, _BUFFER_SHAPE = 2, 3, 4, 5

_INT32, _UINT32 = 4, 8
INT64, FLOAT64 = 5, 12
"""XLA's numbers for dtypes."""
_ERROR_SIZE, _INVALID_ARGUMENT = 28, 3
"""The size in bytes of the structure that describes an error, and the error's code."""

operation: Any = intrinsic
"""Untyped, as type checkers see the functions that emit code rather than those that they define."""


@operation
def words(typingctx: Any, address: Any) -> Any:  # noqa: ARG001 (numba's own convention)
    """An address as a pointer to 64-bit integers."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:  # noqa: ARG001
        return builder.inttoptr(args[0], ir.IntType(64).as_pointer())

    return types.CPointer(types.int64)(address), emit


@operation
def numbers(typingctx: Any, address: Any) -> Any:  # noqa: ARG001
    """An address as a pointer to float64."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:  # noqa: ARG001
        return builder.inttoptr(args[0], ir.DoubleType().as_pointer())

    return types.CPointer(types.float64)(address), emit


@operation
def halves(typingctx: Any, address: Any) -> Any:  # noqa: ARG001
    """An address as a pointer to 32-bit integers."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:  # noqa: ARG001
        return builder.inttoptr(args[0], ir.IntType(32).as_pointer())

    return types.CPointer(types.int32)(address), emit


@operation
def places(typingctx: Any, address: Any) -> Any:  # noqa: ARG001
    """An address as a pointer to 32-bit numbers without a sign."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:  # noqa: ARG001
        return builder.inttoptr(args[0], ir.IntType(32).as_pointer())

    return types.CPointer(types.uint32)(address), emit


@operation
def called(typingctx: Any, function: Any, argument: Any) -> Any:  # noqa: ARG001
    """Call a C function; its address, its argument and its result are words."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:  # noqa: ARG001
        word = ir.IntType(64)
        function = builder.inttoptr(args[0], ir.FunctionType(word, [word]).as_pointer())
        return builder.call(function, [args[1]])

    return types.int64(types.int64, types.int64), emit


def text(message: str) -> Any:
    """A function for kernels that returns the address of a string."""

    @operation
    def address(typingctx: Any) -> Any:  # noqa: ARG001
        def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:  # noqa: ARG001
            return builder.ptrtoint(context.insert_const_string(builder.module, message), ir.IntType(64))

        return types.int64(), emit

    return address


@inlined
def asked_for_version(frame):
    """Whether XLA only asks for the version of the interface, which is then filled in."""
    if frame[_EXTENSION] == 0:
        return False
    metadata = words(words(frame[_EXTENSION])[_METADATA])
    # The major version, 0, is in the lower half; any minor version will do, as the words used here are in all.
    metadata[_METADATA_VERSION] = words(frame[_API])[_API_VERSION] & ~0xFFFFFFFF
    return True


@inlined
def refused(frame, message):
    """An XLA error with this message, which a handler returns in place of 0."""
    description = np.zeros(4, np.int64)
    description[0], description[2], description[3] = _ERROR_SIZE, message, _INVALID_ARGUMENT
    error = called(words(frame[_API])[_API_ERROR], description.ctypes.data)
    description[0] = 0  # numba frees an array after its last use, and does not track the address
    return error


@inlined
def has(buffer, dtype, rank):
    """Whether a buffer has this dtype and this number of axes."""
    return (buffer[_BUFFER_DTYPE] & 0xFFFFFFFF) == dtype and buffer[_BUFFER_RANK] == rank


@inlined
def length(buffer, axis):
    """The length of an axis of a buffer."""
    return words(buffer[_BUFFER_SHAPE])[axis]


_STOPPED_RULE = text(
    f"{STOPPED} takes the address of a flag, uint32 of shape (2,), and a number that changes from call to call, int32, "
    "and returns int32"
)


@kernel
def _stopped(frame):
    """Whether a flag is raised, as 1 or 0."""
    if asked_for_version(frame):
        return 0
    if frame[ARGUMENT_COUNT] != 2 or frame[RESULT_COUNT] != 1:
        return refused(frame, _STOPPED_RULE())
    given, made = words(words(frame[ARGUMENTS])[0]), words(words(frame[RESULTS])[0])
    if not (has(given, _UINT32, 1) and has(made, _INT32, 0)) or length(given, 0) != 2:
        return refused(frame, _STOPPED_RULE())
    raised = is_set(words(words(given[BUFFER_DATA])[0]))
    halves(made[BUFFER_DATA])[0] = 1 if raised else 0
    return 0


def is_stopped(address: Any, counter: Any) -> Any:
    """Whether the flag at `Stop.address` is raised, inside a program for the CPU; a boolean.

    `counter` is an int32 that changes from call to call: otherwise XLA would make the call only once.
    """
    import jax

    register()
    return jax.ffi.ffi_call(STOPPED, jax.ShapeDtypeStruct((), np.int32))(address, counter) != 0


_registering = threading.Lock()


def register() -> None:
    """Register the flag's function with XLA, once per process."""
    with _registering:
        _register()


@functools.cache
def _register() -> CFunc:
    return known_to_xla(STOPPED, _stopped)


def known_to_xla(name: str, compiled: Any) -> CFunc:
    """Register a kernel of one argument with XLA under a name. Keep the result alive: XLA has its address."""
    import jax

    function = function_of_c(compiled, (types.CPointer(types.int64),), types.intp)
    jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(function.ctypes), platform="cpu")
    return function


def counted(count: Any, body: Any, state: Any, stop: Any) -> Any:
    """`fori_loop` from 0 to a count, which ends early, with an arbitrary result, once a flag is raised.

    Args:
        count: the number of iterations.
        body: maps the iteration's number and the state to the next state.
        state: a tree of arrays.
        stop: the flag's `Stop.address`; None for no flag, as in programs for devices other than the CPU.

    """
    import jax
    import jax.numpy as jnp

    if stop is None:
        return jax.lax.fori_loop(0, count, body, state)

    def on(carry: Any) -> Any:
        return (carry[0] < count) & ~is_stopped(stop, carry[0].astype(np.int32))

    start = jnp.zeros((), jnp.asarray(count).dtype), state
    return jax.lax.while_loop(on, lambda carry: (carry[0] + 1, body(*carry)), start)[1]
