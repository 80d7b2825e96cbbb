"""The figure of the experiment `linear-first`, and its caption."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tegum.analysis.linear.onset import DEFINITIONS
from tegum.analysis.linear.plateau_ranks import PLATEAU_KINDS
from tegum.experiments.linear_first.criteria import FEWEST_TESTED_RUNS, MOST_RUNS, testable
from tegum.experiments.linear_first.measures import EARLY, LATE, where_key
from tegum.experiments.reporting import Measure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tegum.experiments.linear_first.findings import LinearFirstFindings, StartScales

DRAWN = ((4, 8), ("apart-size", "sgd"))
"""The system of alike sets (sets, dimensions) and the ensemble of unlike sets (way, training) whose losses are
drawn."""


def figure(found: LinearFirstFindings) -> tuple[Figure, Figure, Figure]:
    """Draw losses and first plateaus, the order and times of unlike sets, and superposition over training.

    Args:
        found: the findings to draw.

    """
    from tegum.figures.experiments.linear_first import linear_first, only_words

    if not found.fewest:
        words = untested()
        return only_words(words), only_words(words), only_words(words)
    return linear_first(found.systems, found.orders, found.onsets, DRAWN)


def caption(found: LinearFirstFindings, measured: Mapping[str, Measure]) -> tuple[str, str, str]:
    """What the figures show, and what was found, in sentences."""
    if not testable(found):
        return untested(), untested(), untested()
    plateaus, order, onset = panels(found)
    return f"{plateaus} {failures(found)}", order, f"{onset} {answer(found, measured)}"


def untested() -> str:
    """That nothing could be tested, and why, in a sentence."""
    return f"Not tested: some ensemble has fewer than {FEWEST_TESTED_RUNS} runs that trained to their end."


def panels(found: LinearFirstFindings) -> tuple[str, str, str]:
    """What the panels of each figure show, in sentences."""
    runs = len(found.systems[0].runs[0].first)
    return (
        "First panel: population loss (sum over features) of k = 4 correlated sets of three (density 0.05, m = 8, "
        "AdamW), the first run from each start scale; dashed lines are the best linear solutions of each rank. Others: "
        f"classification of the first plateau of {runs} runs by start scale (X: Xavier), with room for all sets "
        "(m = 2k) and without (m = 3); within each group k rises from left to right.",
        "First panel: population loss of three sets of 24, 6 and 1 features (SGD), the first run; orange ticks are "
        "predicted times. Second: share of SGD runs with a plateau at L_r, over the ratio of eigenvalues r and r + 1; "
        "hollow: close eigenvalues. Third: share of runs that learn all directions in order (filled), and every one "
        "within 5 % of its predicted time (hollow). Bars are 95 % intervals.",
        "First three panels: medians over training for 20 independent features (m = 5, AdamW, start scale "
        f"{np.nanmin([each.scale for each in found.onsets['adamw']]):g}); dots: 90 % of the fall of the loss is "
        "complete; line of the colour of text: the linear model at density 0.3; dashed: a linear optimum. Last two: "
        "when superposition begins, by the number of represented features (solid) and by |W|²_F > 1.1 m (dotted; "
        "within a few steps from Xavier starts), and how much of the fall of the loss is complete by then. Bars are "
        "95 % intervals.",
    )


def failures(found: LinearFirstFindings) -> str:
    """How the first plateaus of runs from the smallest start divide, and up to which scale rank k is found."""
    spare = [system for system in found.systems if system.hidden >= 2 * system.sets]
    tight = [system for system in found.systems if system.hidden < 2 * system.sets]
    parts = []
    for name, group in (("m = 2k", spare), ("m = 3", tight)):
        if group:
            counts = Counter(kind for system in group for kind in system.runs[0].kinds)
            listed = [f"{counts[kind]} {words}" for kind, words in PLATEAU_KINDS.items() if counts[kind]]
            parts.append(f"{name}: {', '.join(listed)}")
    held = [_largest(system) for system in spare]
    return (
        f"First plateaus of runs from start scale {found.systems[0].scales[0]:g}, {'; '.join(parts)}. With m = 2k, "
        f"more than half of the runs reach rank k at some time, {_up_to([each for each in held if each])}."
    )


def _largest(system: StartScales) -> float:
    """The largest start scale up to which more than half of the runs reach the linear optimum at some time, or 0."""
    shares = [np.mean(np.isin(runs.kinds, ("linear", "begun"))) for runs in system.runs[:-1]]
    at = next((number for number, each in enumerate(shares) if each <= MOST_RUNS), len(shares))
    return system.scales[at - 1] if at else 0.0


def answer(found: LinearFirstFindings, measured: Mapping[str, Measure]) -> str:
    """Whether superposition begins early or late by each definition, in a sentence with numbers."""
    group = found.onsets["adamw"]
    chosen = [each for each in group if each.scale == np.nanmin([one.scale for one in group])]
    parts = []
    for by, rule in DEFINITIONS.items():
        steps = {each: each.onset.begins(by) for each in chosen}
        reached = [each for each in chosen if np.isfinite(steps[each]).all()]
        if not reached:
            parts.append(f"by {rule}, not in every run")
            continue
        fallen = [measured[f"{where_key('adamw', each)}.fall_done_at_onset_by_{by}"] for each in reached]
        words = dict.fromkeys(when(each.low, each.high) for each in fallen)
        densities = _range([each.density for each in reached], "g")
        done = _range([100 * each.value for each in fallen if each.value is not None], ".0f")
        parts.append(
            f"by {rule}, {' or '.join(words)}: when {done} % of the fall of the loss is complete (densities "
            f"{densities})"
        )
    return f"Superposition of independent features begins, {'; '.join(parts)}."


def when(low: float | None, high: float | None) -> str:
    """Early, late or midway, by the interval of the fraction of the fall that is complete when superposition begins."""
    if low is None or high is None:
        return "at an unknown time"
    return "early" if high < EARLY else "late" if low > LATE else "midway"


def _up_to(scales: Sequence[float]) -> str:
    if not scales:
        return "from no start scale"
    return f"from start scales up to {_range(scales, 'g')}{', depending on k' * (len(set(scales)) > 1)}"


def _range(values: Sequence[float], form: str) -> str:
    if not values:
        return ""
    low, high = (format(pick(values), form) for pick in (min, max))
    return low if low == high else f"{low} to {high}"
