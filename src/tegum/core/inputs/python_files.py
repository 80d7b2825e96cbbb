"""Python files of a user, run like scripts: modules in their folder can be imported, and hide installed ones."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

_PACKAGE = Path(__file__).parents[2]

_neighbours: dict[str, Path] = {}
"""Modules and packages that files have imported from their own folders, with those folders."""


def owned_by(root: Path, file: str) -> bool:
    """Whether a Python file belongs to a user's file or folder, and not to tegum or something installed inside it.

    Args:
        root: the folder, or the single file, that holds the user's code.
        file: the Python file.

    """
    path = Path(file)
    if path == root:
        return True
    if not path.is_relative_to(root) or path.is_relative_to(_PACKAGE):
        return False
    return "site-packages" not in path.relative_to(root).parts


def run_file(path: Path, content: bytes, what: str) -> ModuleType:
    """Run a file as a module, under a name that no other module has.

    Args:
        path: the absolute path, beside which its neighbours are looked for.
        content: the bytes of the file; exactly these are run.
        what: what the file is, for the message: "experiment".

    Raises:
        ValueError: it is no file of Python code.
        Exception: whatever the file itself raises.

    """
    name = f"{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None:
        raise ValueError(f"{what} {str(path)!r}: this is not a file of Python code")
    module = importlib.util.module_from_spec(spec)
    _put_first(path.parent)
    before, sys.modules[name] = set(sys.modules), module
    try:
        exec(compile(content, str(path), "exec", dont_inherit=True), module.__dict__)
    except BaseException:
        del sys.modules[name]
        raise
    finally:
        for each in set(sys.modules) - before - {name}:
            file = getattr(sys.modules[each], "__file__", None)
            if file is not None and owned_by(path.parent, file):
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


def neighbours_of(folder: Path) -> dict[str, str]:
    """The sha256 of each neighbour that files in a folder have imported, by its path in the folder."""
    found = {}
    for name, module in sorted(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if _neighbours.get(name.partition(".")[0]) == folder and file is not None and Path(file).is_relative_to(folder):
            digest = hashlib.sha256(Path(file).read_bytes()).hexdigest()
            found[Path(file).relative_to(folder).as_posix()] = digest
    return found
