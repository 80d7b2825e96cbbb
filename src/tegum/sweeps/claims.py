"""Who works on which pack, so that several processes can share a sweep without knowing of one another.

A claim is a file that names its owner, and only one can create it. An owner proves that it is alive by counting in a
file of its own; one whose count has stood still for a while, by the watch of whoever looks at it, is dead, and so is
one on this machine whose process has ended. Clocks of different machines are never compared, and a clock that jumps
changes nothing. If a claim goes wrong all the same, two processes make the same pack, with the same bits.
"""

from __future__ import annotations

import json
import os
import platform
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, final

from tegum.sweeps.places import SweepPlace

FOLDER = "claims"

_EVERY = 5.0
"""Seconds between two counts of an owner."""

_DEAD = 60.0
"""Seconds of another owner's standing still after which it is dead: a busy file system may show a count late."""


@final
class Claims:
    """The claims of one process, while it works on a sweep."""

    def __init__(self, place: SweepPlace, clock: Callable[[], float] = time.monotonic) -> None:
        """Join those who work on a sweep; `clock` must never go back, and is only compared with itself."""
        self._place, self._clock = place, clock
        self.owner: str = secrets.token_hex(8)
        self._count, self._last = 0, -1e9
        self._known: dict[str, tuple[Any, float]] = {}
        self._mine: set[str] = set()
        self.beat()

    def beat(self) -> None:
        """Show that this process is alive, if it is time to."""
        now = self._clock()
        if now - self._last < _EVERY:
            return
        self._count, self._last = self._count + 1, now
        told = {"count": self._count, "machine": _machine(), "pid": os.getpid(), "started": _started(os.getpid())}
        self._place.write_loosely(f"{FOLDER}/owners/{self.owner}", json.dumps(told).encode())

    def take(self, name: str) -> bool:
        """Claim a pack: False if someone who is alive has it."""
        path = f"{FOLDER}/{name}"
        for _ in range(2):
            if self._place.create(path, self.owner.encode(), durable=False):
                self._mine.add(name)
                return True
            try:
                owner = self._place.read(path).decode(errors="replace")
            except FileNotFoundError:  # it has just been given back
                continue
            if owner == self.owner:
                return True
            if self._alive(owner):
                return False
            self._place.remove(path)
        return False

    def give_back(self, name: str) -> None:
        """End a claim: the pack is made, or will not be."""
        self._mine.discard(name)
        self._place.remove(f"{FOLDER}/{name}")

    def others(self) -> int:
        """The number of other processes that work on the sweep."""
        return sum(map(self._alive, self._owners()))

    def alone(self) -> bool:
        """Whether no other process works on the sweep."""
        return not any(map(self._alive, self._owners()))

    def _owners(self) -> Iterator[str]:
        owners = (path.rpartition("/")[2] for path in self._place.sizes(f"{FOLDER}/owners"))
        return (owner for owner in owners if owner != self.owner)

    @classmethod
    def alive_at(cls, place: SweepPlace) -> tuple[int, int]:
        """The processes of this machine that work on a sweep, and those of others, for somebody who only looks.

        Of those on other machines it cannot be seen at once whether they are alive.
        """
        seen = cls.__new__(cls)
        seen._place, seen._clock, seen._known, seen.owner = place, time.monotonic, {}, ""
        alive = [seen._is_here(owner) for owner in seen._owners() if seen._alive(owner)]
        return sum(alive), len(alive) - sum(alive)

    def leave(self) -> None:
        """Give back everything, whatever happens."""
        with suppress(OSError):
            for name in list(self._mine):
                self.give_back(name)
            self._place.remove(f"{FOLDER}/owners/{self.owner}")

    def _said_by(self, owner: str) -> dict[str, Any]:
        """What an owner says of itself; nothing if it has left, or was killed before it could."""
        try:
            told = json.loads(self._place.read(f"{FOLDER}/owners/{owner}"))
        except (OSError, ValueError):
            return {}
        return told if isinstance(told, dict) else {}

    def _is_here(self, owner: str) -> bool:
        return self._said_by(owner).get("machine") == _machine()

    def _alive(self, owner: str) -> bool:
        told = self._said_by(owner)
        if not told:
            return False
        if told.get("machine") == _machine():
            return _started(told.get("pid", -1)) == told.get("started") is not None
        now = self._clock()
        count, since = self._known.get(owner, (None, now))
        if told.get("count") != count:
            count, since = told.get("count"), now
        self._known[owner] = count, since
        return now - since < _DEAD


def _machine() -> str:
    """The name of this machine, and of this start of it: numbers of processes mean something only within it."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        boot = ""
    # Containers on one machine have processes of the same numbers.
    with suppress(OSError):
        boot += f" {Path('/proc/self/ns/pid').readlink()}"
    return f"{platform.node()} {boot}"


def _started(process: int) -> str | None:
    """When a process of this machine was started, in the system's own units; None if there is none, or it is dead."""
    try:
        told = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return None if told[0] in "ZX" else told[19]
    except (OSError, IndexError):
        pass
    if Path("/proc/self/stat").exists():
        return None
    try:  # a system without /proc
        os.kill(process, 0)
    except (OSError, ValueError, OverflowError):
        return None
    return "running"
