"""The only access to JAX: refused where it would hang, with our settings while our programs run, and a bounded cache.

JAX takes settings from the environment and from other code in the process. Inside `scope`, in this thread only, they
are those that our programs were written for; outside they stay as they were.

JAX computes in threads of its own, which a forked process lacks: it would wait for ever. `check` refuses that.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, Generic, ParamSpec, TypeVar, final

_P = ParamSpec("_P")
_R = TypeVar("_R")

KEPT_PROGRAMS = 16
"""The number of compiled programs of one function that are kept: each takes 5 to 20 MB."""

_forked = False
"""Whether this process was forked from one in which JAX had started."""


def _after_fork() -> None:
    global _forked
    bridge = sys.modules.get("jax._src.xla_bridge")
    # JAX has no public way to ask; if this private one is gone, having imported JAX counts.
    _forked = _forked or (bridge is not None and bool(getattr(bridge, "_backends", True)))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def check() -> None:
    """Refuse to use JAX where it would hang.

    Raises:
        RuntimeError: this process was forked from one in which JAX had started.

    """
    if _forked:
        raise RuntimeError(
            f"process {os.getpid()} was forked from one in which JAX had started, and JAX would wait here for ever; "
            'start workers with multiprocessing.get_context("spawn")'
        )


@contextlib.contextmanager
def scope(*, double: bool, on_cpu: bool = False) -> Iterator[None]:
    """JAX with the settings that our programs need, in this thread.

    Args:
        double: compute in double precision.
        on_cpu: compute on the CPU whatever the default device is.

    Raises:
        RuntimeError: JAX would hang here (`check`).
        ValueError: JAX has no device of the kind that it was told to use.

    """
    check()
    import jax

    with contextlib.ExitStack() as stack:
        for setting in (
            jax.enable_x64(double),
            jax.numpy_dtype_promotion("standard"),
            jax.numpy_rank_promotion("allow"),
            jax.debug_nans(False),  # a run that diverges is recognised by its NaN
            jax.debug_infs(False),
            jax.disable_jit(False),
            jax.default_matmul_precision(None),  # JAX's own; a program that needs another says so
            jax.threefry_partitionable(True),  # else other random numbers
        ):
            stack.enter_context(setting)
        if on_cpu:
            stack.enter_context(jax.default_device(_devices("cpu")[0]))
        else:
            _devices(None)
        yield


def _devices(platform: str | None) -> list[Any]:
    import jax

    try:
        return jax.devices(platform)
    except (RuntimeError, AssertionError) as error:  # JAX asserts that there is one
        configured = getattr(jax.config, "jax_platforms", None)
        missing = "device" if platform is None else "CPU"
        if configured:
            rule = f"JAX finds no {missing} with it; unset it, or add 'cpu'"
            raise ValueError(f"JAX_PLATFORMS={configured!r} (jax_platforms): {rule}") from error
        raise ValueError(f"JAX has no {missing} here: {' '.join(str(error).split())}") from error


@final
class Compiled(Generic[_P, _R]):
    """A function compiled by JAX; once it holds more programs than `keep`, it drops them all and starts over."""

    def __init__(self, function: Callable[_P, _R], options: dict[str, Any]) -> None:
        """`options` are those of `jax.jit`."""
        import jax

        self._jitted: Any = jax.jit(function, **options)
        self.keep = KEPT_PROGRAMS

    def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """What the function returns."""
        if self.count() > self.keep:
            self._jitted.clear_cache()
            _give_back()
        return self._jitted(*args, **kwargs)

    def count(self) -> int:
        """The number of programs it holds."""
        return self._jitted._cache_size()


def compiled(**options: Any) -> Callable[[Callable[_P, _R]], Compiled[_P, _R]]:
    """`jax.jit` with these options, and with a bound on the programs it keeps."""
    return lambda function: Compiled(function, options)


_giving = threading.Lock()


def _give_back() -> None:
    """Return unused memory to the operating system, as far as the C library can."""
    import ctypes

    with _giving:
        gc.collect()
        with contextlib.suppress(OSError, AttributeError):  # it is glibc's
            ctypes.CDLL(None).malloc_trim(0)
