"""The pictures of the lab that the documentation shows, taken of the page as it is now.

    pip install -e '.[browser]' && python docs/screenshots.py

needs Chromium with its driver, and takes about ten minutes, as all runs are trained in the page. Each state, as its
address names it, is taken in light and dark, on a wide screen and on a telephone; look at all before you commit them.
"""

from __future__ import annotations

import base64
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tegum as tg
from tegum.lab.films import films, packed
from tegum.lab.page_file import page

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

PLACE = Path(__file__).parent / "images" / "lab"
SIZES = {"wide": (1440, 900), "narrow": (390, 844)}
PATIENCE = 120.0

JUMP = """(() => {
    const drops = store.events.value.filter((each) => each.kind === "drop");
    store.scrub(drops.length > 0 ? drops[drops.length - 1].step + 60 : 9000);
    return true;
})()"""
BRANCH = """(() => {
    store.scrub(Math.round(store.first.value.last / 2));
    store.branch({ sets: [0, 1, 2].map((set) => ({ set, density: 0.4 })) });
    return true;
})()"""
LAB: dict[str, tuple[str, str]] = {
    # The state as an address has it, and what is then done.
    "start": ("", "store.step.value > 300 && store.scrub(900)"),
    "octahedron": ("preset=octahedron&step=15000", ""),
    "jump": ("preset=energy-levels&views=loss,dimensionality,claim", JUMP),
    "ensemble": ("preset=pentagon&step=10000&views=loss,ensemble", "store.startEnsemble()"),
    "branch": ("preset=pairs", BRANCH),
}
READY = {"ensemble": "store.ensemble.value.size === 64", "branch": "store.recordings.value.every((each) => each.whole)"}

LAST = {"branch": "store.scrub(9000)"}
"""What is done when a state is ready."""


def report() -> str:
    """The page of a film: runs that pass from level to level."""
    spec = tg.Spec(
        features=[tg.Independent(20, 0.03)], hidden=3, training=tg.Sampled(steps=15_000), snapshots=300, seeds=32
    )
    return page(films=packed(films(tg.train(spec))))


def ask(driver: Chrome, expression: str) -> Any:
    """Evaluate an expression on the page's own state."""
    return driver.execute_script(f"const store = document.querySelector('tegum-lab')?.store; return {expression};")


def until(driver: Chrome, expression: str) -> None:
    """Wait until an expression holds."""
    end = time.monotonic() + PATIENCE
    while not ask(driver, f"Boolean({expression})"):
        if time.monotonic() > end:
            raise TimeoutError(expression)
        time.sleep(0.1)


def take(driver: Chrome, name: str, place: str, act: str, ready: str) -> None:
    """Take the four pictures of a state."""
    for size, (width, height) in SIZES.items():
        for scheme in ("light", "dark"):
            features = [{"name": "prefers-color-scheme", "value": scheme}]
            driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
            metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == "narrow"}
            driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
            driver.get("about:blank")
            driver.get(place)
            until(driver, "store?.first.value?.whole")
            ask(driver, "store.playing.value = false")
            if act:
                ask(driver, act)
            until(driver, ready)
            ask(driver, "store.playing.value = false")
            ask(driver, LAST.get(name, "true"))
            # Two pictures later everything is drawn.
            driver.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")
            options = {"format": "webp", "quality": 82}
            taken = driver.execute_cdp_cmd("Page.captureScreenshot", options)
            (PLACE / f"{name}-{size}-{scheme}.webp").write_bytes(base64.b64decode(taken["data"]))


def main() -> None:
    """Take all pictures, or those of the states that are named."""
    from selenium.webdriver import Chrome, ChromeOptions, ChromeService

    options = ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for option in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(option)
    PLACE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        lab, film = Path(folder) / "lab.html", Path(folder) / "report.html"
        lab.write_text(page(), encoding="utf-8")
        film.write_text(report(), encoding="utf-8")
        states = {name: (f"{lab.as_uri()}#{address}", act) for name, (address, act) in LAB.items()}
        states["report"] = (f"{film.as_uri()}#film=0&run=0&step=6000&views=loss,dimensionality,gram,ensemble", "")
        driver = Chrome(options=options, service=ChromeService(shutil.which("chromedriver")))
        try:
            for name in sys.argv[1:] or states:
                take(driver, name, *states[name], READY.get(name, "true"))
        finally:
            driver.quit()


if __name__ == "__main__":
    main()
