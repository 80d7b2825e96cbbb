"""Sampled training in JAX: the same training, for GPUs and for sets of features without a mixture table.

A chunk of runs is one call of a compiled program (`jax_programs`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, NamedTuple, final

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32, Int64

from tegum.core.features.copula import CopulaShape
from tegum.core.features.distribution import FeatureDistribution
from tegum.core.features.empirical import Matrix
from tegum.core.features.magnitudes import Magnitude
from tegum.core.features.sets import FeatureSet, GatedSet
from tegum.core.features.tables import MixtureTable
from tegum.core.jax_setup import scope
from tegum.core.model import Purpose
from tegum.core.stopping import Stop, all_done
from tegum.core.threads import TASKS_PER_THREAD, Threaded, available_cores
from tegum.training.sampled.jax_programs import (
    JAX_UPDATES,
    Constants,
    JaxRuns,
    Mixtures,
    Program,
    Table,
    draw_batches,
    evaluate,
    keep_programs,
    train,
)
from tegum.training.sizes import piece_size
from tegum.training.spec.methods import Sampled, known_rule
from tegum.training.start import starting_state, streams
from tegum.training.state import Recorded, TrainingState

if TYPE_CHECKING:
    from tegum.training.spec.optimisers import Rule
    from tegum.training.spec.spec import Spec

WORKING_BYTES = 2**30
"""Roughly the most bytes that the samples of runs trained together may take."""

RUNS_AT_ONCE, STATE_BYTES = 64, 2**24
"""The most runs in one call where they are trained in turn, and the most bytes of their states."""

STEPS_AT_ONCE = 512
"""The most steps in one call of a program."""

JAX_STREAM_WORDS = 2
"""The number of uint32 words in a run's stream in JAX: the key of its random numbers; the step is the position."""

MOST_COMPARED = 128
"""The most components for each feature of a set that is drawn by its table, by their upper bound."""

_BEYOND = 2.0
"""Larger than every uniform."""


@dataclass(frozen=True)
class _Chunk:
    """The runs of one call of a program."""

    program: Program
    where: Int64[np.ndarray, " run"]
    """The number of each run among all; the last one is repeated to fill the chunk."""
    count: int
    """The number of runs without the repeated ones."""
    constants: Constants
    data: tuple[Any, ...]
    """Arrays of the sets without a mixture table, the same for all runs."""


