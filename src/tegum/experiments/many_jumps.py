"""Whether the smooth loss of larger models is made of many small jumps of features.

Elhage et al., "Toy Models of Superposition" (2022), having seen a feature's jump lower the loss of a small model,
"suspect that seemingly smooth decreases of the loss curve in larger models are in fact composed of many small jumps of
features between different configurations". This is put to the test where models grow at a fixed n/m = 10.

Grid. Runs that differ by seed alone, of n = 40, 80, 200 and 400 independent features of density 0.3 in n/10
dimensions (quick: 20, 40 and 80), ReLU, AdamW at a rate of 1e-3, from a Xavier start, 4,000 steps, after which hardly
anything moves; the loss is that of a large sample that is kept. Beside them, without any noise, gradient flow of the
exact loss of n = 20 and 40 over 300 units of time (not in quick).

Definitions. Jumps are those of `tegum.analysis.levels`: by 0.1 at least, in 1,000 steps at most, between plateaus of
at least 100 steps (in the flow 100 and 10 units of time). They are shorter than those that are looked for late in
training, because here early jumps count. The first plateau must be over before a jump can start, so that the loss is
looked at from step 100 on; more than half of its whole decrease is over by then, and is no jump. A feature is
represented if it is at least 1/2 long. Measures are those of `_small_jumps`.

Nulls. (a) Jumps shifted in time, around the time that is looked at. That is easy to exceed: the loss falls early, and
features jump early. (b) The loss of one run beside the jumps of other runs of its size, which go through the same
course at the same times: only what exceeds that belongs to these jumps and not to their time. What a smooth curve
explains is measured by the mean of all other runs' losses, in which single jumps are averaged out.

Criteria, fixed before the runs of these base seeds, and after a look at runs of others, in which 2 passed and 3 to 6
did not for certain:

1. Jumps per run, and jumps under way at once while the loss falls, are more in the largest models than in the smallest:
   the intervals lie apart.
2. In the largest, more of the decrease lies inside jumps than with (a): p below 0.05.
3. In the largest, more of it lies inside a run's own jumps than with (b): the interval of the difference is above 0.
4. In the largest, the fall of the loss goes with the rise of the number of represented features from one stretch of 100
   steps to the next: the interval of the correlation is above (a), and that of its difference from (b) above 0.
5. In the largest, a constant and a non-negative sum of a run's own jumps predict where its loss falls better than with
   (a) and (b): the interval of R² is above (a), that of its difference from (b) above 0. Stretches of 100 steps are
   predicted from the rest.
6. In the largest, the loss of a run is composed of its jumps: added to the mean course of the other runs, they remove
   more than a quarter of its squared error; the interval lies above 1/4. That is half of what they remove in made-up
   runs whose loss owes nothing but a common course to anything else (0.5 to 0.7): a jump's way in dimensionality is not
   quite its way in the loss. (It was 1/2 until these had been made. Of the runs here only the verdict of the quick form
   had been seen then, which is the same with both.)

The claim holds if all of them pass, does not hold if none does, and holds in part otherwise; it is not tested if the
largest models did not train to their end. Intervals are bootstrapped over runs. The flow, and all sizes but the
largest, are reported and are no criteria.

Limits. Only features that rest before and after count as jumping; one that comes in a single long rise does not. And
what is common to all runs of a size may well be made of jumps, too: many of them, at times that hardly differ
from run to run, sum to the same smooth course in every run, and no comparison of runs could tell. (b) and the mean
course tell whether single jumps can be seen in the loss, not whether the course owes its form to them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar, final

import numpy as np

from tegum.experiments._small_jumps import Sized, sized
from tegum.experiments.base import Criterion, Experiment, Findings, Measure, Size

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from tegum.figures.many_jumps import One
    from tegum.training.spec import Spec

DENSITY = 0.3

RATIO = 10
"""Features for each dimension."""

HEIGHT, REST, LONGEST = 0.1, 100, 1_000
"""Of a jump: its least height, the plateaus beside it, and its longest time, in steps."""

REMOVED = 0.25
"""Of the squared error of the mean course: half of what jumps remove where the loss is made of them."""

FLOW = 10
"""So many steps count as much as one unit of time of the flow, by how long both take."""


@final
class ManyJumps(Experiment):
    """The claim that smooth losses are made of jumps."""

    claim: ClassVar[str] = (
        "The seemingly smooth decrease of the loss in larger models is composed of many small jumps of features."
    )

    def trainings(self, size: Size) -> Mapping[str, Spec | Sequence[Spec]]:
        """An ensemble of runs for each number of features, and of flows for some of them."""
        from tegum.core.features import FeatureDistribution, Independent
        from tegum.training.spec import Flow, Sampled, Snapshots, Spec

        runs, flows = {
            "quick": ({20: 12, 40: 12, 80: 12}, {}),
            "default": ({40: 32, 80: 32, 200: 24, 400: 12}, {20: 16, 40: 8}),
            "full": ({40: 128, 80: 128, 200: 96, 400: 48, 800: 16}, {20: 128, 40: 64}),
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
            **{f"run-{n}": spec(n, seeds, sampled, 200, 300 + n) for n, seeds in runs.items()},
            **{f"flow-{n}": spec(n, seeds, flow, 300, 300 + n) for n, seeds in flows.items()},
        }

    def check(self, specs: Mapping[str, Spec | Sequence[Spec]]) -> None:
        """Sizes are the grid, and jumps are found on evenly spaced snapshots only."""
        single = {name: spec for name, spec in specs.items() if not isinstance(spec, Sequence)}
        for name, spec in single.items():
            if spec.snapshots.spacing != "linear" or spec.snapshots.steps is not None:
                rule = "snapshots.spacing must be 'linear', without snapshots.steps"
                raise ValueError(f"{self.name}: {name}(snapshots={spec.snapshots!r}): {rule}")
            if (spec.training.kind == "flow") != name.startswith("flow"):
                raise ValueError(f"{self.name}: {name}(training.kind): each training must keep its kind")
            least = 10 * _rest(spec.training.kind == "flow")
            if spec.training.steps < least:
                rule = f"training.steps must be at least {least}, ten times the rest before a jump"
                raise ValueError(f"{self.name}: {name}(training.steps={spec.training.steps}): {rule}")
        sizes = [spec.features.n for name, spec in single.items() if name.startswith("run")]
        if any(low >= high for low, high in pairwise(sizes)):
            raise ValueError(f"{self.name}: run(features.count): numbers of features must rise, and are the grid")

    def analyse(self, runs: Mapping[str, xr.Dataset]) -> Findings:
        """Jumps and what the loss owes to them, for every size; `shown` is the list of `Sized`."""
        found = []
        for name, run in runs.items():
            flow = name.startswith("flow")
            found.append(sized(run, _rest(flow), _rest(flow) * LONGEST // REST, HEIGHT))
        largest = [name for name in runs if name.startswith("run")][-1]
        tested = found[list(runs).index(largest)] is not None
        shown = [each for each in found if each is not None]
        measures = {measure.name: measure for each in shown for measure in _measures(each)}
        sampled = [each for each in shown if not each.flow]
        criteria = (
            _criteria(measures, sampled[0].features, sampled[-1].features)
            if tested
            else (Criterion("The largest models train to their end.", False),)
        )
        return Findings(tuple(measures.values()), criteria, _caption(shown), shown, tested=tested)

    def draw(self, runs: Mapping[str, xr.Dataset], findings: Findings) -> Figure:  # noqa: ARG002 (it is in the findings)
        """One run of the smallest and of the largest size, and what jumps explain at all sizes."""
        from tegum.figures.many_jumps import Panel, many_jumps

        found: list[Sized] = findings.shown
        sampled = [each for each in found if not each.flow]
        flows = [each for each in found if each.flow]
        shown = [*flows[-1:], *sampled[:1], *sampled[1:][-1:]]

        def panel(title: str, label: str, lines: Mapping[str, Callable[[Sized], np.ndarray | float | None]]) -> Panel:
            return Panel(
                title,
                label,
                {name: _line(sampled, value) for name, value in lines.items()},
                {name: _line(flows, value) for name, value in lines.items()},
            )

        panels = [
            panel("jumps under way at once", "jumps, weighted by the fall", {"own jumps": lambda each: each.overlap}),
            panel(
                "decrease inside jumps",
                "share of the decrease",
                {
                    "own jumps": lambda each: each.share.own,
                    "other runs' jumps": lambda each: each.share.others,
                    "jumps shifted in time": lambda each: each.share.shifted,
                },
            ),
            panel(
                "predicted fall of the loss",
                "R²",
                {
                    "own jumps": lambda each: each.sums.own,
                    "other runs' jumps": lambda each: each.sums.others,
                    "jumps shifted in time": lambda each: each.sums.shifted,
                    "mean course of other runs": lambda each: each.course,
                },
            ),
        ]
        return many_jumps([_one(each) for each in shown], panels, findings.caption)


def _line(
    found: Sequence[Sized], value: Callable[[Sized], np.ndarray | float | None]
) -> list[tuple[float, float, float, float]]:
    """A mean over runs with its interval for each size; a number alone has none."""
    from tegum.analysis.statistics import bootstrap_mean

    line = []
    for each in found:
        values = value(each)
        if isinstance(values, np.ndarray):
            line.append((float(each.features), float(values.mean()), *bootstrap_mean(values)))
        elif values is not None:
            line.append((float(each.features), values, values, values))
    return line


def _one(each: Sized) -> One:
    """The run whose jumps are in the middle of all by their number, the first by seed of these."""
    from tegum.figures.many_jumps import One

    counts = [len(course.jumps) for course in each.courses]
    at = counts.index(sorted(counts)[len(counts) // 2])
    losses = np.array([course.loss for course in each.courses])
    course = each.courses[at]
    title = f"{'gradient flow, ' if each.flow else ''}n = {each.features}: {counts[at]} jumps"
    mean = np.delete(losses, at, 0).mean(0)
    return One(title, "time" if each.flow else "training step", each.step, course.loss, mean, course.under_way)


def _caption(found: Sequence[Sized]) -> str:
    sampled = [each for each in found if not each.flow]
    if not sampled:
        return "No run trained to its end."
    last = sampled[-1]
    sizes = ", ".join(f"{len(each.courses)} {'flows ' * each.flow}of n = {each.features}" for each in found)
    return (
        "Top: the loss of one run each (orange), from where a jump can start, and the mean loss of the other runs "
        "(dashed); blue: how many of its jumps are under way. Drawn is the run with the median number of jumps. "
        f"Bottom, over the number of features (runs: {sizes}; bars: 95 % of the mean over runs): jumps under way "
        "while the loss falls; the share of its decrease inside jumps; how well its fall is predicted as a sum of "
        "jumps, or by the mean course of the other runs. Jumps of other runs are those of the same size. With "
        f"{last.features} features "
        f"{100 * last.inside.share:.0f} % of the decrease lies inside jumps, {100 * last.inside.null:.0f} % where they "
        f"are shifted in time, and {100 * float(last.share.others.mean()):.0f} % inside those of other runs."
        f"{' Hollow: gradient flow.' if len(sampled) < len(found) else ''}"
    )


def _rest(flow: bool) -> int:
    """The least plateau, in steps, or in units of the flow's time."""
    return REST // FLOW if flow else REST


