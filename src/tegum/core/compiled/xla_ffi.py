"""Functions of C that compiled JAX programs call, without Python on the way; and the flag by which they are stopped.

XLA calls them through its foreign function interface: https://docs.jax.dev/en/latest/ffi.html. What a function is
handed, a "call frame", is laid out in `xla/ffi/api/c_api.h` (`jax.ffi.include_dir()`), whose layout XLA promises to
keep (its version is asked for, and refused by XLA if it is not the one meant here). `jax.pure_callback` would be
simpler, but takes 200 µs a call and the interpreter's lock, and, where XLA calls it from a thread of its own, in which
double precision is not on, it rounds its arguments to single precision without a word.
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

# Words of a call frame, eight bytes each, and of what it points to.
_EXTENSION, _API, ARGUMENT_COUNT, ARGUMENTS, RESULT_COUNT, RESULTS = 1, 2, 7, 9, 12, 14
_API_VERSION, _API_ERROR = 4, 6
_METADATA, _METADATA_VERSION = 3, 3
_BUFFER_DTYPE, BUFFER_DATA, _BUFFER_RANK, _BUFFER_SHAPE = 2, 3, 4, 5

_INT32, _UINT32 = 4, 8
INT64, FLOAT64 = 5, 12
"""XLA's numbers of dtypes."""
_ERROR_SIZE, _INVALID_ARGUMENT = 28, 3
"""Bytes that describe an error, and its code."""

operation: Any = intrinsic
"""Type checkers see the functions that emit code, and not those that they define."""


@operation
def words(typingctx: Any, address: Any) -> Any:  # noqa: ARG001 (numba's own convention)
    """An address as a pointer to whole numbers of 64 bits."""

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
    """An address as a pointer to whole numbers of 32 bits."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:  # noqa: ARG001
        return builder.inttoptr(args[0], ir.IntType(32).as_pointer())

    return types.CPointer(types.int32)(address), emit


@operation
def called(typingctx: Any, function: Any, argument: Any) -> Any:  # noqa: ARG001
    """What a function of C answers; all three are words."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:  # noqa: ARG001
        word = ir.IntType(64)
        function = builder.inttoptr(args[0], ir.FunctionType(word, [word]).as_pointer())
        return builder.call(function, [args[1]])

    return types.int64(types.int64, types.int64), emit


def text(message: str) -> Any:
    """A function for kernels that returns the address of a text."""

    @operation
    def address(typingctx: Any) -> Any:  # noqa: ARG001
        def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:  # noqa: ARG001
            return builder.ptrtoint(context.insert_const_string(builder.module, message), ir.IntType(64))

        return types.int64(), emit

    return address


@inlined
def asked_for_version(frame):
    """Whether XLA only wants to know which version of the interface this is, which then is answered."""
    if frame[_EXTENSION] == 0:
        return False
    metadata = words(words(frame[_EXTENSION])[_METADATA])
    # The major version is 0, in the lower half; the minor one may be any, as those below are in all of them.
    metadata[_METADATA_VERSION] = words(frame[_API])[_API_VERSION] & ~0xFFFFFFFF
    return True


@inlined
def refused(frame, message):
    """An error with this message, made by XLA: what a handler returns in place of 0."""
    description = np.zeros(4, np.int64)
    description[0], description[2], description[3] = _ERROR_SIZE, message, _INVALID_ARGUMENT
    error = called(words(frame[_API])[_API_ERROR], description.ctypes.data)
    description[0] = 0  # numba frees an array after its last use, and knows nothing of the address
    return error


@inlined
def has(buffer, dtype, rank):
    """Whether a buffer is of this dtype and has so many axes."""
    return (buffer[_BUFFER_DTYPE] & 0xFFFFFFFF) == dtype and buffer[_BUFFER_RANK] == rank


@inlined
def length(buffer, axis):
    """The length of an axis of a buffer."""
    return words(buffer[_BUFFER_SHAPE])[axis]


_STOPPED_RULE = text(
    f"{STOPPED} takes the address of a flag, uint32 of shape (2,), and a number that changes from call to call, int32, "
    "and gives int32"
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
    """Whether the flag at `Stop.address` is raised, inside a program for the CPU; a truth value.

    `counter` is an int32 that changes from call to call, without which XLA would ask once.
    """
    import jax

    register()
    return jax.ffi.ffi_call(STOPPED, jax.ShapeDtypeStruct((), np.int32))(address, counter) != 0


_registering = threading.Lock()


def register() -> None:
    """Make the flag known to XLA; once in a process."""
    with _registering:
        _register()


@functools.cache
def _register() -> CFunc:
    return known_to_xla(STOPPED, _stopped)


def known_to_xla(name: str, compiled: Any) -> CFunc:
    """Make a kernel of one argument known to XLA by a name. What comes back must be kept: XLA has its address."""
    import jax

    function = function_of_c(compiled, (types.CPointer(types.int64),), types.intp)
    jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(function.ctypes), platform="cpu")
    return function


def counted(count: Any, body: Any, state: Any, stop: Any) -> Any:
    """`fori_loop` from 0 to a count, which is left when a flag is raised: anything then comes back.

    Args:
        count: an int.
        body: from the number and the state to the next state.
        state: a tree of arrays.
        stop: the flag's `Stop.address`; None for a loop without one, as programs for other devices than the CPU need.

    """
    import jax
    import jax.numpy as jnp

    if stop is None:
        return jax.lax.fori_loop(0, count, body, state)

    def on(carry: Any) -> Any:
        return (carry[0] < count) & ~is_stopped(stop, carry[0].astype(np.int32))

    start = jnp.zeros((), jnp.asarray(count).dtype), state
    return jax.lax.while_loop(on, lambda carry: (carry[0] + 1, body(*carry)), start)[1]
