"""What the experiment `equivariant` finds: the best solutions of rotating features, and where they change."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, final

import numpy as np

from tegum.core.features.distribution import FeatureDistribution
from tegum.experiments.equivariant.families import FamilyState, TwoFamilies, rotating, state_of, together_of
from tegum.experiments.equivariant.rotated_descent import (
    CLOSE_LOSSES,
    COARSE,
    STEPS,
    descended,
    exact_loss,
    least,
    lower,
    passage,
    starts,
)
from tegum.solutions.descent import KEY
from tegum.solutions.solution import SAME, Solution, density_of, lowest
from tegum.solutions.transitions import Passage
from tegum.training.dataset import specs_of

if TYPE_CHECKING:
    import xarray as xr

WIDTHS = tuple(np.round(np.geomspace(0.15, 2.5, 17), 3).tolist())
"""Tuning widths at which one family is studied, in radians."""

PAIR_WIDTHS = (0.3, 0.5, 0.6, 0.7, 1.0, 1.5)
"""Tuning widths at which two families are studied, in radians."""

CHANGES_AT_WIDTH = 0.6
"""The tuning width, in radians, at which changes of two families along density are sought."""

POLYGON_WIDTHS = (0.4, 0.85)
"""The least and the largest tuning width, in radians, at which a regular polygon is expected."""

HALF_LINEAR_LOSS = 0.5
"""Half the loss of the best linear model, as a ratio: polygons should cost no more. The width at which the best
solution reaches it is measured."""

JUMP_FROM = 0.05
"""A change is abrupt if a share of |W|², or the distance from equivariance, changes by at least this."""


@final
@dataclass(frozen=True, eq=False)
class StateChange:
    """A change of the best solution as a parameter rises."""

    hidden: int
    before: str
    after: str
    there: Passage
    jump: bool
    """Whether the change is abrupt."""

    @property
    def name(self) -> str:
        """The names before and after, as in "uneven → regular"."""
        return f"{self.before} → {self.after}"


@final
@dataclass(frozen=True, eq=False)
class FamilyMap:
    """The lowest solutions of one family, or of two, over density and width at one hidden dimension m."""

    hidden: int
    size: int
    densities: tuple[float, ...]
    widths: tuple[float, ...]
    best: tuple[tuple[Solution, ...], ...]
    """The best solutions, by density and then width."""
    states: tuple[tuple[FamilyState, ...], ...]
    """The states of one family, in the same order; empty for two families."""
    together: tuple[tuple[TwoFamilies, ...], ...]
    """The states of two families, in the same order; empty for one family."""


@final
@dataclass(frozen=True, eq=False)
class RotatedSolutions:
    """The best solutions of one family, of two families and of the null, and where they change."""

    one: tuple[FamilyMap, ...]
    """The maps of one family, one for each m."""
    two: tuple[FamilyMap, ...]
    """The maps of two families, one for each m."""
    changes: tuple[StateChange, ...]
    """Changes of one family along width, at the first density."""
    halves: tuple[StateChange, ...]
    """For each m, the width from which the loss is at least half that of the best linear model."""
    family_changes: tuple[StateChange, ...]
    """Changes of two families along density."""
    null: tuple[FamilyState, ...]
    """The states of the best solutions of independent features."""
    sampled: tuple[tuple[float, int, int, float], ...]
    """For each width with mini-batch runs: the width, the runs that reach the best solution, all runs, and the share of
    exact starts that reach it."""


def find(runs: Mapping[str, xr.Dataset]) -> RotatedSolutions:
    """The maps of one family and of two, their changes, the null, and how mini-batch runs end."""
    one: list[FamilyMap] = []
    two: list[FamilyMap] = []
    null: list[FamilyState] = []
    changed, halves, along = [], [], []
    for name, run in runs.items():
        if not name.startswith("null"):
            continue
        specs = specs_of(run)
        first, densities = specs[0], [density_of(spec) for spec in specs]
        families = 2 if name.startswith("null-two") else 1
        size, count = first.features.n // families, first.seeds
        widths = PAIR_WIDTHS if families == 2 else WIDTHS
        found = mapped(size, first.hidden, densities, widths, first.base_seed, count, families)
        null += [state_of(best, spec.features) for best, spec in zip(lowest(run, densities), specs, strict=True)]
        if families == 1:
            one.append(found)
            changed += changes(found, count)
            halves += [each for each in [half(found, count)] if each is not None]
        else:
            two.append(found)
            along += family_changes(found, CHANGES_AT_WIDTH, count)
    sampled = sampled_ends(runs["sampled"], one[0])
    return RotatedSolutions(
        tuple(one), tuple(two), tuple(changed), tuple(halves), tuple(along), tuple(null), tuple(sampled)
    )


def polygon_width(width: float) -> bool:
    """Whether a regular polygon is expected at this tuning width."""
    return POLYGON_WIDTHS[0] <= width <= POLYGON_WIDTHS[1]


def mapped(
    size: int, hidden: int, densities: Sequence[float], widths: Sequence[float], key: int, count: int, families: int
) -> FamilyMap:
    """The lowest solutions over the grid, of `count` starts with base seed `key` and of the neighbours' solutions."""
    from tegum.progress.showing import shown
    from tegum.progress.tasks import Counts

    begin = starts(key, count, size * families, hidden)
    best: list[list[Solution]] = []
    with shown(True, Counts(f"best of {count} starts", "points"), "mapped") as tell:
        for p in densities:
            best.append([])
            for w in widths:
                best[-1].append(least(rotating(size, p, w, families), float(w), *begin))
                tell(sum(map(len, best)), len(densities) * len(widths))
    _spread(best, size, densities, families)
    one, two = [], []
    for p, row in zip(densities, best, strict=True):
        features = [rotating(size, p, each.value, families) for each in row]
        if families == 1:
            one.append(tuple(state_of(*each) for each in zip(row, features, strict=True)))
        else:
            two.append(tuple(together_of(*each) for each in zip(row, features, strict=True)))
    return FamilyMap(
        hidden, size, tuple(map(float, densities)), tuple(map(float, widths)), tuple(map(tuple, best)), tuple(one),
        tuple(two),
    )  # fmt: skip


