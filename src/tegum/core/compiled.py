"""Compiling numba kernels, with a cache that is never stale.

numba keeps compiled code beside the source and recompiles when *that* file changes. Our kernels are spread over
small files that call one another, so a change in one would leave the others running old code without a word. Here
the stamp of a cached kernel is a digest of every file that kernels are made of.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba as nb

_PACKAGE = Path(__file__).parents[1]
_SOURCES = ("core/simd.py", "core/compiled.py", "core/population_*.py", "training/kernels/*.py")


@functools.cache
def _sources_digest() -> str:
    digest = hashlib.sha256()
    for pattern in _SOURCES:
        for path in sorted(_PACKAGE.glob(pattern)):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def inlined(function: Callable[..., Any]) -> Any:
    """A part of a kernel that is pasted into its callers: a call would push every field of its tuples of arrays."""
    return nb.njit(nogil=True, inline="always")(inspect.unwrap(function))


def part(function: Callable[..., Any]) -> Any:
    """A part of a kernel that takes lanes, numbers and pointers: left to LLVM to inline, it compiles sooner."""
    return nb.njit(nogil=True)(inspect.unwrap(function))


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a function with numba: without the interpreter's lock, cached on disk across processes."""
    # Run-time shape checks wrap every function when tests run; numba must see the function itself.
    compiled: Any = nb.njit(nogil=True, cache=True)(inspect.unwrap(function))
    # numba has no public way to widen the stamp; a test edits one file and sees the others recompiled.
    files = compiled._cache._cache_file
    files._source_stamp = (files._source_stamp, _sources_digest())
    return compiled
