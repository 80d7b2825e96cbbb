"""The criteria of the experiment `local-basis`, fixed before the run, and the answer in plain words."""

from __future__ import annotations

from collections.abc import Sequence

from tegum.experiments.local_basis.findings import FOUND, ORTHOGONAL, READ, LocalBasisFindings, MeasuredCell
from tegum.experiments.summary import Criterion

SUPERPOSED = 1.5
"""Every reference run represents at least this many features per hidden dimension."""


def criteria(found: LocalBasisFindings) -> tuple[Criterion, ...]:
    """Whether each part of the claim holds."""
    reference, nulls = found.reference, list(found.nulls.values())
    loosest = min(nulls, key=lambda each: each.intervals["ratio"][1], default=None)

    def below(cells: Sequence[MeasuredCell], name: str, limit: float) -> list[bool]:
        return [each.intervals[name][1] < limit for each in cells]

    most = all(bool((each.values["represented"] >= SUPERPOSED * each.cell.hidden).all()) for each in reference)
    return (
        Criterion(
            "superposition",
            f"Every reference run represents at least {SUPERPOSED:g} m features.",
            most,
            f"At least {SUPERPOSED:g} features per dimension",
            "least_represented_features_per_dimension",
        ),
        Criterion(
            "almost_orthogonal",
            "In every reference cell, interference within sets is less than a third of interference between sets.",
            all(below(reference, "ratio", ORTHOGONAL)),
            "Overlap in a set / between sets < 1/3",
            worst(reference, "ratio", "interference"),
        ),
        Criterion(
            "read_out_by_own_embeddings",
            "In every reference cell, the tied read-out misses less than 10 % of a set that is active alone, and less "
            "of an active set than over all samples.",
            all([*below(reference, "alone", READ), *below(reference, "relative", 1.0)]),
            f"Read-out of a set misses < {100 * READ:g} %",
            worst(reference, "alone", "missed_alone"),
        ),
        Criterion(
            "found_by_pca",
            f"In every reference cell, local PCA captures more than {100 * FOUND:g} % of what a random subspace leaves "
            "out.",
            all(below(reference, "lost", 1 - FOUND)),
            f"Local PCA captures > {100 * FOUND:g} % of a set",
            worst(reference, "lost", "captured_by_local_pca"),
        ),
        Criterion(
            "nothing_without_correlation",
            "Without correlation in training, no reference cell counts as almost orthogonal or as read out.",
            bool(nulls) and not any([*below(nulls, "ratio", ORTHOGONAL), *below(nulls, "alone", READ)]),
            "Without correlation: overlap not < 1/3",
            loosest and f"{loosest.cell.key}.interference_without_correlation",
        ),
    )


def worst(cells: Sequence[MeasuredCell], name: str, key: str) -> str | None:
    """The key of a measure in the cell where the interval of a value reaches highest; None without cells."""
    cell = max(cells, key=lambda each: each.intervals[name][1], default=None)
    return None if cell is None else f"{cell.cell.key}.{key}"


def answer(found: LocalBasisFindings, judged: Sequence[Criterion]) -> str:
    """What was found, in plain words."""
    if not found.reference:
        return ""
    passed = {each.key: each.passed for each in judged}
    overlaps = [each.mean("ratio") for each in found.reference]
    captured = [each.mean("local") for each in found.reference]
    stored = "almost at right angles" if passed["almost_orthogonal"] else "almost at right angles while they are few"
    read = ", and can be read out by themselves" if passed["read_out_by_own_embeddings"] else ""
    return (
        f"Features that are active together overlap {min(overlaps):.2g} to {max(overlaps):.2g} times as much as "
        f"features of different sets: they are stored {stored}{read}. PCA on the samples in which a set "
        f"is active captures {100 * min(captured):.0f} to {100 * max(captured):.0f} % of it."
    )
