"""What polytopes models end in: their represented features, levels, and named tegum factors, beside nulls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np
from jaxtyping import Bool, Float

from tegum.experiments._branches import density_of, specs_of

if TYPE_CHECKING:
    import xarray as xr

    from tegum.analysis.polytopes import Factor

NEAR = 0.02
"""At a level is what is so near to it."""

RING = (0.25, 0.875)
"""Levels elsewhere are moved along this part of the axis: an eighth beyond the lowest and the highest."""

ELSEWHERE = 201
"""So many shifts, evenly spaced."""

TOLERANCES = (0.05, 0.1, 0.15, 0.2)
"""Of cosines; the second one counts, the others tell how much depends on it."""

SETTLED = 1e-9
"""An even frame whose entries change by less is one."""

KEY = 11
"""Of the random numbers of nulls."""


@final
@dataclass(frozen=True, eq=False)
class Model:
    """What one model ended in."""

    density: float
    seed: int
    per_feature: float
    """m / |W|²_F."""
    weights: Float[np.ndarray, "feature hidden"]
    """Of the represented features."""
    levels: Float[np.ndarray, " feature"]
    """Dimensionalities of the represented features."""
    shapes: tuple[str, ...]
    """The name of each one's factor; where that has none, "" ."""
    factors: tuple[tuple[str, tuple[int, ...]], ...]
    """Names and features of the named factors, as positions among the represented ones."""
    others: tuple[str, ...]
    """What other factors are called, points among them."""
    named: tuple[float, ...]
    """The share of represented features in named polytopes, with each of the tolerances."""
    random: tuple[float, int]
    """The same share with random directions, with the tolerance that counts, and how many polytopes these form."""
    even: Float[np.ndarray, " feature"]
    """Dimensionalities in the even frame."""

    @property
    def in_range(self) -> bool:
        """Whether it is in the range of the levels."""
        return self.density < 1 and float(self.levels.mean()) >= min(ideal_levels()) - NEAR


def near_level(dimensionality: Float[np.ndarray, "*shape"], shift: float = 0.0) -> Bool[np.ndarray, "*shape"]:
    """Whether each dimensionality is at a level, where all levels are moved along the ring by `shift`."""
    low, high = RING
    moved = low + (np.array(ideal_levels()) - low + shift) % (high - low)
    return np.asarray((np.abs(dimensionality[..., None] - moved) <= NEAR).any(-1))


def elsewhere(dimensionality: Float[np.ndarray, " feature"]) -> float:
    """The share that is at a level, on average over levels elsewhere."""
    length = RING[1] - RING[0]
    shifts = np.linspace(2 * NEAR, length - 2 * NEAR, ELSEWHERE).tolist()
    return float(np.mean([near_level(dimensionality, shift) for shift in shifts]))


def even_frame(
    lengths: Float[np.ndarray, " feature"], hidden: int, key: int, rounds: int = 500
) -> Float[np.ndarray, "feature hidden"]:
    """Vectors of these lengths whose random directions are spread evenly over the space: as tight a frame as they can.

    The nearest tight frame and the nearest vectors of these lengths are taken in turn (Tropp et al., IEEE
    Transactions on Information Theory 51, 2005).

    Args:
        lengths: of the vectors, positive.
        hidden: the dimension; fewer vectors become orthogonal.
        key: of the random numbers.
        rounds: how many turns at most.

    """
    frame = random_directions(lengths, hidden, key)
    for _ in range(rounds):
        # V (VᵀV)^(−1/2) is the nearest tight frame; in fewer dimensions than there are, that of the space they span.
        squares, axes = np.linalg.eigh(frame.T @ frame)
        spanned = squares > 1e-12 * squares[-1]
        tight = frame @ (axes[:, spanned] / np.sqrt(squares[spanned])) @ axes[:, spanned].T
        before, frame = frame, tight / np.linalg.norm(tight, axis=1, keepdims=True) * lengths[:, None]
        if np.abs(frame - before).max() < SETTLED:
            break
    return frame


