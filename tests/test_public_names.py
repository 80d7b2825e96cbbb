"""What `tegum` makes public: one table, the imports for type checkers beside it, and the modules themselves."""

import ast
import importlib
from pathlib import Path

import pytest

import tegum

TABLE = {(module, name) for module, names in tegum.PUBLIC.items() for name in names.split()}


def test_type_checkers_see_what_the_table_says():
    (block,) = (
        node
        for node in ast.parse(Path(tegum.__file__).read_text(encoding="utf-8")).body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    seen = []
    spaces, *rest = block.body
    assert isinstance(spaces, ast.ImportFrom)
    assert spaces.module == "tegum"
    assert tuple(each.name for each in spaces.names) == tegum.NAMESPACES
    for node in rest:
        assert isinstance(node, ast.ImportFrom)
        # Only `import name as name` hands a name on to users of a typed package.
        assert all(each.asname == each.name for each in node.names), ast.unparse(node)
        seen += [(node.module, each.name) for each in node.names]
    assert sorted(seen) == sorted(TABLE)


def test_names_live_where_the_table_says():
    for module, name in TABLE:
        value = getattr(tegum, name)
        assert value is getattr(importlib.import_module(module), name)
        # Unions and other aliases know no module.
        assert getattr(value, "__module__", module) in (module, "typing", "types"), name


def test_all_public_names_are_there_and_no_others():
    names = {name for _, name in TABLE}
    assert len(names) == len(TABLE)
    spaces = set(tegum.NAMESPACES)
    assert set(tegum.__all__) == names | spaces
    assert set(dir(tegum)) == names | spaces | {"__version__"}
    scope: dict[str, object] = {}
    exec("from tegum import *", scope)
    assert scope.keys() - {"__builtins__"} == names | spaces
    with pytest.raises(AttributeError, match="module 'tegum' has no attribute 'Superposition'"):
        _ = tegum.Superposition  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("name", tegum.NAMESPACES)
def test_a_namespace_is_a_module_whose_names_are_listed(name):
    module = importlib.import_module(f"tegum.{name}")
    assert getattr(tegum, name) is module
    assert sorted(module.__all__) == sorted(each for each, value in vars(module).items() if callable(value))
