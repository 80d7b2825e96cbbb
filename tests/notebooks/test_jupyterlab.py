"""A view in JupyterLab: linked to the cells both ways while there is a kernel, and a page where there is none."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from browsers import wait
from notebook_servers import JUPYTERLAB, TRAINING, JupyterLab, errors, notebook, served

if TYPE_CHECKING:
    from selenium.webdriver import Chrome


@pytest.fixture(scope="module")
def place(home: Path) -> Iterator[str]:
    """JupyterLab's address."""
    notebook(home / "run.ipynb", [f"{TRAINING}shown = tg.view(run)\nshown"])
    with served(home, JUPYTERLAB, "/api") as place:
        yield place


@pytest.fixture(scope="module")
def opened(driver: Chrome, place: str) -> JupyterLab:
    """The notebook, its cell run, and the view below it."""
    lab = JupyterLab(driver, place)
    lab.open("run.ipynb")
    lab.command("notebook:run-all-cells")
    lab.until("store?.first.value")
    return lab


@pytest.fixture
def lab(opened: JupyterLab) -> Iterator[JupyterLab]:
    """The same, at its last step. In the end nothing has gone wrong in the browser."""

    def reset() -> bool:
        # What the test before did may be told only now, and be set back once more.
        opened.run("shown.step, shown.selection, shown.run, shown.spec = 400, None, 0, 0")
        return opened.ask("[store.step.value, store.selected.value, store.first.value.run]") == [400, None, 0]

    wait(reset, "the beginning")
    errors(opened.browser)
    yield opened
    assert errors(opened.browser) == []


def test_the_widget_stands_alone(lab: JupyterLab) -> None:
    lab.plays()
    assert lab.ask("document.querySelectorAll('iframe, .tegum-lab').length") == 0
    # Nothing has to be scrolled for the views that are shown at first.
    assert lab.ask("[lab.clientHeight, lab.scrollHeight, lab.scrollWidth - lab.clientWidth]") == [800, 800, 0]


def test_a_cell_sets_what_is_shown(lab: JupyterLab) -> None:
    assert lab.run("shown.step = 120; shown.selection = 2; shown.run = 3") == ""
    lab.until("store.step.value === 120 && store.selected.value === 2 && store.first.value.run === 3")
    assert lab.ask("lab.shadowRoot.querySelector('.scene .caption').textContent").startswith("Step 120 of 400: six")
    shown = lab.ask("Array.from(store.first.value.frames[store.indices.value[0]].weights)")
    told = lab.run("print(run.weights.sel(seed=3, step=120).values.ravel().tolist(), float(abs(run.weights).max()))")
    values, largest = re.fullmatch(r"(\[.*\]) (\S+)", told).groups()  # type: ignore[union-attr]
    np.testing.assert_allclose(shown, json.loads(values), rtol=0, atol=0.51 * float(largest) / 32767)


def test_a_cell_reads_what_was_done(lab: JupyterLab) -> None:
    lab.ask("store.scrub(200), store.selected.value = 4")
    wait(lambda: lab.run("shown.step, shown.selection, shown.run, shown.spec").endswith("(200, 4, 0, 0)"))
    lab.ask("store.turnTo(2, 90)")
    wait(lambda: lab.run("shown.step, shown.run").endswith("(90, 2)"))


def test_who_observes_is_told_while_it_plays(lab: JupyterLab) -> None:
    lab.run("seen = []; shown.observe(lambda change: seen.append(change.new), 'step')")
    lab.plays()
    wait(lambda: lab.run("shown.step").endswith("400"))
    seen = json.loads(lab.run("print(seen)"))
    assert len(seen) > 2
    assert seen == sorted(seen)
    assert seen[-1] == 400


def test_what_is_not_there_is_refused_in_a_sentence(lab: JupyterLab) -> None:
    told = lab.run("shown.selection = 6")
    assert told.splitlines()[-1] == "LinkError: view(run).selection = 6: selection must be None or an int from 0 to 5"
    assert lab.run("shown.selection is None").endswith("True")
    assert lab.ask("store.selected.value") is None


def test_a_run_that_is_trained_in_the_view_is_not_python_s(lab: JupyterLab) -> None:
    lab.run("shown.step = 50")
    lab.until("store.step.value === 50")
    lab.ask("store.restart({ rate: 0.02 })")
    lab.until("store.first.value.film === null && store.first.value.whole")
    lab.until("store.playing.value === false")
    assert lab.run("shown.step").endswith("50")
    # Setting anything brings the recorded run back.
    lab.run("shown.step = 60")
    lab.until("store.first.value.film !== null && store.step.value === 60")


