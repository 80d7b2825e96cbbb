"""The golden files that bind the science of the page to tegum: what tegum computes, for TypeScript to equal.

    python web/golden/make.py        # writes the JSON files beside this one

Nothing here comes from the page. Inputs are short decimals, so that both sides start from the same numbers; results
have all their digits. `tests/web/test_golden.py` compares the files with what tegum computes now, and `web/test/`
compares the page with the files.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

import tegum as tg
from tegum.analysis.geometry.measures import align_steps
from tegum.analysis.geometry.polytopes import SHAPES, Factor, simplex
from tegum.core.features.sets import FeatureSet, GatedSet
from tegum.core.loss.empirical import empirical_gradient
from tegum.lab.described import page_address, page_set, rules

FOLDER = Path(__file__).parent


class Chain(GatedSet, kind="golden-chain"):
    """A kind of a user's own: neighbours i and i + 1 are active together, with certainty and with a half."""

    count: int = 3

    @property
    def features(self) -> int:
        """The number of features."""
        return self.count

    def table(self) -> tg.MixtureTable:
        """One component for each feature, which may take its right neighbour along, and one without any."""
        gates = np.eye(self.count) + 0.5 * np.eye(self.count, k=1)
        p = float(np.ravel(self.density)[0])
        weights = np.append(np.full(self.count, p / self.count), 1 - p)
        return tg.MixtureTable(weights, np.concatenate([gates, np.zeros((1, self.count))]))


def decimals(generator: np.random.Generator, *shape: int, scale: float = 1.0, digits: int = 3) -> np.ndarray:
    """Normal numbers with few digits."""
    return np.round(scale * generator.standard_normal(shape), digits)


def samples(generator: np.random.Generator, count: int, n: int, density: float) -> np.ndarray:
    """Sparse samples with few digits, in [0, 1]."""
    return np.round(np.where(generator.random((count, n)) < density, generator.random((count, n)), 0.0), 3)


def gradients() -> list[dict[str, Any]]:
    """Losses and gradients of models on given samples."""
    generator = np.random.default_rng(1)
    found = []
    for n, m, activation, density, importance in (
        (5, 2, "relu", 0.3, None),
        (5, 2, "linear", 0.3, None),
        (6, 3, "relu", 0.2, 0.9),
        (6, 3, "linear", 1.0, 0.7),
        (1, 1, "relu", 0.5, None),
        (3, 5, "relu", 0.6, 0.5),
        (12, 4, "relu", 0.1, 0.0),
        (40, 5, "relu", 0.08, 0.95),
    ):
        weights, bias = decimals(generator, n, m, scale=0.6), decimals(generator, n, scale=0.2)
        weight = np.ones(n) if importance is None else np.round(np.float64(importance) ** np.arange(n), 6)
        x = samples(generator, 24, n, density)
        gradient = empirical_gradient(weights, bias, x, weight, activation)
        found.append(
            {
                "activation": activation,
                "weights": weights,
                "bias": bias,
                "importance": weight,
                "x": x,
                "outputs": tg.forward(weights, bias, x[:3], activation),
                "loss": tg.empirical_loss(weights, bias, x, weight, activation),
                "d_weights": gradient[0],
                "d_bias": gradient[1],
            }
        )
    return found


OPTIMISERS = (
    {"optimiser": "adam", "rate": 0.01},
    {"optimiser": "adam", "rate": 0.02, "weight_decay": 0.3, "schedule": "cosine", "warmup": 5},
    {"optimiser": "adam", "rate": 0.03, "betas": (0.8, 0.95), "eps": 1e-3, "schedule": "linear"},
    {"optimiser": "gd", "rate": 0.1},
    {"optimiser": "gd", "rate": 0.05, "momentum": 0.9, "weight_decay": 0.02, "schedule": "linear", "warmup": 3},
    {"optimiser": "gd", "rate": 0.2, "momentum": 0.5, "schedule": "cosine"},
)
"""Options of an optimiser, as `Exact` takes them."""


