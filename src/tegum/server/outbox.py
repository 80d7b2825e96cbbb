"""Answers on their way to a page: threads put them in, and the stream of the page takes them out, as fast as it reads.

Numbers become text only then. What waits is bounded: by those who put answers in only once the last one was taken, and
for the others by their waiting until there is room.
"""

from __future__ import annotations

import asyncio
import base64
import json
import math
import threading
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, final

import numpy as np
from jaxtyping import Shaped

from tegum.core.signals import LATER
from tegum.core.stopping import Stop

ROOM = 32
"""Answers that may wait."""

Answer = Mapping[str, Any]


@final
class Outbox:
    """The answers that a page has not yet read."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """An empty one, whose stream runs in this loop."""
        self._loop = loop
        self._waiting: deque[Answer] = deque()
        self._changed = threading.Condition()
        self._ready = asyncio.Event()
        self._closed = False

    def put(self, answer: Answer) -> None:
        """Put in an answer; nothing happens where the page has been closed."""
        with self._changed:
            if self._closed:
                return
            self._waiting.append(answer)
        self._wake()

    def put_when_room(self, answer: Answer, stop: Stop) -> None:
        """Put in an answer once few others wait.

        Raises:
            Stopped: the work is to end.

        """
        with self._changed:
            while len(self._waiting) >= ROOM and not self._closed:
                self._changed.wait(LATER)
                stop.check()
        self.put(answer)

    async def take(self) -> Answer | None:
        """The next answer, once there is one; None once the page has been closed."""
        while True:
            with self._changed:
                if self._closed:
                    return None
                if self._waiting:
                    self._changed.notify_all()
                    return self._waiting.popleft()
                self._ready.clear()
            await self._ready.wait()

    def close(self) -> None:
        """Drop what waits; from now on nothing is put in."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify_all()
        self._wake()

    def _wake(self) -> None:
        with suppress(RuntimeError):  # The loop has ended, and with it the stream.
            self._loop.call_soon_threadsafe(self._ready.set)


def refused(number: int, sentence: str) -> Answer:
    """The answer to a request that cannot be done."""
    return {"type": "refused", "id": number, "sentence": sentence}


def written(answer: Answer) -> bytes:
    """An answer as JSON: arrays as their float64, little-endian, in base64, and null for what is no finite number."""
    return json.dumps(_plain(answer), separators=(",", ":"), allow_nan=False).encode()


def _plain(value: Any) -> Any:
    match value:
        case Mapping():
            return {key: _plain(each) for key, each in value.items()}
        case list() | tuple():
            return [_plain(each) for each in value]
        case np.ndarray():
            return _encoded(value)
        case float() | np.floating():
            return float(value) if math.isfinite(value) else None
        case np.generic():
            return value.item()
        case _:
            return value


def _encoded(numbers: Shaped[np.ndarray, "*shape"]) -> str:
    return base64.b64encode(np.ascontiguousarray(numbers, "<f8").tobytes()).decode()