@final
class JaxEngine(Threaded):
    """Trains the runs of compatible Specs together, on JAX's default device.

    A run's numbers depend on its Spec, its seed and the device, but not on where training was interrupted. On a CPU,
    where runs are trained in turn, they do not depend on the other runs either; on other devices they do, as far as XLA
    orders sums differently for another number of runs.

    Specs share a compiled program if their sets have the same sizes, numbers of components and laws of magnitude.
    Densities, importances, rates, schedules and the optimiser's settings are arguments, and so is, on a CPU, the number
    of runs. Sets without a mixture table are compiled once for each value they have, and `Empirical` ones for each
    shape. Samples take at most `WORKING_BYTES`, or one batch for each thread of a CPU.
    """

    name = "jax"

    def __init__(self, specs: Sequence[Spec], threads: int | None = None) -> None:
        """Prepare to train `specs`, which agree in everything but what may differ from run to run.

        `threads` is the number of runs that a CPU trains at once, by default one per core; other devices need one
        thread.
        """
        self.specs: tuple[Spec, ...] = tuple(specs)
        self._n, self._m = self.specs[0].features.n, self.specs[0].hidden
        self._training = [spec.training for spec in self.specs if isinstance(spec.training, Sampled)]
        known_rule(self._training[0], self.name, JAX_UPDATES)
        self._spec_of_run = np.repeat(np.arange(len(self.specs)), [spec.seeds for spec in self.specs])
        with scope(double=False):
            (self._device,) = jnp.zeros(()).devices()
        super().__init__((threads or available_cores()) if self._device.platform == "cpu" else 1)
        self._together = self._device.platform != "cpu"

    def start(self) -> TrainingState:
        """The state before the first step."""
        return starting_state(self.specs, JAX_STREAM_WORDS)

    def advance(
        self, state: TrainingState, stop: int, snapshots: Int64[np.ndarray, " snapshot"]
    ) -> tuple[TrainingState, Recorded]:
        """Train to step `stop`; record at `snapshots`, which lie from `state.step` to there.

        `state` is left as it is. Call inside a `with` block of this engine.
        """
        pieces = list(_pieces(state.step, stop, snapshots.tolist()))
        flag = Stop()
        recorded = Recorded.empty(snapshots, len(state.weights), self._n, self._m)
        new = replace(state.copy(), step=stop)
        calls = [partial(self._advance_chunk, chunk, state, pieces, flag) for chunk in self._chunks]
        for chunk, (runs, taken) in zip(self._chunks, all_done(self._pool, calls, flag), strict=True):
            where, real = chunk.where[: chunk.count], slice(chunk.count)
            new.weights[where], new.bias[where] = self._split(runs.parameters[real])
            new.first[where], new.second[where] = runs.first[real], runs.second[real]
            new.diverged_at[where] = runs.diverged_at[real]
            for column, (parameters, loss) in enumerate(taken):
                recorded.weights[where, column], recorded.bias[where, column] = self._split(parameters[real])
                recorded.loss[where, column] = loss[real]
        # A diverged run stays where it was. A snapshot may be finite even if the batch after it was not.
        at = new.diverged_at[:, None]
        late = (at >= 0) & ((snapshots > at) | ((snapshots == at) & ~np.isfinite(recorded.loss)))
        for array in (recorded.weights, recorded.bias, recorded.loss):
            array[late] = np.nan
        return new, recorded

    def batches(
        self, run: int, count: int, purpose: Purpose = "training"
    ) -> Float32[np.ndarray, "count batch feature"]:
        """The first batches that training, or the evaluation of snapshots, draws for a run.

        Args:
            run: the run's number along the `run` axis of states.
            count: how many batches.
            purpose: "training" or "evaluation".

        """
        number = self._spec_of_run[run]
        spec, training = self.specs[number], self._training[number]
        program, tables = _program(spec, training, self._together), _constants(spec, training).tables
        stream = streams(self.specs, purpose, JAX_STREAM_WORDS)[run]
        data = tuple(each.arrays() for each in _untabled(spec.features))
        with scope(double=False):
            return np.asarray(draw_batches(program, tables, stream, np.arange(count, dtype=np.int32), data))

    def _advance_chunk(
        self, chunk: _Chunk, state: TrainingState, pieces: list[tuple[int, int, bool]], flag: Stop
    ) -> tuple[JaxRuns, list[tuple[np.ndarray, np.ndarray]]]:
        """The runs of a chunk after all pieces, and the parameters and losses of its snapshots."""
        # Settings of JAX hold only in the thread that sets them.
        with scope(double=False):
            return self._advanced(chunk, state, pieces, flag)

    def _advanced(
        self, chunk: _Chunk, state: TrainingState, pieces: list[tuple[int, int, bool]], flag: Stop
    ) -> tuple[JaxRuns, list[tuple[np.ndarray, np.ndarray]]]:
        runs, taken = _gathered(state, chunk.where), []
        fixed = chunk.constants, np.int32(chunk.count)
        # Only CPU programs can check the flag; others are short, and the flag is checked between them.
        stop = None if self._together else flag.address
        specs, row = np.unique(self._spec_of_run[chunk.where], return_inverse=True)
        for begin, end, recorded in pieces:
            schedule = np.stack([_schedule(self._training[spec], begin, end) for spec in specs])[row]
            runs = train(
                chunk.program, runs, *fixed, schedule, np.int32(begin), np.int32(end - begin), chunk.data, stop
            )
            if recorded:
                runs = evaluate(chunk.program, runs, *fixed, np.int32(end), chunk.data, stop)
                taken.append((runs.parameters, runs.loss))
            # Otherwise all pieces would be queued before the first is done.
            jax.block_until_ready(runs)
            flag.check()
        return jax.device_get((runs, taken))

    def _split(
        self, parameters: Float32[np.ndarray, "run parameter"]
    ) -> tuple[Float32[np.ndarray, "run feature hidden"], Float32[np.ndarray, "run feature"]]:
        weights, bias = np.split(parameters, [self._n * self._m], axis=1)
        return weights.reshape(-1, self._n, self._m), bias

    @cached_property
    def _chunks(self) -> list[_Chunk]:
        """All runs, divided by the program they need, by threads and by memory; this compiles every program."""
        pairs = list(zip(self.specs, self._training, strict=True))
        programs = [(_program(*pair, self._together), _untabled(pair[0].features)) for pair in pairs]
        of_spec = [_constants(*pair) for pair in pairs]
        evaluation = streams(self.specs, "evaluation", JAX_STREAM_WORDS)
        keep_programs(len(dict.fromkeys(program for program, _ in programs)))
        chunks = []
        for program, sets in dict.fromkeys(programs):
            mine = [number for number, each in enumerate(programs) if each == (program, sets)]
            data = self._put(tuple(each.arrays() for each in sets))
            runs = np.flatnonzero(np.isin(self._spec_of_run, mine))
            calls, size = self._calls(program, len(runs))
            for part in np.array_split(runs, calls):
                where = np.pad(part, (0, size - len(part)), "edge")
                rows = [of_spec[self._spec_of_run[run]]._replace(evaluation=evaluation[run]) for run in where]
                constants = jax.tree.map(lambda *values: np.stack(values), *rows)
                chunks.append(_Chunk(program, where, len(part), self._put(constants), data))
            # Otherwise every thread that meets a new program would compile it. In a thread, so that it can be
            # interrupted.
            flag = Stop()
            all_done(self._pool, [partial(self._advance_chunk, chunks[-1], self.start(), [(0, 0, True)], flag)], flag)
        return chunks

    def _put(self, arrays: Any) -> Any:
        """Arrays on the device, in the precision they have."""
        with scope(double=False):
            return jax.device_put(arrays, self._device)

    def _calls(self, program: Program, runs: int) -> tuple[int, int]:
        """The number of calls for this many runs, and the number of runs per call."""
        if not program.together:
            state_bytes = 3 * 4 * self._n * (self._m + 1)
            size = min(RUNS_AT_ONCE, max(1, STATE_BYTES // state_bytes))
            return max(-(-runs // size), min(runs, TASKS_PER_THREAD * self.threads)), size
        batch_bytes = 4 * program.piece * (5 * self._n + 3 * self._m)
        calls = -(-runs // max(1, WORKING_BYTES // batch_bytes))
        return calls, -(-runs // calls)


def _program(spec: Spec, training: Sampled, together: bool) -> Program:
    return Program(
        sets=tuple(_shapes(spec.features)),
        activation=spec.activation,
        rule=training.rule,
        batch=training.batch,
        piece=piece_size(training.batch, spec.features.n, spec.hidden),
        evaluation_batches=-(-training.evaluation // training.batch),
        together=together,
    )


def _constants(spec: Spec, training: Sampled) -> Constants:
    """The constants of a run of this Spec, except its evaluation sample."""
    return Constants(
        evaluation=np.zeros(JAX_STREAM_WORDS, np.uint32),
        importance=spec.features.importance.astype(np.float32),
        tables=tuple(_table(sets) for tabled, sets in _neighbours(spec.features) if tabled),
        settings=np.array(_COEFFICIENTS[training.rule].settings(training), np.float32),
    )


def _neighbours(features: FeatureDistribution) -> Iterator[tuple[bool, list[Any]]]:
    """The sets in order; consecutive ones that are drawn by their tables and have one law of magnitude together."""

    def law(of: FeatureSet) -> Magnitude | None:
        return of.magnitude if isinstance(of, GatedSet) and _by_table(of) else None

    for magnitude, sets in itertools.groupby(features.sets, law):
        yield magnitude is not None, list(sets)


def _by_table(given: FeatureSet) -> bool:
    """Whether a set is drawn by its table; a program has a comparison for each of its components."""
    return given.gated and given.table_size <= MOST_COMPARED * given.features


def _untabled(features: FeatureDistribution) -> tuple[FeatureSet, ...]:
    return tuple(each for each in features.sets if not _by_table(each))


def _shapes(features: FeatureDistribution) -> Iterator[Mixtures | FeatureSet | Matrix | CopulaShape]:
    for tabled, sets in _neighbours(features):
        if tabled:
            components = tuple(len(each.mixture.weights) for each in sets)
            yield Mixtures(tuple(each.features for each in sets), components, sets[0].magnitude)
        else:
            yield from (each.traced() for each in sets)


def _table(sets: list[Any]) -> Table:
    tables: list[MixtureTable] = [each.mixture for each in sets]
    mixtures = [each.weights for each in tables if len(each.weights) > 1]
    components = max(len(each.weights) for each in tables)
    upper = np.full((components - 1, len(mixtures)), _BEYOND, np.float32)
    for column, weights in enumerate(mixtures):
        upper[: len(weights) - 1, column] = np.cumsum(weights)[:-1]
    gates = [np.pad(each.gates, ((0, components - len(each.gates)), (0, 0)), "edge") for each in tables]
    return Table(upper, np.concatenate(gates, axis=1, dtype=np.float32))


def _schedule(training: Sampled, start: int, stop: int) -> Float32[np.ndarray, "step coefficient"]:
    """The coefficients that change from step to step, padded with zeros after step `stop`."""
    columns = _COEFFICIENTS[training.rule].columns(training, start, stop)
    rows = np.zeros((STEPS_AT_ONCE, len(columns)), np.float32)
    rows[: stop - start] = np.stack(columns, axis=1)
    return rows


class _Coefficients(NamedTuple):
    """The numbers that an update in `jax_programs` needs."""

    settings: Callable[[Sampled], list[float]]
    """Those that are the same in all steps."""
    columns: Callable[[Sampled, int, int], list[np.ndarray]]
    """Those that change with the step, for the steps from a first one to before a last one."""


def _adam_settings(training: Sampled) -> list[float]:
    beta1, beta2 = training.averaging
    return [beta1, 1 - beta1, beta2, 1 - beta2, training.eps]


def _adam_columns(training: Sampled, start: int, stop: int) -> list[np.ndarray]:
    """−rate / (1 − β₁^t), 1 / √(1 − β₂^t) and 1 − rate · decay."""
    rate = training.rate * training.rates(start, stop)
    # Scalar powers: NumPy's vectorised one may round by position in the array.
    correction1, correction2 = (
        np.array([1 - beta**update for update in range(start + 1, stop + 1)]) for beta in training.averaging
    )
    return [-rate / correction1, 1 / np.sqrt(correction2), 1 - rate * training.decay]


def _momentum_settings(training: Sampled) -> list[float]:
    return [training.averaging[0], training.decay]


def _momentum_columns(training: Sampled, start: int, stop: int) -> list[np.ndarray]:
    return [-training.rate * training.rates(start, stop)]


_COEFFICIENTS: dict[Rule, _Coefficients] = {
    "adam": _Coefficients(_adam_settings, _adam_columns),
    "momentum": _Coefficients(_momentum_settings, _momentum_columns),
}
"""The coefficients of each rule in `JAX_UPDATES`."""


def _pieces(start: int, stop: int, snapshots: list[int]) -> Iterator[tuple[int, int, bool]]:
    """From `start` to `stop`, cut at snapshots and after `STEPS_AT_ONCE` steps; whether each ends in a snapshot.

    The first may be the start itself.
    """
    if start in snapshots:
        yield start, start, True
    marks = iter([step for step in snapshots if start < step <= stop])
    mark = next(marks, None)
    while start < stop:
        end = min(stop, start + STEPS_AT_ONCE, stop if mark is None else mark)
        yield start, end, end == mark
        if end == mark:
            mark = next(marks, None)
        start = end


def _gathered(state: TrainingState, where: Int64[np.ndarray, " run"]) -> JaxRuns:
    """The state of some runs, copied into new arrays."""
    weights = state.weights[where].reshape(len(where), -1)
    return JaxRuns(
        stream=state.stream[where],
        parameters=np.concatenate([weights, state.bias[where]], axis=1),
        first=state.first[where],
        second=state.second[where],
        diverged_at=state.diverged_at[where].astype(np.int32),
        loss=np.zeros(len(where), np.float32),
    )
