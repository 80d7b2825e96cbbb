"""A page of the lab as its server sees it: requests by HTTP, and a stream of answers, over real sockets."""

from __future__ import annotations

import base64
import http.client
import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

SECONDS = 60.0
"""Against hanging alone."""


class Client:
    """Asks a server on the loopback."""

    def __init__(self, address: str) -> None:
        """Ask the one at this address, as `tegum lab` prints it."""
        place, _, query = address.partition("/?token=")
        self.port = int(place.rpartition(":")[2])
        self.token = query.partition("#")[0]

    def ask(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """The status, the headers by their lower-case names, and the body of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        try:
            sent = {"X-Tegum-Token": self.token} | ({} if body is None else {"Content-Type": "application/json"})
            given = body if body is None or isinstance(body, bytes) else json.dumps(body)
            connection.request(method, path, given, sent | dict(headers or {}))
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def told(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, str]:
        """The status of a refusal, and its sentence."""
        status, _, content = self.ask(method, path, body, headers)
        return status, json.loads(content)["sentence"]

    def raw(self, sent: bytes, *, end: bool = True) -> bytes:
        """What comes back for these bytes."""
        with socket.create_connection(("127.0.0.1", self.port), SECONDS) as connection:
            connection.sendall(sent)
            if end:
                connection.shutdown(socket.SHUT_WR)
            found = b""
            while part := connection.recv(2**16):
                found += part
            return found

    @contextmanager
    def page(self, name: str = "page-0001") -> Iterator[Page]:
        """An open page, which is closed at the end."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        answer = None
        try:
            connection.request("GET", f"/api/hear?page={name}", headers={"X-Tegum-Token": self.token})
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
            page = Page(self, name, answer)
            assert page.hear() == {"type": "hello"}
            yield page
        finally:
            # A reader in another thread would not notice that it is closed.
            connection.sock.shutdown(socket.SHUT_RDWR)
            connection.close()
            if answer is not None:
                answer.close()


class Page:
    """An open page."""

    def __init__(self, client: Client, name: str, stream: http.client.HTTPResponse) -> None:
        """A page of this name that reads its answers from a stream."""
        self.client, self.name = client, name
        self._stream = stream

    def say(self, request: Mapping[str, Any]) -> None:
        """Send a request."""
        status, _, body = self.client.ask("POST", "/api/say", {"page": self.name, "request": dict(request)})
        assert status == 202, body

    def hear(self) -> dict[str, Any]:
        """The next answer."""
        while line := self._stream.readline():
            if line.startswith(b"data: "):
                return json.loads(line[6:])
        raise EOFError("the stream has ended")

    def hear_all(self) -> None:
        """Read until the stream ends, which raises EOFError."""
        while True:
            self.hear()

    def frames(self, number: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """All frames of a training, taken one bundle after another, and its last answer."""
        found: list[dict[str, Any]] = []
        while True:
            answer = self.hear()
            assert answer["type"] == "frames", answer
            assert answer["id"] == number
            found += answer["frames"]
            if answer["done"]:
                return found, answer
            self.say({"type": "taken", "id": number})


def numbers(text: str) -> np.ndarray:
    """An array of an answer."""
    return np.frombuffer(base64.b64decode(text, validate=True), "<f8")


def encoded(array: Any) -> str:
    """An array for a request."""
    return base64.b64encode(np.ascontiguousarray(array, "<f8").tobytes()).decode()
