"""What linear-first reports of what it found: measures, criteria, and the caption with its answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from tegum.experiments._measures import average, mean, share
from tegum.experiments._onset import HALF, MOST
from tegum.experiments._rank_order import ACCURATE, TRAININGS, WAYS, chance
from tegum.experiments.base import Criterion, Measure

if TYPE_CHECKING:
    from tegum.experiments._onset import Onset
    from tegum.experiments._plateau_ranks import System
    from tegum.experiments.linear_first import Found


def measures(found: Found) -> list[Measure]:
    """All measures, with names of their own."""
    return [*_of_systems(found), *_of_orders(found), *_of_onsets(found)]


def _of_systems(found: Found) -> Iterator[Measure]:
    for system in found.systems:
        small, xavier = system.runs[0], system.runs[-1]
        rank, start = min(system.sets, system.hidden), f"start scale {small.scale:g}"
        yield share(
            _plateau(system),
            int(system.on_rank(small).sum()),
            len(small.ranks),
            f"of the runs have the linear optimum of rank {rank} as first plateau, {start}; null: Xavier starts",
            null=float(np.mean(system.on_rank(xavier))),
        )
        yield share(
            f"{system.name}: first plateau linear of any rank",
            int((small.ranks > 0).sum()),
            len(small.ranks),
            f"{start}; null: Xavier starts",
            null=float(np.mean(xavier.ranks > 0)),
        )
        yield average(
            f"{system.name}: |W|² in the principal subspace",
            small.passing,
            "1",
            f"when the loss first is that of rank {rank}, {start}; null: Xavier starts",
            null=mean(xavier.passing.tolist()),
        )
        scales = [runs.scale for runs in system.runs[:-1] if np.mean(system.on_rank(runs)) > HALF]
        yield Measure(
            f"{system.name}: largest scale on it", max(scales, default=None), "1", n=len(small.ranks),
            meaning="start scale up to which more than half of the runs have that first plateau",
        )  # fmt: skip
    linear = [(runs, runs.ranks > 0, system) for system in found.systems for runs in system.runs[:1]]
    ends = [below for runs, on, system in linear for below in (runs.loss[on, -1] < system.losses[-1]).tolist()]
    yield share(
        "linear runs that end below every linear solution", sum(ends), len(ends),
        "of rank m at most, of runs whose first plateau is linear",
    )  # fmt: skip


def _plateau(system: System) -> str:
    return f"{system.name}: first plateau at rank {min(system.sets, system.hidden)}"


def _of_orders(found: Found) -> Iterator[Measure]:
    for (way, training), order in found.orders.items():
        modes = order.measured.shape[1]
        name = f"{WAYS[way]}, {TRAININGS[training]}"
        yield share(
            f"{name}: in the predicted order", int(order.in_order.sum()), len(order.measured),
            f"{modes} directions; null: a random order", null=chance(modes),
        )  # fmt: skip
        if training != "adamw":
            yield average(
                f"{name}: error of predicted times", order.error, "1",
                "mean |ln (measured/predicted)|; null: the predictions in every other order",
                null=order.error_permuted(),
            )  # fmt: skip
            rests = order.rests()
            gaps = np.abs(np.diff(np.log(order.losses[1 : modes + 1])))
            yield average(
                f"{name}: distance of rests from linear optima", rests, "1",
                "mean |ln (loss/L_r)| where the loss is slowest after direction r; null: to the next rank's",
                null=float(gaps.mean()),
            )  # fmt: skip
        elif way == "size":
            # AdamW moves entries, not directions, at its rate: a set of s features has √s of the distance to go.
            learned = order.measured[np.isfinite(order.measured).all(1)]
            roots = np.sqrt(np.array([5, 4, 3, 2]))
            yield average(
                f"{name}: exponent of the time in the set's size",
                np.array([np.polyfit(np.log(roots**2), np.log(row), 1)[0] for row in learned]),
                "1",
                "time to learn a set of s features ∝ s to this; −1/2 if all entries move alike; null: gradient flow",
                null=float(np.polyfit(np.log(roots**2), -np.log(order.eigenvalues), 1)[0]),
            )


def _of_onsets(found: Found) -> Iterator[Measure]:
    for training, group in found.onsets.items():
        for onset in group:
            name = f"{'linear model' if training == 'linear' else TRAININGS[training]}, {_place(onset)}"
            reached = np.isfinite(onset.more)
            yield share(
                f"{name}: runs with superposition", int(reached.sum()), len(reached),
                f"more than m = {onset.hidden} represented at the end; a linear model is the null",
            )  # fmt: skip
            if not reached.any():
                continue
            yield _step(f"{name}: onset of superposition", onset.more, "from which on more than m are represented")
            yield _step(f"{name}: m represented", onset.full, "from which on m are represented")
            if onset.scale != group[0].scale:
                continue
            for part in (HALF, MOST):
                yield _step(f"{name}: {part:.0%} of the fall", onset.done(part), "of the loss, from that of a constant")
            yield average(
                f"{name}: fall done at the onset", onset.at(onset.fallen, onset.more), "1", "part of the fall"
            )
            yield average(
                f"{name}: |W|²_F over m where m are represented",
                onset.at(onset.total, onset.full) / onset.hidden, "1", "null: 1, the most of a linear optimum",
                null=1.0,
            )  # fmt: skip
            yield average(
                f"{name}: dimensions per feature at the onset",
                onset.hidden / onset.at(onset.total, onset.more), "1", "m/|W|²_F; null: 1, of a linear optimum",
                null=1.0,
            )  # fmt: skip
            yield average(
                f"{name}: interference at the onset", onset.at(onset.disturbed, onset.more), "1",
                "Σ_j≠i (Ŵ_i · W_j)², mean over features; null: at the end", null=float(onset.disturbed[:, -1].mean()),
            )  # fmt: skip


def _step(name: str, steps: Float[np.ndarray, " run"], meaning: str) -> Measure:
    finite = steps[np.isfinite(steps)]
    return average(name, finite, "step", f"{meaning}; mean of {len(finite)} runs")


def _place(onset: Onset) -> str:
    scale = "Xavier" if np.isnan(onset.scale) else f"{onset.scale:g}"
    return f"density {onset.density:g}, scale {scale}"


def criteria(found: Found, measured: Mapping[str, Measure]) -> tuple[Criterion, ...]:
    """Those of the experiment's docstring, in its order."""
    spare = [system for system in found.systems if system.hidden >= 2 * system.sets]
    short = [system for system in found.systems if system.sets <= system.hidden < 2 * system.sets]

    def on_plateau(systems: list[System]) -> bool:
        chosen = [measured[_plateau(system)] for system in systems]
        return bool(chosen) and all(_low(each) > max(HALF, each.null or 0.0) for each in chosen)

    def ordered(training: str) -> bool:
        chosen = [measured[f"{WAYS[way]}, {TRAININGS[each]}: in the predicted order"]
                  for way, each in found.orders if each == training]  # fmt: skip
        return bool(chosen) and all(_low(each) > HALF for each in chosen)

    times = [measured[f"{WAYS[way]}, gradient flow: error of predicted times"]
             for way, each in found.orders if each == "flow"]  # fmt: skip
    return (
        Criterion("With room to spare the first plateau of most runs is the linear optimum of rank k.",
                  on_plateau(spare)),
        Criterion("The same where room is short, k ≤ m < 2k.", on_plateau(short)),
        Criterion("More than 90 % of the runs whose first plateau is linear end below every linear solution.",
                  _low(measured["linear runs that end below every linear solution"]) > MOST),
        Criterion("With SGD most runs learn principal directions in the predicted order.", ordered("sgd")),
        Criterion("In gradient flow they are learned at the predicted times, to 5 %.",
                  bool(times) and all(each.high is not None and each.null is not None
                                      and each.high < min(ACCURATE, each.null) for each in times)),
        Criterion("With AdamW, too, most runs learn them in the predicted order.", ordered("adamw")),
    )  # fmt: skip


