"""How the page behaves: no network, no complaints of axe, no motion where it is unwelcome, no memory that grows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from browsers import SMALL, STORE, Page, wait

if TYPE_CHECKING:
    pass

PRESETS = "[...root.querySelectorAll('[aria-label=System] option')].map((each) => each.value)"


def test_nothing_is_asked_of_a_network(page: Page) -> None:
    driver = page.browser
    driver.execute_cdp_cmd("Network.enable", {})
    driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["http://*", "https://*", "ws://*", "wss://*"]})
    driver.get_log("performance")
    page.open()
    for name in page.ask(PRESETS)[:3]:
        page.choose("System", name)
        page.until("store.first.value.frames.length > 0")
    page.ask("[store.compareNext(), store.startEnsemble()]")
    page.until("store.ensemble.value.size > 0")
    said = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    asked = [
        each["params"]["request"]["url"]
        for each in said
        if each["method"] == "Network.requestWillBeSent" and each["params"]["documentURL"].startswith("file:")
    ]
    driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": []})
    assert page.place in [address.split("#")[0] for address in asked]
    elsewhere = [address for address in asked if not address.startswith(("file:", "blob:", "data:"))]
    assert elsewhere == []
    files = {address.split("#")[0] for address in asked if address.startswith("file:")}
    assert files == {page.place}, "and of the disk it asks for nothing but itself"


STATES = {
    "first sight": "store.scrub(100)",
    "ensemble": "[store.scrub(200), store.startEnsemble()]",
    "two runs": "[store.scrub(100), store.branch({ rate: 0.02 }), store.selectNext(1)]",
    "list of keys": "root.querySelector('[aria-label=Keys]').click()",
    "hand": "[store.selectNext(1), store.scrub(200), store.moveTo(0, 0, store.first.value.frames[40].weights)]",
    "refusal": "store.open('#step=soon')",
}
READY = {
    "ensemble": "store.ensemble.value.size === 6",
    "two runs": "store.recordings.value.length === 2 && store.recordings.value.every((each) => each.whole)",
    "hand": "store.hand.value?.loss != null",
    "refusal": "store.refusal.value !== null && store.first.value.frames.length > 0",
}


def test_axe_looks_inside(small: Page) -> None:
    small.ask(
        "root.querySelector('main').insertAdjacentHTML('beforeend',"
        " '<p style=\"color: #999; background: #fff\">faint <button></button></p>')"
    )
    found = small.violations()
    assert [rule for rule, _ in found] == ["button-name", "color-contrast"]


@pytest.mark.parametrize("width", [360, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(small: Page, media: Any, scheme: str, width: int) -> None:
    media(width, prefers_color_scheme=scheme)
    found = []
    for name, act in STATES.items():
        small.ask(act)
        small.until(READY.get(name, "true"))
        found += [(name, *violation) for violation in small.violations()]
        if name == "list of keys":
            small.ask("root.querySelector('.help .close').click()")
    assert found == [], json.dumps(found, indent=1)


@pytest.mark.parametrize("width", [360, 1440, 3840])
def test_nothing_is_cut_off(small: Page, media: Any, width: int) -> None:
    media(width)
    for name in ("first sight", "ensemble", "two runs", "hand"):
        small.ask(STATES[name])
        small.until(READY.get(name, "true"))
        assert small.ask("document.documentElement.scrollWidth") <= width, name


def test_reduced_motion_stops_motion(page: Page, media: Any) -> None:
    media(prefers_reduced_motion="reduce")
    page.open("preset=pentagon")
    steps = (
        "window.steps ??= (() => { const seen = []; store.step.subscribe((step) => seen.push(step)); return seen; })()"
    )
    page.browser.execute_script(f"{STORE} {steps}")
    page.ask("store.restart({ rate: 0.01 })")
    page.until("store.first.value.frames.length > 10")
    assert page.ask("store.playing.value") is False
    page.whole()
    last = page.ask("store.first.value.last")
    page.until(f"store.step.value === {last}")
    assert set(page.ask("window.steps")) == {0, last}
    assert page.ask("document.getAnimations().length") == 0


def test_motion_is_there_otherwise(page: Page) -> None:
    page.open()
    page.until("store.step.value > 100")
    assert page.ask("store.preset.value.name") == "octahedron"


def test_every_preset_opens(page: Page) -> None:
    page.open()
    names = page.ask(PRESETS)
    assert len(names) >= 12
    for name in names:
        page.choose("System", name)
        page.until(f"store.preset.value?.name === {json.dumps(name)} && store.first.value.frames.length > 0")
        assert page.ask("store.refusal.value") is None
        wait(lambda: page.see(".scene .caption").startswith("Step "), name)


COUNTING = """
    globalThis.workers = { hired: 0, dismissed: 0 };
    globalThis.Worker = class extends Worker {
        constructor(...given) { super(...given); globalThis.workers.hired++; }
        terminate() { globalThis.workers.dismissed++; super.terminate(); }
    };
