"""The polytopes that models end up in: represented features, levels and named tegum factors, with their nulls."""

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
"""A dimensionality within this distance of a level counts as at the level."""

RING = (0.25, 0.875)
"""The interval of dimensionality along which levels are shifted: 1/8 beyond the lowest and the highest level."""

ELSEWHERE = 201
"""The number of shifts, evenly spaced."""

TOLERANCES = (0.05, 0.1, 0.15, 0.2)
"""Tolerances on cosines. One counts; the others show how much depends on it."""

COUNTED = TOLERANCES.index(0.1)
"""The position in `TOLERANCES` of the tolerance that counts."""

MAINLY = 0.5
"""A model is mainly represented features if these hold at least this share of |W|²_F."""

KEY = 11
"""The seed of the random numbers of nulls."""


@final
@dataclass(frozen=True)
class Naming:
    """The polytopes that the represented features of a model form, at one tolerance."""

    shapes: tuple[str, ...]
    """The name of each feature's polytope, or "" if it has none."""
    factors: tuple[tuple[str, tuple[int, ...]], ...]
    """The named polytopes: name, and features as positions among the represented ones."""
    others: tuple[str, ...]
    """What all other factors are called, points included."""

    @property
    def share(self) -> float:
        """The share of features that belong to named polytopes; 0 without features."""
        return sum(map(bool, self.shapes)) / max(len(self.shapes), 1)


@final
@dataclass(frozen=True, eq=False)
class Model:
    """What one model ended up with."""

    density: float
    seed: int
    per_feature: float
    """Dimensions per feature, m / |W|²_F; infinite if W = 0."""
    held: float
    """The share of |W|²_F held by represented features."""
    uneven: float
    """The largest difference between a squared singular value of W and 1: 0 for a projection onto m dimensions."""
    weights: Float[np.ndarray, "feature hidden"]
    """The embeddings of the represented features."""
    levels: Float[np.ndarray, " feature"]
    """Dimensionalities of the represented features."""
    rest: Float[np.ndarray, " other"]
    """Dimensionalities of the other features."""
    named: tuple[Naming, ...]
    """The polytopes found with each of the tolerances."""
    random: tuple[Naming, ...]
    """The polytopes found if each embedding is given a random direction."""
    even_named: tuple[Naming, ...]
    """The polytopes found in the even frame; empty if the model does not reach the levels."""
    even: Float[np.ndarray, " frame_feature"]
    """Dimensionalities in the even frame; empty if the model does not reach the levels."""

    @property
    def counted(self) -> Naming:
        """The polytopes found with the tolerance that counts."""
        return self.named[COUNTED]

    @property
    def reaches_levels(self) -> bool:
        """Whether its represented features have, on average, at least the dimensionality of the lowest level."""
        return reaching(self.density, self.levels)

    @property
    def in_range(self) -> bool:
        """Whether it reaches the levels and is mainly represented features."""
        return self.reaches_levels and self.held >= MAINLY


def reaching(density: float, levels: Float[np.ndarray, " feature"]) -> bool:
    """Whether the density is below 1 and the mean dimensionality is at least that of the lowest level."""
    mean = float(levels.mean()) if len(levels) else 0.0
    return density < 1 and mean >= min(ideal_levels()) - NEAR_LEVEL


def near_level(dimensionality: Float[np.ndarray, "*shape"], shift: float = 0.0) -> Bool[np.ndarray, "*shape"]:
    """Whether each dimensionality is at a level, with all levels shifted around the ring by `shift`."""
    return np.asarray((np.abs(dimensionality[..., None] - _moved(shift)) <= NEAR_LEVEL).any(-1))


def elsewhere(dimensionality: Float[np.ndarray, " feature"]) -> float:
    """The share of features at a level, averaged over shifted levels."""
    length = RING[1] - RING[0]
    shifts = np.linspace(2 * NEAR_LEVEL, length - 2 * NEAR_LEVEL, ELSEWHERE)[:, None]
    return float((np.abs(dimensionality[:, None, None] - _moved(shifts)) <= NEAR_LEVEL).any(-1).mean())


def _moved(shift: float | Float[np.ndarray, "shift 1"]) -> Float[np.ndarray, "*shift level"]:
    low, high = RING
    return low + (np.array(ideal_levels()) - low + shift) % (high - low)


def ideal_levels() -> list[float]:
    """The published dimensionalities at which features of toy models settle."""
    from tegum.analysis.geometry.polytopes import LEVELS

    return [float(level) for level in LEVELS.values()]


def find(run: xr.Dataset) -> list[Model]:
    """All models that completed training, in the order of a trajectory with the dimension `spec`."""
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
    # Outside the range of the levels nothing is compared with it.
    even = even_frame(lengths, rows.shape[1], key) if reaching(density, levels[present]) else rows[:0]
    # A model of zeros has no lengths to give to random directions.
    random = random_directions(lengths, rows.shape[1], key) if len(rows) else rows
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
        random=named_with(random),
        even_named=named_with(even),
        # With at least as many dimensions as features, every feature has a dimension to itself.
        even=dimensionality(even) if len(even) >= rows.shape[1] else np.ones(len(even)),
    )


def named_with(rows: Float[np.ndarray, "feature hidden"]) -> tuple[Naming, ...]:
    """The polytopes that vectors form with each of the tolerances, taking all of them as represented."""
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
    # Neither a point nor a lone group of collapsed features is a polytope.
    return factor.ideal is not None and len(factor.features) > 1 and not factor.name.startswith("collapsed")


def held_by(models: Sequence[Model], tolerance: int = COUNTED) -> Counter[str]:
    """The number of features in polytopes of each name, with one of the tolerances."""
    return Counter(name for model in models for name in model.named[tolerance].shapes if name)


def found_of(models: Sequence[Model], tolerance: int = COUNTED) -> Counter[str]:
    """The number of polytopes of each name, with one of the tolerances."""
    return Counter(name for model in models for name, _ in model.named[tolerance].factors)


def examples_of(models: Sequence[Model]) -> list[tuple[str, str, Float[np.ndarray, "_ hidden"]]]:
    """One polytope of each name, most frequent first: its name, "" or a tolerance, and its vectors.

    Names found only with the widest tolerance come last. Of all polytopes of a name, the one with the median mean
    dimensionality is taken.
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
