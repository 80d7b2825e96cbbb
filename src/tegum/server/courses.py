"""The runs that a page has trained, as far as there is room: snapshots, and states from which others can branch."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, final

import numpy as np

from tegum.server.specs import Changes, same_until
from tegum.training.dataset import dataset
from tegum.training.sizes import engine_name
from tegum.training.spec.spec import Spec
from tegum.training.state import Recorded, TrainingState

if TYPE_CHECKING:
    import xarray as xr

    from tegum.training.engine import Segment

KEPT_BYTES = 2**28
"""The most bytes of runs that a page keeps beside those that it trains."""

STATES, STATE_BYTES = 8, 2**25
"""The most states of a run that are kept, and the most bytes of these."""


@final
@dataclass
class _Trainer:
    """Who trained a run, as its trajectory says."""

    name: str
    threads: int


@final
@dataclass(eq=False)
class Course:
    """A run of a Spec: one thread trains it, and others read what is done."""

    spec: Spec
    """With the changes on the way."""
    base: str
    """What identifies the Spec without them."""
    changes: Changes
    run: int
    whole: Recorded
    """The snapshots, of which the first ones are there."""
    done: int = 0
    """How many are."""
    finite: int = 0
    """How many of them are states: there are no more after a divergence."""
    state: TrainingState | None = None
    seconds: float = 0.0
    states: list[TrainingState] = field(default_factory=list)
    """Some that were passed on the way, rising."""

    @classmethod
    def of(cls, spec: Spec, base: str, changes: Changes, run: int) -> Course:
        """The run at its start."""
        steps = spec.snapshots.at(spec.training.steps)
        whole = Recorded.empty(steps, 1, spec.features.n, spec.hidden, spec.training.dtype)
        return cls(spec, base, changes, run, whole)

    @property
    def diverged(self) -> bool:
        """Whether there are no more states to come, as the loss is no longer finite."""
        return self.finite < self.done or (self.state is not None and int(self.state.diverged_at[0]) >= 0)

    @property
    def ended(self) -> bool:
        """Whether all snapshots are there."""
        return self.done == len(self.whole.steps)

    @property
    def bytes(self) -> int:
        """What it takes of the memory."""
        whole = self.whole
        return whole.weights.nbytes + whole.bias.nbytes + whole.loss.nbytes + sum(map(_bytes, self.states))

    def add(self, segment: Segment) -> None:
        """Add what a segment has recorded."""
        new, first = segment.recorded, self.done
        stop = first + len(new.steps)
        self.whole.weights[:, first:stop] = new.weights
        self.whole.bias[:, first:stop] = new.bias
        self.whole.loss[:, first:stop] = new.loss
        # Whoever reads meanwhile must never see a state without its snapshots, nor an end without its last states.
        if self.finite == first:
            sound = np.isfinite(new.weights[0]).all((1, 2)) & np.isfinite(new.bias[0]).all(1)
            self.finite = first + (len(sound) if sound.all() else int(np.argmin(sound)))
        self.done = stop
        self.state = segment.state
        self.seconds += segment.seconds
        last, apart = self.states[-1].step if self.states else 0, -(-segment.steps // (STATES + 1))
        size = _bytes(segment.state)
        if segment.state.step >= last + apart and sum(map(_bytes, self.states)) + size <= STATE_BYTES:
            self.states.append(segment.state)

    def branched(self, spec: Spec, changes: Changes) -> Course | None:
        """The run with other changes, as far as it is the same; None if it is nowhere known to be."""
        differs, last = same_until(self.changes, changes), self.state
        # The snapshot at the step of a change is already measured by what it changes to.
        same = [each for each in (*self.states, last) if each is not None and each.step < differs]
        if last is None or not same:
            return None
        state = max(same, key=lambda each: each.step)
        count = int(np.searchsorted(self.whole.steps[: self.done], state.step, side="right"))
        other = Course.of(spec, self.base, changes, self.run)
        for name in ("weights", "bias", "loss"):
            getattr(other.whole, name)[:, :count] = getattr(self.whole, name)[:, :count]
        seconds = self.seconds * state.step / max(1, last.step)
        return replace(
            other, done=count, finite=min(count, self.finite), state=state, seconds=seconds,
            states=[each for each in self.states if each.step <= state.step],
        )  # fmt: skip

    def trajectory(self) -> xr.Dataset:
        """The run as `train` returns it.

        Raises:
            ValueError: it has not been trained to its end.

        """
        if self.state is None or not self.ended:
            raise ValueError(f"run {self.run}: it has not been trained to its end yet")
        trainer = _Trainer(engine_name([self.spec]), 1)
        return dataset([self.spec], [self.run], self.whole, self.state, self.done, trainer, self.seconds)


@final
class Courses:
    """What is kept of the runs of a page: those used last, within a number of bytes."""

    def __init__(self, most: int = KEPT_BYTES) -> None:
        """None yet; at most so many bytes."""
        self._most = most
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, int], Course] = OrderedDict()
        self._closed = False

    def begin(self, spec: Spec, base: str, changes: Changes, run: int) -> Course:
        """A run to be trained: new, or from where one that is kept begins to be another."""
        with self._lock:
            alike = [each for each in self._kept.values() if each.base == base and each.run == run]
            branches = [each for each in (one.branched(spec, changes) for one in alike) if each is not None]
            course = max(branches, key=lambda each: each.done, default=None) or Course.of(spec, base, changes, run)
            if not self._closed:
                self._kept[spec.hash, run] = course
                self._kept.move_to_end((spec.hash, run))
            while len(self._kept) > 1 and sum(each.bytes for each in self._kept.values()) > self._most:
                self._kept.popitem(last=False)
        return course

    def found(self, spec: Spec, run: int) -> Course:
        """A run that was trained.

        Raises:
            ValueError: it was not, or is no longer kept.

        """
        with self._lock:
            course = self._kept.get((spec.hash, run))
            if course is None:
                raise ValueError(f"run {run}: this page has not trained it, or long ago; train it again first")
            self._kept.move_to_end((spec.hash, run))
            return course

    def close(self) -> None:
        """Keep nothing any more."""
        with self._lock:
            self._closed = True
            self._kept.clear()


def _bytes(state: TrainingState) -> int:
    return sum(np.asarray(value).nbytes for value in state.arrays().values())
