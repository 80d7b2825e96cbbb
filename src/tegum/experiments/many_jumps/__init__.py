"""Whether the smooth loss of larger models is made of many small jumps of features.

Its protocol stands beside this file in `PROTOCOL.md`: quotation, grid, definitions, nulls, criteria, amendments.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, final

import numpy as np

from tegum.analysis.dynamics.attribution import JumpAttribution, jump_attribution
from tegum.analysis.dynamics.own_jumps import FEWEST_RUNS_FOR_P
from tegum.experiments.framework import Criterion, Experiment, Findings, Size
from tegum.experiments.varied import SPARSEST, Range

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from tegum.figures.many_jumps import One
    from tegum.training.spec.spec import Spec

DENSITY = 0.3

RATIO = 10
"""Features for each dimension."""

HEIGHT, REST, LONGEST = 0.1, 100, 1_000
"""Of a jump: its least height, the plateaus beside it, and its longest time, in steps."""

FLOW = 10
"""So many steps count as much as one unit of time of the flow, by how long both take."""


@final
class ManyJumps(Experiment["list[JumpAttribution]"]):
    """The claim that smooth losses are made of jumps."""

    claim: ClassVar[str] = (
        "The seemingly smooth decrease of the loss in larger models is composed of many small jumps of features."
    )

    varies: ClassVar[Mapping[str, Range]] = {
        "seeds": Range(low=FEWEST_RUNS_FOR_P),
        "features.density": SPARSEST,
        "snapshots.count": Range(low=120),
    }

    def trainings(self, size: Size) -> Mapping[str, Spec | Sequence[Spec]]:
        """An ensemble of runs for each number of features, and of flows for some of them."""
        from tegum.core.features.distribution import FeatureDistribution
        from tegum.core.features.sets import Independent
        from tegum.training.spec.methods import Flow, Sampled
        from tegum.training.spec.snapshots import Snapshots
        from tegum.training.spec.spec import Spec

        runs, flows = {
            "quick": ({20: 12, 40: 12, 80: 12}, {}),
            "default": ({40: 32, 80: 32, 200: 24, 400: 24}, {20: 16, 40: 8}),
            "full": ({40: 128, 80: 128, 200: 96, 400: 96, 800: 24}, {20: 128, 40: 64}),
        }[size]
        sampled = Sampled(steps=4_000, evaluation=16_384)
        # Rounding of trajectories does not matter here, and tighter ones take several times as long.
        flow = Flow(steps=300, duration=300.0, rtol=1e-4, atol=1e-6, accuracy=1e-5)

        def spec(n: int, seeds: int, training: Sampled | Flow, count: int, base_seed: int) -> Spec:
            return Spec(
                features=FeatureDistribution([Independent(n, density=DENSITY)]),
                hidden=n // RATIO,
                training=training,
                snapshots=Snapshots(count=count),
                seeds=seeds,
                base_seed=base_seed,
            )

        return {
            **{f"run-{n}": spec(n, seeds, sampled, 200, 7_000 + n) for n, seeds in runs.items()},
            **{f"flow-{n}": spec(n, seeds, flow, 300, 7_000 + n) for n, seeds in flows.items()},
        }

    def analyse(self, runs: Mapping[str, xr.Dataset]) -> Findings[list[JumpAttribution]]:
        """Jumps and what the loss owes to them, for every size; `shown` is the list of `JumpAttribution`."""
        from tegum.experiments.many_jumps.measures import criteria, measures
        from tegum.training.compare import recorded_on

        found: dict[str, JumpAttribution | None] = {}
        for name, run in runs.items():
            flow = name.startswith("flow")
            found[name] = jump_attribution(run, _rest(flow), _rest(flow) * LONGEST // REST, HEIGHT)
        last = [name for name in runs if name.startswith("run")][-1]
        largest, recorded = found[last], recorded_on(runs[last].isel(seed=0)) if found[last] is not None else ""
        shown = [each for each in found.values() if each is not None]
        tested = largest if largest is not None and len(largest.courses) >= FEWEST_RUNS_FOR_P else None
        untrained = Criterion(
            "trained", f"At least {FEWEST_RUNS_FOR_P} of the largest models train to their end.", False
        )
        return Findings(
            tuple(measure for each in shown for measure in measures(each, _rest(each.flow))),
            criteria(tested) if tested else (untrained,),
            f"{_caption(shown)} {recorded}".rstrip(),
            shown,
            tested=tested is not None,
        )

    def draw(self, runs: Mapping[str, xr.Dataset], findings: Findings[list[JumpAttribution]]) -> Figure:  # noqa: ARG002 (it is in the findings)
        """One run of the smallest and of the largest size, and what jumps explain at all sizes."""
        from tegum.figures.many_jumps import Panel, many_jumps

        found = findings.shown
        sampled = [each for each in found if not each.flow]
        flows = [each for each in found if each.flow]
        shown = [*flows[-1:], *sampled[:1], *sampled[1:][-1:]]

        def panel(
            title: str, label: str, lines: Mapping[str, Callable[[JumpAttribution], np.ndarray | float | None]]
        ) -> Panel:
            return Panel(
                title,
                label,
                {name: _line(sampled, value) for name, value in lines.items()},
                {name: _line(flows, value) for name, value in lines.items()},
            )

        def part(which: str) -> Callable[[JumpAttribution], np.ndarray | None]:
            return lambda each: each.made and each.made.part(which, getattr(each.measures, which))

        panels = [
            panel(
                "decrease inside jumps",
                "share of the decrease",
                {
                    "own jumps": lambda each: each.measures.share.own,
                    "other runs' jumps": lambda each: each.measures.share.others,
                    "jumps shifted in time": lambda each: each.measures.share.shifted,
                },
            ),
            panel(
                "predicted fall of the loss",
                "R²",
                {
                    "own jumps": lambda each: each.measures.sums.own,
                    "other runs' jumps": lambda each: each.measures.sums.others,
                    "jumps shifted in time": lambda each: each.measures.sums.shifted,
                    "mean course of others": lambda each: each.measures.course,
                },
            ),
            panel(
                "own less others'",
                "part of a loss made of jumps",
                {
                    "decrease inside jumps": part("share"),
                    "predicted fall": part("sums"),
                    "apart from the course": part("apart"),
                },
            ),
        ]
        return many_jumps([_one(each) for each in shown], panels, findings.caption)


def _line(
    found: Sequence[JumpAttribution], value: Callable[[JumpAttribution], np.ndarray | float | None]
) -> list[tuple[float, float, float, float]]:
    """A mean over runs with its interval for each size; a number alone has none."""
    from tegum.experiments.reporting import average

    line = []
    for each in found:
        values = value(each)
        if isinstance(values, np.ndarray):
            mean = average("mean", "", values, "1", "")
            low, high = (end if end is not None else mean.value for end in (mean.low, mean.high))
            line.append((float(each.features), mean.value, low, high))
        elif values is not None:
            line.append((float(each.features), values, values, values))
    # What could not be measured has no place in a figure.
    return [at for at in line if at[1] is not None and np.isfinite(at[1])]


def _one(each: JumpAttribution) -> One:
    """The run whose jumps are in the middle of all by their number, the first by seed of these."""
    from tegum.figures.many_jumps import One

    counts = [len(course.jumps) for course in each.courses]
    at = counts.index(sorted(counts)[len(counts) // 2])
    losses = np.array([course.loss for course in each.courses])
    course = each.courses[at]
    title = f"{'gradient flow, ' if each.flow else ''}n = {each.features}: {counts[at]} jumps"
    mean = np.delete(losses, at, 0).mean(0)
    return One(title, "time" if each.flow else "training step", each.step, course.loss, mean, course.under_way)


def _caption(found: Sequence[JumpAttribution]) -> str:
    if not found:
        return "No two runs of a size trained to their end."
    sizes = ", ".join(f"{len(each.courses)} {'flows ' * each.flow}of n = {each.features}" for each in found)
    last = [each for each in found if not each.flow or all(other.flow for other in found)][-1]
    numbers = np.array([course.number for course in last.courses])
    first, most, end = (part.mean() for part in (numbers[:, 0], numbers.max(1), numbers[:, -1]))
    text = (
        "Top: the loss of one run each (orange), from where a jump can start, and the mean loss of the other runs "
        "(dashed); blue: how many of its jumps are under way. Drawn is the run with the median number of jumps. "
        f"Bottom, over the number of features (runs: {sizes}; bars: 95 % of the mean over runs): the share of the "
        "decrease inside jumps; how well the fall of the loss is predicted as a sum of jumps, or by the mean course "
        "of other runs; and what a run's own jumps give more than those of others, as a part of what they give where "
        "jumps alone make the loss. Other runs are those of the same size. "
        f"With {last.features} features {_percent(last.inside.share)} of the decrease lies inside jumps, "
        f"{_percent(last.inside.others)} inside those of other runs, {_percent(last.inside.null)} where they are "
        f"shifted in time. Represented features are {first:.0f} at first, {most:.0f} at most and {end:.0f} at last: "
        f"the loss goes with their number by a correlation of {last.level.own.mean():.2f}, and its falls, apart from "
        f"the course, with their rises by {last.apart.own.mean():.2f}."
    )
    return f"{text}{' Hollow: gradient flow.' * any(each.flow for each in found)}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if np.isfinite(share) else "an unknown part"


def _rest(flow: bool) -> int:
    """The least plateau, in steps, or in units of the flow's time."""
    return REST // FLOW if flow else REST