def optimisers() -> list[dict[str, Any]]:
    """States on the way of optimisers, each with the same given samples in every step.

    The loss of an `Empirical` set is the mean over its rows, which tegum's exact training descends in float64.
    """
    generator = np.random.default_rng(2)
    found = []
    for options in OPTIMISERS:
        n, m, steps, kept = 5, 2, 30, [0, 1, 2, 3, 10, 20, 30]
        x, importance = samples(generator, 20, n, 0.4), [1.0, 0.9, 0.8, 0.7, 0.6]
        x[0] = np.where(x[0] > 0, x[0], 0.5)  # every feature varies
        weights, bias = decimals(generator, n, m, scale=0.6), decimals(generator, n, scale=0.1)
        training = tg.Exact(steps=steps, **options)
        features = tg.FeatureDistribution([tg.Empirical(x, importance=importance)])
        run = tg.train(
            tg.Spec(features=features, hidden=m, training=training, snapshots=kept, start=(weights, bias)), threads=1
        ).isel(seed=0)
        sampled = {"adam": "adamw", "gd": "sgd"}[training.optimiser]
        twin = tg.Sampled(steps=steps, **{**options, "optimiser": sampled, "weight_decay": training.decay})
        found.append(
            {
                "training": twin.model_dump(mode="json"),
                "x": x,
                "importance": importance,
                "steps": kept,
                "weights": run.weights.values,
                "bias": run.bias.values,
            }
        )
    return found


def schedules() -> list[dict[str, Any]]:
    """The factors of the rate in every step."""
    cases = [
        tg.Sampled(steps=steps, schedule=schedule, warmup=warmup)
        for schedule in ("constant", "linear", "cosine")
        for steps, warmup in ((12, 0), (12, 5), (7, 7), (1, 0))
    ]
    return [{"training": each.model_dump(mode="json"), "factors": each.rates(0, each.steps)} for each in cases]


def kinds() -> dict[str, list[FeatureSet]]:
    """Feature sets of every kind, by a name for each distribution."""
    correlation = [[1.0, 0.5, 0.5], [0.5, 1.0, 0.5], [0.5, 0.5, 1.0]]
    return {
        "independent": [tg.Independent(4, [0.1, 0.2, 0.5, 1.0], importance=[1, 0.9, 0.8, 0.7])],
        "correlated": [tg.Correlated(3, 0.2)],
        "correlated, unequal": [tg.Correlated(4, [0.1, 0.4, 0.4, 1.0])],
        "anticorrelated": [tg.Anticorrelated(4, 0.6)],
        "anticorrelated, unequal": [tg.Anticorrelated(3, [0.3, 0.9, 1.0])],
        "anticorrelated, always": [tg.Anticorrelated(2, 1.0)],
        "partially correlated": [tg.PartiallyCorrelated(2, 0.2, strength=0.5)],
        "partially correlated, unequal": [tg.PartiallyCorrelated(3, [0.1, 0.3, 0.2], strength=0.25, importance=0.5)],
        "partially correlated, strength 0": [tg.PartiallyCorrelated(2, 0.2, strength=0.0)],
        "partially correlated, strength 1": [tg.PartiallyCorrelated(2, 0.2, strength=1.0)],
        "hierarchy": [tg.Hierarchy([-1, 0, 0, 1], [0.5, 0.4, 0.6, 0.3])],
        "hierarchy, exclusive": [tg.Hierarchy([-1, 0, 0], [0.5, 0.4, 0.6], exclusive=True)],
        "exactly two of four": [tg.ExactlyK(4, 2, density=0.5)],
        "copula": [tg.Copula(density=[0.1, 0.3, 0.5], correlation=correlation)],
        "own kind": [Chain(density=0.6)],
        "range of magnitudes": [tg.Correlated(2, 0.3, magnitude=tg.UniformMagnitude(0.5, 2))],
        "constant magnitude": [tg.Independent(2, 0.3, magnitude=tg.ConstantMagnitude(2))],
        "half-normal magnitude": [tg.Anticorrelated(2, 0.8, magnitude=tg.HalfNormalMagnitude(0.5))],
        "equivariant": [tg.Equivariant(5, 0.3, width=0.8)],
        "equivariant, narrow": [tg.Equivariant(3, 0.5, width=0.2)],
        "several": [
            tg.Correlated(2, 0.3),
            tg.Correlated(2, 0.3),
            tg.Independent(1, 0.2, importance=0.5),
            tg.Anticorrelated(2, 0.4),
        ],
    }


