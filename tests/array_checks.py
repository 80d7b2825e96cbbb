"""Annotated arrays are checked at run time: shapes by jaxtyping, types by beartype.

jaxtyping's import hook wraps every function there is, at tens of microseconds a call, and a millisecond for each
function that is made inside another one. Only those are wrapped here that take or return arrays, which makes the
experiments twice as fast.
"""

from __future__ import annotations

import ast
from pathlib import Path

import jaxtyping
from jaxtyping._import_hook import JaxtypingTransformer

ARRAYS = {name for name, value in vars(jaxtyping).items() if getattr(value, "dtypes", None) is not None}
"""The names of types of arrays, such as Float64."""


def _names(node: ast.AST) -> set[str]:
    return {each.id for each in ast.walk(node) if isinstance(each, ast.Name)} | {
        each.attr for each in ast.walk(node) if isinstance(each, ast.Attribute)
    }


def aliases(package: Path) -> set[str]:
    """Names that modules of a package give to types of arrays, such as Weights."""
    found: set[str] = set()
    for path in package.rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            match node:
                case ast.Assign(targets=[ast.Name(id=name)], value=value) if _names(value) & ARRAYS:
                    found.add(name)
                case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value) if _names(value) & ARRAYS:
                    found.add(name)
    return found


def install(package: Path) -> None:
    """Check the arrays of all functions of a package that is imported from now on."""
    names = ARRAYS | aliases(package)
    every = JaxtypingTransformer.visit_FunctionDef

    def visit(self: JaxtypingTransformer, node: ast.FunctionDef) -> ast.FunctionDef:
        arguments = node.args
        listed = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
        written = [each.annotation for each in listed if each is not None] + [node.returns]
        if any(_names(each) & names for each in written if each is not None):
            return every(self, node)
        self.generic_visit(node)
        return node

    JaxtypingTransformer.visit_FunctionDef = visit
    jaxtyping.install_import_hook(package.name, "beartype.beartype")
