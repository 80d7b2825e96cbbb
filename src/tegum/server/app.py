"""What the server answers, path by path."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from tegum.lab.described import described
from tegum.lab.films import films, packed
from tegum.server.folder import LabFolder
from tegum.server.guard import Guard, refusing
from tegum.server.limits import check_live
from tegum.server.outbox import written
from tegum.server.pages import Page, Pages
from tegum.server.reading import RefusedError, asked_of, page_of, parsed, request_of
from tegum.server.specs import parted, spec_of

MOST_BYTES = 2**22
"""The most bytes of a request's body."""

BODY_SECONDS, ALIVE_SECONDS = 30.0, 10.0
"""How long the body of a request may take to arrive, and how often a stream without answers says that it is there."""

_FILMS_AT_ONCE = 2


@final
class _Stream(Response):
    """The answers of a page as server-sent events; the page is closed with it."""

    def __init__(self, pages: Pages, name: str, page: Page) -> None:
        self._pages, self._name, self._page = pages, name, page
        super().__init__(headers={"content-type": "text/event-stream; charset=utf-8"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 (Starlette's)
        """Send until either side has had enough."""
        headers = [(name, value) for name, value in self.raw_headers if name != b"content-length"]
        gone = asyncio.ensure_future(_gone(receive))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await _send(send, b'data: {"type":"hello"}\n\n')
            await self._send_answers(send, gone)
            if not gone.done():
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._pages.close(self._name, self._page)
            gone.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await gone

    async def _send_answers(self, send: Send, gone: asyncio.Future[None]) -> None:
        taking = asyncio.ensure_future(self._page.outbox.take())
        try:
            while not gone.done():
                await asyncio.wait({taking, gone}, timeout=ALIVE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                if not taking.done():
                    await _send(send, b":\n\n")
                    continue
                if (answer := taking.result()) is None:
                    return
                await _send(send, b"data: " + written(answer) + b"\n\n")
                taking = asyncio.ensure_future(self._page.outbox.take())
        finally:
            taking.cancel()


async def _send(send: Send, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})


async def _gone(receive: Receive) -> None:
    """Wait until the other side has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


@final
class _Paths:
    """The functions that answer."""

    def __init__(self, folder: LabFolder, pages: Pages, html: str) -> None:
        self._folder, self._pages, self._html = folder, pages, html
        self._films = asyncio.Semaphore(_FILMS_AT_ONCE)

    def routes(self) -> list[Route]:
        get: dict[str, Callable[..., Any]] = {
            "/": self.page, "/result": self.result, "/api/folder": self.folder, "/api/film": self.film,
            "/api/hear": self.hear, "/api/sweep": self.sweep,
        }  # fmt: skip
        post: dict[str, Callable[..., Any]] = {"/api/describe": self.describe, "/api/say": self.say}
        return [
            *(Route(path, answer, methods=["GET"]) for path, answer in get.items()),
            *(Route(path, answer, methods=["POST"]) for path, answer in post.items()),
        ]

    async def page(self, _: Request) -> Response:
        return HTMLResponse(self._html)

    async def folder(self, _: Request) -> Response:
        return JSONResponse(await asyncio.to_thread(self._folder.listed))

    async def film(self, request: Request) -> Response:
        query = request.query_params
        path, every = query.get("path", ""), query.get("every")
        seeds = None if "seeds" not in query else [_whole("seeds", each) for each in query["seeds"].split(",")]
        step = None if every is None else _whole("every", every)

        def made() -> bytes:
            run = self._folder.loaded(path)
            return packed(films(run, seeds=seeds, every=step, call=f"film({path})"))

        async with self._films:
            content = await _told(made)
        return Response(content, media_type="application/octet-stream")

    async def result(self, request: Request) -> Response:
        path = request.query_params.get("path", "")
        html = await _told(lambda: self._folder.result(path))
        return HTMLResponse(html)

    async def sweep(self, request: Request) -> Response:
        path = request.query_params.get("path", "")
        return JSONResponse(await _told(lambda: self._folder.sweep(path)))

    async def describe(self, request: Request) -> Response:
        asked = asked_of(parsed(await _body(request)))

        def found() -> dict[str, Any]:
            spec = spec_of(asked, self._folder.readable)
            check_live(spec)
            base, changes = parted(spec)
            return described(base) | {"changes": changes}

        return JSONResponse(await _told(found))

    async def say(self, request: Request) -> Response:
        given = parsed(await _body(request))
        table = given if isinstance(given, dict) else {}
        page = self._pages.named(page_of(table.get("page")))
        page.hear(request_of(table.get("request")))
        return Response(status_code=202)

    async def hear(self, request: Request) -> Response:
        name = page_of(request.query_params.get("page"))
        return _Stream(self._pages, name, self._pages.open(name))


async def _told(work: Callable[[], Any]) -> Any:
    """Do what may take long in a thread, and turn what is wrong with the request into a refusal.

    Raises:
        RefusedError: the request is wrong, or there is no such thing.

    """
    try:
        return await asyncio.to_thread(work)
    except RefusedError:
        raise
    except FileNotFoundError as error:
        raise RefusedError(404, _line(error)) from None
    except MemoryError:
        raise RefusedError(422, "not enough memory: smaller numbers may fit") from None
    except Exception as error:
        kind = "" if isinstance(error, ValueError | OSError) else f"{type(error).__name__}: "
        raise RefusedError(422, f"{kind}{_line(error)}") from None


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


def _whole(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise RefusedError(422, f"{name}={text[:40]!r}: must be a whole number of at least 0")
    return int(text)


async def _body(request: Request) -> bytes:
    """The body of a request that must be JSON.

    Raises:
        RefusedError: it is no JSON by its type, too large, or does not come.

    """
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
        raise RefusedError(415, "the body of a request must be application/json")
    found = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                found += chunk
                if len(found) > MOST_BYTES:
                    raise RefusedError(413, f"the body of a request must have at most {MOST_BYTES:,} bytes")
    except TimeoutError:
        raise RefusedError(408, f"the body of a request must arrive within {BODY_SECONDS:g} seconds") from None
    except ClientDisconnect:
        raise RefusedError(400, "the body of the request has not arrived") from None
    return bytes(found)


def application(folder: LabFolder, pages: Pages, html: str, port: int, token: str) -> ASGIApp:
    """The server as one function of a request.

    Args:
        folder: what is shown.
        pages: the pages that are open.
        html: the page itself.
        port: the port of the server.
        token: what every request must bring.

    """
    handlers: dict[Any, Any] = dict.fromkeys((RefusedError, HTTPException, Exception), refusing)
    app = Starlette(routes=_Paths(folder, pages, html).routes(), exception_handlers=handlers)
    app.router.redirect_slashes = False
    return Guard(app, port, token)
