"""The figure of the experiment `many-jumps`, and its caption."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tegum.analysis.dynamics.attribution import JumpAttribution

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tegum.figures.experiments.many_jumps import One, Panel


def figure(found: Sequence[JumpAttribution]) -> tuple[Figure, Figure]:
    """Draw single runs of the smallest and of the largest size, and what jumps explain at all sizes.

    Args:
        found: the findings to draw.

    """
    from tegum.figures.experiments.many_jumps import Panel, many_jumps

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
            "prediction of the fall",
            "R²",
            {
                "own jumps": lambda each: each.measures.sums.own,
                "other runs' jumps": lambda each: each.measures.sums.others,
                "jumps shifted in time": lambda each: each.measures.sums.shifted,
                "mean of other runs": lambda each: each.measures.course,
            },
        ),
        panel(
            "own minus others'",
            "relative to synthetic losses",
            {
                "decrease inside jumps": part("share"),
                "prediction of the fall": part("sums"),
                "apart from the mean": part("apart"),
            },
        ),
    ]
    return many_jumps([_one(each) for each in shown], panels)


def caption(found: Sequence[JumpAttribution]) -> tuple[str, str]:
    """What the figures show, in sentences."""
    if not found:
        return "No size has two runs that trained to their end.", ""
    sizes = ", ".join(f"{len(each.courses)} {'flows ' * each.flow}of n = {each.features}" for each in found)
    last = [each for each in found if not each.flow or all(other.flow for other in found)][-1]
    numbers = np.array([course.number for course in last.courses])
    first, most, end = (part.mean() for part in (numbers[:, 0], numbers.max(1), numbers[:, -1]))
    single = (
        "The loss of single runs (orange), from the first moment at which a jump can start, the mean loss of the other "
        "runs (dashed), and the number of jumps under way (blue). Each is the run with the median number of jumps."
    )
    text = (
        f"Over the number of features (runs: {sizes}; bars: 95 % intervals of the mean over runs): the "
        "share of the decrease that lies inside jumps; how well the fall of the loss is predicted by a sum of jumps, "
        "or by the mean course of other runs; and the excess of a run's own jumps over those of others, relative to "
        "the excess of synthetic losses made only of jumps. Other runs are those of the same size. With "
        f"{last.features} features, {_percent(last.inside.share)} of the decrease lies inside jumps, "
        f"{_percent(last.inside.others)} inside those of other runs, and {_percent(last.inside.null)} inside jumps "
        f"shifted in time. The number of represented features is {first:.0f} at first, {most:.0f} at most and "
        f"{end:.0f} at the end. Its correlation with the loss is {_signed(last.level.own.mean())}. The correlation of "
        f"its rises with the falls of the loss, apart from the common course, is {_signed(last.apart.own.mean())}."
    )
    return f"{text}{' Hollow: gradient flow.' * any(each.flow for each in found)}", single


def _signed(correlation: float) -> str:
    return f"{correlation:.2f}".replace("-", "\N{MINUS SIGN}")


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if np.isfinite(share) else "an unknown share"


def _line(
    found: Sequence[JumpAttribution], value: Callable[[JumpAttribution], np.ndarray | float | None]
) -> list[tuple[float, float, float, float]]:
    """The mean over runs with its interval, for each size; a single number has no interval."""
    from tegum.experiments.reporting import average

    line = []
    for each in found:
        values = value(each)
        if isinstance(values, np.ndarray):
            mean = average("mean", "", values, "", "")
            low, high = (end if end is not None else mean.value for end in (mean.low, mean.high))
            line.append((float(each.features), mean.value, low, high))
        elif values is not None:
            line.append((float(each.features), values, values, values))
    # Leave out what could not be measured.
    return [at for at in line if at[1] is not None and np.isfinite(at[1])]


def single(each: JumpAttribution) -> int:
    """The position of the run with the median number of jumps, the first by seed if several have it."""
    counts = [len(course.jumps) for course in each.courses]
    return counts.index(sorted(counts)[len(counts) // 2])


def _one(each: JumpAttribution) -> One:
    """What is drawn of a single run."""
    from tegum.figures.experiments.many_jumps import One

    at = single(each)
    course = each.courses[at]
    losses = np.array([course.loss for course in each.courses])
    title = f"{'gradient flow, ' if each.flow else ''}n = {each.features}: {len(course.jumps)} jumps"
    mean = np.delete(losses, at, 0).mean(0)
    return One(title, "flow time" if each.flow else "training step", each.step, course.loss, mean, course.under_way)
