"""Directions are matched as by trying every assignment, and chance is what its formula says."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import tegum as tg

RANDOM = np.random.default_rng(0)


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("count", [3, 5, 7])
def test_the_match_is_the_best_of_all(count):
    found, truth = RANDOM.normal(size=(count, 4)), RANDOM.normal(size=(5, 4))
    cosines = unit(truth) @ unit(found).T
    match = tg.match_directions(found, truth)
    few = min(count, 5)
    best = max(
        sum(cosines[pair] for pair in zip(features, rows, strict=True))
        for features in itertools.combinations(range(5), few)
        for rows in itertools.permutations(range(count), few)
    )
    assert_allclose(5 * match.matched_cosine, best, rtol=1e-12)
    partners = match.match.values
    assert (partners >= 0).sum() == len(set(partners[partners >= 0])) == few
    assert_allclose(match.cosine, np.where(partners >= 0, cosines[range(5), partners], 0), rtol=1e-12)
    assert_allclose(match.nearest_cosine, cosines.max(1), rtol=1e-12)


def test_lengths_and_the_order_do_not_matter_but_signs_do():
    truth = RANDOM.normal(size=(6, 3))
    order = RANDOM.permutation(6)
    match = tg.match_directions((truth * [[0.01], [1], [5], [7], [100], [2]])[order], truth)
    assert_allclose(match.cosine, 1, rtol=1e-12)
    assert_array_equal(order[match.match], range(6))
    assert float(tg.match_directions([[-1.0]], [[2.0]]).matched_cosine) == -1
    # An antipodal pair is two features, both of which must be found.
    digon = np.array([[1.0, 0.0], [-1.0, 0.0]])
    assert tg.match_directions(digon[::-1], digon).match.values.tolist() == [1, 0]


def test_rows_of_zeros_have_no_partner():
    match = tg.match_directions([[0.0, 0.0], [1.0, 0.0]], [[0.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
    assert match.match.values.tolist() == [-1, 1, -1]
    assert match.cosine.values.tolist() == [0, 1, 0]
    assert match.nearest_cosine.values.tolist() == [0, 1, 0]
    assert float(match.matched_cosine) == pytest.approx(1 / 3)


def test_what_chance_gives():
    # One direction and one that is random: the cosine has mean 0 and variance 1/m.
    match = tg.match_directions(np.eye(5)[:1], np.eye(5)[:1], draws=4000)
    assert abs(float(match.matched_cosine_null)) < 4 * np.sqrt(1 / 5 / 4000)
    assert float(match.matched_cosine_null_std) == pytest.approx(np.sqrt(1 / 5), rel=0.05)
    # Of two random directions in the plane the nearer one: its angle is the smaller of two that are uniform on [0, π],
    # with the mean cosine ∫ cos θ · 2 (1 − θ/π)/π dθ = 4/π².
    match = tg.match_directions(np.eye(2), np.eye(2)[:1], draws=4000)
    assert float(match.matched_cosine_null) == pytest.approx(4 / np.pi**2, abs=4 * 0.6 / np.sqrt(4000))
    again = tg.match_directions(np.eye(2), np.eye(2)[:1], draws=4000)
    assert float(again.matched_cosine_null) == float(match.matched_cosine_null)
    assert float(tg.match_directions(np.eye(2), np.eye(2)[:1], key=1).matched_cosine_null) != float(
        tg.match_directions(np.eye(2), np.eye(2)[:1]).matched_cosine_null
    )


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: tg.match_directions(np.eye(3), np.eye(2)), "(found of shape (3, 3)): found must have 2 columns"),
        (lambda: tg.match_directions(np.ones(3), np.eye(2)), "(found of shape (3,)): found must be a dense matrix"),
        (
            lambda: tg.match_directions(np.eye(2), np.zeros((2, 2))),
            "truth must be finite, and have a row that is not 0",
        ),
        (lambda: tg.match_directions(np.eye(2) * np.nan, np.eye(2)), "found must be finite, and have a row"),
        (lambda: tg.match_directions(np.eye(2), np.eye(2), draws=0), "draws must be an int of at least 1"),
    ],
)
def test_what_is_wrong_is_refused_in_a_sentence(call, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        call()
