"""Training on the population loss: L-BFGS to convergence, and Adam or gradient descent without noise.

The loss of a finite population (one `Empirical` set) is exact but for rounding, and the number of frequencies plays no
role. It has kinks, where an output becomes positive in a row in which its feature is active. There the slope falls, so
that no minimum lies on a kink; all that one can do is make a search fail. L-BFGS then forgets its pairs and goes down
the gradient, and where that fails, too, the run has stalled: it stays where it is, and does not count as converged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, assert_never, final

import numpy as np
from jaxtyping import Float, Int, Int64

from tegum.core.population.kernel.tables import scratch
from tegum.core.stopping import Stop, all_done, current
from tegum.core.threads import TASKS_PER_THREAD, Threaded, available_cores
from tegum.training.exact.corners import settled
from tegum.training.exact.families import RunFamily, families
from tegum.training.exact.kernels import descent, lbfgs
from tegum.training.exact.kernels import memory as memory_of
from tegum.training.exact.kernels.memory import Phase
from tegum.training.exact.kernels.probe import Probe, Way, probe, probe_memory
from tegum.training.exact.kernels.settle import settle
from tegum.training.spec.methods import Exact, known_rule
from tegum.training.spec.optimisers import Rule
from tegum.training.start import starting_state
from tegum.training.state import Recorded, TrainingState

if TYPE_CHECKING:
    from tegum.training.spec.spec import Spec

FEWEST_FREQUENCIES = 32
"""The fewest frequencies with which a loss is computed."""
_FIRST_FREQUENCIES = 64
"""The first number of frequencies tried for the loss of a snapshot; fewer rarely suffice."""
_MOST_STEP_FREQUENCIES = 4096
"""The most frequencies for the steps of Adam and gradient descent: if these are not enough, the loss has a kink, and no
number is."""
_CORNER_CHECKS = (4096, 16384)
"""When a run of L-BFGS comes to need this many frequencies, it is first tested for corners of the loss."""
CHECKED_EVERY = 50
"""Steps of Adam and gradient descent, counted from step 0, after which the number of frequencies is chosen again. In
between it is doubled if the estimated error requires it."""

LEAST_RUNS = 32
"""The least number of runs in a task of a thread, to keep the lanes full."""


class _Tools(NamedTuple):
    """What a thread needs to compute losses of a family."""

    family: RunFamily
    scratch: tuple
    buffers: Probe


@final
class ExactEngine(Threaded):
    """Trains the runs of compatible Specs on the population loss.

    A run's numbers depend only on its Spec and its seed: not on the runs trained with it, on threads, or on where
    training was interrupted.
    """

    name = "exact"

    def __init__(self, specs: Sequence[Spec], threads: int | None = None) -> None:
        """Prepare to train `specs`, which agree in everything but what may differ from run to run.

        Raises:
            ValueError: the activation has no population loss, or it has one as a series and a set of features has
                no mixture table.

        """
        self.specs: tuple[Spec, ...] = tuple(specs)
        super().__init__(threads or available_cores())
        self._families = families(self.specs)
        first = self.specs[0]
        self._n, self._m = first.features.n, first.hidden
        self._size = self._n * (self._m + 1)
        trainings = [spec.training for spec in self.specs if isinstance(spec.training, Exact)]
        self._training = trainings[0]
        self._rule: Rule = known_rule(self._training, self.name, ("lbfgs", *descent.EXACT_UPDATES))
        # Most sweeps differ only in features: what belongs to a training is computed once.
        self._trainings = list(dict.fromkeys(trainings))
        setting_of_spec = np.array([self._trainings.index(each) for each in trainings])
        self._spec_of_run = np.repeat(np.arange(len(self.specs)), [spec.seeds for spec in self.specs])
        self._setting_of_run = setting_of_spec[self._spec_of_run]
        # Where frequencies play no role a run begins with the most, so that a failed search does not ask for more.
        self._first_frequencies = np.full(len(self._spec_of_run), FEWEST_FREQUENCIES)
        self._nothing = np.zeros(len(self._spec_of_run))
        for family in self._families:
            self._nothing[family.runs] = family.nothing
            if family.finite:
                self._first_frequencies[family.runs] = lbfgs.MOST_DESCENDED
        self._scale = self._families[0].room.scale

    def start(self) -> TrainingState:
        """The state before the first step.

        Adam and gradient descent keep what their sampled twins do, followed by the number of frequencies; `memory.Book`
        describes what L-BFGS keeps.
        """
        state = starting_state(self.specs, 0)
        runs = len(state.weights)
        match rule := self._rule:
            case "adam" | "momentum":
                columns = self._size * (self._training.memory - 1)
                second = np.zeros((runs, columns + 1))
                second[:, -1] = FEWEST_FREQUENCIES
                return replace(state, second=second)
            case "lbfgs":
                first = np.zeros((runs, memory_of.pairs(self._size) * self._size))
                second = np.zeros((runs, memory_of.length(self._size, self._scale)))
                memory_of.begin(first, second, _params(state), np.arange(runs), 0, self._first_frequencies)
                return replace(state, first=first, second=second)
            case _:
                assert_never(rule)

    def renewed(self, state: TrainingState) -> TrainingState:
        """As `Engine.renewed`: L-BFGS begins anew where it is; the averages of Adam and gradient descent stay.

        So does their number of frequencies, which grows in every step that needs more.
        """
        match rule := self._rule:
            case "adam" | "momentum":
                return state
            case "lbfgs":
                state = state.copy()
                alive = np.flatnonzero(state.diverged_at < 0)
                frequencies = self._first_frequencies[alive]
                memory_of.begin(state.first, state.second, _params(state), alive, state.step, frequencies)
                return replace(state, converged_at=np.full_like(state.converged_at, -1))
            case _:
                assert_never(rule)

    def advance(
        self, state: TrainingState, stop: int, snapshots: Int64[np.ndarray, " snapshot"]
    ) -> tuple[TrainingState, Recorded]:
        """Train to step `stop`; record at `snapshots`, which lie from `state.step` to there.

        `state` is left as it is. If its weights or biases have been changed since training left them, L-BFGS restarts
        from them. Call inside a `with` block of this engine.
        """
        state = state.copy()
        runs, count = len(state.weights), len(snapshots)
        params = _params(state)
        path = np.full((runs, count, self._size), np.nan)
        loss = np.full((runs, count), np.nan)
        path[:, snapshots == state.step] = params[:, None]
        match rule := self._rule:
            case "lbfgs":
                train = self._lbfgs
            case "adam" | "momentum":
                train = self._follow
            case _:
                assert_never(rule)
        ends = train(state, params, path, loss, stop, snapshots)
        bad = ~(np.isfinite(path).all(-1) & np.isfinite(loss))
        diverged_at = state.diverged_at
        for run in np.flatnonzero(bad.any(1) & (diverged_at < 0)):
            diverged_at[run] = snapshots[np.argmax(bad[run])]
        late = (diverged_at[:, None] >= 0) & (bad | (snapshots > diverged_at[:, None]))
        path[late], loss[late] = np.nan, np.nan
        split = self._n * self._m
        shape = (self._n, self._m)
        recorded = Recorded(
            snapshots,
            np.ascontiguousarray(path[..., :split]).reshape(runs, count, *shape),
            np.ascontiguousarray(path[..., split:]),
            loss,
        )
        weights, bias = params[:, :split].reshape(runs, *shape).copy(), params[:, split:].copy()
        return replace(state, step=stop, weights=weights, bias=bias, converged_at=ends), recorded

    def _lbfgs(
        self,
        state: TrainingState,
        params: np.ndarray,
        path: np.ndarray,
        loss: np.ndarray,
        stop: int,
        snapshots: np.ndarray,
    ) -> np.ndarray:
        """Change `state` and `params`, fill `path` and `loss`, and return the steps at which runs have converged."""
        training = self._training
        states = memory_of.saved_states(state.second)
        edited = np.flatnonzero((states["digest"] != memory_of.digests(params)) & (state.diverged_at < 0))
        frequencies = self._first_frequencies[edited]
        memory_of.begin(state.first, state.second, params, edited, state.step, frequencies)
        book = memory_of.Book(
            params.reshape(-1),
            state.first.reshape(-1),
            state.second.reshape(-1),
            self._nothing,
            path.reshape(-1),
            snapshots,
            memory_of.pairs(self._size),
            memory_of.length(self._size, self._scale),
        )

        def work(family: RunFamily, runs: np.ndarray) -> None:
            working = memory_of.block(family.room)
            tools = self._tools(family)
            begun = states["step"][runs].copy()
            stalled = states["phase"][runs] == Phase.STALLED
            while True:
                current().check()
                phase = states["phase"][runs]
                if len(asking := runs[phase == Phase.CHECK]):
                    self._check(tools, params, book, states, asking)
                    continue
                descending = (phase == Phase.DESCEND) & (states["step"][runs] < stop)
                going = runs[(phase == Phase.ANCHOR) | descending]
                if not len(going):
                    break
                coarse = states["coarse"][going]
                least = coarse.min()
                lbfgs.descend(
                    family.plan, family.tables, *family.series(int(least)), book, going[coarse == least], stop,
                    training.gradient_tolerance, tools.scratch, working,
                )  # fmt: skip
            ended = states["phase"][runs] > Phase.CHECK
            new = runs[(states["phase"][runs] == Phase.STALLED) & ~stalled]
            if len(new):
                states["value"][new] = self._measure(tools, params[new], new)
                self._on_corners(tools, params, states, new)
            # The losses of snapshots of runs still training are computed; those of runs that have ended repeat the end.
            own = (snapshots >= begun[:, None]) & (snapshots <= states["step"][runs][:, None])
            repeated = ended[:, None] & (snapshots >= states["step"][runs][:, None])
            at, column = np.nonzero(own & ~repeated)
            if len(at):
                loss[runs[at], column] = self._measure(tools, path[runs[at], column], runs[at])
            at, column = np.nonzero(repeated)
            path[runs[at], column] = params[runs[at]]
            loss[runs[at], column] = states["value"][runs[at]]

        self._each(work)
        states["digest"] = memory_of.digests(params)
        steps, phase = states["step"].astype(np.int64), states["phase"]
        np.copyto(state.diverged_at, steps, where=phase == Phase.DIVERGED)
        return np.where(phase == Phase.CONVERGED, steps, -1)

    def _check(
        self, tools: _Tools, params: np.ndarray, book: memory_of.Book, states: np.ndarray, asking: np.ndarray
    ) -> None:
        """Compute the gradients of runs whose phase is CHECK anew, of those that want the fewest frequencies."""
        wanted = states["wanted"][asking]
        fresh = np.isin(wanted, _CORNER_CHECKS) & (states["fine"][asking] < wanted)
        asking = np.setdiff1d(asking, self._on_corners(tools, params, states, asking[fresh]))
        if len(asking):
            wanted = states["wanted"][asking]
            queue = asking[wanted == wanted.min()]
            found = _losses(tools, params[queue], queue, int(wanted.min()))
            settle(tools.family.plan, book, queue, *found, self._training.gradient_tolerance, self._training.accuracy)

    def _on_corners(
        self, tools: _Tools, params: np.ndarray, states: np.ndarray, runs: np.ndarray
    ) -> Int64[np.ndarray, " run"]:
        """Move the runs that can converge on corners of the loss there, and return them."""
        training, ended = self._training, []
        for run in runs.tolist() if tools.family.tables.way == Way.SERIES else ():
            found = settled(
                lambda points, count, run=run: _losses(tools, points, np.full(len(points), run), count),
                params[run], self._n, training.gradient_tolerance, training.accuracy,
            )  # fmt: skip
            if found and found[1] <= self._measure(tools, params[[run]], np.array([run]))[0] + 2 * training.accuracy:
                params[run], states["value"][run] = found
                states["phase"][run] = Phase.CONVERGED
                ended.append(run)
        return np.array(ended, np.int64)

    def _follow(
        self,
        state: TrainingState,
        params: np.ndarray,
        path: np.ndarray,
        loss: np.ndarray,
        stop: int,
        snapshots: np.ndarray,
    ) -> np.ndarray:
        """As `_lbfgs`, for Adam and gradient descent, whose runs never converge."""
        start, count = state.step, state.second[:, -1]
        second = state.second[:, :-1].ravel()
        steps = np.full(len(params), start)
        memory = descent.Runs(
            params.reshape(-1), state.first.reshape(-1), second, steps, state.diverged_at, path.reshape(-1), snapshots
        )
        settings = self._settings(start, stop)

        def work(family: RunFamily, runs: np.ndarray) -> None:
            working = descent.working(family.room)
            tools = self._tools(family)
            step = start
            while step < stop:
                alive = runs[state.diverged_at[runs] < 0]
                if step % CHECKED_EVERY == 0 and not family.finite:
                    count[alive] = self._frequencies(tools, params[alive], alive, count[alive])
                until = min(stop, step - step % CHECKED_EVERY + CHECKED_EVERY)
                while len(alive):
                    current().check()
                    least = count[alive].min()
                    queue = alive[count[alive] == least]
                    accuracy = self._training.accuracy if least < _MOST_STEP_FREQUENCIES else np.inf
                    descent.follow(
                        family.plan, family.tables, *family.series(int(least)), settings, start, memory, queue, until,
                        accuracy, tools.scratch, working,
                    )  # fmt: skip
                    alive = alive[(steps[alive] < until) & (state.diverged_at[alive] < 0)]
                    count[np.intersect1d(queue, alive)] *= 2
                step = until
            # Snapshots recorded before a run diverged stay.
            at, column = np.nonzero(~np.isnan(path[runs]).all(-1))
            if len(at):
                loss[runs[at], column] = self._measure(tools, path[runs[at], column], runs[at])

        self._each(work)
        state.second[:, :-1] = second.reshape(len(params), state.second.shape[1] - 1)
        return state.converged_at

    def _frequencies(
        self, tools: _Tools, points: np.ndarray, runs: np.ndarray, present: np.ndarray
    ) -> Float[np.ndarray, " run"]:
        """The number of frequencies that runs need at these points, at least half their present number.

        The tolerance is half the accuracy: no entry of the gradient may change by more when frequencies are doubled.
        """
        chosen = np.maximum(present / 2, FEWEST_FREQUENCIES)
        finer = np.full_like(points, np.nan)
        left, first = np.arange(len(points)), True
        while len(left):
            coarse = finer[left]
            for each in np.unique(chosen[left]):
                at = np.flatnonzero(chosen[left] == each)
                where = left[at]
                if first:
                    coarse[at] = _losses(tools, points[where], runs[where], int(each))[2].reshape(len(at), -1)
                finer[where] = _losses(tools, points[where], runs[where], 2 * int(each))[2].reshape(len(at), -1)
            first = False
            change = np.abs(finer[left] - coarse).max(1)
            left = left[(change > 0.5 * self._training.accuracy) & (chosen[left] < _MOST_STEP_FREQUENCIES)]
            chosen[left] *= 2
        return chosen

    def _settings(self, start: int, stop: int) -> descent.Settings:
        betas = np.array([each.averaging for each in self._trainings])
        rates = [each.rate * each.rates(start, stop) for each in self._trainings]
        updates = np.arange(start + 1, stop + 1)
        return descent.Settings(
            optimiser=descent.EXACT_UPDATES[self._rule],
            steps=stop - start,
            setting=self._setting_of_run,
            rate=np.concatenate(rates),
            correction1=descent.corrections(betas[:, 0], updates).ravel(),
            correction2=descent.corrections(betas[:, 1], updates).ravel(),
            beta1=betas[:, 0].copy(),
            beta2=betas[:, 1].copy(),
            eps=np.array([each.eps for each in self._trainings]),
            weight_decay=np.array([each.decay for each in self._trainings]),
        )

    def _tools(self, family: RunFamily) -> _Tools:
        return _Tools(family, scratch(family.plan), probe_memory(family.room))

    def _measure(self, tools: _Tools, points: np.ndarray, runs: np.ndarray) -> np.ndarray:
        """The losses at points (point, P) of these runs, to the training's accuracy."""
        loss, error = np.full(len(points), np.nan), np.full(len(points), np.inf)
        left, count = np.arange(len(points)), _FIRST_FREQUENCIES
        while len(left) and count <= lbfgs.MOST_FREQUENCIES:
            values, errors, _ = _losses(tools, points[left], runs[left], count)
            # An error that no longer shrinks is rounding.
            rounding = (errors > 0.9 * error[left]) & (count >= 1024)
            loss[left], error[left] = values, errors
            left = left[(errors > self._training.accuracy) & ~rounding]
            count *= 2
        return loss

    def _each(self, work: Callable[[RunFamily, np.ndarray], None]) -> None:
        """Call `work` for parts of all families, in all threads."""
        calls = []
        for family in self._families:
            least = 1 if family.finite else LEAST_RUNS
            parts = min(TASKS_PER_THREAD * self.threads, -(-len(family.runs) // least))
            if self.threads == 1:
                parts = 1
            calls += [partial(work, family, part) for part in np.array_split(family.runs, parts)]
        all_done(self._pool, calls, Stop())


def _params(state: TrainingState) -> Float[np.ndarray, "run _"]:
    return np.concatenate([state.weights.reshape(len(state.weights), -1), state.bias], 1)


def _losses(
    tools: _Tools, points: Float[np.ndarray, "point _"], runs: Int[np.ndarray, " point"], count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Loss, estimated error and gradient (flat) at points of these runs, with `count` frequencies."""
    family, values, errors, gradients = tools.family, *np.empty((2, len(points))), np.empty(points.size)
    probe(
        family.plan, family.tables, *family.series(count), points.ravel(), runs, len(points), values, errors,
        gradients, tools.scratch, tools.buffers,
    )  # fmt: skip
    current().check()
    return values, errors, gradients
