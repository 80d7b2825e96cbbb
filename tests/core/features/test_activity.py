"""Kinds of set that draw activity themselves: what they have in common, and `ExactlyK`."""

from __future__ import annotations

import json
import pickle
from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from reference import activity_patterns as reference

import tegum as tg
from tegum.core.features.activity import MOST_COMPONENTS, MOST_ENTRIES

property_test = settings(max_examples=60, deadline=None, database=None, derandomize=True)

LARGE: dict[str, tg.FeatureSet] = {
    "exactly-k": tg.ExactlyK(40, 20, 0.3),
    "hierarchy": tg.Hierarchy(np.append(np.full(20, -1), np.arange(20)), 0.4),
    "copula": tg.Copula(0.2, factors=np.eye(3).repeat(2, axis=0) / 2),
}
"""One of each kind that has no table."""

SMALL: dict[str, tg.FeatureSet] = {
    "exactly-k": tg.ExactlyK(5, 2, 0.7, [1, 2, 3, 4, 5]),
    "hierarchy": tg.Hierarchy([-1, 0, 0, 1], [0.5, 0.4, 0.6, 0.3], exclusive=[True, False, False, False]),
    "copula": tg.Copula([0.1, 0.4, 0.3], [[1, 0.5, 0.2], [0.5, 1, -0.1], [0.2, -0.1, 1]], 2.0),
}
"""One of each kind that has a table."""

each_kind = pytest.mark.parametrize("kind", LARGE)


# Exactly k


@pytest.mark.parametrize(("size", "k", "density"), [(5, 2, 0.7), (4, 4, 0.3), (6, 1, 1.0), (1, 1, 0.2), (7, 5, 1.0)])
def test_exactly_k_has_its_patterns(size: int, k: int, density: float):
    given = tg.ExactlyK(size, k, density)
    expected = reference.exactly(size, k, density)
    assert_allclose(reference.of_table(given.table()), expected, rtol=1e-14)
    together = reference.moments(expected)
    assert_allclose(given.active(), np.diag(together), rtol=1e-14)
    second = np.where(np.eye(size, dtype=bool), together / 3, together / 4)
    assert_allclose(given.second_moment(), second, rtol=1e-14)
    assert given.components == len(given.table().weights)
    x = tg.FeatureDistribution([given]).sample(3, 20_000)
    assert set((x > 0).sum(1)) == ({k} if density == 1 else {0, k})
    possible = expected > 0
    counts = reference.of_samples(x)
    assert counts[~possible].sum() == 0
    assert scipy.stats.chisquare(counts[possible], 20_000 * expected[possible]).pvalue > 1e-4


@property_test
@given(size=st.integers(1, 8), density=st.floats(1e-6, 1))
def test_exactly_one_is_anticorrelated(size: int, density: float):
    one, other = tg.ExactlyK(size, 1, density), tg.Anticorrelated(size, density)
    assert_allclose(one.second_moment(), other.second_moment(), rtol=1e-12)
    s = np.linspace(-3, 4, size)
    assert_allclose(one.characteristic(s), other.characteristic(s), rtol=1e-12)


@property_test
@given(size=st.integers(1, 8), density=st.floats(1e-6, 1))
def test_exactly_all_is_correlated(size: int, density: float):
    one, other = tg.ExactlyK(size, size, density), tg.Correlated(size, density)
    assert_allclose(one.second_moment(), other.second_moment(), rtol=1e-12)


def test_exactly_k_of_very_many_has_moments_and_no_table():
    many = tg.ExactlyK(3000, 1500)
    assert not many.gated
    assert_allclose(many.active()[0], 0.5)
    assert_allclose(4 * many.second_moment()[0, 1], 0.5 * 1499 / 2999, rtol=1e-13)
    assert not tg.ExactlyK(10**15, 10**14).gated
    assert tg.ExactlyK(90, 2).gated  # 4,005 choices
    assert tg.ExactlyK(90, 88).gated
    assert not tg.ExactlyK(92, 2).gated


# What all of them have in common


@each_kind
def test_samples_have_exactly_the_moments(kind: str):
    for each in (LARGE[kind], SMALL[kind]):
        x = tg.FeatureDistribution([each]).sample(11, 50_000)
        upper = np.triu_indices(min(each.features, 7))
        assert_z(x, each.first_moment(), np.diag(each.second_moment()))
        products = x[:, upper[0]] * x[:, upper[1]]
        assert_z(products, each.second_moment()[upper], products.var(0) + each.second_moment()[upper] ** 2)
        assert_z((x > 0).astype(float), each.active(), each.active())
        for value in x.T[:4]:
            assert scipy.stats.kstest(value[value > 0], "uniform").pvalue > 1e-5


@each_kind
@pytest.mark.parametrize(
    ("law", "mean", "square"),
    [
        (tg.ConstantMagnitude(2), 2, 4),
        (tg.UniformMagnitude(1, 3), 2, 13 / 3),
        (tg.HalfNormalMagnitude(1), np.sqrt(2 / np.pi), 1),
    ],
    ids=["constant", "uniform", "half-normal"],
)
def test_magnitudes_of_other_laws(kind: str, law: tg.Magnitude, mean: float, square: float):
    for each in (LARGE[kind], SMALL[kind]):
        assert isinstance(each, tg.GatedSet)
        given = each.replace(magnitude=law)
        assert given.gated == each.gated
        assert tg.FeatureDistribution(tg.FeatureDistribution([given]).to_json()).sets[0] == given
        both = 4 * each.second_moment()
        np.fill_diagonal(both, 0)
        expected = mean**2 * both + np.diag(square * each.active())
        assert_allclose(given.second_moment(), expected, rtol=1e-12)
        x = tg.FeatureDistribution([given]).sample(5, 30_000)
        assert_array_equal(x > 0, tg.FeatureDistribution([each]).sample(5, 30_000) > 0)
        active = x[x > 0]
        deviation = np.sqrt(max(square - mean**2, 1e-12) / len(active))
        assert abs(active.mean() - mean) < 4.5 * deviation + 1e-6


