"""The criteria of the experiment `pair`, fixed before the run."""

from __future__ import annotations

import numpy as np

from tegum.experiments.framework import Criterion
from tegum.experiments.pair.findings import (
    IGNORED_AT,
    IGNORED_UP_TO,
    NULL_UP_TO,
    PRINCIPAL_UP_TO,
    SINGLE_FROM,
    PairSolutions,
    variance,
)

CLOSED_FORM_TOLERANCE = 1e-6
"""The largest relative difference allowed between a loss and its closed form."""


def criteria(found: PairSolutions) -> tuple[Criterion, ...]:
    """Whether each part of the claim holds."""
    below = found.densities < 1
    v = variance(found.along)
    closed = np.abs(found.losses[below, -1] / (found.densities[below] / 12) - 1)
    dense = found.shares[:, found.room == IGNORED_AT]
    return (
        Criterion(
            "principal_component_when_correlated",
            "At full correlation the model represents (a + b)/√2 and ignores (a − b)/√2, and its loss is p/12.",
            bool((found.angles[below, -1] < PRINCIPAL_UP_TO).all() and (closed < CLOSED_FORM_TOLERANCE).all()),
        ),
        Criterion(
            "principal_component_lowers_loss_more",
            "Representing only the principal component lowers the loss by more than representing only one feature.",
            bool((2 * v - found.symmetric[0] > v)[found.along < 1].all()),
        ),
        Criterion(
            "no_principal_component_without_correlation",
            f"Without correlation the model does not represent (a + b)/√2 at any density up to {NULL_UP_TO:g}.",
            bool((found.angles[found.densities <= NULL_UP_TO, 0] > SINGLE_FROM).all()),
        ),
        Criterion(
            "second_component_ignored_when_dense",
            f"At density {IGNORED_AT:g} the second component is ignored, whether 1, 2 or 3 other features compete.",
            bool(dense.size and (dense <= IGNORED_UP_TO).all()),
        ),
    )
