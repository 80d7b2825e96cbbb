"""Loss and gradient of any state, by what its recorded loss is measured: the evaluation sample, or in expectation."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any, final

import numpy as np
from jaxtyping import Float32, Float64

from tegum.core.loss.empirical import empirical_gradient, empirical_loss
from tegum.core.loss.population import population_gradient, population_loss
from tegum.training.sizes import engine_name
from tegum.training.spec.methods import Sampled
from tegum.training.spec.spec import Spec
from tegum.training.start import streams

TOL = 1e-6
"""The largest error of an exact loss while an embedding is dragged."""

_KEPT = 2**23
"""The most numbers of a sample that is kept for the next question."""


def shaped(
    spec: Spec, weights: Float64[np.ndarray, " weight"], bias: Float64[np.ndarray, " number"]
) -> tuple[Float64[np.ndarray, "feature hidden"], Float64[np.ndarray, " feature"]]:
    """The numbers that a page sends as W and b.

    Raises:
        ValueError: there are more or fewer than the Spec has.

    """
    n, m = spec.features.n, spec.hidden
    for name, given, count in (("weights", weights, n * m), ("bias", bias, n)):
        if given.size != count:
            rule = f"must be {count:,}, as the Spec has {n:,} features in {m:,} dimensions"
            raise ValueError(f"{name} of {given.size:,} numbers: there {rule}")
    return weights.reshape(n, m), bias


@final
class Questions:
    """Answers questions about states; of the last Spec asked about the sample stays."""

    def __init__(self) -> None:
        """Nothing was asked."""
        self._lock = threading.Lock()
        self._last: tuple[str, Float32[np.ndarray, "sample feature"]] | None = None

    def answered(
        self, spec: Spec, weights: Float64[np.ndarray, "feature hidden"], bias: Float64[np.ndarray, " feature"]
    ) -> dict[str, Any]:
        """The loss of a state, and its gradient in W and b.

        Raises:
            ValueError: there is no loss.

        """
        features, activation = spec.features, spec.activation
        if not isinstance(spec.training, Sampled):
            loss = population_loss(weights, bias, features, tol=TOL, activation=activation)
            slopes = population_gradient(weights, bias, features, tol=TOL, activation=activation)
        else:
            x = self._sample(spec)
            loss = empirical_loss(weights, bias, x, features.importance, activation)
            slopes = empirical_gradient(weights, bias, x, features.importance, activation)
        return {"loss": float(loss), "weights": slopes[0], "bias": slopes[1]}

    def _sample(self, spec: Spec) -> Float32[np.ndarray, "sample feature"]:
        key = spec.hash
        with self._lock:
            if self._last is not None and self._last[0] == key:
                return self._last[1]
        x = evaluation_sample(spec)
        with self._lock:
            self._last = (key, x) if x.size <= _KEPT else None
        return x


def evaluation_sample(spec: Spec) -> Float32[np.ndarray, "sample feature"]:
    """The samples on which the losses of snapshots of a Spec are means.

    Args:
        spec: a Spec with sampled training.

    Returns:
        Samples, shape (whole batches, n).

    """
    one, training = spec.some_runs(range(1)), spec.training
    assert isinstance(training, Sampled)
    count = -(-training.evaluation // training.batch)
    match engine_name([one]):
        case "kernel":
            from tegum.training.sampled.cpu import KernelEngine
            from tegum.training.sampled.kernels.draw import STREAM_WORDS

            engine = KernelEngine([one], 1)
            begin = replace(engine.start(), stream=streams([one], "evaluation", STREAM_WORDS))
            found = engine.batches(0, count, begin)
        case "jax":
            from tegum.training.sampled.jax_engine import JaxEngine

            found = JaxEngine([one], 1).batches(0, count, "evaluation")
        case other:
            raise ValueError(f"Spec(training.kind='sampled'): the engine {other!r} has no evaluation sample to ask for")
    return found.reshape(-1, spec.features.n)