def assert_z(drawn: np.ndarray, mean: np.ndarray, square: np.ndarray) -> None:
    variance = square - mean**2
    z = (drawn.mean(0) - mean) / np.sqrt(np.maximum(variance, 1e-12) / len(drawn))
    assert np.abs(z).max() < scipy.stats.norm.isf(1e-5 / z.size)


@each_kind
def test_without_a_table_what_is_exact_is_refused_in_one_sentence(kind: str):
    large, features = LARGE[kind], tg.FeatureDistribution([LARGE[kind], tg.Independent(1, 0.1)])
    assert not large.gated
    assert not features.gated
    assert large.transform() is None
    weights, bias = np.zeros((features.n, 2)), np.zeros(features.n)
    spec = tg.Spec(features=features, hidden=2, training=tg.Exact())
    name = type(large).__name__
    for call in (
        lambda: list(features.tables()),
        lambda: large.table(),
        lambda: large.characteristic(np.zeros(large.features)),
        lambda: tg.population_loss(weights, bias, features),
        lambda: tg.population_gradient(weights, bias, features),
        lambda: tg.critical_point(weights, bias, features),
        lambda: tg.train(spec),
        lambda: tg.train(spec.replace(training=tg.Flow())),
        lambda: tg.train(spec.replace(training=tg.Sampled()), engine="kernel"),
        lambda: tg.local_pca(weights, features, 0),
        lambda: tg.readout_error(weights, features),
    ):
        with pytest.raises(ValueError, match=rf"{name}\(.*") as caught:
            call()
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 400


@each_kind
def test_the_linear_model_needs_moments_only(kind: str):
    features = tg.FeatureDistribution([LARGE[kind]])
    W = np.random.default_rng(0).normal(size=(features.n, 2)) / 3
    x = features.sample(5, 50_000)
    losses = np.square(x - x @ W @ W.T).sum(1)
    exact = tg.population_loss(W, np.zeros(features.n), features, activation="linear")
    assert abs(losses.mean() - exact) < 4.5 * losses.std() / np.sqrt(len(x))


@each_kind
def test_descriptions_are_values(kind: str):
    for each in (SMALL[kind], LARGE[kind]):
        each.second_moment()
        _ = each.gated
        features = tg.FeatureDistribution([each] * 2)
        again = tg.FeatureDistribution(json.loads(json.dumps(features.to_json())))
        assert again == features
        assert hash(again) == hash(features)
        assert again.sets[0].kind == kind
        assert pickle.loads(pickle.dumps(features)) == features
        assert each.replace(importance=0.9) != each
        assert_array_equal(again.sample(1, 5), features.sample(1, 5))
    assert eval(repr(SMALL[kind]), vars(tg) | {name: getattr(tg, name) for name in tg.__all__}) == SMALL[kind]


@each_kind
def test_the_sizes_of_tables_are_known(kind: str):
    small, large = SMALL[kind], LARGE[kind]
    assert isinstance(small, tg.GatedSet)
    weights, gates = small.table()
    assert small.table_size == gates.size
    assert_allclose(weights.sum(), 1, rtol=1e-14)
    assert large.table_size <= 10 * large.features


def test_a_table_has_a_most_of_components_and_of_gates():
    assert tg.ExactlyK(1024, 1024, 0.5).gated
    assert tg.ExactlyK(64, 2).table_size <= MOST_ENTRIES
    assert not tg.ExactlyK(1025, 1).gated  # as many gates as components squared
    assert MOST_COMPONENTS == 4096  # as docstrings say


def test_long_values_are_short_in_a_repr():
    factors = np.full((4000, 25), 0.1)
    large = tg.Copula(np.linspace(0.01, 0.1, 4000), factors=factors)
    assert repr(large) == "Copula(density=<4000 numbers>, factors=<4000 × 25 numbers>)"
    tree = tg.Hierarchy([-1] * 30, 0.1)
    assert repr(tree) == "Hierarchy(parents=<30 numbers>, density=0.1)"
    features = tg.FeatureDistribution([tree, tree, large])
    assert len(repr(features)) < 200
    assert len(features._repr_html_()) < 3000


REFUSED: list[tuple[Any, str]] = [
    (lambda: tg.ExactlyK(4, 5), "ExactlyK(k=5): k must be at most 4, the size of the set"),
    (lambda: tg.ExactlyK(4, 0), "ExactlyK(k=0): k must be an int of at least 1"),
    (lambda: tg.ExactlyK(4, 2.0), "ExactlyK(k=2.0): k must be an int of at least 1"),
    (lambda: tg.ExactlyK(4, 2, 0.0), "ExactlyK(density=0.0): density must lie in (0, 1]"),
    (
        lambda: tg.ExactlyK(2, 1, [0.5, 0.5]),
        "ExactlyK(density=[0.5, 0.5]): density must be one number: the features of the set have one gate",
    ),
]


@pytest.mark.parametrize(("call", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_bad_values_are_refused_in_one_sentence(call: Any, message: str):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (compared in full below)
        call()
    assert str(caught.value) == message