def features() -> list[dict[str, Any]]:
    """Tables and moments of feature sets of every kind."""
    found = []
    for name, sets in kinds().items():
        whole = tg.FeatureDistribution(sets)
        tables = [each.mixture._asdict() if isinstance(each, GatedSet) else None for each in sets]
        found.append(
            {
                "name": name,
                "sets": [page_set(each) for each in sets],
                "tables": tables,
                "importance": whole.importance,
                "active": whole.density,
                "first": whole.first_moment(),
                "second": whole.second_moment(),
            }
        )
    return found


def circle(count: int, degrees: float = 0.0) -> np.ndarray:
    """A regular polygon."""
    angles = 2 * np.pi * np.arange(count) / count + np.deg2rad(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def product(*parts: np.ndarray) -> np.ndarray:
    """Parts in orthogonal subspaces."""
    rows, columns = sum(len(part) for part in parts), sum(part.shape[1] for part in parts)
    found, row, column = np.zeros((rows, columns)), 0, 0
    for part in parts:
        found[row : row + len(part), column : column + part.shape[1]] = part
        row, column = row + len(part), column + part.shape[1]
    return found


def named_matrices() -> dict[str, np.ndarray]:
    """Matrices to be measured and named, by what they are."""
    generator = np.random.default_rng(3)
    shapes = {name: shape.vectors for name, shape in SHAPES.items()}
    shapes |= {f"{count}-gon": circle(count) for count in (9, 12, 19)}
    shapes |= {f"simplex of {count}": simplex(count).vectors for count in (5, 6, 10)}
    shapes |= {f"{count} digons": np.concatenate([np.eye(count), -np.eye(count)]) for count in (2, 4, 5)}
    found = {f"{name}, turned": turned(generator, vectors) for name, vectors in shapes.items()}
    pair, triangle, pentagon, tetrahedron = np.array([[1.0], [-1.0]]), circle(3), circle(5), simplex(4).vectors
    antiprism = stacked(4, 0.5, 0.45)
    found |= {
        "three digons": product(pair, pair, pair)[[0, 2, 4, 1, 3, 5]],
        "digon and triangle": product(pair, 0.8 * triangle),
        "two digons and a triangle": product(pair, triangle, 0.9 * pair),
        "two triangles": turned(generator, product(triangle, triangle)),
        "pentagon and point": product(pentagon, np.ones((1, 1))),
        "tetrahedron and pentagon": turned(generator, product(tetrahedron, pentagon)),
        "three points": np.diag([1.0, 0.9, 0.8]),
        "high antiprism": turned(generator, antiprism),
        "low prism": turned(generator, stacked(3, 0.0, 0.15)),
        "collapsed pair": np.array([[1.0, 0.1], [1.0, -0.1]]),
        "three collapsed pairs": np.repeat(triangle, 2, axis=0) / np.sqrt(2),
        "digon of collapsed triples": np.repeat(pair, 3, axis=0),
        "pentagon with a collapsed pair": np.concatenate([pentagon, pentagon[:1]]),
        "pentagon with a collapsed group": np.concatenate([0.55 * pentagon[[0] * 4], pentagon[1:]]),
        "fan": np.stack([np.cos(np.deg2rad([0, 15, 30])), np.sin(np.deg2rad([0, 15, 30]))], axis=1),
        "bent pentagon": np.concatenate([circle(5)[1:], [[np.cos(np.deg2rad(20)), np.sin(np.deg2rad(20))]]]),
        "bent triangle": np.stack([np.cos(np.deg2rad([0, 105, 240])), np.sin(np.deg2rad([0, 105, 240]))], axis=1),
        "flattened octahedron": turned(generator, np.concatenate([np.eye(3), -np.eye(3)]) + 0.12 * CORNERS),
        "pentagon of unequal norms": pentagon * np.array([1, 0.6, 1, 0.9, 1])[:, None],
        "pentagon, one absent": np.concatenate([pentagon[:3], [[0.01, 0.02]], pentagon[3:]]),
        "digon with a short feature": np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.6], [0.0, 0.45]]),
        "two directions at 80 degrees": np.array([[1.0, 0.0], [0.2, 0.98]]),
        "zeros": np.zeros((4, 3)),
        "one zero row": np.array([[1.0, 0.0], [0.0, 0.0], [-1.0, 0.0]]),
        "tiny": 1e-200 * triangle,
        "large": 1e60 * pentagon,
        "diverged": np.array([[1.0, np.nan], [0.0, 1.0]]),
        "beyond the largest": np.array([[1e71, 0.0], [0.0, 1.0]]),
        "one number": np.array([[2.0]]),
        "more dimensions than features": turned(generator, np.eye(2, 4)),
        "twelve at random": decimals(generator, 12, 3),
        "twenty-two at random": decimals(generator, 22, 3, digits=2),
    }
    bases = (pentagon, antiprism, tetrahedron, circle(6), stacked(3, 0.5, 1 / 3), circle(7), stacked(3, 0.0, 1 / 3))
    for noise in (0.05, 0.1, 0.15):
        for number, base in enumerate(bases):
            found[f"shape {number}, disturbed by {noise}"] = turned(
                generator, base + noise * generator.standard_normal(base.shape)
            )
    return {name: shortened(rows) for name, rows in found.items()}


