"""How modules depend on each other, read from all their imports: at the top, in functions, and for type checkers."""

from __future__ import annotations

import ast
from pathlib import Path

import tegum

PACKAGE = Path(tegum.__file__).parent


def imports() -> dict[str, set[str]]:
    """For each module those of ours that it imports, wherever it does."""
    names = {}
    for path in PACKAGE.rglob("*.py"):
        parts = ("tegum", *path.relative_to(PACKAGE).with_suffix("").parts)
        names[".".join(parts).removesuffix(".__init__")] = path
    found: dict[str, set[str]] = {name: set() for name in names}
    for name, path in names.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found[name] |= {each.name for each in node.names}
            elif isinstance(node, ast.ImportFrom):
                inner = {f"{node.module}.{each.name}" for each in node.names}
                found[name] |= {each if each in names else str(node.module) for each in inner}
        found[name] = {each for each in found[name] if each in names and each != name}
    # Names of `tegum` itself are looked up when they are used: it imports everything, and nothing imports it.
    return {name: each - {"tegum"} for name, each in found.items() if name != "tegum"}


def test_no_module_leads_back_to_itself() -> None:
    """Also no circle of lazy imports, which would tell that two modules are one, or that a third is missing."""
    left = imports()
    while ready := [name for name, needs in left.items() if not needs & left.keys()]:
        for name in ready:
            del left[name]
    assert not left, {name: sorted(needs & left.keys()) for name, needs in left.items()}


def test_no_folder_is_a_heap() -> None:
    """More than about fourteen modules side by side are more than one can look over."""
    sizes = {
        folder: sum(path.suffix == ".py" and path.name != "__init__.py" for path in folder.iterdir())
        for folder in [PACKAGE, *(path for path in PACKAGE.rglob("*") if path.is_dir())]
    }
    heaps = {folder.name: size for folder, size in sizes.items() if size > 14}
    # One module for each figure.
    assert heaps.keys() <= {"figures"}, heaps
