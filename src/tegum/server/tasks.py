"""What a page asks for beside training: loss and gradient, a look around, the events of a run, and to keep one."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import final

import numpy as np

from tegum.analysis.dynamics.happenings import happenings
from tegum.core.signals import LATER
from tegum.core.stopping import Stop
from tegum.data.schema import leading
from tegum.data.store import write
from tegum.server.asking import Questions, shaped
from tegum.server.courses import Course, Courses
from tegum.server.folder import LabFolder
from tegum.server.limits import check_live
from tegum.server.looks import looked
from tegum.server.outbox import Outbox
from tegum.server.reading import Asked, EventsRequest, KeepRequest, MeasureRequest
from tegum.server.specs import check_run, in_force, spec_of
from tegum.training.dataset import changed_at

_PATIENCE = 30.0
"""How long one waits for the last snapshots of a run that has diverged, in seconds."""


@final
class Tasks:
    """The questions of a page, one at a time; those of a hand that drags an embedding do not wait for the others."""

    def __init__(self, folder: LabFolder, courses: Courses, outbox: Outbox) -> None:
        """Nothing was asked."""
        self._folder, self._courses, self._outbox = folder, courses, outbox
        self._questions, self._long, self._short = Questions(), threading.Lock(), threading.Lock()

    def ask(self, request: MeasureRequest, stop: Stop) -> None:
        """Loss and gradient of a state.

        Raises:
            ValueError: they cannot be had.

        """
        with _alone(self._short, stop):
            spec = in_force(spec_of(request.of, self._folder.readable), request.step)
            check_live(spec)
            found = self._questions.answered(spec, *shaped(spec, request.weights, request.bias))
            stop.check()
            self._outbox.put({"type": "answer", "id": request.id, **found})

    def look(self, request: MeasureRequest, stop: Stop) -> None:
        """The exact loss of a state, and the landscape around it.

        Raises:
            ValueError: the state does not fit the Spec.

        """
        with _alone(self._long, stop):
            spec = in_force(spec_of(request.of, self._folder.readable), request.step)
            check_live(spec)
            found = looked(spec, *shaped(spec, request.weights, request.bias))
            stop.check()
            self._outbox.put({"type": "look", "id": request.id, **found})

    def events(self, request: EventsRequest, stop: Stop) -> None:
        """What happened in a whole run.

        Raises:
            ValueError: there is no such run.
            OSError: the store cannot be read.

        """
        with _alone(self._long, stop):
            if request.of is not None:
                run = self._course(request.of, request.run, stop).trajectory()
            else:
                run = self._folder.loaded(request.path or "")
                if lead := leading(run):
                    rule = f"it holds several Specs, along {', '.join(lead)}, and events are found of a store of one"
                    raise ValueError(f"events({request.path}): {rule}")
                if not (run["seed"].values == request.run).any():
                    raise ValueError(f"events({request.path}, run={request.run}): there is no such run in it")
                run = run.isel(seed=np.flatnonzero(run["seed"].values == request.run)[:1])
            (found,) = happenings(run, changed_at(run))
            stop.check()
            self._outbox.put({"type": "events", "id": request.id, "happenings": found})

    def keep(self, request: KeepRequest, stop: Stop) -> None:
        """Store a run that was trained to its end.

        Raises:
            ValueError: it was not.
            OSError: it cannot be stored there.

        """
        with _alone(self._long, stop):
            run = self._course(request.of, request.run, stop).trajectory()
            stop.check()
            path = self._folder.free(request.name)
            write(run, path, overwrite=False, call=f"keep({request.name})")
            self._folder.show(request.name)
            self._outbox.put({"type": "kept", "id": request.id, "path": request.name})

    def _course(self, asked: Asked, run: int, stop: Stop) -> Course:
        spec = spec_of(asked, self._folder.readable)
        check_run(spec, run)
        course = self._courses.found(spec, run)
        # A run that has diverged is over for the page, while its snapshots are still filled in.
        end = time.monotonic() + _PATIENCE
        while course.diverged and not course.ended and time.monotonic() < end:
            stop.check()
            time.sleep(LATER)
        return course


@contextmanager
def _alone(lock: threading.Lock, stop: Stop) -> Iterator[None]:
    """Inside, no other question of the page is answered.

    Raises:
        Stopped: it was stopped while it waited.

    """
    while not lock.acquire(timeout=LATER):
        stop.check()
    try:
        stop.check()
        yield
    finally:
        lock.release()
