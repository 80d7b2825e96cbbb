"""An experiment in a file of a user's: `mine.py`, or `mine.py:ClassName` where the file holds several.

The file is run as a script is: modules beside it can be imported, and hide installed ones of the same name.
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
"""Modules, and packages, that files have imported from their own folders, with these folders."""


def split(name: str | os.PathLike[str]) -> tuple[Path, str | None] | None:
    """The file, and the class in it, that a name of an experiment means; None if it is no file's.

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


def load(path: Path, kind: str | None = None) -> Experiment:
    """The experiment in a file.

    Args:
        path: of the file.
        kind: the name of the class; None where there is one only.

    Raises:
        ValueError: there is no experiment in it, or several are.
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
    told: dict[str, Any] = {"file": str(path), "sha256": hashlib.sha256(content).hexdigest()}
    if beside := _digests(folder):
        told["neighbours"] = beside
    return ready(found, Origin(path.stem.replace("_", "-"), told, folder), str(path))


def own_lines(error: BaseException, of: str | os.PathLike[str] | Experiment[Any]) -> str | None:
    """The traceback of an error without the lines of tegum and of libraries; None where none is the experiment's own.

    Args:
        error: raised by an experiment that is not tegum's own, or while its file was run.
        of: the experiment, or the name by which it could not be had.

    """
    if isinstance(of, Experiment):
        origin = of.origin
    else:
        file = split(of)
        origin = None if file is None else Origin("", {}, file[0].resolve().parent)
    if origin is None:
        return None
    told = traceback.TracebackException.from_exception(error)
    if not _keep_own(told, origin) and not (isinstance(error, SyntaxError) and origin.owns(error.filename or "")):
        return None
    # They are told in the last sentence.
    told.__notes__ = None
    return "".join(told.format())


def _keep_own(told: traceback.TracebackException, origin: Origin) -> bool:
    """Leave out foreign lines, and the errors before it that have no others; whether any are left."""
    told.stack = traceback.StackSummary.from_list([each for each in told.stack if origin.owns(each.filename)])
    for name in ("__cause__", "__context__"):
        before = getattr(told, name)
        if before is not None and not _keep_own(before, origin):
            setattr(told, name, None)
    return bool(told.stack)


def _run(path: Path, content: bytes) -> ModuleType:
    """Run a file as a module of its own, under a name that no other module has."""
    name = f"{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None:
        raise ValueError(f"experiment {str(path)!r}: this is no file of Python code")
    module = importlib.util.module_from_spec(spec)
    _put_first(path.parent)
    before, sys.modules[name] = set(sys.modules), module
    try:
        # What was read is what runs: the digest is of these bytes.
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
    """Let modules of this folder be found before others, also later on, inside functions.

    A module from beside another file that has the name of one in this folder is forgotten.
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
