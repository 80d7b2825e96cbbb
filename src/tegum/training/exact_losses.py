"""The exact loss along a trajectory, however it was trained."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped

from tegum.core.arguments import refusing
from tegum.core.features.distribution import FeatureDistribution
from tegum.core.loss.population import population_loss
from tegum.core.threads import available_cores
from tegum.data.schema import described_by, leading
from tegum.progress.showing import shown
from tegum.progress.tasks import Counts
from tegum.training.spec.changes import phases, read_dated
from tegum.training.spec.methods import Training

if TYPE_CHECKING:
    import xarray as xr

_SNAPSHOTS_AT_ONCE = 4096
"""The number of snapshots between two reports of progress."""


@refusing
def population_loss_along(
    run: xr.Dataset,
    *,
    tol: float = 1e-8,
    threads: int | None = None,
    progress: bool | Callable[[int, int], None] | None = True,
) -> xr.DataArray:
    """Compute the exact population loss of every snapshot of a trajectory, free of the noise of an evaluation sample.

    Where the Spec changes its features during training, it is at each step the loss of those then in force.

    Args:
        run: a trajectory with its Spec in the attribute `spec`; one run or one snapshot of it will do.
        tol: the largest permissible error of a loss.
        threads: the number of CPU threads; None is all cores.
        progress: whether to show progress, as in `train`; or a function that is called with the number of snapshots
            done and of all snapshots.

    Returns:
        Losses, shaped like `run.loss`, named "population_loss", float64; NaN where the run had diverged or was not
        recorded.

    Raises:
        ValueError: there is no Spec, a set of its features has no characteristic function, `threads` is not a
            positive int, or `tol` is not a positive number or cannot be reached.

    Example:
        The exact loss at a start without weights is the sum of the features' second moments, 3 · 0.1/3.

        >>> import tegum as tg
        >>> import numpy as np
        >>> spec = tg.Spec(
        ...     features=[tg.Independent(3, 0.1)], hidden=1, start=np.zeros((3, 1)), training=tg.Sampled(steps=1)
        ... )
        >>> round(float(tg.population_loss_along(tg.train(spec)).isel(seed=0, step=0)), 8)
        0.1

    """
    call = "population_loss_along(run)"
    if isinstance(tol, bool) or not isinstance(tol, float | int | np.floating | np.integer) or not 0 < tol < np.inf:
        raise ValueError(f"population_loss_along(tol={tol!r}): tol must be a positive finite number")
    if threads is not None and (isinstance(threads, bool) or not isinstance(threads, int | np.integer) or threads < 1):
        raise ValueError(
            f"population_loss_along(threads={threads!r}): threads must be an int of at least 1, or None for all cores"
        )
    models = models_of(run, call)
    w, b = models.weights, models.bias
    loss, total = np.full(b.shape[:2], np.nan), b.shape[0] * b.shape[1]
    with shown(progress, Counts("population loss", "snapshots"), "population_loss_along") as report:
        for number, of, some, done in models.pieces(_SNAPSHOTS_AT_ONCE):
            loss[number, some] = population_loss(
                w[number, some], b[number, some], of.features,
                tol=float(tol), activation=of.activation, threads=int(threads or available_cores()),
            )  # fmt: skip
            report(done, total)
    attrs = {"long_name": "population loss, summed over features", "units": "1", "tol": float(tol)}
    return models.shaped(loss, "population_loss", attrs)


class Described(NamedTuple):
    """The part of a Spec that determines the losses of its runs, as long as nothing changes."""

    features: FeatureDistribution
    """The feature distribution."""
    activation: Any
    """The activation of the model's output."""
    training: Any
    """The way of training, as in the JSON form of a Spec."""


class _Phases(NamedTuple):
    """A Spec as it changes: what is in force from which step on."""

    begins: list[int]
    """The first steps of the phases; the first of all is 0."""
    described: list[Described]
    """What is in force in each."""


