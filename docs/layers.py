"""A picture of the layers in text, read from the imports.

    python docs/layers.py            prints it
    python docs/layers.py --write    puts it into ARCHITECTURE.md, between the two marks

Rows import columns; a number says how many modules of the row import a module of the column. That all numbers lie above
the diagonal is what the import linter checks.
"""

from __future__ import annotations

import ast
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
WIDTH = 7
BEGIN, END = "<!-- layers: python docs/layers.py --write -->", "<!-- end of layers -->"


def imports(package: Path) -> dict[str, set[str]]:
    """For each module of a package those of the same package that it imports, wherever it does."""
    names = {}
    for path in package.rglob("*.py"):
        parts = (package.name, *path.relative_to(package).with_suffix("").parts)
        names[".".join(parts).removesuffix(".__init__")] = path
    found = {name: _named(path) for name, path in names.items()}
    for name, named in found.items():
        # "from a import b" names a module a.b, or something in a module a.
        whole = {each if each in names else each.rpartition(".")[0] for each in named}
        found[name] = {each for each in whole if each in names and each != name}
    # Names of the package itself are looked up when they are used: it imports everything, and nothing imports it.
    return {name: each - {package.name} for name, each in found.items() if name != package.name}


def _named(path: Path) -> set[str]:
    """All that a file imports by full names, a.b for "import a.b" and for "from a import b" alike."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{each.name}" for each in node.names}
    return found


def layers() -> list[list[str]]:
    """The layers from the top, as the import linter has them, each with all that stands in it."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = (each for each in settings["tool"]["importlinter"]["contracts"] if each["type"] == "layers")
    return [[name.strip() for name in layer.split("|")] for layer in contract["layers"]]


def picture() -> str:
    """The picture, without the marks."""
    package = ROOT / "src" / "tegum"
    found, (top, *others) = imports(package), layers()
    # Nothing imports what is at the top.
    columns = [name for layer in others for name in layer]
    names = [*top, *columns]
    of = {module: module.split(".")[1] for module in found}
    rows = []
    for row in names:
        own = [module for module in found if of[module] == row]
        cells = []
        for column in columns:
            count = sum(any(of[each] == column for each in found[module]) for module in own)
            below = names.index(column) > names.index(row)
            cells.append(f"{count or '·' if below else '':>{WIDTH}}")
        rows.append(f"{row:<12}{len(own):>3}{''.join(cells)}".rstrip())
    return "\n".join((*_heads(columns), *rows))


def _heads(columns: list[str]) -> list[str]:
    """The names of the columns in two lines, so that long names do not make columns wide."""
    heads = []
    for line in (0, 1):
        text = ""
        for number, name in enumerate(columns):
            if number % 2 == line:
                end = 15 + WIDTH * (number + 1)
                text = f"{text:<{end - len(name)}}{name}"
        heads.append(text)
    return heads


def written(text: str) -> str:
    """ARCHITECTURE.md with the picture as it is now."""
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n```text\n{picture()}\n```\n{END}{after}"


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        path = ROOT / "ARCHITECTURE.md"
        path.write_text(written(path.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        print(picture())
