"""Empirical sets: moments, samples and the finite loss against plain NumPy, and descriptions that find their data."""

from __future__ import annotations

import gc
import pickle
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
import scipy.stats
from numpy.testing import assert_allclose, assert_array_equal

import tegum as tg
from tegum.core.features import empirical
from tegum.core.features import samples as kept
from tegum.core.loss import finite

RNG = np.random.default_rng(0)
ROWS = np.where(RNG.random((700, 6)) < [0.1, 0.2, 0.3, 0.5, 0.9, 0.0], RNG.exponential(3.0, (700, 6)), 0.0)
ROWS[:, 1] = np.where(ROWS[:, 0] > 0, ROWS[:, 1], 0)  # active with the first alone
IMPORTANCE = (1.0, 0.5, 2.0, 0.0, 1.0, 3.0)
W, B = RNG.normal(size=(3, 6, 2)), RNG.normal(size=(3, 6))


def features(given: Any = ROWS, importance: Any = IMPORTANCE) -> tg.FeatureDistribution:
    return tg.FeatureDistribution([tg.Empirical(given, importance)])


def plain_loss(weights: np.ndarray, bias: np.ndarray, floor: float = 0.0) -> float:
    """One sample after the other."""
    total = 0.0
    for x in ROWS:
        output = np.maximum(weights @ (weights.T @ x) + bias, floor)
        total += float(np.array(IMPORTANCE) @ (x - output) ** 2)
    return total / len(ROWS)


