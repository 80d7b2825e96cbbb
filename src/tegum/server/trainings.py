"""Training for a page: a run whose frames are sent while it is trained, and many runs of which only the ends are."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, final

from tegum.core.stopping import Stop, Stopped, working_for
from tegum.core.threads import available_cores
from tegum.server.courses import Course, Courses
from tegum.server.limits import check_live
from tegum.server.outbox import Outbox, refused
from tegum.server.reading import EnsembleRequest, TrainRequest
from tegum.server.specs import check_run, parted, spec_of, trained
from tegum.training.spec.methods import Sampled
from tegum.training.spec.spec import Spec

BUNDLE_NUMBERS = 2**17
"""The most numbers in a bundle of frames, a megabyte, unless one frame has more."""

THREADS = "tegum lab"
"""What the names of a page's threads begin with."""

Work = Callable[[Stop], None]


@final
class Job:
    """Work for a page in a thread of its own: it can be stopped, and what it cannot do it says in a sentence."""

    def __init__(self, number: int, kind: str, outbox: Outbox, work: Work, ended: Callable[[Job], None]) -> None:
        """Prepare it.

        Args:
            number: the number of the request.
            kind: what it is, in a word.
            outbox: where its answers go.
            work: what is done; it is given the flag that ends it.
            ended: called once the thread has nothing more to do.

        """
        self.number: int = number
        self.kind: str = kind
        self.flag: Stop = Stop()
        self.over: bool = False
        """Whether the thread has nothing more to do."""
        self.failed: bool = False
        """Whether it has been refused, or has failed."""
        self._outbox, self._work, self._ended = outbox, work, ended
        self._thread = threading.Thread(target=self._run, name=f"{THREADS} {number}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End soon; it sends nothing any more."""
        self.flag.set()

    def join(self, seconds: float) -> None:
        """Wait until it has ended, but not longer than that."""
        self._thread.join(max(seconds, 0.0))

    def _run(self) -> None:
        why = None
        try:
            with working_for(self.flag):
                self._work(self.flag)
        except Stopped:
            self.failed = True
        except Exception as error:  # whatever it is, the server goes on, and the page is told
            self.failed, why = True, sentence_of(error)
        finally:
            self.over = True
            self._ended(self)
        # Whoever hears it may ask for something else in its place.
        if why is not None and not self.flag.flag[0]:
            self._outbox.put(refused(self.number, why))


def sentence_of(error: Exception) -> str:
    """What an error says, on one line; of one that nobody foresaw also its kind."""
    text = " ".join(str(error).split())
    match error:
        case MemoryError():
            return f"not enough memory: {text or 'smaller numbers may fit'}"
        case ValueError() | OSError():
            return text
        case _:
            return f"an error that should not occur: {type(error).__name__}: {text}"


@final
class Watched:
    """A run that a page watches: a bundle of its frames is sent once the last one was taken, however fast it goes."""

    def __init__(self, request: TrainRequest, courses: Courses, readable: Sequence[Path], outbox: Outbox) -> None:
        """Prepare it; nothing is checked yet, as that may take long."""
        self._request, self._courses, self._readable, self._outbox = request, courses, readable, outbox
        self._lock = threading.Lock()
        self._course: Course | None = None
        self._free, self._sent = True, 0
        self.delivered: bool = False
        """Whether the last frame was sent."""

    def train(self, stop: Stop) -> None:
        """Train to the end.

        Raises:
            ValueError: it cannot be trained, or not while a page watches.

        """
        asked, run = self._request.of, self._request.run
        spec = spec_of(asked, self._readable)
        check_run(spec, run)
        check_live(spec)
        base, changes = parted(spec)
        course = self._courses.begin(spec, base.hash, changes, run)
        self._course = course
        self._offer(stop)
        if course.ended:
            return
        with closing(trained(spec, [run], course.state, threads=1)) as segments:
            for segment in segments:
                stop.check()
                course.add(segment)
                self._offer(stop)

    def taken(self, stop: Stop) -> None:
        """The page has taken the last bundle."""
        self._free = True
        self._offer(stop)

    def _offer(self, stop: Stop) -> None:
        """Send what is new, if the page is free for it."""
        with self._lock:
            course = self._course
            if course is None or not self._free or self.delivered or stop.flag[0]:
                return
            # The training thread may add some meanwhile.
            over, finite = course.diverged or course.ended, course.finite
            size = course.whole.weights[0, 0].size + course.whole.bias[0, 0].size
            upto = min(finite, self._sent + max(1, BUNDLE_NUMBERS // size))
            done = over and upto == finite
            if upto == self._sent and not done:
                return
            frames = [_frame(course, at) for at in range(self._sent, upto)]
            self._free, self._sent, self.delivered = False, upto, done
            diverged = done and course.diverged
            self._outbox.put(
                {"type": "frames", "id": self._request.id, "frames": frames, "done": done, "diverged": diverged}
            )


def _frame(course: Course, at: int) -> dict[str, Any]:
    whole = course.whole
    found = {"step": int(whole.steps[at]), "weights": whole.weights[0, at], "bias": whole.bias[0, at]}
    return found | {"loss": float(whole.loss[0, at])}


def train_ensemble(request: EnsembleRequest, readable: Sequence[Path], outbox: Outbox, stop: Stop) -> None:
    """Train many runs, some at a time, and send the end of each.

    Raises:
        ValueError: they cannot be trained, or not while a page watches.

    """
    spec = _ends_only(spec_of(request.of, readable))
    if request.runs > spec.seeds:
        check_run(spec, request.runs - 1)
    # One core is for the run that is watched.
    together = max(1, available_cores() - 1)
    check_live(spec, min(together, spec.seeds))
    wanted = range(request.first, request.runs, request.every)
    for begin in range(0, len(wanted), together):
        runs = wanted[begin : begin + together]
        last = None
        with closing(trained(spec, runs, None, threads=together)) as segments:
            for segment in segments:
                stop.check()
                last = segment
        if last is None:
            continue
        step, ends = last.state.step, last.recorded
        for place, run in enumerate(runs):
            frame = {"step": step, "weights": ends.weights[place, -1], "bias": ends.bias[place, -1]}
            frame["loss"] = float(ends.loss[place, -1])
            outbox.put_when_room({"type": "end", "id": request.id, "run": run, "frame": frame}, stop)


def _ends_only(spec: Spec) -> Spec:
    """The Spec without snapshots on the way, where these play no part in the training."""
    return spec.replace(snapshots=1) if isinstance(spec.training, Sampled) else spec
