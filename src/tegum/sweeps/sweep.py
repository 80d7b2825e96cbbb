"""`sweep`: train an ensemble of any size in packs, on this machine or a cluster, and keep what is asked for."""

from __future__ import annotations

import json
import math
import os
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, final, get_args

import numpy as np

from tegum.core.arguments import refusing
from tegum.core.description import short
from tegum.core.limits import duration, readable
from tegum.progress.showing import shown
from tegum.progress.tasks import Sweeping
from tegum.sweeps import plan as plans
from tegum.sweeps import probe, store
from tegum.sweeps.claims import Claims
from tegum.sweeps.coordinator import Coordinator, Done
from tegum.sweeps.design import Design, Way, design
from tegum.sweeps.kept import Keeping, without_folder
from tegum.sweeps.layout import Layout
from tegum.sweeps.packs import PLAN, SCHEMA, Identity, check_same, identified, said_by
from tegum.sweeps.places import SweepPlace, place_at
from tegum.sweeps.workers import Crew, SchedulerLostError, crew_of
from tegum.training.engine import EngineName, together
from tegum.training.sizes import check_training
from tegum.training.spec.spec import Spec

if TYPE_CHECKING:
    import xarray as xr

_TRIAL_SECONDS = 1.5
"""Seconds for which each Spec that is tried trains."""

_MOST_TRIED = 5
"""The most Specs of a group whose pace is tried."""


@final
class Cost(NamedTuple):
    """What a sweep costs, told before it starts."""

    runs: int
    """The number of runs."""
    packs: int
    """The packs that they are made in."""
    seconds: float
    """Of all workers together, divided by their number."""
    workers: int
    """The number of workers, each a core."""
    bytes: float
    """What is stored, in bytes."""
    least: bool
    """Whether the seconds are a lower bound."""

    def __str__(self) -> str:
        """One sentence."""
        about = "at least" if self.least else "about"
        cores = f"{self.workers:,} core{'s' * (self.workers != 1)}"
        packs = f"{self.packs:,} pack{'s' * (self.packs != 1)}"
        runs = f"{self.runs:,} run{'s' * (self.runs != 1)}"
        return f"{runs} in {packs}, {about} {duration(self.seconds)} on {cores}, {readable(round(self.bytes))}"


