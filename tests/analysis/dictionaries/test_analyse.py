"""Measures of weights that a user brings, against shapes and distributions whose numbers are known."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import scipy.stats
from numpy.testing import assert_allclose, assert_array_equal

import tegum as tg
from tegum.analysis.dictionaries import analyse as analysis
from tegum.analysis.dictionaries import coactivation, embeddings
from tegum.analysis.geometry.polytopes import SHAPES, simplex


def rotated(rows: np.ndarray, m: int, seed: int = 0) -> np.ndarray:
    """The rows in m dimensions, turned at random."""
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(m, m)))[0]
    return np.pad(rows, ((0, 0), (0, m - rows.shape[1]))) @ turn


def product(*parts: np.ndarray) -> np.ndarray:
    """The tegum product: each part in dimensions of its own."""
    rows = np.zeros((sum(len(part) for part in parts), sum(part.shape[1] for part in parts)))
    row = column = 0
    for part in parts:
        rows[row : row + len(part), column : column + part.shape[1]] = part
        row, column = row + len(part), column + part.shape[1]
    return rows


PARTS = [simplex(2).vectors, simplex(3).vectors, simplex(4).vectors, SHAPES["pentagon"].vectors, np.zeros((2, 1))]
DIMENSIONALITIES = [1 / 2] * 2 + [2 / 3] * 3 + [3 / 4] * 4 + [2 / 5] * 5 + [0] * 2


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1.0, 1e-20, 1e18])
def test_a_tegum_product_of_polytopes(monkeypatch: pytest.MonkeyPatch, dtype: Any, size: float):
    monkeypatch.setattr(embeddings, "TILE", 5)
    monkeypatch.setattr(embeddings, "BLOCK_ELEMENTS", 96)
    W = (size * rotated(product(*PARTS), 32)).astype(dtype)
    found = tg.analyse(W)
    rtol = 1e-5 if dtype == np.float32 else 1e-12
    assert_allclose(found.dimensionality, DIMENSIONALITIES, rtol=rtol, atol=1e-15)
    assert_allclose(found.norm, [size] * 14 + [0.0] * 2, rtol=rtol, atol=1e-15 * size)
    assert_array_equal(found.represented, [True] * 14 + [False] * 2)
    assert_allclose(found.total_dimensions, 1 + 2 + 3 + 2, rtol=rtol)
    assert_allclose(found.dimensions_per_feature, 32 / 14 / size**2, rtol=rtol)
    # Tight in each factor: n/d along each of its d axes.
    spectrum = np.array(sorted([2.0] + [1.5] * 2 + [4 / 3] * 3 + [2.5] * 2, reverse=True))
    assert_allclose(found.spectrum, size**2 * np.append(spectrum, np.zeros(24)), rtol=rtol, atol=1e-6 * size**2)
    assert_allclose(found.participation_ratio, spectrum.sum() ** 2 / (spectrum**2).sum(), rtol=rtol)
    p = np.sqrt(spectrum) / np.sqrt(spectrum).sum()
    assert_allclose(found.effective_rank, np.exp(-(p * np.log(p)).sum()), rtol=1e-3 if dtype == np.float32 else 1e-6)
    # The most opposite of a digon, a triangle, a tetrahedron and a pentagon.
    opposite = [-1.0] * 2 + [-1 / 2] * 3 + [-1 / 3] * 4 + [np.cos(4 * np.pi / 5)] * 5
    assert_allclose(found.opposite_cosine[:14], opposite, atol=1e-5)
    assert_array_equal(found.opposite[:2], [1, 0])
    assert_allclose(found.nearest_cosine[9:14], [np.cos(2 * np.pi / 5)] * 5, atol=1e-5)
    assert np.isnan(found.nearest_cosine[14:]).all()
    assert_array_equal(found.nearest[14:], -1)


def test_what_is_found_in_blocks_is_what_the_gram_matrix_holds(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(embeddings, "TILE", 32)
    monkeypatch.setattr(embeddings, "BLOCK_ELEMENTS", 64)
    random = np.random.default_rng(1)
    W = random.normal(size=(150, 6)) * random.exponential(size=(150, 1))
    W[40] = 2 * W[3]
    W[90] = -W[77]
    found = tg.analyse(W)
    directions = W / np.linalg.norm(W, axis=1, keepdims=True)
    gram = directions @ directions.T
    np.fill_diagonal(gram, -2)
    assert_array_equal(found.nearest, gram.argmax(1))
    assert_allclose(found.nearest_cosine, gram.max(1), rtol=1e-12)
    np.fill_diagonal(gram, 2)
    assert_array_equal(found.opposite, gram.argmin(1))
    assert_allclose(found.opposite_cosine, gram.min(1), rtol=1e-12)
    assert_allclose(found.dimensionality, tg.dimensionality(W), rtol=1e-12)
    sums = np.square(directions @ W.T).sum(1)
    assert_allclose(found.dimensionality, np.square(W).sum(1) / sums, rtol=1e-11)
    pairs = gram[np.triu_indices(150, 1)]
    assert found.pairs == len(pairs)
    assert_allclose(found.cosine_quantile, np.quantile(pairs, analysis.QUANTILES), rtol=1e-10, atol=1e-12)
    assert_allclose(found.squared_cosine, np.square(pairs).mean(), rtol=1e-12)
    width = float(found.bin[1] - found.bin[0])
    assert_allclose(found.cosine_density.sum() * width, 1, rtol=1e-12)


def test_random_directions_are_found_to_be_what_chance_gives():
    n, m = 4000, 50
    W = np.random.default_rng(2).normal(size=(n, m)).astype(np.float32)
    found = tg.analyse(W)
    # E Σ_j cos² = 1 + (n − 1)/m for directions alone; total dimensions come to all of them.
    assert_allclose(found.dimensionality.mean(), m / (n + m - 1), rtol=0.05)
    assert_allclose(found.total_dimensions, m, rtol=0.02)
    assert_allclose(found.dimensionality, found.dimensionality_null, rtol=0.15)
    assert_allclose(found.effective_rank, m, rtol=0.02)
    assert found.pairs == embeddings.PAIRS
    assert_allclose(found.cosine_quantile, found.cosine_quantile_null, atol=0.02)
    assert_allclose(found.nearest_quantile[2:-2], found.nearest_quantile_null[2:-2], atol=0.01)
    assert_allclose(found.opposite_quantile[2:-2], found.opposite_quantile_null[2:-2], atol=0.01)
    assert (np.abs(found.cosine_density - found.cosine_density_null) < 0.1).all()


def test_the_null_distribution_of_cosines():
    # The projection of a sphere's surface on a diameter is uniform in three dimensions; in two it is an arcsine.
    assert_allclose(embeddings.null_cdf([-1, -0.3, 0, 0.8, 1], 3), [0, 0.35, 0.5, 0.9, 1], atol=1e-14)
    assert_allclose(embeddings.null_cdf(0.5, 2), 1 - np.arccos(0.5) / np.pi, rtol=1e-12)
    assert_array_equal(embeddings.null_cdf([-1, 0, 1], 1), [0.5, 0.5, 1])
    assert_allclose(embeddings.null_quantile([0.1, 0.5], 3), [-0.8, 0], atol=1e-12)
    # Of k independent numbers the largest has the distribution F^k.
    assert_allclose(embeddings.null_nearest_quantile(0.5, 3, 10), 2 * 0.5 ** (1 / 10) - 1, rtol=1e-12)
    sample = np.random.default_rng(3).normal(size=(20_000, 9))
    cosine = sample[:, 0] / np.linalg.norm(sample, axis=1)
    assert scipy.stats.kstest(cosine, lambda c: embeddings.null_cdf(c, 9)).pvalue > 1e-3


@pytest.mark.parametrize(("rows", "m"), [(1, 1), (1, 5), (2, 1), (3, 2)])
def test_small_and_zero_matrices(rows: int, m: int):
    found = tg.analyse(np.ones((rows, m)))
    assert_allclose(found.dimensionality, 1 / rows)
    with pytest.warns(UserWarning, match="weights hold nothing but zeros, so that no feature has a direction"):
        nothing = tg.analyse(np.zeros((rows, m)))
    assert_array_equal(nothing.dimensionality, 0)
    assert_array_equal(nothing.represented, False)
    assert nothing.effective_rank == nothing.participation_ratio == 0
    assert "cosine_quantile" not in nothing
    for each in (found, nothing):
        json.dumps(analysis.summary(each), allow_nan=False)


def activity(dense: bool) -> tuple[np.ndarray, np.ndarray]:
    """Five sets of four features, active together, in orthogonal directions within a set, all in 8 dimensions."""
    random = np.random.default_rng(4)
    W = np.concatenate([np.linalg.qr(random.normal(size=(8, 4)))[0].T for _ in range(5)])
    sets = random.random((4000, 5)) < 0.15
    gates = np.repeat(sets, 4, axis=1) & (random.random((4000, 20)) < 0.8)
    x = gates * random.random((4000, 20))
    return W, x + (0.0 if not dense else 1e-3 * random.random(x.shape))


@pytest.mark.parametrize("dense", [False, True])
def test_coactivation(dense: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(coactivation, "DENSE", 0.5)
    W, x = activity(dense)
    found = tg.analyse(W, x, companions=5)
    expected = np.corrcoef(x.T)
    np.fill_diagonal(expected, -np.inf)
    order = np.argsort(-expected, axis=1)[:, :5]
    correlation = np.take_along_axis(expected, order, 1)
    assert_array_equal(found.companion[:, :3], order[:, :3])
    assert_array_equal(np.sort(order[:, :3] // 4, axis=1), np.repeat(np.arange(20) // 4, 3).reshape(20, 3))
    there = found.companion.values >= 0
    assert_allclose(found.correlation.values[there], correlation[there], rtol=1e-9, atol=1e-12)
    assert (correlation[~there] <= 1e-12).all()
    assert_array_equal(found.density, (x != 0).mean(0))
    assert_allclose(found.mean_activation, x.mean(0), rtol=1e-12)
    assert found.active_features == np.count_nonzero(x) / 4000
    sparse = tg.analyse(W, scipy.sparse.coo_array(x), companions=5)
    assert sparse.identical(found)


def test_the_local_subspace_holds_the_companions_and_not_the_others():
    W, x = activity(dense=False)
    found = tg.analyse(W, x, companions=3)
    assert sorted(found.local_feature.values) == list(range(20))
    # One direction of the local subspace of rank 3 may lean towards the feature itself, which varies as well.
    assert_array_equal(found.local_rank, 3)
    assert_allclose(found.local_capture_null, 3 / 8)
    h = x[x[:, 7] > 0] @ W
    axes = np.linalg.svd(h - h.mean(0), full_matrices=False)[2][:3]
    at = int(np.flatnonzero(found.local_feature == 7)[0])
    mine = [4, 5, 6]
    assert_allclose(found.local_capture[at], np.square(W[mine] @ axes.T).sum() / 3, rtol=1e-9)
    h = x @ W
    axes = np.linalg.svd(h - h.mean(0), full_matrices=False)[2][:3]
    assert_allclose(found.local_capture_everywhere[at], np.square(W[mine] @ axes.T).sum() / 3, rtol=1e-9)
    assert_array_equal(found.local_samples[at], (x[:, 7] > 0).sum())
    assert_allclose(found.local_interference, 0, atol=1e-12)
    assert found.local_interference_null == 1 / 8
    assert float(found.local_capture.mean()) > 0.6
    assert float(found.local_capture_others.mean()) < 0.5


def test_a_feature_has_no_more_companions_than_there_are_others():
    x = np.random.default_rng(0).random((50, 4))
    found = tg.analyse(np.eye(4), activations=x, companions=10**9)
    assert found.sizes["place"] == 3


def test_independent_activations_have_no_companions_to_speak_of():
    random = np.random.default_rng(5)
    x = scipy.sparse.csr_array((random.random((2000, 30)) < 0.1) * random.random((2000, 30)))
    found = tg.analyse(random.normal(size=(30, 10)), x, features=[3, 4])
    assert float(np.nanmax(found.correlation)) < 4.5 * found.correlation_null
    assert_array_equal(found.local_feature, [3, 4])


WEIGHTS = np.eye(4, 3)


@pytest.mark.parametrize(
    ("weights", "options", "sentence"),
    [
        (np.zeros(3), {}, "weights must be a matrix of real numbers"),
        (np.zeros((0, 3)), {}, "weights must be a matrix of real numbers"),
        (np.zeros((2, 3), complex), {}, "weights must be a matrix of real numbers"),
        (np.where(WEIGHTS, np.nan, 0), {}, "weights must be finite numbers of at most 1e70, and row 0 is not"),
        (WEIGHTS[::-1] * 1e80, {}, "weights must be finite numbers of at most 1e70, and row 1 is not"),
        (WEIGHTS, {"threshold": 1.0}, "threshold must lie in [0, 1)"),
        (WEIGHTS, {"scale": 0.0}, "scale must be positive and finite"),
        (WEIGHTS, {"companions": 0}, "companions must be an int of at least 1"),
        (WEIGHTS, {"features": [1]}, "features are analysed by their activations, which must be given"),
        (WEIGHTS, {"activations": np.eye(4), "features": [4]}, "each must be an int from 0 to 3"),
        (WEIGHTS, {"activations": np.eye(4), "features": [2]}, "the feature must be active in at least two samples"),
        (WEIGHTS, {"activations": np.eye(4)[[0, 0, 1]], "features": [0]}, "must be active together with another one"),
        (WEIGHTS, {"activations": np.eye(3)}, "activations must have 4 columns, one for each row of weights"),
        (WEIGHTS, {"activations": np.zeros(4)}, "activations must be a matrix of real numbers"),
        (
            WEIGHTS,
            {"activations": np.full((2, 4), np.inf)},
            "activations must be finite, but row 0 holds a NaN or an infinity",
        ),
    ],
)
def test_bad_input_gets_one_sentence(weights: np.ndarray, options: dict[str, Any], sentence: str):
    with pytest.raises(ValueError, match=r"^analyse\(") as caught:
        tg.analyse(weights, **options)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


PROGRAM = """
import resource, sys
import numpy as np
import tegum as tg
found = tg.analyse(np.load(sys.argv[1], mmap_mode="r"))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, float(found.total_dimensions))
"""


def prepared(W: np.ndarray, normalise: bool, centre: bool) -> np.ndarray:
    """What `normalise` and `centre` say, in NumPy."""
    W = W.astype(np.float64)
    there = np.linalg.norm(W, axis=1) > 0

    def unit(rows: np.ndarray) -> np.ndarray:
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    rows = unit(W[there]) if normalise else W[there]
    rows = rows - rows.mean(0) if centre else rows
    W[there] = unit(rows) if normalise else rows
    return W


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(("normalise", "centre"), [(True, False), (False, True), (True, True)])
def test_directions_of_unit_norm_and_without_their_mean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, normalise: bool, centre: bool, dtype: Any, mapped: bool
):
    monkeypatch.setattr(embeddings, "BLOCK_ELEMENTS", 64)
    rng = np.random.default_rng(0)
    W = (rng.normal(size=(40, 8)) * rng.uniform(0.2, 5, size=(40, 1)) + 1.5).astype(dtype)
    W[[3, 17]] = 0
    given = W
    if mapped:
        np.save(tmp_path / "W.npy", W)
        given = np.load(tmp_path / "W.npy", mmap_mode="r")
    found, wanted = tg.analyse(given, normalise=normalise, centre=centre), tg.analyse(prepared(W, normalise, centre))
    rtol = 1e-10 if dtype == np.float64 else 2e-5
    for name in ("norm", "dimensionality", "opposite_cosine", "spectrum", "effective_rank", "cosine_quantile"):
        assert_allclose(found[name], wanted[name], rtol=rtol, atol=rtol)
    assert_array_equal(found.nearest, wanted.nearest)
    assert found.attrs["normalise"] == normalise
    if normalise:
        assert_allclose(found.norm, np.where(W.any(1), 1.0, 0.0), rtol=rtol)
    if centre:
        rows = prepared(W, normalise, False)[W.any(1)]
        assert_allclose(found.mean_norm, np.linalg.norm(rows.mean(0)), rtol=rtol)
    assert ("mean_norm" in found) == centre
    told = analysis.summary(found)
    assert (told["normalise"], told["centre"]) == (normalise, centre)
    assert_array_equal(given, W)


def test_centring_is_told_by_what_is_left():
    """Directions around an offset are alike; without it a simplex is left, whose features have 4/5 of a dimension."""
    corners = rotated(simplex(5).vectors, 6)
    offset = 3 * np.linalg.svd(corners)[2][-1]
    assert tg.analyse(corners + offset).dimensionality.max() < 0.75
    found = tg.analyse(corners + offset, centre=True)
    assert_allclose(found.dimensionality, 4 / 5)
    assert_allclose(found.mean_norm, 3)
    # The only direction is its own mean, and nothing is left of it.
    assert tg.analyse(np.ones((3, 2)), normalise=True, centre=True).norm.values.tolist() == [0, 0, 0]
    with pytest.warns(UserWarning, match="weights hold nothing but zeros, so that no feature has a direction"):
        assert tg.analyse(np.zeros((3, 2)), normalise=True, centre=True).norm.values.tolist() == [0, 0, 0]


@pytest.mark.slow
def test_a_hundred_thousand_directions_fit_in_four_gigabytes(tmp_path: Path):
    random = np.random.default_rng(6)
    rows = np.lib.format.open_memmap(tmp_path / "W.npy", "w+", np.float32, (100_000, 1024))
    for start in range(0, len(rows), 5000):
        rows[start : start + 5000] = random.standard_normal((5000, 1024), np.float32)
    rows.flush()
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, tmp_path / "W.npy"], capture_output=True, text=True, check=True
    )
    memory, total = map(float, run.stdout.split())
    assert memory < 4e9
    assert_allclose(total, 1024, rtol=0.02)
