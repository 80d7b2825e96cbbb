"""Models trained in PyTorch as a trajectory, which everything in tegum can read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tegum.core.arguments import is_integer
from tegum.core.description import short
from tegum.core.loss.empirical import empirical_loss
from tegum.core.loss.population import population_loss
from tegum.data.schema import trajectory
from tegum.torch.model import ToyModel
from tegum.training.dataset import provenance, version_of

if TYPE_CHECKING:
    import xarray as xr

    from tegum.training.spec.spec import Spec


def to_run(
    models: ToyModel | Mapping[int, ToyModel | Mapping[str, Any]], spec: Spec, *, wall_time_s: float | None = None
) -> xr.Dataset:
    """Arrange models that PyTorch trained as a trajectory, as `tg.train` returns it.

    Everything that reads trajectories then works on them: measures of geometry and dynamics, the exact loss, critical
    points, plots, `tg.save`. The Spec says which features, activation and training it was; tegum compares the sizes
    and the activation, but cannot know whether the training was the one described. The attribute `engine` is "torch".

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
        ValueError: sizes, activation or steps do not fit to the Spec, or a state is incomplete.

    Example:
        A perfect embedding of two features in two dimensions; each has a dimension to itself.

        >>> import tegum as tg, tegum.torch
        >>> spec = tg.Spec(features=[tg.Independent(2, 0.3)], hidden=2)
        >>> run = tegum.torch.to_run(tegum.torch.ToyModel([[1.0, 0.0], [0.0, 1.0]]), spec)
        >>> tg.dimensionality(run.weights).values.tolist(), tg.population_loss_along(run).values.tolist()
        ([[[1.0, 1.0]]], [[0.0]])

    """
    states = {spec.training.steps: models} if isinstance(models, ToyModel) else dict(models)
    if not states or not all(is_integer(step) and step >= 0 for step in states):
        raise ValueError(f"to_run(models with the steps {short(list(states))}): steps must be ints of at least 0")
    steps = np.array(sorted(states))
    arrays = [_parameters(states[step], spec, f"step {step}") for step in steps.tolist()]
    weights, bias = (np.stack(each, axis=1) for each in zip(*arrays, strict=True))
    finite = np.isfinite(weights).all((2, 3)) & np.isfinite(bias).all(2)
    lost = ~np.logical_and.accumulate(finite, axis=1)
    weights[lost], bias[lost] = np.nan, np.nan
    diverged_at = np.where(lost.any(1), steps[lost.argmax(1)], -1)
    features, runs, times = spec.features, len(weights), spec.training.time(steps)
    attrs = provenance([spec], "torch", torch.get_num_threads(), 0.0)
    return trajectory(
        weights=weights,
        bias=bias,
        loss=_losses(weights, bias, spec),
        result=np.where(diverged_at >= 0, "diverged", "completed"),
        diverged_at=diverged_at,
        converged_at=np.full(runs, -1) if spec.training.converges else None,
        seed=np.array(spec.runs),
        step=steps,
        time=None if times is None else np.broadcast_to(times, (runs, len(steps))).copy(),
        set_=features.set_of_feature,
        kind=features.kind_of_feature,
        density=features.density,
        importance=features.importance,
        attrs=attrs | {"wall_time_s": wall_time_s, "versions": attrs["versions"] | {"torch": version_of("torch")}},
    )


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
    model = ToyModel(state["weights"], state["bias"])
    shapes = [(spec.seeds, spec.features.n, spec.hidden)] + [(spec.features.n, spec.hidden)] * (spec.seeds == 1)
    if tuple(model.weights.shape) not in shapes:
        rule = f"the Spec has {' or '.join(map(str, shapes))}, for its seeds, features and hidden dimensions"
        raise ValueError(f"to_run({where}: weights of shape {tuple(model.weights.shape)}): {rule}")
    dtype = torch.float64 if model.weights.dtype == torch.float64 else torch.float32
    W, b = (each.detach().to(dtype).numpy() for each in (model.weights, model.bias))
    return W.reshape(spec.seeds, *W.shape[-2:]), b.reshape(spec.seeds, -1)


def _losses(weights: np.ndarray, bias: np.ndarray, spec: Spec) -> np.ndarray:
    """The loss of each snapshot, as the Spec's training records it; NaN after a divergence."""
    there = np.isfinite(bias).all(-1)
    losses, W, b = np.full(there.shape, np.nan), weights[there].astype(float), bias[there].astype(float)
    if not there.any():
        return losses
    samples = spec.training.samples_evaluated
    if samples is None:
        losses[there] = population_loss(W, b, spec.features, activation=spec.activation)
    else:
        x = spec.features.sample(spec.base_seed, samples)
        losses[there] = empirical_loss(W, b, x, spec.features.importance, spec.activation)
    return losses