@refusing
def sweep(
    spec: Any,
    parameters: Mapping[str, Any] | None = None,
    *,
    keep: Any = ("states",),
    out: str | os.PathLike[str] | None = None,
    way: Way = "product",
    count: int | None = None,
    seed: int = 0,
    executor: Any = None,
    workers: int | None = None,
    engine: EngineName = "auto",
    pack: int | None = None,
    part: Any = None,
    allow_mixed: bool = False,
    overwrite: bool = False,
    verify: bool = False,
    progress: Any = True,
) -> xr.DataTree:
    """Train an ensemble over fields of a Spec, on all cores or a cluster, and keep what is asked for.

    Runs are trained in packs, which whole processes make, here or elsewhere. If anything is killed, call it again: it
    makes what is missing, and the result is bit-identical to that of an undisturbed call, whatever the number of
    workers. Several processes, also on several machines, may work on the same sweep at the same time: call each with
    the same arguments.

    Args:
        spec: the Spec whose keys are varied, a grid, or a list of Specs.
        parameters: values by key, as in `grid`: lists, a `Between` for ranges, or a dictionary of values by key for
            keys that change together. None trains the Specs as they are.
        keep: what is kept of every run: a list of functions of the analysis by name ("polytope_names"), variables
            ("loss"), functions of your own ("mine.py:height", or the function if other processes can import it),
            "states" (the last weights, biases and losses), "events", or a `Kept`, which also says at which snapshots.
        out: the folder of the sweep, or the address of an object store ("s3://bucket/folder"); None keeps it in memory,
            and loses it if the process is killed.
        way: how the values are combined: "product", "zip", "random" or "sobol".
        count: the number of Specs that "random" and "sobol" draw.
        seed: the seed of these draws.
        executor: who makes the packs: None for processes of this machine, the address of a Dask scheduler
            ("tcp://…"), a client or a cluster of Dask, or any executor of `concurrent.futures`.
        workers: the number of processes here; None is one for each core, or for each GPU with engine="jax".
        engine: as in `train`.
        pack: the number of runs of a pack; None chooses one that takes about a minute. Values do not depend on it, but
            files do.
        part: (i, k) makes only the i-th of k parts of the packs, counted from 0, for job arrays; the process that
            makes the last missing pack completes the sweep.
        allow_mixed: whether workers with different vector units may work on the sweep, whose bits then depend on which
            of them made a run.
        overwrite: whether another sweep at `out` may be replaced.
        verify: whether to compare the checksum of everything that is there, and not only its length; what is damaged
            is made again.
        progress: as in `train`; a function is called with the number of runs done, that of all, and the number of
            packs set aside.

    Returns:
        A tree of Datasets, one for each shape of models; if there is only one, it is the root. Dimensions are `spec`
        and `seed` and those of the measures; an index along `spec` selects by the values of parameters. Numbers are
        read when they are used. Runs that are not there have the result "missing".

    Raises:
        ValueError: an argument is refused, a measure cannot be found, there is another sweep at `out`, or a worker has
            other code or another vector unit than the sweep was begun with.
        OSError: nothing can be written at `out`, its disk is full, or the scheduler cannot be reached; what was made
            stays, and the same call continues.

    Example:
        >>> import tegum as tg
        >>> spec = tg.Spec(features=[tg.Independent(3, 0.1)], hidden=1, training=tg.Sampled(steps=20), seeds=4)
        >>> swept = tg.sweep(spec, {"density": [0.1, 0.5]}, keep=["loss", "polytope_names"], workers=1)
        >>> swept["loss"].dims, swept["loss"].shape
        (('spec', 'seed'), (2, 4))
        >>> bool(swept["loss"].sel(density=0.5).mean() > swept["loss"].sel(density=0.1).mean())
        True

    """
    call = "sweep" if out is None else f"sweep(out={os.fspath(out)!r})"
    described = design(spec, parameters, way=way, count=count, seed=seed, call="sweep")
    keeping = Keeping(keep, "sweep")
    if out is None and part is not None:
        raise ValueError(f"sweep(part={short(part)}): a part of a sweep needs a place for all of them; give out")
    if out is not None:
        place = place_at(out, call)
        done = swept(place, described, keeping, executor=executor, workers=workers, engine=engine, pack=pack,
                     part=part, mixed=allow_mixed, overwrite=overwrite, verify=verify, progress=progress,
                     call=call)  # fmt: skip
        _warn_of_failures(place, done, call)
        return opened(place, call)
    with tempfile.TemporaryDirectory(prefix="tegum-sweep-") as folder:
        place = place_at(Path(folder) / "sweep", call)
        done = swept(place, described, keeping, executor=executor, workers=workers, engine=engine, pack=pack,
                     part=None, mixed=allow_mixed, overwrite=False, verify=False, progress=progress,
                     call=call)  # fmt: skip
        _warn_of_failures(place, done, call)
        return opened(place, call).load()


def _warn_of_failures(place: SweepPlace, done: Done | Cost, call: str) -> None:
    """Tell of packs that were set aside, whose runs are missing."""
    if not isinstance(done, Done) or not done.set_aside:
        return
    count = len(done.set_aside)
    told = json.loads(place.read(f"failed/{done.set_aside[0]}.json"))
    what = "a pack has failed and was" if count == 1 else f"{count} packs have failed and were"
    why = f"{told['errors'][-1]}"
    warnings.warn(f"{call}: {what} set aside, and the runs in it are missing; the last error was: {why}", stacklevel=4)


