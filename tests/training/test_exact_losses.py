"""The population loss along a trajectory."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import xarray as xr
from reference.population_truth import truth

import tegum as tg
from tegum.training.dataset import spec_of, specs_of

PAIRS = tg.FeatureDistribution([tg.Correlated(2, 0.1)] * 2)
SPEC = tg.Spec(features=PAIRS, hidden=2, seeds=3, training=tg.Sampled(steps=300), snapshots=3)


@pytest.fixture(scope="module")
def run():
    return tg.train(SPEC)


def test_every_snapshot_agrees_with_the_truth(run) -> None:
    loss = tg.population_loss_along(run, tol=1e-10)
    assert loss.dims == ("seed", "step")
    assert loss.dtype == np.float64
    for seed in range(3):
        for step in range(4):
            here = run.isel(seed=seed, step=step)
            exact = truth(here.weights.values.astype(float), here.bias.values.astype(float), PAIRS)
            assert abs(float(loss[seed, step]) - exact) <= 1e-10


def test_the_recorded_loss_scatters_around_it(run) -> None:
    loss = tg.population_loss_along(run)
    # 4,096 evaluation samples; a sample's loss is at most of the order of the loss at a start.
    assert float(np.abs(run.loss - loss).max()) < 0.1 * float(loss.max())
    assert float(np.abs(run.loss - loss).max()) > 0


def test_one_run_one_snapshot_and_several_specs(run) -> None:
    whole = tg.population_loss_along(run)
    assert float(tg.population_loss_along(run.isel(seed=1, step=-1))) == float(whole[1, -1])
    several = tg.train([SPEC, SPEC.override({"features.density": 0.4})])
    loss = tg.population_loss_along(several, threads=1)
    assert loss.dims == ("spec", "seed", "step")
    np.testing.assert_array_equal(loss.isel(spec=0), whole)
    here = several.isel(spec=1, seed=2, step=-1)
    features = tg.FeatureDistribution([tg.Correlated(2, 0.4)] * 2)
    exact = truth(here.weights.values.astype(float), here.bias.values.astype(float), features)
    assert abs(float(loss[1, 2, -1]) - exact) <= 1e-8
    with pytest.raises(ValueError, match="holds runs of 1 of its 2 Specs"):
        tg.population_loss_along(several.isel(spec=1).drop_vars("spec_hash"))


def test_the_linear_model_and_a_diverged_run() -> None:
    linear = tg.train(SPEC.replace(activation="linear"))
    loss = tg.population_loss_along(linear)
    assert float(np.abs(linear.loss - loss).max()) < 0.1 * float(loss.max())
    wild = tg.train(SPEC.replace(training=tg.Sampled(steps=300, optimiser="sgd", rate=1e6)))
    assert set(wild.result.values) == {"diverged"}
    assert np.isnan(tg.population_loss_along(wild).values[:, -1]).all()


def test_numbers_may_be_numpy_s(run) -> None:
    along = inspect.unwrap(tg.population_loss_along)
    whole = along(run)
    np.testing.assert_allclose(along(run, tol=np.float32(1e-8), threads=np.int64(1)), whole, rtol=0, atol=2e-8)
    assert np.isfinite(along(run, tol=np.int64(1))).all()


def test_progress_counts_snapshots(run) -> None:
    seen: list[tuple[int, int]] = []
    tg.population_loss_along(run, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(12, 12)]


def test_refusals(run) -> None:
    along = inspect.unwrap(tg.population_loss_along)
    for bad, sentence in (
        ({"tol": -1.0}, r"population_loss_along\(tol=-1.0\): tol must be a positive finite number"),
        ({"tol": 1e-19}, "tol cannot be reached"),
        ({"threads": 0}, r"population_loss_along\(threads=0\): threads must be an int of at least 1"),
    ):
        with pytest.raises(ValueError, match=sentence):
            along(run, **bad)
    with pytest.raises(ValueError, match="the attribute 'spec' is missing"):
        along(run.drop_attrs())
    with pytest.raises(ValueError, match="run must have the variable bias"):
        along(run.drop_vars("bias"))


def test_dimensions_in_any_order_and_features_in_their_own(run) -> None:
    whole = tg.population_loss_along(run)
    for name in ("weights", "bias"):
        turned = run.assign({name: run[name].transpose("step", "seed", ...)})
        loss = tg.population_loss_along(turned)
        np.testing.assert_array_equal(loss.transpose(*whole.dims), whole)
    with pytest.raises(ValueError, match="its features are not those of the Spec"):
        tg.population_loss_along(run.isel(feature=[0, 2, 1, 3]))
    with pytest.raises(ValueError, match="must be a Spec as JSON"):
        tg.population_loss_along(run.assign_attrs(spec="nonsense"))


@pytest.fixture(scope="module")
def sweep():
    """Three densities that differ in everything one measures, and their exact losses by an independent sum."""
    training = tg.Sampled(steps=20, batch=32, evaluation=32)
    specs = [
        tg.Spec(features=[tg.Independent(2, [density, density / 2])], hidden=1, seeds=2, training=training, snapshots=1)
        for density in (0.05, 0.3, 0.6)
    ]
    run = tg.train(specs)
    exact = np.empty((3, 2, 2))
    for i, j, k in np.ndindex(exact.shape):
        here = run.isel(spec=i, seed=j, step=k)
        exact[i, j, k] = truth(here.weights.values.astype(float), here.bias.values.astype(float), specs[i].features)
    return run, exact


def test_runs_keep_their_spec_in_any_order_and_selection(sweep) -> None:
    run, exact = sweep
    for order in ([2, 0, 1], [1, 1], [2]):
        found = tg.population_loss_along(run.isel(spec=order), tol=1e-9)
        np.testing.assert_allclose(found.values, exact[order], atol=1e-9)
        best = tg.best(run.isel(spec=order))
        np.testing.assert_allclose(best.best_value.values, exact[order, :, -1].min(1), atol=1e-6)
    np.testing.assert_allclose(tg.population_loss_along(run.isel(spec=1, seed=0), tol=1e-9), exact[1, 0], atol=1e-9)


def test_runs_of_other_specs_that_were_joined_to_some_are_refused(sweep) -> None:
    run, _ = sweep
    one, other = (run.isel(spec=number, seed=[0]) for number in (0, 1))
    for joined in (
        xr.concat([one, other], "seed", coords="different", compat="equals"),
        xr.concat([one, other], "seed", coords="minimal", compat="override"),
        xr.concat([run.isel(spec=[0, 1]), run.isel(spec=[1, 2])], "seed", coords="minimal", compat="override"),
    ):
        for call in (tg.population_loss_along, tg.best, tg.loss_error):
            with pytest.raises(ValueError, match=r"runs of other Specs than its attribute 'spec' describes"):
                call(joined)
    # Runs of one Spec may be joined as one likes.
    twice = xr.concat([one, one], "seed", coords="minimal", compat="override")
    assert tg.population_loss_along(twice).shape == (2, 2)


def test_features_in_another_order_are_refused_even_without_their_numbers(sweep) -> None:
    turned = sweep[0].isel(feature=[1, 0]).drop_vars("feature")
    with pytest.raises(
        ValueError, match=r"density is not that of its Spec: its features are in another order than in "
    ):
        tg.population_loss_along(turned)


def test_specs_are_told_in_the_order_of_the_runs(sweep) -> None:
    run, _ = sweep
    densities = [each.features.density[0] for each in specs_of(run.isel(spec=[2, 0]))]
    assert densities == [0.6, 0.05]
    assert spec_of(run.isel(spec=1)).features.density[0] == 0.3
    with pytest.raises(ValueError, match=r"its runs belong to 3 Specs"):
        spec_of(run)
