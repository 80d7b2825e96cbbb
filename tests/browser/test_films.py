"""Recorded runs in a page: what is shown is what was recorded, also in Firefox; an event opens its run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from browsers import Firefox, Page

import tegum as tg
from tegum.analysis.dynamics.happenings import happenings
from tegum.experiments import get
from tegum.lab.films import films, packed
from tegum.lab.page_file import page as html_of
from tegum.lab.page_file import write_page

if TYPE_CHECKING:
    import xarray as xr
    from selenium.webdriver import Chrome

SPEC = tg.Spec(
    features=[tg.Correlated(3, 0.05)] * 2,
    hidden=3,
    initial_scale=0.01,
    training=tg.Sampled(steps=3000, batch=256, rate=0.003),
    snapshots=60,
    seeds=4,
)


@pytest.fixture(scope="module")
def run() -> xr.Dataset:
    """Runs that Python has trained."""
    return tg.train(SPEC, progress=False)


@pytest.fixture(scope="module")
def report(run: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Their film, as a file on a disk; a flow, which the page cannot train, is the second one."""
    flow = tg.train(SPEC.replace(training=tg.Flow(steps=60, duration=60.0), seeds=2), progress=False)
    html = html_of(films=packed([*films(run), *films(flow)]))
    return write_page(tmp_path_factory.mktemp("film") / "report.html", html, overwrite=False, call="test")


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a result."""
    out = tmp_path_factory.mktemp("film") / "out"
    get("collapse").run(out, size="quick", progress=False)
    return out / "collapse.html"


@pytest.fixture
def film(driver: Chrome, report: Path) -> Iterator[Page]:
    """The page with the film, not yet opened. In the end nothing has gone wrong in it."""
    driver.get_log("browser")
    page = Page(driver, report)
    yield page
    assert [each["message"] for each in driver.get_log("browser") if each["level"] in ("WARNING", "SEVERE")] == []


def test_the_states_are_those_that_were_recorded(film: Page, run: xr.Dataset) -> None:
    film.open("film=0&run=2&step=1500")
    shown = film.ask(
        "store.first.value.frames.map(({ step, loss, weights, bias }) => [step, loss, [...weights], [...bias]])"
    )
    own = run.sel(seed=2)
    assert [each[0] for each in shown] == own.step.values.tolist()
    np.testing.assert_array_equal([each[1] for each in shown], own.loss.values.astype(np.float32))
    for at, name in ((2, "weights"), (3, "bias")):
        truth = own[name].values.reshape(len(shown), -1)
        assert np.abs(np.array([each[at] for each in shown]) - truth).max() < np.abs(truth).max() / 65_000
    assert film.ask("store.step.value") == 1500
    # Nothing was trained for it.
    assert film.ask("store.crew.hired") in (0, None)


def test_an_event_of_another_run_is_opened_by_a_click(film: Page, run: xr.Dataset) -> None:
    film.open()
    film.ask("root.querySelector('aside input[type=checkbox]').click()")
    film.until("root.querySelector('.events button').textContent.startsWith('run 0, ')")
    expected = [(int(run.seed[at]), each) for at, found in enumerate(happenings(run)) for each in found]
    said = film.ask("[...root.querySelectorAll('.events button')].map((each) => each.textContent)")
    assert said == [f"run {seed}, {each['step']:,}: {each['words']}" for seed, each in expected]
    at = next(at for at, (seed, _) in enumerate(expected) if seed == 3)
    film.ask(f"root.querySelectorAll('.events button')[{at}].click()")
    film.until("store.first.value.run === 3")
    assert film.ask("store.step.value") == expected[at][1]["step"]
    assert film.ask("store.playing.value") is False


def test_the_other_film_is_chosen_by_its_list_and_cannot_be_trained_on(film: Page) -> None:
    film.open()
    film.choose("Runs of", "1")
    film.until("store.film.value === store.films.value[1]")
    assert "gradient flow of the exact loss" in film.see(".settings")
    assert "training.kind must be 'sampled' in the page" in film.see(".settings")
    assert film.ask("root.querySelector('.settings input[type=range]')") is None


def test_a_change_trains_on_from_the_recorded_state(film: Page) -> None:
    film.open("film=0&run=1&step=600")
    film.ask("store.branch({ sets: [{ set: 0, density: 0.5 }] })")
    film.whole()
    started, shown = film.ask("store.recordings.value.map(({ frames }, at) => [...frames[at === 0 ? 12 : 0].weights])")
    assert started == shown
    film.ask("store.scrub(500)")
    address = film.ask("store.address")
    before = film.state()
    film.open(address)
    film.whole()
    assert film.state() == before


def test_firefox_shows_the_same(film: Page, report: Path, tmp_path: Path) -> None:
    film.open("film=0&run=1&step=1200&feature=2")
    browser = Firefox(tmp_path)
    try:
        page = Page(browser, report)
        page.open(film.ask("store.address"))
        assert page.state() == film.state()
        assert page.see(".scene .caption") == film.see(".scene .caption")
    finally:
        browser.quit()


@pytest.mark.parametrize("width", [360, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_a_film_and_in_a_result(
    film: Page, result: Path, media: Any, scheme: str, width: int
) -> None:
    media(width, prefers_color_scheme=scheme)
    film.open("film=1&run=1&step=30&views=loss,dimensionality,gram,ensemble,settings,claim")
    film.ask("root.querySelector('aside input[type=checkbox]').click()")
    assert film.violations() == []
    assert film.ask("document.documentElement.scrollWidth") <= width
    page = Page(film.browser, result)
    page.open()
    page.ask("document.querySelector('details').setAttribute('open', '')")
    assert page.violations() == []
    assert page.ask("document.documentElement.scrollWidth") <= width


@pytest.fixture(scope="module")
def guest(run: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The film below a long text."""
    around = ("<div style='height: 3000px'>Text.</div>", "<p>After it.</p>", "")
    html = html_of(films=packed(films(run)), around=around, title="A title")
    return write_page(tmp_path_factory.mktemp("film") / "guest.html", html, overwrite=False, call="test")


def test_below_a_text_it_waits_and_keys_are_the_readers(driver: Chrome, guest: Path) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    page = Page(driver, guest)
    page.open()
    assert driver.title == "A title"
    assert page.ask("store.playing.value") is False
    # The page's own keys are not taken: End goes to its end, and the run stays where it is.
    ActionChains(driver).send_keys("c").perform()
    assert page.ask("store.recordings.value.length") == 1
    page.ask("document.querySelector('tegum-lab').scrollIntoView()")
    page.until("store.step.value > 0")
    page.ask("root.querySelector('.scene canvas').focus()")
    ActionChains(driver).send_keys("c").perform()
    assert page.ask("store.recordings.value.length") == 2
