"""Gradient flow of the exact loss, dθ/dt = −∂L/∂θ, by solvers that control their error.

Time is cut into legs, which end at snapshots and at every fiftieth of the duration. For mixture tables, the number of
frequencies in the series of the loss is fixed during a leg, so that the solver sees one smooth field. It is the number
that the start of the leg needs; if its end needs more than twice as many, the leg is integrated again with that number.
The largest error of the gradient at either end is recorded for each run.

Up to eight runs are followed side by side, because the kernel evaluates eight; fewer if threads would be left idle.
Which runs these are depends on how many frequencies they need, but lanes do not affect one another: the numbers of a
run depend only on its Spec and seed.
"""

from __future__ import annotations

import bisect
import functools
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, assert_never, final

import jax
import numpy as np
from jaxtyping import Bool, Float, Float64, Int64

from tegum.core import lapack
from tegum.core.compiled.lanes import WIDE_LANES
from tegum.core.features.empirical import Empirical
from tegum.core.jax_setup import scope
from tegum.core.loss.population import population_path
from tegum.core.model import ACTIVATIONS
from tegum.core.population.autodiff.series import series_of
from tegum.core.population.evaluate import evaluate
from tegum.core.population.kernel.rows import ListedRows, listed_rows
from tegum.core.population.kernel.tables import Plan, groups
from tegum.core.population.kernel.xla_calls import Population, RunBlock, register, register_finite
from tegum.core.stopping import Stop, all_done
from tegum.core.threads import Threaded, available_cores, serial_blas
from tegum.training.flow.fields import Field, examine, examine_finite
from tegum.training.flow.runge_kutta import Newton, integrate, unknown
from tegum.training.spec.methods import Flow
from tegum.training.start import starting_state
from tegum.training.state import Recorded, TrainingState

if TYPE_CHECKING:
    from tegum.training.spec.spec import Spec

