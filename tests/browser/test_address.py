"""A copied address shows the same elsewhere, to the last bit, and the same training has the same bits in every browser."""

from __future__ import annotations

import subprocess
from pathlib import Path

import browsers
import pytest
from browsers import WEB, Firefox, Page


def arrange(page: Page) -> str:
    """Bring the page into a state in which nothing is as it was in the beginning, and return its address."""
    page.ask("store.scrub(105)")
    page.ask("store.branch({ rate: 0.02, sets: [{ set: 0, density: 0.37 }] })")
    page.whole()
    page.ask(
        "[store.scrub(150), store.camera.value = { yaw: -0.1234, pitch: 0.5, zoom: 1.7 }, store.selected.value = 3,"
        " store.toggle('gram'), store.toggle('ensemble'), store.hidden.value = ['rate'], store.toggleLogarithmic('time')]"
    )
    return page.ask("store.address")


@pytest.fixture(scope="module")
def firefox(tmp_path_factory: pytest.TempPathFactory):  # noqa: ANN201
    browser = Firefox(tmp_path_factory.mktemp("firefox"))
    yield browser
    browser.quit()


def test_a_fresh_profile_shows_the_same(small: Page, file: Path, tmp_path: Path) -> None:
    address = arrange(small)
    there = small.state()
    assert there["step"] == 150
    assert there["camera"] == {"yaw": -0.1234, "pitch": 0.5, "zoom": 1.7}
    assert [frame[0] for frame in there["weights"]] == [150, 150]
    assert there["weights"][0][1] != there["weights"][1][1]
    other = browsers.chromium(tmp_path)
    try:
        page = Page(other, file)
        page.open(address)
        page.whole()
        assert page.state() == there
        assert page.see(".scene .caption") == small.see(".scene .caption")
        assert page.ask("location.hash") == f"#{address}"
    finally:
        other.quit()


def test_firefox_shows_the_same(small: Page, file: Path, firefox: Firefox) -> None:
    address = arrange(small)
    page = Page(firefox, file)
    page.open(address)
    page.whole()
    assert page.state() == small.state()
    assert page.see(".scene .caption") == small.see(".scene .caption")


def test_copying_the_address(small: Page) -> None:
    origin = {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
    small.browser.execute_cdp_cmd("Browser.grantPermissions", origin)
    small.ask("store.scrub(55)")
    small.browser.execute_script(
        "const root = document.querySelector('tegum-lab').shadowRoot; const select = root.querySelector('[aria-label=Export]');"
        "select.value = 'address'; select.dispatchEvent(new Event('change', { bubbles: true }));"
    )
    copied = browsers.wait(lambda: small.browser.execute_script("return navigator.clipboard.readText()"))
    assert copied == f"{small.place}#{small.ask('store.address')}"
    assert "step=55" in copied


def test_an_address_that_is_typed_in_is_opened(small: Page) -> None:
    small.browser.execute_script("location.hash = 'preset=pentagon&step=40&feature=2'")
    small.until("store.preset.value?.name === 'pentagon' && store.selected.value === 2 && store.step.value === 40")
    assert small.browser.title == "Five features in two dimensions"


def test_a_bad_address_is_told_in_a_sentence(page: Page) -> None:
    page.open("preset=pentagon&step=many")
    assert page.see("[role=alert]") == "step=many: must be an int of at least 0"
    assert page.ask("store.preset.value.name") == "octahedron"


@pytest.fixture(scope="module")
def script() -> str:
    """What computes the fingerprints of two short trainings in a page."""
    subprocess.run(["node", "build.js"], cwd=WEB, check=True)
    return (WEB / "build" / "digests.js").read_text(encoding="utf-8")


@pytest.mark.parametrize("which", ["driver", "firefox"])
def test_a_seed_has_the_same_bits_in_every_browser(which: str, script: str, request: pytest.FixtureRequest) -> None:
    browser = request.getfixturevalue(which)
    browser.get("about:blank")
    found = browser.execute_script(f"{script}; return globalThis.digests();")
    assert len(found) == 2
    for name, digest, kept in found:
        assert digest == kept, name