@dataclass(frozen=True)
class Models:
    """All models of a trajectory, Spec by Spec."""

    phases: list[_Phases]
    """What each Spec says about losses."""
    weights: Shaped[np.ndarray, "spec model feature hidden"]
    """The weights W of every model, shape (spec, model, n, m)."""
    bias: Shaped[np.ndarray, "spec model feature"]
    """The biases b of every model, shape (spec, model, n)."""
    step: Int[np.ndarray, "spec model"] | None
    """The step of every model; None if it does not matter, as nothing changes."""
    like: xr.DataArray
    """The bias as it is laid out in the trajectory, with the dimensions of several Specs first."""

    @property
    def specs(self) -> list[Described]:
        """What the Specs say about losses at the models at hand, each only once in a row."""
        return [of for number in range(len(self.phases)) for of, _ in self._parts(number)]

    def finite(self, spec: int) -> list[tuple[Described, Int[np.ndarray, " model"]]]:
        """The models of a Spec whose parameters are finite, by what is in force."""
        finite = np.isfinite(self.weights[spec]).all((1, 2)) & np.isfinite(self.bias[spec]).all(1)
        return [(of, some[finite[some]]) for of, some in self._parts(spec)]

    def pieces(self, most: int) -> Iterator[tuple[int, Described, Int[np.ndarray, " model"], int]]:
        """All models with finite parameters, in pieces of at most so many.

        Yields:
            The number of the Spec, what is in force, the models, and how many models are then done, of all.

        """
        for number in range(len(self.phases)):
            done = number * self.bias.shape[1]
            for of, finite in self.finite(number):
                for start in range(0, len(finite), most):
                    some = finite[start : start + most]
                    done += len(some)
                    yield number, of, some, done

    def _parts(self, spec: int) -> Iterator[tuple[Described, Int[np.ndarray, " model"]]]:
        begins, described = self.phases[spec]
        if self.step is None:
            yield described[0], np.arange(self.bias.shape[1])
            return
        phase = np.searchsorted(begins, self.step[spec], side="right") - 1
        for each in np.unique(phase).tolist():
            yield described[each], np.flatnonzero(phase == each)

    def shaped(self, values: Float[np.ndarray, "spec model"], name: str, attrs: dict[str, Any]) -> xr.DataArray:
        """One number for each model, with the dimensions of the trajectory."""
        array = self.like.isel(feature=0, drop=True).copy(data=values.reshape(self.like.shape[:-1])).rename(name)
        array.attrs = attrs
        return array


def models_of(run: xr.Dataset, call: str) -> Models:
    """The models of a trajectory, of one run or of one snapshot of it, with what their Specs say about the loss.

    Raises:
        ValueError: naming `call`: weights, bias or Spec are missing, or do not fit each other.

    """
    if not hasattr(run, "variables"):
        raise ValueError(f"{call}: run must be a trajectory, an xarray.Dataset, not {type(run).__name__}")
    for name, last in (("weights", ("feature", "hidden")), ("bias", ("feature",))):
        if name not in run.variables or run[name].dims[-len(last) :] != last:
            raise ValueError(
                f"{call}: run must have the variable {name}, with {' and '.join(last)} as its last dimensions"
            )
    specs = _phases_of(run, call)
    weights, bias = run["weights"], run["bias"]
    if "feature" in run.coords and (run["feature"].values != np.arange(run.sizes["feature"])).any():
        raise ValueError(
            f"{call}: its features are not those of the Spec in its order; evaluate the whole, then select"
        )
    if set(weights.dims[:-2]) != set(bias.dims[:-1]):
        raise ValueError(f"{call}: weights has the dimensions {weights.dims} and bias {bias.dims}, which must agree")
    weights = weights.transpose(*bias.dims, "hidden")
    lead = [dim for dim in leading(run) if dim in bias.dims]
    weights, bias = weights.transpose(*lead, ...), bias.transpose(*lead, ...)
    if len(specs) != (count := math.prod(bias.sizes[dim] for dim in lead)):
        raise ValueError(
            f"{call}: it holds runs of {count} of its {len(specs)} Specs; evaluate the whole trajectory, then select"
        )
    for each in specs:
        if (n := each.described[0].features.n) != weights.sizes["feature"]:
            raise ValueError(f"{call}: weights has {weights.sizes['feature']} features, where its Spec has n = {n}")
    steps = _steps(run, bias, specs, call)
    _check_order(run, specs, call)
    w = weights.values.reshape(len(specs), -1, *weights.shape[-2:])
    return Models(specs, w, bias.values.reshape(len(specs), -1, bias.shape[-1]), steps, bias)


