"""How much the loss differs between single samples, which determines the error of a mean over samples.

In a sparse distribution hardly any sample has an active feature. Samples are therefore drawn given that at least one
feature is active, and weighted by the probability of that; samples with nothing active all have the same loss and need
not be drawn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

import numpy as np
from jaxtyping import Float

from tegum.core.features.sets import FeatureSet, GatedSet, mixture_of
from tegum.core.features.tables import MixtureTable, RayTable
from tegum.core.loss.empirical import BLOCK_ELEMENTS
from tegum.core.model import Activation, activation_named, forward

if TYPE_CHECKING:
    from tegum.core.features.distribution import FeatureDistribution

SAMPLES = 2**14
"""The number of samples drawn for a standard deviation, which is then accurate to 1 to 3 %."""


def sample_active(
    features: FeatureDistribution, generator: np.random.Generator, batch: int
) -> tuple[Float[np.ndarray, "batch feature"], float]:
    """Draw samples given that at least one feature is active.

    A set without a characteristic function (such as `Empirical`) counts as active in every sample.

    Args:
        features: the feature distribution.
        generator: the source of random numbers.
        batch: the number of samples.

    Returns:
        Samples, shape (batch, n), in float64, and the probability that a feature is active.

    """
    probabilities = np.array([_probability(each) for each in features.sets])
    # Draw the first active set, then the later ones unconditionally; log 0 if a set is active in every sample.
    with np.errstate(divide="ignore"):
        logs = np.log1p(-probabilities)
    first_is = probabilities * np.exp(np.concatenate([[0.0], np.cumsum(logs[:-1])]))
    first = generator.choice(len(first_is), size=batch, p=first_is / first_is.sum())
    x, end = np.zeros((batch, features.n)), 0
    for number, each in enumerate(features.sets):
        start, end = end, end + each.features
        here, later = np.flatnonzero(first == number), np.flatnonzero(first < number)
        if len(here):
            x[here, start:end] = _drawn_active(each, generator, len(here))
        if len(later):
            x[later, start:end] = each.draw(generator.random, len(later))
    return x, float(-np.expm1(logs.sum()))


def standard_deviations(
    weights: Float[np.ndarray, "run feature hidden"],
    bias: Float[np.ndarray, "run feature"],
    features: FeatureDistribution,
    activation: Activation,
) -> Float[np.ndarray, " run"]:
    """Estimate the standard deviation of Σ_j I_j (x_j − x̂_j)² over samples x, from `SAMPLES` fixed samples.

    Args:
        weights: W of finite models, shape (run, n, m).
        bias: b, shape (run, n).
        features: the feature distribution, with its importances.
        activation: "relu" or "linear".

    Returns:
        Standard deviations, shape (run,).

    Raises:
        ValueError: samples of the features cannot be drawn, as when the data of an `Empirical` set are missing.

    """
    generator = np.random.Generator(np.random.Philox(0))
    importance, act = features.importance, activation_named(f"Spec(activation={activation!r})", activation).function
    nothing = np.square(act(bias.astype(np.float64))) @ importance
    sums, probability = np.zeros((2, len(bias))), 1.0
    at_once = min(SAMPLES, max(1, BLOCK_ELEMENTS // max(weights.shape[1:])))
    together = max(1, BLOCK_ELEMENTS // (at_once * max(weights.shape[1:])))
    for drawn in range(0, SAMPLES, at_once):
        x, probability = sample_active(features, generator, min(at_once, SAMPLES - drawn))
        for run in range(0, len(bias), together):
            some = slice(run, run + together)
            error = forward(weights[some].astype(np.float64), bias[some].astype(np.float64), x, activation) - x
            more = np.square(error) @ importance - nothing[some, None]
            sums[0, some] += more.sum(-1)
            sums[1, some] += np.square(more).sum(-1)
    mean, square = sums * (probability / SAMPLES)
    return np.sqrt(np.maximum(square - mean**2, 0.0))


def _probability(of: FeatureSet) -> float:
    """The probability that a feature of the set is active."""
    match table := _table(of):
        case MixtureTable():
            return float(min(1.0, table.weights @ _any(table.gates)))
        case RayTable():
            return float(min(1.0, table.weights.sum()))
        case None:
            return 1.0
        case _:
            assert_never(table)


def _table(of: FeatureSet) -> MixtureTable | RayTable | None:
    """What says when a set is active, whatever its magnitudes."""
    return mixture_of(of) or of.transform()


def _any(gates: Float[np.ndarray, "component size"]) -> Float[np.ndarray, " component"]:
    """The probability that any gate opens, without loss of digits where all of them rarely do."""
    with np.errstate(divide="ignore"):
        return -np.expm1(np.log1p(-gates).sum(-1))


def _drawn_active(of: FeatureSet, generator: np.random.Generator, batch: int) -> Float[np.ndarray, "batch size"]:
    """Samples of a set given that it is active."""
    match table := _table(of):
        case MixtureTable(weights, gates):
            chance = weights * _any(gates)
            component = generator.choice(len(chance), size=batch, p=chance / chance.sum())
            with np.errstate(divide="ignore"):
                closed = np.exp(np.cumsum(np.log1p(-gates), axis=1))
            # Draw the first open gate; the later ones open independently.
            first_is = gates * np.concatenate([np.ones((len(gates), 1)), closed[:, :-1]], axis=1)
            upper = np.cumsum(first_is, axis=1)
            u = generator.random(batch) * upper[component, -1]
            first = np.minimum((u[:, None] >= upper[component]).sum(-1), gates.shape[1] - 1)[:, None]
            place = np.arange(gates.shape[1])
            opened = (place > first) & (generator.random((batch, len(place))) < gates[component])
            assert isinstance(of, GatedSet)
            magnitudes = of.magnitude.drawn(generator.random((batch, len(place))))
            return np.where(opened | (place == first), magnitudes, 0.0)
        case RayTable(weights, directions):
            ray = generator.choice(len(weights), size=batch, p=weights / weights.sum())
            return generator.random((batch, 1)) * directions[ray]
        case None:
            return of.draw(generator.random, batch)
        case _:
            assert_never(table)
