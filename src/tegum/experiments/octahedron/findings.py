"""What the experiment `octahedron` finds: regimes, routes and final states of its runs, and the saddles they pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, final

import numpy as np
from jaxtyping import Bool, Float, Int

from tegum.analysis.dynamics.motions import Parts
from tegum.analysis.dynamics.regimes import motion_shares
from tegum.analysis.dynamics.stages import PurityByChance, Stages, motion_stages
from tegum.experiments.octahedron import routes as along
from tegum.experiments.octahedron.routes import (
    GRID_DENSITIES,
    PAIRS_FIRST,
    ROUTE_KINDS,
    SMALL_STARTS,
    STRAIGHT,
    TURNED,
    SetShapes,
    course,
)

if TYPE_CHECKING:
    import xarray as xr

    from tegum.experiments.octahedron.saddles_en_route import PassedSaddle
    from tegum.training.spec.spec import Spec

PERMUTED = 1_000
"""The number of random permutations of labels."""

MANY = 500
"""With at least this many runs in the grid, saddles are searched for one run of every kind, otherwise of one kind."""

FEWEST_PER_OUTCOME = 8
"""The least number of runs of each outcome for an association to be measured."""


@final
@dataclass(frozen=True)
class Association:
    """Association between a property of the initial weights and an outcome."""

    feature: str
    """The name of the property."""
    area: float
    """The area under the curve, over pairs of runs of the same cell. Without an association it is 1/2, even if cells
    differ in both the property and the outcome."""
    low: float
    """The lower end of the 95 % interval of the area."""
    high: float
    """The upper end of the 95 % interval of the area."""
    n: int
    """The number of runs."""
    limit: float
    """The null: the 95 % quantile of the largest |area − 1/2|, with outcomes permuted within cells."""

    @property
    def strength(self) -> float:
        """The distance of the area under the curve from chance, |area − 1/2|."""
        return abs(self.area - 0.5)


@final
@dataclass(frozen=True, eq=False)
class OctahedronFindings:
    """All runs of the grid that did not diverge, cell after cell, with what was found in them."""

    specs: tuple[Spec, ...] = field(repr=False)
    steps: Int[np.ndarray, " step"] = field(repr=False)
    cell: Int[np.ndarray, " run"] = field(repr=False)
    """The position of each run's Spec in `specs`."""
    seed: Int[np.ndarray, " run"] = field(repr=False)
    weights: Float[np.ndarray, "run step 6 3"] = field(repr=False)
    loss: Float[np.ndarray, "run step"] = field(repr=False)
    """The exact population loss at each snapshot."""
    parts: tuple[Parts, ...] = field(repr=False)
    """The decomposed motions of each run between its snapshots."""
    stages: tuple[Stages, ...] = field(repr=False)
    by_chance: tuple[PurityByChance, ...] = field(repr=False)
    """The null for each run: the purity of regimes with boundaries elsewhere."""
    course: SetShapes = field(repr=False)
    routes: tuple[str, ...] = field(repr=False)
    """The route of each run."""
    configurations: tuple[str, ...] = field(repr=False)
    """The configuration of the sets of each run just before they open."""
    ends: tuple[str, ...] = field(repr=False)
    """The state of each run at its last step."""
    at_minimum: tuple[str, ...] = field(repr=False)
    """The state of each run after it was taken to its minimum; runs that ended as an octahedron are not continued."""
    dense: tuple[tuple[str, ...], tuple[str, ...]]
    """The states of the runs at density 0.2, at the last step and at the minimum."""
    turned: tuple[tuple[bool, ...], tuple[bool, ...], float]
    """For runs from transformed starts, whether each has the same configuration and route as the original run: after a
    rotation, and after a permutation and flips of axes. Then the null, the share of pairs of runs that agree by chance.
    """
    agreement: tuple[float, float, int] | None
    """The adjusted Rand index between clusters and kinds, its upper limit with kinds permuted within cells, and the
    number of runs. None if there are too few runs, or only one kind."""
    predictors: Mapping[str, tuple[Association, ...]]
    """Associations of properties of the weights with each outcome, the strongest first."""
    saddles: tuple[tuple[str, int, tuple[PassedSaddle, ...]], ...]
    """For one run of each kind: the kind, the position of the run, and the saddles that its noiseless twin passes."""

    @property
    def small(self) -> Bool[np.ndarray, " run"]:
        """Whether each run has a small start."""
        return np.array([self.specs[at].initial_scale in SMALL_STARTS for at in self.cell.tolist()], bool)

    @property
    def xavier(self) -> Bool[np.ndarray, " run"]:
        """Whether each run has a Xavier start."""
        return np.array([self.specs[at].initial_scale is None for at in self.cell.tolist()], bool)

    def density(self, run: int) -> float:
        """The density of a run's features."""
        return float(self.specs[int(self.cell[run])].features.density[0])

    def scale(self, run: int) -> float | None:
        """The standard deviation of a run's initial weights; None for Xavier."""
        return self.specs[int(self.cell[run])].initial_scale

    @property
    def kinds(self) -> list[str]:
        """The kind of each run: one of `ROUTE_KINDS`, or "other"."""
        return kinds_of(self.configurations, self.routes)

    @property
    def drawn(self) -> int | None:
        """The position of the run that the figure shows; None if no run qualifies."""
        fitting = [
            run
            for run in np.flatnonzero(self.small).tolist()
            if self.routes[run] == STRAIGHT and self.density(run) == 0.05 and self.ends[run] == "octahedron"
        ]
        motions = {run: len({each.dominant for each in self.stages[run]}) for run in fitting}
        return max(fitting, key=lambda run: (motions[run], self.last_turn(run)["twist"]), default=None)

    def last_turn(self, run: int) -> dict[str, float]:
        """The shares of transformations between two opposite open triangles (or the first pair) and three pairs.

        NaN if either end is not observed, or if both fall on one snapshot.
        """
        begin, end = min(self.course.facing[run], self.course.paired[run]), self.course.whole[run]
        if not begin < end < len(self.steps):
            return dict.fromkeys(self.parts[run].names, float("nan"))
        shares = motion_shares(self.parts[run], self.steps, int(begin), int(end))
        return {name: share if np.isfinite(share) else 0.0 for name, share in shares.items()}

    def tree(self) -> dict[tuple[str, str, str], int]:
        """The number of runs from small starts for each configuration, route and final state."""
        ends = [each.partition(":")[0] for each in self.ends]
        paths = zip(self.configurations, self.routes, ends, strict=True)
        return dict(Counter(path for path, small in zip(paths, self.small.tolist(), strict=True) if small))


