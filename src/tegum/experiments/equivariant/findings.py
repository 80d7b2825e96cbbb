"""What the experiment `equivariant` finds: what is kept of one family of orientations, and of two."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, final

import numpy as np
from jaxtyping import Float

from tegum.analysis.geometry.fourier import (
    ALIKE,
    equivariance_defect,
    kept_rotations,
    mode_power,
    mode_variances,
    multiplicities,
)
from tegum.analysis.linear.pca import angle_to_pca, linear_optimum
from tegum.analysis.linear.subspaces import principal_angles
from tegum.core.features.distribution import FeatureDistribution
from tegum.core.features.sets import Equivariant
from tegum.experiments.equivariant.rotated_descent import (
    CLOSE,
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
from tegum.solutions.naming import is_pca
from tegum.solutions.solution import SAME, Solution
from tegum.solutions.transitions import Passage
from tegum.training.dataset import specs_of

if TYPE_CHECKING:
    import xarray as xr

ALONE = 0.99
"""A frequency that holds so large a share of |W|² is alone."""

DROPPED = 0.05
"""A family with a smaller share of |W|² is dropped."""

PRESENT = 0.2
"""Singular values of a family's embeddings below this part of its largest do not count towards its dimensions."""

APART, WITHIN = 1.2, 0.3
"""All principal angles above the first, in radians: dimensions of their own. All below the second: shared ones."""

AT_ONCE = 0.05
"""A change of a share of |W|², or of the distance from equivariance, that is no smaller comes at once."""


@final
@dataclass(frozen=True, eq=False)
class State:
    """What a solution keeps of one family."""

    power: Float[np.ndarray, " frequency"]
    """Shares of |W|²."""
    defect: float
    """The distance from equivariance."""
    kept: int
    """How many rotations leave the Gram matrix as it is."""
    shortest: float
    """The shortest embedding over the longest one."""
    angle: float
    """To the nearest principal subspace, in radians."""
    ratio: float
    """Loss over that of the best linear model."""

    @property
    def name(self) -> str:
        """One of "PCA", "regular" if all orientations are treated alike, and "uneven"."""
        if is_pca(self.angle, self.ratio):
            return "PCA"
        return "regular" if self.defect < ALIKE else "uneven"

    @property
    def polygon(self) -> bool:
        """Whether it is a regular polygon of all orientations: one frequency, of two dimensions."""
        frequency = int(self.power.argmax())
        two = frequency > 0 and 2 * frequency < self.size
        return two and bool(self.power[frequency] >= ALONE) and self.defect < ALIKE

    size: int = 0
    """How many orientations there are."""


@final
@dataclass(frozen=True, eq=False)
class Together:
    """What a solution keeps of two families."""

    share: float
    """The smaller family's of |W|²."""
    angles: Float[np.ndarray, " angle"]
    """Principal angles between the hidden dimensions of both, in radians."""
    families: tuple[State, State]
    """Of each family by itself; angle and ratio are those of both together."""

    @property
    def name(self) -> str:
        """One of "one dropped", "own dimensions", "shared dimensions" and "partly shared"."""
        if self.share < DROPPED:
            return "one dropped"
        if (self.angles > APART).all():
            return "own dimensions"
        return "shared dimensions" if (self.angles < WITHIN).all() else "partly shared"

    @property
    def pca(self) -> bool:
        """Whether it is the principal components of both together."""
        return is_pca(self.families[0].angle, self.families[0].ratio)

    @property
    def polygons(self) -> bool:
        """Whether each family is a regular polygon in dimensions of its own."""
        return self.name == "own dimensions" and all(each.polygon for each in self.families)


@final
@dataclass(frozen=True, eq=False)
class Change:
    """Where the best solution becomes another, rising in a parameter."""

    hidden: int
    before: str
    after: str
    there: Passage
    jump: bool
    """Whether it does so at once."""

    @property
    def name(self) -> str:
        """What becomes what: "uneven → regular"."""
        return f"{self.before} → {self.after}"


@final
@dataclass(frozen=True, eq=False)
class Map:
    """The lowest solutions of one family, or of two, over density and width, with so many hidden dimensions."""

    hidden: int
    size: int
    densities: tuple[float, ...]
    widths: tuple[float, ...]
    best: tuple[tuple[Solution, ...], ...]
    """By density, then width."""
    states: tuple[tuple[State, ...], ...]
    """Empty for two families."""
    together: tuple[tuple[Together, ...], ...]
    """Empty for one."""


def rotating(size: int, density: float, width: float, families: int = 1) -> FeatureDistribution:
    """So many families of orientations."""
    return FeatureDistribution([Equivariant(size, float(density), float(width))] * families)


