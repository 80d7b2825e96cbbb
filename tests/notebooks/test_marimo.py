"""A view in marimo: other cells are run again when somebody goes elsewhere in it."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browsers import wait
from notebook_servers import MARIMO, TRAINING, Shown, errors, served

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

APP = f"""\
import marimo

app = marimo.App(width="full")


@app.cell
def _():
    import marimo as mo
{textwrap.indent(TRAINING, "    ")}
    return mo, run, tg


@app.cell
def _(mo, run, tg):
    shown = mo.ui.anywidget(tg.view(run))
    shown
    return (shown,)


@app.cell
def _(mo, shown):
    mo.md(f"step {{shown.step}}, feature {{shown.selection}}, run {{shown.run}}")


@app.cell
def _(mo, shown):
    mo.ui.button(label="go", on_click=lambda _: setattr(shown, "step", 120))
"""


@pytest.fixture(scope="module")
def shown(driver: Chrome, home: Path) -> Iterator[Shown]:
    (home / "app.py").write_text(APP)
    with served(home, MARIMO, "/health") as place:
        driver.get(place)
        shown = Shown(driver)
        shown.until("store?.first.value")
        yield shown
        assert errors(driver) == []


def words(shown: Shown, text: str) -> None:
    wait(lambda: text in shown.ask("document.body.innerText"), text)


def test_it_plays(shown: Shown) -> None:
    words(shown, "step 400, feature None, run 0")
    shown.plays()
    words(shown, "step 400, feature None, run 0")
    assert shown.ask("[lab.clientHeight, lab.scrollHeight, lab.scrollWidth - lab.clientWidth]") == [800, 800, 0]


def test_other_cells_are_run_again(shown: Shown) -> None:
    shown.ask("store.turnTo(3, 200), store.selected.value = 4")
    words(shown, "step 200, feature 4, run 3")


def test_a_cell_sets_what_is_shown(shown: Shown) -> None:
    button = (
        "Array.from(document.querySelectorAll('marimo-button')).map((each) => each.shadowRoot.querySelector('button'))"
    )
    shown.ask(f"{button}[0].click()")
    shown.until("store.step.value === 120")


def test_it_is_as_dark_as_the_notebook(shown: Shown) -> None:
    look = "lab.shadowRoot.querySelector('.lab').className"
    assert shown.ask(look) == "lab light"
    # As marimo does itself, by a class.
    shown.ask("[document.documentElement, document.body].map((each) => each.classList.replace('light', 'dark'))")
    shown.until(f"{look} === {json.dumps('lab dark')}")