def _spread(best: list[list[Solution]], size: int, densities: Sequence[float], families: int) -> None:
    """Replace a solution by what its neighbours lead to, where that is lower, in one pass each way; hits become 0."""
    places = [(row, column) for row in range(len(best)) for column in range(len(best[0]))]
    for way in (-1, 1):
        for row, column in places[::-way]:
            own = best[row][column]
            known = [best[r][c] for r, c in ((row + way, column), (row, column + way)) if (r, c) in places]
            if not known:
                continue
            features = rotating(size, densities[row], own.value, families)
            models = np.array([each.weights for each in known]), np.array([each.bias for each in known])
            # A rough descent first: most neighbours lead nowhere new.
            rough = min(descended(features, own.value, *models, STEPS, COARSE), key=lambda each: each.loss)
            if rough.loss < (1 - CLOSE_LOSSES) * exact_loss(own, features, COARSE):
                there = lower(features, own.value, [rough])
                if there.loss < (1 - SAME) * own.loss:
                    best[row][column] = there._replace(hits=0, starts=own.starts)


def changes(found: FamilyMap, count: int) -> list[StateChange]:
    """Where the name of the lowest solution of one family changes along width, at the first density."""
    density, states = found.densities[0], found.states[0]

    def name(each: Solution) -> str:
        return state_of(each, rotating(found.size, density, each.value)).name

    result = []
    for number, (low, high) in enumerate(pairwise(states)):
        if low.name == high.name:
            continue
        ends = found.best[0][number], found.best[0][number + 1]
        result.append(_change(found, density, ends, lambda each, after=high.name: name(each) == after, count, name))
    return result


def half(found: FamilyMap, count: int) -> StateChange | None:
    """The width from which the loss is at least half that of the best linear model, at the first density."""
    density, states = found.densities[0], found.states[0]

    def much(each: Solution) -> bool:
        return state_of(each, rotating(found.size, density, each.value)).ratio >= HALF_LINEAR_LOSS

    last = max((k for k, state in enumerate(states) if state.ratio < HALF_LINEAR_LOSS), default=len(states))
    if last + 1 >= len(states):
        return None
    ends = found.best[0][last], found.best[0][last + 1]
    return _change(found, density, ends, much, count, lambda each: "from half" if much(each) else "below half")


def _change(
    found: FamilyMap,
    density: float,
    ends: tuple[Solution, Solution],
    passed: Callable[[Solution], bool],
    count: int,
    name: Callable[[Solution], str],
) -> StateChange:
    there = passage(
        lambda width: rotating(found.size, density, width),
        *ends,
        passed,
        starts(KEY, count, found.size, found.hidden),
    )
    low, high = (state_of(each, rotating(found.size, density, each.value)) for each in (there.low, there.high))
    step = max(float(np.abs(high.power - low.power).max()), abs(high.defect - low.defect))
    return StateChange(found.hidden, name(there.low), name(there.high), there, step >= JUMP_FROM)


def family_changes(found: FamilyMap, width: float, count: int) -> list[StateChange]:
    """Where the name of the lowest solution of two families changes along density, at one of the widths."""
    at = found.widths.index(width)
    column = [row[at]._replace(value=density) for density, row in zip(found.densities, found.best, strict=True)]
    names = [row[at].name for row in found.together]

    def features(density: float) -> FeatureDistribution:
        return rotating(found.size, density, width, 2)

    def name(each: Solution) -> str:
        return together_of(each, features(each.value)).name

    result = []
    for (low, before), (high, after) in pairwise(zip(column, names, strict=True)):
        if before == after:
            continue
        fresh = starts(KEY, count, 2 * found.size, found.hidden)
        there = passage(features, low, high, lambda each, after=after: name(each) == after, fresh, error=1e-3)
        one, other = (together_of(each, features(each.value)) for each in (there.low, there.high))
        step = max(float(np.abs(a.power - b.power).max()) for a, b in zip(one.families, other.families, strict=True))
        result.append(StateChange(found.hidden, name(there.low), name(there.high), there, step >= JUMP_FROM))
    return result


def sampled_ends(run: xr.Dataset, plane: FamilyMap) -> list[tuple[float, int, int, float]]:
    """How many mini-batch runs reach the best solution at each width.

    Returns:
        For each width: the width, the runs that reach it, all runs, and the share of exact starts that reach it.

    """
    found = []
    count = plane.best[0][0].starts
    for number, spec in enumerate(specs_of(run)):
        width = float(getattr(spec.features.sets[0], "width", np.nan))
        end = run.isel(spec=number, step=-1)
        whole = np.isfinite(end["loss"].values)
        weights, bias = (end[name].values[whole].astype(np.float64) for name in ("weights", "bias"))
        best = least(spec.features, width, *starts(spec.base_seed, count, plane.size, plane.hidden))
        ends = [each.loss for each in descended(spec.features, width, weights, bias)] if whole.any() else []
        low = min([best.loss, *ends])
        found.append(
            (width, sum(loss <= (1 + CLOSE_LOSSES) * low for loss in ends), len(ends), best.hits / best.starts)
        )
    return found
