"""Models trained in PyTorch as a trajectory, which everything in tegum can read."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tegum.core.arguments import is_integer, is_number
from tegum.core.description import short
from tegum.core.loss.empirical import empirical_loss
from tegum.core.loss.population import population_loss
from tegum.data.schema import trajectory
from tegum.torch.model import ToyModel, parameter_arrays
from tegum.training.dataset import at_steps, provenance, version_of
from tegum.training.spec.spec import Spec

if TYPE_CHECKING:
    import xarray as xr


def to_run(
    models: ToyModel | Mapping[int, ToyModel | Mapping[str, Any]], spec: Spec, *, wall_time_s: float | None = None
) -> xr.Dataset:
    """Arrange models that PyTorch trained as a trajectory, as `tg.train` returns it.

    Everything that reads trajectories then works on them: measures of geometry and dynamics, the exact loss, critical
    points, plots, `tg.save`. The Spec says which features, activation and training it was; tegum compares the sizes,
    and the activation where a state is a `ToyModel`. A `state_dict()` does not tell its activation, so that one of a
    linear model passes for the ReLU of a Spec; nor does anything tell whether the training was the one described. The
    attribute `engine` is "torch".

    Args:
        models: a model, or several states of one by their step, each a `ToyModel` or its `state_dict()` (copied, as
            PyTorch goes on to change it: `copy.deepcopy(model.state_dict())`). A model of one run, or of as many
            runs side by side as `spec.seeds`.
        spec: what was trained.
        wall_time_s: how long it took, in seconds, if you know.

    Returns:
        The trajectory, with the steps given, or the last step of `spec.training` for a single model. Its loss is the
        exact one if the Spec trains on that, and otherwise the mean over as many samples as the Spec evaluates.
        States that are not finite, and those after them, are NaN, and the result of their run is "diverged".

    Raises:
        ValueError: sizes, activation or steps do not fit the Spec, a state is incomplete, or an argument is of another
            kind.

    Example:
        A perfect embedding of two features in two dimensions; each has a dimension to itself.

        >>> import tegum as tg, tegum.torch
        >>> spec = tg.Spec(features=[tg.Independent(2, 0.3)], hidden=2)
        >>> run = tegum.torch.to_run(tegum.torch.ToyModel([[1.0, 0.0], [0.0, 1.0]]), spec)
        >>> tg.dimensionality(run.weights).values.tolist(), tg.population_loss_along(run).values.tolist()
        ([[[1.0, 1.0]]], [[0.0]])

    """
    if not isinstance(spec, Spec):
        raise ValueError(f"to_run(spec={short(spec)}): spec must be the Spec of what was trained")
    if wall_time_s is not None and not (is_number(wall_time_s) and 0 <= wall_time_s < np.inf):
        raise ValueError(f"to_run(wall_time_s={short(wall_time_s)}): wall_time_s must be a number of seconds, or None")
    states = _by_step(models, spec)
    steps = np.array(sorted(states))
    arrays = [_parameters(states[step], spec, f"step {step}") for step in steps.tolist()]
    weights, bias = (np.stack(each, axis=1) for each in zip(*arrays, strict=True))
    finite = np.isfinite(weights).all((2, 3)) & np.isfinite(bias).all(2)
    lost = ~np.logical_and.accumulate(finite, axis=1)
    weights[lost], bias[lost] = np.nan, np.nan
    diverged_at = np.where(lost.any(1), steps[lost.argmax(1)], -1)
    features, runs, times = spec.features, len(weights), spec.training.time(steps)
    attrs = provenance([spec], "torch", torch.get_num_threads(), 0.0)
    seconds = None if wall_time_s is None else float(wall_time_s)
    return trajectory(
        weights=weights,
        bias=bias,
        loss=_losses(weights, bias, spec, steps),
        result=np.where(diverged_at >= 0, "diverged", "completed"),
        diverged_at=diverged_at,
        converged_at=np.full(runs, -1) if spec.training.converges else None,
        seed=np.array(spec.runs),
        step=steps,
        time=None if times is None else np.broadcast_to(times, (runs, len(steps))).copy(),
        set_=features.set_of_feature,
        kind=features.kind_of_feature,
        density=at_steps(spec, steps, "density"),
        importance=at_steps(spec, steps, "importance"),
        attrs=attrs | {"wall_time_s": seconds, "versions": attrs["versions"] | {"torch": version_of("torch")}},
    )


def _by_step(models: Any, spec: Spec) -> dict[int, Any]:
    """Each state by its step, of which those of the training are possible."""
    last = spec.training.steps
    if isinstance(models, ToyModel):
        return {last: models}
    if not isinstance(models, Mapping):
        raise ValueError(f"to_run(models={short(models)}): models must be a ToyModel, or states by their step")
    if not models or not all(is_integer(step) and 0 <= step <= last for step in models):
        rule = f"steps must be ints from 0 to {last}, the last one of the Spec"
        raise ValueError(f"to_run(models with the steps {short(list(models))}): {rule}")
    return {int(step): state for step, state in models.items()}


def _parameters(state: ToyModel | Mapping[str, Any], spec: Spec, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Weights (seed, n, m) and bias (seed, n) of a state, float32 or float64."""
    if isinstance(state, ToyModel):
        if state.activation_name != spec.activation:
            rule = f"the Spec has {spec.activation!r}"
            raise ValueError(f"to_run(model with the activation {state.activation_name!r}): {rule}")
        state = state.state_dict()
    if not isinstance(state, Mapping) or {"weights", "bias"} - state.keys():
        held = sorted(state) if isinstance(state, Mapping) else type(state).__name__
        raise ValueError(f"to_run({where}: {short(held)}): a state must be a ToyModel, or have its weights and bias")
    W, b = parameter_arrays(f"to_run({where}: {{}})", state["weights"], state["bias"])
    shapes = [(spec.seeds, spec.features.n, spec.hidden)] + [(spec.features.n, spec.hidden)] * (spec.seeds == 1)
    if W.shape not in shapes:
        rule = f"the Spec has {' or '.join(map(str, shapes))}, for its seeds, features and hidden dimensions"
        raise ValueError(f"to_run({where}: weights of shape {W.shape}): {rule}")
    dtype = np.float32 if all(each.dtype.kind == "f" and each.dtype.itemsize <= 4 for each in (W, b)) else np.float64
    W, b = W.astype(dtype), b.astype(dtype)
    return W.reshape(spec.seeds, *W.shape[-2:]), b.reshape(spec.seeds, -1)


def _losses(weights: np.ndarray, bias: np.ndarray, spec: Spec, steps: np.ndarray) -> np.ndarray:
    """The loss of each snapshot, as the Spec's training records it; NaN after a divergence."""
    there = np.isfinite(bias).all(-1)
    losses, samples = np.full(there.shape, np.nan), spec.training.samples_evaluated
    ends = (*spec.changed_at, spec.training.steps + 1)
    for begin, end in itertools.pairwise((0, *ends)):
        some = there & (begin <= steps) & (steps < end)
        if not some.any():
            continue
        W, b, features = weights[some].astype(float), bias[some].astype(float), spec.in_force(begin).features
        if samples is None:
            losses[some] = population_loss(W, b, features, activation=spec.activation)
        else:
            x = features.sample(spec.base_seed, samples)
            losses[some] = empirical_loss(W, b, x, features.importance, spec.activation)
    return losses