def kinds_of(configurations: tuple[str, ...], routes: tuple[str, ...]) -> list[str]:
    """The kind of each run, one of `ROUTE_KINDS` or "other", from its configuration and its route."""
    kinds = []
    for stand, route in zip(configurations, routes, strict=True):
        kind = ROUTE_KINDS[0] if stand == "opposite" and route in (STRAIGHT, PAIRS_FIRST) else f"{stand}, {route}"
        kinds.append(kind if kind in ROUTE_KINDS else "other")
    return kinds


def find(runs: Mapping[str, xr.Dataset]) -> OctahedronFindings:
    """Find regimes, routes, final states, associations and saddles in the trajectories."""
    from tegum.training.exact_losses import population_loss_along

    run = runs["run"].transpose("spec", "seed", ...)
    sound = Sound.of(run)
    specs, cell, seed, weights = sound.specs, sound.cell, sound.seed, sound.weights
    loss = population_loss_along(run).transpose("spec", "seed", "step").values[cell, seed]
    steps = run["step"].values
    features = specs[0].features
    # Only the sizes of the sets matter here, which all cells share; densities do not.
    staged = motion_stages(weights, loss, steps, features)
    seen = course(weights, features)
    routes, configurations = tuple(seen.routes()), tuple(seen.configurations())
    ends = sound.ends()
    at_minimum = list(ends)
    if left := unfinished(ends):
        for k, end in zip(left, runs["continued"]["weights"].isel(step=-1).values.reshape(-1, 6, 3), strict=True):
            at_minimum[k] = along.ending(end, specs[int(cell[k])].features)
    small = np.array([specs[at].initial_scale in SMALL_STARTS for at in cell.tolist()], bool)
    kinds = np.array(kinds_of(configurations, routes))
    return OctahedronFindings(
        specs=tuple(specs),
        steps=steps,
        cell=cell,
        seed=run["seed"].values[seed],
        weights=weights,
        loss=loss,
        parts=tuple(each.parts for each in staged),
        stages=tuple(each.stages for each in staged),
        by_chance=tuple(each.by_chance for each in staged),
        course=seen,
        routes=routes,
        configurations=configurations,
        ends=tuple(ends),
        at_minimum=tuple(at_minimum),
        dense=_dense(runs["dense"], runs.get("dense-continued")),
        turned=_turned(runs["turned"], specs, cell, run["seed"].values[seed], configurations, routes),
        agreement=_agreement(weights, loss, seen, kinds, cell, small & np.isin(kinds, ROUTE_KINDS)),
        predictors=_predictors(weights, seen, configurations, routes, cell, small),
        saddles=_saddles(twins_of(specs, cell, kinds, seen), runs.get("twins")),
    )


