"""Fourier modes of embeddings by their definition and invariances; variances of modes against eigenvalues."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from numpy.testing import assert_allclose

from tegum.analysis.geometry.fourier import (
    equivariance_defect,
    kept_rotations,
    mode_power,
    mode_variances,
    multiplicities,
)
from tegum.core.features.distribution import FeatureDistribution
from tegum.core.features.sets import Equivariant


def star(size: int, frequency: int) -> np.ndarray:
    """The star polygon {size/frequency}, by its corners."""
    angles = 2 * np.pi * frequency * np.arange(size) / size
    return np.stack([np.cos(angles), np.sin(angles)], 1)


def turned(weights: np.ndarray, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return weights @ np.linalg.qr(rng.normal(size=(weights.shape[-1], weights.shape[-1])))[0]


def test_multiplicities_add_up_to_all_dimensions() -> None:
    assert [multiplicities(size).tolist() for size in (1, 2, 5, 6)] == [[1], [1, 1], [1, 2, 2], [1, 2, 2, 1]]
    with pytest.raises(ValueError, match=r"multiplicities\(size=0\): size must be an int of at least 1"):
        multiplicities(0)


@pytest.mark.parametrize(("size", "frequency"), [(5, 1), (5, 2), (8, 1), (8, 3)])
def test_star_polygons_have_one_mode_and_keep_all_rotations(size: int, frequency: int) -> None:
    weights = turned(star(size, frequency))
    assert_allclose(mode_power(weights), np.arange(size // 2 + 1) == frequency, atol=1e-12)
    assert equivariance_defect(weights) == pytest.approx(0, abs=1e-12)
    assert kept_rotations(weights) == size


def test_power_is_that_of_projections_on_cosines_and_sines() -> None:
    weights = np.random.default_rng(1).normal(size=(3, 6, 4))
    angles = 2 * np.pi * np.outer(np.arange(6), np.arange(4)) / 6
    for run in range(3):
        expected = []
        for r in range(4):
            basis = np.stack([np.cos(angles[:, r]), np.sin(angles[:, r])], 1)
            left = np.linalg.svd(basis, full_matrices=False)[0][:, : multiplicities(6)[r]]
            expected.append(np.square(left.T @ weights[run]).sum() / np.square(weights[run]).sum())
        assert_allclose(mode_power(weights)[run], expected, atol=1e-12)
    assert_allclose(mode_power(weights).sum(-1), 1)


def test_neither_rotations_of_hidden_space_nor_of_the_orientations_matter() -> None:
    weights = np.random.default_rng(2).normal(size=(7, 3))
    for other in (turned(weights), np.roll(weights, 2, axis=0), weights[::-1].copy(), 1e-30 * weights):
        assert_allclose(mode_power(other), mode_power(weights), atol=1e-12)
        assert equivariance_defect(other) == pytest.approx(float(equivariance_defect(weights)))
        assert kept_rotations(other) == kept_rotations(weights)


def test_the_defect_is_the_distance_from_the_mean_over_rotations() -> None:
    weights = np.random.default_rng(3).normal(size=(6, 2))
    gram = weights @ weights.T
    mean = np.mean([np.roll(gram, (s, s), (0, 1)) for s in range(6)], axis=0)
    assert equivariance_defect(weights) == pytest.approx(np.linalg.norm(gram - mean) / np.linalg.norm(gram))


def test_kept_rotations_are_a_subgroup() -> None:
    one = np.eye(6)[:, :1]
    assert kept_rotations(one) == 1
    assert kept_rotations(np.tile([[1.0], [0.0]], (3, 1))) == 3
    # One direction of a plane of mode 1: half a turn changes its sign, which the Gram matrix does not see.
    assert kept_rotations(star(6, 1)[:, :1]) == 2
    with pytest.raises(ValueError, match=r"kept_rotations\(tolerance=1.0\): tolerance must lie in"):
        kept_rotations(one, tolerance=1.0)


def test_a_random_order_spreads_the_power_of_a_polygon_evenly() -> None:
    rng = np.random.default_rng(4)
    polygon = star(7, 1)
    shares = mode_power(np.array([polygon[rng.permutation(7)] for _ in range(4000)]))
    expected = multiplicities(7) / 6
    expected[0] = 0
    assert (np.abs(shares.mean(0) - expected) <= 4.5 * shares.std(0) / np.sqrt(4000) + 1e-12).all()
    # All orders that leave a regular polygon one: 7 turns and 6 units of 5,040 orders.
    assert np.mean(shares.max(1) > 0.99) == pytest.approx(42 / 5040, abs=0.006)


def test_zero_diverged_and_labelled_weights() -> None:
    weights = np.stack([star(5, 1), np.zeros((5, 2)), np.full((5, 2), np.nan)])
    assert_allclose(mode_power(weights)[1], 0)
    assert equivariance_defect(weights)[1] == 0
    assert np.isnan(mode_power(weights)[2]).all()
    assert kept_rotations(weights).tolist() == [5, 5, -1]
    labelled = xr.DataArray(weights, dims=("seed", "feature", "hidden"), coords={"seed": [4, 5, 6]})
    power = mode_power(labelled)
    assert power.dims == ("seed", "frequency")
    assert power["frequency"].values.tolist() == [0, 1, 2]
    assert_allclose(power.sel(seed=4), [0, 1, 0], atol=1e-12)
    assert kept_rotations(labelled).sel(seed=6) == -1


@pytest.mark.parametrize("width", [0.1, 0.5, 2.0, 30.0])
@pytest.mark.parametrize(("size", "density"), [(1, 0.5), (2, 1.0), (7, 0.1), (8, 1.0)])
def test_mode_variances_are_the_eigenvalues_of_the_covariance(size: int, density: float, width: float) -> None:
    features = FeatureDistribution([Equivariant(size, density, width)])
    for found, matrix in zip(
        mode_variances(size, density, width), (features.second_moment(), features.covariance()), strict=True
    ):
        spread = np.repeat(found, multiplicities(size))
        assert_allclose(np.sort(spread), np.linalg.eigvalsh(matrix), atol=1e-10 * np.trace(matrix))


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ((0, 0.5, 1.0), "size must be an int"),
        ((3, 0.0, 1.0), "density must lie in"),
        ((3, 0.5, 0.0), "width must be a positive number"),
    ],
)
def test_refusals(arguments: tuple, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        mode_variances(*arguments)