@pytest.fixture
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in another process: no activations are known."""
    monkeypatch.setattr(kept, "_HELD", type(kept._HELD)())
    monkeypatch.setattr(kept, "_LAST", type(kept._LAST)(maxlen=kept.KEPT_MATRICES))


@pytest.mark.parametrize("form", [np.asarray, scipy.sparse.csc_matrix, scipy.sparse.coo_array])
@pytest.mark.usefixtures("forgotten")
def test_moments_against_numpy(form: Any):
    one = tg.Empirical(form(ROWS))
    assert one.features == 6
    assert_array_equal(one.active(), np.count_nonzero(ROWS, axis=0) / 700)
    assert_allclose(one.first_moment(), np.mean(ROWS, axis=0), rtol=1e-13)
    assert_allclose(one.second_moment(), np.einsum("si,sj->ij", ROWS, ROWS) / 700, rtol=1e-12, atol=1e-14)
    assert_allclose(tg.FeatureDistribution([one]).covariance(), np.cov(ROWS.T, bias=True), rtol=1e-11, atol=1e-13)


def test_a_matrix_has_one_description_dense_or_sparse_in_any_precision():
    whole = np.round(ROWS * 4)
    duplicates = scipy.sparse.coo_array((np.repeat(whole[whole > 0] / 2, 2), np.repeat(np.nonzero(whole), 2, axis=1)))
    forms = [whole, np.asfortranarray(whole), whole.astype(np.float32), whole.astype(np.int16), whole.tolist()]
    forms += [scipy.sparse.csr_matrix(whole), scipy.sparse.csr_array(whole.astype(np.int8))]
    forms += [scipy.sparse.csr_array((duplicates.data, duplicates.coords), whole.shape), -0.0 + whole, np.abs(-whole)]
    descriptions = {tg.Empirical(each) for each in forms}
    assert len(descriptions) == 1
    other = whole.copy()
    other[3, 4] += 1
    assert tg.Empirical(other) not in descriptions
    assert tg.Empirical(whole.reshape(350, 12)) not in descriptions
    assert tg.Empirical(whole[::-1]) not in descriptions


@pytest.mark.parametrize(("activation", "floor"), [("relu", 0.0), ("linear", -np.inf)])
def test_the_population_loss_is_the_mean_over_the_rows(activation: Any, floor: float):
    expected = [plain_loss(w, b, floor) for w, b in zip(W, B, strict=True)]
    loss, error = tg.population_loss(W, B, features(), activation=activation, with_error=True)
    assert_allclose(loss, expected, rtol=1e-13)
    assert (np.abs(loss - expected) <= error).all()
    assert (error < 1e-11 * loss).all()
    one = W[0].astype(np.float32), B[0].astype(np.float32)
    expected = plain_loss(*(part.astype(np.float64) for part in one), floor)
    for model in (one, map(jnp.asarray, one)):
        found = tg.population_loss(*model, features(), activation=activation)
        assert found.dtype == np.float64
        assert_allclose(found, expected, rtol=1e-13)


@pytest.mark.usefixtures("forgotten")
def test_sparse_is_dense(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(finite, "ROWS_AT_ONCE", 64)  # and the last block is not full
    found = []
    for form in (np.asarray, scipy.sparse.csr_array):
        kept._HELD.clear(), kept._LAST.clear()
        here = features(form(ROWS))
        model = jnp.asarray(W), jnp.asarray(B)
        found.append(
            [
                tg.population_loss(W, B, here),
                *tg.population_gradient(W, B, here),
                tg.population_loss(*model, here),
                here.sample(5, 40),
            ]
        )
    for one, other in zip(*found, strict=True):
        assert_array_equal(one, other)
    assert_allclose(found[0][3], found[0][0], rtol=1e-6)


def test_gradients_against_finite_differences():
    here, along, step = features(), RNG.normal(size=(6, 2)), 1e-6
    dW, db = tg.population_gradient(W[0], B[0], here)
    change = plain_loss(W[0] + step * along, B[0]) - plain_loss(W[0] - step * along, B[0])
    assert_allclose((dW * along).sum(), change / (2 * step), rtol=1e-6)
    change = plain_loss(W[0], B[0] + step * along[:, 0]) - plain_loss(W[0], B[0] - step * along[:, 0])
    assert_allclose(db @ along[:, 0], change / (2 * step), rtol=1e-6)
    by_jax = jax.grad(lambda w, b: tg.population_loss(w, b, here), (0, 1))(jnp.asarray(W[0]), jnp.asarray(B[0]))
    for found, expected in zip(by_jax, (dW, db), strict=True):
        assert_allclose(found, expected, rtol=2e-6, atol=1e-6)


@pytest.mark.slow
def test_the_hessian_against_finite_differences():
    here, along, step = features(), RNG.normal(size=(6, 2)), 1e-6
    hessian = jax.hessian(lambda w: tg.population_loss(w, jnp.asarray(B[0]), here))(jnp.asarray(W[0]))
    gradients = [tg.population_gradient(W[0] + sign * step * along, B[0], here)[0] for sign in (1, -1)]
    turned = np.einsum("abcd,cd->ab", hessian, along)
    assert_allclose(turned, (gradients[0] - gradients[1]) / (2 * step), rtol=1e-4, atol=1e-3)


def test_every_row_is_drawn_as_often():
    rows = np.arange(1.0, 38.0)[:, None] * [1.0, 0.0]
    drawn = features(rows, 1.0).sample(3, 200_000)
    counts = np.bincount(drawn[:, 0].astype(int) - 1, minlength=37)
    assert scipy.stats.chisquare(counts).pvalue > 1e-4
    assert not drawn[:, 1].any()


def test_rows_are_drawn_as_often_also_by_uniforms_in_single_precision():
    count, draws = 4_000_000, 4_000_000
    u = RNG.random((draws, 2), np.float32)
    rows = empirical._uniform_rows(u, count)
    assert rows.min() == 0
    assert rows.max() == count - 1

    def z(rows: np.ndarray) -> float:
        counts = np.bincount(rows, minlength=count)
        return float((np.square(counts - draws / count).sum() - count) / np.sqrt(2 * count))

    assert abs(z(rows)) < 4.5
    assert z((u[:, 0] * np.float32(count)).astype(int)) > 6  # what one uniform would give


@pytest.mark.parametrize("count", [1, 2, 3, 5, 64, 1000])
def test_the_ends_of_the_uniforms_are_rows(count: int):
    low, high = np.zeros((1, 2), np.float32), np.full((1, 2), 1 - 2**-24, np.float32)
    assert empirical._uniform_rows(low, count)[0] == 0
    assert empirical._uniform_rows(high, count)[0] == count - 1


def test_beside_another_set():
    both = tg.FeatureDistribution([tg.Independent(2, 0.5), tg.Empirical(ROWS)])
    assert both.n == 8
    x = both.sample(1, 50_000)
    off = x.mean(0) - both.first_moment()
    assert (np.abs(off) < 4.5 * x.std(0) / np.sqrt(len(x)) + 1e-15).all()
    assert_allclose(both.covariance()[:2, 2:], 0, atol=1e-15)
    sentence = r"an Empirical set must be the only one, .*; use empirical_loss on samples"
    for call in (tg.population_loss, tg.population_gradient):
        with pytest.raises(ValueError, match=rf"{call.__name__}\(features=\[…, Empirical\(.*{sentence}"):
            call(np.zeros((8, 2)), np.zeros(8), both)
    # The linear model needs moments alone.
    w, b = RNG.normal(size=(8, 2)), RNG.normal(size=8)
    exact = tg.population_loss(w, b, both, activation="linear")
    samples = [tg.empirical_loss(w, b, part, activation="linear") for part in x.reshape(50, 1000, 8)]
    assert abs(np.mean(samples) - exact) < 4.5 * np.std(samples) / np.sqrt(50)


def test_the_data_are_a_copy_that_does_not_change():
    rows = ROWS.copy()
    one = tg.Empirical(rows)
    rows[:] = 7.0
    assert_allclose(one.first_moment(), ROWS.mean(0), rtol=1e-13)
    with pytest.raises(ValueError, match="read-only"):
        one.data._values[0] = 1.0


@pytest.mark.usefixtures("forgotten")
def test_json_finds_the_data_by_their_digest():
    one = tg.Empirical(ROWS)
    description = tg.FeatureDistribution([one]).to_json()
    assert description == [
        {"kind": "empirical", "importance": 1.0, "digest": one.digest, "samples": 700, "size": 6, "path": None,
         "key": None}
    ]  # fmt: skip
    again = tg.FeatureDistribution(description)
    assert again.sets[0] == one
    assert_array_equal(again.sets[0].first_moment(), one.first_moment())
    # The pickle holds the data; another process finds them by their digest from then on.
    text = pickle.dumps(one)
    del one, again
    kept._HELD.clear(), kept._LAST.clear()
    gone = tg.FeatureDistribution(description)
    assert (gone.n, gone.importance.tolist()) == (6, [1.0] * 6)
    sentence = r"Empirical\(samples=700, size=6, digest='.{8}…'\): the activations must be loaded to be used, but this "
    with pytest.raises(ValueError, match=sentence):
        gone.sample(0, 1)
    loaded = pickle.loads(text)
    assert_array_equal(tg.FeatureDistribution(description).sample(0, 9), tg.FeatureDistribution([loaded]).sample(0, 9))
    assert_array_equal(gone.sample(0, 1), gone.sample(0, 1))


@pytest.mark.usefixtures("forgotten")
def test_data_that_nobody_describes_any_more_are_let_go():
    first = tg.Empirical(np.ones((2, 2)))
    digest = first.digest
    for number in range(kept.KEPT_MATRICES):
        tg.Empirical(np.full((2, 2), 2.0 + number))
    assert kept.recalled(digest) is not None
    del first
    gc.collect()
    assert kept.recalled(digest) is None


@pytest.mark.usefixtures("forgotten")
def test_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    np.save("dense.npy", ROWS)
    np.savez("many.npz", rows=ROWS, others=np.zeros(3))
    np.savez("one.npz", ROWS)
    scipy.sparse.save_npz("sparse.npz", scipy.sparse.csc_array(ROWS))
    expected = tg.Empirical(ROWS)
    for path, key in (("dense.npy", None), ("many.npz", "rows"), ("one.npz", None), ("sparse.npz", None)):
        one = tg.Empirical(path=Path(path), key=key)
        assert (one.digest, one.path, one.key) == (expected.digest, path, key)
    described = tg.Empirical(path="dense.npy").model_dump()
    del expected, one
    kept._HELD.clear(), kept._LAST.clear()
    assert_array_equal(tg.Empirical(**{k: v for k, v in described.items() if k != "kind"}).first_moment(), ROWS.mean(0))
    kept._HELD.clear(), kept._LAST.clear()
    np.save("dense.npy", ROWS * 2)
    for description, sentence in (
        (described, "', as for the activations given"),
        ({"path": "none.npy"}, "path must lead to a file, and there is none"),
        ({"path": "many.npz"}, "key must be given, as 'many.npz' holds 2 arrays: others, rows"),
        ({"path": "many.npz", "key": "row"}, "must be the name of an array in 'many.npz'; did you mean 'rows'?"),
        ({"path": "dense.npy", "key": "row"}, "key must be None, as 'dense.npy' is one array without a name"),
        ({"path": "sparse.npz", "key": "row"}, "key must be None, as 'sparse.npz' is one array without a name"),
        ({"path": "many.npz", "key": "others"}, "path must lead to a matrix of real numbers, but this is float64"),
        ({"path": 3}, "path must be text"),
    ):
        refused({**description, "kind": "empirical"}, sentence)
    Path("text.npy").write_text("no array")
    Path("text.npz").write_text("no archive")
    Path("cut.npy").write_bytes(Path("dense.npy").read_bytes()[:900])
    np.save("objects.npy", np.array([[None]]))
    for name in ("text.npy", "text.npz", "cut.npy", "objects.npy"):
        refused({"kind": "empirical", "path": name}, "path must lead to a readable .npy or .npz file: ")


def refused(description: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=r"^FeatureDistribution\(sets\.0\.") as caught:
        tg.FeatureDistribution([description])
    assert "\n" not in str(caught.value)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (np.where(np.eye(3), np.nan, 0.0)[1:], "but row 0, column 1 holds nan"),
        (-np.eye(3)[::-1], "must hold 0 or numbers between 1e-30 and 1e+15, but row 0, column 2 holds -1"),
        (np.full((2, 2), np.inf), "row 0, column 0 holds inf"),
        (np.array([[0, 1e16]]), "row 0, column 1 holds 1e+16"),
        (np.array([[1e-40]]), "row 0, column 0 holds 1e-40"),
        (scipy.sparse.csr_array(np.array([[0, 0, 1.0], [0, 0, 0], [0, -3.0, 0]])), "row 2, column 1 holds -3"),
        (np.zeros((0, 3)), "must have at least one row, a sample, and one column, a feature"),
        (np.zeros((3, 0)), "must have at least one row, a sample, and one column, a feature"),
        (scipy.sparse.csr_array((0, 4)), "must have at least one row, a sample, and one column, a feature"),
        (np.zeros(3), "must be a matrix of real numbers, dense or sparse, with samples as rows and features as"),
        (np.zeros((1, 2, 3)), "must be a matrix of real numbers"),
        (np.zeros((2, 2), complex), "must be a matrix of real numbers"),
        ([[1, 2], [3]], "must be a matrix of real numbers"),
        ("rows.npy", "must be a matrix of real numbers"),
    ],
)
def test_bad_activations_get_one_sentence(given: Any, sentence: str):
    with pytest.raises(ValueError, match=r"^Empirical\(activations=.*\): activations must ") as caught:
        tg.Empirical(given)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_the_data_contradict_is_refused():
    digest = tg.Empirical(ROWS).digest
    for values, sentence in (
        ({"activations": ROWS, "digest": "0" * 32}, f"digest must be '{digest}', as for the activations given"),
        ({"activations": ROWS, "size": 5}, "Empirical(size=5): size must be 6, as for the activations given"),
        ({"activations": ROWS, "path": "rows.npy"}, "path must not be given together with activations"),
        ({"activations": ROWS, "density": 0.5}, "there is no key 'density'"),
        ({"activations": ROWS, "importance": [1, 2]}, "importance must be one number or 6"),
        ({"activations": ROWS, "importance": -1}, "importance must be 0, or lie between"),
        ({"digest": "abc", "samples": 3, "size": 2}, "digest must be 32 hexadecimal digits"),
        ({"digest": "0" * 32}, "Empirical(): activations must be given, or the path of a file"),
        ({}, "Empirical(): activations must be given, or the path of a file"),
    ):
        with pytest.raises(ValueError, match="Empirical") as caught:
            tg.Empirical(**values)
        assert sentence in str(caught.value)
