"""Handing out packs until all are made: what is there is not made again, and what fails three times is set aside."""

from __future__ import annotations

import hashlib
import json
import queue
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Future
from typing import NamedTuple, final

from tegum.sweeps import store
from tegum.sweeps.claims import Claims
from tegum.sweeps.packs import PLAN, DamagedPackError, DifferentWorkerError, Made, PackTask, make, path_of, said_by
from tegum.sweeps.places import SweepPlace, full
from tegum.sweeps.plan import Pack, SweepPlan
from tegum.sweeps.workers import Crew, SchedulerLostError

TRIES = 3
"""How often a pack is tried before it is set aside."""

_AHEAD = 2
"""Packs handed out for each that can be made at the same time, so that no worker waits for the next."""

_MOST_AHEAD = 20_000
_HOPELESS = 10
"""Packs set aside, while none was made, after which there is no use in going on."""

_GATHER_SECONDS, _GATHER_PACKS = 5.0, 256
"""How often packs are moved into the store, in seconds and in packs."""

_LOOK = 0.5
"""Seconds between looks at what others do, and at whether the workers are there."""

_OTHERS = 10.0
"""Seconds between looks at whether others work on the sweep, where nothing waits for them."""


class WholeSweepError(ValueError):
    """What ends a sweep, and not only a pack of it."""


@final
class Done(NamedTuple):
    """What became of a sweep, or of the part of it that this process was asked for."""

    packs: int
    made: int
    """Packs made by this process."""
    runs: int
    """Runs that are there."""
    set_aside: tuple[str, ...]
    complete: bool
    """Whether the store has all runs, and is sealed."""


