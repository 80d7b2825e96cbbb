"""Where notebooks are run and read: JupyterLab and marimo, each in a process of its own, looked at in Chromium."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import browsers
from browsers import wait

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

PACKAGES = ("anywidget", "ipykernel", "jupyterlab", "marimo", "nbconvert", "selenium")
FAREWELL = 10
"""Seconds that a server has to end its kernels."""

JUPYTERLAB = (
    "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", "--port={port}", "--IdentityProvider.token=",
    "--LabApp.news_url=None", "--LabApp.expose_app_in_browser=True",
)  # fmt: skip
MARIMO = ("marimo", "run", "app.py", "--headless", "--no-token", "--host=127.0.0.1", "--port={port}")
"""Commands for `served`."""

TRAINING = """\
import tegum as tg

sets = [tg.Correlated(size=3, density=0.05)] * 2
training = tg.Sampled(steps=400, batch=64, evaluation=256, rate=0.01)
run = tg.train(tg.Spec(features=sets, hidden=3, seeds=4, training=training, snapshots=40), progress=False)
"""
"""Four runs that take a moment, of six features at steps 0, 10, …, 400."""

FIND = """
    const find = (root) => {
        for (const each of root.querySelectorAll('*')) {
            if (each.localName === 'tegum-lab') return each;
            const inside = each.shadowRoot && find(each.shadowRoot);
            if (inside) return inside;
        }
        return null;
    };
    const lab = find(document);
    const store = lab?.store;
"""
"""The element, also where a notebook has it inside of elements of its own."""


def missing() -> str | None:
    """Say in one sentence what the tests in notebooks lack, if anything."""
    for package in PACKAGES:
        if find_spec(package) is None:
            return f"the Python package {package} is missing: run `pip install -e '.[notebook-tests]'`"
    for program in ("chromium", "chromedriver"):
        if shutil.which(program) is None:
            return f"{program} is missing: run `apt-get install {browsers.PROGRAMS[program]}`"
    return None


def chromium(folder: Path) -> Chrome:
    """Start Chromium, which finds nothing but servers of this machine."""
    driver = browsers.chromium(folder, "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
    driver.set_window_size(1400, 1200)
    return driver


def notebook(target: Path, cells: Sequence[str]) -> None:
    """Write a notebook that has not been run."""
    import nbformat

    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(made, target)


def surroundings(home: Path) -> dict[str, str]:
    """An environment in which nobody's settings are found."""
    names = ("HOME", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR", "XDG_CONFIG_HOME", "XDG_STATE_HOME")
    # Beside the compiled code, which would take long to make anew.
    return os.environ | {name: str(home / name.lower()) for name in names} | {"PYTHONWARNINGS": "default"}


@contextmanager
def served(home: Path, command: Sequence[str], alive: str) -> Iterator[str]:
    """A server on a free port of this machine, and its address.

    Args:
        home: a folder of its own.
        command: the module that is run, and its arguments; `{port}` stands for the port.
        alive: what of its addresses answers once it is there.

    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = f"http://127.0.0.1:{port}"
    log = home / "server.log"
    with (
        log.open("w") as told,
        subprocess.Popen(
            [sys.executable, "-m", *(each.format(port=port) for each in command)],
            cwd=home, env=surroundings(home), stdin=subprocess.DEVNULL, stdout=told, stderr=subprocess.STDOUT,
        ) as server,
    ):  # fmt: skip

        def answers() -> bool:
            assert server.poll() is None, log.read_text()
            try:
                with urllib.request.urlopen(f"{place}{alive}", timeout=5):
                    return True
            except OSError:
                return False

        try:
            wait(answers, f"{command[0]}: {log.read_text()}")
            yield place
        finally:
            server.terminate()
            try:
                server.wait(FAREWELL)
            except subprocess.TimeoutExpired:
                server.kill()


def errors(driver: Chrome) -> list[str]:
    """What scripts in the browser have complained of since this was asked last."""
    told = [entry for entry in driver.get_log("browser") if entry["source"] in ("javascript", "console-api")]
    return [entry["message"] for entry in told if entry["level"] == "SEVERE"]


class Shown:
    """A view of runs in a browser: its state, as the page itself has it."""

    def __init__(self, browser: Chrome) -> None:
        self.browser = browser

    def ask(self, expression: str) -> Any:
        """Evaluate an expression in which the element is called `lab`, and its state `store`."""
        return self.browser.execute_script(f"{FIND} return {expression};")

    def until(self, expression: str) -> None:
        """Wait until an expression holds."""
        wait(lambda: self.ask(f"Boolean({expression})"), expression)

    def drawn(self) -> int:
        """Count the different colours in the scene, of which an empty one has one."""
        return self.ask(
            "((canvas) => { const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext('2d',"
            " { willReadFrequently: true }); copy.drawImage(canvas, 0, 0);"
            " return new Set(new Uint32Array(copy.getImageData(0, 0, canvas.width, canvas.height).data.buffer)).size;"
            " })(lab.shadowRoot.querySelector('.scene canvas'))"
        )

    def plays(self) -> None:
        """Look whether the scene is there, and whether its button plays the film from beginning to end."""
        self.until("store?.first.value?.frames.length === 41")
        assert self.ask("[store.step.value, store.refusal.value]") == [400, None]
        wait(lambda: self.drawn() > 10, "a scene")
        seen = (
            "window.steps = []; store.step.subscribe((step) => window.steps.push(step));"
            "lab.shadowRoot.querySelector('[aria-label=Play]').click()"
        )
        self.browser.execute_script(f"{FIND} {seen}")
        self.until("window.steps.length > 3 && window.steps.at(-1) === 400")
        steps = self.ask("window.steps")
        assert steps[:2] == [400, 0]
        assert steps[1:] == sorted(steps[1:])


class JupyterLab(Shown):
    """JupyterLab with a notebook open."""

    def __init__(self, browser: Chrome, place: str) -> None:
        super().__init__(browser)
        self.place = place

    def open(self, name: str, *, kernel: bool = True) -> None:
        """Open a notebook anew."""
        self.browser.get(f"{self.place}/lab/tree/{name}?reset")
        self.until("window.jupyterapp?.shell?.currentWidget?.context?.isReady")
        if kernel:
            self.until("jupyterapp.shell.currentWidget.sessionContext.session?.kernel")

    def command(self, name: str, **args: Any) -> None:
        """Have a command of JupyterLab done."""
        given = json.dumps(args)
        done = "const done = arguments[0]; jupyterapp.commands.execute({}, {}).then(() => done(true));"
        assert self.browser.execute_async_script(done.format(json.dumps(name), given))

    def run(self, source: str) -> str:
        """Run a new cell at the end of the notebook, and return the text of its output."""
        content = "jupyterapp.shell.currentWidget.content"
        cell = json.dumps({"cell_type": "code", "source": source})
        self.ask(
            f"((content) => {{ content.model.sharedModel.addCell({cell});"
            f" content.activeCellIndex = content.widgets.length - 1; content.deselectAll(); }})({content})"
        )
        self.command("notebook:run-cell")
        return self.ask(f"{content}.widgets.at(-1).outputArea.node.innerText.trim()")
