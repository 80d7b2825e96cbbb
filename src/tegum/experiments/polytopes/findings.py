"""What polytopes models end in: their represented features, levels, and named tegum factors, beside nulls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np
from jaxtyping import Bool, Float

from tegum.analysis.geometry.null_frames import even_frame, random_directions

if TYPE_CHECKING:
    import xarray as xr

    from tegum.analysis.geometry.polytopes import Factor

NEAR_LEVEL = 0.02
"""At a level is what is so near to it."""

RING = (0.25, 0.875)
"""Levels elsewhere are moved along this part of the axis: an eighth beyond the lowest and the highest."""

ELSEWHERE = 201
"""So many shifts, evenly spaced."""

TOLERANCES = (0.05, 0.1, 0.15, 0.2)
"""Of cosines; one of them counts, the others tell how much depends on it."""

COUNTED = TOLERANCES.index(0.1)
"""The tolerance that counts."""

MAINLY = 0.5
"""Represented features make up a model if they hold at least this share of |W|²_F."""

KEY = 11
"""Of the random numbers of nulls."""


@final
@dataclass(frozen=True)
class Naming:
    """The polytopes that represented features form, with one tolerance."""

    shapes: tuple[str, ...]
    """For each feature the name of its polytope; "" where that has none."""
    factors: tuple[tuple[str, tuple[int, ...]], ...]
    """Names and features of the named polytopes, as positions among the represented ones."""
    others: tuple[str, ...]
    """What other factors are called, points among them."""

    @property
    def share(self) -> float:
        """Of the features, in named polytopes; 0 of none."""
        return sum(map(bool, self.shapes)) / max(len(self.shapes), 1)


@final
@dataclass(frozen=True, eq=False)
class Model:
    """What one model ended in."""

    density: float
    seed: int
    per_feature: float
    """m / |W|²_F; infinite where W = 0."""
    held: float
    """The share of |W|²_F that is in represented features."""
    uneven: float
    """The largest difference from 1 of a squared singular value of W: 0 for a projection on m dimensions."""
    weights: Float[np.ndarray, "feature hidden"]
    """Of the represented features."""
    levels: Float[np.ndarray, " feature"]
    """Dimensionalities of the represented features."""
    rest: Float[np.ndarray, " other"]
    """Dimensionalities of the other features."""
    named: tuple[Naming, ...]
    """With each of the tolerances."""
    random: tuple[Naming, ...]
    """The same with random directions."""
    even_named: tuple[Naming, ...]
    """The same in the even frame; nothing where the model does not reach the levels."""
    even: Float[np.ndarray, " frame_feature"]
    """Dimensionalities in the even frame; likewise."""

    @property
    def counted(self) -> Naming:
        """With the tolerance that counts."""
        return self.named[COUNTED]

    @property
    def reaches_levels(self) -> bool:
        """Whether its represented features have on average at least the dimensionality of the lowest level."""
        return reaching(self.density, self.levels)

    @property
    def in_range(self) -> bool:
        """Whether it is in the range of the levels, and made up of represented features."""
        return self.reaches_levels and self.held >= MAINLY


def reaching(density: float, levels: Float[np.ndarray, " feature"]) -> bool:
    """Whether features of this density have on average at least the dimensionality of the lowest level, below 1."""
    mean = float(levels.mean()) if len(levels) else 0.0
    return density < 1 and mean >= min(ideal_levels()) - NEAR_LEVEL


def near_level(dimensionality: Float[np.ndarray, "*shape"], shift: float = 0.0) -> Bool[np.ndarray, "*shape"]:
    """Whether each dimensionality is at a level, where all levels are moved along the ring by `shift`."""
    return np.asarray((np.abs(dimensionality[..., None] - _moved(shift)) <= NEAR_LEVEL).any(-1))


def elsewhere(dimensionality: Float[np.ndarray, " feature"]) -> float:
    """The share that is at a level, on average over levels elsewhere."""
    length = RING[1] - RING[0]
    shifts = np.linspace(2 * NEAR_LEVEL, length - 2 * NEAR_LEVEL, ELSEWHERE)[:, None]
    return float((np.abs(dimensionality[:, None, None] - _moved(shifts)) <= NEAR_LEVEL).any(-1).mean())


def _moved(shift: float | Float[np.ndarray, "shift 1"]) -> Float[np.ndarray, "*shift level"]:
    low, high = RING
    return low + (np.array(ideal_levels()) - low + shift) % (high - low)


def ideal_levels() -> list[float]:
    """The dimensionalities at which features of toy models come to rest, as published."""
    from tegum.analysis.geometry.polytopes import LEVELS

    return [float(level) for level in LEVELS.values()]


def find(run: xr.Dataset) -> list[Model]:
    """All models of a trajectory with the dim `spec` that trained to their end, in its order."""
    from tegum.analysis.runs import completed_runs

    models = []
    for number in range(run.sizes["spec"]):
        here = run.isel(spec=number, step=-1)
        density = float(np.ravel(here["density"].values)[0])
        whole = completed_runs(here)
        for k in range(whole.sizes["seed"]):
            models.append(_model(density, whole.isel(seed=k), KEY + len(models)))
    return models


def _model(density: float, end: xr.Dataset, key: int) -> Model:
    from tegum.analysis.geometry.measures import dimensionality, dimensions_per_feature, represented

    weights = end["weights"].values.astype(np.float64)
    present = represented(weights)
    rows = weights[present]
    lengths = np.linalg.norm(rows, axis=1)
    levels = dimensionality(weights)
    # Elsewhere nothing is compared with it.
    even = even_frame(lengths, rows.shape[1], key) if reaching(density, levels[present]) else rows[:0]
    return Model(
        density=density,
        seed=int(end["seed"]),
        per_feature=float(dimensions_per_feature(weights)),
        held=float(np.square(rows).sum() / max(np.square(weights).sum(), 1e-300)),
        uneven=float(np.abs(np.linalg.svd(weights, compute_uv=False) ** 2 - 1).max()),
        weights=rows,
        levels=levels[present],
        rest=levels[~present],
        named=named_with(rows),
        random=named_with(random_directions(lengths, rows.shape[1], key)),
        even_named=named_with(even),
        # Where dimensions are no fewer than features, each of these has one of its own.
        even=dimensionality(even) if len(even) >= rows.shape[1] else np.ones(len(even)),
    )


def named_with(rows: Float[np.ndarray, "feature hidden"]) -> tuple[Naming, ...]:
    """The polytopes that vectors form, all of them taken for represented, with each of the tolerances."""
    from tegum.analysis.geometry.polytopes import name_polytope

    if not len(rows):
        return (Naming((), (), ()),) * len(TOLERANCES)
    namings = []
    for tolerance in TOLERANCES:
        factors = name_polytope(rows, tolerance, threshold=0.0).factors
        named = [factor for factor in factors if _is_named(factor)]
        shapes = [""] * len(rows)
        for factor in named:
            for at in factor.features:
                shapes[at] = factor.name
        others = tuple(factor.name for factor in factors if not _is_named(factor))
        namings.append(Naming(tuple(shapes), tuple((factor.name, factor.features) for factor in named), others))
    return tuple(namings)


def _is_named(factor: Factor) -> bool:
    # Neither a point nor collapsed features that are alone are a polytope.
    return factor.ideal is not None and len(factor.features) > 1 and not factor.name.startswith("collapsed")


def held_by(models: Sequence[Model], tolerance: int = COUNTED) -> Counter[str]:
    """How many features the polytopes of each name hold, with one of the tolerances."""
    return Counter(name for model in models for name in model.named[tolerance].shapes if name)


def found_of(models: Sequence[Model], tolerance: int = COUNTED) -> Counter[str]:
    """How many polytopes of each name there are, with one of the tolerances."""
    return Counter(name for model in models for name, _ in model.named[tolerance].factors)


def examples_of(models: Sequence[Model]) -> list[tuple[str, str, Float[np.ndarray, "_ hidden"]]]:
    """One polytope of each name, commonest first: name, "" or a tolerance, and its vectors.

    Names that are not found with the tolerance that counts follow with the widest. Of all polytopes of a name, that
    one is taken whose features have the middle mean dimensionality.
    """
    examples: dict[str, tuple[str, str, Float[np.ndarray, "_ hidden"]]] = {}
    for at, note in ((COUNTED, ""), (len(TOLERANCES) - 1, f"tolerance {TOLERANCES[-1]:g}")):
        found: dict[str, list[tuple[float, int, tuple[int, ...]]]] = {}
        for number, model in enumerate(models):
            for name, features in model.named[at].factors:
                found.setdefault(name, []).append((float(model.levels[list(features)].mean()), number, features))
        held = held_by(models, at)
        for name in sorted(set(found) - set(examples), key=lambda name: (-held[name], name)):
            _, number, features = sorted(found[name])[len(found[name]) // 2]
            examples[name] = name, note, models[number].weights[list(features)]
    return list(examples.values())
