"""The numbers that the experiment `local-basis` tells: of reference cells, of nulls, and where lines end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, assert_never

import numpy as np

from tegum.experiments.local_basis.findings import LineEnd, LocalBasisFindings, MeasuredCell, quantiles
from tegum.experiments.reporting import Measure

FEWEST_SETS = 4
"""Sets, with which a set may fill most of the dimensions."""

CLOSED = 1 / 3
"""The density × size from which on orthonormal sets are not found."""


class Rule(NamedTuple):
    """A part of the rule of thumb: the extreme of where lines end."""

    key: str
    name: str
    ends: Sequence[LineEnd]
    scales: Sequence[float]
    """By which each end is multiplied."""
    least: bool
    """Whether the least end counts, or the largest."""
    null: float
    meaning: str

    @property
    def values(self) -> list[float]:
        """Of each line that ends within it, rising."""
        return sorted(each.value * scale for each, scale in zip(self.ends, self.scales, strict=True) if each.inner)

    @property
    def span(self) -> str:
        """Of all lines, in words: "from 0.16 to 0.2"."""
        return f"from {self.values[0]:.2g} to {self.values[-1]:.2g}" if self.values else "nowhere"

    @property
    def measure(self) -> Measure:
        """The extreme, with its interval, and the range of all."""
        if not self.values:
            return Measure(self.key, self.name, None, "1", n=0, null=self.null, meaning="no line ends")
        value, low, high = extreme(self.ends, self.scales, np.min if self.least else np.max)
        runs = sum(len(one.values["ratio"]) for each in self.ends for one in each.line.cells)
        told = f"{self.meaning}; {len(self.values)} of {len(self.ends)} lines end, {self.span}"
        return Measure(self.key, self.name, value, "1", low, high, runs, self.null, told)


def rules(found: LocalBasisFindings) -> tuple[Rule, Rule, Rule]:
    """The rule of thumb: how many features, how large a set, and how dense."""
    few = [each for each in found.bases["part"] if each.line.cells[0].cell.sets == FEWEST_SETS]
    # With few sets the end is where a set fills all dimensions, and how many features there are is no matter.
    many = [each for each in (*found.bases["part"], *found.bases["sets"]) if each not in few]
    dense = found.pca["density"]
    return (
        Rule(
            "local_basis_up_to_features_per_dimension",
            "features for each dimension up to which a local basis holds",
            many,
            [_load(each) for each in many],
            True,
            1.0,
            "least over lines of more than 4 sets; null: no superposition",
        ),
        Rule(
            "local_basis_up_to_set_part",
            "set size / m up to which a local basis holds",
            few,
            [1.0] * len(few),
            True,
            1.0,
            f"least over lines of {FEWEST_SETS} sets; null: a set that fills all dimensions",
        ),
        Rule(
            "pca_up_to_density_times_size",
            "density × size up to which PCA finds the set",
            dense,
            [float(each.line.cells[0].cell.size) for each in dense],
            True,
            CLOSED,
            "least over lines; null: 1/3, orthonormal sets",
        ),
    )


def extreme(
    ends: Sequence[LineEnd], scales: Sequence[float], pick: Callable[..., np.ndarray]
) -> tuple[float, float, float]:
    """The least or the largest (`pick`) of where lines end, each times its scale, and its interval of 95 %."""
    values = np.array([each.value * scale for each, scale in zip(ends, scales, strict=True)])
    drawn = np.stack([each.drawn * scale for each, scale in zip(ends, scales, strict=True)])
    return float(pick(values)), *quantiles(pick(drawn, axis=0))


def measures(found: LocalBasisFindings) -> list[Measure]:
    """All of them."""
    least = min(
        (float((each.values["represented"] / each.cell.hidden).min()) for each in found.reference), default=None
    )
    runs = sum(len(each.values["represented"]) for each in found.reference)
    meaning = "of all reference runs; null: no superposition"
    told = [
        Measure(
            "least_represented_features_per_dimension",
            "least number of represented features for each dimension",
            least,
            "1",
            n=runs,
            null=1.0,
            meaning=meaning,
        )
    ]
    for each in found.reference:
        told += _of_reference(each)
    for each in found.nulls.values():
        without = "trained without; null: random groups"
        told += [
            _mean(
                "interference_without_correlation",
                "interference without correlation",
                each,
                "ratio",
                "random ratio",
                without,
            ),
            _mean(
                "missed_alone_without_correlation",
                "missed alone without correlation",
                each,
                "alone",
                "random alone",
                without,
            ),
            _mean(
                "captured_without_correlation",
                "captured without correlation",
                each,
                "local",
                _chance(each),
                "trained without; null: chance",
            ),
        ]
    for exact, sampled in found.exact:
        for name, key, what in (
            ("ratio", "interference", "interference"),
            ("alone", "missed_alone", "missed alone"),
            ("local", "captured_by_local_pca", "captured by local PCA"),
        ):
            low, high = sampled.intervals[name]
            beside = f"mini-batches give {sampled.mean(name):.3g} [{low:.3g}, {high:.3g}]"
            null = _chance(exact) if name == "local" else f"random {name}"
            told.append(_mean(f"{key}_on_exact_loss", f"{what} on the exact loss", exact, name, null, beside))
    for ends in (*found.bases.values(), *found.pca.values(), found.better):
        told += [_ended(each) for each in ends]
    return [*told, *(rule.measure for rule in rules(found))]


def _of_reference(each: MeasuredCell) -> list[Measure]:
    """What is measured in a reference cell."""
    within, between, everywhere, whole = (each.mean(name) for name in ("within", "between", "everywhere", "global"))
    groups = "null: random groups"
    return [
        _mean(
            "interference",
            "interference",
            each,
            "ratio",
            "random ratio",
            f"{within:.3g} within, {between:.3g} between; {groups}",
        ),
        _mean(
            "missed_alone", "missed alone", each, "alone", "random alone", f"by the tied read-out of a set; {groups}"
        ),
        _mean(
            "missed",
            "missed",
            each,
            "active",
            "random active",
            f"of an active set; everywhere {everywhere:.3g}; {groups}",
        ),
        _mean(
            "captured_by_local_pca",
            "captured by local PCA",
            each,
            "local",
            _chance(each),
            f"PCA of everything: {whole:.3g}; null: chance",
        ),
        _mean(
            "other_sets_means",
            "other sets' means",
            each,
            "others",
            _chance(each),
            "part in the span of a set; null: chance",
        ),
    ]


def _chance(each: MeasuredCell) -> float:
    return min(each.cell.part, 1.0)


def _mean(key: str, what: str, each: MeasuredCell, name: str, null: str | float, meaning: str) -> Measure:
    low, high = each.intervals[name]
    value = each.mean(null) if isinstance(null, str) else null
    return Measure(
        f"{each.cell.key}.{key}",
        f"{what}, {each.cell.name}",
        each.mean(name),
        "1",
        low,
        high,
        len(each.values[name]),
        value,
        meaning,
    )


def _ended(each: LineEnd) -> Measure:
    """Up to where something holds on a line."""
    line = each.line
    what = {"part": "set size / m", "sets": "number of sets", "density": "density"}[line.along]
    unit = {"part": "1", "sets": "set", "density": "density"}[line.along]
    holder = {"lost": "PCA finds the set", "relative": "an active set is read better than everywhere"}.get(
        each.measure, "a local basis holds"
    )
    along = {"part": "set_part", "sets": "number_of_sets", "density": "density"}[line.along]
    held = {"lost": "pca", "relative": "better_active_readout"}.get(each.measure, "local_basis")
    key, name = f"{line.key}.{held}_up_to_{along}", f"{what} up to which {holder}, {line.name}"
    runs = sum(len(one.values["ratio"]) for one in line.cells)
    if not each.inner:
        told = f"nowhere, from {line.x[0]:.3g} on" if each.value == 0 else f"everywhere, up to {each.last:.3g}"
        return Measure(key, name, None, unit, n=runs, meaning=told)
    told = {"ratio": "interference ends it", "alone": "the read-out ends it"}.get(each.measure, "interpolated")
    return Measure(key, name, each.value, unit, *each.interval, runs, meaning=told)


def _load(each: LineEnd) -> float:
    """By which a place on a line is multiplied to become features for each dimension."""
    cell = each.line.cells[0].cell
    match along := each.line.along:
        case "part":
            return float(cell.sets)
        case "sets" | "density":
            return cell.size / cell.hidden
        case _:
            assert_never(along)
