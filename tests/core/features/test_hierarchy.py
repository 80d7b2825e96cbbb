"""Hierarchies: patterns, moments and tables against the definition, feature by feature."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from reference import activity_patterns as reference

import tegum as tg

property_test = settings(max_examples=60, deadline=None, database=None, derandomize=True)


@st.composite
def described(draw: st.DrawFn) -> dict[str, Any]:
    size = draw(st.integers(1, 6))
    order = draw(st.permutations(range(size)))
    parents = [-1] * size
    for place in range(1, size):
        above = draw(st.integers(-1, place - 1))
        parents[order[place]] = -1 if above < 0 else order[above]
    excludes = draw(st.lists(st.booleans(), min_size=size, max_size=size))
    density = draw(st.lists(st.floats(0.01, 1), min_size=size, max_size=size))
    for parent in range(size):
        children = [child for child in range(size) if parents[child] == parent]
        if excludes[parent] and len(children) > 1 and (total := sum(density[child] for child in children)) > 1:
            for child in children:
                density[child] /= total * draw(st.sampled_from([1.0, 1.3]))
    return {"parents": parents, "density": density, "exclusive": excludes}


@property_test
@given(described())
def test_patterns_moments_and_table_are_those_of_the_definition(values: dict[str, Any]):
    tree = tg.Hierarchy(**values)
    expected = reference.hierarchy(values["parents"], values["density"], values["exclusive"])
    together = reference.moments(expected)
    assert_allclose(expected.sum(), 1, rtol=1e-12)
    assert_allclose(tree.active(), np.diag(together), rtol=1e-12)
    one = np.eye(tree.features, dtype=bool)
    assert_allclose(tree.second_moment(), np.where(one, together / 3, together / 4), rtol=1e-11, atol=1e-12)
    table = tree.table()
    assert_allclose(reference.of_table(table), expected, atol=1e-12)
    assert len(table.weights) == tree.components
    assert_allclose(table.weights.sum(), 1, rtol=1e-14)


def test_every_forest_of_four_is_drawn_as_defined():
    # One of each shape, and with every relabelling: 125 forests.
    pvalues = []
    for number, parents in enumerate(reference.forests(4)):
        density, excludes = [0.45, 0.3, 0.25, 0.2], [number % 2 == 0] * 4
        tree = tg.Hierarchy(parents, density, exclusive=excludes[0])
        counts = reference.of_samples(tg.FeatureDistribution([tree]).sample([3, number], 4000))
        expected = reference.hierarchy(parents, density, excludes)
        assert counts[expected < 1e-14].sum() == 0
        often = expected > 1e-3  # a chi-squared needs some of each
        scale = counts[often].sum() / expected[often].sum()
        pvalues.append(scipy.stats.chisquare(counts[often], expected[often] * scale).pvalue)
    assert len(pvalues) == 125
    assert scipy.stats.kstest(pvalues, "uniform").pvalue > 1e-4


@property_test
@given(st.lists(st.floats(1e-6, 1), min_size=1, max_size=8))
def test_without_parents_it_is_independent(density: list[float]):
    tree, apart = tg.Hierarchy([-1] * len(density), density), tg.Independent(len(density), density)
    assert_allclose(tree.second_moment(), apart.second_moment(), rtol=1e-14)
    for one, other in zip(tree.table(), apart.table(), strict=True):
        assert_array_equal(one, other)


@property_test
@given(described(), st.randoms(use_true_random=False))
def test_renumbered_features_have_renumbered_moments(values: dict[str, Any], random: Any):
    size = len(values["parents"])
    order = list(range(size))
    random.shuffle(order)
    place = np.argsort(order)  # feature i becomes number place[i]
    parents = [-1 if (above := values["parents"][i]) < 0 else int(place[above]) for i in order]
    moved = tg.Hierarchy(
        parents, [values["density"][i] for i in order], exclusive=[values["exclusive"][i] for i in order]
    )
    expected = tg.Hierarchy(**values).second_moment()[np.ix_(order, order)]
    assert_allclose(moved.second_moment(), expected, rtol=1e-12, atol=1e-15)


def test_a_chain_and_a_deep_one():
    chain = tg.Hierarchy([-1, 0, 1, 2], 0.5)
    assert_allclose(chain.active(), [0.5, 0.25, 0.125, 0.0625])
    assert_allclose(4 * np.triu(chain.second_moment(), 1)[0], [0, 0.25, 0.125, 0.0625])  # the deeper one decides
    deep = tg.Hierarchy(np.arange(-1, 1999), 0.999)
    assert_allclose(deep.active()[-1], 0.999**2000, rtol=1e-11)
    x = tg.FeatureDistribution([deep]).sample(0, 200) > 0
    assert (x[:, 1:] <= x[:, :-1]).all()


def test_children_that_exclude_one_another_and_their_children():
    # As SAELens's mutually exclusive children: at most one branch of a parent is active.
    tree = tg.Hierarchy([-1, 0, 0, 1, 1, 2], [0.8, 0.5, 0.5, 0.7, 0.6, 0.9], exclusive=[True] + [False] * 5)
    x = tg.FeatureDistribution([tree]).sample(2, 20_000) > 0
    assert not (x[:, [1, 3, 4]].any(1) & x[:, [2, 5]].any(1)).any()
    assert_array_equal(x[:, 0], x[:, 1] | x[:, 2])  # as their densities sum to 1
    assert (x[:, 3] & x[:, 4]).any()


def test_trees_of_their_own_have_a_table_where_their_forest_has_none():
    tree = [-1, 0, 0, 1, 1]
    forest = tg.Hierarchy([i if i < 0 else i + 5 * copy for copy in range(12) for i in tree], 0.3)
    assert not forest.gated
    apart = tg.FeatureDistribution([tg.Hierarchy(tree, 0.3)] * 12)
    assert apart.gated
    assert_allclose(tg.FeatureDistribution([forest]).second_moment(), apart.second_moment(), rtol=1e-13)


REFUSED: list[tuple[Any, str]] = [
    (
        lambda: tg.Hierarchy([1, 0], 0.5),
        "Hierarchy(parents=(1, 0)): parents must lead to a feature without a parent, and those of 0 do not",
    ),
    (
        lambda: tg.Hierarchy([-1, 2, 3, 1], 0.5),
        "Hierarchy(parents=(-1, 2, 3, 1)): parents must lead to a feature without a parent, and those of 1 do not",
    ),
    (
        lambda: tg.Hierarchy([-1, 1], 0.5),
        "Hierarchy(parents=(-1, 1)): parents must lead to a feature without a parent, and those of 1 do not",
    ),
    (
        lambda: tg.Hierarchy([-1, 2], 0.5),
        "Hierarchy(parents=[-1, 2]): parents must lie between -1 and 1, the last feature, and 2 does not",
    ),
    (
        lambda: tg.Hierarchy([-1, 0.0], 0.5),
        "Hierarchy(parents=[-1, 0.0]): parents must be a list of ints, one for each feature: the number of its "
        "parent, or -1",
    ),
    (
        lambda: tg.Hierarchy([], 0.5),
        "Hierarchy(parents=[]): parents must be a list of ints, one for each feature: the number of its parent, or -1",
    ),
    (
        lambda: tg.Hierarchy([-1, 0, 0], [0.5, 0.6, 0.5], exclusive=True),
        "Hierarchy(density=(0.5, 0.6, 0.5)): density must sum to at most 1 over children that exclude one another; "
        "those of 0 sum to 1.1",
    ),
    (
        lambda: tg.Hierarchy([-1, 0, 1], [0.5, 1e-200, 1e-200]),
        "Hierarchy(density=(0.5, 1e-200, 1e-200)): density must give each feature a probability of at least 1e-300, "
        "and that of 2 is 0",
    ),
    (
        lambda: tg.Hierarchy([-1, 0], 0.5, exclusive=1),
        "Hierarchy(exclusive=1): exclusive must be True or False, or a list of one for each feature of the set",
    ),
    (
        lambda: tg.Hierarchy([-1, 0], 0.5, exclusive=[True]),
        "Hierarchy(exclusive=(True,)): exclusive must be True or False, or 2 of them, one for each feature of the set",
    ),
    (
        lambda: tg.Hierarchy([-1, 0], [0.5, 0.1, 0.2]),
        "Hierarchy(density=(0.5, 0.1, 0.2)): density must be one number or 2, one for each feature of the set",
    ),
]


@pytest.mark.parametrize(("call", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_bad_values_are_refused_in_one_sentence(call: Any, message: str):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (compared in full below)
        call()
    assert str(caught.value) == message
