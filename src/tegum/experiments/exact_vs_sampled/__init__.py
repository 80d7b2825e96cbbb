"""A sampled trajectory and its noiseless twin: without noise the plateaus of the loss are seen to be saddles.

Its protocol stands beside this file in `PROTOCOL.md`: quotation, grid, definitions, nulls, criteria, amendments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar, final

import numpy as np
from jaxtyping import Float

from tegum.core.stopping import Stop, all_done
from tegum.experiments.framework import Criterion, Experiment, Findings, Size
from tegum.experiments.reporting import Measure, by_key
from tegum.experiments.varied import ANY, RATE, SPARSEST, Range

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from tegum.analysis.dynamics.plateaus import Plateau
    from tegum.analysis.landscape.critical_points import CriticalPoint
    from tegum.training.spec.spec import Spec

SYSTEMS: Mapping[str, str] = {
    "sets": "two correlated sets of three, m = 3",
    "independent": "six independent features, m = 3",
}

NEAR = 0.1
"""A critical point within this part of the length of the final parameters is near."""

TOL = 1e-8
"""Of the gradient at a critical point."""

ACCURACY = 1e-6
"""Of the twins' loss; losses are shown, and their plateaus found, as at least that."""

SAME = 0.01
"""Two runs end alike if their final losses differ by less than this part."""


@final
@dataclass(frozen=True, eq=False)
class Seen:
    """A plateau of a twin with what was found near it."""

    seed: int
    plateau: Plateau
    point: CriticalPoint
    near: bool
    """Whether the critical point is near and the loss falls from it, or for the last plateau whether it is near."""
    fast_is_near: bool | None
    """The null: the same from where the loss falls fastest afterwards."""

    @property
    def label(self) -> str:
        """For the figure: the index of the saddle, "minimum", or a question mark."""
        if not self.near:
            return "?"
        if self.point.index is None:
            return f"≥ {max(1, self.point.negative)}" if self.point.unstable else "?"
        return str(self.point.index) if self.point.index else "min"


@final
@dataclass(frozen=True, eq=False)
class Pairs:
    """One system: the runs that trained to their end in both ways."""

    name: str
    seeds: tuple[int, ...]
    steps: np.ndarray
    sampled: Float[np.ndarray, "run step"]
    """Exact loss."""
    twin: Float[np.ndarray, "run step"]
    seen: tuple[Seen, ...]

    def of(self, seed: int) -> list[Seen]:
        """The plateaus of one run."""
        return [each for each in self.seen if each.seed == seed]

    @property
    def drawn(self) -> int:
        """The position of the run that is drawn."""
        decided = [
            sum(each.near and each.plateau.escaped and each.point.index is not None for each in self.of(seed))
            for seed in self.seeds
        ]
        return int(np.argmax(decided))