def _name(each: Sized) -> str:
    return f"{'flow, ' if each.flow else ''}n = {each.features}"


def _measures(each: Sized) -> list[Measure]:
    from tegum.experiments._measures import average, by_run

    name, unit = _name(each), "time" if each.flow else "step"
    jumps = [(number, jump.end - jump.start) for number, course in enumerate(each.courses) for jump in course.jumps]
    low, high = each.inside.interval()
    runs = len(each.courses)

    def excess(what: str, which: str, meaning: str) -> Measure:
        compared = getattr(each, which)
        return average(f"{what}, less other runs', {name}", compared.excess, "1", meaning, null=0.0)

    return [
        average(
            f"jumps per run, {name}", np.array([len(own.jumps) for own in each.courses]), "jump", "of at least 0.1"
        ),
        average(f"duration of a jump, {name}", by_run(jumps), unit, "mean over runs"),
        average(f"jumps at once, {name}", each.overlap, "jump", "under way while the loss falls, weighted by its fall"),
        Measure(f"time inside jumps, {name}", each.inside.time, "1", n=runs, meaning="share of what is looked at"),
        average(
            f"decrease that is looked at, {name}",
            np.array([own.part for own in each.courses]),
            "1",
            f"from {unit} {_rest(each.flow)} on, of the whole decrease",
        ),
        Measure(
            f"decrease inside jumps, {name}",
            each.inside.share,
            "1",
            low,
            high,
            runs,
            each.inside.null,
            f"share; null: jumps shifted in time (p = {each.inside.p:.2g})",
        ),
        Measure(f"p of the decrease inside jumps, {name}", each.inside.p, "1", n=runs, meaning="of shifts in time"),
        excess("decrease inside jumps", "share", "null: none"),
        average(
            f"R² of the loss on represented features, {name}",
            each.level.own,
            "1",
            "of their values; null: numbers of other runs",
            null=float(each.level.others.mean()),
        ),
        average(
            f"correlation of changes, {name}",
            each.change.own,
            "1",
            "fall of the loss and rise of represented features; null: shifted in time",
            null=each.change.shifted,
        ),
        excess("correlation of changes", "change", "null: none"),
        average(
            f"correlation of changes beyond the mean course, {name}",
            each.beyond.own,
            "1",
            "null: numbers of other runs",
            null=float(each.beyond.others.mean()),
        ),
        average(
            f"R² of a sum of jumps, {name}",
            each.sums.own,
            "1",
            "predicted; null: shifted in time",
            null=each.sums.shifted,
        ),
        excess("R² of a sum of jumps", "sums", "null: none"),
        average(f"R² of the mean course, {name}", each.course, "1", "of all other runs; predicted"),
        average(
            f"error that jumps remove, {name}",
            each.explained.own,
            "1",
            "share of the squared error of the mean course; null: jumps of other runs",
            null=float(each.explained.others.mean()),
        ),
    ]


