"""Notebooks that are exported as HTML: they show the film without a kernel, and without anything from elsewhere."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browsers import wait
from notebook_servers import TRAINING, Shown, notebook, surroundings

if TYPE_CHECKING:
    from selenium.webdriver import Chrome


@pytest.fixture(scope="module")
def executed(home: Path) -> Path:
    """A notebook that was run without a browser; widgets are in its metadata."""
    notebook(home / "run.ipynb", [f"{TRAINING}shown = tg.view(run, seeds=[2, 3])\nshown"])
    nbconvert(home, "run.ipynb", "--to=notebook", "--execute", "--output=executed.ipynb")
    return home / "executed.ipynb"


def nbconvert(home: Path, *args: str) -> None:
    command = [sys.executable, "-m", "nbconvert", *args]
    subprocess.run(command, cwd=home, env=surroundings(home), check=True, capture_output=True, timeout=300)


@pytest.mark.parametrize("widgets", [True, False], ids=["as run", "as saved by JupyterLab"])
def test_it_shows_the_film(driver: Chrome, executed: Path, widgets: bool) -> None:
    cells = json.loads(executed.read_text())
    if not widgets:
        del cells["metadata"]["widgets"]
    source = executed.with_name(f"export-{widgets}.ipynb")
    source.write_text(json.dumps(cells))
    nbconvert(executed.parent, source.name, "--to=html")
    driver.get(source.with_suffix(".html").as_uri())
    frame = wait(lambda: driver.find_elements("css selector", ".tegum-lab iframe"), "the page")[0]
    words = driver.find_element("css selector", ".tegum-lab").text
    assert words.startswith("tegum lab: 2 of 4 runs, 41 of 41 recorded steps, in a page of 0.")
    assert (frame.size["height"], frame.is_displayed()) == (800, True)
    driver.switch_to.frame(frame)
    page = Shown(driver)
    page.plays()
    assert page.ask("store.first.value.run") == 2
    # All that is shown fits, and nothing stands in the way of the export's own address.
    assert page.ask("[lab.clientHeight, lab.scrollHeight, location.href]") == [800, 800, "about:srcdoc"]
    driver.switch_to.default_content()


def test_a_text_says_what_is_missing_elsewhere(executed: Path) -> None:
    (cell,) = json.loads(executed.read_text())["cells"]
    first, second = (each["data"] for each in cell["outputs"])
    assert "".join(first["text/plain"]) == "<tegum lab: 2 of 4 runs, 41 of 41 recorded steps>"
    assert sorted(second) == ["application/vnd.jupyter.widget-view+json", "text/plain"]