CORNERS = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0]], dtype=float)


def stacked(base: int, twist: float, square: float) -> np.ndarray:
    """Two parallel polygons, the lower turned by `twist` sides."""
    flat = np.sqrt(1 - square) * np.concatenate([circle(base), circle(base, 360 * twist / base)])
    return np.c_[flat, np.repeat([1.0, -1.0], base) * np.sqrt(square)]


def turned(generator: np.random.Generator, vectors: np.ndarray) -> np.ndarray:
    """The same vectors in another orientation and order."""
    rotation = np.linalg.qr(generator.standard_normal((vectors.shape[1],) * 2))[0]
    return generator.permutation(vectors @ rotation)


def shortened(rows: np.ndarray) -> np.ndarray:
    """Six significant digits of the largest entry."""
    peak = np.abs(rows).max()
    if not 0 < peak < np.inf:
        return rows
    unit = 10.0 ** math.floor(math.log10(peak))
    return np.array([[float(f"{round(each / unit, 6):.7g}e{round(math.log10(unit))}") for each in row] for row in rows])


def matrices() -> list[dict[str, Any]]:
    """Measures and names of matrices."""
    found = []
    for name, weights in named_matrices().items():
        strict, deformed = tg.name_polytope(weights), tg.name_polytope(weights, deformed=True)
        found.append(
            {
                "what": name,
                "weights": weights,
                "gram": tg.gram(weights) if weights.size <= 12 else None,
                "dimensionality": tg.dimensionality(weights),
                "represented": tg.represented(weights),
                "represented_at_full_strength": tg.represented(weights, scale=1.0),
                "factors": tg.tegum_factors(weights),
                "pose": tg.canonical_pose(weights),
                "name": strict.name,
                "product": strict.product,
                "names_of_factors": [described(factor) for factor in strict.factors],
                "deformed": deformed.name,
                "deformed_factors": [described(factor) for factor in deformed.factors],
                "within_0.3": tg.name_polytope(weights, tolerance=0.3).name,
            }
        )
    return found


def described(factor: Factor) -> dict[str, Any]:
    """A factor as JSON."""
    ideal = None if factor.ideal is None else [factor.ideal.numerator, factor.ideal.denominator]
    return {
        "name": factor.name,
        "features": factor.features,
        "dimension": factor.dimension,
        "dimensionality": factor.dimensionality,
        "ideal": ideal,
        "deformation": factor.deformation,
    }


def trajectories() -> list[dict[str, Any]]:
    """Trajectories in one pose; one of them diverges."""
    generator = np.random.default_rng(5)
    found = []
    for n, m, diverged in ((5, 2, False), (6, 3, False), (4, 2, True)):
        steps = np.round(np.cumsum(generator.standard_normal((6, n, m)), axis=0), 3)
        if diverged:
            steps[4:, 1] = np.nan
        found.append({"steps": steps, "aligned": align_steps(steps)})
    return found


def poses() -> list[dict[str, Any]]:
    """Matrices in the pose closest to a reference."""
    generator = np.random.default_rng(4)
    found = []
    for n, m in ((3, 1), (5, 2), (6, 3), (12, 5), (4, 4)):
        weights, reference = decimals(generator, n, m), decimals(generator, n, m)
        found.append({"weights": weights, "reference": reference, "pose": tg.canonical_pose(weights, reference)})
    return found


