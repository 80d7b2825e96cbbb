"""The findings of the experiment `polytopes` as measures: levels, names, tegum products, and sticking."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from jaxtyping import Float

from tegum.experiments.polytopes.findings import (
    COUNTED,
    NEAR_LEVEL,
    TOLERANCES,
    Model,
    elsewhere,
    found_of,
    held_by,
    near_level,
)
from tegum.experiments.reporting import Measure, average, by_run, mean, share

STICKY = 0.05
"""m / |W|²_F sticks at a value where it is within this distance of it."""

DENSE = 10.0
"""The grid is fine up to this 1/p."""

MOST = 0.9
"""Names that together hold this share of features are nearly all."""

AGAIN = 2
"""A polytope counts as found if it occurs at this many densities or more."""

_AT_LEVEL = f"share of represented features whose dimensionality is within {NEAR_LEVEL:g} of a level"


def measures(models: Sequence[Model]) -> list[Measure]:
    """All measures. Models of different densities are independent; at least one must be in the range of the levels."""
    ranged = [model for model in models if model.in_range]
    last = min(model.density for model in ranged)
    sparse = [model for model in models if model.density < last and not model.in_range]
    return [
        *_range_measures(models, ranged),
        *_level_measures(ranged),
        *_named_measures(models, ranged, sparse),
        *_shape_measures(ranged),
        *_product_measures(models, ranged),
        *_sticking_measures([model for model in models if 1 / model.density <= DENSE and model.per_feature < np.inf]),
    ]


def _range_measures(models: Sequence[Model], ranged: Sequence[Model]) -> list[Measure]:
    densities = {model.density for model in models}
    least = [model for model in models if model.reaches_levels and not model.in_range]
    left_out = ", ".join(f"{100 * model.held:.0f} % at 1/p = {1 / model.density:.3g}" for model in least)
    return [
        Measure(
            "densities", "densities", len(densities), "", n=len(models), meaning="densities on the grid with a model"
        ),
        Measure(
            "densities_in_range",
            "densities in the range of the levels",
            len({model.density for model in ranged}),
            "",
            n=len(models),
            meaning="densities at which some model is in the range of the levels",
        ),
        Measure(
            "least_density_in_range",
            "least density in the range of the levels",
            min(model.density for model in ranged),
            "density",
            meaning="density of the sparsest model in the range of the levels",
        ),
        Measure(
            "greatest_density_in_range",
            "greatest density in the range of the levels",
            max(model.density for model in ranged),
            "density",
            meaning="density of the densest model in the range of the levels",
        ),
        _part(
            "squared_norm_in_represented_features",
            "|W|² in represented features",
            _by_density(ranged, lambda each: each.held),
            "share of |W|²_F held by represented features, in the range of the levels; "
            f"least in one model: {min(model.held for model in ranged):.2f}",
        ),
        Measure(
            "models_at_levels_but_mainly_unrepresented",
            "models at levels but mainly unrepresented",
            len(least),
            "models",
            n=len(models),
            meaning="models that reach the levels but hold less than half of |W|²_F in represented features, left out "
            f"of the range; |W|²_F in represented features: {left_out or 'none left out'}",
        ),
    ]


def _level_measures(ranged: Sequence[Model]) -> list[Measure]:
    at_level = _by_density(ranged, lambda each: float(near_level(each.levels).mean()))
    moved = _by_density(ranged, lambda each: elsewhere(each.levels))
    even = _by_density(ranged, lambda each: float(near_level(each.even).mean()))
    return [
        _part(
            "features_at_level",
            "features at a level",
            at_level,
            f"{_AT_LEVEL}; null: shifted levels",
            float(moved.mean()),
        ),
        average(
            "features_at_level_less_elsewhere",
            "features at a level minus at shifted levels",
            at_level - moved,
            "share",
            f"{_AT_LEVEL}, minus the share at shifted levels, paired by model; interval over densities",
            null=0.0,
        ),
        average(
            "features_at_level_less_even_frames",
            "features at a level minus in even frames",
            at_level - even,
            "share",
            f"{_AT_LEVEL}, minus that in even frames, paired by model; interval over densities",
            null=0.0,
        ),
        _part(
            "features_at_level_in_even_frames",
            "features at a level in even frames",
            even,
            f"share of features of even frames within {NEAR_LEVEL:g} of a level",
        ),
    ]


def _named_measures(models: Sequence[Model], ranged: Sequence[Model], sparse: Sequence[Model]) -> list[Measure]:
    def named(of: str, name: str, those: Sequence[Model], at: int, meaning: str) -> Measure:
        return _part(
            f"{of}features_in_named_polytopes",
            name,
            _by_density(those, lambda each: each.named[at].share),
            f"share of represented features that belong to a named polytope, with a tolerance of {TOLERANCES[at]:g} on "
            f"cosines ({meaning}interval over densities); null: random directions",
            _mean(each.random[at].share for each in those),
        )

    measures = []
    for at in range(len(TOLERANCES)):
        of, ending = with_tolerance(at)
        even = f"in even frames {np.mean([each.even_named[at].share for each in ranged]):.2g}; "
        measures.append(named(of, f"features in named polytopes{ending}", ranged, at, even))
    reaching = [model for model in models if model.reaches_levels]
    measures.append(
        named(
            "reaching.",
            "features in named polytopes, with mainly unrepresented models",
            reaching,
            COUNTED,
            "including models that are mainly unrepresented features; not a criterion; ",
        )
    )
    for at in range(len(TOLERANCES)):
        of, ending = with_tolerance(at)
        below = f"models sparser than the range of the levels; {_reach(models, at)}; "
        name = f"features in named polytopes in sparser models{ending}"
        measures.append(named(f"sparser.{of}", name, sparse, at, below))
    return measures + _between_seeds(ranged)


def _shape_measures(ranged: Sequence[Model]) -> list[Measure]:
    from tegum.analysis.geometry.polytopes import LEVELS, SHAPES

    held = held_by(ranged)
    count = len({model.density for model in ranged})
    everywhere = [found_of(ranged, at) for at in range(len(TOLERANCES))]
    names = sorted({*LEVELS, *(name for found in everywhere for name in found)}, key=lambda name: (-held[name], name))
    measures = [
        _part(
            f"shape.{_identifier(name)}.features",
            f"features by polytope: {name}",
            _by_density(ranged, lambda each, name=name: each.counted.shapes.count(name) / len(each.levels)),
            f"share of represented features in polytopes named {name}, found at {densities_with(ranged, name)} "
            f"of {count} densities; number found by tolerance: "
            + ", ".join(
                f"{found[name]} at {tolerance:g}" for tolerance, found in zip(TOLERANCES, everywhere, strict=True)
            )
            + "; null: random directions",
            _mean(each.random[COUNTED].shapes.count(name) / len(each.levels) for each in ranged),
        )
        for name in names
    ]
    known = [name for name in LEVELS if densities_with(ranged, name) >= AGAIN]
    distances = [
        abs(level - float(SHAPES[name].dimensionality))
        for model in ranged
        for level, name in zip(model.levels.tolist(), model.counted.shapes, strict=True)
        if name in SHAPES
    ]
    unnamed = [name for each in ranged for name in each.counted.others]
    return [
        *measures,
        Measure(
            "polytopes_found",
            "polytopes found",
            len(known),
            "polytopes",
            n=count,
            null=float(sum(densities_with(ranged, name, random=True) >= AGAIN for name in LEVELS)),
            meaning=f"of the {len(LEVELS)} in the paper, those that occur at {AGAIN} or more densities: "
            f"{', '.join(known) or 'none'}; null: random directions",
        ),
        share(
            "features_with_other_names",
            "features in other polytopes",
            sum(number for name, number in held.items() if name not in LEVELS),
            sum(held.values()),
            "share of the features in named polytopes that belong to none of the five of the paper",
            runs=count,
        ),
        Measure(
            "names_that_hold_nine_tenths",
            f"names that hold {100 * MOST:g} % of features",
            few(held),
            "names",
            n=count,
            meaning=f"the least number of names that together hold {100 * MOST:g} % of the {sum(held.values())} "
            "features in named polytopes",
        ),
        Measure(
            "distance_from_ideal_dimensionality",
            "distance from the ideal dimensionality",
            float(np.median(distances)) if distances else None,
            "",
            n=count,
            meaning="difference between a feature's dimensionality and that of its ideal polytope, median over "
            "features in named polytopes",
        ),
        Measure(
            "factors_without_name",
            "factors without a name",
            len(unnamed),
            "factors",
            n=count,
            meaning=f"tegum factors that are no named polytope; most frequent: {_commonest(unnamed)}",
        ),
    ]


def _product_measures(models: Sequence[Model], ranged: Sequence[Model]) -> list[Measure]:
    def products(
        key: str, name: str, those: Sequence[Model], least: int, meaning: str, *, differ: bool = False
    ) -> Measure:
        def count(each: Model, *, random: bool = False) -> int:
            factors = (each.random if random else each.named)[COUNTED].factors
            return len({kind for kind, _ in factors}) if differ else len(factors)

        return share(
            key,
            name,
            sum(count(each) >= least for each in those),
            len(those),
            f"{meaning}; null: random directions",
            runs=len({each.density for each in those}),
            null=_mean(count(each, random=True) >= least for each in those),
        )

    reaching = [model for model in models if model.reaches_levels]
    return [
        products("tegum_products", "tegum products", ranged, 2, "models with two or more named polytopes"),
        products(
            "tegum_products_of_different_polytopes",
            "tegum products of different polytopes",
            ranged,
            2,
            "models with named polytopes of two or more different names; not a criterion",
            differ=True,
        ),
        products(
            "reaching.tegum_products",
            "tegum products, with mainly unrepresented models",
            reaching,
            2,
            "models with two or more named polytopes, including mainly unrepresented ones; not a criterion",
        ),
    ]


def _sticking_measures(dense: Sequence[Model]) -> list[Measure]:
    places = np.array([np.log10(1 / model.density) for model in dense])
    curve = np.array([model.per_feature for model in dense])
    measures = []
    for where, at in (("one", 1.0), ("half", 0.5)):
        key, name = f"dimensions_per_feature_stick_at_{where}", f"axis on which dimensions per feature stick at {at:g}"
        about = f"share of the log axis up to 1/p = {DENSE:g} on which m / |W|²_F is within {STICKY:g} of {at:g}"
        # A single model does not make a curve.
        if len(set(places.tolist())) < 2:
            measures.append(Measure(key, name, None, "share", n=len(dense), meaning=about))
            continue
        part, least, most = stretch(places, curve, at)
        meaning = (
            f"{about}, counting only intervals between densities that are both this near ({part:.2f} with straight "
            f"lines between densities, at most {most:.2f}); null: a fall without a plateau"
        )
        measures.append(Measure(key, name, least, "share", n=len(dense), null=fall(places, curve, at), meaning=meaning))
    for where, at in (("one", 1.0), ("half", 0.5)):
        near = [model for model in dense if abs(model.per_feature - at) <= STICKY and len(model.levels)]
        measures.append(
            average(
                f"dimensionality_where_dimensions_per_feature_near_{where}",
                f"feature dimensionality where dimensions per feature are near {at:g}",
                _by_density(near, lambda each: float(each.levels.mean())),
                "",
                f"mean dimensionality of represented features in models with m / |W|²_F within {STICKY:g} of {at:g}; "
                "share of |W|²_F in these features: "
                + (f"{min(each.held for each in near):.2f} or more" if near else "no model is this near"),
            )
        )
    near = [model for model in dense if abs(model.per_feature - 1) <= STICKY]
    measures.append(
        Measure(
            "distance_from_projection_where_dimensions_per_feature_near_one",
            "distance from a projection where dimensions per feature are near 1",
            max((model.uneven for model in near), default=None),
            "",
            n=len(near),
            meaning=f"largest difference between a squared singular value of W and 1 in models with m / |W|²_F within "
            f"{STICKY:g} of 1",
        )
    )
    return measures


def densities_with(models: Sequence[Model], name: str, *, random: bool = False) -> int:
    """The number of densities at which some model has a polytope of this name, in fact or with random directions."""
    return len({each.density for each in models if name in (each.random if random else each.named)[COUNTED].shapes})


def few(held: Mapping[str, int]) -> int:
    """The least number of names that together hold the share MOST of all these features."""
    counts = np.cumsum(sorted(held.values(), reverse=True))
    return int(np.searchsorted(counts, MOST * counts[-1])) + 1 if len(counts) else 0


def stretch(
    places: Float[np.ndarray, " place"], values: Float[np.ndarray, " place"], level: float
) -> tuple[float, float, float]:
    """The share of an axis on which a curve is within STICKY of a level, with the bounds that its points allow.

    Args:
        places: places on the axis in ascending order, at least two of them different. At equal places the mean of the
            values counts.
        values: the values of the curve, which is straight between the places.
        level: the level in question.

    Returns:
        The share of the axis; the share between neighbours that are both within STICKY; and the share between
        neighbours of which at least one is.

    """
    axis = np.unique(places)
    curve = np.array([values[places == place].mean() for place in axis])
    gaps = np.diff(axis) / np.ptp(axis)
    near = np.abs(curve - level) <= STICKY
    fine = np.linspace(axis[0], axis[-1], 10_001)
    part = float((np.abs(np.interp(fine, axis, curve) - level) <= STICKY).mean())
    return part, float(gaps[near[1:] & near[:-1]].sum()), float(gaps[near[1:] | near[:-1]].sum())


def fall(places: Float[np.ndarray, " place"], values: Float[np.ndarray, " place"], level: float) -> float:
    """The share of an axis on which a fall without a plateau is within STICKY of a level.

    Two falls lead from the first value to the last: a straight line, and a quarter of a cosine, which begins flat and
    then falls ever faster. The one that stays longer counts. Arguments are as in `stretch`.
    """
    axis = np.linspace(0, 1, 10_001)
    first, last = values[places == places.min()].mean(), values[places == places.max()].mean()
    falls = (1 - axis, np.cos(np.pi / 2 * axis))
    return max(float((np.abs(last + (first - last) * each - level) <= STICKY).mean()) for each in falls)


def with_tolerance(at: int) -> tuple[str, str]:
    """The prefix of the key and the suffix of the name of a measure taken with one of the tolerances."""
    if at == COUNTED:
        return "", ""
    number = f"{TOLERANCES[at]:g}"
    return f"tolerance_{number.replace('.', '_')}.", f", tolerance {number}"


def _identifier(shape: str) -> str:
    """The name of a polytope as part of a key, such as "square_antiprism"."""
    return re.sub(r"[^a-z0-9]+", "_", shape.lower())


def _part(
    key: str, name: str, values: Float[np.ndarray, " density"], meaning: str, null: float | None = None
) -> Measure:
    """The mean of shares, with its interval clipped to [0, 1]."""
    measure = average(key, name, values, "share", meaning, null=null)
    if measure.low is None or measure.high is None:
        return measure
    return dataclasses.replace(measure, low=max(measure.low, 0.0), high=min(measure.high, 1.0))


def _by_density(models: Sequence[Model], value: Callable[[Model], float]) -> Float[np.ndarray, " density"]:
    """A value of each model, averaged over models of the same density. Different densities are independent."""
    return by_run([(round(1e6 * model.density), value(model)) for model in models])


def _between_seeds(ranged: Sequence[Model]) -> list[Measure]:
    """How much models of the same density differ, if there are several."""
    shares: dict[float, list[float]] = {}
    for model in ranged:
        shares.setdefault(model.density, []).append(model.counted.share)
    spread = np.array([np.std(each, ddof=1) for each in shares.values() if len(each) > 1])
    key, name = "features_in_named_polytopes_between_seeds", "spread of features in named polytopes between seeds"
    meaning = "standard deviation, between seeds at one density, of the share of features in named polytopes"
    return [average(key, name, spread, "share", meaning)] if len(spread) else []


def _reach(models: Sequence[Model], at: int) -> str:
    """The largest 1/p at which any model has a named polytope, in words."""
    ratios = [1 / model.density for model in models if model.named[at].factors]
    return f"named polytopes occur up to 1/p = {max(ratios):.3g}" if ratios else "no named polytopes occur"


def _mean(values: Iterable[float]) -> float | None:
    return mean([float(value) for value in values])


def _commonest(names: Iterable[str]) -> str:
    found = Counter(names).most_common(3)
    return ", ".join(f"{count} × {name}" for name, count in found) if found else "none"