def _criteria(measures: Mapping[str, Measure], least: int, most: int) -> tuple[Criterion, ...]:
    def low(name: str, n: int = most) -> float:
        value = measures[f"{name}, n = {n}"].low
        return -np.inf if value is None else value

    def high(name: str, n: int) -> float:
        value = measures[f"{name}, n = {n}"].high
        return np.inf if value is None else value

    def null(name: str) -> float:
        value = measures[f"{name}, n = {most}"].null
        return np.inf if value is None else value

    p = measures[f"p of the decrease inside jumps, n = {most}"].value
    return (
        Criterion(
            f"Jumps are more, and more at once, with {most} features than with {least}.",
            all(low(name) > high(name, least) for name in ("jumps per run", "jumps at once")),
        ),
        Criterion(
            f"With {most} features more of the decrease lies inside jumps than where they are shifted in time.",
            p is not None and p < 0.05,
        ),
        Criterion(
            "More of it lies inside a run's own jumps than inside those of other runs.",
            low("decrease inside jumps, less other runs'") > 0,
        ),
        Criterion(
            "Falls of the loss go with rises of the number of represented features, beyond both nulls.",
            low("correlation of changes") > null("correlation of changes")
            and low("correlation of changes, less other runs'") > 0,
        ),
        Criterion(
            "A sum of a run's own jumps predicts where its loss falls, beyond both nulls.",
            low("R² of a sum of jumps") > null("R² of a sum of jumps")
            and low("R² of a sum of jumps, less other runs'") > 0,
        ),
        Criterion(
            f"Jumps remove more than {REMOVED:g} of the squared error that the mean course of the other runs leaves.",
            low("error that jumps remove") > REMOVED,
        ),
    )
