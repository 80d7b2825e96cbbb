"""What Python alone can say of a state: its exact loss, the critical point near it, and the ways out of that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float64

from tegum.core.loss.population import population_path
from tegum.core.population.evaluate import evaluate

if TYPE_CHECKING:
    from tegum.analysis.landscape.critical_points import CriticalPoint, UnstableDirection
    from tegum.training.spec.spec import Spec

REACH = 0.5
"""How far from a state a critical point counts as near: half the length of an embedding."""
MOST_EXACT_FEATURES, MOST_SEARCHED = 500, 1_000
"""The most features for an exact loss, and the most parameters for a search with Hessians."""
MOST_WAYS = 24
"""The most ways out that are sent."""
FARTHEST, NEAREST = 0.05, 1e-3
"""How far along a way out a state lies from the saddle: as far as the loss still falls, so that one sees it leave."""
_TOL = 1e-8

Weights = Float64[np.ndarray, "feature hidden"]
Bias = Float64[np.ndarray, " feature"]


def looked(spec: Spec, weights: Weights, bias: Bias) -> dict[str, Any]:
    """Measure a state and the landscape around it.

    Args:
        spec: what is in force.
        weights: W, shape (n, m).
        bias: b, shape (n,).

    Returns:
        `loss`, the exact one, with the bound of its `error`, and the norm of its `gradient`; the nearest critical
        `point`, the `ways` out of it, the `name` of what the embeddings form, and a sentence `why` if something
        cannot be had, which then is None.

    """
    from tegum.analysis.geometry.polytopes import name_polytope

    found: dict[str, Any] = dict.fromkeys(("loss", "error", "gradient", "point", "why")) | {"ways": []}
    found["name"] = name_polytope(weights, deformed=True).name
    try:
        found |= _losses(spec, weights, bias)
        point = _nearest(spec, weights, bias)
    except ValueError as error:
        return found | {"why": " ".join(str(error).split())}
    near = point.converged and point.moved <= REACH
    found["point"] = {
        "found": near,
        "distance": point.moved,
        "loss": point.loss,
        "index": point.index,
        "undecided": point.undecided,
        "negative": point.eigenvalues[: point.negative].tolist(),
        "words": str(point),
        "name": name_polytope(point.weights, deformed=True).name,
    }
    return found | {"ways": _ways(spec, point) if near else []}


def _losses(spec: Spec, weights: Weights, bias: Bias) -> dict[str, float]:
    """Loss, error and gradient, as accurate as they can be had."""
    from tegum.core.loss.population import population_gradient, population_loss

    features, n = spec.features, spec.features.n
    if n > MOST_EXACT_FEATURES:
        rule = f"a page asks for the exact loss of at most {MOST_EXACT_FEATURES} features"
        raise ValueError(f"Spec(features of {n:,} features): {rule}; tg.population_loss has no such limit")
    if population_path("Spec({})", features, spec.activation, "the sample") != "series":
        loss, error = population_loss(weights, bias, features, activation=spec.activation, with_error=True)
        slopes = population_gradient(weights, bias, features, activation=spec.activation)
        steep = np.linalg.norm(np.concatenate([each.ravel() for each in slopes]))
        return {"loss": float(loss), "error": float(error), "gradient": float(steep)}
    # At a kink no number of frequencies reaches the tolerance, and the error says so.
    at = evaluate(weights[None], bias[None], features, order=1, tol=_TOL, activation=spec.activation, strict=False)
    assert at.gradient is not None
    return {"loss": float(at.loss[0]), "error": float(at.error[0]), "gradient": float(np.linalg.norm(at.gradient[0]))}


def _nearest(spec: Spec, weights: Weights, bias: Bias) -> CriticalPoint:
    """The critical point to which Newton's method leads."""
    from tegum.solutions.saddles import critical_near

    parameters = weights.size + bias.size
    if parameters > MOST_SEARCHED:
        rule = f"a page searches critical points of models with at most {MOST_SEARCHED:,}"
        raise ValueError(f"Spec(of {parameters:,} parameters): {rule}; tg.critical_point has no such limit")
    return critical_near(spec, weights, bias, REACH)


def _ways(spec: Spec, point: CriticalPoint) -> list[dict[str, Any]]:
    """The ways out of a saddle, the fastest first: with a state a little along each, and one on the other side."""
    from tegum.analysis.landscape.critical_points import unstable_directions

    found = []
    for way in unstable_directions(point)[:MOST_WAYS]:
        there = _aside(spec, point, way)
        found.append(
            {
                "eigenvalue": -way.rate,
                "features": list(way.mainly),
                "multiplicity": way.multiplicity,
                "size": there,
                "weights": point.weights + there * way.weights,
                "bias": point.bias + there * way.bias,
                "other": None
                if way.one_sided
                else {"weights": point.weights - there * way.weights, "bias": point.bias - there * way.bias},
            }
        )
    return found


def _aside(spec: Spec, point: CriticalPoint, way: UnstableDirection) -> float:
    """How far along a way out the loss still falls, on both sides if it has two."""
    sizes = np.geomspace(FARTHEST, NEAREST, 6)
    sides = [1.0] if way.one_sided else [1.0, -1.0]
    steps = np.outer(sizes, sides).ravel()
    weights = point.weights + steps[:, None, None] * way.weights
    bias = point.bias + steps[:, None] * way.bias
    at = evaluate(weights, bias, spec.features, tol=_TOL, activation=spec.activation, strict=False)
    falls = (at.loss + at.error < point.loss - point.loss_error).reshape(len(sizes), -1).all(1)
    return float(sizes[int(np.argmax(falls))]) if falls.any() else NEAREST
