"""Comparing losses: the error of a recorded loss, the best known loss of a trajectory, and the best of many runs.

In sampled training the recorded loss is a mean over an evaluation sample, and therefore has a standard error.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float, Int, Shaped

from tegum.core.description import nearest, short
from tegum.core.features.empirical import Empirical
from tegum.core.limits import duration
from tegum.core.loss.population import population_loss
from tegum.core.loss.sample_spread import SAMPLES, standard_deviations
from tegum.core.threads import available_cores
from tegum.data.schema import brief, leading
from tegum.progress.showing import shown
from tegum.progress.tasks import Counts
from tegum.training.exact_losses import Described, Models, models_of, population_loss_along
from tegum.training.spec.methods import Training

if TYPE_CHECKING:
    import xarray as xr

_MODELS_AT_ONCE = 512
"""The most models between two reports of progress."""

_ERRORS = 64
"""The number of standard errors computed where a loss is shown; the others are interpolated in the loss."""

_TRIAL_SHARE = 0.1
"""After this share of the time allowed, the pace shows whether the time is enough."""

_TOL = 1e-8
"""The largest error of an exact loss; for a loss above `_WILD`, the largest relative error."""

_WILD = 1e3
"""A run with a larger loss is about to diverge."""


def loss_error(run: xr.Dataset, *, progress: bool | Callable[[int, int], None] | None = True) -> xr.DataArray:
    """Estimate the standard error of the recorded loss of every snapshot.

    It is the standard deviation of the loss of one sample, divided by the square root of the number of samples in
    the evaluation sample. The deviation is estimated afterwards from 16,384 fixed samples with at least one active
    feature, so that it is accurate to a few per cent in sparse distributions as well. For each snapshot this takes
    about as long as training on 16,384 samples: select the snapshots that are needed, as in
    `loss_error(run.isel(step=[-1]))`.

    Runs of one base seed share an evaluation sample, so that their errors are not independent: the mean over runs is
    hardly more accurate than one of them. In older trajectories each run has an evaluation sample of its own; the
    error of a run is the same.

    Args:
        run: a trajectory with its Spec in the attribute `spec`; one run or one snapshot of it will do.
        progress: whether to show progress, as in `train`; or a function that is called with the number of snapshots
            done and of all snapshots.

    Returns:
        Standard errors, shaped like `run.loss`, named "loss_error", float64; NaN where the run had diverged or was
        not recorded, and 0 for runs trained on the exact loss.

    Raises:
        ValueError: there is no Spec, or samples of its features cannot be drawn.

    Example:
        >>> import tegum as tg
        >>> spec = tg.Spec(features=[tg.Independent(3, 0.1)], hidden=1, training=tg.Sampled(steps=5), seeds=2)
        >>> error = tg.loss_error(tg.train(spec).isel(step=[-1]))
        >>> error.dims, bool((error > 0).all())
        (('seed', 'step'), True)

    """
    call = "loss_error(run)"
    models = models_of(run, call)
    found = np.full(models.bias.shape[:2], np.nan)
    for of in models.specs:
        _samples(of, call)
    with shown(progress, Counts("errors of the loss", "snapshots"), "loss_error") as report:
        for number, of, some, done in models.pieces(_MODELS_AT_ONCE):
            samples = _samples(of, call)
            found[number, some] = 0.0 if samples is None else _errors(models, number, of, some, samples)
            report(done, found.size)
    return models.shaped(found, "loss_error", {"long_name": "standard error of the recorded loss", "units": "1"})


def best(
    run: xr.Dataset,
    by: Literal["population_loss", "loss"] | xr.DataArray = "population_loss",
    *,
    tol: float = _TOL,
    progress: bool | Callable[[int, int], None] | None = True,
) -> xr.Dataset:
    """Select the run with the lowest loss at the last step of a trajectory, for each Spec.

    By default the exact losses are compared. Recorded losses rank runs badly: runs that ended in mirror images of
    one state have different errors, which are often larger than the differences between states.

    Args:
        run: a trajectory with several runs. To choose at an earlier step, cut it first: `best(run.isel(step=slice(0,
            10)))`.
        by: "population_loss" for the exact loss; "loss" for the recorded one, which is off by about
            `loss_error(run)`; or a DataArray whose lowest value is best, with the dims `seed` (and those of
            several Specs, and `step`, of which the last is taken).
        tol: the largest permissible error of an exact loss.
        progress: whether to show progress, as in `train`; or a function that is called with the number of exact
            losses computed and of all of them.

    Returns:
        The best run as it is in the trajectory, without the dimension `seed`, whose coordinate holds its number;
        with several Specs the best run of each. Added are the variables `best_value`, the value it was chosen by,
        `runs_compared`, and `runs_left_out`: runs that diverged at some step, or have no finite value. Of runs with
        equal values the first is chosen. As a trajectory that can be saved the run is
        `run.sel(seed=[int(best(run).seed)])`.

    Raises:
        ValueError: there is no dimension `seed`, every run (of a Spec) diverged, `by` is none of these, or there is no
            exact loss, for the reason that the sentence gives.

    Example:
        Of a model of zeros and a perfect embedding of one feature of two, the latter loses only the other's 0.1.

        >>> import tegum as tg
        >>> start = [[[0.0], [0.0]], [[1.0], [0.0]]]
        >>> spec = tg.Spec(
        ...     features=[tg.Independent(2, 0.3)], hidden=1, start=start, training=tg.Sampled(steps=0), seeds=2
        ... )
        >>> best = tg.best(tg.train(spec))
        >>> int(best.seed), round(float(best.best_value), 6)
        (1, 0.1)

    """
    import xarray as xr

    call = "best(run)"
    if not isinstance(run, xr.Dataset) or not {"weights", "bias"} <= set(run.variables):
        raise ValueError(f"best({brief(run)}): run must be a tegum trajectory, with weights and bias")
    if "seed" not in run["bias"].dims or not run.sizes["seed"]:
        raise ValueError(f"{call}: there must be several runs to choose from, along a dimension seed")
    if "step" in run.dims and not run.sizes["step"]:
        raise ValueError(f"{call}: there must be a snapshot to choose by")
    last = run.isel(step=-1) if "step" in run.dims else run
    lead = [dim for dim in (*leading(run), "seed") if dim in last["bias"].dims]
    values = _compared(last, by, lead, tol, progress).astype(np.float64)
    counted = np.isfinite(values)
    if "result" in run.variables:
        counted &= run["result"].transpose(*lead).values != "diverged"
    values, count = np.where(counted, values, np.inf), counted.sum(-1)
    if not count.all():
        which = f" of Spec {int(np.argmin(count))}" if len(lead) > 1 else ""
        raise ValueError(
            f"{call}: all {values.shape[-1]} runs{which} diverged or have no finite value, so there is none to choose"
        )
    dims, at = lead[:-1], values.argmin(-1)
    places = {dim: xr.Variable((dim,), np.arange(last.sizes[dim])) for dim in dims}
    chosen = run.isel({"seed": xr.Variable(dims, at), **places})
    what = by if isinstance(by, str) else str(by.name or "value given")
    return chosen.assign_coords({} if "seed" in run.coords else {"seed": (dims, at)}).assign(
        best_value=(dims, values.min(-1), {"long_name": f"{what} at the last step", "units": "1"}),
        runs_compared=(dims, count, {"long_name": "runs the best was chosen from", "units": "run"}),
        runs_left_out=(
            dims,
            values.shape[-1] - count,
            {"long_name": "runs that diverged or have no finite value", "units": "run"},
        ),
    )


@dataclass(frozen=True)
class KnownLoss:
    """The loss of a trajectory in the form in which it can be shown: exact if that is quick, otherwise recorded."""

    loss: xr.DataArray
    """The loss of every snapshot, shaped like the recorded one and summed over features."""
    error: xr.DataArray | None
    """A bound on the error of an exact loss, or the standard error of a recorded one; None if it is not known."""
    exact: bool
    """Whether the loss is the exact one."""
    note: str
    """If the loss is not exact, a sentence that says how it was recorded and why it is not exact."""

    @property
    def name(self) -> str:
        """The name of the loss, for labels."""
        return "exact loss" if self.exact else "recorded loss"


def known_loss(
    run: xr.Dataset, *, seconds: float = 5.0, progress: bool | Callable[[int, int], None] | None = True
) -> KnownLoss:
    """Compute the exact loss of every snapshot if that takes at most `seconds`, otherwise return the recorded loss.

    The recorded loss comes with its standard error, estimated for at most 64 snapshots and interpolated in the loss
    for the others.

    Args:
        run: a trajectory with its loss, or one run or one snapshot of it, possibly without a Spec.
        seconds: about how long it may take.
        progress: whether to show progress, as in `train`; or a function that is called with the number of exact
            losses computed and of all of them.

    Returns:
        The loss, its error, and whether it is exact.

    """
    call, recorded = "known_loss(run)", run["loss"]
    try:
        models = models_of(run, call)
        samples = [_samples(of, call) for of in models.specs]
    except ValueError as error:
        return KnownLoss(recorded, None, False, f"its error is not known: {_reason(error)}")
    if set(models.like.dims[:-1]) != set(recorded.dims):
        return KnownLoss(recorded, None, False, "its error is not known: loss and bias have different dimensions")
    if all(each is None for each in samples):
        return KnownLoss(recorded, None, True, "")
    losses = recorded.transpose(*models.like.dims[:-1]).values.reshape(models.bias.shape[:2])
    try:
        with shown(progress, Counts("exact loss", "snapshots"), "known_loss") as report:
            exact = _exact(models, losses, seconds, report)
    except (ValueError, MemoryError) as error:
        exact = _reason(error)
    if not isinstance(exact, str):
        values, errors = (
            models.shaped(each, name, {"long_name": "population loss, summed over features", "units": "1"})
            for each, name in zip(exact, ("population_loss", "population_loss_error"), strict=True)
        )
        return KnownLoss(values.transpose(*recorded.dims), errors.transpose(*recorded.dims), True, "")
    count = " or ".join(f"{each:,}" for each in dict.fromkeys(samples) if each is not None)
    try:
        errors = _few_errors(models, losses, seconds, call)
    except (ValueError, MemoryError) as error:
        errors, exact = None, _reason(error)
    if errors is None:
        note = f"recorded on {count} samples; neither its error nor the exact loss is shown: {exact}"
        return KnownLoss(recorded, None, False, note)
    error = models.shaped(errors, "loss_error", {}).transpose(*recorded.dims)
    note = f"recorded on {count} samples, ± its standard error; the exact loss is not shown: {exact}"
    return KnownLoss(recorded, error, False, note)


def recorded_on(run: xr.Dataset) -> str:
    """Say, in a sentence for a caption, on how many samples a run's loss was recorded, and its error at the end.

    Args:
        run: one run of a trajectory with its Spec.

    Returns:
        The sentence; empty for a run that was trained on the exact loss, or that does not say what was trained.

    """
    last = run.isel(step=-1)
    try:
        samples = {_samples(of, "recorded_on(run)") for of in models_of(last, "recorded_on(run)").specs}
        if None in samples:
            return ""
        error = float(loss_error(last, progress=False))
    except ValueError:
        return ""
    count = " or ".join(f"{each:,}" for each in samples)
    return (
        f"The loss is recorded on {count} samples, the same at every step, and off by about {error:.1g} (its standard "
        "error at the end); its changes are far more precise."
    )


def _compared(
    last: xr.Dataset, by: Any, lead: Sequence[str], tol: float, progress: Any
) -> Shaped[np.ndarray, "*spec seed"]:
    """The values by which runs are compared, one for each."""
    import xarray as xr

    match by:
        case str("population_loss"):
            try:
                return population_loss_along(last, tol=tol, progress=progress).transpose(*lead).values
            except ValueError as error:
                if str(error).startswith(("population_loss_along(tol=", "population_loss_along(progress=")):
                    raise ValueError(str(error).replace("population_loss_along", "best", 1)) from None
                raise ValueError(
                    f"best(run): there is no exact loss to choose by ({_reason(error)}); "
                    'best(run, by="loss") chooses by the recorded one, which is off by about loss_error(run)'
                ) from None
        case str("loss"):
            if "loss" not in last.variables:
                raise ValueError('best(run, by="loss"): run must have the variable loss, as in a tegum trajectory')
            values = last["loss"]
        case xr.DataArray():
            values = by.isel(step=-1) if "step" in by.dims else by
        case str():
            raise ValueError(f"best(run, by={by!r}): there is no such loss; {nearest(by, _NAMES)}")
        case _:
            raise ValueError(
                f"best(run, by={brief(by)}): by must be 'population_loss', 'loss' or a DataArray with a value for "
                "each run"
            )
    sizes = {dim: last.sizes[dim] for dim in lead}
    if dict(values.sizes) != sizes or values.dtype.kind not in "iuf":
        raise ValueError(
            f"best(run, by={values.dtype} DataArray with sizes {dict(values.sizes)}): by must hold numbers with the "
            f"sizes {sizes}, one for each run"
        )
    if "seed" in values.coords and "seed" in last.coords and (values["seed"].values != last["seed"].values).any():
        raise ValueError("best(run, by=…): the numbers of its runs, along seed, must be those of the trajectory")
    return values.transpose(*lead).values


_NAMES = ("population_loss", "loss")


def _samples(of: Described, call: str) -> int | None:
    """The number of samples over which the recorded loss of a Spec is a mean."""
    try:
        return Training.of(of.training).samples_evaluated
    except ValueError as error:
        raise ValueError(
            f"{call}: the attribute 'spec' has the training {short(of.training)}, which is not valid: {error}"
        ) from None


def _errors(models: Models, spec: int, of: Described, some: np.ndarray, samples: int) -> Float[np.ndarray, " model"]:
    spread = standard_deviations(models.weights[spec, some], models.bias[spec, some], of.features, of.activation)
    return spread / np.sqrt(samples)


def _few_errors(
    models: Models, losses: Float[np.ndarray, "spec model"], seconds: float, call: str
) -> Float[np.ndarray, "spec model"] | None:
    """Standard errors, most of them interpolated in the loss; None if the time is not enough for any."""
    found = np.full(losses.shape, np.nan)
    n, m = models.weights.shape[2:]
    parts = [(number, *part) for number in range(len(losses)) for part in models.finite(number)]
    affordable = min(_ERRORS, int(seconds * _OPERATIONS / (4 * SAMPLES * n * m))) // max(len(parts), 1)
    if affordable < 1:
        return None
    for number, of, models_of_it in parts:
        finite = models_of_it[np.isfinite(losses[number, models_of_it])]
        if (count := _samples(of, call)) is None or not len(finite):
            continue
        order = finite[np.argsort(losses[number, finite], kind="stable")]
        some = order[np.unique(np.rint(np.linspace(0, len(order) - 1, affordable)).astype(int))]
        own = _errors(models, number, of, some, count)
        found[number, order] = np.interp(losses[number, order], losses[number, some], own)
    return found


_OPERATIONS = 2e9
"""A conservative number of multiplications per second."""


def _exact(
    models: Models,
    losses: Float[np.ndarray, "spec model"],
    seconds: float,
    report: Callable[[int, int], None],
) -> tuple[Float[np.ndarray, "spec model"], Float[np.ndarray, "spec model"]] | str:
    """The exact losses and bounds on their errors, or a sentence that they would take too long.

    Raises:
        ValueError: there is no exact loss.

    """
    parts = [(number, *part) for number in range(len(losses)) for part in models.finite(number)]
    total, threads = sum(len(finite) for _, _, finite in parts), available_cores()
    too_long = f"it would take about {{}} to compute for {total:,} snapshots; tg.population_loss_along(run) does it"
    guess = sum(len(finite) * _seconds(of, models) for _, of, finite in parts) / threads
    if guess > 10 * seconds:
        return too_long.format(duration(guess))
    found = np.full((2, *losses.shape), np.nan)
    done, first, begin, pace = 0, 0, 0.0, np.inf

    def portions(spec: int, finite: Int[np.ndarray, " finite"]) -> Iterator[Int[np.ndarray, " model"]]:
        wild = losses[spec, finite] > _WILD
        calm, start = finite[~wild], 0
        while start < len(calm):
            size = int(min(_MODELS_AT_ONCE, max(1, _TRIAL_SHARE * seconds / pace)))
            yield calm[start : start + size]
            start += size
        # Before a run diverges its loss is large, and its tolerance relative, so each of these goes alone.
        yield from finite[wild][:, None]

    for number, of, finite in parts:
        for some in portions(number, finite):
            found[:, number, some] = population_loss(
                models.weights[number, some].astype(np.float64),
                models.bias[number, some].astype(np.float64),
                of.features,
                tol=_TOL * (float(losses[number, some[0]]) if losses[number, some[0]] > _WILD else 1.0),
                activation=of.activation,
                with_error=True,
                threads=threads,
            )
            done += len(some)
            if not first:
                # The first portion is not timed, as it may include compilation.
                first, begin = done, time.monotonic()
            else:
                taken = time.monotonic() - begin
                pace = max(taken, 1e-6) / (done - first)
                if taken > _TRIAL_SHARE * seconds and pace * total > seconds:
                    return too_long.format(duration(pace * total))
            report(done, total)
    return found[0], found[1]


def _seconds(of: Described, models: Models) -> float:
    """The seconds that one exact loss takes on one core, to within a factor of ten."""
    n, m = models.weights.shape[2:]
    rows = [each.samples for each in of.features.sets if isinstance(each, Empirical)]
    if rows:
        return 4 * sum(rows) * n * m / _OPERATIONS
    # Measured: 0.1 ms with 6 features, 6 ms with 40, and 4 s with 400.
    return 6e-8 * n**3 + 1e-4


def _reason(error: Exception) -> str:
    """The message of an error, without a call that the user has not made."""
    text = str(error)
    for call in ("known_loss(run): ", "population_loss_along(run): "):
        text = text.removeprefix(call)
    return text