SPECS: tuple[dict[str, Any], ...] = (
    {"features": [{"kind": "independent", "count": 5, "density": 0.1}], "hidden": 2},
    {
        "features": [{"kind": "correlated", "size": 2, "density": 0.05, "copies": 3}],
        "hidden": 3,
        "activation": "linear",
        "initial_scale": 0.05,
        "training": {"steps": 500, "optimiser": "sgd", "momentum": 0.9, "rate": 0.1, "batch": 64},
        "snapshots": 7,
        "seeds": 8,
        "base_seed": 12,
    },
    {
        "features": [
            {"kind": "anticorrelated", "size": 3, "density": [0.1, 0.2, 0.3], "importance": [1, 0.5, 0]},
            {"kind": "partially-correlated", "size": 2, "density": 0.2, "strength": 0.5},
            {"kind": "equivariant", "size": 4, "density": 0.1, "width": 0.5},
            {"kind": "independent", "count": 1, "density": 1, "magnitude": {"kind": "constant", "value": 2}},
            {"kind": "independent", "count": 1, "density": 1, "magnitude": {"high": 3}},
            {"kind": "independent", "count": 1, "density": 1, "magnitude": {"kind": "uniform", "high": 1}},
        ],
        "hidden": 2,
        "training": {
            "kind": "sampled",
            "steps": 100,
            "schedule": "cosine",
            "warmup": 10,
            "betas": [0.8, 0.9],
            "eps": 1e-6,
            "weight_decay": 0,
            "evaluation": 1000,
        },
        "snapshots": [50, 3, 3],
    },
    {
        "features": [{"kind": "independent", "count": 2, "density": 0.1}],
        "hidden": 1,
        "start": {"weights": [[1], [-1]]},
        "training": {"steps": 0},
        "snapshots": {"spacing": "logarithmic"},
    },
    {
        "features": [{"kind": "independent", "count": 2, "density": 0.1}],
        "hidden": 1,
        "seeds": 2,
        "start": {"weights": [[[1], [-1]], [[0.5], [0.25]]], "bias": [0.1, 0.2]},
        "snapshots": {"count": 5, "spacing": "logarithmic"},
    },
)
"""Specs in the form of JSON, with keys left out."""

SNAPSHOTS: tuple[tuple[Any, int], ...] = (
    *(({"count": count}, last) for count in (1, 3, 4, 100) for last in (0, 1, 2, 5, 10, 997)),
    *(({"spacing": "logarithmic", "count": count}, last) for count in (1, 2, 3, 40) for last in (0, 1, 2, 100, 10_000)),
    ([5, 2, 9], 12),
    ([], 3),
)
"""Descriptions of snapshots, and the last step of a run."""

REFUSED: tuple[dict[str, Any], ...] = (
    {"hidden": 0},
    {"hidden": 2.5},
    {"seeds": 0},
    {"base_seed": -1},
    {"activation": "tanh"},
    {"initial_scale": 0},
    {"initial_scale": 0.1, "start": {"weights": [[1], [1], [1]]}, "hidden": 1},
    {"start": {"weights": [[1], [1]]}, "hidden": 1},
    {"start": {"weights": [[1], [1], [1]], "bias": [1]}, "hidden": 1},
    {"features": []},
    {"features": [{"kind": "independent", "count": 3, "density": 1.7}]},
    {"features": [{"kind": "independent", "count": 3, "density": 0}]},
    {"features": [{"kind": "independent", "count": 3, "density": [0.1, 0.2]}]},
    {"features": [{"kind": "independent", "count": 0, "density": 0.1}]},
    {"features": [{"kind": "independent", "count": 3, "density": 0.1, "importance": -1}]},
    {"features": [{"kind": "independent", "count": 3, "density": 0.1, "copies": 0}]},
    {"features": [{"kind": "partially-correlated", "size": 2, "density": 0.1, "strength": 1.1}]},
    {"features": [{"kind": "equivariant", "size": 3, "density": 0.1, "width": 0}]},
    {"features": [{"kind": "equivariant", "size": 3, "density": [0.1, 0.1, 0.1], "width": 1}]},
    {"features": [{"kind": "independent", "count": 1, "density": 1, "magnitude": {"low": 2, "high": 1}}]},
    {"features": [{"kind": "independant", "count": 3, "density": 0.1}]},
    {"training": {"steps": -1}},
    {"training": {"rate": 0}},
    {"training": {"optimiser": "adam"}},
    {"training": {"optimiser": "sgd", "betas": [0.5, 0.5]}},
    {"training": {"momentum": 0.5}},
    {"training": {"betas": [0.9, 1]}},
    {"training": {"steps": 10, "warmup": 11}},
    {"training": {"weight_decay": -1}},
    {"training": {"batch": 0}},
    {"snapshots": 0},
    {"snapshots": [20_000]},
    {"snapshots": {"count": 3, "steps": [1]}},
    {"snapshots": [-1]},
    {"snapshots": {"spacing": "cubic"}},
)
"""Changes that make a Spec wrong."""


