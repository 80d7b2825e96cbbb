"""Places for sweeps: a folder, an object store in memory, and one that speaks S3, on this machine."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

_numbers = itertools.count()


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """The address of an S3 server with an empty bucket, to which this process has the keys."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        endpoint = "http://{}:{}".format(*server.get_host_and_port())
        with urlopen(Request(f"{endpoint}/sweeps", method="PUT"), timeout=30) as answer:
            assert answer.status == 200
        yield endpoint
    finally:
        server.stop()


@pytest.fixture
def out(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """A function that gives an address of a kind of place, at which there is nothing yet."""

    def address(kind: str) -> str:
        match kind:
            case "folder":
                return str(tmp_path / f"place-{next(_numbers)}")
            case "memory":
                return f"memory://test-{next(_numbers)}"
            case "s3":
                for name, value in {
                    "ENDPOINT_URL": request.getfixturevalue("s3"), "ALLOW_HTTP": "true", "ACCESS_KEY_ID": "key",
                    "SECRET_ACCESS_KEY": "secret", "REGION": "us-east-1",
                }.items():  # fmt: skip
                    monkeypatch.setenv(f"AWS_{name}", value)
                return f"s3://sweeps/{next(_numbers)}/inner"
        raise AssertionError(kind)

    return address


@pytest.fixture(scope="session")
def threads() -> Iterator[ThreadPoolExecutor]:
    """Two threads as workers, which start at once."""
    with ThreadPoolExecutor(2) as executor:
        yield executor
