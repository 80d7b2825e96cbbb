"""What the tests in notebooks share: a browser, and the sentence that tells what is missing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import notebook_servers
import pytest
from notebook_servers import chromium

if TYPE_CHECKING:
    from selenium.webdriver import Chrome


@pytest.fixture(scope="session", autouse=True)
def _everything_is_there() -> None:
    if why := notebook_servers.missing():
        pytest.fail(why)


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """Chromium, for the tests of a module."""
    driver = chromium(tmp_path_factory.mktemp("downloads"))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a server, and of its notebooks."""
    return tmp_path_factory.mktemp("home")
