"""Events in the exact loss: whether the plateau before one is near a saddle, and is left as the saddle predicts.

Gradient flow of the exact loss, without the noise of training, starts some time before an event. If it leaves the
plateau by itself, the plateau is not a stable state. A saddle should then be near the point at which the flow was
slowest, and Newton's method searches for it. As a null, a run without any event is examined in the same way for each
event, from the same step.
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
from tegum.solutions.escapes import Flown, Leaving, between, crossing, flown, growth
from tegum.solutions.saddles import critical_near
from tegum.solutions.searches import searched

if TYPE_CHECKING:
    import xarray as xr

    from tegum.analysis.dynamics.drops import Drop
    from tegum.analysis.dynamics.levels import Event
    from tegum.analysis.landscape.critical_points import CriticalPoint
    from tegum.training.spec.spec import Spec

FEWEST_RUNS = 32
"""In smaller ensembles no event is examined in the exact loss, as each takes half a minute of computing."""

RUNS_FOR_EACH, MOST_EVENTS = 8, 8
"""One event is examined per `RUNS_FOR_EACH` runs, and at most `MOST_EVENTS`, as many as one flow has lanes."""

BEFORE = 3_000
"""The flow starts this many steps before an event, six times the duration of a jump."""

LASTING, FLOW_SNAPSHOTS, CROSSING_SNAPSHOTS = 600.0, 40, 10
"""The duration of the flow in its own time; its number of snapshots; and the number of snapshots between the two where
half of the drop lies, as the loss may fall within less time than there is between them."""

REPRESENTED_DIMENSIONALITY = 0.25
"""A feature counts as represented from this dimensionality, half-way from 0 to a digon."""

NEAR_SADDLE = 0.5
"""A saddle counts as near within this distance of the flow's slowest point; embeddings in a digon have length 1."""

FAR = 1.0
"""The search for a saddle stops at this distance."""

ASIDE, GROWN, LEGS = 1e-4, 8.0, 50
"""Linear growth is observed from this distance off the saddle up to this multiple of it, on this many snapshots."""

NAMED: tuple[Kind, ...] = tuple(kind for kind in KINDS if kind in ("swap", "birth", "completion"))
"""The kinds of event that are examined."""


@final
@dataclass(frozen=True, eq=False)
class PlateauInExactLoss:
    """A plateau of one run: what gradient flow does from there, and the nearest critical point found."""

    seed: int
    step: int
    """The step from which the flow starts."""
    left: bool
    """Whether the number of represented features differs between the end of the flow and the plateau."""
    point: CriticalPoint
    """The critical point found from the slowest point of the flow on the plateau."""

    @property
    def saddle(self) -> bool:
        """Whether a saddle is near."""
        return self.point.converged and self.point.moved <= NEAR_SADDLE and self.point.unstable

    @property
    def label(self) -> str:
        """What kind of critical point it is, or that none was found within reach."""
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
    """The critical point found from the end of the flow."""
    apart: float
    """The distance of that critical point from the run's own state after the event."""
    apart_before: float
    """The distance of that critical point from the run's own state before the event, as a null."""
    feature: int | None
    """The feature most affected by the saddle's unstable directions towards the flow's slowest point; None without a
    saddle nearby."""
    rate: float
    """The rate of linear growth from the saddle towards the flow's slowest point; NaN without a saddle nearby."""
    start: float
    """The distance of the flow's slowest point from the saddle along its unstable directions."""
    growth: float
    """The rate observed in a flow that starts `ASIDE` from the saddle; NaN if it did not grow far enough."""
    time: float
    """The time of the flow from its slowest point to half of the exact drop; NaN if it did not get that far."""
    predicted: float
    """The time that linear growth would take to get as far; NaN if the flow did not get that far."""

    @property
    def points(self) -> bool:
        """Whether the feature most affected by the unstable directions jumps in the event."""
        return any(jump.feature == self.feature for jump in self.drop.event.jumps)

    @property
    def exact(self) -> float:
        """The drop of the exact loss from the saddle before the event to the critical point after it."""
        return self.look.point.loss - self.after.loss


@final
@dataclass(frozen=True, eq=False)
class ExactLossFindings:
    """What the exact loss shows around events and, as a null, in runs without events at the same steps."""

    passages: tuple[EventInExactLoss, ...] = ()
    calm: tuple[PlateauInExactLoss, ...] = ()


