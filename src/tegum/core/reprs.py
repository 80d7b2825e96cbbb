"""How values look in a notebook: a small table in HTML."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Any

_LONGEST = 200
"""The most letters of a value in a table."""


def html_table(title: str, rows: Iterable[tuple[str, Any]]) -> str:
    """A small table in HTML, of names and values as text.

    Args:
        title: the line above the table.
        rows: names and values; what they hold is shown as it is, never read as HTML.

    Returns:
        The table; its colours are those of the notebook.

    """
    style = "text-align: left; vertical-align: top; padding: 0 1em 0 0"
    lines = [
        f'<tr><th scope="row" style="{style}">{escape(name)}</th><td style="{style}">{escape(_cut(value))}</td></tr>'
        for name, value in rows
    ]
    return f"<table><caption>{escape(title)}</caption><tbody>{''.join(lines)}</tbody></table>"


def _cut(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
