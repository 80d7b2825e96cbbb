"""What training takes in memory, on disk and in time, estimated before anything is allocated.

The formulas follow what the engines allocate; measured peaks lie within a factor of two of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple, assert_never

import numpy as np

from tegum.core.features.empirical import Empirical
from tegum.core.limits import (
    check_memory,
    check_time,
    exact_loss_seconds,
    finite_loss_seconds,
    memory_limit,
    readable,
)
from tegum.core.model import activation_named
from tegum.core.threads import available_cores
from tegum.training.phases import phases
from tegum.training.sampled.kernels.tables import drawable, table_bytes
from tegum.training.spec.methods import Exact, Flow, Sampled, Training

if TYPE_CHECKING:
    from tegum.training.spec.spec import Spec

_SEGMENT_BYTES = 2**25
"""Bytes of snapshots that may be taken in one segment of training, which are held in addition to the whole."""

_ENGINES = ("kernel", "jax", "exact", "flow")

_RUN_OVERHEAD = 1000
"""Bytes that each run takes besides its numbers: streams, and the array objects."""


_TEXT_BYTES = 44
"""Bytes of a run's result, and half of those of a kind of set: four for each letter."""


_PIECE_WORK = 2**30
"""Multiplications in each product of a piece: on a CPU a product takes a fraction of a second, uninterruptible."""


