"""Compiling numba kernels, with a cache that is never stale and never required.

numba keeps compiled code next to the source and recompiles when *that* file changes. Our kernels are spread over small
files that call one another, and freeze the constants that they import, so a change in one file would leave the others
silently running old code. Here compiled code is stamped with everything that it may depend on (`stamps`).

Stored code is checked when it is read: a truncated or foreign file is replaced. Where nothing can be stored, every
process compiles its kernels, and one sentence says so. Processes that need the same code at the same time compile it
only once.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import inspect
import os
import pickle
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numba as nb
from numba.core import config as _config
from numba.core.caching import CompileResultCacheImpl, FunctionCache, UserProvidedCacheLocator
from numba.core.ccallback import CFunc
from numba.core.compiler_lock import global_compiler_lock
from numba.core.serialize import dumps

try:
    import fcntl
except ImportError:  # on Windows, where several processes may compile the same code
    fcntl = None

from tegum.core.compiled.stamps import stamp, unchanged
from tegum.core.stopping import interruptible

config: Any = _config

_BEGINNING = b"tegum kernel 1\n"
"""The first bytes of a file of compiled code; the SHA-256 of the rest follows."""

_PATIENCE, _SILENCE = 300.0, 1.0
"""Seconds to wait for another process at most, as a suspended one would never finish, and seconds of waiting before a
message says so."""


def inlined(function: Callable[..., Any]) -> Any:
    """A part of a kernel, inlined into its callers: a call would push every field of its tuples of arrays."""
    return _njit(function, inline="always")


def part(function: Callable[..., Any]) -> Any:
    """A part of a kernel that takes lanes, numbers and pointers: it compiles faster if LLVM does the inlining."""
    # Python never calls it: what would let it is left out.
    return _njit(function, no_cpython_wrapper=True, no_cfunc_wrapper=True)


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a function with numba, without the interpreter lock and cached on disk across processes."""
    compiled = _njit(function)
    compiled._cache = _KernelCache(compiled.py_func)
    return compiled


def function_of_c(compiled: Any, arguments: tuple[Any, ...], result: Any) -> CFunc:
    """A kernel as a C function, for callers outside Python; cached as the kernel is."""
    function: Any = CFunc(compiled.py_func, (arguments, result), {}, {"nogil": True})
    function._cache = _KernelCache(compiled.py_func)
    _compiled(function, function.compile)
    return function


def _njit(function: Callable[..., Any], **options: Any) -> Any:
    # Run-time shape checks wrap every function when tests run; numba must see the function itself.
    with _compiler():
        compiled: Any = nb.njit(nogil=True, **options)(inspect.unwrap(function))
    compiled.compile = functools.partial(_compiled, compiled, compiled.compile)
    return compiled


def _compiled(function: Any, compile_it: Callable[..., Any], *signature: Any) -> Any:
    def work() -> Any:
        # In this order: waiting for numba's lock while holding ours could deadlock with a thread that does the reverse.
        with _compiler():
            try:
                return compile_it(*signature)
            finally:
                if isinstance(function._cache, _KernelCache):
                    function._cache.release()

    # LLVM calls back into Python, and an interrupt raised there is printed and forgotten.
    return interruptible(work)


@contextlib.contextmanager
def _compiler() -> Iterator[None]:
    """Numba's compiler for this thread alone, and switched on whatever NUMBA_DISABLE_JIT says.

    Kernels cannot run as plain Python: whoever switches the compiler off means other code.
    """
    with global_compiler_lock:
        disabled, config.DISABLE_JIT = config.DISABLE_JIT, 0
        try:
            yield
        finally:
            config.DISABLE_JIT = disabled


