"""The pictures of views in notebooks, taken of real ones.

python docs/notebook_screenshots.py         writes docs/images/jupyterlab.png and marimo.png; needs `.[notebook-tests]`
"""

from __future__ import annotations

import sys
import tempfile
import textwrap
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from notebook_servers import JUPYTERLAB, MARIMO, JupyterLab, Shown, chromium, notebook, served  # noqa: E402
from PIL import Image  # noqa: E402

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

TRAINING = """\
import tegum as tg

sets = [tg.Correlated(size=3, density=0.05)] * 2
spec = tg.Spec(features=sets, hidden=3, initial_scale=0.01, seeds=16, snapshots=200)
run = tg.train(spec, progress=False)
"""
MARIMO_APP = f"""\
import marimo

app = marimo.App(width="full")


@app.cell
def _():
    import marimo as mo
{textwrap.indent(TRAINING, "    ")}
    return mo, run, tg


@app.cell
def _(mo, run, tg):
    shown = mo.ui.anywidget(tg.view(run, height=720))
    shown
    return (shown,)


@app.cell
def _(mo, run, shown, tg):
    share = tg.dimensionality(run.weights.sel(seed=shown.run, step=shown.step))[shown.selection or 0]
    mo.md(f"Feature {{shown.selection}} has dimensionality {{float(share):.2f}} at step {{shown.step:,}}.")
"""


def taken(driver: Chrome, name: str) -> None:
    """Write what the browser shows, in few enough colours for a small file."""
    target = ROOT / "docs" / "images" / name
    picture = Image.open(BytesIO(driver.get_screenshot_as_png())).convert("RGB")
    picture.quantize(128, dither=Image.Dither.NONE).save(target, optimize=True)
    print(f"{target.relative_to(ROOT)}: {target.stat().st_size // 1000} kB")


def jupyterlab(driver: Chrome, home: Path) -> None:
    """A notebook in JupyterLab, after a cell has gone to a step."""
    notebook(home / "octahedron.ipynb", [TRAINING, "shown = tg.view(run, height=720)\nshown"])
    with served(home, JUPYTERLAB, "/api") as place:
        lab = JupyterLab(driver, place)
        lab.open("octahedron.ipynb")
        lab.command("application:toggle-left-area")
        lab.command("notebook:run-all-cells")
        lab.until("store?.first.value")
        lab.run("shown.step, shown.selection = 3_000, 2")
        lab.until("store.step.value === 3000 && store.selected.value === 2")
        lab.ask("lab.closest('.jp-Cell').scrollIntoView()")
        # Who opens JupyterLab for the first time is asked about news.
        lab.ask("document.querySelector('.Toastify')?.remove()")
        taken(driver, "jupyterlab.png")


def marimo(driver: Chrome, home: Path) -> None:
    """The same in marimo, by night."""
    (home / "app.py").write_text(MARIMO_APP)
    (home / ".marimo.toml").write_text('[display]\ntheme = "dark"\n')
    with served(home, MARIMO, "/health") as place:
        driver.get(place)
        shown = Shown(driver)
        shown.until("store?.first.value")
        shown.ask("[store.scrub(6000), store.selected.value = 4]")
        shown.until("document.body.innerText.includes('6,000')")
        taken(driver, "marimo.png")


if __name__ == "__main__":
    for picture, height in ((jupyterlab, 960), (marimo, 860)):
        with tempfile.TemporaryDirectory() as folder:
            browser = chromium(Path(folder))
            try:
                browser.set_window_size(1200, height + 140)
                picture(browser, Path(folder))
            finally:
                browser.quit()
