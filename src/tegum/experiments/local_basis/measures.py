"""The findings of the experiment `local-basis` as measures: reference cells, nulls, and where lines end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, assert_never

import numpy as np

from tegum.experiments.local_basis.findings import LineEnd, LocalBasisFindings, MeasuredCell, quantiles
from tegum.experiments.reporting import Measure

FEWEST_SETS = 4
"""The number of sets in lines on which a single set may fill most of the dimensions."""

CLOSED = 1 / 3
"""The density × size from which PCA no longer finds even orthonormal sets."""

_MISSED_ALONE = "variance that the tied read-out misses when only the set is active"
_MISSED_ACTIVE = "variance that the tied read-out misses when the set is active"
_CAPTURED = "share of a set's embeddings captured by PCA on samples in which the set is active"


class Rule(NamedTuple):
    """A part of the rule of thumb: the least or the largest value at which lines end."""

    key: str
    name: str
    ends: Sequence[LineEnd]
    scales: Sequence[float]
    """The factor by which the end of each line is multiplied."""
    least: bool
    """Whether the least end counts; otherwise the largest."""
    null: float
    meaning: str

    @property
    def values(self) -> list[float]:
        """The scaled ends of the lines that end between two of their cells, in ascending order."""
        return sorted(each.value * scale for each, scale in zip(self.ends, self.scales, strict=True) if each.inner)

    @property
    def span(self) -> str:
        """The range of `values` in words, such as "from 0.16 to 0.2"."""
        return f"from {self.values[0]:.2g} to {self.values[-1]:.2g}" if self.values else "none"

    @property
    def measure(self) -> Measure:
        """The extreme with its interval; the meaning gives the range over all lines."""
        if not self.values:
            return Measure(self.key, self.name, None, "", n=0, null=self.null, meaning=f"{self.meaning}; no line ends")
        value, low, high = extreme(self.ends, self.scales, np.min if self.least else np.max)
        runs = sum(len(one.values["ratio"]) for each in self.ends for one in each.line.cells)
        meaning = f"{self.meaning}; {len(self.values)} of {len(self.ends)} lines end, at values {self.span}"
        return Measure(self.key, self.name, value, "", low, high, runs, self.null, meaning)


def rules(found: LocalBasisFindings) -> tuple[Rule, Rule, Rule]:
    """The rule of thumb: how many features, how large a set, and how dense."""
    few = [each for each in found.bases["part"] if each.line.cells[0].cell.sets == FEWEST_SETS]
    # With few sets a line ends where one set fills all dimensions, whatever the number of features.
    many = [each for each in (*found.bases["part"], *found.bases["sets"]) if each not in few]
    dense = found.pca["density"]
    return (
        Rule(
            "local_basis_up_to_features_per_dimension",
            "features per dimension up to which a local basis holds",
            many,
            [_load(each) for each in many],
            True,
            1.0,
            "the least value at which a local basis ends, over lines of more than 4 sets; null: no superposition",
        ),
        Rule(
            "local_basis_up_to_set_part",
            "set size / m up to which a local basis holds",
            few,
            [1.0] * len(few),
            True,
            1.0,
            f"the least value at which a local basis ends, over lines of {FEWEST_SETS} sets; null: a set that fills "
            "all dimensions",
        ),
        Rule(
            "pca_up_to_density_times_size",
            "density × size up to which PCA finds the set",
            dense,
            [float(each.line.cells[0].cell.size) for each in dense],
            True,
            CLOSED,
            "the least value at which PCA ceases to find the set, over lines; null: where orthonormal sets are lost",
        ),
    )


def extreme(
    ends: Sequence[LineEnd], scales: Sequence[float], pick: Callable[..., np.ndarray]
) -> tuple[float, float, float]:
    """The least or the largest (`pick`) of the scaled ends of lines, and its 95 % interval."""
    values = np.array([each.value * scale for each, scale in zip(ends, scales, strict=True)])
    drawn = np.stack([each.drawn * scale for each, scale in zip(ends, scales, strict=True)])
    return float(pick(values)), *quantiles(pick(drawn, axis=0))


def measures(found: LocalBasisFindings) -> list[Measure]:
    """All measures of the experiment."""
    least = min(
        (float((each.values["represented"] / each.cell.hidden).min()) for each in found.reference), default=None
    )
    runs = sum(len(each.values["represented"]) for each in found.reference)
    meaning = "represented features / m, the least over all reference runs; null: no superposition"
    listed = [
        Measure(
            "least_represented_features_per_dimension",
            "least number of represented features per dimension",
            least,
            "",
            n=runs,
            null=1.0,
            meaning=meaning,
        )
    ]
    for each in found.reference:
        listed += _of_reference(each)
    for each in found.nulls.values():
        without = "in models trained without correlation; null: random groups of their features"
        listed += [
            _mean(
                "interference_without_correlation",
                "interference without correlation",
                each,
                "ratio",
                "random ratio",
                f"mean squared cosine within sets / between sets, {without}",
            ),
            _mean(
                "missed_alone_without_correlation",
                "missed set alone without correlation",
                each,
                "alone",
                "random alone",
                f"variance that the tied read-out misses when only the set is active, {without}",
            ),
            _mean(
                "captured_without_correlation",
                "captured by local PCA without correlation",
                each,
                "local",
                _chance(each),
                f"{_CAPTURED}, in models trained without correlation; null: chance",
            ),
        ]
    for exact, sampled in found.exact:
        for name, key, what, meaning in (
            ("ratio", "interference", "interference", "mean squared cosine within sets / between sets"),
            ("alone", "missed_alone", "missed set alone", _MISSED_ALONE),
            ("local", "captured_by_local_pca", "captured by local PCA", _CAPTURED),
        ):
            low, high = sampled.intervals[name]
            batches = f"mini-batches give {sampled.mean(name):.3g} [{low:.3g}, {high:.3g}]"
            null, chance = (_chance(exact), "chance") if name == "local" else (f"random {name}", "random groups")
            meaning = f"{meaning}; {batches}; null: {chance}"
            listed.append(_mean(f"{key}_on_exact_loss", f"{what} on the exact loss", exact, name, null, meaning))
    for ends in (*found.bases.values(), *found.pca.values(), found.better):
        listed += [_ended(each) for each in ends]
    return [*listed, *(rule.measure for rule in rules(found))]


def _of_reference(each: MeasuredCell) -> list[Measure]:
    """The measures of a reference cell."""
    within, between, everywhere, whole = (each.mean(name) for name in ("within", "between", "everywhere", "global"))
    groups = "null: random groups of features"
    return [
        _mean(
            "interference",
            "interference",
            each,
            "ratio",
            "random ratio",
            f"mean squared cosine within sets ({within:.3g}) / between sets ({between:.3g}); {groups}",
        ),
        _mean("missed_alone", "missed set alone", each, "alone", "random alone", f"{_MISSED_ALONE}; {groups}"),
        _mean(
            "missed",
            "missed active set",
            each,
            "active",
            "random active",
            f"{_MISSED_ACTIVE}; {everywhere:.3g} over all samples; {groups}",
        ),
        _mean(
            "captured_by_local_pca",
            "captured by local PCA",
            each,
            "local",
            _chance(each),
            f"{_CAPTURED}; PCA on all samples: {whole:.3g}; null: chance",
        ),
        _mean(
            "other_sets_means",
            "overlap with means of other sets",
            each,
            "others",
            _chance(each),
            "share of the mean embeddings of other sets that lies in the span of a set; null: chance",
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
        "" if name == "ratio" else "share",
        low,
        high,
        len(each.values[name]),
        value,
        meaning,
    )


def _ended(each: LineEnd) -> Measure:
    """How far along a line a property holds."""
    line = each.line
    what = {"part": "set size / m", "sets": "number of sets", "density": "density"}[line.along]
    unit = {"part": "", "sets": "sets", "density": "density"}[line.along]
    holder = {"lost": "PCA finds the set", "relative": "the read-out of an active set is better"}.get(
        each.measure, "a local basis holds"
    )
    along = {"part": "set_part", "sets": "number_of_sets", "density": "density"}[line.along]
    held = {"lost": "pca", "relative": "better_active_readout"}.get(each.measure, "local_basis")
    key, name = f"{line.key}.{held}_up_to_{along}", f"{what} up to which {holder}, {line.name}"
    runs = sum(len(one.values["ratio"]) for one in line.cells)
    meaning = {
        "lost": "where local PCA ceases to capture enough of the set",
        "relative": "where the tied read-out ceases to miss less of an active set than over all samples",
    }.get(each.measure, "where the interference or the read-out of a set alone leaves its limit")
    if not each.inner:
        first, last = f"{line.x[0]:.3g}", f"{each.last:.3g}"
        where = f"it already fails at {first}" if each.value == 0 else f"it still holds at {last}, the end of the line"
        return Measure(key, name, None, unit, n=runs, meaning=f"{meaning}; {where}")
    ending = {"ratio": "; the interference ends it", "alone": "; the read-out ends it"}.get(each.measure, "")
    return Measure(
        key, name, each.value, unit, *each.interval, runs, meaning=f"{meaning}, interpolated between cells{ending}"
    )


def _load(each: LineEnd) -> float:
    """The factor that turns a coordinate on a line into features per dimension."""
    cell = each.line.cells[0].cell
    match along := each.line.along:
        case "part":
            return float(cell.sets)
        case "sets" | "density":
            return cell.size / cell.hidden
        case _:
            assert_never(along)