FEWEST_FLOW_FREQUENCIES, MOST_FLOW_FREQUENCIES = 32, 2**12
"""The fewest and the most frequencies for a leg. Where the accuracy asked for needs more (at a kink of the loss no
number is enough), the leg is integrated with the most, and the trajectory records the error."""
COARSER = 4
"""The factor by which the slopes for Newton's method use fewer frequencies."""
_COUNTS = [
    FEWEST_FLOW_FREQUENCIES // 2 * 2**level
    for level in range((4 * MOST_FLOW_FREQUENCIES // FEWEST_FLOW_FREQUENCIES).bit_length())
]
"""The numbers of frequencies with which a gradient is examined: from half the fewest to twice the most."""
PIECES = 50
"""The number of legs, besides those that end at snapshots: training can be interrupted, and reports, after each."""


@final
@dataclass
class _Runs:
    """Runs at the start or the end of a leg."""

    parameters: Float64[np.ndarray, "run parameter"]
    step: Float64[np.ndarray, " run"]
    """The length of the solver's next step; 0 if none has been chosen yet."""
    loss: Float64[np.ndarray, " run"]
    slope: Float64[np.ndarray, " run"]
    """Root mean square of the gradient, relative to the tolerances."""
    frequencies: Int64[np.ndarray, " run"]
    errors: Float64[np.ndarray, "run level"]
    """The error of the gradient with each number in `_COUNTS` but the last; NaN where fewer were enough."""
    newton: Float64[np.ndarray, "run number"]
    """What an implicit solver remembers: age, eigenvalues and eigenvectors of a Hessian; empty for the explicit one."""


@final
class FlowEngine(Threaded):
    """Follows the gradient flow of the runs of compatible Specs.

    What a state remembers: in `first` the length of each run's next step and what an implicit solver knows of its
    Hessian; in `second` how many steps its solver has taken, how many it has rejected, and the largest error of the
    gradient that was met.
    """

    name = "flow"

    def __init__(self, specs: Sequence[Spec], threads: int | None = None) -> None:
        """Prepare to train `specs`, which agree in everything but features, starts and base seed.

        Raises:
            ValueError: a set of features, or the activation, has no population loss.

        """
        with scope(double=True, on_cpu=True):
            pass  # refused at once where JAX is not available
        super().__init__(threads or available_cores())
        self.specs: tuple[Spec, ...] = tuple(specs)
        first = self.specs[0]
        assert isinstance(first.training, Flow)
        self._training = first.training
        self._n, self._m = first.features.n, first.hidden
        self._spec_of_run = np.repeat(np.arange(len(self.specs)), [spec.seeds for spec in self.specs])
        steps = self._training.steps
        pieces = (np.arange(PIECES + 1) * steps) // PIECES
        self._bounds = np.unique(np.concatenate([first.snapshots.at(steps), pieces])).tolist()
        self._columns: dict[int, tuple[Plan, np.ndarray]] = {}
        """The structure and the numbers of each run that the kernel evaluates."""
        self._abouts: dict[int, tuple[Field, Any]] = {}
        """The field of each other run, and its arguments."""
        self._compiled: set[tuple[str, Field]] = set()
        """The computations, by name and field, that have been compiled."""
        self._stop = Stop()
        self._prepare()

    def _prepare(self) -> None:
        """Decide how the field of each run is computed: by a kernel, or by a JAX program."""
        by_kernel, listed = [], {}
        for number, spec in enumerate(self.specs):
            features = spec.features
            path = population_path("Spec({}, training=Flow(…))", features, spec.activation, "Sampled")
            kind: Field
            about: Any
            match path:
                case "moments":
                    kind, about = "linear", (features.first_moment(), features.second_moment(), features.importance)
                case "finite":
                    kind, about = "finite", self._population(spec, listed)
                case "series" if features.gated:
                    by_kernel.append(number)
                    continue
                case "series":
                    series = series_of(features)._replace(stop=self._stop.address)
                    kind, about = "series", (series, np.float64(self._training.accuracy))
                case _:
                    assert_never(path)
            for run in np.flatnonzero(self._spec_of_run == number).tolist():
                self._abouts[run] = kind, about
        if by_kernel:
            self._prepare_kernel(np.array(by_kernel))

    def _population(self, spec: Spec, listed: dict[str, ListedRows]) -> Population:
        """The finite population of a Spec; `listed` has the rows that other Specs have, too."""
        register_finite()
        [rows] = spec.features.sets
        assert isinstance(rows, Empirical)
        if rows.digest not in listed:
            listed[rows.digest] = listed_rows(rows.data, self._m, ACTIVATIONS[spec.activation].floor)
        return Population(listed[rows.digest], rows.importances, self._stop)

    def _prepare_kernel(self, gated: Int64[np.ndarray, " some"]) -> None:
        """Store the plan and the numbers of each run of these Specs."""
        register()
        runs = np.flatnonzero(np.isin(self._spec_of_run, gated))
        number = np.searchsorted(gated, self._spec_of_run[runs])
        for group in groups([self.specs[each].features for each in gated.tolist()], number, self._m):
            tables = group.tables.reshape(len(group.tables), -1, WIDE_LANES)
            for block, table in zip(group.runs, tables, strict=True):
                for lane, run in enumerate(block.tolist()):
                    self._columns[int(runs[run])] = group.plan, table[:, lane]

    def start(self) -> TrainingState:
        """The state before the first step."""
        state = starting_state(self.specs, 0)
        return replace(self.renewed(state), second=np.zeros((len(state.weights), 3)))

    def renewed(self, state: TrainingState) -> TrainingState:
        """As `Engine.renewed`: the solver chooses a first step again, and knows nothing of the Hessian."""
        runs = len(state.weights)
        match solver := self._training.solver:
            case "implicit":
                newton = _packed(unknown(runs, self._n * (self._m + 1)))
            case "explicit":
                newton = np.zeros((runs, 0))
            case _:
                assert_never(solver)
        return replace(state, first=np.pad(newton, ((0, 0), (1, 0))))

    def stop_at(self, step: int) -> int:
        """The end of the leg in which this step lies."""
        place = bisect.bisect_left(self._bounds, step)
        return self._bounds[min(place, len(self._bounds) - 1)]

    def advance(
        self, state: TrainingState, stop: int, snapshots: Int64[np.ndarray, " snapshot"]
    ) -> tuple[TrainingState, Recorded]:
        """Train to step `stop`, where a leg ends; record at `snapshots`, which lie from `state.step` to there.

        A run that cannot be followed any further, because its parameters stop being finite or its steps become too
        short or too many, has diverged at the end of that leg. `state` is not changed. Call inside a `with` block of
        this engine.
        """
        state = state.copy()
        count = len(state.weights)
        recorded = Recorded.empty(snapshots, count, self._n, self._m, np.float64)
        columns = {step: column for column, step in enumerate(snapshots.tolist())}
        runs = _Runs(
            np.concatenate([state.weights.reshape(count, -1), state.bias], 1),
            state.first[:, 0].copy(),
            np.full(count, np.nan),
            np.zeros(count),
            np.zeros(count, np.int64),
            np.full((count, len(_COUNTS) - 1), np.nan),
            state.first[:, 1:].copy(),
        )
        alive = np.flatnonzero(state.diverged_at < 0)
        self._stop.clear()
        self._look(runs, alive)
        alive = self._bury(runs, alive, state, state.step)
        self._record(runs, alive, recorded, columns.get(state.step))
        bounds = [bound for bound in self._bounds if state.step < bound < stop]
        here = state.step
        for there in [*bounds, stop] if stop > here else []:
            times = self._training.time([here, there])
            alive = self._leg(runs, alive, float(times[1] - times[0]), state, there)
            self._record(runs, alive, recorded, columns.get(there))
            here = there
        weights, bias = self._split(runs.parameters)
        return replace(
            state, step=stop, weights=weights, bias=bias, first=np.concatenate([runs.step[:, None], runs.newton], 1)
        ), recorded

    def _leg(
        self, runs: _Runs, alive: Int64[np.ndarray, " alive"], length: float, state: TrainingState, there: int
    ) -> Int64[np.ndarray, " still"]:
        """Integrate the runs `alive` for a time, in place; returns those that are still alive."""
        begin, newton, errors = runs.parameters.copy(), runs.newton.copy(), runs.errors.copy()
        needed = runs.frequencies.copy()
        first = np.where(runs.step > 0, runs.step, _first_step(runs, length))
        frequencies = np.minimum(np.maximum(runs.frequencies, FEWEST_FLOW_FREQUENCIES), MOST_FLOW_FREQUENCIES)
        waiting = alive
        failed = np.zeros(len(begin), bool)
        counts = np.zeros((len(begin), 2))
        while waiting.size:
            jobs = list(self._blocks(waiting, frequencies))

            def follow(job: tuple[np.ndarray, Field, Any], begin: np.ndarray = begin) -> None:
                mine, kind, about = job
                size = begin.shape[1]
                implicit = self._training.solver == "implicit"
                named = lapack.noted("now and then eigenvectors", (size, size)) if implicit else nullcontext()
                lanes = _filled(mine, kind)
                with named:
                    ended = integrate(
                        kind, self._n, begin[lanes], first[lanes], _unpacked(newton[lanes], size), length,
                        (self._training.rtol, self._training.atol), _known(kind, about),
                        self._stop.address,
                    )  # fmt: skip
                    jax.block_until_ready(ended)
                self._stop.check()
                real = slice(len(mine))
                if ended.newton is not None:
                    runs.newton[mine] = _packed(ended.newton)[real]
                runs.parameters[mine] = np.asarray(ended.parameters)[real]
                runs.step[mine] = np.asarray(ended.step)[real]
                counts[mine] = np.stack([ended.taken, ended.rejected], 1)[real]
                failed[mine] = np.asarray(ended.failed)[real]

            self._all(follow, jobs)
            state.second[waiting, :2] += counts[waiting]
            self._look(runs, waiting)
            enough = np.minimum(runs.frequencies, MOST_FLOW_FREQUENCIES) <= 2 * frequencies
            again = waiting[~enough[waiting] & ~failed[waiting]]
            frequencies[again] = np.minimum(runs.frequencies[again], MOST_FLOW_FREQUENCIES)
            waiting = again
        for ends, enough in ((errors, needed), (runs.errors, runs.frequencies)):
            level = np.searchsorted(_COUNTS, np.minimum(frequencies, enough))[alive]
            state.second[alive, 2] = np.fmax(state.second[alive, 2], ends[alive, level])
        runs.loss[failed] = np.nan
        return self._bury(runs, alive, state, there)

    def _blocks(self, runs: Int64[np.ndarray, " run"], frequencies: Int64[np.ndarray, " all"]) -> Any:
        """The runs that are followed side by side, with their field and its arguments."""
        together: dict[tuple[int, int], list[int]] = {}
        for run in runs.tolist():
            if run in self._abouts:
                yield (np.array([run]), *self._abouts[run])
            else:
                together.setdefault((id(self._columns[run][0]), int(frequencies[run])), []).append(run)
        for (_, count), mine in together.items():
            # Few runs are shared among the threads: Hessians are found for one run after another.
            width = min(WIDE_LANES, -(-len(mine) // self.threads))
            for at in range(0, len(mine), width):
                some = mine[at : at + width]
                plan = self._columns[some[0]][0]
                columns = [self._columns[run][1] for run in some]
                block = RunBlock(plan, columns, count, max(count // COARSER, FEWEST_FLOW_FREQUENCIES), self._stop)
                yield np.array(some), "population", block

    def _look(self, runs: _Runs, some: Int64[np.ndarray, " some"]) -> None:
        """Compute the exact loss of some runs, the size of their gradient, and how many frequencies they need."""
        accuracy = self._training.accuracy
        runs.loss[some], runs.errors[some] = np.nan, np.nan
        waiting = some[np.isfinite(runs.parameters[some]).all(1)]
        finite = [run for run in waiting.tolist() if self._field_of(run) == "finite"]
        if finite:
            self._look_at_rows(runs, np.array(finite))
            waiting = waiting[~np.isin(waiting, finite)]
        others = [run for run in waiting.tolist() if self._field_of(run) != "population"]
        if others:
            weights, bias = self._split(runs.parameters[others])
            features = [self.specs[self._spec_of_run[run]].features for run in others]
            found = evaluate(
                weights, bias, features, order=1, tol=accuracy, activation=self.specs[0].activation, strict=False
            )
            assert found.gradient is not None
            runs.loss[others] = found.loss
            runs.slope[others] = self._size(runs.parameters[others], found.gradient)
            # These choose their frequencies as they go.
            runs.frequencies[others], runs.errors[others, 0] = _COUNTS[0], found.gradient_error
            waiting = waiting[~np.isin(waiting, others)]
        before = np.full_like(runs.parameters, np.nan)
        for level, count in enumerate(_COUNTS):
            if not waiting.size:
                break
            now = np.empty((len(runs.loss), runs.parameters.shape[1] + 2))

            def look(job: tuple[np.ndarray, Field, Any], now: np.ndarray = now) -> None:
                mine, kind, block = job
                values = examine(runs.parameters[_filled(mine, kind)], block.address)
                now[mine] = np.asarray(values)[: len(mine)]

            self._all(look, list(self._blocks(waiting, np.full(len(runs.loss), count))))
            gradient, runs.loss[waiting] = now[:, :-2], now[waiting, -2]
            runs.slope[waiting] = self._size(runs.parameters[waiting], gradient[waiting])
            if level:
                # With half the frequencies a gradient is far less accurate, so the difference is its error. Two may
                # agree by chance, but three hardly ever do.
                with np.errstate(invalid="ignore"):
                    last = np.abs(gradient - before).max(1)
                one_before = runs.errors[:, max(level - 2, 0)]
                runs.errors[waiting, level - 1] = last[waiting]
                runs.frequencies[waiting] = count // 2
                sure = (last <= accuracy) & (one_before <= 1e3 * accuracy) & (level > 1)
                waiting = waiting[~sure[waiting] & np.isfinite(runs.loss[waiting])]
            before = gradient

    def _look_at_rows(self, runs: _Runs, some: Int64[np.ndarray, " some"]) -> None:
        """`_look` for runs with a finite population, of which no number of frequencies is asked."""
        now = np.empty((len(runs.loss), runs.parameters.shape[1] + 1))

        def look(job: tuple[np.ndarray, Field, Any]) -> None:
            mine, _, population = job
            now[mine] = np.asarray(examine_finite(runs.parameters[mine], population.address))

        self._all(look, list(self._blocks(some, runs.frequencies)))
        runs.loss[some] = now[some, -1]
        runs.slope[some] = self._size(runs.parameters[some], now[some, :-1])
        # Of rounding alone.
        runs.frequencies[some], runs.errors[some, 0] = _COUNTS[0], np.finfo(np.float64).eps * np.abs(now[some]).max(1)

    def _field_of(self, run: int) -> Field:
        return self._abouts[run][0] if run in self._abouts else "population"

    def _size(self, parameters: Float[np.ndarray, "run P"], gradient: Float[np.ndarray, "run P"]) -> Any:
        scaled = gradient / (self._training.atol + self._training.rtol * np.abs(parameters))
        return np.sqrt((scaled * scaled).mean(1))

    def _bury(
        self, runs: _Runs, alive: Int64[np.ndarray, " alive"], state: TrainingState, step: int
    ) -> Int64[np.ndarray, " still"]:
        dead: Bool[np.ndarray, " alive"] = ~np.isfinite(runs.loss[alive])
        state.diverged_at[alive[dead]] = step
        return alive[~dead]

    def _record(self, runs: _Runs, alive: Int64[np.ndarray, " alive"], recorded: Recorded, column: int | None) -> None:
        if column is not None:
            recorded.weights[alive, column], recorded.bias[alive, column] = self._split(runs.parameters[alive])
            recorded.loss[alive, column] = runs.loss[alive]

    def _split(
        self, parameters: Float64[np.ndarray, "run parameter"]
    ) -> tuple[Float64[np.ndarray, "run feature hidden"], Float64[np.ndarray, "run feature"]]:
        weights, bias = np.split(parameters, [self._n * self._m], axis=1)
        return weights.reshape(-1, self._n, self._m).copy(), bias.copy()

    def _all(self, work: Any, jobs: list[Any]) -> None:
        """Do all jobs in threads; the first of its kind alone, so that what it needs is compiled only once."""

        def scoped(job: Any) -> None:
            # JAX keeps its settings for each thread.
            with scope(double=True, on_cpu=True):
                work(job)

        calls = [functools.partial(scoped, job) for job in jobs]
        kinds = {(work.__qualname__, kind) for _, kind, _ in jobs}
        alone = 0 if kinds <= self._compiled else 1
        self._compiled |= kinds
        with serial_blas(self._n * (self._m + 1)):
            all_done(self._pool, calls[:alone], self._stop)
            all_done(self._pool, calls[alone:], self._stop)


def _filled(runs: Int64[np.ndarray, " run"], kind: Field) -> Int64[np.ndarray, " lane"]:
    """The run in each lane: the kernel has eight lanes, and those left over repeat the last run."""
    match kind:
        case "population":
            return np.pad(runs, (0, WIDE_LANES - len(runs)), "edge")
        case "linear" | "finite" | "series":
            return runs
        case _:
            assert_never(kind)


def _known(kind: Field, about: Any) -> Any:
    """The argument of a field; for a kernel, the address of its block or population."""
    match kind:
        case "population" | "finite":
            return about.address
        case "linear" | "series":
            return about
        case _:
            assert_never(kind)


def _packed(newton: Newton) -> Float64[np.ndarray, "run number"]:
    """What the solver knows, as one row of numbers for each run, which a state can hold."""
    return np.concatenate([np.asarray(each, np.float64).reshape(len(each), -1) for each in newton], 1)


def _unpacked(numbers: Float64[np.ndarray, "run number"], size: int) -> Newton | None:
    if not numbers.shape[1]:
        return None
    vectors, values, rest = np.split(numbers, [size * size, size * (size + 1)], axis=1)
    age, stiff, count, patience = rest.T.astype(np.int32)
    return Newton(vectors.reshape(-1, size, size), values, age, stiff > 0, count, patience)


def _first_step(runs: _Runs, length: float) -> Float64[np.ndarray, " run"]:
    """A cautious first step, in which the parameters would move by ten tolerances."""
    with np.errstate(divide="ignore"):
        return np.minimum(np.where(runs.slope > 0, 10 / runs.slope, length), length)
