"""The local lab in a real browser: Python trains what the page shows, bit for bit, and says what only it can say."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import browsers
import numpy as np
import pytest
from browsers import Page, wait
from processes import started, tegum

import tegum as tg

if TYPE_CHECKING:
    import xarray as xr
    from selenium.webdriver import Chrome

TRIPLES = tg.Spec(
    features=[tg.Correlated(3, 0.05)] * 2,
    hidden=3,
    initial_scale=0.01,
    training=tg.Sampled(steps=3000, batch=256, rate=0.003),
    snapshots=60,
    seeds=4,
)
SWEPT = tg.Spec(
    features=[tg.Independent(5, 0.1)], hidden=2, training=tg.Sampled(steps=500, batch=64), snapshots=5, seeds=8
)
"""The Spec that a sweep varies."""
PATIENCE = 240
"""Seconds that kernels may take to compile on a busy machine."""


class Lab:
    """A folder with a stored run, and the lab that shows it."""

    def __init__(self, folder: Path, address: str) -> None:
        self.folder = folder
        self.address = address

    def as_uri(self) -> str:
        """Where the page is."""
        return self.address


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The real command, on a folder with a stored run and a result."""
    folder = tmp_path_factory.mktemp("folder")
    tg.save(tg.train(TRIPLES, progress=False), folder / "run.zarr")
    with started("run", "collapse", "--quick", "--out", "result", cwd=folder) as process:
        process.communicate(timeout=PATIENCE)
    with ThreadPoolExecutor(1) as threads:
        keep = ["loss", "polytope_names"]
        # The second of two packs alone, as while it runs.
        tg.sweep(
            SWEPT, {"density": [0.1, 0.4]}, keep=keep, pack=8, part=(1, 2), out=folder / "s.sweep", executor=threads
        )
    with started("lab", ".", "--no-browser", cwd=folder) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        yield Lab(folder, line.removeprefix("the lab is at ").strip())


@pytest.fixture
def local(driver: Chrome, lab: Lab) -> Iterator[Page]:
    """The page, not yet opened. In the end nothing has gone wrong in it."""
    driver.get_log("browser")
    page = Page(driver, lab)
    yield page
    assert [each["message"] for each in driver.get_log("browser") if each["level"] in ("WARNING", "SEVERE")] == []


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browsers, "PATIENCE", PATIENCE)


def address_of(spec: tg.Spec, **rest: Any) -> str:
    return urlencode({"spec": json.dumps(spec.to_json()), **rest})


def shown(page: Page, at: int = 0) -> list[list[Any]]:
    """The step, the loss, W and b of every frame."""
    return page.ask(
        f"store.recordings.value[{at}].frames"
        ".map(({ step, loss, weights, bias }) => [step, loss, ...weights, ...bias])"
    )


def of(run: xr.Dataset) -> np.ndarray:
    """The same of a trajectory of one run."""
    steps = run.sizes["step"]
    parts = [run.step.values[:, None], run.loss.values[:, None], run.weights.values.reshape(steps, -1), run.bias.values]
    return np.concatenate([np.asarray(part, np.float64) for part in parts], axis=1)


@pytest.mark.parametrize(
    "training",
    [
        tg.Sampled(steps=400, batch=64, rate=0.01),
        tg.Exact(optimiser="adam", steps=200, rate=0.01),
        tg.Flow(steps=50, duration=50.0),
    ],
    ids=["kernel", "exact", "flow"],
)
def test_a_run_has_the_bits_of_python(local: Page, training: tg.Training) -> None:
    spec = tg.Spec(features=[tg.Independent(5, 0.1)], hidden=2, training=training, snapshots=25, seeds=3)
    local.open(address_of(spec, run=2, step=0))
    local.whole()
    np.testing.assert_array_equal(shown(local), of(tg.train(spec, progress=False).sel(seed=2)))


