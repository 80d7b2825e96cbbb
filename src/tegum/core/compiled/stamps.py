"""One digest of everything that compiled code depends on: sources, settings of the compiler, and versions.

The sources are discovered, so that a new file needs no entry anywhere: every file of the package that defines compiled
code, and all that the file in question imports from the package, directly or indirectly. numba freezes the constants
that a kernel reads, and these may come from files that compile nothing.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import llvmlite
import numba
import numpy as np
from numba.core import config

_PACKAGE = Path(__file__).parents[2]

_COMPILERS = b"numba", b"llvmlite", b"compiled"
_COMPILES = re.compile(
    rb"^[ \t]*(?:from|import)\b(?:[^\n(]*\([^)]*|[^\n]*)\b(?:numba|llvmlite|compiled)\b", re.MULTILINE
)
"""Matches a file that may define compiled code: it imports a compiler, or something from `tegum.core.compiled`."""

_NO_CODE = frozenset((
    "CACHE_DIR", "CACHE_LOCATOR_CLASSES", "CHROME_TRACE", "COLOR_SCHEME", "DEVELOPER_MODE", "DISABLE_JIT",
    "DISABLE_PERFORMANCE_WARNINGS", "FULL_TRACEBACKS", "GDB_BINARY", "NUMBA_DEFAULT_NUM_THREADS", "NUMBA_NUM_THREADS",
    "RUNNING_UNDER_PROFILER", "SHOW_HELP", "THREADING_LAYER", "THREADING_LAYER_PRIORITY", "USING_SVML",
))  # fmt: skip
"""Settings of numba that no compiled code depends on. All others, including new ones, are part of a stamp: numba itself
would hand code compiled without bounds checks, for instance, to a process that asks for them."""


@functools.cache
def stamp(source: Path) -> str | None:
    """A digest of everything that a function in this file is compiled from; None if there is no source.

    Files count as they were when first read, which is when a kernel in them, or one that imports them, was defined.
    """
    try:
        lines = [f"{os.path.relpath(file.path, _PACKAGE)} {file.digest}" for file in _files(source)]
    except (OSError, SyntaxError):
        return None
    return hashlib.sha256("\n".join([*lines, _settings()]).encode()).hexdigest()


def unchanged(source: Path) -> bool:
    """Whether the files of a stamp have not changed since they were first read."""
    try:
        return all(_state(file.path) == file.state for file in _files(source))
    except OSError:
        return False


class _File:
    """A source file as it was when first read."""

    def __init__(self, path: Path) -> None:
        self.path, self.state = path, _state(path)
        self._content = path.read_bytes()

    @functools.cached_property
    def digest(self) -> str:
        """The SHA-256 of the whole file."""
        return hashlib.sha256(self._content).hexdigest()

    @functools.cached_property
    def compiles(self) -> bool:
        """Whether the file may define compiled code."""
        return any(word in self._content for word in _COMPILERS) and _COMPILES.search(self._content) is not None

    @functools.cached_property
    def imports(self) -> list[Path]:
        """The files that it imports, from the package or from its own folder."""
        found = [each for one in _imports(ast.parse(self._content)) for each in _modules(one, self.path)]
        return [each for each in found if each.is_file()]


_file = functools.cache(_File)


def _state(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size


@functools.cache
def _compiling() -> list[_File]:
    return [file for path in sorted(_PACKAGE.rglob("*.py")) if (file := _file(path)).compiles]


@functools.cache
def _files(source: Path) -> list[_File]:
    """All files that define compiled code, and those that the source imports, ordered by path."""
    found, waiting = {file.path: file for file in _compiling()}, [source]
    seen = set[Path]()
    while waiting:
        if (path := waiting.pop()) not in seen:
            seen.add(path)
            found[path] = _file(path)
            waiting += found[path].imports
    return [file for _, file in sorted(found.items())]


@functools.cache
def _settings() -> str:
    """Everything that compiled code depends on outside source files."""
    numbas = {
        name: repr(value)
        for name, value in vars(config).items()
        if name.isupper() and not callable(value) and name not in _NO_CODE and not name.startswith("CUDA_")
    }
    versions = sys.version, numba.__version__, llvmlite.__version__, np.__version__
    return repr((versions, sorted(numbas.items())))


def _imports(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """All import statements except those that only type checkers see."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        match node := waiting.pop():
            case ast.Import() | ast.ImportFrom():
                yield node
            case ast.If(test=ast.Name(id="TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING")):
                waiting += node.orelse
            case _:  # only statements: expressions, of which there are many more, contain no imports
                for block in ("body", "orelse", "handlers", "finalbody", "cases"):
                    inner = getattr(node, block, ())
                    waiting += inner if isinstance(inner, list) else ()


def _modules(statement: ast.Import | ast.ImportFrom, source: Path) -> Iterator[Path]:
    """The paths at which the modules that a statement imports would be, including names that may be modules."""
    names = [each.name for each in statement.names]
    base = None
    if isinstance(statement, ast.ImportFrom):
        module = statement.module or ""
        names = [module, *(f"{module}.{name}" for name in names)]
        base = source.parents[statement.level - 1] if statement.level else None
    for name in names:
        parts = [each for each in name.split(".") if each]
        if base is not None:
            place = base
        elif parts[0] == _PACKAGE.name:
            place, parts = _PACKAGE, parts[1:]
        else:
            place = source.parent
        path = place.joinpath(*parts)
        if path != place:
            yield path.with_name(f"{path.name}.py")
        yield path / "__init__.py"
