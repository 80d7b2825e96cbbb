"""Events looked at in the exact loss: whether a saddle lies before one, and whether it is left as its Hessian says."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, final

import numpy as np
from jaxtyping import Float

from tegum.analysis.levels import KINDS, Kind
from tegum.experiments._measures import average, share
from tegum.experiments.base import Measure

if TYPE_CHECKING:
    import xarray as xr

    from tegum.analysis.drops import Drop
    from tegum.analysis.landscape import CriticalPoint
    from tegum.analysis.levels import Event
    from tegum.training.spec import Snapshots, Spec

FEWEST_RUNS = 32
"""In smaller ensembles no event is looked at in the exact loss: one takes half a minute of computing."""

RUNS_FOR_EACH, MOST = 16, 8
"""One event is looked at for so many runs, and at most so many: the lanes of one flow."""

TOL, FINE = 1e-6, 1e-8
"""Of the gradient at a critical point; the second where that leaves it, or its index, undecided."""

STEPS = 40
"""The most steps to it."""

NEAR = 0.5
"""A saddle within this distance of the state before is near: one embedding of a digon has the length 1."""

FAR = 1.0
"""The search for a saddle ends here."""

ASIDE = 1e-4
"""How far from the saddle a flow starts that shows its linear growth."""

GROWN = 8.0
"""Linear growth is measured until so many times that."""

RTOL, ACCURACY = 1e-6, 1e-7
"""Of the flows."""

LEGS, FINEST = 50, 500
"""Snapshots of a flow, and parts of its time in which their places are chosen."""

NAMED: tuple[Kind, ...] = tuple(kind for kind in KINDS if kind in ("swap", "birth", "completion"))
"""The kinds of event that are looked at."""


@final
@dataclass(frozen=True, eq=False)
class Passage:
    """One event, from the state before it to the state after it, in the exact loss."""

    drop: Drop[Event]
    before: CriticalPoint
    """The critical point that Newton's method finds from the state before, near or not."""
    after: CriticalPoint
    rate: float
    """At which the linear flow leaves the saddle towards the state before; NaN where there is no saddle near."""
    start: float
    """How far the state before is from the saddle along its unstable directions."""
    growth: float
    """The rate seen in the flow from `ASIDE` beside the saddle; NaN where it did not grow so far."""
    time: float
    """The flow's from the state before until half of the exact drop; NaN where it did not."""
    grown: float
    """How far it is along the unstable directions then."""
    steps: float
    """AdamW's between the same two; NaN as well."""

    @property
    def saddle(self) -> bool:
        """Whether the state before is near a saddle."""
        return self.before.converged and self.before.moved <= NEAR and self.before.unstable

    @property
    def exact(self) -> float:
        """The exact drop of the loss from one critical point to the other."""
        return self.before.loss - self.after.loss

    @property
    def predicted(self) -> float:
        """The time in which linear growth would come from `start` to `grown`."""
        return float(np.log(self.grown / self.start) / self.rate)


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
    return list(first.values())[: min(MOST, runs // RUNS_FOR_EACH)]


def passages(run: xr.Dataset, spec: Spec, drops: Sequence[Drop[Event]]) -> list[Passage]:
    """What the exact loss says of some events.

    The states before and after lie `MARGIN` outside the event, or at the ends of training. Newton's method leads
    from the first to a critical point; L-BFGS from the second to a minimum, which Newton's method then makes sure of.

    Args:
        run: with the runs of the events.
        spec: that it was trained by.
        drops: across the events.

    """
    from tegum.analysis.drops import MARGIN

    if not drops:
        return []
    steps = run["step"].values
    places = [
        [
            int(np.searchsorted(steps, np.clip(at, 0, steps[-1])))
            for at in (each.event.start - MARGIN, each.event.end + MARGIN)
        ]
        for each in drops
    ]
    states = [
        [_state(run.sel(seed=each.event.seed), at) for at in ends] for each, ends in zip(drops, places, strict=True)
    ]
    starts, ends = (np.array([each[side] for each in states]) for side in (0, 1))
    ends = _settled(spec, ends)
    with ThreadPoolExecutor() as pool:
        points = list(pool.map(lambda state: _point(spec, state), [*starts, *ends]))
    return _followed(run, spec, drops, places, starts, points[: len(drops)], points[len(drops) :])


def measures(passages: Sequence[Passage]) -> list[Measure]:
    """What the exact loss says of the events that were looked at, one in a run."""
    near = [passage for passage in passages if passage.saddle]
    found = ", ".join(f"{each.before}{'' if each.saddle else ', not near'}" for each in passages)

    def of(values: Iterable[float]) -> np.ndarray:
        found = np.array(list(values), float)
        return found[np.isfinite(found)]

    unit = "1 / time of gradient flow"
    return [
        Measure("events looked at in the exact loss", len(passages), "event", n=len(passages), meaning="one in a run"),
        share("states before that are near a saddle", len(near), len(passages), found or "none looked at"),
        share(
            "states after that lead to a minimum",
            sum(passage.after.converged and passage.after.index == 0 for passage in passages),
            len(passages),
            "by L-BFGS, made sure of by the Hessian",
        ),
        average(
            "distance of the state before from its saddle",
            of(each.before.moved for each in near),
            "length",
            "least over rotations; an embedding of a digon has about the length 1",
        ),
        average(
            "distance along its unstable directions",
            of(each.start for each in near),
            "length",
            "of the state before; linear growth is that of much smaller ones",
        ),
        average("unstable directions of the saddle", of(each.before.negative for each in near), "direction", "index"),
        average("rate of the saddle", of(each.rate for each in near), unit, "−λ in the direction of the state before"),
        average(
            "growth beside the saddle",
            of(each.growth / each.rate for each in near),
            "ratio",
            "of the flow from 0.0001 beside it, relative to −λ; 1 where the Hessian is right",
        ),
        average(
            "time of escape, of the predicted one",
            of(each.time / each.predicted for each in near),
            "ratio",
            "flow from the state before to half of the drop, relative to growth at −λ; 1 where that holds so far",
        ),
        average(
            "time of escape of gradient flow", of(each.time for each in near), "time", "from the state before, as it is"
        ),
        average(
            "steps of escape of AdamW",
            of(each.steps for each in near),
            "step",
            "from the same state to half of the drop",
        ),
        average(
            "exact drop of the loss", of(each.exact for each in near), "loss, sum over features", "saddle to minimum"
        ),
        average(
            "drop of the loss, of the exact one",
            of(each.drop.size / each.exact for each in near),
            "ratio",
            "as measured in training, relative to saddle less minimum",
        ),
    ]


def _followed(
    run: xr.Dataset,
    spec: Spec,
    drops: Sequence[Drop[Event]],
    places: Sequence[Sequence[int]],
    starts: Float[np.ndarray, "event parameter"],
    before: Sequence[CriticalPoint],
    after: Sequence[CriticalPoint],
) -> list[Passage]:
    """The flows from the states before, and from beside the saddles, all of a kind at once."""
    from tegum.training.spec import Snapshots

    found = [_Leaving.of(point, state, spec.hidden) for point, state in zip(before, starts, strict=True)]
    near = [at for at, point in enumerate(before) if found[at] is not None and point.moved <= NEAR]
    growth, time, grown = (np.full(len(drops), np.nan) for _ in range(3))
    leaving = [each for at in near if (each := found[at]) is not None]
    if near:
        slowest = min(each.rate for each in leaving)
        beside = np.array([each.saddle + ASIDE * each.direction for each in leaving])
        # Linear growth to the length of an embedding, and as long as it takes to settle: never slower than that.
        longest = max((1.5 + max(0.0, -np.log(each.start))) / each.rate for each in leaving)
        with ThreadPoolExecutor() as pool:
            linear = pool.submit(_flow, spec, beside, 1.2 * np.log(GROWN) / slowest, Snapshots(count=LEGS))
            asis = pool.submit(_flow, spec, starts[near], longest, Snapshots(count=LEGS, spacing="logarithmic"))
        times, thetas, _ = linear.result()
        for at, each, path in zip(near, leaving, thetas, strict=True):
            growth[at] = _growth(times, each.along(path))
        times, thetas, losses = asis.result()
        for at, each, path, loss in zip(near, leaving, thetas, losses, strict=True):
            half = (before[at].loss + after[at].loss) / 2
            time[at] = _crossing(times, loss, half)
            grown[at] = np.interp(time[at], times, each.along(path))
    steps = []
    for drop, (first, last) in zip(drops, places, strict=True):
        own = run["loss"].sel(seed=drop.event.seed).values[first : last + 1]
        step = run["step"].values[first : last + 1]
        steps.append(_crossing(step - float(step[0]), own, float(own[0] + own[-1]) / 2))
    rows = zip(drops, before, after, found, growth.tolist(), time.tolist(), grown.tolist(), steps, strict=True)
    return [
        Passage(
            drop=drop,
            before=one,
            after=other,
            rate=np.nan if way is None or not np.isin(at, near) else way.rate,
            start=np.nan if way is None else way.start,
            growth=rate,
            time=half,
            grown=far,
            steps=count,
        )
        for at, (drop, one, other, way, rate, half, far, count) in enumerate(rows)
    ]


@final
@dataclass(frozen=True, eq=False)
class _Leaving:
    """How a saddle is left towards a state: the part of their difference in the unstable directions."""

    saddle: Float[np.ndarray, " parameter"]
    """In the pose of the state."""
    modes: Float[np.ndarray, "mode parameter"]
    """The unstable ones, in that pose."""
    direction: Float[np.ndarray, " parameter"]
    """Of length 1."""
    rate: float
    start: float

    @classmethod
    def of(cls, point: CriticalPoint, state: Float[np.ndarray, " parameter"], hidden: int) -> _Leaving | None:
        """None where the point is no saddle; where it is one only on one side of a kink, the fastest way there."""
        if not point.unstable:
            return None
        n, count = len(point.bias), point.negative
        weights, bias, curvature = point.mode_weights[:count], point.mode_bias[:count], point.eigenvalues[:count]
        if not count:
            fastest = [int(point.edge_curvature.argmin())]
            weights, bias = point.edge_weights[fastest], point.edge_bias[fastest]
            curvature = point.edge_curvature[fastest]
        left, _, right = np.linalg.svd(point.weights.T @ state[: n * hidden].reshape(n, hidden))
        turn = left @ right
        saddle = np.concatenate([(point.weights @ turn).ravel(), point.bias])
        modes = np.concatenate([(weights @ turn).reshape(len(weights), -1), bias], 1)
        amounts = modes @ (state - saddle)
        start = float(np.linalg.norm(amounts))
        shares = amounts / start
        if not count:
            # A ray: on its other side the loss does not fall.
            shares = np.abs(shares)
        return cls(saddle, modes, shares @ modes, float(-np.square(shares) @ curvature), start)

    def along(self, thetas: Float[np.ndarray, "time parameter"]) -> Float[np.ndarray, " time"]:
        """How far along the unstable directions."""
        return np.linalg.norm((thetas - self.saddle) @ self.modes.T, axis=1)


def _state(run: xr.Dataset, at: int) -> Float[np.ndarray, " parameter"]:
    snapshot = run.isel(step=at)
    weights = snapshot["weights"].transpose("feature", "hidden").values
    return np.concatenate([weights.ravel(), snapshot["bias"].values]).astype(np.float64)


def _split(spec: Spec, thetas: Float[np.ndarray, "run parameter"]) -> tuple[np.ndarray, np.ndarray]:
    n = spec.features.n
    return thetas[:, :-n].reshape(len(thetas), n, spec.hidden), thetas[:, -n:]


def _settled(spec: Spec, thetas: Float[np.ndarray, "run parameter"]) -> Float[np.ndarray, "run parameter"]:
    """The minima to which L-BFGS leads."""
    from tegum.training.engine import train
    from tegum.training.spec import Exact

    # So near that Newton's method has nothing left to do.
    training = Exact(steps=1_000, gradient_tolerance=TOL / 10, accuracy=TOL / 100)
    end = train(_from(spec, thetas).replace(training=training, snapshots=1)).isel(step=-1)
    weights = end["weights"].transpose("seed", "feature", "hidden").values
    return np.concatenate([weights.reshape(len(thetas), -1), end["bias"].values], 1)


def _from(spec: Spec, thetas: Float[np.ndarray, "run parameter"]) -> Spec:
    from tegum.training.spec import Exact

    weights, bias = _split(spec, thetas)
    return spec.replace(training=Exact(), snapshots=1, seeds=len(thetas), initial_scale=None, start=(weights, bias))


def _point(spec: Spec, theta: Float[np.ndarray, " parameter"]) -> CriticalPoint:
    from tegum.analysis.landscape import critical_point
    from tegum.analysis.surface import distance

    weights, bias = _split(spec, theta[None])
    search = {"steps": STEPS, "reach": FAR, "activation": spec.activation}
    point = critical_point(weights[0], bias[0], spec.features, tol=TOL, **search)
    if point.index is not None or point.moved > NEAR:
        return point
    finer = critical_point(point.weights, point.bias, spec.features, tol=FINE, **search)
    # From the state, and not from where the rougher search ended.
    return replace(finer, moved=distance(finer.weights, finer.bias, weights[0], bias[0]))


def _flow(
    spec: Spec, thetas: Float[np.ndarray, "run parameter"], duration: float, snapshots: Snapshots
) -> tuple[Float[np.ndarray, " time"], Float[np.ndarray, "run time parameter"], Float[np.ndarray, "run time"]]:
    """The gradient flow from given parameters: times, parameters and exact losses."""
    from tegum.training.engine import train
    from tegum.training.spec import Flow

    training = Flow(steps=FINEST, duration=float(duration), rtol=RTOL, accuracy=ACCURACY)
    run = train(_from(spec, thetas).replace(training=training, snapshots=snapshots))
    weights = run["weights"].transpose("seed", "step", "feature", "hidden").values
    parameters = np.concatenate([weights.reshape(*weights.shape[:2], -1), run["bias"].values], -1)
    # All runs have the same times.
    return run["time"].values[0], parameters, run["loss"].values


def _growth(times: Float[np.ndarray, " time"], far: Float[np.ndarray, " time"]) -> float:
    """The rate of exponential growth up to `GROWN` times the start; NaN where it does not come so far."""
    if not far.max() >= GROWN * far[0]:
        return np.nan
    end = int(np.argmax(far >= GROWN * far[0])) + 1
    return float(np.polyfit(times[:end], np.log(far[:end]), 1)[0])


def _crossing(times: Float[np.ndarray, " time"], loss: Float[np.ndarray, " time"], level: float) -> float:
    """The time at which the loss comes below a level, between snapshots by a straight line; NaN where it does not."""
    below = loss < level
    if not below.any():
        return np.nan
    at = int(np.argmax(below))
    if at == 0:
        return float(times[0])
    return float(np.interp(-level, -loss[at - 1 : at + 1], times[at - 1 : at + 1]))