@final
class ExactVsSampled(Experiment["tuple[Pairs, ...]"]):
    """The claim that plateaus are saddles, seen without noise."""

    claim: ClassVar[str] = (
        "From a small start a sampled run follows its noiseless twin, and plateaus of the twin's loss are at saddles."
    )

    varies: ClassVar[Mapping[str, Range]] = {
        "seeds": Range(low=2),
        "training.rate": RATE,
        "features.density": SPARSEST,
        **dict.fromkeys(("base_seed", "training.schedule", "training.warmup"), ANY),
        "training.steps": Range(low=100),
        "snapshots.count": Range(low=20),
    }

    def trainings(self, size: Size) -> Mapping[str, Spec | Sequence[Spec]]:
        """Each system sampled and exact, 3, 16 or 128 runs."""
        from tegum.core.features.distribution import FeatureDistribution
        from tegum.core.features.sets import Correlated, Independent
        from tegum.training.spec.methods import Sampled
        from tegum.training.spec.snapshots import Snapshots
        from tegum.training.spec.spec import Spec

        seeds, steps, snapshots = {"quick": (3, 5_000, 200), "default": (16, 20_000, 400), "full": (128, 30_000, 600)}[
            size
        ]
        systems = {"sets": [Correlated(3, 0.05)] * 2, "independent": [Independent(6, 0.05)]}
        specs: dict[str, Spec | Sequence[Spec]] = {}
        for name, sets in systems.items():
            sampled = Spec(
                features=FeatureDistribution(sets),
                hidden=3,
                initial_scale=0.01,
                training=Sampled(steps=steps, weight_decay=0.0),
                snapshots=Snapshots(count=snapshots, spacing="logarithmic"),
                seeds=seeds,
                base_seed=3,
            )
            specs[f"{name}-sampled"] = sampled
            specs[f"{name}-exact"] = sampled.replace(
                training=Sampled(steps=steps, weight_decay=0.0).noiseless(accuracy=ACCURACY)
            )
        return specs

    def analyse(self, runs: Mapping[str, xr.Dataset]) -> Findings[tuple[Pairs, ...]]:
        """Plateaus of all twins and their critical points; `shown` is the `Pairs` of each system."""
        pairs = [_pairs(name, runs[f"{name}-sampled"], runs[f"{name}-exact"]) for name in SYSTEMS]
        pairs = [each for each in pairs if each.seeds]
        measures: dict[str, Measure] = {}
        criteria: list[Criterion] = []
        for each in pairs:
            found = by_key(_measures(each))
            measures |= found
            criteria += _criteria(each.name, found)
        return Findings(
            tuple(measures.values()), tuple(criteria), _caption(pairs), tuple(pairs), tested=len(pairs) == len(SYSTEMS)
        )

    def draw(self, runs: Mapping[str, xr.Dataset], findings: Findings[tuple[Pairs, ...]]) -> Figure:  # noqa: ARG002 (it is in the findings)
        """One panel a system: both losses of one run on a log axis, with the index at each plateau."""
        from tegum.figures.twins import Panel, twins

        panels = []
        for pairs in findings.shown:
            at, seed = pairs.drawn, pairs.seeds[pairs.drawn]
            marks = [(each.plateau.start, each.plateau.end, each.label) for each in pairs.of(seed)]
            panels.append(Panel(SYSTEMS[pairs.name], pairs.steps, pairs.sampled[at], pairs.twin[at], tuple(marks)))
        return twins(panels, findings.caption)


def _pairs(name: str, sampled: xr.Dataset, exact: xr.Dataset) -> Pairs:
    from tegum.analysis.runs import completed
    from tegum.training.along import population_loss_along

    kept = np.flatnonzero(completed(sampled) & completed(exact))
    # Log-spaced snapshots begin at step 0, which a log axis does not have.
    later = slice(1, None)
    sampled, exact = sampled.isel(seed=kept, step=later), exact.isel(seed=kept, step=later)
    steps = exact["step"].values
    return Pairs(
        name,
        tuple(exact["seed"].values.tolist()),
        steps,
        np.maximum(population_loss_along(sampled).values, ACCURACY),
        np.maximum(exact["loss"].values, ACCURACY),
        tuple(_seen(exact)),
    )


def _seen(twins: xr.Dataset) -> list[Seen]:
    from tegum.analysis.dynamics.plateaus import find_plateaus
    from tegum.analysis.landscape.critical_points import critical_point

    def look(run: xr.Dataset, plateau: Plateau, reach: float) -> Seen:
        """Where Newton's method leads from a plateau, and from where the loss falls fastest afterwards."""
        point = critical_point(run.isel(step=plateau.slowest), tol=TOL, reach=reach)
        close = point.converged and point.moved <= reach
        near = close and (point.unstable or not plateau.escaped)
        fast_is_near = None
        if plateau.fastest is not None:
            fast = critical_point(run.isel(step=plateau.fastest), tol=TOL, reach=reach)
            fast_is_near = fast.converged and fast.moved <= reach and fast.unstable
        return Seen(int(run["seed"]), plateau, point, near, fast_is_near)

    calls = []
    for run in (twins.isel(seed=at) for at in range(twins.sizes["seed"])):
        end = run.isel(step=-1)
        reach = NEAR * float(np.sqrt((end["weights"] ** 2).sum() + (end["bias"] ** 2).sum()))
        plateaus = find_plateaus(np.maximum(run["loss"].values, ACCURACY), run["step"].values)
        calls += [partial(look, run, plateau, reach) for plateau in plateaus]
    # Most of a search is spent in kernels that release the interpreter's lock.
    with ThreadPoolExecutor() as pool:
        return all_done(pool, calls, Stop())


