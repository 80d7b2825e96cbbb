"""Events looked at in the exact loss: whether the plateau before one is a saddle, and is left as the saddle says.

From some time before an event goes the gradient flow of the exact loss, without the noise of training. If it leaves
the plateau by itself, the plateau is no place to rest; where the flow is slowest before it does, a saddle should be
near, and Newton's method looks for it. Beside each event a run without any is looked at in the same way, from the same
step.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, final

import numpy as np
from jaxtyping import Bool, Int

from tegum.analysis.dynamics.levels import KINDS, Kind
from tegum.experiments.reporting import Measure, average, mean, share
from tegum.solutions.escapes import Flown, Leaving, crossing, flown, growth
from tegum.solutions.saddles import critical_near
from tegum.solutions.searches import searched

if TYPE_CHECKING:
    import xarray as xr

    from tegum.analysis.dynamics.drops import Drop
    from tegum.analysis.dynamics.levels import Event
    from tegum.analysis.landscape.critical_points import CriticalPoint
    from tegum.training.spec.spec import Spec

FEWEST_RUNS = 32
"""In smaller ensembles no event is looked at in the exact loss: one takes half a minute of computing."""

RUNS_FOR_EACH, MOST_EVENTS = 8, 8
"""One event is looked at for so many runs, and at most so many: the lanes of one flow."""

BEFORE = 3_000
"""Steps before an event from which the flow goes: six times as long as a jump takes."""

LASTING, FLOW_SNAPSHOTS = 600.0, 150
"""Time of that flow, and its snapshots."""

REPRESENTED_DIMENSIONALITY = 0.25
"""A feature is represented from this dimensionality on: half-way from 0 to a digon."""

NEAR_SADDLE = 0.5
"""A saddle within this distance of where the flow is slowest is near: one embedding of a digon has the length 1."""

FAR = 1.0
"""The search for a saddle ends here."""

ASIDE, GROWN, LEGS = 1e-4, 8.0, 50
"""Linear growth is seen from so far beside the saddle until so many times that, on so many snapshots."""

NAMED: tuple[Kind, ...] = tuple(kind for kind in KINDS if kind in ("swap", "birth", "completion"))
"""The kinds of event that are looked at."""


@final
@dataclass(frozen=True, eq=False)
class PlateauInExactLoss:
    """A plateau of one run: what gradient flow does from there, and the critical point near."""

    seed: int
    step: int
    """From which the flow goes."""
    left: bool
    """Whether another number of features is represented at the end of the flow than on the plateau."""
    point: CriticalPoint
    """From where the flow is slowest on the plateau."""

    @property
    def saddle(self) -> bool:
        """Whether a saddle is near."""
        return self.point.converged and self.point.moved <= NEAR_SADDLE and self.point.unstable

    @property
    def label(self) -> str:
        """What the point is, or that none was found in reach."""
        if not self.point.converged:
            return "none found"
        return str(self.point) if self.point.moved <= NEAR_SADDLE else f"{self.point}, not near"


@final
@dataclass(frozen=True, eq=False)
class EventInExactLoss:
    """One event, from the plateau before it to the state after it, in the exact loss."""

    drop: Drop[Event]
    look: PlateauInExactLoss
    after: CriticalPoint
    """Near the end of the flow."""
    apart: float
    """Its distance from the run's own state after the event."""
    apart_before: float
    """The same from the state before: the null of that."""
    feature: int | None
    """That the unstable directions change most, towards where the flow is slowest; None where no saddle is near."""
    rate: float
    """At which linear growth leaves the saddle towards where the flow is slowest; NaN where no saddle is near."""
    start: float
    """How far that place is from the saddle along its unstable directions."""
    growth: float
    """The rate seen in the flow from `ASIDE` beside the saddle; NaN where it did not grow so far."""
    time: float
    """The flow's from where it is slowest until half of the exact drop; NaN where it did not come so far."""
    predicted: float
    """The time in which linear growth would come as far; NaN as well."""

    @property
    def points(self) -> bool:
        """Whether that feature jumps in the event."""
        return any(jump.feature == self.feature for jump in self.drop.event.jumps)

    @property
    def exact(self) -> float:
        """The exact drop of the loss from one critical point to the other."""
        return self.look.point.loss - self.after.loss


