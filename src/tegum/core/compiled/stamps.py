"""What compiled code depends on, as one digest: sources, settings of the compiler, and versions.

The sources are found, so that a new file needs no entry anywhere: every file of the package that defines compiled code,
and of the file in question all that it imports from the package, one file leading to the next. numba freezes the
constants that a kernel reads, and these may come from files that compile nothing.
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
"""In a file that may define compiled code: it imports a compiler, or something of `tegum.core.compiled`."""

_NO_CODE = frozenset((
    "CACHE_DIR", "CACHE_LOCATOR_CLASSES", "CHROME_TRACE", "COLOR_SCHEME", "DEVELOPER_MODE", "DISABLE_JIT",
    "DISABLE_PERFORMANCE_WARNINGS", "FULL_TRACEBACKS", "GDB_BINARY", "NUMBA_DEFAULT_NUM_THREADS", "NUMBA_NUM_THREADS",
    "RUNNING_UNDER_PROFILER", "SHOW_HELP", "THREADING_LAYER", "THREADING_LAYER_PRIORITY", "USING_SVML",
))  # fmt: skip
"""Settings of numba that no compiled code depends on. All others are part of a stamp, new ones as well: numba itself
hands code that was compiled without bounds checks, say, to a process that asks for them."""


@functools.cache
def stamp(source: Path) -> str | None:
    """A digest of all that a function in this file is compiled from; None where there is no source.

    Files count as they were when they were first looked at, which is when a kernel in them, or one that imports them,
    was defined.
    """
    try:
        lines = [f"{os.path.relpath(file.path, _PACKAGE)} {file.digest}" for file in _files(source)]
    except (OSError, SyntaxError):
        return None
    return hashlib.sha256("\n".join([*lines, _settings()]).encode()).hexdigest()


def unchanged(source: Path) -> bool:
    """Whether the files of a stamp are still what they were."""
    try:
        return all(_state(file.path) == file.state for file in _files(source))
    except OSError:
        return False


class _File:
    """A source file as it was when it was first looked at."""

    def __init__(self, path: Path) -> None:
        self.path, self.state = path, _state(path)
        self._content = path.read_bytes()

    @functools.cached_property
    def digest(self) -> str:
        """Of the whole file."""
        return hashlib.sha256(self._content).hexdigest()

    @functools.cached_property
    def compiles(self) -> bool:
        """Whether it may define compiled code."""
        return any(word in self._content for word in _COMPILERS) and _COMPILES.search(self._content) is not None

    @functools.cached_property
    def imports(self) -> list[Path]:
        """The files that it imports, of the package or from beside it."""
        found = [each for one in _imports(ast.parse(self._content)) for each in _modules(one, self.path)]
        return [each for each in found if each.is_file()]


_file = functools.cache(_File)


def _state(path: Path) -> tuple[int, int]:
    told = path.stat()
    return told.st_mtime_ns, told.st_size


@functools.cache
def _compiling() -> list[_File]:
    return [file for path in sorted(_PACKAGE.rglob("*.py")) if (file := _file(path)).compiles]


@functools.cache
def _files(source: Path) -> list[_File]:
    """All that define compiled code, and what the source imports, in the order of their paths."""
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
    """All that compiled code depends on and that is in no source file."""
    numbas = {
        name: repr(value)
        for name, value in vars(config).items()
        if name.isupper() and not callable(value) and name not in _NO_CODE and not name.startswith("CUDA_")
    }
    versions = sys.version, numba.__version__, llvmlite.__version__, np.__version__
    return repr((versions, sorted(numbas.items())))


def _imports(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """All statements that import something, but for those that only type checkers see."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        match node := waiting.pop():
            case ast.Import() | ast.ImportFrom():
                yield node
            case ast.If(test=ast.Name(id="TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING")):
                waiting += node.orelse
            case _:  # statements alone: expressions, which are many more, hold none
                for block in ("body", "orelse", "handlers", "finalbody", "cases"):
                    inner = getattr(node, block, ())
                    waiting += inner if isinstance(inner, list) else ()


def _modules(statement: ast.Import | ast.ImportFrom, source: Path) -> Iterator[Path]:
    """Where the modules would be that a statement in a file imports, and names that may be modules."""
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
