"""Where runs begin: drawn weights with a zero bias, or given arrays; and the beginnings of random streams."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, assert_never

import numpy as np
from jaxtyping import Float, UInt32

from tegum.core.model import Purpose, initial_weights, stream_seed
from tegum.training.state import TrainingState

if TYPE_CHECKING:
    from tegum.training.spec.spec import Spec


def starting_parameters(
    specs: Sequence[Spec],
) -> tuple[Float[np.ndarray, "run feature hidden"], Float[np.ndarray, "run feature"]]:
    """Weights and bias of all runs before training, Spec by Spec, in the training's dtype.

    Drawn weights are the same in every kind of training, so that runs of different kinds are paired.
    """
    weights, biases = [], []
    dtype = specs[0].training.dtype
    for spec in specs:
        n, m = spec.features.n, spec.hidden
        if spec.start is None:
            weights += [initial_weights(spec.base_seed, run, n, m, spec.initial_scale) for run in spec.runs]
            biases.append(np.zeros((spec.seeds, n)))
        else:
            given_weights, given_bias = spec.start.arrays()
            weights += list(np.broadcast_to(given_weights, (spec.seeds, n, m)))
            biases.append(np.broadcast_to(given_bias, (spec.seeds, n)))
    return np.stack(weights, dtype=dtype, casting="same_kind"), np.concatenate(biases, dtype=dtype, casting="same_kind")


def starting_state(specs: Sequence[Spec], words: int) -> TrainingState:
    """The state before the first step, for an engine whose streams take this many words.

    The optimiser's memory is two numbers per parameter; an engine that needs another form replaces it.
    """
    weights, bias = starting_parameters(specs)
    parameters = weights[0].size + bias[0].size
    return TrainingState(
        step=0,
        weights=weights,
        bias=bias,
        first=np.zeros((len(weights), parameters), weights.dtype),
        second=np.zeros((len(weights), parameters), weights.dtype),
        stream=streams(specs, "training", words),
        diverged_at=np.full(len(weights), -1, np.int64),
        converged_at=np.full(len(weights), -1, np.int64),
    )


def streams(specs: Sequence[Spec], purpose: Purpose, words: int) -> UInt32[np.ndarray, "run {words}"]:
    """The beginning of each run's stream, keyed by (base seed, run, purpose).

    As losses are compared between runs, all runs of a base seed share the evaluation sample of run 0.
    """

    def begin(spec: Spec, run: int) -> np.ndarray:
        return stream_seed(spec.base_seed, run, purpose).generate_state(words, np.uint32)

    match purpose:
        case "start" | "training":
            return np.stack([begin(spec, run) for spec in specs for run in spec.runs])
        case "evaluation":
            return np.repeat([begin(spec, 0) for spec in specs], [spec.seeds for spec in specs], axis=0)
        case _:
            assert_never(purpose)
