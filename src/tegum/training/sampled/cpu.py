"""Sampled training on CPUs: mini-batch AdamW and SGD over many runs, by the fused kernel on all cores."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, final

import numpy as np
from jaxtyping import Float32, Int64

from tegum.core.model import ACTIVATIONS
from tegum.core.stopping import Stop, all_done
from tegum.core.threads import TASKS_PER_THREAD, Threaded, available_cores
from tegum.training.sampled.kernels.advance import (
    SAMPLED_UPDATES,
    Record,
    RunArrays,
    TrainingPlan,
    advance,
    block_groups,
    scratch,
)
from tegum.training.sampled.kernels.draw import STREAM_WORDS, draw_batch
from tegum.training.sampled.kernels.tables import compile_tables
from tegum.training.spec.methods import Sampled, known_rule
from tegum.training.start import starting_state, streams
from tegum.training.state import Recorded, TrainingState

if TYPE_CHECKING:
    from tegum.training.spec.spec import Spec


@final
class KernelEngine(Threaded):
    """Trains the runs of compatible Specs together.

    A run's numbers depend only on its Spec and its seed: not on the runs trained with it, on threads, or on where
    training was interrupted.
    """

    name = "kernel"

    def __init__(self, specs: Sequence[Spec], threads: int | None = None) -> None:
        """Prepare to train `specs`, which agree in everything but what may differ from run to run."""
        self.specs: tuple[Spec, ...] = tuple(specs)
        super().__init__(threads or available_cores())
        first = self.specs[0]
        self._n, self._m = first.features.n, first.hidden
        trainings = [spec.training for spec in self.specs if isinstance(spec.training, Sampled)]
        # Most sweeps differ only in features: what belongs to a training is computed and kept once.
        self._training = list(dict.fromkeys(trainings))
        setting_of_spec = np.array([self._training.index(each) for each in trainings])
        self._update = SAMPLED_UPDATES[known_rule(self._training[0], self.name, SAMPLED_UPDATES)]
        self._tables = compile_tables([spec.features for spec in self.specs], self._training[0].batch)
        self._spec_of_run = np.repeat(np.arange(len(self.specs)), [spec.seeds for spec in self.specs])
        self._setting_of_run = setting_of_spec[self._spec_of_run]
        self._evaluation = streams(self.specs, "evaluation", STREAM_WORDS)

    def start(self) -> TrainingState:
        """The state before the first step."""
        return starting_state(self.specs, STREAM_WORDS)

    def advance(
        self, state: TrainingState, stop: int, snapshots: Int64[np.ndarray, " snapshot"]
    ) -> tuple[TrainingState, Recorded]:
        """Train to step `stop`; record at `snapshots`, which lie from `state.step` to there.

        `state` is left as it is. Call inside a `with` block of this engine.
        """
        state = state.copy()
        runs = len(state.weights)
        recorded = Recorded.empty(snapshots, runs, self._n, self._m)
        plan = self._plan(state.step, stop)
        arrays = RunArrays(
            state.weights,
            state.bias,
            state.first,
            state.second,
            state.stream,
            self._evaluation,
            state.diverged_at,
        )
        record = Record(recorded.steps, recorded.weights, recorded.bias, recorded.loss)

        def task(first: int, last: int) -> None:
            working = scratch(self._n, self._m)
            groups = block_groups(self._n)
            advance(self._tables, plan, arrays, record, first, last, state.step, stop, groups, working)

        bounds = np.linspace(0, runs, min(runs, TASKS_PER_THREAD * self.threads) + 1).astype(int).tolist()
        all_done(self._pool, [functools.partial(task, *pair) for pair in itertools.pairwise(bounds)], Stop())
        return replace(state, step=stop), recorded

    def batches(
        self, run: int, count: int, state: TrainingState | None = None
    ) -> Float32[np.ndarray, "count batch feature"]:
        """The next batches that training draws for a run, each with its active samples first.

        Args:
            run: the run's number along the `run` axis of states.
            count: how many batches.
            state: where training stands; None is its start.

        """
        distribution, batch = int(self._spec_of_run[run]), self._training[0].batch
        stream = (streams(self.specs, "training", STREAM_WORDS) if state is None else state.stream)[run].copy()
        drawn = np.empty((count, batch, self._n), np.float32)
        x, groups = scratch(self._n, self._m).x, block_groups(self._n)
        for each in drawn:
            draw_batch(self._tables, distribution, self._n, batch, groups, stream, x, each)
        return drawn

    def _plan(self, start: int, stop: int) -> TrainingPlan:
        first = self._training[0]
        betas = np.array([each.averaging for each in self._training])
        updates = np.arange(start + 1, stop + 1)
        return TrainingPlan(
            features=self._n,
            hidden=self._m,
            batch=first.batch,
            evaluation_batches=-(-first.evaluation // first.batch),
            floor=ACTIVATIONS[self.specs[0].activation].floor,
            optimiser=self._update,
            distribution=self._spec_of_run,
            setting=self._setting_of_run,
            rate=np.stack([each.rate * each.rates(start, stop) for each in self._training]),
            correction1=_corrections(betas[:, 0], updates),
            correction2=_corrections(betas[:, 1], updates),
            beta1=betas[:, 0].copy(),
            beta2=betas[:, 1].copy(),
            eps=np.array([each.eps for each in self._training]),
            weight_decay=np.array([each.decay for each in self._training]),
        )


def _corrections(betas: np.ndarray, updates: np.ndarray) -> np.ndarray:
    """1 − β^t for each β and t, by the scalar power: NumPy's vectorised one may round by position in the array."""
    return np.array([[1 - beta**t for t in updates.tolist()] for beta in betas.tolist()]).reshape(len(betas), -1)