def swept(
    place: SweepPlace,
    described: Design,
    keeping: Keeping,
    *,
    executor: Any,
    workers: int | None,
    engine: EngineName,
    pack: int | None,
    part: Any,
    mixed: bool,
    overwrite: bool,
    verify: bool,
    progress: Any,
    call: str,
    told: Any = None,
    only_cost: bool = False,
) -> Done | Cost:
    """Make what is missing of a sweep; `told` is called with its cost before it starts.

    Raises:
        ValueError: as `sweep` says.
        OSError: as `sweep` says.

    """
    chosen = _part(part, call)
    if overwrite and chosen is not None:
        rule = "overwrite would remove what the other parts have made: replace the sweep once, without part"
        raise ValueError(f"{call}: part={short(part)}: {rule}")
    _check_options(engine, pack, progress, call)
    checked(described, keeping, engine, call)
    there = _there(place, overwrite=overwrite, call=call)
    if there is not None:
        there = _continued(there, described, keeping, engine, place, mixed=mixed, call=call)
    if not only_cost:
        place.check()
    crew = crew_of(executor, workers, engine, call)
    try:
        made = there
        if made is None:
            with shown(
                progress if isinstance(progress, bool) else False, Sweeping("trying the measures and the pace"), "sweep"
            ):
                made = planned(described, keeping, crew, engine=engine, pack=pack, mixed=mixed, call=call)
            if not only_cost:
                made = _begun(place, made, keeping, overwrite=overwrite, call=call)
        missing = made.missing({*store.receipts(place)} if there is not None else (), chosen)
        cost = Cost(*missing[:2], missing[2] / crew.count(), crew.count(), missing[3], made.least)
        if only_cost:
            crew.close(now=True)
            return cost
        if told is not None and cost.packs:
            told(cost, crew.link)
        _mend(place, made, everything=verify)
        with shown(progress, Sweeping("sweep", link=crew.link), "sweep") as report:
            return Coordinator(place, made, crew, call=call, part=chosen, report=report).run()
    except BaseException as error:
        crew.close(now=True)
        with suppress(OSError, ValueError):
            if plans.read(place, call) is not None:
                same = "the same call without overwrite" if overwrite else "the same call"
                if isinstance(error, SchedulerLostError):
                    same += ", with the address of another scheduler or with none,"
                error.add_note(f"what was made is kept in {place.address!r}, and {same} continues it")
        raise


def _there(place: SweepPlace, *, overwrite: bool, call: str) -> plans.SweepPlan | None:
    """The plan of the sweep that is to be continued; None if there is none, or it is to be replaced."""
    if overwrite and (plan := _read(place)) is not None:
        if SCHEMA.encode() not in plan:
            raise ValueError(f"{call}: {place.address} holds a {PLAN} that is no plan of a sweep, and is not replaced")
        if (working := Claims.alive_at(place)[0]) > 0:
            at_work = f"{working} process{'es' * (working > 1)} of this machine at work on it"
            raise ValueError(f"{call}: the sweep in {place.address} has {at_work}; end that before it is replaced")
        return None
    there = plans.read(place, call)
    if there is None and (foreign := place.first()) is not None:
        raise ValueError(f"{call}: {place.address} holds {foreign}, and a sweep needs a folder of its own")
    return there


def _read(place: SweepPlace) -> bytes | None:
    try:
        return place.read(PLAN)
    except FileNotFoundError:
        return None


def _mend(place: SweepPlace, plan: plans.SweepPlan, *, everything: bool) -> None:
    """Let packs be made again that are in the store, but not as they were written; a warning tells of them."""
    sealed = store.sealed_packs(place) is not None
    written = store.begin(place, plan, everything=everything)
    damaged = list(store.wrong_in(place, everything=everything))
    if damaged:
        store.forget(place, [name for name, _ in damaged])
    wrong = [what for _, what in damaged] + [f"{path} was missing or damaged" for path in written if sealed]
    if wrong:
        others = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        warnings.warn(f"sweep {place.address}: {wrong[0]}{others}; it is made again", stacklevel=4)


def checked(described: Design, keeping: Keeping, engine: EngineName, call: str) -> None:
    """Refuse Specs that cannot be trained, and measures that have the names of what tells them apart.

    Raises:
        ValueError: naming the call.

    """
    for members in plans.grouped(described):
        first = described.specs[members[0]]
        together(first, call)
        one = first.some_runs([0])
        check_training([one], call, engine, 1, kept=True)
    for name in keeping.functions:
        if name in described.coordinates:
            raise ValueError(f"{call}: keep=…: {name} tells the Specs apart; give the measure another name")


