"""The code of measures that users wrote: run where it is needed, and told apart by digests of what it is."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib
import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from tegum.core.inputs.python_files import run_file

_lock = threading.RLock()
_running: set[Path] = set()
"""Files that are being run."""

_loaded: dict[str, str] = {}
"""The digests of neighbours of files, as they were imported, by their paths."""


def ran(path: Path, text: str, call: str) -> tuple[ModuleType, str]:
    """Run a file of measures, with its neighbours as they are now.

    Args:
        path: the absolute path, beside which its neighbours are looked for.
        text: the code of the file; exactly this is run.
        call: what errors begin with.

    Returns:
        The module, and a digest of its code and that of the neighbours that it imports, directly or not.

    Raises:
        ValueError: the file raises an error, or comes back to where it is asked for.

    """
    with _lock:  # the modules of a process belong to all of its threads
        if path in _running:
            rule = 'put what it does into a block `if __name__ == "__main__":`, or the measure into a file of its own'
            raise ValueError(f"{call}: the file starts a sweep whenever it is run, also to find the measure; {rule}")
        neighbours = _neighbours(path, text)
        _forget_changed(path.parent, neighbours)
        _running.add(path)
        try:
            module = run_file(path, text.encode(), "measure")
        except Exception as error:
            said = " ".join(str(error).split())
            raise ValueError(f"{call}: the file raises {type(error).__name__}{f': {said}' if said else ''}") from error
        finally:
            _running.discard(path)
        _loaded.update({str(path.parent / name): digest for name, digest in neighbours.items()})
    own = {"file": _digest(text.encode()), **neighbours}
    return module, _digest(json.dumps(own, sort_keys=True).encode())


@functools.cache
def of_module(name: str) -> str:
    """A digest of the code of a module that is installed, and of the whole package that it is in.

    It is that of the files as they were when this process first asked.
    """
    file = getattr(importlib.import_module(name), "__file__", None)
    if not file:  # built into Python, whose version is known
        return _digest(b"")
    found = {"": _digest(Path(file).read_bytes())}
    for root in map(Path, getattr(sys.modules[name.partition(".")[0]], "__path__", ())):
        found |= {each.relative_to(root).as_posix(): _digest(each.read_bytes()) for each in sorted(root.rglob("*.py"))}
    return _digest(json.dumps(found).encode())


def _neighbours(path: Path, text: str) -> dict[str, str]:
    """The digests of the files in a folder that a file of it imports, directly or not, by their paths in the folder."""
    # As they are written in the code: which of them a process has imported before depends on what else it has done.
    found: dict[str, str] = {}
    left = [text.encode()]
    while left:
        for file in _imported(left.pop(), path.parent):
            name = file.relative_to(path.parent).as_posix()
            if name not in found and file != path:
                content = file.read_bytes()
                found[name] = _digest(content)
                left.append(content)
    return found


def _imported(content: bytes, folder: Path) -> Iterator[Path]:
    """The files of the modules and packages in a folder that some code imports."""
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):  # which running it will tell
        return
    for node in ast.walk(tree):
        match node:
            case ast.Import(names):
                tops = [each.name.partition(".")[0] for each in names]
            case ast.ImportFrom(module=str(module), level=0):
                tops = [module.partition(".")[0]]
            case _:
                continue
        for top in tops:
            module_file = folder / f"{top}.py"
            if (folder / top / "__init__.py").is_file() or not module_file.is_file():
                yield from sorted((folder / top).rglob("*.py"))
            else:
                yield module_file


def _forget_changed(folder: Path, neighbours: dict[str, str]) -> None:
    """Forget neighbours that this process has imported as they no longer are."""
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if not isinstance(file, str) or not Path(file).is_relative_to(folder):
            continue
        digest = neighbours.get(Path(file).relative_to(folder).as_posix())
        if digest is not None and _loaded.get(file) != digest:
            del sys.modules[name]


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
