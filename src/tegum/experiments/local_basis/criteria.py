"""The criteria of the experiment `local-basis`, fixed before the run."""

from __future__ import annotations

from collections.abc import Sequence

from tegum.experiments.framework import Criterion
from tegum.experiments.local_basis.findings import FOUND, ORTHOGONAL, READ, LocalBasisFindings, MeasuredCell

SUPERPOSED = 1.5
"""Every reference run represents at least this many features per hidden dimension."""


def criteria(found: LocalBasisFindings) -> tuple[Criterion, ...]:
    """Whether each part of the claim holds."""
    reference, nulls = found.reference, list(found.nulls.values())

    def below(cells: Sequence[MeasuredCell], name: str, limit: float) -> list[bool]:
        return [each.intervals[name][1] < limit for each in cells]

    most = all(bool((each.values["represented"] >= SUPERPOSED * each.cell.hidden).all()) for each in reference)
    return (
        Criterion("superposition", f"Every reference run represents at least {SUPERPOSED:g} m features.", most),
        Criterion(
            "almost_orthogonal",
            "In every reference cell, interference within sets is less than a third of interference between sets.",
            all(below(reference, "ratio", ORTHOGONAL)),
        ),
        Criterion(
            "read_out_by_own_embeddings",
            "In every reference cell, the tied read-out misses less than 10 % of a set that is active alone, and less "
            "of an active set than over all samples.",
            all([*below(reference, "alone", READ), *below(reference, "relative", 1.0)]),
        ),
        Criterion(
            "found_by_pca",
            f"In every reference cell, local PCA captures more than {100 * FOUND:g} % of what a random subspace leaves "
            "out.",
            all(below(reference, "lost", 1 - FOUND)),
        ),
        Criterion(
            "nothing_without_correlation",
            "Without correlation in training, no reference cell counts as almost orthogonal or as read out.",
            bool(nulls) and not any([*below(nulls, "ratio", ORTHOGONAL), *below(nulls, "alone", READ)]),
        ),
    )
