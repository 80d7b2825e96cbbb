"""Training as a resumable iterator, and `train`, the loop over it that returns a trajectory.

Code that watches, pauses, steers or saves training builds on `iterate`, which yields segments, each with the snapshots
taken in it and a `TrainingState` from which training can continue, with the same Spec or a changed one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Literal, final

import numpy as np
from jaxtyping import Int64

from tegum.core.arguments import refusing
from tegum.core.description import short
from tegum.core.loss.population import population_path
from tegum.core.threads import available_cores
from tegum.data.keeping import KeptElsewhereError
from tegum.data.schema import MEASURES
from tegum.progress.showing import shown
from tegum.progress.tasks import Steps
from tegum.training.checkpoint import EVERY_SECONDS, Checkpoint
from tegum.training.dataset import dataset
from tegum.training.measuring import chunk_specs, chunks, named_measures, train_measured
from tegum.training.phases import PhasedEngine, phases
from tegum.training.sampled.kernels.tables import drawable, undrawable_because
from tegum.training.sizes import check_training, training_seconds
from tegum.training.spec.grid import Grid
from tegum.training.spec.runs import chosen_runs
from tegum.training.spec.spec import Spec
from tegum.training.state import Engine, Recorded, TrainingState

if TYPE_CHECKING:
    import xarray as xr

EngineName = Literal["auto", "kernel", "jax"]

_SEGMENT_SECONDS = 0.2
"""The seconds a segment should take: short enough for a live view and for Ctrl-C, long enough to cost nothing."""

_SECONDS_PER_BYTE = 2e-8
"""Additional seconds of a segment in `train` per byte of the state, which is copied between segments: about twenty
times the seconds that copying takes."""


@final
@dataclass(frozen=True, eq=False)
class Segment:
    """A piece of training: the snapshots taken in it, and the state at its end.

    Example:
        >>> import tegum as tg
        >>> spec = tg.Spec(features=[tg.Independent(3, 0.1)], hidden=1, training=tg.Sampled(steps=10), snapshots=2)
        >>> segments = list(tg.iterate(spec))
        >>> [step for segment in segments for step in segment.recorded.steps.tolist()]
        [0, 5, 10]

    """

    start: int
    """The step at which the segment began; it ended at `state.step`."""
    state: TrainingState
    """The state of all runs at the end of the segment."""
    recorded: Recorded
    """The snapshots taken in the segment."""
    steps: int
    """The number of steps of the whole training, which is over once `state.step` has reached it."""
    seconds: float
    """The wall time that the segment took, in seconds."""
    time: float | None = None
    """The time of a flow at the end of the segment; None for other training."""


@final
class TrainingInterrupted(KeyboardInterrupt):
    """Raised on Ctrl-C during `train`; `run` is the trajectory up to its last snapshot, with the result "interrupted".

    After `train(keep=…)`, `run` holds measures: of runs that were not reached, NaN, and the result "interrupted".

    Example:
        A function that is called with each segment can stop training in the same way.

        >>> import tegum as tg
        >>> def stop(segment):
        ...     raise KeyboardInterrupt
        >>> spec = tg.Spec(features=[tg.Independent(3, 0.1)], hidden=1, training=tg.Sampled(steps=100_000))
        >>> try:
        ...     tg.train(spec, progress=stop)
        ... except tg.TrainingInterrupted as interrupted:
        ...     print(interrupted.run.result.values.tolist())
        ['interrupted']

    """

    def __init__(self, run: xr.Dataset) -> None:
        measured = getattr(run, "attrs", {}).get("schema") == MEASURES
        what = "the measures of the runs done are" if measured else "the trajectory up to there is"
        super().__init__(f"training was interrupted; {what} in the attribute `run`")
        self.run = run

    def __reduce__(self) -> tuple[Any, ...]:
        """For pickle, which would give the sentence in place of the runs."""
        # Of one that another has taken the place of, the runs have gone to that one.
        return type(self), (getattr(self, "run", None),), vars(self)


@refusing
def iterate(
    specs: Spec | Sequence[Spec],
    state: TrainingState | None = None,
    *,
    threads: int | None = None,
    engine: EngineName = "auto",
    segment_seconds: float = _SEGMENT_SECONDS,
    runs: Sequence[int] | None = None,
) -> Iterator[Segment]:
    """Train in segments, as a generator that can be left at any time and continued from a state.

    Runs of several Specs follow one another along the `run` axis of states and snapshots. Results do not depend on
    where segments end, and continuing from a segment's state is bit-identical to not stopping.

    Args:
        specs: one Spec, or several that agree in shapes, snapshots, number of seeds, kind of training, and the
            fields that this kind names as `shared`.
        state: the state from which to continue, which is not changed; None starts at step 0.
        threads: the number of CPU threads; None is all cores.
        engine: the engine of sampled training: "kernel" (CPU), "jax", or "auto", which is the kernel wherever it
            covers the Spec. Other kinds of training have one engine each, and accept only "auto".
        segment_seconds: about how long a segment should take, in seconds.
        runs: the numbers of the runs to train, in a list or a range, in the order in which states have them; None is
            all of them. A run has the same bits as among all.

    Yields:
        Segments, at least one; the last one's `state.step` is the number of steps.

    Raises:
        ValueError: the Specs cannot be trained together, the state does not fit them, the engine does not cover
            them, there are no such `runs`, or `segment_seconds` is negative.

    Example:
        Stop after the first segment, and continue from its state later.

        >>> import tegum as tg
        >>> import numpy as np
        >>> spec = tg.Spec(features=[tg.Independent(3, 0.1)], hidden=1, training=tg.Sampled(steps=20))
        >>> first = next(tg.iterate(spec))
        >>> *_, last = tg.iterate(spec, first.state)
        >>> *_, undisturbed = tg.iterate(spec)
        >>> last.state.step, np.array_equal(last.state.weights, undisturbed.state.weights)
        (20, True)

    """
    specs = together(specs, "iterate")
    if not segment_seconds >= 0:
        raise ValueError(f"iterate(segment_seconds={segment_seconds!r}): segment_seconds must be at least 0")
    specs = _of_runs(specs, runs, "iterate")
    check_training(specs, "iterate", engine, threads, kept=False)
    with _engine(specs, threads, engine, "iterate") as worker:
        if state is not None:
            _check_state(state, worker, specs)
        yield from _segments(worker, specs, state, segment_seconds)


def _segments(
    worker: Engine, specs: Sequence[Spec], state: TrainingState | None, segment_seconds: float | None
) -> Iterator[Segment]:
    """The segments of `iterate`, from an engine that has been entered; None makes them long enough to cost nothing."""
    training, wanted = specs[0].training, _snapshot_steps(specs[0])
    steps = training.steps
    state = worker.start() if state is None else state
    if segment_seconds is None:
        copied = sum(np.asarray(value).nbytes for value in state.arrays().values())
        segment_seconds = _SEGMENT_SECONDS + _SECONDS_PER_BYTE * copied
    length = 1
    while True:
        start = state.step
        stop = min(steps, worker.stop_at(min(steps, start + length)))
        inside = wanted[(wanted > start) & (wanted <= stop) | ((wanted == 0) & (start == 0))]
        begin = time.perf_counter()
        state, recorded = worker.advance(state, stop, inside)
        seconds = time.perf_counter() - begin
        time_there = training.time(stop)
        yield Segment(start, state, recorded, steps, seconds, None if time_there is None else float(time_there))
        if stop >= steps:
            return
        # The first segments may include compilation: grow gradually rather than leap from one guess.
        length = max(stop - start, 1)
        length = int(np.clip(length * segment_seconds / max(seconds, 1e-6), 1, 8 * length))


@refusing
def train(
    specs: Spec | Sequence[Spec],
    *,
    threads: int | None = None,
    engine: EngineName = "auto",
    progress: bool | Callable[[Segment], None] | None = True,
    out: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    resume: bool = False,
    checkpoint_seconds: float = EVERY_SECONDS,
    keep: Mapping[str, Callable[..., Any]] | Sequence[Callable[..., Any]] | None = None,
    runs: Sequence[int] | None = None,
) -> xr.Dataset:
    """Train all runs of a Spec, or of several Specs in one call, and return their trajectory, or measures of it.

    Runs with the same number and base seed start alike and draw from the same stream in every Spec: members of a
    sweep are paired (common random numbers). If they should be independent, give each Spec a base seed of its own.

    With `out` the trajectory is saved there as soon as it is complete. Until then the work done so far is kept
    beside it (`run.partial.zarr` beside `run.zarr`), every `checkpoint_seconds` and wherever training ends early;
    `resume=True` continues from there, bit-identical to undisturbed training.

    Args:
        specs: one Spec, or several that agree in shapes, snapshots, number of seeds, kind of training, and the
            fields that this kind names as `shared`. Several give a leading dimension `spec`, with what differs
            between them as coordinates; a grid (`tg.grid`) gives a leading dimension for each of its parameters,
            along which runs are selected by value: `run.sel(density=0.1)`. `Grid.split` splits a grid whose values
            change shapes.
        threads: the number of CPU threads; None is all cores. Results do not depend on it.
        engine: the engine of sampled training: "kernel" (CPU), "jax", or "auto", which is the kernel wherever it
            covers the Spec. Other kinds of training have one engine each, and accept only "auto".
        progress: True shows progress on standard error, in terminals and notebooks, if training takes longer than a
            second; False shows nothing. A function is called with each `Segment` instead.
        out: the store to create, in a folder that exists; None keeps the trajectory only in memory.
        overwrite: whether to replace a store at `out`, which stays until the new one is complete.
        resume: whether to continue what an unfinished training of these Specs has left beside `out`; if there is
            nothing, training begins.
        checkpoint_seconds: how often the work so far is saved, in seconds; less often if saving takes more than a
            thirtieth of that.
        keep: functions by name, or a list of functions, whose values are kept in place of the trajectory, so that
            100,000 runs need no more memory than a few thousand. Runs are trained in chunks, and each function is
            called with the trajectory of some runs of one Spec, or with the variable that its first parameter names,
            as that of `tg.dimensionality` names the weights. It returns a DataArray with the dimension `seed`, or one
            number for each run, and must measure each run by itself. Coordinates without a dimension, and those along
            `seed`, are not kept. With `out` the measures are saved at the end, and only then: after Ctrl-C or an
            error those of the runs done are only in the attribute `run` of the exception, where runs that were not
            reached have the result "interrupted" and NaN; there is nothing to resume.
        runs: the numbers of the runs to train, in a list or a range; None is all of them. What is returned, stored or
            kept is what `sel(seed=runs)` selects from the whole, bit by bit (on a CPU; other devices may order sums
            differently), and only as much is needed of memory and time.

    Returns:
        The trajectory: weights (seed, step, feature, hidden), bias (seed, step, feature), loss (seed, step), result
        and diverged_at (seed), as described in `tegum.data.schema`. Exact training adds converged_at (seed); a flow
        adds gradient_error (seed) and the coordinate time (seed, step). With `keep` the measures by their names, each
        with the dimensions of its DataArray, and result, diverged_at and perhaps converged_at.

    Raises:
        ValueError: the Specs cannot be trained together, the engine does not cover them, there are no such `runs`, or
            what is to be resumed belongs to another Spec, other runs, or another engine or version of the code.
        FileExistsError: there is something at `out`, or an unfinished training beside it, that may not be replaced.
        OSError: nothing can be written at `out`, or the disk has no room. If the disk fills up during training the
            trajectory is saved in another folder, which the sentence names
            (`tegum.data.keeping.KeptElsewhereError`); the exception also holds it as its attribute `run`.
        TrainingInterrupted: on Ctrl-C. It holds what was done as its attribute `run`, and with `out` a note says
            where that is saved; so does any other exception that ends training early, such as one raised by
            `progress`.

    Example:
        >>> import tegum as tg
        >>> training = tg.Sampled(steps=20)
        >>> spec = tg.Spec(features=[tg.Independent(3, 0.1)], hidden=1, training=training, snapshots=4, seeds=2)
        >>> run = tg.train(spec)
        >>> dict(run.weights.sizes), run.step.values.tolist(), run.result.values.tolist()
        ({'seed': 2, 'step': 5, 'feature': 3, 'hidden': 1}, [0, 5, 10, 15, 20], ['completed', 'completed'])

        Of many runs only the names of what they form, and the last loss.

        >>> form = lambda run: tg.polytope_names(run.weights.isel(step=-1))
        >>> kept = tg.train(spec, keep={"loss": lambda run: run.loss.isel(step=-1), "form": form})
        >>> kept.form.dims, bool((kept.loss == run.loss[:, -1]).all())
        (('seed',), True)

    """
    specs = together(specs)
    measures = None if keep is None else named_measures(keep, "train")
    if out is None and (overwrite or resume):
        raise ValueError(
            f"train(overwrite={overwrite}, resume={resume}): both refer to what is at `out`, but out is None"
        )
    if not checkpoint_seconds >= 0:
        rule = "checkpoint_seconds must be at least 0"
        raise ValueError(f"train(checkpoint_seconds={checkpoint_seconds!r}): {rule}")
    if measures is not None:
        if resume:
            raise ValueError("train(keep=…, resume=True): training of which only measures are kept cannot be resumed")
        trained = _of_runs(specs, runs, "train")
        chunk = chunk_specs(trained, chunks(trained, threads or available_cores())[0])
        check_training(chunk, "train", engine, threads, kept=True, whole=trained)
        return train_measured(
            specs,
            trained,
            measures,
            train,
            interrupted=TrainingInterrupted,
            threads=threads,
            engine=engine,
            progress=progress,
            out=out,
            overwrite=overwrite,
        )
    trained = _of_runs(specs, runs, "train")
    check_training(trained, "train", engine, threads, kept=True)
    begin = time.perf_counter()
    wanted = _snapshot_steps(specs[0])
    count_of_runs = len(specs) * trained[0].seeds
    place = None
    if out is not None:
        place = Checkpoint(specs, trained, out, overwrite=overwrite, resume=resume, seconds=checkpoint_seconds)
    with (
        nullcontext() if place is None else place,
        _engine(trained, threads, engine, "train") as worker,
        shown(progress, _task(trained, worker), "train") as report,
    ):
        whole = Recorded.empty(wanted, count_of_runs, specs[0].features.n, specs[0].hidden, specs[0].training.dtype)
        state, done, before = (None, 0, 0.0) if place is None else place.begin(worker, whole)

        def trajectory() -> xr.Dataset:
            assert state is not None
            seconds = before + time.perf_counter() - begin
            made = dataset(specs, trained[0].runs, whole, state, done, worker, seconds)
            return made if place is None else made.assign_attrs(vector_unit=place.vector_unit)

        try:
            for segment in _segments(worker, trained, state, None):
                count = len(segment.recorded.steps)
                whole.weights[:, done : done + count] = segment.recorded.weights
                whole.bias[:, done : done + count] = segment.recorded.bias
                whole.loss[:, done : done + count] = segment.recorded.loss
                # One statement: a signal in between would leave a state that does not match the snapshots.
                state, done = segment.state, done + count
                report(segment)
                if place is not None and state.step < segment.steps and place.due():
                    place.update(trajectory, state)
        except BaseException as error:
            if state is None or done == 0:
                raise
            ended = _with_what_was_done(error, trajectory(), state, place)
            if ended is error:
                raise
            raise ended from None
        run = trajectory()
        if place is not None:
            _finish(place, run, out, overwrite=overwrite)
    return run


def _with_what_was_done(
    error: BaseException, run: xr.Dataset, state: TrainingState, place: Checkpoint | None
) -> BaseException:
    """What to raise for an error that ended training: with the trajectory until then, which is also stored."""
    kept = "what was done is in the attribute `run` of this exception"
    if place is not None:
        try:
            kept = place.stop(run, state)
        except Exception as refused:  # must not replace the error that ended training
            kept = str(refused)
    ended = TrainingInterrupted(run) if isinstance(error, KeyboardInterrupt) else error
    # After any other error, too: an error in a user's own `progress` must not cost an hour of training.
    vars(ended)["run"] = run
    ended.add_note(kept)
    return ended


def _finish(place: Checkpoint, run: xr.Dataset, out: Any, *, overwrite: bool) -> None:
    """Store the whole trajectory; an error says where else it is."""
    try:
        place.finish(run, overwrite=overwrite)
    except BaseException as error:
        vars(error)["run"] = run
        if not isinstance(error, KeptElsewhereError):
            where = repr(str(out)) if place.is_whole else "the attribute `run` of this exception"
            error.add_note(f"the whole trajectory is in {where}")
        raise


def _task(specs: Sequence[Spec], worker: Engine) -> Steps:
    """The progress task for training these Specs."""
    training = specs[0].training
    until = training.time(training.steps)
    estimate = training_seconds(specs, worker.name, worker.threads)
    return Steps(
        len(specs) * specs[0].seeds,
        converges=training.ends_early,
        until=None if until is None else float(until),
        expected=None if estimate is None else estimate.seconds,
        least=estimate is not None and estimate.least,
    )


def _snapshot_steps(spec: Spec) -> Int64[np.ndarray, " snapshot"]:
    return spec.snapshots.at(spec.training.steps)


_AGREE: dict[str, Callable[[Spec], Any]] = {
    "the number of features": lambda spec: spec.features.n,
    "hidden": lambda spec: spec.hidden,
    "activation": lambda spec: spec.activation,
    "seeds": lambda spec: spec.seeds,
    "the kind of training": lambda spec: spec.training.kind,
    "snapshots": lambda spec: tuple(_snapshot_steps(spec).tolist()),
    "the steps of changes": lambda spec: spec.changed_at,
}
"""What Specs that are trained together must share."""


def agreeing(spec: Spec) -> tuple[Any, ...]:
    """What a Spec must share with those that are trained together with it; Specs with equal answers can be."""
    shared = tuple((key, attrgetter(key)(spec.training)) for key in spec.training.shared)
    return (*(value(spec) for value in _AGREE.values()), *shared)


def together(specs: Spec | Sequence[Spec], call: str = "train") -> Sequence[Spec]:
    """The Specs as a tuple, or their grid, if they can be trained in one call; errors name `call`.

    Raises:
        ValueError: there is none, one is not a Spec, or two differ where they must agree.

    """
    several: Any = (specs,) if isinstance(specs, Spec) else specs
    if not isinstance(several, Sequence) or isinstance(several, str | bytes):
        raise ValueError(f"{call}({short(specs, 60)}): must be given a Spec, a list of Specs, or a grid of them")
    grid = several if isinstance(several, Grid) else None
    if grid is not None and "hidden" in grid.parameters:
        raise _not_together(grid, "hidden", _AGREE["hidden"], call)
    several = tuple(several)
    if not several:
        raise ValueError(f"{call}([]): at least one Spec must be given")
    for number, spec in enumerate(several):
        if not isinstance(spec, Spec):
            raise ValueError(f"{call}([…]): item {number}, {short(spec, 60)}, must be a Spec")
        if number == 0:
            continue
        shared = {f"training.{key}": attrgetter(f"training.{key}") for key in spec.training.shared}
        for what, value in (_AGREE | shared).items():
            ours, theirs = value(several[0]), value(spec)
            if ours != theirs and grid is not None:
                raise _not_together(grid, what, value, call)
            if ours != theirs:
                raise ValueError(
                    f"{call}([…]): Specs 0 and {number} differ in {what} ({short(ours, 60)} and {short(theirs, 60)}); "
                    f"Specs trained together must agree in {', '.join(_AGREE | shared)}"
                )
    return several if grid is None else grid


def _of_runs(specs: Sequence[Spec], runs: Sequence[int] | None, call: str) -> Sequence[Spec]:
    """The Specs of some runs of each, or, without a choice, the Specs as they are.

    Raises:
        ValueError: naming `call`: there are no such runs.

    """
    if runs is None:
        return specs
    chosen = chosen_runs(runs, specs[0].runs, call)
    return tuple(spec.some_runs(chosen) for spec in specs)


def _not_together(grid: Grid, what: str, value: Callable[[Spec], Any], call: str) -> ValueError:
    """Why a grid is not trained in one call, and how its parts are."""
    for name in grid.parameters:
        parts = grid.split(name)
        ends = [value(part if isinstance(part, Spec) else part[0]) for part in parts.values()]
        if differs := [end for end in ends if end != ends[0]]:
            differ = f"its values of {name} differ in {what} ({short(ends[0], 40)} and {short(differs[0], 40)})"
            return ValueError(
                f"{call}(grid): {differ}, which must agree within one Dataset; train its parts: "
                f"{{value: tg.{call}(part) for value, part in grid.split({name!r}).items()}}"
            )
    return ValueError(f"{call}(grid): its Specs differ in {what}, which must agree within one Dataset")


def _engine(specs: Sequence[Spec], threads: int | None, engine: str, call: str) -> Engine:
    if engine not in ("auto", "kernel", "jax"):
        raise ValueError(f"{call}(engine={engine!r}): engine must be 'auto', 'kernel' or 'jax'")
    kind = specs[0].training.kind
    if kind != "sampled" and engine != "auto":
        raise ValueError(
            f"{call}(engine={engine!r}): only sampled training has a choice of engines; with training of the kind "
            f"{kind!r} it must be 'auto'"
        )
    parts = phases(specs)
    if kind == "sampled":
        engine = _covering([spec for _, some in parts for spec in some], engine, call)
    else:
        for _, some in parts:
            _check_population(some, call)
    make = partial(_engine_of_phase, threads=threads, engine=engine, call=call)
    return make(parts[0][1]) if len(parts) == 1 else PhasedEngine(parts, make)


def _engine_of_phase(specs: Sequence[Spec], *, threads: int | None, engine: str, call: str) -> Engine:
    # The one place where a kind of training finds its engine.
    match specs[0].training.kind, engine:
        case "sampled", "kernel":
            from tegum.training.sampled.cpu import KernelEngine

            return KernelEngine(specs, threads)
        case "sampled", "jax":
            from tegum.training.sampled.jax_engine import JaxEngine

            return JaxEngine(specs, threads)
        case "exact", "auto":
            from tegum.training.exact.engine import ExactEngine

            return ExactEngine(specs, threads)
        case "flow", "auto":
            from tegum.training.flow.engine import FlowEngine

            return FlowEngine(specs, threads)
    raise ValueError(f"{call}(Spec(training={specs[0].training!r})): no engine trains this kind")


def _covering(specs: Sequence[Spec], engine: str, call: str) -> str:
    """The engine of sampled training for these Specs, "kernel" or "jax"."""
    odd = next((each for spec in specs for each in spec.features.sets if not drawable([each])), None)
    if odd is None or engine == "jax":
        return "kernel" if engine == "auto" else engine
    if engine == "auto":
        return "jax"
    raise ValueError(
        f"{call}(engine={engine!r}): the kernel cannot draw {odd!r}, as {undrawable_because(odd)}; use engine='jax'"
    )


def _check_population(specs: Sequence[Spec], call: str) -> None:
    """Refuse activations, and sets of features next to one another, without a population loss to train on."""
    for spec in specs:
        way = type(spec.training).__name__
        population_path(f"{call}(Spec({{}}, training={way}(…)))", spec.features, spec.activation, "Sampled")


def _check_state(state: TrainingState, worker: Engine, specs: Sequence[Spec]) -> None:
    """Refuse a state that would make the engine read beyond its arrays, or that belongs to another engine."""
    for name, expected in worker.start().arrays().items():
        given = state.arrays()[name]
        if name != "step" and (given.shape != expected.shape or given.dtype != expected.dtype):
            raise ValueError(
                f"iterate(state with {name}: {given.dtype} of shape {given.shape}): these Specs and the engine "
                f"{worker.name!r} need {expected.dtype} of shape {expected.shape}"
            )
    if not 0 <= state.step <= specs[0].training.steps:
        raise ValueError(
            f"iterate(state at step {state.step}): training.steps is {specs[0].training.steps}, which is less"
        )