class _KernelCache(FunctionCache):
    """Where numba loads and stores the compiled code of one function: one file for each signature and processor.

    No method raises an error that concerns only the cache.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._py_func, self._name, self._enabled = function, repr(function), True
        # Stamped now, while the function is what the file says. The folder is chosen when it is needed.
        self._source = Path(inspect.getfile(function))
        self._stamp = stamp(self._source)
        self._waiting = contextlib.ExitStack()

    @property
    def cache_path(self) -> str | None:
        return None if self._where is None else self._where.locator.get_cache_path()

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The stored code, or None; then call `release` once the code has been compiled."""
        target_context.refresh()
        if not self._enabled or self._where is None or self._stamp is None:
            return None
        if (found := self._stored(sig, target_context)) is not None:
            return found
        self._waiting.enter_context(_alone(self._folder, self._where.filename_base))
        return self._stored(sig, target_context)

    def save_overload(self, sig: Any, data: Any) -> None:
        if not self._enabled or self._where is None or self._stamp is None:
            return
        try:
            if data.library.has_dynamic_globals:  # as with NUMBA_OPT=0; numba's own check warns for each function
                raise ValueError("it would hold addresses of this process")
            # A source edited after it was imported is not what was compiled.
            if unchanged(self._source):
                key = self._index_key(sig, data.codegen)
                content = dumps((self._stamp, key, self._where.reduce(data)))
                self._where.locator.ensure_cache_path()
                _write(self._file(key), _BEGINNING + hashlib.sha256(content).digest() + content)
        except Exception as error:
            _say_unkept(f" in {self._folder}", error)

    def release(self) -> None:
        """Let other processes continue that wait for this one."""
        self._waiting.close()

    def flush(self) -> None:
        """Delete the stored code of this function."""
        if self._where is not None:
            for path in self._folder.glob(f"{self._where.filename_base}.*.tegum"):
                path.unlink(missing_ok=True)

    @functools.cached_property
    def _where(self) -> CompileResultCacheImpl | None:
        try:
            where = CompileResultCacheImpl(self._py_func)
        except Exception as error:
            nowhere = OSError(0, "no folder for it can be written")
            _say_unkept("", nowhere if "no locator available" in str(error) else error)
            return None
        if config.CACHE_DIR and not isinstance(where.locator, UserProvidedCacheLocator):
            place = where.locator.get_cache_path()
            _say_once(f"NUMBA_CACHE_DIR={config.CACHE_DIR} cannot be written; compiled code is kept in {place}")
        return where

    @property
    def _folder(self) -> Path:
        return Path(str(self.cache_path))

    def _file(self, key: Any) -> Path:
        assert self._where is not None
        signature, processor, _ = key
        name = hashlib.sha256(repr((signature, processor)).encode()).hexdigest()[:16]
        return self._folder / f"{self._where.filename_base}.{name}.tegum"

    def _stored(self, sig: Any, target_context: Any) -> Any:
        assert self._where is not None
        key = self._index_key(sig, target_context.codegen())
        path = self._file(key)
        try:
            whole = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            _say_unkept(f" in {self._folder}", error)
            return None
        start = len(_BEGINNING) + 32
        digest, content = whole[len(_BEGINNING) : start], whole[start:]
        try:
            if not whole.startswith(_BEGINNING) or hashlib.sha256(content).digest() != digest:
                raise ValueError("it is damaged")
            stamped, stored, payload = pickle.loads(content)
            return self._where.rebuild(target_context, payload) if (stamped, stored) == (self._stamp, key) else None
        except Exception as error:
            _say_once(f"{path} holds no usable compiled code ({error}), so it is compiled again")
            return None


def _write(path: Path, content: bytes) -> None:
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content)
        part.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise


_lock_files: dict[Path, int] = {}
"""Never closed, as that would release all locks of the process in that folder."""


@contextlib.contextmanager
def _alone(folder: Path, name: str) -> Iterator[None]:
    """Hold the lock of one kernel's code, or continue without it where there are no locks.

    Each kernel has a byte of the lock file. A lock belongs to its process, not to a forked child, and ends with it.
    """
    place, held, begun = int.from_bytes(hashlib.sha256(name.encode()).digest()[:7], "big"), False, time.monotonic()
    while fcntl is not None:
        try:
            if folder not in _lock_files:
                _lock_files[folder] = os.open(folder / "tegum.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            fcntl.lockf(_lock_files[folder], fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
            held = True
            break
        except (BlockingIOError, PermissionError):
            waited = time.monotonic() - begun
            if waited > _PATIENCE or folder not in _lock_files:
                break
            if waited > _SILENCE:
                _say_once("waiting for another process, which is compiling the same code")
            time.sleep(0.05)
        except OSError:  # no locks on this file system
            break
    try:
        yield
    finally:
        if held and fcntl is not None:
            fcntl.lockf(_lock_files[folder], fcntl.LOCK_UN, 1, place)


_said: set[str] = set()


def _say_unkept(where: str, error: Exception) -> None:
    reason = getattr(error, "strerror", None) or error
    _say_once(
        f"compiled code cannot be kept{where} ({reason}): every process compiles its own, which takes about a "
        "minute; NUMBA_CACHE_DIR may name another folder",
        "unkept",
    )


def _say_once(sentence: str, topic: str | None = None) -> None:
    """Write one line to standard error, if there is one; not a warning, which may be turned into an error."""
    if (topic or sentence) not in _said:
        _said.add(topic or sentence)
        with contextlib.suppress(Exception):
            sys.stderr.write(f"tegum: {sentence}\n")
            sys.stderr.flush()
