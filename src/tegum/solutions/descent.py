"""Descent on the exact loss, from fresh starts and from solutions found at other values of a parameter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from tegum.solutions.solution import Solution, lowest

if TYPE_CHECKING:
    import xarray as xr

    from tegum.analysis.landscape.critical_points import CriticalPoint
    from tegum.training.spec.methods import Training
    from tegum.training.spec.spec import Spec


LOSS_ACCURACY, GRADIENT_TOLERANCE = 1e-8, 1e-6
"""The absolute error of losses compared away from roots, and the gradient norm at which descent ends."""

KEY = 10
"""The base seed of fresh starts. No grid may use it, because its starts would not be independent of them."""


def descended(spec: Spec, parameter: str, starts: Sequence[tuple[float, Solution]]) -> list[Solution]:
    """Each solution after descent at another value of the parameter; `spec` defines the features."""
    if not starts:
        return []
    specs = [descent(varied(spec, parameter, value), each.weights, each.bias) for value, each in starts]
    end = trained(specs).isel(seed=0, step=-1)
    weights, bias, loss = (end[name].values for name in ("weights", "bias", "loss"))
    return [
        Solution(value, weights[k], bias[k], float(loss[k]), each.hits, each.starts)
        for k, (value, each) in enumerate(starts)
    ]


def descents_of_ends(spec: Spec, parameter: str, run: xr.Dataset, values: Sequence[float]) -> list[Spec]:
    """Specs of descent on the exact loss from the end of every run, one Spec for each value.

    Args:
        spec: a Spec that defines the features.
        parameter: the parameter, as in `tegum.vary`.
        run: a trajectory with the dim `spec`.
        values: the values of the parameter, one for each entry along `spec`.

    """
    end = run.isel(step=-1)
    return [
        descent(varied(spec, parameter, value), end["weights"].values[number], end["bias"].values[number])
        for number, value in enumerate(values)
    ]


def trained(specs: Sequence[Spec]) -> xr.Dataset:
    """The trajectories of Specs, with the dim `spec` even if there is only one."""
    from tegum.training.engine import train

    return train(specs) if len(specs) > 1 else train(specs[0]).expand_dims("spec")


def fresh(spec: Spec, parameter: str, values: Sequence[float], starts: int, key: int) -> list[Solution]:
    """The lowest solution of fresh starts at each value."""
    if not values:
        return []
    specs = [varied(spec, parameter, value).replace(training=rough(), seeds=starts, base_seed=key) for value in values]
    return lowest(trained(specs), values)


def point_at(spec: Spec, parameter: str, solution: Solution, tol: float) -> CriticalPoint:
    """The critical point at a solution."""
    from tegum.analysis.landscape.critical_points import critical_point

    features = varied(spec, parameter, solution.value).features
    return critical_point(solution.weights, solution.bias, features, tol=tol, activation=spec.activation)


def rough() -> Training:
    """Descent that is accurate enough to distinguish losses."""
    from tegum.training.spec.methods import Exact

    return Exact(accuracy=LOSS_ACCURACY, gradient_tolerance=GRADIENT_TOLERANCE)


def descent(
    spec: Spec, weights: Float[np.ndarray, "*seed feature hidden"], bias: Float[np.ndarray, "*seed feature"]
) -> Spec:
    """A Spec of descent from given parameters, for one run or several."""
    return spec.continued_from(weights, bias, training=rough())


def varied(spec: Spec, parameter: str, value: float) -> Spec:
    """The Spec at another value of a parameter of its features; parameters are named as in `tegum.vary`."""
    from tegum.analysis.landscape.tracks import vary

    return spec.replace(features=vary(spec.features, parameter, value))