def specs() -> dict[str, Any]:
    """Specs as tegum reads them and writes them again, recorded steps, and which keys it refuses."""
    valid = {"features": [{"kind": "independent", "count": 3, "density": 0.1}], "hidden": 2}
    refused = []
    for change in REFUSED:
        try:
            tg.Spec.from_json(valid | change)
        except ValueError as error:
            key = str(error).removeprefix("Spec(").split("=")[0].split(")")[0]
            refused.append({"spec": valid | change, "key": key})
        else:
            raise AssertionError(f"tegum accepts {change}")
    return {
        "read": [{"given": each, "json": tg.Spec.from_json(each).to_json()} for each in SPECS],
        "snapshots": [
            {"snapshots": each, "last": last, "steps": tg.Snapshots.of(each).at(last)} for each, last in SNAPSHOTS
        ],
        "refused": refused,
    }


def written(**changes: Any) -> dict[str, Any]:
    """A Spec in full as the page has it, and what tegum writes for the page: its address, or why there is none."""
    fields = {"features": [tg.Independent(count=3, density=0.1)], "hidden": 2} | changes
    spec = tg.Spec(**fields)
    whole = {"spec": spec.to_json() | {"features": [page_set(each) for each in spec.features.sets]}}
    try:
        return whole | {"address": page_address(spec)}
    except ValueError as error:
        return whole | {"refused": str(error)}


def addresses() -> list[dict[str, Any]]:
    """Specs at the limits of the page, and beyond them."""
    found = [written(**dict(tg.Spec.from_json(each))) for each in SPECS]
    # An address is text, in which numbers cannot be compared to a tolerance: a copula's table has digits of SciPy's.
    found += [written(features=sets) for sets in kinds().values() if not any(each.kind == "copula" for each in sets)]
    for key, most in rules()["most"].items():
        name, _, inner = key.partition(".")
        found += [written(**{name: {inner: value} if inner else value}) for value in (most, most + 1)]
    for count in (rules()["features"], rules()["features"] + 1):
        found.append(written(features=[tg.Independent(count, 0.1)]))
    most = rules()["samples"] // 200
    for key in ("batch", "evaluation"):
        found += [written(features=[tg.Independent(200, 0.1)], training={key: most + more}) for more in (0, 1)]
    found += [written(training=training) for training in (tg.Exact(), tg.Flow())]
    return found


FILES = {
    "gradients": gradients,
    "optimisers": optimisers,
    "schedules": schedules,
    "features": features,
    "matrices": matrices,
    "poses": poses,
    "trajectories": trajectories,
    "specs": specs,
    "addresses": addresses,
}
"""What makes each file."""


def jsonable(value: Any) -> Any:
    """Arrays as lists, and numbers that JSON does not have as null."""
    if isinstance(value, dict):
        return {key: jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return (
            [jsonable(item) for item in value] if np.ndim(value) or not isinstance(value, np.ndarray) else value.item()
        )
    if isinstance(value, np.generic):
        return jsonable(value.item())
    if isinstance(value, float):
        return (value if value != int(value) or abs(value) > 1e15 else int(value)) if math.isfinite(value) else None
    return value


def entries(name: str) -> list[Any]:
    """What a file holds, entry by entry."""
    made = jsonable(FILES[name]())
    return made if isinstance(made, list) else [{key: item} for key, item in made.items()]


def main() -> None:
    """Write all files."""
    for name in FILES:
        lines = ",\n".join(json.dumps(entry, separators=(",", ":"), ensure_ascii=False) for entry in entries(name))
        (FOLDER / f"{name}.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
