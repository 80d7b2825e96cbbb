"""A name means one thing: a class stands in one module, a constant of a layer has one value."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import tegum

PACKAGE = Path(tegum.__file__).parent


def trees() -> dict[str, ast.Module]:
    """The syntax tree of each module of the package, by its path."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        found[str(path.relative_to(PACKAGE))] = ast.parse(path.read_text(encoding="utf-8"))
    return found


def parted(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, str]]:
    """Each name of an assignment with the text of its value: of `A, B = 1, 2` both with their own."""
    match target, value:
        case ast.Name(id=name), _:
            yield name, ast.unparse(value)
        case ast.Tuple(elts=names), ast.Tuple(elts=values) if len(names) == len(values):
            for one, other in zip(names, values, strict=True):
                yield from parted(one, other)
        case ast.Tuple(elts=names), _:
            for number, one in enumerate(names):
                yield from parted(one, ast.Subscript(value, ast.Constant(number)))
        case _:
            pass


def constants(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """The names in capitals that a module gives values to, private ones too, with the text of the value."""
    for node in tree.body:
        match node:
            case ast.Assign(targets=targets, value=value):
                given = [each for target in targets for each in parted(target, value)]
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                given = list(parted(target, value))
            case _:
                given = []
        yield from ((name, text) for name, text in given if name == name.upper() and name.strip("_"))


def repeated_classes(modules: Mapping[str, ast.Module]) -> dict[str, list[str]]:
    """The names of classes, private ones too, that stand in several places, with their modules."""
    places: dict[str, list[str]] = defaultdict(list)
    for path, tree in modules.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(path)
    return {name: each for name, each in places.items() if len(each) > 1}


def ambiguous_constants(modules: Mapping[str, ast.Module]) -> dict[tuple[str, str], dict[str, str]]:
    """The layer and name of each constant that has several values in a layer, with the value in each module."""
    values: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for path, tree in modules.items():
        for name, text in constants(tree):
            values[Path(path).parts[0], name][path] = text
    return {name: each for name, each in values.items() if len(set(each.values())) > 1}


def test_a_class_name_stands_in_one_module() -> None:
    """Whoever reads it need not ask which one is meant."""
    assert not repeated_classes(trees())


def test_a_constant_of_a_layer_has_one_value() -> None:
    """Two thresholds of one name in neighbouring modules are read as one."""
    assert not ambiguous_constants(trees())


def test_what_is_ambiguous_is_found() -> None:
    """Classes inside functions, and constants that are assigned together, are seen; another layer's do not matter."""
    modules = {
        "analysis/one.py": "class Found: ...\nNEAR, FAR = 0.1, 2.0\n_STEP: float = 1e-6\nFEW = 3\nA, B = range(2)",
        "analysis/other.py": "def make():\n    class Found: ...\nFAR = 3.0\nNEAR = 0.1\n_STEP = 1e-8\nB = range(2)[1]",
        "core/third.py": "class Sought: ...\nFEW = 4",
    }
    parsed = {path: ast.parse(text) for path, text in modules.items()}
    assert repeated_classes(parsed) == {"Found": ["analysis/one.py", "analysis/other.py"]}
    assert ambiguous_constants(parsed) == {
        ("analysis", "FAR"): {"analysis/one.py": "2.0", "analysis/other.py": "3.0"},
        ("analysis", "_STEP"): {"analysis/one.py": "1e-06", "analysis/other.py": "1e-08"},
    }