def test_a_changed_run_is_kept_and_replayed_to_the_same_bits(local: Page, lab: Lab) -> None:
    local.open(address_of(TRIPLES, run=1, step=0))
    local.whole()
    local.ask("[store.scrub(1000), store.branch({ rate: 0.001, sets: [{ set: 0, density: 0.2 }] }), store.keep(1)]")
    local.whole()
    changed = np.array(shown(local))
    local.ask(
        "((input) => { input.value = 'mine.zarr'; input.dispatchEvent(new Event('input', { bubbles: true })); })"
        "(root.querySelector('.keep input'))"
    )
    local.until("root.querySelector('.keep input').value === 'mine.zarr'")
    local.ask("root.querySelector('.keep button').click()")
    local.until("root.querySelector('.keep [role=status]') !== null")
    assert local.see(".keep [role=status]") == "kept as mine.zarr"
    kept = tg.load(lab.folder / "mine.zarr")
    assert kept.seed.values.tolist() == [1]
    np.testing.assert_array_equal(changed, of(kept.isel(seed=0)))
    # The Spec of the store holds the record of changes; trained from the command line it has the same bits.
    spec = tg.Spec.from_json(kept.attrs["spec"])
    assert [change.step for change in spec.changes] == [1000]
    np.testing.assert_array_equal(changed, of(tg.train(spec, progress=False).sel(seed=1)))
    code, _, err = tegum("train", "mine.zarr", "--out", "again.zarr", cwd=lab.folder)
    assert code == 0, err
    again = tg.load(lab.folder / "again.zarr")
    assert again.seed.values.tolist() == [1]
    np.testing.assert_array_equal(changed, of(again.isel(seed=0)))
    # And the address holds it for another page.
    address = local.ask("store.address")
    local.open(address)
    local.whole()
    np.testing.assert_array_equal(changed, shown(local))


def test_the_folder_lists_what_is_there_and_opens_it(local: Page, lab: Lab, driver: Chrome) -> None:
    local.open()
    local.until("root.querySelector('.folder') !== null")
    names = local.ask("[...root.querySelectorAll('.folder li button')].map((each) => each.textContent)")
    assert "run.zarr" in names
    local.ask(f"root.querySelectorAll('.folder li button')[{names.index('run.zarr')}].click()")
    local.until("store.film.value !== null")
    run = tg.load(lab.folder / "run.zarr").isel(seed=0)
    assert np.abs(np.array(shown(local)) - of(run)).max() < np.abs(run.weights.values).max() / 65_000
    local.ask("store.scrub(1500)")
    state, address = local.state(), local.ask("store.address")
    assert address.startswith("open=run.zarr&film=0&run=0&step=1500")
    local.open(address)
    assert local.state() == state
    # What was recorded is trained on by Python.
    local.ask("store.branch({ rate: 0.001 })")
    local.whole()
    assert local.ask("store.recordings.value.length") == 2
    # A result has a page of its own.
    link = local.ask("root.querySelector('.folder a').getAttribute('href')")
    driver.get(lab.address.split("/?")[0] + link)
    assert "Criteria, fixed before the runs" in driver.page_source
    driver.get_log("browser")


def test_a_sweep_is_watched_while_it_runs_and_its_specs_are_trained(local: Page, lab: Lab) -> None:
    local.open()
    local.until("root.querySelector('.sweep') !== null")
    local.ask("root.querySelector('.sweep > summary').click()")
    local.until("root.querySelectorAll('.sweep tbody tr').length === 2")
    cells = "[...root.querySelectorAll('.sweep tbody tr')].map((row) => [...row.cells].map((cell) => cell.textContent))"
    waiting, made = local.ask(cells)
    assert waiting[:3] == ["0.1", "0", ""]
    assert made[:2] == ["0.4", "8"]
    assert "8 of 16 runs" in local.ask("root.querySelector('.sweep > summary').textContent")
    # The rest is made while one looks.
    with ThreadPoolExecutor(1) as threads:
        keep = ["loss", "polytope_names"]
        out = lab.folder / "s.sweep"
        swept = tg.sweep(SWEPT, {"density": [0.1, 0.4]}, keep=keep, pack=8, out=out, executor=threads, progress=False)
    local.until("root.querySelector('.sweep > summary').textContent.includes('16 of 16 runs')")
    local.until("root.querySelector('.sweep p').textContent.includes('complete')")
    rows = local.ask(cells)
    assert [row[2] for row in rows] == [f"{each:.4g}" for each in swept["loss"].mean("seed").values]
    local.ask("root.querySelector('.sweep tbody tr:last-child a').click()")
    local.until("root.querySelector('.sweep') !== null && store.first.value !== null")
    local.whole()
    run = tg.train(SWEPT.override({"features.density": 0.4}), progress=False).sel(seed=0)
    np.testing.assert_array_equal(shown(local), of(run))


