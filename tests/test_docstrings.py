"""Every public name is documented in full, and every example in the package runs and shows what it says.

Signatures are read from the source, since annotations that are checked at run time stand between a function and its
own. What a section says is for people to judge; that it is there, and names every parameter, is asked here.
"""

from __future__ import annotations

import ast
import doctest
import io
import re
import sys
from functools import cache
from inspect import cleandoc
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

import tegum as tg

PACKAGE = Path(tg.__file__).parent
Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def source(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def definition(name: str) -> tuple[Any, Any]:
    """A public object, and how it is defined; of overloads the last definition counts."""
    owner = attrgetter(name)(tg)
    module = source(Path(str(sys.modules[owner.__module__].__file__)))
    found = [each for each in module.body if getattr(each, "name", None) == name.rpartition(".")[2]]
    return owner, found[-1]


def text(node: Any) -> str:
    return cleandoc(ast.get_docstring(node) or "")


def section(doc: str, *titles: str) -> str:
    """The lines under one of these titles, up to the next line that is not indented; empty where there is none."""
    found = re.search(rf"^(?:{'|'.join(titles)}):\n((?:(?: .*)?\n?)*)", doc, re.MULTILINE)
    return found.group(1) if found else ""


def parameters(function: Function) -> list[str]:
    given = function.args
    several = [given.vararg, given.kwarg]
    named = [*given.posonlyargs, *given.args, *given.kwonlyargs, *(each for each in several if each is not None)]
    return [each.arg for each in named if each.arg not in ("self", "cls")]


def decorated_with(function: Function, *names: str) -> bool:
    return any(ast.unparse(each).split("(")[0] in names for each in function.decorator_list)


def missing(function: Function) -> list[str]:
    """What the documentation of a function, a method or a property lacks."""
    doc = text(function)
    if not doc:
        return ["a docstring"]
    lacks = []
    if any(isinstance(node, ast.Raise) and node.exc is not None for node in ast.walk(function)):
        lacks += [] if section(doc, "Raises") else ["Raises"]
    if decorated_with(function, "property", "cached_property"):
        return lacks
    told = section(doc, "Args")
    lacks += [f"Args: {name}" for name in parameters(function) if not re.search(rf"^    {name}: ", told, re.MULTILINE)]
    returns = "None" if function.returns is None else ast.unparse(function.returns)
    lacks += [] if returns == "None" or section(doc, "Returns", "Yields") else ["Returns"]
    return lacks


def fields_without_meaning(owner: ast.ClassDef) -> list[str]:
    """Fields of a class under which no sentence stands."""
    without = []
    for statement, after in zip(owner.body, [*owner.body[1:], ast.Pass()], strict=True):
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        name = statement.target.id
        meant = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and str(after.value.value)
        # What a subclass sets anew has its meaning in the class that declares it.
        if not name.startswith("_") and not meant and "ClassVar" not in ast.unparse(statement.annotation):
            without.append(name)
        elif meant and not re.match(r"[\"A-Zθ`].*[.:)]$", " ".join(meant.split())):
            without.append(f"{name} (not a sentence)")
    return without


NAMES = [name for name in tg.__all__ if name not in tg.NAMESPACES]
FUNCTIONS = [name for name in NAMES if not isinstance(getattr(tg, name), type)]
FUNCTIONS += [f"{space}.{name}" for space in tg.NAMESPACES for name in getattr(tg, space).__all__]
CLASSES = [name for name in NAMES if isinstance(getattr(tg, name), type)]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_is_documented_in_full(name: str) -> None:
    _, node = definition(name)
    lacks = missing(node) + ([] if ">>> " in section(text(node), "Example", "Examples") else ["Example"])
    assert not lacks


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_is_documented_with_its_fields_and_methods(name: str) -> None:
    owner, node = definition(name)
    lacks = [] if ">>> " in section(text(node), "Example", "Examples") else ["Example"]
    lacks += [f"{field}: its meaning" for field in fields_without_meaning(node)]
    inherited = {each for base in owner.__mro__[1:] if base.__module__.startswith("tegum") for each in vars(base)}
    for method in node.body:
        if not isinstance(method, Function) or method.name.startswith(("_", "model_")):
            continue
        # The class that a method comes from says what it takes and returns.
        own = ["a docstring"] if not text(method) else [] if method.name in inherited else missing(method)
        lacks += [f"{method.name}: {each}" for each in own]
    assert not lacks


def of_torch() -> list[tuple[str, ast.ClassDef | Function]]:
    """What `tegum.torch` and its modules make public: from the source, as importing it takes PyTorch."""
    return [
        (f"{path.stem}.{node.name}", node)
        for path in sorted((PACKAGE / "torch").glob("*.py"))
        for node in source(path).body
        if isinstance(node, ast.ClassDef | Function) and not node.name.startswith("_")
    ]


@pytest.mark.parametrize(("name", "node"), of_torch(), ids=[name for name, _ in of_torch()])
def test_what_is_for_pytorch_is_documented_in_full(name: str, node: ast.ClassDef | Function) -> None:
    methods = [node] if isinstance(node, Function) else [each for each in node.body if isinstance(each, Function)]
    lacks = [] if text(node) else ["a docstring"]
    lacks += fields_without_meaning(node) if isinstance(node, ast.ClassDef) else []
    lacks += [f"{each.name}: {one}" for each in methods if not each.name.startswith("_") for one in missing(each)]
    assert not lacks, name


def results() -> list[tuple[str, ast.ClassDef]]:
    """What public functions return beside public classes: data classes and tuples of the modules they stand in."""
    modules = {Path(str(sys.modules[getattr(tg, name).__module__].__file__)) for name in NAMES}
    return [
        (node.name, node)
        for path in sorted(modules)
        for node in source(path).body
        if isinstance(node, ast.ClassDef)
        and not node.name.startswith("_")
        and (
            "dataclass" in str(list(map(ast.unparse, node.decorator_list)))
            or "NamedTuple" in map(ast.unparse, node.bases)
        )
    ]


@pytest.mark.parametrize(("name", "node"), results(), ids=[name for name, _ in results()])
def test_each_field_of_a_result_has_a_meaning_of_its_own(name: str, node: ast.ClassDef) -> None:
    assert text(node), name
    assert not fields_without_meaning(node)


def stage(path: Path) -> str | None:
    """The stage in which the examples of a module run, if not with these tests: it needs PyTorch, or more than that."""
    inside = path.relative_to(PACKAGE).parts
    if inside[0] != "torch":
        return None
    return "interop" if inside[-1] == "saelens.py" else "pytorch"


def examples() -> list[Any]:
    """Every docstring of the package that has prompts, wherever it stands."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        if ">>> " not in path.read_text(encoding="utf-8"):
            continue
        for node in ast.walk(source(path)):
            if isinstance(node, ast.Module | ast.ClassDef | Function) and ">>> " in (doc := text(node)):
                name = f"{path.relative_to(PACKAGE)}:{getattr(node, 'name', 'module')}"
                example = doctest.DocTestParser().get_doctest(doc, {}, name, str(path), node.body[0].lineno - 1)
                marks = [getattr(pytest.mark, name) for name in (stage(path),) if name]
                found.append(pytest.param(example, id=example.name, marks=marks))
    return found


@pytest.mark.parametrize("example", examples())
def test_an_example_runs_as_it_stands(
    example: doctest.DocTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    told = io.StringIO()
    result = doctest.DocTestRunner().run(example, out=told.write)
    assert result.failed == 0, told.getvalue()
    # Shown and not only run.
    assert any(each.want for each in example.examples)
    assert not list(tmp_path.iterdir())


def test_constants_that_are_named_exist() -> None:
    """A constant that is renamed leaves no docstring behind that speaks of it."""
    known, named = set(), set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(source(path)):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                known.add(node.id)
            elif (
                isinstance(node, ast.Expr)
                and isinstance(node.value, ast.Constant)
                and isinstance(node.value.value, str)
            ):
                named |= {(path.name, each) for each in re.findall(r"`(?:\w+\.)*([A-Z][A-Z_]{2,})`", node.value.value)}
    # Variables of the environment have their package's name in front.
    assert not {each for each in named if each[1] not in known and not each[1].startswith("TEGUM_")}
    assert named


def test_the_checks_find_what_is_missing() -> None:
    [function] = ast.parse(
        "def f(a, *, b=1) -> int:\n    '''Do it.\n\n    Args:\n        a: it.\n\n    '''\n    raise E(a)"
    ).body
    assert isinstance(function, Function)
    assert missing(function) == ["Raises", "Args: b", "Returns"]
    [owner] = ast.parse("class A:\n    a: int\n    '''The a.'''\n    b: int\n    c: int\n    '''of b'''").body
    assert isinstance(owner, ast.ClassDef)
    assert fields_without_meaning(owner) == ["b", "c (not a sentence)"]