@final
@dataclass(frozen=True, eq=False)
class Looked:
    """What the exact loss says of events and, as a null, of runs without any at the same steps."""

    passages: tuple[EventInExactLoss, ...] = ()
    calm: tuple[PlateauInExactLoss, ...] = ()


def chosen(drops: Sequence[Drop[Event]], runs: int) -> list[Drop[Event]]:
    """The events to look at: swaps, births and completions with a measured drop, the first of each run, by seed.

    Args:
        drops: of all late events, in order.
        runs: in the ensemble.

    """
    if runs < FEWEST_RUNS:
        return []
    first: dict[int, Drop[Event]] = {}
    for drop in drops:
        if drop.significant and set(drop.event.kinds) & set(NAMED):
            first.setdefault(drop.event.seed, drop)
    return list(first.values())[: min(MOST_EVENTS, runs // RUNS_FOR_EACH)]


def looked(run: xr.Dataset, spec: Spec, drops: Sequence[Drop[Event]], calm: Sequence[int]) -> Looked:
    """What the exact loss says of some events.

    Args:
        run: with the runs of the events and the calm ones.
        spec: that it was trained by.
        drops: across the events.
        calm: seeds of runs without late events. Beside each event the first of them that has as many represented
            features at the same steps is looked at, each of them once.

    """
    from tegum.analysis.dynamics.drops import MARGIN
    from tegum.analysis.geometry.measures import dimensionality
    from tegum.training.spec.snapshots import Snapshots

    if not drops:
        return Looked()
    steps = run["step"].values
    represented = (
        (dimensionality(run["weights"]) >= REPRESENTED_DIMENSIONALITY).sum("feature").transpose("seed", "step")
    )
    # Each run with the snapshots from which the flow goes, and on the plateau just before the event.
    places = [
        (drop.event.seed, _place(steps, drop.event.start - BEFORE), _place(steps, drop.event.start - MARGIN))
        for drop in drops
    ]
    places += _beside(represented, places, calm)
    states = [_state(run, seed, begin) for seed, begin, _ in places]
    flows = flown(
        spec,
        np.array([weights for weights, _ in states]),
        np.array([bias for _, bias in states]),
        LASTING,
        Snapshots(count=FLOW_SNAPSHOTS),
    )
    counts = np.array([int(represented.sel(seed=seed).isel(step=late)) for seed, _, late in places])
    slowest, left = _slowest(flows, counts)

    def point(at: int, time: int) -> CriticalPoint:
        return critical_near(spec, flows.weights[at, time], flows.bias[at, time], FAR, corners=())

    calls = [partial(point, at, int(time)) for at, time in enumerate(slowest)]
    calls += [partial(point, at, -1) for at in range(len(drops))]
    found = searched(calls, "searching for saddles", "states")
    looks = [
        PlateauInExactLoss(seed, int(steps[begin]), bool(gone), saddle)
        for (seed, begin, _), gone, saddle in zip(places, left, found[: len(places)], strict=True)
    ]
    after = found[len(places) :]
    own = [_state(run, drop.event.seed, _place(steps, drop.event.end + MARGIN)) for drop in drops]
    return Looked(_passages(spec, drops, looks, after, states, own, flows, slowest), tuple(looks[len(drops) :]))


def measures(looked: Looked) -> list[Measure]:
    """What the exact loss says of the events that were looked at, one in a run, or that there are none."""
    passages, calm = looked.passages, looked.calm
    if not passages:
        rule = f"swaps, births and completions with a drop, in ensembles of {FEWEST_RUNS} runs or more"
        return [
            Measure(
                "events_looked_at_in_exact_loss", "events looked at in the exact loss", 0, "event", n=0, meaning=rule
            )
        ]
    near = [passage for passage in passages if passage.look.saddle]
    found, beside = (", ".join(look.label for look in looks) for looks in ([p.look for p in passages], calm))

    def of(values: Iterable[float]) -> np.ndarray:
        found = np.array(list(values), float)
        return found[np.isfinite(found)]

    unit = "1 / time of gradient flow"
    timed = of(each.time / each.predicted for each in near)
    return [
        Measure(
            "events_looked_at_in_exact_loss",
            "events looked at in the exact loss",
            len(passages),
            "event",
            n=len(passages),
            meaning="one in a run",
        ),
        Measure(
            "calm_runs_looked_at",
            "calm runs looked at beside them",
            len(calm),
            "run",
            n=len(calm),
            meaning="from the steps of the events",
        ),
        share(
            "plateaus_before_events_that_flow_leaves",
            "plateaus before events that flow leaves",
            sum(passage.look.left for passage in passages),
            len(passages),
            f"without noise, from {BEFORE:,} steps before; null: runs without events at the same steps",
            null=mean([float(look.left) for look in calm]),
        ),
        share(
            "plateaus_before_events_near_saddle",
            "plateaus before events that are near a saddle",
            len(near),
            len(passages),
            f"{found}; null: runs without events, {beside or 'none looked at'}",
            null=mean([float(look.saddle) for look in calm]),
        ),
        average(
            "distance_from_saddle",
            "distance from the saddle",
            of(passage.look.point.moved for passage in near),
            "length",
            "of where the flow is slowest; least over rotations; an embedding of a digon has about the length 1",
        ),
        average(
            "distance_along_unstable_directions",
            "distance along its unstable directions",
            of(passage.start for passage in near),
            "length",
            "of where the flow is slowest, from the saddle",
        ),
        average(
            "unstable_directions_of_saddle",
            "unstable directions of the saddle",
            of(each.look.point.negative for each in near),
            "direction",
            "index",
        ),
        share(
            "saddles_left_along_jumping_feature",
            "saddles that are left along a feature that jumps",
            sum(passage.points for passage in near),
            len(near),
            "the unstable directions, towards where the flow is slowest, change it most; null: any feature",
            null=mean([len({jump.feature for jump in p.drop.event.jumps}) / len(p.after.bias) for p in near]),
        ),
        average(
            "saddle_rate",
            "rate of the saddle",
            of(each.rate for each in near),
            unit,
            "−λ in the direction of that place",
        ),
        average(
            "growth_beside_saddle",
            "growth beside the saddle",
            of(each.growth / each.rate for each in near),
            "ratio",
            f"of the flow from {ASIDE:g} beside it, relative to −λ; 1 where the Hessian is right",
        ),
        average(
            "escape_time_over_predicted",
            "time of escape, of the predicted one",
            timed,
            "ratio",
            f"flow from its slowest place to half of the drop, relative to growth at −λ; of {len(timed)} of "
            f"{len(near)}, the others end before or are farther from the saddle at once",
        ),
        average(
            "escape_time_of_gradient_flow",
            "time of escape of gradient flow",
            of(each.time for each in near),
            "time",
            "from its slowest place, as it is",
        ),
        share(
            "flows_that_end_at_minimum",
            "flows through events that end at a minimum",
            sum(passage.after.index == 0 for passage in passages),
            len(passages),
            "by the Hessian",
        ),
        average(
            "distance_of_state_after_event_from_flow_end",
            "distance of the state after an event from where the flow ends",
            of(passage.apart for passage in passages),
            "length",
            "least over rotations; null: of the state before",
            null=mean([passage.apart_before for passage in passages]),
        ),
        average(
            "exact_loss_drop",
            "exact drop of the loss",
            of(each.exact for each in near),
            "loss, sum over features",
            "saddle to minimum",
        ),
        average(
            "loss_drop_over_exact",
            "drop of the loss, of the exact one",
            of(each.drop.size / each.exact for each in near),
            "ratio",
            "as measured in training, relative to saddle less minimum",
        ),
    ]


def _passages(
    spec: Spec,
    drops: Sequence[Drop[Event]],
    looks: Sequence[PlateauInExactLoss],
    after: Sequence[CriticalPoint],
    states: Sequence[tuple[np.ndarray, np.ndarray]],
    own: Sequence[tuple[np.ndarray, np.ndarray]],
    flows: Flown,
    slowest: np.ndarray,
) -> tuple[EventInExactLoss, ...]:
    from tegum.analysis.landscape.surface import distance

    ways = [
        Leaving.of(look.point, flows.weights[at, slowest[at]], flows.bias[at, slowest[at]]) if look.saddle else None
        for at, look in enumerate(looks[: len(drops)])
    ]
    rates = _growths(spec, [way for way in ways if way is not None])
    thetas, found = flows.thetas, []
    for at, (drop, look, end, way) in enumerate(zip(drops, looks[: len(drops)], after, ways, strict=True)):
        time = predicted = seen = float("nan")
        if way is not None:
            seen, time = next(rates), crossing(flows.time, flows.loss[at], (look.point.loss + end.loss) / 2)
            if np.isfinite(time):
                grown = float(np.interp(time, flows.time, way.along(thetas[at])))
                time, predicted = time - float(flows.time[slowest[at]]), way.predicted(grown)
        found.append(
            EventInExactLoss(
                drop=drop,
                look=look,
                after=end,
                apart=distance(end.weights, end.bias, *own[at]),
                apart_before=distance(end.weights, end.bias, *states[at]),
                feature=None if way is None else int(way.shares(spec.features.n).argmax()),
                rate=float("nan") if way is None else way.rate,
                start=float("nan") if way is None else way.start,
                growth=seen,
                time=time,
                predicted=predicted,
            )
        )
    return tuple(found)


def _growths(spec: Spec, ways: Sequence[Leaving]) -> Iterator[float]:
    """The rate of each flow from just beside its saddle, all at once."""
    from tegum.training.spec.snapshots import Snapshots

    if not ways:
        return iter(())
    beside = np.array([way.aside(ASIDE) for way in ways])
    n = spec.features.n
    weights, bias = beside[:, :-n].reshape(len(ways), n, spec.hidden), beside[:, -n:]
    longest = 1.2 * np.log(GROWN) / min(way.rate for way in ways)
    flows = flown(spec, weights, bias, longest, Snapshots(count=LEGS))
    return iter([growth(flows.time, way.along(path), GROWN) for way, path in zip(ways, flows.thetas, strict=True)])


def _slowest(flows: Flown, counts: Int[np.ndarray, " run"]) -> tuple[Int[np.ndarray, " run"], Bool[np.ndarray, " run"]]:
    """Where each flow is slowest while so many features are represented, and whether others are at its end."""
    from tegum.analysis.geometry.measures import dimensionality

    there = (dimensionality(flows.weights) >= REPRESENTED_DIMENSIONALITY).sum(-1) == counts[:, None]
    speeds = np.where(there[:, :-1] & there[:, 1:], flows.speeds(), np.inf)
    return speeds.argmin(1), ~there[:, -1]


def _beside(
    represented: xr.DataArray, places: Sequence[tuple[int, int, int]], calm: Sequence[int]
) -> list[tuple[int, int, int]]:
    found: list[tuple[int, int, int]] = []
    for seed, begin, late in places:
        counts = represented.isel(step=late)
        free = [each for each in calm if each not in [used for used, *_ in found]]
        alike = [each for each in free if int(counts.sel(seed=each)) == int(counts.sel(seed=seed))]
        found += [(each, begin, late) for each in alike[:1]]
    return found


def _place(steps: np.ndarray, at: int) -> int:
    return int(np.searchsorted(steps, np.clip(at, 0, steps[-1])))


def _state(run: xr.Dataset, seed: int, at: int) -> tuple[np.ndarray, np.ndarray]:
    snapshot = run.sel(seed=seed).isel(step=at)
    weights = snapshot["weights"].transpose("feature", "hidden").values
    return weights.astype(np.float64), snapshot["bias"].values.astype(np.float64)
