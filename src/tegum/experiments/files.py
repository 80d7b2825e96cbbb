"""An experiment in a user's file: `mine.py`, or `mine.py:ClassName` if the file holds several.

The file is run like a script: modules in its folder can be imported, and hide installed ones of the same name.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from tegum.experiments.framework import Experiment, Origin, chosen, ready

_neighbours: dict[str, Path] = {}
"""Modules and packages that files have imported from their own folders, with those folders."""


def split(name: str | os.PathLike[str]) -> tuple[Path, str | None] | None:
    """The file, and the class in it, that the name of an experiment stands for; None if it names no file.

    >>> from pathlib import Path
    >>> from tegum.experiments.files import split
    >>> split("lab/mine.py:Falls") == (Path("lab/mine.py"), "Falls")
    True
    >>> split("pair") is None
    True
    """
    text = os.fspath(name)
    file, colon, kind = text.rpartition(":")
    if colon and file.endswith(".py"):
        return Path(file), kind
    return (Path(text), None) if text.endswith(".py") or not isinstance(name, str) else None


def load(path: Path, kind: str | None = None) -> Experiment[Any]:
    """The experiment in a file.

    Args:
        path: the file.
        kind: the name of the class; None if there is only one.

    Raises:
        ValueError: there is no experiment in it, or more than one.
        OSError: the file cannot be read.
        Exception: whatever the file itself raises.

    """
    try:
        content = path.read_bytes()
    except OSError as error:
        from tegum.core.description import short

        why = "there is no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise type(error)(f"experiment {short(str(path))}: {why}") from None
    module = _run(path.resolve(), content)
    found = chosen(module, kind, str(path))
    folder = path.resolve().parent
    source: dict[str, Any] = {"file": str(path.resolve()), "sha256": hashlib.sha256(content).hexdigest()}
    if kind is not None:
        source["class"] = kind
    if beside := _digests(folder):
        source["neighbours"] = beside
    return ready(found, Origin(path.stem.replace("_", "-"), source, folder), str(path))


def own_lines(error: BaseException, of: str | os.PathLike[str] | Experiment[Any]) -> str | None:
    """The traceback of an error without the lines of tegum and of libraries; None if no line is the experiment's own.

    Args:
        error: an error raised by an experiment that is not tegum's own, or while its file was run.
        of: the experiment, or the name by which it could not be loaded.

    """
    if isinstance(of, Experiment):
        origin = of.origin
    else:
        file = split(of)
        origin = None if file is None else Origin("", {}, file[0].resolve().parent)
    if origin is None:
        return None
    trace = traceback.TracebackException.from_exception(error)
    if not _keep_own(trace, origin) and not (isinstance(error, SyntaxError) and origin.owns(error.filename or "")):
        return None
    # Notes are part of the final message instead.
    trace.__notes__ = None
    return "".join(trace.format())


def _keep_own(trace: traceback.TracebackException, origin: Origin) -> bool:
    """Drop foreign lines, and earlier errors that have no others; returns whether any lines are left."""
    trace.stack = traceback.StackSummary.from_list([each for each in trace.stack if origin.owns(each.filename)])
    for name in ("__cause__", "__context__"):
        before = getattr(trace, name)
        if before is not None and not _keep_own(before, origin):
            setattr(trace, name, None)
    return bool(trace.stack)


def _run(path: Path, content: bytes) -> ModuleType:
    """Run a file as a module, under a name that no other module has."""
    name = f"{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None:
        raise ValueError(f"experiment {str(path)!r}: this is not a file of Python code")
    module = importlib.util.module_from_spec(spec)
    _put_first(path.parent)
    before, sys.modules[name] = set(sys.modules), module
    try:
        # Run exactly the bytes that were read, because the digest is of them.
        exec(compile(content, str(path), "exec", dont_inherit=True), module.__dict__)
    except BaseException:
        del sys.modules[name]
        raise
    finally:
        for each in set(sys.modules) - before - {name}:
            file = getattr(sys.modules[each], "__file__", None)
            if file is not None and Origin(name, {}, path.parent).owns(file):
                _neighbours[each.partition(".")[0]] = path.parent
    return module


def _put_first(folder: Path) -> None:
    """Make modules of this folder take precedence over others, including for later imports inside functions.

    A module from the folder of another file is forgotten if this folder has one of the same name.
    """
    if str(folder) in sys.path:
        sys.path.remove(str(folder))
    sys.path.insert(0, str(folder))
    for top, other in list(_neighbours.items()):
        if other != folder and ((folder / f"{top}.py").is_file() or (folder / top).is_dir()):
            for name in [each for each in sys.modules if each.partition(".")[0] == top]:
                del sys.modules[name]
            del _neighbours[top]


def _digests(folder: Path) -> dict[str, str]:
    """The sha256 of each neighbour that has been imported, by its path in the folder."""
    found = {}
    for name, module in sorted(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if _neighbours.get(name.partition(".")[0]) == folder and file is not None and Path(file).is_relative_to(folder):
            digest = hashlib.sha256(Path(file).read_bytes()).hexdigest()
            found[Path(file).relative_to(folder).as_posix()] = digest
    return found