def chosen(drops: Sequence[Drop[Event]], runs: int) -> list[Drop[Event]]:
    """Choose the events to examine: the first swap, birth or completion with a measured drop of each run, by seed.

    Args:
        drops: the drops of all late events, in order.
        runs: the number of runs in the ensemble.

    """
    if runs < FEWEST_RUNS:
        return []
    first: dict[int, Drop[Event]] = {}
    for drop in drops:
        if drop.significant and set(drop.event.kinds) & set(NAMED):
            first.setdefault(drop.event.seed, drop)
    return list(first.values())[: min(MOST_EVENTS, runs // RUNS_FOR_EACH)]


def examine(run: xr.Dataset, spec: Spec, drops: Sequence[Drop[Event]], calm: Sequence[int]) -> ExactLossFindings:
    """Examine some events in the exact loss.

    Args:
        run: the trajectory with the runs of the events and the calm ones.
        spec: the Spec of the trajectory.
        drops: the drops across the events.
        calm: the seeds of runs without late events. For each event, the first of them with as many represented
            features at the same step is examined as well, each at most once.

    """
    from tegum.analysis.dynamics.drops import MARGIN
    from tegum.analysis.geometry.measures import dimensionality

    if not drops:
        return ExactLossFindings()
    steps = run["step"].values
    represented = (
        (dimensionality(run["weights"]) >= REPRESENTED_DIMENSIONALITY).sum("feature").transpose("seed", "step")
    )
    # For each run, the snapshot from which the flow starts, and that on the plateau just before the event.
    places = [
        (drop.event.seed, _place(steps, drop.event.start - BEFORE), _place(steps, drop.event.start - MARGIN))
        for drop in drops
    ]
    places += _calm_counterparts(represented, places, calm)
    states = [_state(run, seed, begin) for seed, begin, _ in places]
    flows = flown(
        spec,
        np.array([weights for weights, _ in states]),
        np.array([bias for _, bias in states]),
        LASTING,
        FLOW_SNAPSHOTS,
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
    return ExactLossFindings(
        _passages(spec, drops, looks, after, states, own, flows, slowest), tuple(looks[len(drops) :])
    )


def measures(found: ExactLossFindings) -> list[Measure]:
    """The measures of the events examined in the exact loss, one per run; or that there are none."""
    passages, calm = found.passages, found.calm
    if not passages:
        rule = f"swaps, births and completions with a drop, examined only in ensembles of {FEWEST_RUNS} runs or more"
        return [
            Measure(
                "events_looked_at_in_exact_loss", "events examined in the exact loss", 0, "events", n=0, meaning=rule
            )
        ]
    near = [passage for passage in passages if passage.look.saddle]
    points, others = (", ".join(look.label for look in looks) for looks in ([p.look for p in passages], calm))

    def of(values: Iterable[float]) -> np.ndarray:
        numbers = np.array(list(values), float)
        return numbers[np.isfinite(numbers)]

    unit = "1 / time of gradient flow"
    timed = of(each.time / each.predicted for each in near)
    return [
        Measure(
            "events_looked_at_in_exact_loss",
            "events examined in the exact loss",
            len(passages),
            "events",
            n=len(passages),
            meaning="swaps, births and completions with a drop, at most one per run",
        ),
        Measure(
            "calm_runs_looked_at",
            "runs without events examined as null",
            len(calm),
            "runs",
            n=len(calm),
            meaning="runs without late events that have as many represented features, at the steps of the events",
        ),
        share(
            "plateaus_before_events_that_flow_leaves",
            "plateaus before events that noiseless flow leaves",
            sum(passage.look.left for passage in passages),
            len(passages),
            f"plateaus left by gradient flow of the exact loss from {BEFORE:,} steps before the event; null: runs "
            "without events at the same steps",
            null=mean([float(look.left) for look in calm]),
        ),
        share(
            "plateaus_before_events_near_saddle",
            "plateaus before events near a saddle",
            len(near),
            len(passages),
            f"critical points found: {points}; null: runs without events ({others or 'none examined'})",
            null=mean([float(look.saddle) for look in calm]),
        ),
        average(
            "distance_from_saddle",
            "distance from the saddle",
            of(passage.look.point.moved for passage in near),
            "length",
            "distance of the flow's slowest point from the saddle, least over rotations; embeddings in a digon have "
            "length about 1",
        ),
        average(
            "distance_along_unstable_directions",
            "distance from the saddle along its unstable directions",
            of(passage.start for passage in near),
            "length",
            "distance of the flow's slowest point from the saddle along the unstable directions",
        ),
        average(
            "unstable_directions_of_saddle",
            "unstable directions of the saddle",
            of(each.look.point.negative for each in near),
            "directions",
            "index of the saddle near the plateau, mean over saddles",
        ),
        share(
            "saddles_left_along_jumping_feature",
            "saddles left along a feature that jumps",
            sum(passage.points for passage in near),
            len(near),
            "saddles whose unstable directions, towards the flow's slowest point, mainly affect a feature that jumps "
            "in the event; null: a random feature",
            null=mean([len({jump.feature for jump in p.drop.event.jumps}) / len(p.after.bias) for p in near]),
        ),
        average(
            "saddle_rate",
            "rate of the saddle",
            of(each.rate for each in near),
            unit,
            "growth rate −λ of the saddle in the direction of the flow's slowest point",
        ),
        average(
            "growth_beside_saddle",
            "observed / predicted growth rate near the saddle",
            of(each.growth / each.rate for each in near),
            "",
            f"growth rate of a flow that starts {ASIDE:g} from the saddle, relative to −λ; 1 if the Hessian is right",
        ),
        average(
            "escape_time_over_predicted",
            "escape time / predicted escape time",
            timed,
            "",
            f"time of the flow from its slowest point to half of the drop, relative to growth at −λ, in {len(timed)} "
            f"of {len(near)} events; the others end earlier or start farther from the saddle",
        ),
        average(
            "escape_time_of_gradient_flow",
            "escape time of gradient flow",
            of(each.time for each in near),
            "time",
            "time of the flow from its slowest point to half of the drop",
        ),
        share(
            "flows_that_end_at_minimum",
            "flows through events that end at a minimum",
            sum(passage.after.index == 0 for passage in passages),
            len(passages),
            "events after which the flow ends near a minimum, as shown by the Hessian",
        ),
        average(
            "distance_of_state_after_event_from_flow_end",
            "distance between the state after an event and the end of the flow",
            of(passage.apart for passage in passages),
            "length",
            "distance of the run's own state after the event from the critical point at the end of the flow, least "
            "over rotations; null: the state before the event",
            null=mean([passage.apart_before for passage in passages]),
        ),
        average(
            "exact_loss_drop",
            "exact drop of the loss",
            of(each.exact for each in near),
            "loss, sum over features",
            "exact loss at the saddle minus exact loss at the critical point after the event",
        ),
        average(
            "loss_drop_over_exact",
            "measured / exact drop of the loss",
            of(each.drop.size / each.exact for each in near),
            "",
            "drop across the event as measured in training, relative to the exact drop from the saddle",
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
    times = _half_dropped(
        spec,
        flows,
        ways,
        [(look.point.loss + end.loss) / 2 for look, end in zip(looks[: len(drops)], after, strict=True)],
    )
    found = []
    for at, (drop, look, end, way) in enumerate(zip(drops, looks[: len(drops)], after, ways, strict=True)):
        time = predicted = observed = float("nan")
        if way is not None:
            observed = next(rates)
            if at in times:
                time, grown = times[at]
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
                growth=observed,
                time=time,
                predicted=predicted,
            )
        )
    return tuple(found)


def _half_dropped(
    spec: Spec, flows: Flown, ways: Sequence[Leaving | None], halves: Sequence[float]
) -> dict[int, tuple[float, float]]:
    """When each flow is half-way down, and how far it then is from its saddle, for flows that get there.

    Args:
        spec: of the runs.
        flows: of the events, in order.
        ways: how each leaves its saddle; None without a saddle.
        halves: the loss half-way down.

    """
    before: dict[int, int] = {}
    for at, (way, half) in enumerate(zip(ways, halves, strict=True)):
        time = float("nan") if way is None else crossing(flows.time, flows.loss[at], half)
        if np.isfinite(time):
            before[at] = max(int(np.searchsorted(flows.time, time)) - 1, 0)
    if not before:
        return {}
    # The same flows once more between two snapshots, all of them together.
    runs, starts = list(before), list(before.values())
    duration = float(flows.time[1] - flows.time[0])
    closer = flown(spec, flows.weights[runs, starts], flows.bias[runs, starts], duration, CROSSING_SNAPSHOTS)
    found = {}
    for number, (at, start) in enumerate(before.items()):
        way, time = ways[at], crossing(closer.time, closer.loss[number], halves[at])
        if way is not None:
            # It ends below, but for the error of its steps.
            time = time if np.isfinite(time) else float(closer.time[-1])
            far = float(between(closer.time, way.along(closer.thetas[number]))(time))
            found[at] = float(flows.time[start]) + time, far
    return found


def _growths(spec: Spec, ways: Sequence[Leaving]) -> Iterator[float]:
    """The growth rate of a flow from just off each saddle; all flows are integrated together."""
    if not ways:
        return iter(())
    starts = np.array([way.aside(ASIDE) for way in ways])
    n = spec.features.n
    weights, bias = starts[:, :-n].reshape(len(ways), n, spec.hidden), starts[:, -n:]
    longest = 1.2 * np.log(GROWN) / min(way.rate for way in ways)
    flows = flown(spec, weights, bias, longest, LEGS)
    return iter([growth(flows.time, way.along(path), GROWN) for way, path in zip(ways, flows.thetas, strict=True)])


def _slowest(flows: Flown, counts: Int[np.ndarray, " run"]) -> tuple[Int[np.ndarray, " run"], Bool[np.ndarray, " run"]]:
    """Where each flow is slowest while `counts` features are represented, and whether others are at its end."""
    from tegum.analysis.geometry.measures import dimensionality

    there = (dimensionality(flows.weights) >= REPRESENTED_DIMENSIONALITY).sum(-1) == counts[:, None]
    speeds = np.where(there[:, :-1] & there[:, 1:], flows.speeds(), np.inf)
    return speeds.argmin(1), ~there[:, -1]


def _calm_counterparts(
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