def _measures(pairs: Pairs) -> list[Measure]:
    from tegum.experiments.reporting import average, mean, share

    name, escaped = pairs.name, [each for each in pairs.seen if each.plateau.escaped]
    last = [each for each in pairs.seen if not each.plateau.escaped]
    null = [each.fast_is_near for each in escaped if each.fast_is_near is not None]
    runs = len({each.seed for each in escaped})
    sampled, twin = np.log(pairs.sampled), np.log(pairs.twin)
    # Snapshots are evenly spread over the logarithm of the step, and so is this mean.
    own = np.abs(sampled - twin).mean(1)
    others = [np.abs(sampled[k] - np.delete(twin, k, 0)).mean() for k in range(len(twin))] if len(twin) > 1 else []
    alike = np.abs(np.expm1(sampled[:, -1] - twin[:, -1])) < SAME
    chance = [np.mean(np.abs(np.expm1(sampled[k, -1] - np.delete(twin[:, -1], k))) < SAME) for k in range(len(twin))]
    indices = [each.point.index for each in escaped if each.near and each.point.index is not None]
    return [
        Measure(
            f"{name}.runs",
            f"{name}: runs",
            len(pairs.seeds),
            "run",
            n=len(pairs.seeds),
            meaning="trained to their end in both ways",
        ),
        average(
            f"{name}.escaped_plateaus_per_run",
            f"{name}: escaped plateaus per run",
            np.array([sum(each.seed == seed for each in escaped) for seed in pairs.seeds]),
            "plateau",
            "of the noiseless twin",
        ),
        share(
            f"{name}.escaped_plateaus_at_saddles",
            f"{name}: escaped plateaus at saddles",
            sum(each.near for each in escaped),
            len(escaped),
            f"a saddle within {NEAR:.0%} of the final parameters; null: where the loss falls fastest",
            runs=runs,
            null=mean([float(near) for near in null]),
        ),
        Measure(
            f"{name}.highest_index",
            f"{name}: highest index",
            max(indices, default=None),
            "1",
            n=runs,
            meaning="of saddles at escaped plateaus",
        ),
        Measure(
            f"{name}.lowest_index",
            f"{name}: lowest index",
            min(indices, default=None),
            "1",
            n=runs,
            meaning="of saddles at escaped plateaus",
        ),
        share(
            f"{name}.ends_at_minima",
            f"{name}: ends at minima",
            sum(each.near and each.point.index == 0 for each in last),
            len(last),
            "of the twins that end on a plateau",
        ),
        average(
            f"{name}.distance_to_twin",
            f"{name}: distance to the twin",
            own,
            "1",
            "mean |ln loss − ln loss of the twin| over the logarithm of the step; null: twins of other starts",
            null=mean([float(each) for each in others]),
        ),
        share(
            f"{name}.runs_that_end_as_their_twin",
            f"{name}: runs that end as their twin",
            int(alike.sum()),
            len(alike),
            f"final losses within {SAME:.0%}; null: twins of other starts",
            null=mean([float(each) for each in chance if np.isfinite(each)]),
        ),
    ]


def _criteria(name: str, measures: Mapping[str, Measure]) -> list[Criterion]:
    saddles, distance = measures[f"{name}.escaped_plateaus_at_saddles"], measures[f"{name}.distance_to_twin"]
    return [
        Criterion(
            f"{name}.plateaus_at_saddles",
            f"Plateaus are at saddles more often than where the loss falls fastest ({SYSTEMS[name]}).",
            saddles.low is not None and saddles.null is not None and saddles.low > saddles.null,
        ),
        Criterion(
            f"{name}.nearer_to_own_twin",
            f"A sampled run is nearer to its own twin than to others ({SYSTEMS[name]}).",
            distance.high is not None and distance.null is not None and distance.high < distance.null,
        ),
    ]


def _caption(pairs: Sequence[Pairs]) -> str:
    if not pairs:
        return "No run trained to its end."
    sentences = [
        "Exact population loss of one run of each system, trained on mini-batches and without noise from the same "
        "start. Bands are plateaus of the noiseless run; the number is the index of the saddle found near each (min: a "
        "minimum; ?: none near)."
    ]
    for each in pairs:
        seed = each.seeds[each.drawn]
        escaped = [found for found in each.seen if found.plateau.escaped]
        sentences.append(
            f"{each.name.capitalize()}: run {seed}; {sum(found.near for found in escaped)} of {len(escaped)} escaped "
            f"plateaus of {len(each.seeds)} runs are at saddles."
        )
    return " ".join(sentences)
