"""Training on activations that a user brings: samples, trajectories that are saved and loaded, sweeps, refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import scipy.stats
from numpy.testing import assert_allclose, assert_array_equal

import tegum as tg
from tegum.core.features import samples as kept
from tegum.core.loss.empirical import empirical_gradient
from tegum.training.sampled import jax_programs as programs
from tegum.training.sampled.cpu import KernelEngine
from tegum.training.sampled.jax_engine import JaxEngine

RNG = np.random.default_rng(1)
ROWS = np.where(RNG.random((50, 5)) < 0.3, RNG.exponential(2.0, (50, 5)), 0.0)
ROWS[:, 4] += np.arange(1, 51) / 1000  # no two are equal


def spec(given: Any = ROWS, **changes: Any) -> tg.Spec:
    training = tg.Sampled(steps=100, batch=64, evaluation=2048, rate=0.01)
    values: dict[str, Any] = {"features": [tg.Empirical(given)], "hidden": 2, "training": training, "seeds": 2}
    return tg.Spec(**(values | changes))


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "_HELD", type(kept._HELD)())
    monkeypatch.setattr(kept, "_LAST", type(kept._LAST)(maxlen=kept.KEPT_MATRICES))


ENGINES = pytest.mark.parametrize("kind", [JaxEngine, KernelEngine], ids=["jax", "kernel"])


@ENGINES
def test_batches_are_rows_each_as_often(kind: Any):
    with kind([spec()]) as engine:
        batches = engine.batches(1, 400).reshape(-1, 5)
    single = ROWS.astype(np.float32)
    numbers = {row.tobytes(): number for number, row in enumerate(single)}
    counts = np.bincount([numbers[row.tobytes()] for row in batches], minlength=50)
    assert scipy.stats.chisquare(counts).pvalue > 1e-4


@pytest.mark.parametrize("name", ["jax", "kernel"])
def test_a_trained_run_and_its_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: Any):
    run = tg.train(spec(), engine=name)
    assert run.attrs["engine"] == name
    assert_array_equal(run.kind, ["empirical"] * 5)
    assert_allclose(run.density, (ROWS > 0).mean(0))
    exact = tg.population_loss_along(run)
    W, b = (run[name].isel(seed=1, step=-1).values.astype(np.float64) for name in ("weights", "bias"))
    assert_allclose(exact[1, -1], (np.square(ROWS - np.maximum(ROWS @ W @ W.T + b, 0)).sum(1)).mean(), rtol=1e-12)
    # An evaluation sample of 2,048 rows out of 50; squares of one row spread by a few times their mean.
    assert_allclose(run.loss, exact, rtol=0.25)
    assert (exact[:, -1] < 0.9 * exact[:, 0]).all()
    tg.save(run, tmp_path / "run.zarr")
    again = tg.load(tmp_path / "run.zarr")
    assert_array_equal(again.weights, run.weights)
    assert tg.Spec.from_json(again.attrs["spec"]) == spec()
    assert_array_equal(tg.population_loss_along(again), exact)
    # Where the data are not there, the Spec can be read, and using it says what is missing.
    description = json.loads(again.attrs["spec"])
    forget(monkeypatch)
    lonely = tg.Spec.from_json(again.attrs["spec"])
    assert lonely.to_json() == description
    for use in (lambda: tg.population_loss_along(again), lambda: tg.train(lonely)):
        with pytest.raises(ValueError, match=r"the activations must be loaded to be used, .* none with this digest"):
            use()
    tg.Empirical(ROWS)
    assert_array_equal(tg.population_loss_along(again), exact)


@ENGINES
def test_sparse_draws_as_dense_bit_for_bit(monkeypatch: pytest.MonkeyPatch, kind: Any):
    batches = []
    for form in (np.asarray, scipy.sparse.csr_array):
        forget(monkeypatch)
        with kind([spec(form(ROWS))]) as engine:
            batches.append(engine.batches(0, 3))
    assert_array_equal(batches[0], batches[1])


def test_a_sweep_over_matrices_of_one_shape_shares_its_program():
    specs = [spec(), spec(ROWS[::-1] * 2)]
    alone = [tg.train(each, engine="jax") for each in specs]
    compiled = programs.train.count()
    both = tg.train(specs, engine="jax")
    assert programs.train.count() == compiled
    assert_array_equal(both["features.digest"], [each.features.sets[0].digest for each in specs])
    for number, run in enumerate(alone):
        assert_array_equal(both.weights[number], run.weights)
    assert (both.loss[1, :, 0] > 2 * both.loss[0, :, 0]).all()


def test_a_file_in_toml(tmp_path: Path):
    np.save(tmp_path / "rows.npy", ROWS)
    text = f'hidden = 2\n[[features]]\nkind = "empirical"\npath = "{tmp_path}/rows.npy"\nimportance = 2\n'
    (tmp_path / "spec.toml").write_text(text)
    described = tg.Spec.from_toml(tmp_path / "spec.toml", ["features.importance=3"])
    assert described.features.n == 5
    assert_array_equal(described.features.importance, [3.0] * 5)
    assert described.override(["hidden=3"]).features == described.features


@pytest.mark.parametrize("training", [tg.Exact(), tg.Exact(optimiser="gd"), tg.Flow()])
def test_training_without_samples_beside_other_sets_is_refused_in_one_sentence(training: tg.Training):
    sentence = (
        r"train\(Spec\(features=\[…, Empirical\(.*\), …\], training=\w+\(…\)\)\): an Empirical set must be the only "
        r"one, as there is no population loss for it together with others; use Sampled$"
    )
    with pytest.raises(ValueError, match=sentence):
        tg.train(spec(features=[tg.Independent(2, 0.3), tg.Empirical(ROWS)], training=training))


def test_the_fused_kernel_refuses():
    with pytest.raises(ValueError, match=r"cannot draw Equivariant\(.*\), as .*; use engine='jax'$"):
        tg.train(spec(features=[tg.Empirical(ROWS), tg.Equivariant(3, 0.2, 0.8)]), engine="kernel")


@pytest.mark.parametrize("hidden", [3, 9])
@pytest.mark.parametrize("form", [np.asarray, scipy.sparse.csr_array], ids=["dense", "sparse"])
def test_the_kernels_gradient_is_the_closed_form_beside_other_sets(form: Any, hidden: int):
    rows = np.where(RNG.random((40, 70)) < 0.05, RNG.exponential(2.0, (40, 70)), 0.0)
    features = tg.FeatureDistribution(
        [tg.Independent(2, 0.3), tg.Empirical(form(rows), importance=0.5), tg.Correlated(3, 0.1)]
    )
    weights, bias = RNG.normal(size=(75, hidden)), 0.2 * RNG.normal(size=75)
    sgd = tg.Sampled(steps=9, optimiser="sgd", batch=1001)
    one = spec(features=features, hidden=hidden, start=(weights, bias), training=sgd)
    with KernelEngine([one]) as engine:
        state = engine.advance(engine.start(), 1, np.zeros(0, np.int64))[0]
        x = engine.batches(1, 1)[0]
    counts = (x[:, 2:72] > 0).sum(0)
    assert abs(counts - 1001 * (rows > 0).mean(0)).max() < 6 * np.sqrt(1001 * 0.2)
    expected = empirical_gradient(weights.astype("f"), bias.astype("f"), x, features.importance)
    expected = np.concatenate([expected[0].ravel(), expected[1]])
    assert_allclose(state.first[1], expected, rtol=1e-5, atol=2e-6 * np.abs(expected).max())


def test_the_bits_of_the_kernel_depend_on_nothing_else():
    alone, other = spec(), spec(ROWS[::-1] * 2)
    expected = [tg.train(each, engine="kernel", threads=1) for each in (alone, other)]
    both = tg.train([alone, other, alone.replace(hidden=2)], engine="kernel", threads=2)
    for number, run in enumerate(expected):
        assert_array_equal(both.weights[number], run.weights)
        assert_array_equal(both.loss[number], run.loss)


def test_both_engines_end_alike():
    """The same distribution by other random numbers: mean losses of 16 runs within their standard error."""
    ends = [tg.population_loss_along(tg.train(spec(seeds=16), engine=name))[:, -1] for name in ("jax", "kernel")]
    difference = abs(ends[0].mean() - ends[1].mean())
    assert difference < 4 * np.sqrt((ends[0].var() + ends[1].var()) / 16)