def _check_options(engine: Any, pack: int | None, progress: Any, call: str) -> None:
    if engine not in get_args(EngineName):
        raise ValueError(f"{call}: engine={short(engine)}: engine must be 'auto', 'kernel' or 'jax'")
    if pack is not None and pack < 1:
        raise ValueError(f"{call}: pack={pack}: pack must be the number of runs of a pack, at least 1, or None")
    if progress is not None and not isinstance(progress, bool) and not callable(progress):
        rule = "progress must be True, False, or a function to be called"
        raise ValueError(f"{call}: progress={short(progress)}: {rule}")


def _part(part: Any, call: str) -> tuple[int, int] | None:
    if part is None:
        return None
    rule = "part must be (i, k), with i from 0 to below k: which of k parts"
    if not isinstance(part, Sequence) or isinstance(part, str) or len(part) != 2:
        raise ValueError(f"{call}: part={short(part)}: {rule}")
    number, parts = part
    if (
        not all(isinstance(each, int) and not isinstance(each, bool) for each in (number, parts))
        or not 0 <= number < parts
    ):
        raise ValueError(f"{call}: part={short(part)}: {rule}")
    return number, parts


def _continued(
    there: plans.SweepPlan,
    described: Design,
    keeping: Keeping,
    engine: str,
    place: SweepPlace,
    *,
    mixed: bool,
    call: str,
) -> plans.SweepPlan:
    """The plan that is there, with the files of measures where they are now; another sweep is refused."""
    differs = None
    if there.design.to_json() != described.to_json():
        differs = "its Specs are others"
    elif [without_folder(each) for each in there.keep] != [without_folder(each) for each in keeping.to_json()]:
        differs = f"it keeps {short(list(there.keep), 100)}"
    elif there.engine != engine:
        differs = f"it has engine={there.engine!r}"
    elif there.identity.measures != keeping.digest:
        differs = "the code of its measures has changed since it was begun"
    if differs is not None:
        raise ValueError(
            f"{call}: there is another sweep in {place.address}: {differs}; choose another place, or replace it with "
            "overwrite=True (--overwrite)"
        )
    if mixed and not there.mixed:
        rule = "it must be given when a sweep is begun, and this one was begun without"
        raise ValueError(f"{call}: allow_mixed=True: {rule}; overwrite=True (--overwrite) begins it anew")
    return there.with_files(keeping.to_json(), keeping.sources)


def planned(
    described: Design,
    keeping: Keeping,
    crew: Crew,
    *,
    engine: EngineName,
    pack: int | None,
    mixed: bool,
    call: str,
) -> plans.SweepPlan:
    """Plan a sweep, after its workers have tried it.

    Raises:
        DifferentWorkerError: workers differ.
        Exception: whatever a measure raises.

    """
    groups = plans.grouped(described)
    paths = plans.group_paths(described, groups)
    seconds = max(_TRIAL_SECONDS / len(groups), 0.2)
    most = _MOST_TRIED if len(groups) <= 3 else 2
    keep, found = tuple(keeping.to_json()), []
    first = json.dumps(described.specs[0].to_json())
    who, *others = crew.everyone(identified, (json.dumps(keep), keeping.sources, engine, first))
    for each in others:
        check_same(who, each, mixed=mixed)
    for members in groups:
        specs = [described.specs[at] for at in members]
        chosen = probe.trial_specs(specs, min(most, len(specs)))
        told = tuple(specs[at].to_json() for at in chosen)
        trial = probe.PaceTrial(told, keep, keeping.sources, engine, seconds)
        # The first alone, which may have to compile for all.
        answers = [_answered(crew.submit(probe.tried, trial), call)]
        if (others := min(crew.count(), probe.CORES) - 1) > 0:
            again = [crew.submit(probe.tried, trial) for _ in range(others + 1)]
            answers = [_answered(each, call) for each in again]
        for answer in answers:
            check_same(who, answer.identity, mixed=mixed)
        paces = np.median([answer.seconds for answer in answers], axis=0).tolist()
        known = tuple((plans.mean_density(specs[at]), pace) for at, pace in zip(chosen, paces, strict=True))
        found.append((members, specs, known, answers[0]))
    return _with_packs(described, keep, keeping, engine, who, found, paths, pack=pack, mixed=mixed, call=call)