@final
class Coordinator:
    """Hands out the packs of a plan to workers, and gathers them in the store."""

    def __init__(
        self,
        place: SweepPlace,
        plan: SweepPlan,
        workers: Crew,
        *,
        call: str,
        part: tuple[int, int] | None = None,
        work: Callable[[PackTask], Made] = make,
        report: Callable[[int, int, int], None] = lambda *_: None,
    ) -> None:
        """Prepare to make what is missing.

        Args:
            place: the place of the sweep.
            plan: its plan.
            workers: who makes the packs.
            call: what errors begin with.
            part: which of how many parts of the packs to make, as in (0, 4); None is all of them.
            work: what a worker does with a task.
            report: called with the number of runs that are there, that of all of them, and that of packs set aside.

        """
        self._place, self._plan, self._workers, self._call = place, plan, workers, call
        self._work, self._report = work, report
        chosen = plan.part(part)
        self._chosen: dict[str, Pack] = {pack.name: pack for pack in chosen}
        self._all: dict[str, Pack] = {pack.name: pack for pack in plan.packs}
        self._receipts = store.Receipts(place)
        self._stored = set(self._receipts.known())
        self._waiting = {name for path in place.sizes("packs") if (name := path.rpartition("/")[2]) in self._all}
        self._failures: dict[str, list[str]] = {}
        self._set_aside: list[str] = []
        self._made = 0
        self._gathered = time.monotonic()
        self._answers: queue.SimpleQueue[tuple[Pack, Future[Made]]] = queue.SimpleQueue()
        self._flights: set[str] = set()
        self._total = sum(pack.runs for pack in chosen)
        there = self._stored | self._waiting
        self._there = sum(pack.runs for name, pack in self._chosen.items() if name in there)

    def run(self) -> Done:
        """Make what is missing; returns once all is made, here or by others.

        Raises:
            OSError: the place has no room, or cannot be written, or the scheduler has gone.
            DifferentWorkerError: a worker has other code, or another vector unit.
            WholeSweepError: everything fails.

        """
        self._check_plan()
        if (sealed := store.sealed_packs(self._place)) is not None and {*sealed} >= {*self._all}:
            store.clear_rest(self._place)
            self._workers.close(now=False)
            return Done(len(self._chosen), 0, self._total, (), complete=True)
        store.begin(self._place, self._plan)
        claims = Claims(self._place)
        self._report(self._there, self._total, 0)
        now = True
        try:
            missing = self._missing()
            while missing:
                self._hand_out(claims, missing)
                self._gather(claims, everything=True)
                # Packs may have been damaged, or found so by another process.
                missing = self._missing(afresh=True)
            self._gather(claims, everything=True)
            now = False
        except (DifferentWorkerError, SchedulerLostError) as error:
            # Whoever raised it does not know the call.
            raise type(error)(f"{self._call}: {error}") from None
        finally:
            claims.leave()
            self._workers.close(now=now)
        complete = self._seal(claims)
        return Done(len(self._chosen), self._made, self._there, tuple(self._set_aside), complete)

    def _missing(self, *, afresh: bool = False) -> list[Pack]:
        """The packs that are to be made, as far as is known, or as the place says `afresh`."""
        if afresh:
            self._receipts = store.Receipts(self._place)
            self._stored = set(self._receipts.known())
        known = self._stored | self._waiting | {*self._set_aside}
        return [pack for name, pack in self._chosen.items() if name not in known]

    def _hand_out(self, claims: Claims, missing: Sequence[Pack]) -> None:
        ready = deque(missing)
        taken = deque[Pack]()  # by others
        looked, crowded = time.monotonic(), not claims.alone()
        while ready or taken or self._flights:
            claims.beat()
            while ready and len(self._flights) < min(_AHEAD * self._workers.count(), _MOST_AHEAD):
                pack = ready.popleft()
                if not claims.take(pack.name):
                    taken.append(pack)
                elif crowded and self._made_by_others(pack):
                    claims.give_back(pack.name)
                else:
                    self._submit(pack)
            try:
                pack, answer = self._answers.get(timeout=_LOOK)
            except queue.Empty:
                self._workers.check()
            else:
                if (again := self._answered(pack, answer, claims)) is not None:
                    ready.append(again)
            ready.extend(self._gather(claims))
            if taken and not ready and time.monotonic() - looked > _LOOK:
                self._look_for(taken, ready)
                looked = time.monotonic()
            elif time.monotonic() - looked > _OTHERS:
                looked, crowded = time.monotonic(), not claims.alone()

    def _check_plan(self) -> None:
        """End where the sweep of this process has been replaced by another one."""
        try:
            there = hashlib.sha256(self._place.read(PLAN)).hexdigest()
        except FileNotFoundError:
            there = ""
        if there != self._plan.digest:
            raise WholeSweepError(
                f"{self._call}: another sweep has been begun in {self._place.address} in the meantime"
            )

    def _made_by_others(self, pack: Pack) -> bool:
        """Whether a pack that was missing at the beginning is there now."""
        path = path_of(pack.name)
        if path not in self._place.sizes(path.rpartition("/")[0]):
            # Whoever has made it may also have moved it into the store.
            self._stored |= {*self._receipts.known()}
            if pack.name not in self._stored:
                return False
        self._note(pack)
        return True

    def _look_for(self, taken: deque[Pack], ready: deque[Pack]) -> None:
        """Look whether what others had taken is there, or whether they have given it up."""
        self._stored |= {*self._receipts.known()}
        there = self._stored | {path.rpartition("/")[2] for path in self._place.sizes("packs")}
        for _ in range(len(taken)):
            pack = taken.popleft()
            if pack.name in there:
                self._note(pack)
            else:
                ready.append(pack)

    def _note(self, pack: Pack) -> None:
        if pack.name not in self._waiting:
            self._there += pack.runs
            self._report(self._there, self._total, len(self._set_aside))
        if pack.name not in self._stored:
            self._waiting.add(pack.name)

    def _submit(self, pack: Pack) -> None:
        future = self._workers.submit(self._work, self._plan.task(pack, self._place))
        self._flights.add(pack.name)
        future.add_done_callback(lambda done: self._answers.put((pack, done)))

    def _answered(self, pack: Pack, answer: Future[Made], claims: Claims) -> Pack | None:
        """Take in what became of a pack; returns it if it has to be tried again."""
        self._flights.discard(pack.name)
        try:
            made = answer.result()
            if made.content is not None:
                self._place.write(path_of(pack.name), made.content)
        except (DifferentWorkerError, SchedulerLostError):
            raise
        except (BrokenExecutor, CancelledError) as error:
            raise WholeSweepError(f"{self._call}: the executor has stopped ({error or type(error).__name__})") from None
        except Exception as error:
            if isinstance(error, OSError) and (full(error) or isinstance(error, PermissionError)):
                raise
            return self._failed(pack, error, claims)
        self._made += 1
        self._failures.pop(pack.name, None)
        self._note(pack)
        return None

    def _failed(self, pack: Pack, error: Exception, claims: Claims) -> Pack | None:
        tries = self._failures.setdefault(pack.name, [])
        tries.append(said_by(error))
        if len(tries) < TRIES:
            return pack
        specs, seeds = self._plan.groups[pack.group].layout.within(pack.place)
        members = self._plan.groups[pack.group].members
        told = {
            "pack": pack.name,
            "specs": [members[at] for at in specs],
            "runs": [seeds.start, seeds.stop],
            "errors": tries,
        }
        self._place.write(f"failed/{pack.name}.json", json.dumps(told, indent=1).encode())
        self._set_aside.append(pack.name)
        claims.give_back(pack.name)
        self._report(self._there, self._total, len(self._set_aside))
        if not self._made and len(self._set_aside) >= _HOPELESS:
            failed = f"{_HOPELESS} packs have failed {TRIES} times each, and none was made"
            raise WholeSweepError(f"{self._call}: {failed}; the last error was: {tries[-1]}")
        return None

    def _gather(self, claims: Claims, *, everything: bool = False) -> Sequence[Pack]:
        """Move packs into the store, if it is time to; returns those that were damaged."""
        due = time.monotonic() - self._gathered > _GATHER_SECONDS or len(self._waiting) >= _GATHER_PACKS
        if not self._waiting or not (due or everything):
            return ()
        self._check_plan()
        again: list[Pack] = []
        while self._waiting:
            batch = [self._all[name] for name in sorted(self._waiting)[:_GATHER_PACKS]]
            damaged = store.consolidate(self._place, batch)
            self._waiting -= {pack.name for pack in batch}
            self._stored |= {pack.name for pack in batch} - {pack.name for pack in damaged}
            for pack in batch:
                claims.give_back(pack.name)
            again += self._not_elsewhere(damaged, claims)
            claims.beat()
        self._gathered = time.monotonic()
        return again

    def _not_elsewhere(self, damaged: Sequence[Pack], claims: Claims) -> list[Pack]:
        """Packs that have to be made again: another process may have moved them into the store."""
        if not damaged:
            return []
        self._stored |= {*self._receipts.known()}
        lost = [pack for pack in damaged if pack.name not in self._stored and pack.name in self._chosen]
        self._there -= sum(pack.runs for pack in lost)
        error = DamagedPackError("its file was not as it had been written")
        return [again for pack in lost if (again := self._failed(pack, error, claims)) is not None]

    def _seal(self, claims: Claims) -> bool:
        """Seal the store if it has all packs; others who make one of them again will find it so, and seal it again."""
        self._check_plan()
        self._receipts = store.Receipts(self._place)
        self._stored = {*self._receipts.known()}
        if not self._stored >= {*self._all}:
            return False
        store.seal(self._place, alone=claims.alone())
        return True