def _low(measure: Measure) -> float:
    return -np.inf if measure.low is None else measure.low


def caption(found: Found) -> str:
    """What the six panels show."""
    runs = len(found.systems[0].runs[0].ranks)
    return (
        "Top: k correlated sets of three, density 0.05, AdamW. Left: population loss of one run from each start scale "
        "(k = 4, m = 8); lines are the best linear solutions of each rank. Right: share of runs whose first plateau is "
        f"the linear optimum of rank min(k, m), of {runs} runs, with 95 % intervals. Middle: four sets that differ. "
        "Left: strengths of the four principal directions in a run of gradient flow, and the predicted times (ticks). "
        "Right: share of runs that learn them in falling order of their eigenvalues; the dashed line is chance. "
        "Bottom: 20 independent features, m = 5, AdamW. Left: represented features over m, mean of runs from the "
        "smallest start; the mark is where 90 % of the loss's fall is done. Right: step of the onset of superposition, "
        "with 95 % intervals, and of 90 % of the fall (dotted)."
    )


def answer(found: Found) -> str:
    """Early or late, in a sentence with numbers."""
    small = [each for each in found.onsets["adamw"] if not np.isnan(each.scale)]
    least = min(each.scale for each in small)
    chosen = [each for each in small if each.scale == least and np.isfinite(each.more).all()]
    if not chosen:
        return "No superposition was found in every run of any density."
    ratio = [float(np.mean(each.more / each.full)) - 1 for each in chosen]
    fallen = [float(np.mean(each.at(each.fallen, each.more))) for each in chosen]
    densities = [each.density for each in chosen]
    totals = [float(np.mean(each.at(each.total, each.full))) / each.hidden for each in chosen]
    return (
        f"Early: at densities {_range(densities, 'g')} from starts of {least:g}, more than m features are represented "
        f"only {_range(ratio)} more steps after m are, when {_range(fallen)} of the loss's fall is done; |W|²_F, at "
        f"most m in a linear optimum, is {_range(totals, '.1f')} m already when m are represented."
    )


def _range(values: Sequence[float], form: str = ".0%") -> str:
    low, high = (format(pick(values), form) for pick in (min, max))
    return low if low == high else f"{low} to {high}"
