"""Hierarchies, exactly k and copulas in training: samples of every engine, exact losses, files, and refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import scipy.stats
import tomli_w
from numpy.testing import assert_allclose, assert_array_equal
from processes import tegum
from reference import activity_patterns as reference
from reference.population_truth import sampled_loss, truth

import tegum as tg
from tegum.training.sampled.cpu import KernelEngine
from tegum.training.sampled.jax_engine import JaxEngine

RNG = np.random.default_rng(3)
FACTORS = RNG.uniform(-0.55, 0.55, size=(12, 3))
TREE = [-1, 0, 0, 0, 1, 1, -1, 6]

SMALL: dict[str, tg.FeatureSet] = {
    "exactly-k": tg.ExactlyK(6, 2, 0.6),
    "exactly-k, many patterns": tg.ExactlyK(16, 3, 0.5),
    "hierarchy": tg.Hierarchy(TREE, [0.6, 0.3, 0.3, 0.2, 0.5, 0.4, 0.1, 0.5], exclusive=[True] + [False] * 7),
    "copula": tg.Copula([0.1, 0.3, 0.05, 0.2], factors=[[0.8], [-0.6], [0.5], [0.7]]),
    "copula, many nodes": tg.Copula(0.1, factors=RNG.uniform(-0.6, 0.6, size=(20, 2))),
}
"""Sets with a table: with few patterns, which the kernel draws whole, and with many."""

LARGE: dict[str, tg.FeatureSet] = {
    "exactly-k": tg.ExactlyK(30, 10, 0.8),
    "hierarchy": tg.Hierarchy(np.append(np.full(15, -1), np.arange(15)), np.linspace(0.1, 0.6, 30)),
    "copula": tg.Copula(np.linspace(0.02, 0.3, 12), factors=FACTORS),
    "copula, matrix": tg.Copula(0.1, np.corrcoef(RNG.normal(size=(8, 30)))),
}
"""Sets without a table."""

each_small = pytest.mark.parametrize("name", SMALL)
each_kind = pytest.mark.parametrize("kind", ["exactly-k", "hierarchy", "copula"])


def spec(*sets: tg.FeatureSet, **changes: Any) -> tg.Spec:
    training = tg.Sampled(steps=300, batch=256, evaluation=8192, rate=0.01)
    return tg.Spec(**({"features": list(sets), "hidden": 2, "training": training, "seeds": 2} | changes))


def assert_moments(given: tg.FeatureSet, x: np.ndarray) -> None:
    """Activity, first and second moments, by z-scores with Bonferroni's bound."""
    n, x = given.features, np.asarray(x, np.float64)
    active, upper = (x > 0).astype(np.float64), np.triu_indices(n)
    second = given.second_moment()
    both = np.where(np.eye(n, dtype=bool), 3 * second, 4 * second)
    # E[a⁴] = 1/5, and of two magnitudes E[a²b²] = 1/9.
    fourth = np.where(np.eye(n, dtype=bool), both / 5, both / 9)
    for found, mean, square in (
        (active.mean(0), given.active(), given.active()),
        (x.mean(0), given.first_moment(), np.diag(second)),
        ((active.T @ active / len(x))[upper], both[upper], both[upper]),
        ((x.T @ x / len(x))[upper], second[upper], fourth[upper]),
    ):
        often = mean > 50 / len(x)  # of what is rarer, a mean is not normally distributed
        spread = np.sqrt(np.maximum(square - mean**2, 1e-12) / len(x))
        assert np.abs((found - mean) / spread)[often].max() < scipy.stats.norm.isf(1e-6 / found.size)
        assert found[~often].max(initial=0) < 100 / len(x)


