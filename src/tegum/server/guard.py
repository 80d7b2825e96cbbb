"""Who may ask, and how: requests of other machines, other sites and other programs never reach the lab.

A page of another site can make a browser send requests to the loopback. It knows neither the token nor can it hide
where it comes from: `Host` must be the loopback's own, also against names that are made to lead there, and `Origin`,
where a browser sends one, the lab's.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import final
from urllib.parse import parse_qs

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tegum.server.reading import RefusedError

HEADERS: Mapping[str, str] = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cross-origin-resource-policy": "same-origin",
    "content-security-policy": "frame-ancestors 'none'; base-uri 'none'",
}
"""What all answers carry."""

TOKEN = "x-tegum-token"
"""The header that brings the token, where it does not stand in the address."""


_MOST_FIELDS = 100
"""The most fields of an address."""


@final
class Guard:
    """The outermost part of the server: it refuses whom it does not know, and answers errors with a sentence."""

    def __init__(self, inner: ASGIApp, port: int, token: str) -> None:
        """Guard an application.

        Args:
            inner: the application.
            port: the port of the server.
            token: what every request must bring.

        """
        names = ("127.0.0.1", "localhost")
        self._hosts = {f"{name}:{port}" for name in names} | ({*names} if port == 80 else set())
        self._inner, self._token = inner, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on."""
        if scope["type"] != "http":
            return
        begun = False

        async def guarded(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                given = {name for name, _ in message["headers"]}
                added = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message["headers"], *(each for each in added if each[0] not in given)]
            await send(message)

        try:
            if (refusal := self._refusal(Request(scope))) is not None:
                await sentence(403, refusal)(scope, receive, guarded)
            else:
                await self._inner(scope, receive, guarded)
        except Exception as error:  # the server goes on, whatever it is
            if not begun:
                await unforeseen(error)(scope, receive, guarded)

    def _refusal(self, request: Request) -> str | None:
        """Why a request is not answered."""
        host, origin = request.headers.get("host", ""), request.headers.get("origin")
        if host.lower() not in self._hosts:
            return "Host must be that of the address at which the lab is open, on this machine"
        if origin is not None and origin.lower() not in {f"http://{each}" for each in self._hosts}:
            return "Origin must be the lab's own address: pages of other sites may not ask it"
        if request.url.path.startswith("/api/"):
            given = request.headers.get(TOKEN, "")
        else:
            query = request.scope["query_string"].decode("latin-1")
            # More fields than any address of the lab has are none of its own.
            given = parse_qs(query).get("token", [""])[0] if query.count("&") < _MOST_FIELDS else ""
        if not secrets.compare_digest(given.encode(), self._token.encode()):
            return "the token is missing or is not that of the lab: open the address that tegum lab has printed"
        return None


def sentence(status: int, text: str) -> Response:
    """An answer that says in a sentence why there is no other."""
    return JSONResponse({"sentence": text}, status)


def unforeseen(error: Exception) -> Response:
    """The answer to a request that meets an error which nobody foresaw."""
    return sentence(500, f"an error that should not occur: {type(error).__name__}: {' '.join(str(error).split())}")


async def refusing(_: Request, error: Exception) -> Response:
    """The answer to a request that is refused."""
    match error:
        case RefusedError(status=status):
            return sentence(status, str(error))
        case HTTPException(status_code=404):
            return sentence(404, "there is nothing at this path")
        case HTTPException(status_code=405):
            return sentence(405, "this path does not take this method")
        case HTTPException(status_code=status):
            return sentence(status, str(error.detail))
        case _:
            return unforeseen(error)
