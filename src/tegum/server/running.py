"""The lab while it runs: its socket on the loopback, its thread, its token, and the address that a browser opens."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, final
from urllib.parse import urlencode

from tegum.data.atomic import explaining
from tegum.lab.described import described
from tegum.server.folder import LabFolder
from tegum.server.specs import parted
from tegum.sweeps.packs import PLAN
from tegum.training.spec.spec import Spec

HOST = "127.0.0.1"
_EXTRA = "the lab on this machine needs Starlette and uvicorn: pip install 'tegum[lab]'; --static needs neither"
_ENDING_SECONDS = 5.0
"""How long the lab waits, when it ends, for what its pages have asked for."""

_MOST_CONNECTIONS = 256
_LONGEST = 1_000_000
"""The most characters of an address that all browsers take."""


@final
class Lab:
    """A server in a thread of its own, inside a `with` block."""

    def __init__(self, path: str | os.PathLike[str] | None = None, port: int = 0) -> None:
        """Look at what is to be shown.

        Args:
            path: a store, a folder with stores and results, or the TOML file of a Spec; None for the current folder.
            port: the port; 0 for one that is free.

        Raises:
            ValueError: the path is nothing of these, the port is none, or what serving needs is not installed.
            OSError: the path cannot be looked at.

        """
        if not 0 <= port < 2**16:
            raise ValueError(f"lab --port {port}: a port is a number from 0, for any free one, to 65535")
        try:
            import starlette  # noqa: F401
            import uvicorn
        except ImportError:
            raise ValueError(f"lab: {_EXTRA}") from None
        self._uvicorn: Any = uvicorn
        self._port = port
        self.folder: LabFolder
        self._fragment: str
        self.folder, self._fragment = shown(path)
        self.token: str = secrets.token_urlsafe(24)
        self._running: Any = None

    def __enter__(self) -> Lab:
        from tegum.lab.page_file import page
        from tegum.server.app import application
        from tegum.server.pages import Pages

        with explaining(f"lab --port {self._port}"):
            self._socket = socket.create_server((HOST, self._port))
        self._port = self._socket.getsockname()[1]
        self._pages = Pages(self.folder)
        app = application(self.folder, self._pages, page(server=True), self._port, self.token)
        config = self._uvicorn.Config(
            app, interface="asgi3", loop="asyncio", http="h11", ws="none", lifespan="off", log_config=None,
            access_log=False, server_header=False, proxy_headers=False, limit_concurrency=_MOST_CONNECTIONS,
            timeout_graceful_shutdown=2,
        )  # fmt: skip
        self._running = self._uvicorn.Server(config)
        self._thread = threading.Thread(target=self._serve, name="tegum server", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.should_exit = True
        self._thread.join(2 * _ENDING_SECONDS)

    @property
    def address(self) -> str:
        """The address of the page, with the token."""
        return f"http://{HOST}:{self._port}/?token={self.token}{self._fragment}"

    def wait(self) -> None:
        """Wait until the server ends; a signal interrupts it."""
        while self._thread.is_alive():
            self._thread.join(1.0)

    def _serve(self) -> None:
        asyncio.run(self._served())

    async def _served(self) -> None:
        ending = asyncio.ensure_future(self._end())
        try:
            await self._running.serve(sockets=[self._socket])
        finally:
            self._running.should_exit = True
            await ending
            self._socket.close()

    async def _end(self) -> None:
        """Close the pages as soon as the server is to end: it waits for their streams."""
        while not self._running.should_exit:
            await asyncio.sleep(0.05)
        ending, end = self._pages.close_all(), time.monotonic() + _ENDING_SECONDS
        await asyncio.to_thread(lambda: [job.join(end - time.monotonic()) for job in ending])


def shown(path: str | os.PathLike[str] | None) -> tuple[LabFolder, str]:
    """What the lab shows, and what its address says behind #.

    Args:
        path: as for `Lab`.

    Raises:
        ValueError: it is neither a store, nor a folder, nor the file of a Spec.

    """
    place = Path(path) if path is not None else Path()
    with explaining(f"lab {place}"):
        if place.is_dir():
            if any((place / name).is_file() for name in ("zarr.json", ".zgroup", PLAN)):
                whole = place.resolve()
                return LabFolder(whole.parent, whole.name), ""
            return LabFolder(place), ""
        if place.is_file() and place.suffix.lower() == ".toml":
            spec = Spec.from_toml(place)
            paths = [getattr(each, "path", None) for each in spec.features.sets]
            return LabFolder(place.resolve().parent, activations=[Path(each) for each in paths if each]), _named(
                spec, place
            )
        there = "is a file of another kind" if place.exists() else "does not exist"
    raise ValueError(f"lab {place}: must be a store, a folder with stores, or a Spec in a TOML file; it {there}")


def _named(spec: Spec, place: Path) -> str:
    base, changes = parted(spec)
    parts = {"spec": described(base)["spec"]} | ({"changes": changes} if changes else {})
    written = {name: json.dumps(each, separators=(",", ":")) for name, each in parts.items()}
    fragment = f"#{urlencode(written)}"
    if len(fragment) > _LONGEST:
        raise ValueError(f"lab {place}: the page keeps the Spec in its address, which holds at most {_LONGEST:,}")
    return fragment


def serve(path: str | os.PathLike[str] | None, *, port: int, browser: bool, say: Callable[[str], None]) -> None:
    """Run the lab until a signal ends it.

    Args:
        path: as for `Lab`.
        port: as for `Lab`.
        browser: whether to open a browser.
        say: is told the address.

    Raises:
        ValueError: as for `Lab`.
        OSError: the port is taken.

    """
    with Lab(path, port) as lab:
        say(lab.address)
        if browser:
            import webbrowser

            webbrowser.open(lab.address)
        lab.wait()