@final
@dataclass(frozen=True, eq=False)
class Sound:
    """The weights of all runs of the grid that did not diverge, cell after cell."""

    specs: list[Spec]
    cell: Int[np.ndarray, " run"]
    """The position of each run's Spec."""
    seed: Int[np.ndarray, " run"]
    """The position of each run among those of its Spec."""
    weights: Float[np.ndarray, "run step 6 3"]
    bias: Float[np.ndarray, "run step 6"]

    @classmethod
    def of(cls, run: xr.Dataset) -> Sound:
        """Select the runs that trained to their end from a trajectory with dims (spec, seed, …)."""
        from tegum.analysis.runs import completed
        from tegum.training.dataset import specs_of

        sound = completed(run)
        cell, seed = np.nonzero(sound)
        weights, bias = (run[name].values[sound].astype(np.float64) for name in ("weights", "bias"))
        return cls(specs_of(run), cell, seed, weights, bias)

    def ends(self) -> list[str]:
        """The state of each run at its last step."""
        return [along.ending(each, self.specs[0].features) for each in self.weights[:, -1]]


def unfinished(ends: list[str]) -> list[int]:
    """The positions of the runs that do not end as an octahedron, and are therefore continued."""
    return [k for k, end in enumerate(ends) if end != "octahedron"]


def further(runs: Mapping[str, xr.Dataset]) -> dict[str, Spec | list[Spec]]:
    """The Specs that follow from the runs: unfinished runs and all dense runs continued, and noiseless twins."""
    from tegum.experiments.octahedron.saddles_en_route import twins

    sound = Sound.of(runs["run"].transpose("spec", "seed", ...))
    found: dict[str, Spec | list[Spec]] = {}
    if left := unfinished(sound.ends()):
        found["continued"] = [
            along.continued(sound.specs[int(sound.cell[k])], sound.weights[k, -1], sound.bias[k, -1]) for k in left
        ]
    spec, weights, bias = _dense_ends(runs["dense"])
    if len(weights):
        found["dense-continued"] = along.continued(spec, weights, bias)
    seen = course(sound.weights, sound.specs[0].features)
    kinds = np.array(kinds_of(tuple(seen.configurations()), tuple(seen.routes())))
    if chosen := twins_of(sound.specs, sound.cell, kinds, seen):
        at = [each for _, each in chosen]
        found["twins"] = twins(sound.specs[int(sound.cell[at[0]])], sound.weights[at, 0])
    return found


def _dense_ends(run: xr.Dataset) -> tuple[Spec, Float[np.ndarray, "run 6 3"], Float[np.ndarray, "run 6"]]:
    from tegum.analysis.runs import completed
    from tegum.training.dataset import spec_of

    end = run.isel(seed=completed(run), step=-1)
    return spec_of(run), end["weights"].values.astype(np.float64), end["bias"].values.astype(np.float64)


