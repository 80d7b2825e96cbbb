"""The pages that are open: what each of them has asked for, until it is closed."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from functools import partial
from typing import assert_never, final

from tegum.server.courses import Courses
from tegum.server.folder import LabFolder
from tegum.server.outbox import Outbox, refused
from tegum.server.reading import (
    EnsembleRequest,
    EventsRequest,
    KeepRequest,
    MeasureRequest,
    RefusedError,
    Request,
    StopRequest,
    TakenRequest,
    TrainRequest,
)
from tegum.server.tasks import Tasks
from tegum.server.trainings import Job, Watched, Work, train_ensemble

MOST_PAGES = 32
"""How many pages may be open."""

MOST = {"training": 4, "ensemble": 2, "question": 8}
"""How much of each kind a page may have asked for at a time: twice what it shows, as what follows may arrive before the
word to stop what was there."""

_MOST_THREADS = 24
"""The most threads of a page, with those that are just ending."""

_REMEMBERED = 256
"""Numbers of requests that were stopped: a request may arrive after the word to stop it."""


@final
class Page:
    """One page, with what it has asked for."""

    def __init__(self, folder: LabFolder, outbox: Outbox) -> None:
        """Nothing has been asked for yet."""
        self.outbox = outbox
        self._folder, self._courses = folder, Courses()
        self._tasks = Tasks(folder, self._courses, outbox)
        self._lock = threading.Lock()
        self._jobs: dict[int, Job] = {}
        self._watched: dict[int, Watched] = {}
        self._threads: set[Job] = set()
        self._stopped: deque[int] = deque(maxlen=_REMEMBERED)
        self._closed = False

    def hear(self, request: Request) -> None:
        """Do what the page asks, or begin to; what cannot be done is answered in a sentence."""
        match request:
            case StopRequest():
                self._stop(request.id)
            case TakenRequest():
                self._taken(request.id)
            case TrainRequest():
                watched = Watched(request, self._courses, self._folder.readable, self.outbox)
                self._begin(request.id, "training", watched.train, watched)
            case EnsembleRequest():
                self._begin(
                    request.id, "ensemble", partial(train_ensemble, request, self._folder.readable, self.outbox)
                )
            case MeasureRequest(look=look):
                self._begin(request.id, "question", partial(self._tasks.look if look else self._tasks.ask, request))
            case EventsRequest():
                self._begin(request.id, "question", partial(self._tasks.events, request))
            case KeepRequest():
                self._begin(request.id, "question", partial(self._tasks.keep, request))
            case _:
                assert_never(request)

    def close(self) -> set[Job]:
        """End everything, and return what is just ending."""
        with self._lock:
            self._closed = True
            ending = {*self._threads}
            self._jobs.clear()
            self._watched.clear()
        for job in ending:
            job.stop()
        self.outbox.close()
        self._courses.close()
        return ending

    def _begin(self, number: int, kind: str, work: Work, watched: Watched | None = None) -> None:
        """Start a job, unless the page has too many of its kind."""
        with self._lock:
            if self._closed or number in self._stopped:
                return
            sentence = self._too_many(number, kind)
            if sentence is None:
                job = self._jobs[number] = Job(number, kind, self.outbox, work, self._ended)
                if watched is not None:
                    self._watched[number] = watched
                self._threads.add(job)
                job.start()
        if sentence is not None:
            self.outbox.put(refused(number, sentence))

    def _too_many(self, number: int, kind: str) -> str | None:
        if number in self._jobs:
            return f"id={number}: the page has asked for something else under this number, which is not over"
        if sum(job.kind == kind for job in self._jobs.values()) >= MOST[kind]:
            return f"{kind}: a page has at most {MOST[kind]} of them at a time; stop one first"
        if len(self._threads) >= _MOST_THREADS:
            return f"{kind}: much of what this page has stopped has not ended yet; ask again in a moment"
        return None

    def _taken(self, number: int) -> None:
        with self._lock:
            watched, job = self._watched.get(number), self._jobs.get(number)
        if watched is not None and job is not None:
            watched.taken(job.flag)
            self._settle(number)

    def _stop(self, number: int) -> None:
        with self._lock:
            self._stopped.append(number)
            job = self._jobs.pop(number, None)
            self._watched.pop(number, None)
        if job is not None:
            job.stop()

    def _ended(self, job: Job) -> None:
        with self._lock:
            self._threads.discard(job)
        self._settle(job.number)

    def _settle(self, number: int) -> None:
        """Forget a job that is over and, if it has frames, whose last ones were sent."""
        with self._lock:
            job, watched = self._jobs.get(number), self._watched.get(number)
            if job is not None and job.over and (watched is None or watched.delivered or job.failed):
                del self._jobs[number]
                self._watched.pop(number, None)


@final
class Pages:
    """All pages that are open; only the server's own thread comes here."""

    def __init__(self, folder: LabFolder) -> None:
        """None yet."""
        self._folder = folder
        self._open: dict[str, Page] = {}
        self._ends = False

    def open(self, name: str) -> Page:
        """Open a page; one of the same name is closed.

        Raises:
            RefusedError: too many are open, or the lab ends.

        """
        if self._ends:
            raise RefusedError(503, "the lab ends, and opens no page any more")
        if name not in self._open and len(self._open) >= MOST_PAGES:
            raise RefusedError(429, f"{MOST_PAGES} pages are open, and no more can be; close one first")
        if (former := self._open.pop(name, None)) is not None:
            former.close()
        page = self._open[name] = Page(self._folder, Outbox(asyncio.get_running_loop()))
        return page

    def named(self, name: str) -> Page:
        """The page of this name.

        Raises:
            RefusedError: it does not listen.

        """
        if name not in self._open:
            raise RefusedError(409, f"page={name}: this page does not listen; it must open /api/hear before it asks")
        return self._open[name]

    def close(self, name: str, page: Page) -> None:
        """Close a page, unless another one has its name by now."""
        if self._open.get(name) is page:
            del self._open[name]
        page.close()

    def close_all(self) -> list[Job]:
        """Close all pages, open none any more, and return what is just ending."""
        self._ends = True
        pages = [*self._open.values()]
        self._open.clear()
        return [job for page in pages for job in page.close()]