def _answered(trial: Future[probe.Tried], call: str) -> probe.Tried:
    """What a trial has found; an error in it is one of the measures, or of training, and says so."""
    try:
        return trial.result()
    except Exception as error:
        said = " ".join(str(error).split())
        if "its dimension step has the length" in said:
            rule = "whatever keeps the dimension step must be measured at the same snapshots, by the same at or every"
            raise ValueError(f"sweep(keep=…): two measures have different snapshots, and {rule}") from None
        if isinstance(error, ValueError | OSError) and said.startswith(("sweep(", "train(keep=")):
            raise ValueError(f"sweep({said.partition('(')[2]}") from None
        raise ValueError(f"{call}: a trial of a few runs has failed ({said_by(error)})") from error


def _with_packs(
    described: Design,
    keep: tuple[Any, ...],
    keeping: Keeping,
    engine: str,
    who: Identity,
    found: Sequence[tuple[Sequence[int], Sequence[Spec], tuple[tuple[float, float], ...], probe.Tried]],
    paths: Sequence[str],
    *,
    pack: int | None,
    mixed: bool,
    call: str,
) -> plans.SweepPlan:
    paces = [plans.pace(known, np.array(list(map(plans.mean_density, specs)))) for _, specs, known, _ in found]
    total = math.fsum(float(pace.sum()) * specs[0].seeds for pace, (_, specs, _, _) in zip(paces, found, strict=True))
    groups = []
    for path, pace, (members, specs, known, tried) in zip(paths, paces, found, strict=True):
        run_bytes = sum(array.size for array in tried.arrays)
        size = plans.per_pack(len(specs), specs[0].seeds, pace, run_bytes, total, pack)
        layout = Layout(path, len(specs), specs[0].seeds, size, tried.arrays, tried.coordinates)
        groups.append(plans.RunGroup(tuple(members), layout, known, tried.bytes, tried.least))
    plans.check_packs(groups, call)
    return plans.SweepPlan(described, keep, dict(keeping.sources), engine, who, mixed, tuple(groups))


def _begun(
    place: SweepPlace, made: plans.SweepPlan, keeping: Keeping, *, overwrite: bool, call: str
) -> plans.SweepPlan:
    """Write the plan, or take the one that another process has written in the meantime."""
    if overwrite:
        # The manifest first, which says that all is there, and the plan last, which says that this is a sweep.
        place.remove(store.MANIFEST)
        for folder in ("packs", store.DONE, "claims", "failed", store.STORE):
            place.clear(folder)
        place.remove(PLAN)
    if place.create(PLAN, made.content):
        return made
    there = plans.read(place, call)
    assert there is not None
    return _continued(there, made.design, keeping, made.engine, place, mixed=made.mixed, call=call)


@refusing
def open_sweep(out: str | os.PathLike[str]) -> xr.DataTree:
    """Open what there is of a sweep: while it runs, after a crash, or when it is complete.

    Args:
        out: the folder of the sweep, or the address of an object store.

    Returns:
        The tree of Datasets that `sweep` returns; runs that are not there yet have the result "missing".

    Raises:
        ValueError: there is no sweep, or its plan is damaged.
        OSError: it cannot be read.

    Example:
        >>> import tempfile
        >>> import tegum as tg
        >>> spec = tg.Spec(features=[tg.Independent(3, 0.1)], hidden=1, training=tg.Sampled(steps=20), seeds=4)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = tg.sweep(spec, {"density": [0.1, 0.5]}, workers=1, out=f"{folder}/trial.sweep")
        ...     tg.open_sweep(f"{folder}/trial.sweep")["weights"].sizes["spec"]
        2

    """
    call = f"open_sweep({os.fspath(out)!r})"
    return opened(place_at(out, call), call)


def opened(place: SweepPlace, call: str) -> xr.DataTree:
    """The store of a sweep, as it is now.

    Raises:
        ValueError: there is no sweep.

    """
    made = plans.read(place, call)
    if made is None:
        raise ValueError(f"{call}: there is no sweep at {place.address}")
    return store.datatree(place, made)
