"""What the experiment `local-basis` measures of models with correlated sets, and where along a line it ends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
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
"""Of the reference sets, and of most models."""

REFERENCE = ((4, 20), (10, 20), (20, 40))
"""Numbers of reference sets, and their hidden dimensions."""

REFERENCE_DENSITIES = (0.0125, 0.05)
"""Of reference cells, and of lines over other things; the null has the second."""

ORTHOGONAL = 1 / 3
"""The largest interference within sets, over that between them, of features that are almost orthogonal."""

READ = 0.1
"""The largest part of a set's variance that its tied read-out may miss where nothing else is active."""

FOUND = 0.9
"""The least part that local PCA must capture of what a random subspace leaves out."""

LIMITS: Mapping[str, float] = {"ratio": ORTHOGONAL, "alone": READ, "lost": 1 - FOUND, "relative": 1.0}
"""What may be measured at most of what must be small."""

GROUPS = 16
"""So many random partitions of the features into groups are the null within a model."""

RESAMPLES = 2000
"""Of the runs, for intervals of where something ends."""

LEAST = 1e-3
"""Less than this part of a limit is this part: curves are interpolated on logarithmic scales."""

PerRun = Float[np.ndarray, " run"]


@final
@dataclass(frozen=True, order=True)
class Cell:
    """One place of the grid: sets of equal features of one density."""

    size: int
    sets: int
    hidden: int
    density: float

    @property
    def features(self) -> int:
        """How many there are, in all sets together."""
        return self.size * self.sets

    @property
    def part(self) -> float:
        """Size over hidden dimension."""
        return self.size / self.hidden

    def at(self, along: Along) -> float:
        """Its place on a line."""
        return float({"part": self.part, "sets": self.sets, "density": self.density}[along])

    @property
    def name(self) -> str:
        """In words: "10 sets of 10, m = 20, p = 0.05"."""
        return f"{self.sets} sets of {self.size}, m = {self.hidden}, p = {self.density:g}"

    @property
    def key(self) -> str:
        """At the start of its measures' keys: "sets_10_of_10_m_20_p_0_05"."""
        return f"sets_{self.sets}_of_{self.size}_m_{self.hidden}_p_{in_key(self.density)}"

    def correlated(self) -> FeatureDistribution:
        """Its features, each set with one gate: what is measured, whatever the model was trained on."""
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
    """A cell with a value of each measure for every run that trained to its end; means over its sets."""

    cell: Cell
    values: Mapping[str, PerRun]

    def mean(self, name: str) -> float:
        """Over runs; NaN where it is not defined, or there is no run."""
        values = self.values[name]
        return float(values.mean()) if values.size else np.nan

    @cached_property
    def intervals(self) -> Mapping[str, tuple[float, float]]:
        """Of these means, 95 %."""
        return {name: bootstrap_mean(values) for name, values in self.values.items()}

    @property
    def superposed(self) -> bool:
        """Whether every run represents more features than there are dimensions."""
        counts = self.values["represented"]
        return bool(counts.size and (counts > self.cell.hidden).all())


class CellLine(NamedTuple):
    """Cells in superposition that differ in one thing only, rising in it."""

    along: Along
    cells: tuple[MeasuredCell, ...]

    @property
    def x(self) -> Float[np.ndarray, " cell"]:
        """Of each cell."""
        return np.array([each.cell.at(self.along) for each in self.cells])

    @property
    def name(self) -> str:
        """What all its cells share, in words."""
        cell = self.cells[0].cell
        what = {
            "part": f"{cell.sets} sets, m = {cell.hidden}, p = {cell.density:g}",
            "sets": f"sets of {cell.size}, m = {cell.hidden}, p = {cell.density:g}",
            "density": f"{cell.sets} sets of {cell.size}, m = {cell.hidden}",
        }
        return what[self.along]

    @property
    def key(self) -> str:
        """What all its cells share, at the start of its measures' keys."""
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
    """Up to where on a line something holds: 0 where nowhere, infinity where to its end."""

    line: CellLine
    measure: str
    value: float
    drawn: Float[np.ndarray, " resample"]
    """The same for runs that are drawn with replacement."""

    @property
    def inner(self) -> bool:
        """Whether it ends between two cells."""
        return 0 < self.value < np.inf

    @property
    def last(self) -> float:
        """The last place at which it is defined."""
        return float(self.line.x[[bool(np.isfinite(each.mean(self.measure))) for each in self.line.cells]][-1])

    @property
    def interval(self) -> tuple[float, float]:
        """Of the value, 95 %; of runs alone, not of how far cells lie apart."""
        return quantiles(self.drawn)


@final
@dataclass(frozen=True, eq=False)
class LocalBasisFindings:
    """Everything that was measured."""

    cells: Mapping[Cell, MeasuredCell]
    nulls: Mapping[Cell, MeasuredCell]
    """Trained without correlation."""
    exact: tuple[tuple[MeasuredCell, MeasuredCell], ...]
    """Small cells, on the exact loss and on mini-batches."""
    bases: Mapping[Along, tuple[LineEnd, ...]]
    """Up to where a local basis holds, on all lines of a kind."""
    pca: Mapping[Along, tuple[LineEnd, ...]]
    """Up to where PCA finds it."""
    better: tuple[LineEnd, ...]
    """Up to which density the read-out misses less where the set is active than everywhere."""

    @property
    def reference(self) -> list[MeasuredCell]:
        """The reference cells."""
        return [each for cell, each in self.cells.items() if is_reference(cell)]