def test_a_state_is_looked_at_and_left_by_a_way_out(local: Page) -> None:
    """Two collapsed triples at right angles are a saddle, with the loss of the best rank-two model of this kind."""
    local.open(address_of(TRIPLES, step=250))
    local.whole()
    index = local.ask("store.indices.value[0]")
    local.ask("root.querySelector('.look button').click()")
    local.until("root.querySelector('.look [role=status]') !== null")
    words = local.see(".look [role=status]")
    _, _, *numbers = shown(local)[index]
    weights, bias = np.array(numbers[:18]).reshape(6, 3), np.array(numbers[18:])
    assert f"exact loss {tg.population_loss(weights, bias, TRIPLES.features):.6f}"[:17] in words
    assert "A saddle is near" in words or "A saddle of index" in words
    assert "Way out 1" in words
    local.ask("root.querySelectorAll('.look button')[1].click()")
    local.until("store.recordings.value.length === 2 && store.recordings.value.every((each) => each.whole)")
    one, other = (np.array(shown(local, at))[0, 2:20].reshape(6, 3) for at in (0, 1))
    # Both begin on either side of the saddle, whose triples have collapsed; further apart than the saddle is exact.
    middle = (one + other) / 2
    for triple in (middle[:3], middle[3:]):
        assert np.abs(triple - triple.mean(0)).max() < 1e-6
    assert np.linalg.norm(one - other) > 1e-3
    losses = [np.array(shown(local, at))[:, 1] for at in (0, 1)]
    assert all(loss[-1] < 0.5 * loss[0] for loss in losses)


def test_events_of_a_live_run_are_those_of_the_detectors(local: Page) -> None:
    from tegum.analysis.dynamics.happenings import happenings

    local.open(address_of(TRIPLES, run=3, step=0))
    local.whole()
    local.until("store.news.value > 0")
    found = happenings(tg.train(TRIPLES, progress=False).sel(seed=[3]))[0]
    assert local.ask("store.first.value.told") == found


def test_the_python_that_reproduces_it_has_the_same_bits(local: Page, tmp_path: Path) -> None:
    spec = TRIPLES.override({"training.steps": 300, "snapshots": 6})
    local.open(address_of(spec, run=1, step=0))
    local.ask("store.branch({ rate: 0.01 })")
    local.whole()
    program = local.ask("store.home.reproduced")
    assert "the same bits" in program
    changed = shown(local, 1)
    described, changes = local.ask("[store.recordings.value[1].described.spec, store.recordings.value[1].changes]")
    text = json.dumps({**described, "changes": changes})
    code = (
        "import json, sys, tegum as tg\n"
        "run = tg.train(tg.Spec.from_json(sys.argv[1]), progress=False).sel(seed=1)\n"
        "print(json.dumps(run.weights.values[-1].ravel().astype(float).tolist()))"
    )
    done = subprocess.run([sys.executable, "-c", code, text], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert json.loads(done.stdout) == changed[-1][2:20]


def test_axe_finds_nothing(local: Page, media: Any) -> None:
    for width, scheme in ((360, "light"), (1440, "dark")):
        media(width, prefers_color_scheme=scheme)
        local.open(address_of(TRIPLES, step=250))
        local.whole()
        local.ask("root.querySelector('.look button').click()")
        local.until("root.querySelector('.look [role=status]') !== null")
        assert local.violations() == []
        assert local.ask("document.documentElement.scrollWidth") <= width


def test_what_python_refuses_is_a_sentence(local: Page) -> None:
    local.open()
    local.ask("store.branch({ sets: [{ set: 9, density: 0.1 }] })")
    local.until("store.refusal.value !== null")
    assert "set" in local.ask("store.refusal.value")
    assert "\n" not in local.ask("store.refusal.value")


def test_a_lab_that_has_ended_is_told(driver: Chrome, tmp_path: Path) -> None:
    with started("lab", ".", "--no-browser", cwd=tmp_path) as process:
        assert process.stdout is not None
        page = Page(driver, Lab(tmp_path, process.stdout.readline().removeprefix("the lab is at ").strip()))
        page.open()
        process.terminate()
        process.wait(60)
    wait(lambda: "has ended" in (page.ask("store.refusal.value") or ""))
    driver.get("about:blank")
    driver.get_log("browser")


def test_a_run_alone_is_opened_with_the_lab(driver: Chrome, lab: Lab) -> None:
    with started("lab", "run.zarr", "--no-browser", cwd=lab.folder) as process:
        assert process.stdout is not None
        page = Page(driver, Lab(lab.folder, process.stdout.readline().removeprefix("the lab is at ").strip()))
        page.open()
        assert page.ask("[store.films.value.length, store.film.value !== null]") == [1, True]
    code, _, err = tegum("lab", "nothing.zarr", "--no-browser", cwd=lab.folder)
    assert code != 0
    assert err.count("\n") == 1
    driver.get("about:blank")
    driver.get_log("browser")
