"""What `local-basis` measures in models with correlated sets, and how far along a line each property holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple, final

import numpy as np
from jaxtyping import Float

from tegum.analysis.geometry.measures import represented
from tegum.analysis.statistics import bootstrap_mean
from tegum.experiments.reporting import in_key
from tegum.training.dataset import specs_of

if TYPE_CHECKING:
    import xarray as xr

    from tegum.core.features.distribution import FeatureDistribution
    from tegum.training.spec.spec import Spec

Along = Literal["part", "sets", "density"]

SIZE, HIDDEN = 10, 20
"""The set size of the reference cells, and the hidden dimension of most models."""

REFERENCE = ((4, 20), (10, 20), (20, 40))
"""The reference cells, as (number of sets, hidden dimension)."""

REFERENCE_DENSITIES = (0.0125, 0.05)
"""Densities of the reference cells and of all lines over set size or number of sets. The null has the second."""

ORTHOGONAL = 1 / 3
"""Features count as almost orthogonal up to this ratio of interference within sets to that between sets."""

READ = 0.1
"""The largest share of a set's variance that its tied read-out may miss when nothing else is active."""

FOUND = 0.9
"""The least share that local PCA must capture of what a random subspace leaves out."""

LIMITS: Mapping[str, float] = {"ratio": ORTHOGONAL, "alone": READ, "lost": 1 - FOUND, "relative": 1.0}
"""The largest value at which each measure still counts as small."""

GROUPS = 16
"""The number of random partitions of the features into groups: the null within a model."""

RESAMPLES = 2000
"""The number of bootstrap resamples of the runs, for intervals of where a property ends."""

LEAST = 1e-3
"""Values below this fraction of a limit are raised to it, as curves are interpolated on logarithmic scales."""

PerRun = Float[np.ndarray, " run"]


@final
@dataclass(frozen=True, order=True)
class Cell:
    """One cell of the grid: sets of equal size, all of one density."""

    size: int
    sets: int
    hidden: int
    density: float

    @property
    def features(self) -> int:
        """The number of features in all sets together."""
        return self.size * self.sets

    @property
    def part(self) -> float:
        """Set size divided by the hidden dimension."""
        return self.size / self.hidden

    def at(self, along: Along) -> float:
        """The coordinate of this cell on a line over set size, number of sets or density."""
        return float({"part": self.part, "sets": self.sets, "density": self.density}[along])

    @property
    def name(self) -> str:
        """The cell in words, such as "10 sets of 10, m = 20, p = 0.05"."""
        return f"{self.sets} sets of {self.size}, m = {self.hidden}, p = {self.density:g}"

    @property
    def key(self) -> str:
        """The start of the keys of its measures, such as "sets_10_of_10_m_20_p_0_05"."""
        return f"sets_{self.sets}_of_{self.size}_m_{self.hidden}_p_{in_key(self.density)}"

    def correlated(self) -> FeatureDistribution:
        """The features with one gate per set. Everything is measured on these, whatever the model was trained on."""
        from tegum.core.features.distribution import FeatureDistribution
        from tegum.core.features.sets import Correlated

        return FeatureDistribution([Correlated(self.size, density=self.density)] * self.sets)

    def independent(self) -> FeatureDistribution:
        """The same features without correlation."""
        from tegum.core.features.distribution import FeatureDistribution
        from tegum.core.features.sets import Independent

        return FeatureDistribution([Independent(self.size, density=self.density)] * self.sets)


@final
@dataclass(frozen=True, eq=False)
class MeasuredCell:
    """The values measured in a cell, one for each run that completed training, averaged over its sets."""

    cell: Cell
    values: Mapping[str, PerRun]
    intervals: Mapping[str, tuple[float, float]] = field(init=False)
    """The 95 % intervals of their means."""

    def __post_init__(self) -> None:
        """Compute the intervals, once and for all: drawing again reads them."""
        object.__setattr__(self, "intervals", {name: bootstrap_mean(values) for name, values in self.values.items()})

    def mean(self, name: str) -> float:
        """The mean of a measure over runs; NaN if it is undefined or there are no runs."""
        values = self.values[name]
        return float(values.mean()) if values.size else np.nan

    @property
    def superposed(self) -> bool:
        """Whether every run represents more features than it has hidden dimensions."""
        counts = self.values["represented"]
        return bool(counts.size and (counts > self.cell.hidden).all())