def is_reference(cell: Cell) -> bool:
    """Whether it is one of the reference cells."""
    return cell.size == SIZE and (cell.sets, cell.hidden) in REFERENCE and cell.density in REFERENCE_DENSITIES


def correlated(spec: Spec) -> bool:
    """Whether it is no null."""
    return spec.features.sets[0].kind == "correlated"


def find(runs: Mapping[str, xr.Dataset]) -> LocalBasisFindings:
    """Everything that is measured, of trajectories that have the dim `spec`."""
    cells: dict[Cell, MeasuredCell] = {}
    nulls: dict[Cell, MeasuredCell] = {}
    small: dict[str, list[MeasuredCell]] = {"small": [], "exact": []}
    for name, run in runs.items():
        for position, spec in enumerate(specs_of(run)):
            cell = cell_of(spec)
            each = seen(cell, run["weights"].isel(spec=position, step=-1), key=spec.base_seed)
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
        # A set as large as hidden space has no principal components to be found.
        defined = [line for line in found if np.isfinite([each.mean("lost") for each in line.cells]).sum() > 1]
        pca[along] = tuple(end(line, "lost") for line in defined)
    better = tuple(end(line, "relative") for line in lines(cells.values(), "density"))
    return LocalBasisFindings(cells, nulls, tuple(zip(small["exact"], small["small"], strict=True)), bases, pca, better)


def cell_of(spec: Spec) -> Cell:
    """The cell of a Spec.

    Raises:
        ValueError: its sets differ, or have several densities.

    """
    sets = spec.features.sets
    densities = np.unique(np.concatenate([each.densities for each in sets]))
    if len({each.features for each in sets}) > 1 or len(densities) > 1:
        raise ValueError(f"cell_of({spec.features!r}): all sets must be of one size and one density")
    return Cell(sets[0].features, len(sets), spec.hidden, float(densities[0]))


def seen(cell: Cell, weights: xr.DataArray, key: int) -> MeasuredCell:
    """All measures of the final weights (seed, feature, hidden) of a cell's runs; diverged ones are left out.

    The names: `within` and `between`, mean squared cosines; `ratio` of the two; `alone`, `active` and `everywhere`,
    what the tied read-out misses on these samples, and `relative`, `active` over `everywhere`; `local` and `global`,
    what local PCA and PCA of everything capture, and `lost` and `lost globally`, the parts of what chance leaves out
    that they miss; `represented`, how many features; `random ratio`, `random alone` and `random active`, the same for
    random groups of the same features; `others`, the part of other sets' mean embeddings in the span of a set.

    Args:
        cell: by which is measured what the models were trained on, or not.
        weights: of all runs.
        key: of the random groups.

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
    """The part that is missed of what chance leaves out: 1 where no better than chance; NaN where chance has all."""
    return (1 - captured) / (1 - chance) if chance < 1 else np.full_like(captured, np.nan)


def lines(cells: Iterable[MeasuredCell], along: Along, least: int = 3) -> list[CellLine]:
    """All lines of at least so many cells, those that are in no superposition left out."""
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
    """Up to where on a line one of the measures in `LIMITS` stays within its limit."""
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
    """Up to where both hold."""
    name = one.measure if one.value <= other.value else other.measure
    return LineEnd(one.line, name, min(one.value, other.value), np.minimum(one.drawn, other.drawn))


def crossing(x: Float[np.ndarray, " cell"], y: Float[np.ndarray, "curve cell"]) -> Float[np.ndarray, " curve"]:
    """Where each curve first rises above 1, between two cells by a straight line on logarithmic scales.

    0 where it is above 1 from the beginning, infinity where it never is.
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
    """The percentiles 2.5 and 97.5; between values that may be infinite nothing is interpolated."""
    low, high = np.quantile(drawn, (0.025, 0.975), method="nearest")
    return float(low), float(high)


def _geometry(
    W: Float[np.ndarray, "*run feature hidden"], features: FeatureDistribution
) -> dict[str, Float[np.ndarray, "*run"]]:
    """What does not depend on density; a set of which less than two features are represented has no interference."""
    from tegum.analysis.sets.collapse import interference_between, interference_within
    from tegum.analysis.sets.local import readout_error

    within, between = (_defined(measure(W, features)) for measure in (interference_within, interference_between))
    alone = readout_error(W, features, where="alone").mean(-1)
    return {"within": within, "between": between, "ratio": _ratio(within, between), "alone": alone}


def _ratio(one: Float[np.ndarray, "*run"], other: Float[np.ndarray, "*run"]) -> Float[np.ndarray, "*run"]:
    """NaN where nothing is there to compare with."""
    return np.divide(one, other, out=np.full_like(one, np.nan), where=other > 0)


def _defined(values: Float[np.ndarray, "*run set"]) -> Float[np.ndarray, "*run"]:
    """The mean over sets of which it is defined."""
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