def _steps(
    run: xr.Dataset, bias: xr.DataArray, specs: Sequence[_Phases], call: str
) -> Int[np.ndarray, "spec model"] | None:
    """The step of each model, or None where all Specs stay as they are.

    Raises:
        ValueError: the steps are not known, and a Spec changes.

    """
    if all(len(each.begins) == 1 for each in specs):
        return None
    if "step" not in run.coords:
        raise ValueError(
            f"{call}: the coordinate step is missing, and its Spec has changes, so that the features depend on it"
        )
    of_each = run["step"].broadcast_like(bias.isel(feature=0, drop=True)).transpose(*bias.dims[:-1])
    return of_each.values.reshape(len(specs), -1)


def _check_order(run: xr.Dataset, specs: Sequence[_Phases], call: str) -> None:
    """Refuse features in another order than their Spec's, as their densities and importances show."""
    for name in ("density", "importance"):
        if name not in run.coords or run[name].dims[-1:] != ("feature",):
            continue
        held = _of_each_spec(run[name], run, len(specs))
        steps = _of_each_spec(run["step"], run, len(specs)) if "step" in run.coords else None
        for number, (mine, each) in enumerate(zip(held, specs, strict=True)):
            try:
                theirs = _in_force(each, name, None if steps is None else np.asarray(steps[number]))
            except ValueError:  # Activations that this process does not have: code that needs them says so.
                continue
            if not (mine == theirs).all():
                rule = "its features are in another order than in the Spec, or are others"
                raise ValueError(f"{call}: {name} is not that of its Spec: {rule}; evaluate the whole, then select")


def _of_each_spec(array: xr.DataArray, run: xr.Dataset, specs: int) -> np.ndarray:
    """The values of a coordinate for each Spec."""
    lead = [dim for dim in leading(run) if dim in array.dims]
    values = array.transpose(*lead, ...).values
    if lead:
        return values.reshape(specs, *values.shape[len(lead) :])
    return np.broadcast_to(values, (specs, *values.shape))


def _in_force(phases: _Phases, name: str, steps: Int[np.ndarray, "*step"] | None) -> Float[np.ndarray, "*step feature"]:
    """A property of the features of a Spec at these steps, or as it always is."""
    of_each = np.stack([getattr(each.features, name) for each in phases.described])
    if steps is None:
        return of_each[0]
    return of_each[np.searchsorted(phases.begins, steps, side="right") - 1]


def _phases_of(run: xr.Dataset, call: str) -> list[_Phases]:
    """What each Spec says about the loss, in the order of the runs, which may have been selected and sorted since."""
    described = _described(run, call)
    which = described_by(run, call)
    return described if which is None else [described[each] for each in which]


def _described(run: xr.Dataset, call: str) -> list[_Phases]:
    if "spec" not in run.attrs:
        raise ValueError(f"{call}: the attribute 'spec' is missing, which holds the feature distribution")
    try:
        described = json.loads(run.attrs["spec"])
        return list(map(_of_one, described if isinstance(described, list) else [described]))
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError):
        raise ValueError(f"{call}: the attribute 'spec' must be a Spec as JSON") from None


def _of_one(each: dict[str, Any]) -> _Phases:
    """The phases of a Spec from its JSON form, in which only the features must be given."""
    features, training = FeatureDistribution(each["features"]), each.get("training", {})
    activation = each.get("activation", "relu")
    if not each.get("changes"):
        return _Phases([0], [Described(features, activation, training)])
    found = phases(features, Training.of(training), read_dated(each["changes"]))
    # A change of the rate alone leaves the loss as it is.
    kept = [found[0], *(one for before, one in itertools.pairwise(found) if one[1] != before[1])]
    return _Phases([step for step, _, _ in kept], [Described(sets, activation, training) for _, sets, _ in kept])
