"""The criteria of the experiment `pair`, fixed before the run, and the answer in plain words."""

from __future__ import annotations

import numpy as np

from tegum.experiments.pair.findings import (
    IGNORED_AT,
    IGNORED_UP_TO,
    NULL_UP_TO,
    OTHER_FEATURES,
    PRINCIPAL_UP_TO,
    SINGLE_FROM,
    PairSolutions,
    variance,
)
from tegum.experiments.reporting import in_key
from tegum.experiments.summary import Criterion

CLOSED_FORM_TOLERANCE = 1e-6
"""The largest relative difference allowed between a loss and its closed form."""


def criteria(found: PairSolutions) -> tuple[Criterion, ...]:
    """Whether each part of the claim holds."""
    below = found.densities < 1
    v = variance(found.along)
    closed = np.abs(found.losses[below, -1] / (found.densities[below] / 12) - 1)
    dense = found.shares[:, found.room == IGNORED_AT]
    most = int(np.argmax(dense.max(axis=1, initial=0.0)))
    return (
        Criterion(
            "principal_component_when_correlated",
            "At full correlation the model represents (a + b)/√2 and ignores (a − b)/√2, and its loss is p/12.",
            bool((found.angles[below, -1] < PRINCIPAL_UP_TO).all() and (closed < CLOSED_FORM_TOLERANCE).all()),
            "Full correlation: angle to (a + b)/√2",
            "largest_angle_at_strength_1",
        ),
        Criterion(
            "principal_component_lowers_loss_more",
            "Representing only the principal component lowers the loss by more than representing only one feature.",
            bool((2 * v - found.symmetric[0] > v)[found.along < 1].all()),
            "It lowers the loss more than one feature",
            "least_ratio_of_reductions",
        ),
        Criterion(
            "no_principal_component_without_correlation",
            f"Without correlation the model does not represent (a + b)/√2 at any density up to {NULL_UP_TO:g}.",
            bool((found.angles[found.densities <= NULL_UP_TO, 0] > SINGLE_FROM).all()),
            "No correlation: one feature (angle)",
            "least_angle_at_strength_0",
        ),
        Criterion(
            "second_component_ignored_when_dense",
            f"At density {IGNORED_AT:g} the second component is ignored, whether 1, 2 or 3 other features compete.",
            bool(dense.size and (dense <= IGNORED_UP_TO).all()),
            f"Dense ({IGNORED_AT:g}): the difference is ignored",
            f"beside_{OTHER_FEATURES[most]}.density_{in_key(IGNORED_AT, 3)}.share_of_second_component",
        ),
    )


def answer(found: PairSolutions) -> str:
    """What was found, in plain words."""
    begins = [f"{each.there.value:.2g} (density {each.at:.2g})" for each in found.principal]
    stored = " or ".join(dict.fromkeys((*begins[:1], *begins[-1:]))) or "no strength"
    ends = sorted(each.there.value for each in found.second)
    also = (
        f" Beside others, it keeps their difference too up to density {ends[0]:.2g} to {ends[-1]:.2g}." if ends else ""
    )
    return (
        f"Of two features that share a dimension, the model keeps the sum from a correlation strength of {stored} on, "
        f"and only one of them below that.{also}"
    )
