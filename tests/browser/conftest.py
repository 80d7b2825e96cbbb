"""Browsers for the tests in this folder, and what every test asks of the page beside its own questions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import browsers
import pytest
from browsers import SMALL, Page

from tegum.lab.page_file import page as page_of_lab
from tegum.lab.page_file import write_page

if TYPE_CHECKING:
    from selenium.webdriver import Chrome


@pytest.fixture(scope="session", autouse=True)
def _everything_is_there() -> None:
    if why := browsers.missing():
        pytest.fail(why)


@pytest.fixture(scope="session")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page as a file on a disk."""
    target = tmp_path_factory.mktemp("page") / "lab.html"
    return write_page(target, page_of_lab(), overwrite=False, call="test")


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the browser puts what is downloaded."""
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def driver(downloads: Path) -> Iterator[Chrome]:
    """Chromium, for the tests of a module."""
    driver = browsers.chromium(downloads)
    driver.set_window_size(1280, 900)
    yield driver
    driver.quit()


@pytest.fixture
def page(driver: Chrome, file: Path) -> Iterator[Page]:
    """The page, not yet opened. In the end nothing has gone wrong in it."""
    driver.get_log("browser")
    page = Page(driver, file)
    yield page
    told = [entry["message"] for entry in driver.get_log("browser") if entry["level"] in ("WARNING", "SEVERE")]
    assert told == []


@pytest.fixture
def small(page: Page) -> Page:
    """The page with a run that takes a moment, whole, at its first step."""
    page.open(SMALL)
    page.whole()
    return page


@pytest.fixture
def media(driver: Chrome) -> Iterator[Any]:
    """Tells the page what its reader's system prefers, and how wide it is."""

    def prefer(width: int = 1280, **features: str) -> None:
        wanted = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": wanted})
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    yield prefer
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