"""


def test_memory_does_not_grow(page: Page) -> None:
    driver = page.browser
    added = driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": COUNTING})
    page.open(SMALL)

    def used() -> float:
        """Megabytes on the page's heap and in its typed arrays, with a short run whole."""
        page.ask(f"store.open({json.dumps(SMALL)})")
        page.whole()
        for _ in range(2):
            driver.execute_cdp_cmd("HeapProfiler.collectGarbage", {})
        heap = driver.execute_cdp_cmd("Runtime.getHeapUsage", {})
        return (heap["usedSize"] + heap["backingStorageSize"]) / 1e6

    names = page.ask(PRESETS)[1:]

    def change(times: int) -> None:
        for at in range(times):
            page.choose("System", names[at % len(names)])
            page.until("store.first.value.frames.length > 5")

    change(5)
    before = used()
    change(20)
    after = used()
    assert after < before + 1.5, f"{before:.1f} MB before and {after:.1f} MB after"
    assert page.ask("globalThis.workers") == {"hired": 1, "dismissed": 0}
    page.ask("store.startEnsemble()")
    page.until("store.ensemble.value.size > 0")
    hired = page.ask("globalThis.workers.hired")
    driver.execute_script("document.querySelector('tegum-lab').remove()")
    assert driver.execute_script("return globalThis.workers") == {"hired": hired, "dismissed": hired}
    driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)


def test_an_element_that_comes_back_works_again(small: Page) -> None:
    small.browser.execute_script(
        "const lab = document.querySelector('tegum-lab'); lab.remove(); document.body.append(lab);"
    )
    small.until("store.first.value?.frames.length > 0")
    wait(lambda: small.see(".scene .caption").startswith("Step "))


def test_dragging_along_the_loss(small: Page) -> None:
    from selenium.webdriver import ActionChains

    canvas = small.ask("root.querySelector('.time.loss')")
    width = canvas.size["width"]
    # From the left end of the axis to the middle: 58 pixels are left for labels, and 14 on the right.
    middle = round((58 + width - 14) / 2 - width / 2)
    actions = ActionChains(small.browser, duration=50)
    actions.move_to_element_with_offset(canvas, 60 - width // 2, 0).click_and_hold()
    actions.move_to_element_with_offset(canvas, middle, 0).release().perform()
    assert small.ask("store.step.value") == pytest.approx(100, abs=1)


def test_dragging_an_embedding(small: Page) -> None:
    from selenium.webdriver import ActionChains

    small.ask("store.scrub(200)")
    canvas = small.ask("root.querySelector('.scene canvas')")
    size = canvas.size
    (x, y), reach = drawn(small)
    scale = 0.42 * min(size["width"], size["height"]) / reach
    actions = ActionChains(small.browser, duration=50)
    actions.move_to_element_with_offset(canvas, round(scale * x), round(-scale * y)).click_and_hold()
    actions.move_by_offset(20, -10).release().perform()
    small.until("store.hand.value?.loss != null")
    moved = small.ask("[...store.hand.value.weights].map((value, at) => value - store.first.value.posed(40)[at])")
    held = small.ask("store.hand.value.feature")
    assert moved[2 * held : 2 * held + 2] == pytest.approx([20 / scale, 10 / scale], abs=1 / scale)
    assert sum(map(abs, moved)) == pytest.approx(abs(moved[2 * held]) + abs(moved[2 * held + 1]))


def drawn(page: Page) -> tuple[list[float], float]:
    """The longest embedding of the last state, and the longest of all states, which reaches the border."""
    states = page.ask("store.first.value.frames.map((_, at) => [...store.first.value.posed(at)])")
    length = lambda row: (row[0] ** 2 + row[1] ** 2) ** 0.5  # noqa: E731
    rows = [[state[at : at + 2] for at in range(0, 10, 2)] for state in states]
    return max(rows[-1], key=length), max(1.0, *(length(row) for state in rows for row in state))
