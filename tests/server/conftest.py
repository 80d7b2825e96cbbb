"""One lab for a file of tests, on a folder of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from lab_client import Client

from tegum.server.running import Lab


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lab")


@pytest.fixture(scope="module")
def client(place: Path) -> Iterator[Client]:
    with Lab(place) as lab:
        yield Client(lab.address)
