"""Samples are what the definitions of their sets say of the same uniforms, bit by bit, however they are computed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy.special import erfinv, ndtr, ndtri

import tegum as tg
from tegum.core.features.gaussian import below_probability

RANDOM = np.random.default_rng(0)


def uniforms(seed: int = 1) -> Any:
    """Fresh uniforms of a given shape, the same for the same seed."""
    return np.random.Generator(np.random.Philox(seed)).random


def magnitudes(law: tg.Magnitude, u: np.ndarray) -> np.ndarray:
    match law:
        case tg.UniformMagnitude(low=low, high=high):
            return u if (low, high) == (0, 1) else u * (high - low) + low
        case tg.ConstantMagnitude(value=value):
            return np.full_like(u, value)
        case tg.HalfNormalMagnitude(scale=scale):
            return erfinv(u) * (scale * np.sqrt(2))
    raise AssertionError


LAWS = [tg.UniformMagnitude(), tg.UniformMagnitude(1, 3), tg.ConstantMagnitude(2), tg.HalfNormalMagnitude(0.5)]


@pytest.mark.parametrize("law", LAWS, ids=repr)
@pytest.mark.parametrize(
    "given",
    [
        tg.Independent(5, [0.01, 0.2, 0.5, 0.9, 1.0]),
        tg.Correlated(2, 0.1),
        tg.Correlated(12, np.linspace(0.05, 0.9, 12)),  # of more components than are compared with one by one
        tg.Anticorrelated(3, [0.3, 0.6, 1.0]),
        tg.PartiallyCorrelated(3, 0.2, 0.4),
    ],
    ids=repr,
)
def test_gates_and_magnitudes_of_a_table(given: tg.GatedSet, law: tg.Magnitude):
    given, batch = given.replace(magnitude=law), 500
    (weights, gates), draw = given.mixture, uniforms()
    u = draw((batch, given.features))
    q = gates[[0] * batch]
    if len(weights) > 1:
        v = draw((batch, 1))
        q = gates[[int(sum(each >= np.cumsum(weights)[:-1])) for each in v]]
    active = u < q
    expected = np.where(active, magnitudes(law, np.divide(u, q, out=np.zeros_like(u), where=active)), 0.0)
    assert_array_equal(given.draw(uniforms(), batch), expected)


@pytest.mark.parametrize(("size", "k", "density"), [(4, 2, 1.0), (9, 1, 0.3), (6, 6, 0.5), (40, 7, 0.9)])
def test_exactly_k_by_one_sample_after_another(size: int, k: int, density: float):
    draw, batch = uniforms(), 300
    u, gate = draw((batch, size)), draw((batch, 1))
    expected = draw((batch, size))
    for row, opened, numbers in zip(expected, gate[:, 0] < density, u, strict=True):
        wanted = k
        for i in range(size):
            active = numbers[i] * (size - i) < wanted
            wanted -= active
            row[i] *= active and opened
    assert_array_equal(tg.ExactlyK(size, k, density).draw(uniforms(), batch), expected)


def correlation(size: int) -> np.ndarray:
    return np.corrcoef(RANDOM.normal(size=(size, 2 * size)))


@pytest.mark.parametrize("law", LAWS[::3], ids=repr)
@pytest.mark.parametrize(
    "matrix",
    [
        {"correlation": correlation(2)},
        {"correlation": [[1, -1], [-1, 1]]},
        {"correlation": correlation(7)},
        {"factors": RANDOM.normal(size=(20, 3)) / 3},
        {"factors": RANDOM.normal(size=(30, 1)) / 5},
    ],
    ids=lambda given: f"{next(iter(given))}-{np.shape(next(iter(given.values())))}",
)
def test_a_copula_by_its_normal_variables(matrix: dict[str, Any], law: tg.Magnitude):
    size = len(next(iter(matrix.values())))
    density = np.append(RANDOM.uniform(0.001, 0.9, size - 1), 1.0)
    given, batch, draw = tg.Copula(density, **matrix, magnitude=law), 400, uniforms()
    thresholds, factors, spread = given._variables
    u = draw((batch, size))
    y = ndtri(np.maximum(draw((batch, factors.shape[1])), 2.0**-33))
    active = u < ndtr((thresholds - y @ factors.T) / spread)
    expected = np.where(active, magnitudes(law, draw((batch, size))), 0.0)
    assert_array_equal(given.draw(uniforms(), batch), expected)


def test_below_a_probability_to_the_last_bit():
    cells = np.arange(-16 * 9, 16 * 9 + 1) / 16
    x = np.concatenate([cells, np.nextafter(cells, 9), np.nextafter(cells, -9), RANDOM.normal(size=500) * 4])
    x = np.concatenate([x, [-np.inf, -1e300, -40, -9.01, 9.01, 1e300, np.inf]])
    p = ndtr(x)
    below_one = np.nextafter(1.0, 0.0)
    for u in (p, np.nextafter(p, 0), np.nextafter(p, 1), RANDOM.random(p.shape), np.zeros_like(p)):
        given = np.minimum(u, below_one)
        assert_array_equal(below_probability(given, x), given < p)