class CellLine(NamedTuple):
    """Cells in superposition that differ in one quantity only, sorted by it."""

    along: Along
    cells: tuple[MeasuredCell, ...]

    @property
    def x(self) -> Float[np.ndarray, " cell"]:
        """The coordinate of each cell."""
        return np.array([each.cell.at(self.along) for each in self.cells])

    @property
    def name(self) -> str:
        """What all its cells have in common, in words."""
        cell = self.cells[0].cell
        what = {
            "part": f"{cell.sets} sets, m = {cell.hidden}, p = {cell.density:g}",
            "sets": f"sets of {cell.size}, m = {cell.hidden}, p = {cell.density:g}",
            "density": f"{cell.sets} sets of {cell.size}, m = {cell.hidden}",
        }
        return what[self.along]

    @property
    def key(self) -> str:
        """What all its cells have in common, as the start of the keys of its measures."""
        cell = self.cells[0].cell
        what = {
            "part": f"sets_{cell.sets}_m_{cell.hidden}_p_{in_key(cell.density)}",
            "sets": f"sets_of_{cell.size}_m_{cell.hidden}_p_{in_key(cell.density)}",
            "density": f"sets_{cell.sets}_of_{cell.size}_m_{cell.hidden}",
        }
        return what[self.along]


@final
@dataclass(frozen=True, eq=False)
class LineEnd:
    """How far along a line a property holds: 0 if nowhere, infinity if along the whole line."""

    line: CellLine
    measure: str
    value: float
    drawn: Float[np.ndarray, " resample"]
    """The value for each bootstrap resample of the runs."""

    @property
    def inner(self) -> bool:
        """Whether the property ends between two cells of the line."""
        return 0 < self.value < np.inf

    @property
    def last(self) -> float:
        """The last coordinate at which the measure is defined."""
        return float(self.line.x[[bool(np.isfinite(each.mean(self.measure))) for each in self.line.cells]][-1])

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the value. It reflects differences between runs, not the spacing of the cells."""
        return quantiles(self.drawn)


@final
@dataclass(frozen=True, eq=False)
class LocalBasisFindings:
    """Everything that the experiment found."""

    cells: Mapping[Cell, MeasuredCell]
    nulls: Mapping[Cell, MeasuredCell]
    """Reference cells trained without correlation."""
    exact: tuple[tuple[MeasuredCell, MeasuredCell], ...]
    """Pairs of the same small cell, trained on the exact loss and on mini-batches."""
    bases: Mapping[Along, tuple[LineEnd, ...]]
    """How far a local basis holds, for all lines of each kind."""
    pca: Mapping[Along, tuple[LineEnd, ...]]
    """How far PCA finds the set, for all lines of each kind on which this is defined."""
    better: tuple[LineEnd, ...]
    """How far in density the read-out misses less of an active set than over all samples."""

    @property
    def reference(self) -> list[MeasuredCell]:
        """The reference cells that were trained with correlation."""
        return [each for cell, each in self.cells.items() if is_reference(cell)]


def is_reference(cell: Cell) -> bool:
    """Whether a cell is one of the reference cells."""
    return cell.size == SIZE and (cell.sets, cell.hidden) in REFERENCE and cell.density in REFERENCE_DENSITIES


def correlated(spec: Spec) -> bool:
    """Whether a Spec has correlated sets; a null has not."""
    return spec.features.sets[0].kind == "correlated"


def find(runs: Mapping[str, xr.Dataset]) -> LocalBasisFindings:
    """Measure all cells and find where each property ends, from trajectories with the dimension `spec`."""
    cells: dict[Cell, MeasuredCell] = {}
    nulls: dict[Cell, MeasuredCell] = {}
    small: dict[str, list[MeasuredCell]] = {"small": [], "exact": []}
    for name, run in runs.items():
        for position, spec in enumerate(specs_of(run)):
            cell = cell_of(spec)
            each = measured(cell, run["weights"].isel(spec=position, step=-1), key=spec.base_seed)
            if name in small:
                small[name].append(each)
            else:
                (cells if correlated(spec) else nulls)[cell] = each
    bases: dict[Along, tuple[LineEnd, ...]] = {}
    pca: dict[Along, tuple[LineEnd, ...]] = {}
    kinds: tuple[Along, ...] = ("part", "sets", "density")
    for along in kinds:
        found = lines(cells.values(), along)
        bases[along] = tuple(earlier(end(line, "ratio"), end(line, "alone")) for line in found)
        # A set that spans all of hidden space leaves PCA nothing to find.
        defined = [line for line in found if np.isfinite([each.mean("lost") for each in line.cells]).sum() > 1]
        pca[along] = tuple(end(line, "lost") for line in defined)
    better = tuple(end(line, "relative") for line in lines(cells.values(), "density"))
    return LocalBasisFindings(cells, nulls, tuple(zip(small["exact"], small["small"], strict=True)), bases, pca, better)


def cell_of(spec: Spec) -> Cell:
    """The cell of a Spec.

    Raises:
        ValueError: the sets differ in size or density.

    """
    sets = spec.features.sets
    densities = np.unique(np.concatenate([each.densities for each in sets]))
    if len({each.features for each in sets}) > 1 or len(densities) > 1:
        raise ValueError(f"cell_of({spec.features!r}): all sets must be of one size and one density")
    return Cell(sets[0].features, len(sets), spec.hidden, float(densities[0]))


def measured(cell: Cell, weights: xr.DataArray, key: int) -> MeasuredCell:
    """Measure the final weights (seed, feature, hidden) of a cell's runs, without diverged ones.

    The measures are

    - `within` and `between`, the mean squared cosines within and between sets, and `ratio`, the first over the second;
    - `alone`, `active` and `everywhere`, the variance of a set that its tied read-out misses on samples in which only
      the set is active, in which it is active, and on all samples; and `relative`, `active` over `everywhere`;
    - `local` and `global`, the share of a set's embeddings captured by PCA on samples in which the set is active, and
      by PCA on all samples; and `lost` and `lost globally`, the shares of what chance leaves out that these miss;
    - `represented`, the number of represented features;
    - `random ratio`, `random alone` and `random active`, the values of `ratio`, `alone` and `active` for random groups
      of the same features;
    - `others`, the share of the mean embeddings of other sets that lies in the span of a set.

    Args:
        cell: the cell whose correlated sets define what is measured, even if the models were trained without.
        weights: the final weights of all runs.
        key: the seed of the random groups.

    """
    from tegum.analysis.sets.local import local_capture, readout_error

    W = np.asarray(weights.values, np.float64)
    W = W[np.isfinite(W).all((-2, -1))]
    if not len(W):
        return MeasuredCell(cell, dict.fromkeys(_NAMES, np.zeros(0)))
    features = cell.correlated()
    values = _geometry(W, features) | {
        "active": readout_error(W, features).mean(-1),
        "everywhere": readout_error(W, features, where="everywhere").mean(-1),
        "local": local_capture(W, features).mean(-1),
        "global": local_capture(W, features, where="everywhere").mean(-1),
        "represented": represented(W, scale=1.0).sum(-1).astype(np.float64),
        "others": _others(W, cell),
    }
    values["lost"], values["lost globally"] = (lost(values[name], cell.part) for name in ("local", "global"))
    values["relative"] = _ratio(values["active"], values["everywhere"])
    rng = np.random.default_rng(key)
    groups = np.stack([W[:, rng.permutation(cell.features)] for _ in range(GROUPS)], 1)
    mixed = _geometry(groups, features) | {"active": readout_error(groups, features).mean(-1)}
    values |= {f"random {name}": mixed[name].mean(-1) for name in ("ratio", "alone", "active")}
    return MeasuredCell(cell, values)


_NAMES = (
    "within", "between", "ratio", "alone", "active", "everywhere", "relative", "local", "global", "lost",
    "lost globally", "represented", "others", "random ratio", "random alone", "random active",
)  # fmt: skip


def lost(captured: PerRun, chance: float) -> PerRun:
    """The share of what chance leaves out that is missed: 1 at chance level, NaN if chance captures everything."""
    return (1 - captured) / (1 - chance) if chance < 1 else np.full_like(captured, np.nan)


def lines(cells: Iterable[MeasuredCell], along: Along, least: int = 3) -> list[CellLine]:
    """All lines with at least `least` cells, leaving out cells that are not in superposition."""
    found: dict[tuple[float, ...], list[MeasuredCell]] = {}
    for each in cells:
        cell = each.cell
        if each.superposed:
            free = {
                "part": (cell.sets, cell.hidden, cell.density),
                "sets": (cell.size, cell.hidden, cell.density),
                "density": (cell.sets, cell.size, cell.hidden),
            }
            found.setdefault(free[along], []).append(each)
    return [
        CellLine(along, tuple(sorted(line, key=lambda each: each.cell.at(along))))
        for _, line in sorted(found.items())
        if len(line) >= least
    ]


def end(line: CellLine, measure: str) -> LineEnd:
    """Find how far along a line one of the measures in `LIMITS` stays within its limit."""
    cells = [each for each in line.cells if np.isfinite(each.mean(measure))]
    x = np.array([each.cell.at(line.along) for each in cells])
    rng = np.random.default_rng(0)
    drawn = np.stack(
        [
            values[rng.integers(len(values), size=(RESAMPLES, len(values)))].mean(-1)
            for values in (each.values[measure] for each in cells)
        ],
        -1,
    )
    means = np.array([each.mean(measure) for each in cells])
    limit = LIMITS[measure]
    return LineEnd(line, measure, float(crossing(x, means[None] / limit)[0]), crossing(x, drawn / limit))


def earlier(one: LineEnd, other: LineEnd) -> LineEnd:
    """How far both properties hold."""
    name = one.measure if one.value <= other.value else other.measure
    return LineEnd(one.line, name, min(one.value, other.value), np.minimum(one.drawn, other.drawn))


def crossing(x: Float[np.ndarray, " cell"], y: Float[np.ndarray, "curve cell"]) -> Float[np.ndarray, " curve"]:
    """Find where each curve first rises above 1, interpolated linearly between cells on logarithmic scales.

    The result is 0 if a curve is above 1 from the beginning, and infinity if it never is.
    """
    u, v = np.log(x), np.log(np.maximum(y, LEAST))
    above = v > 0
    first = np.where(above.any(-1), above.argmax(-1), len(x))
    inner = (first > 0) & (first < len(x))
    at = np.where(inner, first, 1)
    low, high = (np.take_along_axis(v, k[:, None], -1)[:, 0] for k in (at - 1, at))
    share = np.divide(-low, high - low, out=np.zeros_like(low), where=inner)
    there = np.exp(u[at - 1] + share * (u[at] - u[at - 1]))
    return np.where(inner, there, np.where(first == 0, 0.0, np.inf))


def quantiles(drawn: Float[np.ndarray, " resample"]) -> tuple[float, float]:
    """The 2.5 % and 97.5 % quantiles, without interpolation, since values may be infinite."""
    low, high = np.quantile(drawn, (0.025, 0.975), method="nearest")
    return float(low), float(high)


def _geometry(
    W: Float[np.ndarray, "*run feature hidden"], features: FeatureDistribution
) -> dict[str, Float[np.ndarray, "*run"]]:
    """The measures that do not depend on density; a set with fewer than two represented features has no cosines."""
    from tegum.analysis.sets.collapse import interference_between, interference_within
    from tegum.analysis.sets.local import readout_error

    within, between = (_defined(measure(W, features)) for measure in (interference_within, interference_between))
    alone = readout_error(W, features, where="alone").mean(-1)
    return {"within": within, "between": between, "ratio": _ratio(within, between), "alone": alone}


def _ratio(one: Float[np.ndarray, "*run"], other: Float[np.ndarray, "*run"]) -> Float[np.ndarray, "*run"]:
    """One over the other; NaN if the denominator is zero."""
    return np.divide(one, other, out=np.full_like(one, np.nan), where=other > 0)


def _defined(values: Float[np.ndarray, "*run set"]) -> Float[np.ndarray, "*run"]:
    """The mean over the sets for which the value is defined."""
    good = np.isfinite(values)
    counts = good.sum(-1)
    sums = np.where(good, values, 0.0).sum(-1)
    return np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)


def _others(W: Float[np.ndarray, "run feature hidden"], cell: Cell) -> PerRun:
    from tegum.analysis.sets.local import captured_variance

    sets = W.reshape(len(W), cell.sets, cell.size, cell.hidden)
    means = sets.mean(2)
    parts = [captured_variance(np.delete(means, number, 1), sets[:, number]) for number in range(cell.sets)]
    return np.mean(parts, 0)