def test_keys_in_it_are_its_own(lab: JupyterLab) -> None:
    from selenium.webdriver import ActionChains

    cells = "jupyterapp.shell.currentWidget.content.widgets.length"
    before = lab.ask(cells)
    scene = lab.ask("lab.shadowRoot.querySelector('.scene canvas')")
    lab.browser.execute_script("arguments[0].scrollIntoView({ block: 'center' })", scene)
    corner = [8 - scene.size[side] // 2 for side in ("width", "height")]
    ActionChains(lab.browser).move_to_element_with_offset(scene, *corner).click().perform()
    # In JupyterLab `b` inserts a cell.
    ActionChains(lab.browser).send_keys("f", "f", "b", "[").perform()
    lab.until("store.selected.value === 1")
    assert lab.ask(cells) == before


def test_it_is_as_dark_as_the_notebook(lab: JupyterLab) -> None:
    look = "lab.shadowRoot.querySelector('.lab').className"
    assert lab.ask(look) == "lab light"
    lab.command("apputils:change-theme", theme="JupyterLab Dark")
    lab.until(f"{look} === 'lab dark'")
    lab.command("apputils:change-theme", theme="JupyterLab Light")
    lab.until(f"{look} === 'lab light'")


def alive(driver: Chrome) -> int:
    """How many elements there are in the browser's memory."""
    for _ in range(3):
        driver.execute_cdp_cmd("HeapProfiler.collectGarbage", {})
    group = {"objectGroup": "asked"}
    kind = {"expression": "customElements.get('tegum-lab').prototype"} | group
    prototype = driver.execute_cdp_cmd("Runtime.evaluate", kind)["result"]["objectId"]
    found = driver.execute_cdp_cmd("Runtime.queryObjects", {"prototypeObjectId": prototype} | group)["objects"]
    answer = driver.execute_cdp_cmd(
        "Runtime.callFunctionOn",
        {"objectId": found["objectId"], "functionDeclaration": "function() { return this.length; }"},
    )
    # What is looked at would be kept.
    driver.execute_cdp_cmd("Runtime.releaseObjectGroup", group)
    return answer["result"]["value"]


def test_closing_frees_it(lab: JupyterLab) -> None:
    before = alive(lab.browser)
    count = "document.querySelectorAll('tegum-lab').length"
    for _ in range(3):
        lab.run("other = tg.view(run); display(other)")
        lab.until(f"{count} === 2")
        lab.run("other.close()")
        lab.until(f"{count} === 1")
    assert lab.run("len(other._films)").endswith("0")
    told = lab.run("import gc, weakref; gone = weakref.ref(other); del other; gc.collect(); gone() is None")
    assert told.endswith("True")
    wait(lambda: alive(lab.browser) <= before, "elements that are freed")


def test_two_views_of_the_same_runs(lab: JupyterLab) -> None:
    lab.run("display(shown)")
    lab.until("document.querySelectorAll('tegum-lab').length === 2")
    both = "Array.from(document.querySelectorAll('tegum-lab')).every((each) => each.store?.step.value === {})"
    lab.ask("store.scrub(70)")
    lab.until(both.format(70))
    lab.run("shown.step = 80")
    lab.until(both.format(80))
    cells = "jupyterapp.shell.currentWidget.content.model.sharedModel"
    lab.ask(f"{cells}.deleteCell({cells}.cells.length - 2)")
    lab.until("document.querySelectorAll('tegum-lab').length === 1")


def test_without_a_kernel_the_page_is_there(opened: JupyterLab, home: Path) -> None:
    opened.command("docmanager:save")
    shutil.copy(home / "run.ipynb", home / "again.ipynb")
    lab = JupyterLab(opened.browser, opened.place)
    lab.open("again.ipynb", kernel=False)
    frame = wait(lambda: lab.browser.find_elements("css selector", ".tegum-lab iframe"), "the page")[0]
    # What JupyterLab says of the widget, which is gone, is not seen.
    told = "document.querySelector('.jp-OutputArea')"
    lab.until(f"{told}.textContent.includes('model not found')")
    assert "model not found" not in lab.ask(f"{told}.innerText")
    lab.browser.switch_to.frame(frame)
    lab.plays()
    lab.browser.switch_to.default_content()


def test_where_it_is_not_trusted_it_says_so(opened: JupyterLab, home: Path) -> None:
    opened.command("docmanager:save")
    cells = json.loads((home / "run.ipynb").read_text())
    # Of somebody else, and so not signed by this JupyterLab.
    cells["cells"][0]["source"] = "# of others"
    (home / "others.ipynb").write_text(json.dumps(cells))
    lab = JupyterLab(opened.browser, opened.place)
    lab.open("others.ipynb", kernel=False)
    words = "document.querySelector('.jp-OutputArea-output')?.innerText.trim()"
    lab.until(words)
    assert lab.ask(words).startswith("tegum lab: 4 of 4 runs, 41 of 41 recorded steps, in a page of 0.")
    assert lab.ask("document.querySelectorAll('iframe').length") == 0