def leading_modes(size: int, density: float, width: float, hidden: int) -> Float[np.ndarray, " frequency"]:
    """The shares of |W|² in a principal subspace: dimensions by falling variance, all of the same length."""
    left, share = hidden, np.zeros(size // 2 + 1)
    dimensions = multiplicities(size)
    for frequency in np.argsort(-mode_variances(size, density, width)[1]).tolist():
        share[frequency] = min(left, int(dimensions[frequency]))
        left -= int(share[frequency])
    return share / share.sum()


def state_of(solution: Solution, features: FeatureDistribution, rows: slice = slice(None)) -> State:
    """Of all rows, or of one family's."""
    weights = solution.weights[rows]
    norms = np.linalg.norm(weights, axis=1)
    return State(
        power=mode_power(weights),
        defect=float(equivariance_defect(weights)),
        kept=int(kept_rotations(weights)),
        shortest=float(norms.min() / norms.max()) if norms.max() > 0 else 0.0,
        angle=float(angle_to_pca(solution.weights, features)),
        ratio=solution.loss / linear_optimum(features, weights.shape[1]).loss,
        size=len(weights),
    )


def together_of(solution: Solution, features: FeatureDistribution) -> Together:
    """How two rotating features share the hidden space of a solution."""
    size = features.n // 2
    one, other = solution.weights[:size], solution.weights[size:]
    parts = [float(np.square(each).sum()) for each in (one, other)]
    # Row spaces: what hidden dimensions each family takes.
    angles = principal_angles(one.T, other.T, PRESENT)
    first, second = (state_of(solution, features, rows) for rows in (slice(size), slice(size, None)))
    return Together(min(parts) / sum(parts), angles[np.isfinite(angles)], (first, second))


def mapped(
    size: int, hidden: int, densities: Sequence[float], widths: Sequence[float], key: int, count: int, families: int
) -> Map:
    """The lowest solutions of `count` starts of the base seed `key` everywhere, and of those from beside."""
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
    return Map(
        hidden, size, tuple(map(float, densities)), tuple(map(float, widths)), tuple(map(tuple, best)), tuple(one),
        tuple(two),
    )  # fmt: skip


def _spread(best: list[list[Solution]], size: int, densities: Sequence[float], families: int) -> None:
    """Put what is lower from the neighbours of a solution in its place, once in each direction; it has no hits."""
    places = [(row, column) for row in range(len(best)) for column in range(len(best[0]))]
    for way in (-1, 1):
        for row, column in places[::-way]:
            own = best[row][column]
            beside = [(row + way, column), (row, column + way)]
            known = [best[r][c] for r, c in beside if 0 <= r < len(best) and 0 <= c < len(best[0])]
            if not known:
                continue
            features = rotating(size, densities[row], own.value, families)
            models = np.array([each.weights for each in known]), np.array([each.bias for each in known])
            # Roughly at first: most neighbours lead nowhere new.
            rough = min(descended(features, own.value, *models, STEPS, COARSE), key=lambda each: each.loss)
            if rough.loss < (1 - CLOSE) * exact_loss(own, features, COARSE):
                there = lower(features, own.value, [rough])
                if there.loss < (1 - SAME) * own.loss:
                    best[row][column] = there._replace(hits=0, starts=own.starts)


def changes(found: Map, count: int) -> list[Change]:
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


def half(found: Map, count: int) -> Change | None:
    """From which width on the loss is at least half that of the best linear model, at the first density."""
    density, states = found.densities[0], found.states[0]

    def much(each: Solution) -> bool:
        return state_of(each, rotating(found.size, density, each.value)).ratio >= 0.5

    last = max((k for k, state in enumerate(states) if state.ratio < 0.5), default=len(states))
    if last + 1 >= len(states):
        return None
    ends = found.best[0][last], found.best[0][last + 1]
    return _change(found, density, ends, much, count, lambda each: "from half" if much(each) else "below half")


def _change(
    found: Map,
    density: float,
    ends: tuple[Solution, Solution],
    passed: Callable[[Solution], bool],
    count: int,
    name: Callable[[Solution], str],
) -> Change:
    there = passage(
        lambda width: rotating(found.size, density, width),
        *ends,
        passed,
        starts(KEY, count, found.size, found.hidden),
    )
    low, high = (state_of(each, rotating(found.size, density, each.value)) for each in (there.low, there.high))
    step = max(float(np.abs(high.power - low.power).max()), abs(high.defect - low.defect))
    return Change(found.hidden, name(there.low), name(there.high), there, step >= AT_ONCE)


def family_changes(found: Map, width: float, count: int) -> list[Change]:
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
        result.append(Change(found.hidden, name(there.low), name(there.high), there, step >= AT_ONCE))
    return result


def sampled_ends(run: xr.Dataset, plane: Map) -> list[tuple[float, int, int, float]]:
    """Width, how many of so many runs on mini-batches come to the best solution, and the share of exact starts."""
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
        found.append((width, sum(loss <= (1 + CLOSE) * low for loss in ends), len(ends), best.hits / best.starts))
    return found
