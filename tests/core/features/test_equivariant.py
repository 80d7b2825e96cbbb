"""Equivariant sets: samples, moments and the characteristic function against numerical integration."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.integrate
from numpy.testing import assert_allclose

from tegum.core.features.distribution import FeatureDistribution
from tegum.core.features.sets import Anticorrelated, Correlated, Equivariant, Independent

SET = Equivariant(5, 0.3, 0.6)


def tuning(angle: float, feature: int, size: int = 5, width: float = 0.6) -> float:
    return np.exp((np.cos(angle - 2 * np.pi * feature / size) - 1) / width**2)


def over_angles(function) -> float:
    return scipy.integrate.quad(function, 0, 2 * np.pi, epsabs=1e-13)[0] / (2 * np.pi)


def test_moments_against_quadrature() -> None:
    # An amplitude uniform on [0, 1] has the moments 1/2 and 1/3.
    first = 0.3 / 2 * over_angles(lambda angle: tuning(angle, 0))
    assert_allclose(SET.first_moment(), np.full(5, first), rtol=1e-12)
    second = [0.3 / 3 * over_angles(lambda angle, k=k: tuning(angle, 0) * tuning(angle, k)) for k in range(5)]
    assert_allclose(SET.second_moment()[0], second, rtol=1e-12)
    assert_allclose(SET.second_moment(), [np.roll(second, k) for k in range(5)], rtol=1e-12)


def test_samples_against_the_moments() -> None:
    x = FeatureDistribution([SET]).sample(3, 400_000)
    assert x.min() >= 0
    assert x.max() <= 1
    assert abs((x > 0).all(1).mean() - 0.3) < 4.5 * np.sqrt(0.3 * 0.7 / len(x))
    assert (np.abs(x.mean(0) - SET.first_moment()) < 4.5 * x.std(0) / np.sqrt(len(x))).all()
    products = x[:, :, None] * x[:, None]
    off = np.abs(products.mean(0) - SET.second_moment())
    assert (off < 4.5 * products.std(0) / np.sqrt(len(x))).all()


def test_characteristic_function_against_quadrature() -> None:
    s = np.array([1.3, -0.4, 0.0, 2.0, -3.1])

    def response(angle: float, part) -> float:
        along = sum(s[k] * tuning(angle, k) for k in range(5))
        return part((np.exp(1j * along) - 1) / (1j * along))

    mean = over_angles(lambda angle: response(angle, np.real)) + 1j * over_angles(
        lambda angle: response(angle, np.imag)
    )
    assert_allclose(SET.characteristic(s), 0.7 + 0.3 * mean, atol=1e-11)
    assert SET.characteristic(np.zeros(5)) == pytest.approx(1)


@pytest.mark.parametrize("each", [Independent(3, 0.2), Correlated(3, (0.1, 0.4, 0.4)), Anticorrelated(3, 0.6), SET])
def test_characteristic_functions_against_samples(each) -> None:
    x = FeatureDistribution([each]).sample(7, 300_000)
    s = np.random.default_rng(0).normal(size=(4, each.features)) * 3
    waves = np.exp(1j * x @ s.T)
    found = each.characteristic(s)
    for part in (np.real, np.imag):
        assert (np.abs(part(waves).mean(0) - part(found)) < 4.5 * part(waves).std(0) / np.sqrt(len(x))).all()


def test_wide_tunings_are_few_fourier_modes_and_narrow_ones_are_independent_of_one_another() -> None:
    wide, narrow = (np.linalg.eigvalsh(Equivariant(8, 1.0, width).second_moment())[::-1] for width in (3.0, 0.1))
    # Almost constant responses: the mean mode is all; tunings that do not overlap: all modes alike.
    assert wide[0] > 50 * wide[1]
    assert narrow[0] < 1.01 * narrow[-1]


def test_refusals_and_round_trip() -> None:
    with pytest.raises(ValueError, match=r"Equivariant\(density=.*\): density must be one number"):
        Equivariant(3, (0.1, 0.2, 0.3), 0.5)
    with pytest.raises(ValueError, match=r"Equivariant\(width=0.0\): width must be"):
        Equivariant(3, 0.1, 0.0)
    features = FeatureDistribution([SET, Independent(1, 0.5)])
    assert FeatureDistribution(features.to_json()) == features
    assert not features.gated
    with pytest.raises(ValueError, match="no mixture table"):
        list(features.tables())