def _dense(run: xr.Dataset, later: xr.Dataset | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    spec, weights, _ = _dense_ends(run)
    became = [] if later is None else later["weights"].isel(step=-1).values
    return (
        tuple(along.ending(each, spec.features) for each in weights),
        tuple(along.ending(each, spec.features) for each in became),
    )


def _turned(
    run: xr.Dataset,
    specs: list[Spec],
    cell: np.ndarray,
    seed: np.ndarray,
    configurations: tuple[str, ...],
    routes: tuple[str, ...],
) -> tuple[tuple[bool, ...], tuple[bool, ...], float]:
    from tegum.analysis.runs import completed

    cells = [(float(each.features.density[0]), each.initial_scale) for each in specs]
    before = {int(seed[k]): (configurations[k], routes[k]) for k, at in enumerate(cell.tolist()) if cells[at] == TURNED}
    run, kept = run.transpose("spec", "seed", ...), []
    for number in range(2):
        own = run.isel(spec=number)
        own = own.isel(seed=completed(own) & np.isin(own["seed"].values, list(before)))
        seen = course(own["weights"].values, specs[0].features)
        after = zip(seen.configurations(), seen.routes(), strict=True)
        kept.append(tuple(before[k] == each for k, each in zip(own["seed"].values.tolist(), after, strict=True)))
    parts = np.array(list(Counter(before.values()).values())) / max(len(before), 1)
    return kept[0], kept[1], float(np.square(parts).sum())


def _agreement(
    weights: np.ndarray, loss: np.ndarray, seen: SetShapes, kinds: np.ndarray, cell: np.ndarray, used: np.ndarray
) -> tuple[float, float, int] | None:
    labels = kinds[used]
    if len(set(labels.tolist())) < 2 or used.sum() < 2 * FEWEST_PER_OUTCOME:
        return None
    rng = np.random.default_rng(1)
    groups = along.clusters(along.fingerprints(weights[used], loss[used], seen.opening[used]), len(ROUTE_KINDS))
    permuted = along.permuted_within(labels, cell[used], PERMUTED // 5, rng)
    null = [along.adjusted_rand(groups, each) for each in permuted]
    return along.adjusted_rand(groups, labels), float(np.quantile(null, 0.975)), int(used.sum())


def _predictors(
    weights: np.ndarray,
    seen: SetShapes,
    configurations: tuple[str, ...],
    routes: tuple[str, ...],
    cell: np.ndarray,
    small: np.ndarray,
) -> dict[str, tuple[Association, ...]]:
    stood, went = np.array(configurations), np.array(routes)
    stand = small & np.isin(stood, ("opposite", "bent"))
    bent = small & (stood == "bent") & np.isin(went, (STRAIGHT, PAIRS_FIRST))
    begin = weights[np.arange(len(weights)), np.maximum(seen.opening, 0)]
    found = {}
    for name, used, hit, at in (
        ("opposite sets (initial weights)", stand, stood == "opposite", weights[:, 0]),
        ("pairs first (initial weights)", bent, went == PAIRS_FIRST, weights[:, 0]),
        ("pairs first (collapsed sets)", bent, went == PAIRS_FIRST, begin),
    ):
        mixed = used & along.mixed(hit, np.where(used, cell, -1))
        hits = hit[mixed]
        if min(hits.sum(), (~hits).sum()) >= FEWEST_PER_OUTCOME:
            found[name] = associations(along.start_features(at[mixed]), hits, cell[mixed])
    return found


def associations(
    features: Mapping[str, Float[np.ndarray, " run"]], hits: Bool[np.ndarray, " run"], cell: Int[np.ndarray, " run"]
) -> tuple[Association, ...]:
    """The association of each property with an outcome within cells.

    In every cell, at least two runs must have the outcome, and two must not.
    """
    shuffled = along.permuted_within(hits, cell, PERMUTED, np.random.default_rng(2))
    most = np.max([np.abs(along.area_within(values, shuffled, cell) - 0.5) for values in features.values()], 0)
    limit = float(np.quantile(most, 0.95))
    found = []
    for name, values in features.items():
        area = float(along.area_within(values, hits, cell))
        half = 1.96 * along.error_within(values, hits, cell)
        found.append(Association(name, area, max(0.0, area - half), min(1.0, area + half), len(hits), limit))
    return tuple(sorted(found, key=lambda each: -each.strength))


def twins_of(specs: list[Spec], cell: np.ndarray, kinds: np.ndarray, seen: SetShapes) -> list[tuple[str, int]]:
    """Choose one run of each kind at the middle density from the smallest start: the one whose triangles turn longest.

    With few runs in the grid, only one kind, to keep the quick form short.
    """
    cells = [(specs[at].features.density[0], specs[at].initial_scale) for at in cell.tolist()]
    used = np.array([each == (GRID_DENSITIES[1], SMALL_STARTS[0]) for each in cells], bool)
    chosen = []
    for kind in ROUTE_KINDS if len(cell) >= MANY else ROUTE_KINDS[:1]:
        fitting = np.flatnonzero((kinds == kind) & used)
        if len(fitting):
            chosen.append((kind, int(fitting[np.argmax((seen.whole - seen.facing)[fitting])])))
    return chosen


def _saddles(
    chosen: list[tuple[str, int]], run: xr.Dataset | None
) -> tuple[tuple[str, int, tuple[PassedSaddle, ...]], ...]:
    """The critical points that the twins of the chosen runs pass."""
    from tegum.experiments.octahedron.saddles_en_route import saddles_of

    if run is None:
        return ()
    return tuple((kind, at, tuple(saddles_of(run.isel(seed=number)))) for number, (kind, at) in enumerate(chosen))
