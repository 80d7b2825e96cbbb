"""Sphinx builds the documentation with this: `python -m sphinx -W --keep-going docs docs/_build/html`.

Nothing is downloaded while building. Warnings are errors on the command line above; every notebook is run.
"""

from __future__ import annotations

import ast
import os
import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import generate
from docutils.nodes import SkipNode, container, image
from latex2mathml.converter import convert
from sphinx.util import logging

import tegum

project = "tegum"
author = "The tegum maintainers"
version = release = tegum.__version__
extensions = [
    "myst_nb",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_build", "generated/page-limits.md", "generated/results", "results", "**.ipynb_checkpoints"]

# Quotes and dots, but no dashes: "--out" is an option.
smartquotes_action = "qe"
html_math_renderer = "mathml"
html_theme = "furo"
html_title = "tegum"
html_static_path = ["static"]
html_css_files = ["tegum.css"]
html_show_sphinx = False
html_show_copyright = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#00548a", "color-brand-content": "#00548a"},
    "dark_css_variables": {"color-brand-primary": "#7cc4f4", "color-brand-content": "#7cc4f4"},
}

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "fieldlist"]
myst_heading_anchors = 4
nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_timeout = 240
nb_execution_raise_on_error = True
nb_merge_streams = True
# The dimensions in an annotation such as "feature n" are no references.
suppress_warnings = ["ref.python"]
# Progress is for whoever waits.
os.environ["TEGUM_PROGRESS"] = "0"
nb_output_stderr = "remove"

autodoc_mock_imports = generate.MOCKED
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_numpy_docstring = False
napoleon_custom_sections = [("Fields", "params_style")]


_COLON = "\ue000"
_LOG = logging.getLogger(__name__)


def _plain(app: Any, what: str, name: str, given: Any, options: Any, lines: list[str]) -> None:
    """Keep reStructuredText from finding markup in docstrings, which are plain text: |x| is a length there.

    What stands between backticks is code, and a link where it names something public.
    """
    for number, line in enumerate(lines):
        if not line.lstrip().startswith((">>>", "...")):
            escaped = re.sub(r"(?<!\\)([|*])", r"\\\1", line)
            lines[number] = re.sub(r"(?<![`:])`([^`]+)`(?!`)", _code, escaped)
    if what in ("attribute", "property") and lines:
        # Napoleon would take what stands before a colon for a type.
        lines[0] = lines[0].replace(": ", _COLON)


def _with_colons(app: Any, what: str, name: str, given: Any, options: Any, lines: list[str]) -> None:
    lines[:] = [line.replace(_COLON, ": ") for line in lines]


def _code(found: re.Match[str]) -> str:
    text = found[1].replace("\\", "")
    first, _, member = text.removeprefix("tegum.").partition(".")
    public = first in generate.NAMES and (not member or hasattr(getattr(tegum, first), member))
    return f":py:obj:`{text} <tegum.{text.removeprefix('tegum.')}>`" if public else f"``{text}``"


def _adapt(app: Any, name: str, source: list[str]) -> None:
    """Lead links to pages elsewhere in the repository to their copies, and let the README of a folder list its pages.

    These files are also read by themselves, where links must be as they are.
    """
    for file, page in generate.PROJECT.items():
        source[0] = re.sub(rf"\]\((\.\./)+{re.escape(file)}", f"](/generated/project/{page}.md", source[0])
    if name.endswith("/README"):
        source[0] += "\n```{toctree}\n:hidden:\n:glob:\n\n*\n```\n"


def _is_shown(app: Any, what: str, name: str, given: Any, skip: bool, options: Any) -> bool | None:
    """Leave out of a class what pydantic adds."""
    return True if name.startswith("model_") else None


def _formula(display: str) -> Any:
    """A renderer of formulas as MathML, which browsers show without a script from elsewhere."""

    def visit(translator: Any, node: Any) -> None:
        formula = convert(node.astext(), display=display)
        translator.body.append(f'<div class="math">{formula}</div>' if display == "block" else formula)
        raise SkipNode

    return visit, None


_DRAWS = re.compile(r"(tg|tegum)\.plot\.|(plt|pyplot)\.(subplots|subplot_mosaic|figure)$|.*\.(draw|drawn)$")
"""Calls that draw a figure."""


def _with_figures(app: Any, doctree: Any) -> None:
    """Warn of a cell that draws but shows no figure, and of a figure without a text in its place."""
    for cell in doctree.findall(container):
        if cell.get("nb_element") != "cell_code":
            continue
        images = list(cell.findall(image))
        source = "\n".join(part.astext() for part in cell.children if part.get("nb_element") == "cell_code_source")
        if not images and (drawing := _drawing(source)):
            _LOG.warning("the cell calls %s, and there is no figure in its output", drawing, location=cell)
        if any(not each.get("alt") for each in images):
            _LOG.warning('a figure needs a text: `:mystnb: {image: {alt: "…"}}` in its cell', location=cell)


def _drawing(source: str) -> str | None:
    """The first call that draws, functions and classes apart, which only say how it would be done."""
    if source.startswith("%%writefile"):
        return None
    tree = ast.parse(re.sub(r"^[%!].*$", "", source, flags=re.MULTILINE))
    there: list[ast.AST] = [each for each in tree.body if not isinstance(each, ast.FunctionDef | ast.ClassDef)]
    calls = (each for part in there for each in ast.walk(part) if isinstance(each, ast.Call))
    return next((name for name in (ast.unparse(each.func) for each in calls) if _DRAWS.match(name)), None)


def _generate(app: Any) -> None:
    generate.everything(Path(app.srcdir))


def _write_lab(app: Any, error: Exception | None) -> None:
    if error is None and app.builder.format == "html":
        generate.write_lab(Path(app.outdir) / "_static")


def setup(app: Any) -> dict[str, Any]:
    """Connect what is above."""
    app.add_html_math_renderer("mathml", inline_renderers=_formula("inline"), block_renderers=_formula("block"))
    app.connect("builder-inited", _generate)
    app.connect("build-finished", _write_lab)
    app.connect("source-read", _adapt)
    app.connect("doctree-read", _with_figures)
    app.connect("autodoc-process-docstring", _plain, priority=400)
    app.connect("autodoc-process-docstring", _with_colons, priority=600)
    app.connect("autodoc-skip-member", _is_shown)
    return {"parallel_read_safe": True}