def piece_size(batch: int, features: int, hidden: int) -> int:
    """The number of samples of a batch that the JAX engine draws together; pieces are as equal as possible."""
    # Drawing a number takes as long as some sixteen multiplications.
    most = max(_PIECE_WORK // (features * (hidden + 16)), 16)
    return -(-batch // -(-batch // most))


class Sizes(NamedTuple):
    """The bytes that training takes at its peak, by what they are for."""

    snapshots: int
    """The numbers of the recorded steps."""
    trajectory: int
    """All snapshots, and those of a segment in addition."""
    state: int
    """Parameters and optimiser memory of all runs, and copies of both."""
    features: int
    """Moments and tables of the distributions."""
    working: int
    """Working memory of the threads."""


def snapshot_count(spec: Spec) -> int:
    """The number of snapshots of a run, without listing them; an upper bound if they are spaced logarithmically."""
    snapshots, last = spec.snapshots, spec.training.steps
    if snapshots.steps is not None:
        return len({0, last, *snapshots.steps})
    if last == 0:
        return 1
    return min(snapshots.count, last) + 1


def trajectory_bytes(specs: Sequence[Spec]) -> int:
    """The largest size in bytes of a trajectory's arrays, uncompressed, in memory and in a store.

    Logarithmically spaced snapshots count at their upper bound, and texts at the longest.
    """
    first = specs[0]
    runs, n, m = len(specs) * first.seeds, first.features.n, first.hidden
    snapshots, size = snapshot_count(first), np.dtype(first.training.dtype).itemsize
    timed = first.training.time(0) is not None
    each = snapshots * (n * (m + 1) * size + 8 * (1 + timed)) + 8 * (2 + first.training.converges + timed) + _TEXT_BYTES
    # Coordinates: step, seed, hidden; for features number, set, kind, density and importance, perhaps of each step.
    changing = 16 * n * len(specs) * snapshots * any(spec.changed_at for spec in specs)
    return runs * each + 8 * (snapshots + first.seeds + m + 2 * n) + (16 + 2 * _TEXT_BYTES) * n * len(specs) + changing


def training_sizes(specs: Sequence[Spec], engine: str, threads: int) -> Sizes:
    """The memory that training takes at its peak.

    Args:
        specs: the Specs trained together.
        engine: "kernel", "jax", "exact" or "flow".
        threads: the number of threads.

    """
    first = specs[0]
    parameters = len(specs) * first.seeds * first.features.n * (first.hidden + 1)
    whole = trajectory_bytes(specs)
    state, features, working = _of_engine(specs, engine, threads)
    # From one phase to the next there are the tables of both.
    features *= 1 + any(spec.changed_at for spec in specs)
    return Sizes(
        snapshots=48 * snapshot_count(first),
        trajectory=whole + 2 * min(whole, _SEGMENT_BYTES),
        state=_RUN_OVERHEAD * len(specs) * first.seeds
        + state
        + 2 * parameters * np.dtype(first.training.dtype).itemsize,
        features=features,
        working=working,
    )


class TimeEstimate(NamedTuple):
    """An estimate, made beforehand, of how long training takes."""

    seconds: float
    least: bool
    """Whether `seconds` is a lower bound that may be exceeded by far; otherwise it is right within a factor of
    three."""


def training_seconds(specs: Sequence[Spec], engine: str, threads: int) -> TimeEstimate | None:
    """How long training takes, or takes at least; None if nothing is known beforehand.

    Only sampled training does the same work in every step. The other methods evaluate the loss as finely, and as often,
    as the accuracy requires at each point, which differs by factors of a hundred, so that only a lower bound is known.
    Of a JAX device that is not a CPU not even the speed is known.
    """
    first = specs[0]
    training, n, m, runs = first.training, first.features.n, first.hidden, len(specs) * first.seeds
    if not isinstance(training, Sampled):
        seconds, evaluations = 0.0, first.seeds * _evaluations(first)
        for spec in specs:
            if (rows := _population(spec)) is not None:
                seconds += finite_loss_seconds(evaluations, rows.samples, n, m)
            elif activation_named("train", spec.activation).exact == "series":
                seconds += exact_loss_seconds(evaluations, n, m)
            else:
                return None
        return TimeEstimate(seconds / min(threads, runs), least=True)
    # Nanoseconds that a core takes for one feature of one sample, measured where sixteen lanes fill two registers.
    if engine == "kernel":
        sample, step = 0.3 + 0.25 * m, 1e3
    else:
        import jax

        if jax.default_backend() != "cpu":
            return None
        sample, step = 8 + 0.4 * m, 5e4
    recorded = snapshot_count(first) * training.evaluation * 0.4
    run = n * sample * (training.steps * training.batch + recorded) + training.steps * step
    return TimeEstimate(1e-9 * run * runs / min(threads, runs), least=False)


def _population(spec: Spec) -> Empirical | None:
    """The finite population on which a Spec trains that draws no samples; None where moments suffice."""
    found = next((each for each in spec.features.sets if isinstance(each, Empirical)), None)
    return None if activation_named("train", spec.activation).exact == "moments" else found


def _evaluations(spec: Spec) -> int:
    """The least number of evaluations of the exact loss of a run."""
    match spec.training:
        # By the rule, as the engine refuses one that it does not implement, and says so.
        case Exact(rule="adam" | "momentum", steps=steps):
            return steps
        case Flow(steps=steps):
            # A step of the solver between two snapshots has five stages or more.
            return 5 * (snapshot_count(spec) - 1)
        case _:
            return 1


def engine_name(specs: Sequence[Spec], engine: str = "auto") -> str:
    """The name of the engine that trains these Specs: "kernel", "jax", or that of their kind of training.

    Args:
        specs: the Specs trained together.
        engine: the argument of `train`.

    """
    kind = specs[0].training.kind
    if kind != "sampled":
        return kind
    covered = all(drawable(spec.features.sets) for _, some in phases(specs) for spec in some)
    return "kernel" if engine != "jax" and covered else "jax"


def check_training(
    specs: Sequence[Spec],
    call: str,
    engine: str,
    threads: int | None,
    *,
    kept: bool,
    whole: Sequence[Spec] | None = None,
) -> None:
    """Refuse training beyond the limits of memory and time.

    Args:
        specs: the Specs trained together.
        call: "train" or "iterate".
        engine: the argument of that call.
        threads: the argument of that call; invalid values are not refused here.
        kept: whether all snapshots are kept until the end.
        whole: all Specs, where these are the Specs of a chunk of the runs, in memory at one time.

    Raises:
        ValueError: training would take more memory than is available, or longer than the limit on time.

    """
    pool = threads if isinstance(threads, int) and threads > 0 else available_cores()
    kind = engine_name(specs, engine)
    if kind not in _ENGINES:
        return  # The search for an engine reports that there is none.
    sizes = training_sizes(specs, kind, pool)
    if not kept:
        sizes = sizes._replace(trajectory=2 * min(trajectory_bytes(specs), _SEGMENT_BYTES))
    first = specs[0]
    n, m, count = first.features.n, first.hidden, snapshot_count(first)
    runs, model, batch = _words(specs)
    drawn = f" and batches of {first.training.batch:,}" if isinstance(first.training, Sampled) else ""
    messages = {
        "snapshots": (f"snapshots={count - 1}", "the numbers of the snapshots", "fewer snapshots fit"),
        "trajectory": (
            f"seeds={first.seeds}, snapshots={count - 1}",
            f"the trajectory of {runs} with {model}", "fewer snapshots or seeds fit",
        ),
        "state": (f"hidden={m}, seeds={first.seeds}", f"the state of {runs} with {model}", "fewer seeds fit"),
        "features": (
            f"features=[…]{batch}", f"tables for {n:,} features{drawn}",
            f"smaller {'sets or batches fit' if batch else 'sets fit'}",
        ),
        "working": (
            f"features=[…], hidden={m}{batch}", f"the working memory for {model}{drawn}",
            f"a smaller model{' or batch' if batch else ''} fits",
        ),
    }  # fmt: skip
    name = max(messages, key=lambda name: getattr(sizes, name))
    given, what, instead = messages[name]
    total, largest = sum(sizes), getattr(sizes, name)
    if total > largest and largest <= (memory_limit() or 0) < total:
        what, largest = f"{what} ({readable(largest)}) and everything else that training needs", total
    check_memory(f"{call}(Spec({given}))", what, largest, instead)
    # `iterate` can be left at any time.
    if kept:
        _check_seconds(whole or specs, call, kind, pool)


def _check_seconds(specs: Sequence[Spec], call: str, kind: str, threads: int) -> None:
    """Refuse training beyond the limit on time."""
    # JAX may have a device that is faster by any factor.
    if kind == "jax" or (estimate := training_seconds(specs, kind, threads)) is None:
        return
    first, (runs, model, batch) = specs[0], _words(specs)
    training, count = first.training, snapshot_count(first)
    given, instead = f"training.steps={training.steps}{batch}", "fewer steps or seeds take less"
    if isinstance(training, Flow):
        given, instead = f"snapshots={count - 1}", "fewer snapshots or seeds take less"
    elif isinstance(training, Sampled) and count * training.evaluation > training.steps * training.batch:
        given = f"training.evaluation={training.evaluation}, snapshots={count - 1}"
        instead = "a smaller evaluation sample, fewer snapshots or fewer seeds take less"
    call = f"{call}(Spec({given}, seeds={first.seeds}))"
    check_time(call, f"training {runs} with {model}", estimate.seconds, instead, least=estimate.least)


def _words(specs: Sequence[Spec]) -> tuple[str, str, str]:
    """The number of runs, the size of the model, and the batch, as sentences name them."""
    first, n, m = specs[0], specs[0].features.n, specs[0].hidden
    runs = f"{len(specs)} × {first.seeds:,} runs" if len(specs) > 1 else f"{first.seeds:,} run{'s' * (first.seeds > 1)}"
    batch = f", training.batch={first.training.batch}" if isinstance(first.training, Sampled) else ""
    return runs, f"{n:,} features in {m:,} dimension{'s' * (m > 1)}", batch


def _of_engine(specs: Sequence[Spec], engine: str, threads: int) -> tuple[int, int, int]:
    """Bytes of the state (without recorded snapshots), of the features, and of working memory."""
    first = specs[0]
    training, runs, n, m = first.training, len(specs) * first.seeds, first.features.n, first.hidden
    p = n * (m + 1)
    sets = [each for spec in specs for each in spec.features.sets]
    tables = sum(each.table_size for each in sets)
    match engine:
        case "kernel":
            batch = getattr(training, "batch", 1)
            # The gradient of each parameter has a number for each lane of a register, sixteen at most.
            width = 16 * min(max(512 // (n + 4), 8), 64)
            block = width * (2 * (n + 4) + 4 * (m + 16)) + 0.2 * width * n
            of_thread = 4 * ((16 + 4) * (n + 4) * (m + 1) + (n + 4) * (m + 16)) + int(4 * block)
            counts = 16 * len(specs) * batch + 56 * batch * (n <= 32)
            return 20 * runs * p, table_bytes(sets) + counts, min(threads, runs) * of_thread
        case "jax":
            batch, evaluation = getattr(training, "batch", 1), getattr(training, "evaluation", 1)
            of_thread = 4 * (piece_size(batch, n, m) * (8 * n + 4 * m) + 2 * -(-evaluation // batch) + 16 * p)
            return 24 * runs * p, 24 * tables, min(threads, runs) * of_thread
        case "exact" | "flow":
            return _without_samples(specs, engine, threads)
        case _:
            raise ValueError(f"training_sizes(engine={engine!r}): engine must be one of {_ENGINES}")


def _without_samples(specs: Sequence[Spec], engine: Literal["exact", "flow"], threads: int) -> tuple[int, int, int]:
    """`_of_engine` of those that train on the population loss."""
    first = specs[0]
    training, runs, n, m = first.training, len(specs) * first.seeds, first.features.n, first.hidden
    p = n * (m + 1)
    # The length of a run's column in the tables of the exact loss; sets of dependent features have covariances, too.
    rows = 4 * n + max(
        sum(
            each.table_size + (each.features**2 if each.table_size != each.features else 0)
            for each in spec.features.sets
        )
        for spec in specs
    )
    listed, of_rows, finite = 0, 0, all(_population(spec) is not None for spec in specs)
    if populations := {each.digest: each for each in map(_population, specs) if each is not None}:
        from tegum.core.population.kernel.rows import room_for_rows

        # Where each value is and what it is, where each block of rows begins; and the rows that are made dense.
        listed = sum(12 * round(each.samples * each.active().sum()) + each.samples for each in populations.values())
        listed += 2**25
        of_rows = 8 * (room_for_rows(n, m) + 3 * p)
    if engine == "exact":
        pairs = _pairs(training, p)
        state, vectors = 32 * runs * (pairs + 1) * p, 64 * (10 * p + 2 * pairs * p) + 2 * of_rows
        if finite:
            return state, listed + 24 * runs * n, min(threads, runs) * (vectors + 64 * 60 * n)
        of_thread = vectors + 64 * (3 * n * (n + 1) + 50 * n + 2 * rows)
        return state, listed + 32 * n * n + 24 * runs * rows, min(threads, -(-runs // 32)) * of_thread
    newton = _newton(training, p)
    if finite:
        return 40 * runs * newton, listed, min(threads, runs) * (8 * (12 * p + 6 * newton) + of_rows)
    of_thread = 64 * (12 * p + n * (n + 50) + 3 * newton + 2 * rows) + of_rows
    return 40 * runs * newton, listed + 48 * n * n + 8 * runs * rows, min(threads, -(-runs // 8)) * of_thread


def _pairs(training: Training, p: int) -> int:
    """The number of pairs of parameter-sized vectors that exact training keeps per run."""
    if not isinstance(training, Exact):
        return 1
    match training.rule:
        case "lbfgs":
            return 20 if p <= 256 else 10
        case _:
            return 1  # the engine refuses a rule that it does not implement


def _newton(training: Training, p: int) -> int:
    """The numbers that gradient flow keeps of a run's Hessian."""
    if not isinstance(training, Flow):
        return 1
    match solver := training.solver:
        case "implicit":
            return p * (p + 1)
        case "explicit":
            return 1
        case _:
            assert_never(solver)