def random_directions(
    lengths: Float[np.ndarray, " feature"], hidden: int, key: int
) -> Float[np.ndarray, "feature hidden"]:
    """Vectors of these lengths in random directions."""
    drawn = np.random.default_rng(key).standard_normal((len(lengths), hidden))
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True) * lengths[:, None]


def ideal_levels() -> list[float]:
    """The dimensionalities at which features of toy models come to rest, as published."""
    from tegum.analysis.polytopes import LEVELS

    return [float(level) for level in LEVELS.values()]


def models_of(run: xr.Dataset) -> list[Model]:
    """All models of a trajectory with the dim `spec` that trained to their end, in its order."""
    from tegum.data import schema

    models = []
    for number, spec in enumerate(specs_of(run)):
        here = run.isel(spec=number, step=-1)
        whole = here.isel(seed=np.flatnonzero(np.isin(here["result"].values, schema.WHOLE)))
        models += [_model(density_of(spec), one) for one in (whole.isel(seed=k) for k in range(whole.sizes["seed"]))]
    return models


def _model(density: float, end: xr.Dataset) -> Model:
    from tegum.analysis.geometry import dimensionality, dimensions_per_feature, represented
    from tegum.analysis.polytopes import name_polytope

    weights = end["weights"].values.astype(np.float64)
    present = np.flatnonzero(represented(weights))
    rows = weights[present]
    lengths = np.linalg.norm(rows, axis=1)
    position = {feature: at for at, feature in enumerate(present.tolist())}
    polytopes = [name_polytope(weights, tolerance) for tolerance in TOLERANCES]
    counted = polytopes[1].factors
    shapes = [""] * len(rows)
    factors = []
    for factor in counted:
        if _is_named(factor):
            own = tuple(position[feature] for feature in factor.features)
            factors.append((factor.name, own))
            for at in own:
                shapes[at] = factor.name
    random = name_polytope(random_directions(lengths, rows.shape[1], KEY), TOLERANCES[1])
    return Model(
        density=density,
        seed=int(end["seed"]),
        per_feature=float(dimensions_per_feature(weights)),
        weights=rows,
        levels=dimensionality(weights)[present],
        shapes=tuple(shapes),
        factors=tuple(factors),
        others=tuple(factor.name for factor in counted if not _is_named(factor)),
        named=tuple(_named(polytope.factors, len(rows)) for polytope in polytopes),
        random=(_named(random.factors, len(rows)), sum(map(_is_named, random.factors))),
        even=dimensionality(even_frame(lengths, rows.shape[1], KEY))
        if len(rows) >= rows.shape[1]
        else np.ones(len(rows)),
    )


def _named(factors: Sequence[Factor], count: int) -> float:
    """The share of `count` features in named polytopes."""
    return sum(len(each.features) for each in factors if _is_named(each)) / count


def _is_named(factor: Factor) -> bool:
    return factor.ideal is not None and len(factor.features) > 1


def held_by(models: Sequence[Model]) -> Counter[str]:
    """How many features the polytopes of each name hold."""
    return Counter(name for model in models for name in model.shapes if name)


def examples_of(models: Sequence[Model]) -> list[tuple[str, Float[np.ndarray, "_ hidden"]]]:
    """Of each name the factor whose features are in the middle of all by their mean dimensionality, commonest first."""
    found: dict[str, list[tuple[float, int, int]]] = {}
    for number, model in enumerate(models):
        for at, (name, features) in enumerate(model.factors):
            found.setdefault(name, []).append((float(model.levels[list(features)].mean()), number, at))
    held = held_by(models)
    examples = []
    for name in sorted(found, key=lambda name: -held[name]):
        _, number, at = sorted(found[name])[len(found[name]) // 2]
        examples.append((name, models[number].weights[list(models[number].factors[at][1])]))
    return examples
