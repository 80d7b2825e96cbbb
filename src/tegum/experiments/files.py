"""An experiment in a user's file: `mine.py`, or `mine.py:ClassName` if the file holds several.

The file is run like a script: modules in its folder can be imported, and hide installed ones of the same name.
"""

from __future__ import annotations

import hashlib
import os
import traceback
from pathlib import Path
from typing import Any

from tegum.core.inputs.python_files import neighbours_of, run_file
from tegum.experiments.framework import Experiment, Origin, chosen, ready


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
    module = run_file(path.resolve(), content, "experiment")
    found = chosen(module, kind, str(path))
    folder = path.resolve().parent
    source: dict[str, Any] = {"file": str(path.resolve()), "sha256": hashlib.sha256(content).hexdigest()}
    if kind is not None:
        source["class"] = kind
    if beside := neighbours_of(folder):
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