@each_kind
@pytest.mark.parametrize("key", [1, jax.random.key(1)], ids=["numpy", "jax"])
@pytest.mark.parametrize("count", [100_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_samples_have_the_moments(kind: str, key: Any, count: int):
    features = tg.FeatureDistribution([SMALL[kind], LARGE[kind]])
    x, cut = features.sample(key, count), SMALL[kind].features
    assert_moments(SMALL[kind], x[:, :cut])
    assert_moments(LARGE[kind], x[:, cut:])


@each_small
@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside another set"])
def test_what_the_kernel_draws_has_the_moments(name: str, beside: bool):
    sets = [SMALL[name], tg.Independent(20, 0.3)] if beside else [SMALL[name]]
    with KernelEngine([spec(*sets)]) as running:
        x = running.batches(1, 2000).reshape(-1, sum(each.features for each in sets))
    assert_moments(SMALL[name], x[:, : SMALL[name].features])
    if name == "hierarchy":
        given = SMALL[name]
        expected = reference.hierarchy(TREE, given.densities, given.exclusive)
        counts = reference.of_samples(x[:, :8])
        possible = expected * len(x) > 5
        assert counts[expected == 0].sum() == 0
        scale = counts[possible].sum() / expected[possible].sum()
        assert scipy.stats.chisquare(counts[possible], expected[possible] * scale).pvalue > 1e-5
    if name.startswith("exactly-k"):
        assert set((x[:, : SMALL[name].features] > 0).sum(1)) == {0, SMALL[name].k}


@pytest.mark.parametrize("name", ["kernel", "jax"])
def test_what_is_drawn_of_another_law(name: str):
    law = tg.HalfNormalMagnitude(2)
    small = SMALL["copula"].replace(magnitude=law)
    sets = [small, LARGE["copula"].replace(magnitude=law), tg.Correlated(2, 0.3)] if name == "jax" else [small]
    with {"kernel": KernelEngine, "jax": JaxEngine}[name]([spec(*sets)]) as running:
        features = tg.FeatureDistribution(sets)
        x = np.asarray(running.batches(1, 1500).reshape(-1, features.n), np.float64)
    for found, expected, spread in (
        (x.mean(0), features.first_moment(), x.std(0)),
        ((x.T @ x / len(x))[0], features.second_moment()[0], (x * x[:, :1]).std(0)),
    ):
        assert np.abs((found - expected) / spread).max() * np.sqrt(len(x)) < 5
    assert scipy.stats.kstest(x[x[:, 0] > 0, 0][:20_000], scipy.stats.halfnorm(scale=2).cdf).pvalue > 1e-5


def test_what_jax_draws_with_and_without_tables_has_the_moments():
    sets = [*LARGE.values(), tg.Correlated(2, 0.2), *SMALL.values()]
    with JaxEngine([spec(*sets)]) as running:
        x = running.batches(0, 1000).reshape(-1, sum(each.features for each in sets))
    for each, own in zip(sets, np.split(x, np.cumsum([each.features for each in sets])[:-1], axis=1), strict=True):
        assert_moments(each, own)


@each_small
def test_the_exact_loss_against_samples(name: str):
    features = tg.FeatureDistribution([SMALL[name], tg.Independent(1, 0.2)])
    W, b = 0.5 * RNG.normal(size=(features.n, 3)), 0.1 * RNG.normal(size=features.n)
    loss, error = tg.population_loss(W, b, features, tol=1e-7, with_error=True)
    mean, deviation = sampled_loss(W, b, features, 1_000_000, 5)
    assert error < 1e-7
    assert abs(mean - loss) < 4 * deviation


@pytest.mark.parametrize("name", ["exactly-k", "hierarchy"])
def test_the_exact_loss_against_the_exact_fraction(name: str):
    given = {"exactly-k": tg.ExactlyK(5, 2, 0.6), "hierarchy": tg.Hierarchy(TREE[:5], 0.4)}[name]
    features = tg.FeatureDistribution([given])
    W, b = 0.5 * RNG.normal(size=(5, 2)), 0.1 * RNG.normal(size=5)
    loss, gradient = truth(W, b, features, 1)
    assert_allclose(tg.population_loss(W, b, features, tol=1e-10), loss, atol=1e-10)
    found = np.concatenate([each.ravel() for each in tg.population_gradient(W, b, features, tol=1e-9)])
    assert_allclose(found, gradient, atol=1e-8)


@pytest.mark.parametrize("name", [name for name in SMALL if "nodes" not in name])
def test_a_run_in_the_kernel(tmp_path: Path, name: str):
    given = spec(SMALL[name], snapshots=4)
    run = tg.train(given, out=tmp_path / "run.zarr")
    assert run.attrs["engine"] == "kernel"
    assert set(run.kind.values) == {SMALL[name].kind}
    assert_allclose(run.density, SMALL[name].active(), rtol=1e-12)
    exact = tg.population_loss_along(run)
    assert_allclose(run.loss, exact, rtol=0.1)
    assert (exact[:, -1] < 0.95 * exact[:, 0]).all()
    again = tg.load(tmp_path / "run.zarr")
    assert_array_equal(again.weights, run.weights)
    assert tg.Spec.from_json(again.attrs["spec"]) == given
    assert_array_equal(tg.population_loss_along(again), exact)


@each_kind
def test_a_run_without_a_table(tmp_path: Path, kind: str):
    given = spec(LARGE[kind], tg.Anticorrelated(2, 0.5))
    run = tg.train(given)
    assert run.attrs["engine"] == "jax"
    assert (run.loss.isel(step=-1) < 0.95 * run.loss.isel(step=0)).all()
    # The first evaluation is of the start, whose loss is a mean over samples.
    W, b = run.weights.values[1, 0].astype(float), run.bias.values[1, 0].astype(float)
    mean, deviation = sampled_loss(W, b, given.features, 200_000, 9)
    assert abs(run.loss.values[1, 0] - mean) < 5 * deviation * np.sqrt(200_000 / 8192)
    tg.save(run, tmp_path / "run.zarr")
    assert tg.Spec.from_json(tg.load(tmp_path / "run.zarr").attrs["spec"]) == given
    with pytest.raises(ValueError, match=r"^train\(engine='kernel'\): .* cannot draw .*, as .*; use engine='jax'$"):
        tg.train(given, engine="kernel")
    for other in (tg.Exact(), tg.Flow()):
        with pytest.raises(ValueError, match=r"there is no series of .* with this set, as .*; train with Sampled, and"):
            tg.train(given.replace(training=other))


def test_exact_training_and_flow():
    tree = tg.Hierarchy([-1, 0, 0], [0.5, 0.4, 0.6], exclusive=True)
    exact = tg.train(spec(tree, hidden=1, training=tg.Exact(), seeds=8))
    assert (exact.result == "converged").any()
    flow = tg.train(spec(tree, hidden=1, training=tg.Flow(steps=500), seeds=2, snapshots=1))
    losses = tg.population_loss_along(flow)
    assert (losses[:, -1] < losses[:, 0]).all()
    best = tg.best(exact)
    point = tg.critical_point(best.isel(step=-1))
    truly = truth(point.weights, point.bias, tg.FeatureDistribution([tree]), 1)
    assert_allclose(truly[1], 0, atol=1e-7)
    assert_allclose(truly[0], tg.population_loss_along(exact)[:, -1].min(), rtol=1e-9)


def test_a_grid_and_a_parameter_of_the_sets():
    grid = tg.grid(spec(tg.ExactlyK(6, 2, 0.6)), k=[1, 3])
    run = tg.train(grid)
    assert run.attrs["engine"] == "kernel"
    assert_allclose(run.density.sel(k=3), 0.3)
    assert_allclose(run.density.sel(k=1), 0.1)
    pair = tg.FeatureDistribution([tg.Copula(0.1, [[1, 0.5], [0.5, 1]])] * 2)
    assert_allclose(tg.vary(pair, "0.density", 0.3).density, [0.3, 0.3, 0.1, 0.1])


TOML = {
    "hidden": 2,
    "training": {"steps": 50},
    "features": [
        {"kind": "hierarchy", "parents": [-1, 0, 0], "density": [0.5, 0.4, 0.6], "exclusive": True, "copies": 2},
        {"kind": "exactly-k", "size": 5, "k": 2, "density": 0.4},
        {"kind": "copula", "density": 0.1, "correlation": [[1.0, 0.3], [0.3, 1.0]]},
        {"kind": "copula", "density": [0.1, 0.2], "factors": [[0.5, 0.1], [0.2, 0.3]]},
    ],
}


def test_from_a_file_and_the_command_line(tmp_path: Path):
    file = tmp_path / "run.toml"
    file.write_text(tomli_w.dumps(TOML))
    given = tg.Spec.from_toml(file)
    assert [each.kind for each in given.features.sets] == ["hierarchy"] * 2 + ["exactly-k", "copula", "copula"]
    assert tg.Spec.from_json(json.dumps(given.to_json())) == given
    assert given.override(["features.0.exclusive=false", "features.2.k=4"]).features.sets[2].k == 4
    changed = given.override({"features.3.correlation": [[1, 0], [0, 1]]})
    assert changed.features.sets[3] == tg.Copula(0.1, np.eye(2))
    with pytest.raises(ValueError, match=r"features\.2\.k=9\): features\.2\.k must be at most 5"):
        given.override(["features.2.k=9"])
    code, _, told = tegum("train", "run.toml", "--set", "features.2.density=0.9", "--out", "run.zarr", cwd=tmp_path)
    assert code == 0, told
    code, shown, told = tegum("show", "run.zarr", cwd=tmp_path)
    assert code == 0, told
    assert "2 × hierarchy, 1 × exactly-k, 2 × copula" in shown


def test_analyses_of_sets_with_a_table():
    features = tg.FeatureDistribution([SMALL["hierarchy"], tg.ExactlyK(4, 2, 0.5)])
    W = RNG.normal(size=(12, 4))
    x = features.sample(3, 400_000)
    x = x[(x[:, :8] > 0).any(1)]
    moments = tg.local_moments(features, 0)
    assert_allclose(moments.mean, x.mean(0), atol=0.005)
    assert_allclose(moments.covariance, np.cov(x.T), atol=0.003)
    assert tg.local_capture(W, features).shape == (2,)
    assert tg.interference_within(W, features).shape == (2,)
    assert tg.collapsed_sets(W, features).shape == (2,)
    assert tg.pca_likeness(W, features) < 1
