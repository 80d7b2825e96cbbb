"""What type checkers are told of a description's arguments is what its fields say."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tegum

PACKAGE = Path(tegum.__file__).parent


def stubs() -> Iterator[tuple[str, str, ast.arguments]]:
    """The module, the class and the arguments of each `__init__` that stands under `if TYPE_CHECKING`."""
    for path in sorted(PACKAGE.rglob("*.py")):
        module = ".".join(("tegum", *path.relative_to(PACKAGE).with_suffix("").parts))
        classes = [node for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.ClassDef)]
        for each in classes:
            hidden = [
                node for node in each.body if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
            ]
            for node in (inner for block in hidden for inner in block.body):
                if isinstance(node, ast.FunctionDef) and node.name == "__init__":
                    yield module, each.name, node.args


def defaults(given: ast.arguments) -> dict[str, ast.expr | None]:
    """Each argument but self, with the text of its default, or None where it must be given."""
    by_place = given.args[1:]
    none: list[ast.expr | None] = [None] * (len(by_place) - len(given.defaults))
    found = dict(zip([each.arg for each in by_place], none + list(given.defaults), strict=True))
    return found | dict(zip([each.arg for each in given.kwonlyargs], given.kw_defaults, strict=True))


STUBS = list(stubs())


def test_there_are_stubs_to_compare():
    """Of every way of training, of gated and other sets, of a Spec with its start, and of snapshots."""
    assert {
        "Sampled",
        "Exact",
        "Flow",
        "Correlated",
        "Equivariant",
        "Spec",
        "Start",
        "Snapshots",
        "Change",
        "SetChange",
    } <= {name for _, name, _ in STUBS}


@pytest.mark.parametrize(("module", "name", "given"), STUBS, ids=[name for _, name, _ in STUBS])
def test_a_stub_has_the_fields_and_their_defaults(module: str, name: str, given: ast.arguments):
    described: Any = getattr(importlib.import_module(module), name)
    fields, told = described.model_fields, defaults(given)
    if name == "Empirical":
        # It is made of activations, and its fields describe them.
        assert {"activations", "importance"} <= set(told)
        told = {"importance": told["importance"]}
    else:
        assert set(told) == set(fields)
        assert tuple(each.arg for each in given.args[1:]) == described.positional
    for key, text in told.items():
        assert (text is None) == fields[key].is_required(), key
        # "..." stands for a default that is made anew each time.
        if text is not None and ast.unparse(text) != "...":
            assert ast.literal_eval(text) == fields[key].get_default(call_default_factory=True), key
