"""Models trained in PyTorch as trajectories: equal to those of tg.train, and read by everything that reads them."""

from __future__ import annotations

import copy
import re

import numpy as np
import pytest
import torch
import xarray as xr
from numpy.testing import assert_allclose, assert_array_equal

import tegum as tg
from tegum.torch import Samples, ToyModel, to_run

PAIRS = tg.FeatureDistribution([tg.Correlated(size=2, density=0.2, importance=[1.0, 0.5])] * 2)
SPEC = tg.Spec(features=PAIRS, hidden=2, training=tg.Sampled(steps=40), seeds=3, snapshots=[0, 20, 40])


@pytest.fixture(scope="module")
def run():
    return tg.train(SPEC, progress=False)


def states(run):
    return {int(step): ToyModel.from_run(run, step=int(step)) for step in run.step}


def test_there_and_back(run):
    back = to_run(states(run), SPEC)
    left_out = ["loss"]
    xr.testing.assert_identical(back.drop_vars(left_out).drop_attrs(), run.drop_vars(left_out).drop_attrs())
    assert back.attrs["engine"] == "torch"
    assert "torch" in back.attrs["versions"]
    assert (back.attrs["spec"], back.attrs["spec_hash"]) == (run.attrs["spec"], run.attrs["spec_hash"])
    # Two samples of the same size: within five standard errors of each other, of which each has its own.
    error = np.sqrt(2) * tg.loss_error(run, progress=False)
    assert (abs(back.loss - run.loss) < 5 * error).all()
    assert_array_equal(tg.population_loss_along(back, progress=False), tg.population_loss_along(run, progress=False))


@pytest.mark.parametrize("training", [SPEC.training, tg.Exact(steps=40, optimiser="adam", rate=0.01)])
def test_what_changes_on_the_way_is_known_at_each_step(training):
    changes = [{"step": 20, "sets": [{"set": 0, "density": 0.5, "importance": [1.0, 0.25]}]}]
    changing = SPEC.replace(changes=changes, training=training)
    run = tg.train(changing, progress=False)
    back = to_run(states(run), changing)
    left_out = ["loss", "converged_at"] if training.converges else ["loss"]
    xr.testing.assert_identical(back.drop_vars(left_out).drop_attrs(), run.drop_vars(left_out).drop_attrs())
    assert back.density.dims == ("step", "feature")
    # The exact loss, or within five standard errors of a sample of the same size.
    error = np.sqrt(2) * tg.loss_error(run, progress=False) + 1e-7
    assert (abs(back.loss - run.loss) < 5 * error).all()


def test_what_reads_trajectories_reads_it(run, tmp_path):
    back = to_run(ToyModel.from_run(run), SPEC)
    assert back.step.values.tolist() == [40]
    tg.save(back, tmp_path / "run.zarr")
    xr.testing.assert_identical(tg.load(tmp_path / "run.zarr").load().drop_attrs(), back.drop_attrs())
    assert int(tg.best(back, progress=False).seed) == int(tg.best(run, progress=False).seed)
    assert_array_equal(tg.dimensionality(back.weights), tg.dimensionality(run.weights.isel(step=[-1])))


def test_the_loss_is_exact_where_the_spec_trains_on_it():
    spec = tg.Spec(features=PAIRS, hidden=2, training=tg.Exact(steps=3), seeds=3)
    run = tg.train(spec, progress=False)
    back = to_run(ToyModel.from_run(run), spec)
    assert_allclose(back.loss, run.loss.isel(step=[-1]), rtol=1e-7)
    assert back.weights.dtype == np.float64
    assert set(back.converged_at.values) == {-1}
    flow = tg.Spec(features=PAIRS, hidden=2, training=tg.Flow(duration=1.0, steps=4), initial_scale=0.1, seeds=3)
    run = tg.train(flow, progress=False)
    back = to_run(states(run), flow)
    assert_array_equal(back.time, run.time)
    assert_allclose(back.loss, run.loss, rtol=1e-6)


def test_states_of_one_run_in_training():
    spec = tg.Spec(features=PAIRS, hidden=2, training=tg.Sampled(steps=30))
    model = ToyModel.from_spec(spec)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    kept = {0: copy.deepcopy(model.state_dict())}
    for step, x in enumerate(Samples(PAIRS, 256, batches=30), 1):
        optimiser.zero_grad()
        model.loss(x, PAIRS.importance).sum().backward()
        optimiser.step()
        if step % 10 == 0:
            kept[step] = copy.deepcopy(model.state_dict())
    run = to_run(kept, spec, wall_time_s=2.5)
    assert run.step.values.tolist() == [0, 10, 20, 30]
    assert run.attrs["wall_time_s"] == 2.5
    exact = tg.population_loss_along(run, progress=False)
    assert float(exact.isel(step=-1).item()) < float(exact.isel(step=0).item())
    # The same state without an axis for the only run.
    single = ToyModel(model.weights[0], model.bias[0])
    assert_array_equal(to_run(single, spec).weights, run.weights.isel(step=[-1]))


def test_a_diverged_run_is_marked_and_the_others_stay(run):
    kept = {step: copy.deepcopy(model.state_dict()) for step, model in states(run).items()}
    kept[20]["weights"][1, 0, 0] = np.nan
    back = to_run(kept, SPEC)
    assert back.result.values.tolist() == ["completed", "diverged", "completed"]
    assert back.diverged_at.values.tolist() == [-1, 20, -1]
    assert np.isfinite(back.weights.sel(seed=[0, 2])).all()
    assert np.isfinite(back.loss.sel(seed=1)).values.tolist() == [True, False, False]
    assert np.isnan(back.bias.sel(seed=1, step=[20, 40])).all()


def state(**changed):
    return {"weights": torch.ones(3, 4, 2), "bias": torch.ones(3, 4)} | changed


@pytest.mark.parametrize(
    ("models", "sentence"),
    [
        ({}, "to_run(models with the steps []): steps must be ints from 0 to 40, the last one of the Spec"),
        ({41: ToyModel(np.ones((3, 4, 2)))}, "to_run(models with the steps [41]): steps must be ints from 0 to 40"),
        ({5: state(bias=torch.ones(4))}, "to_run(step 5: bias of shape (4,)): bias must have the shape (3, 4), as"),
        (
            {5: state(weights=torch.ones(3, 4, 2) * 1j)},
            "to_run(step 5: weights of complex64): weights must be an array",
        ),
        ({5: state(weights=None)}, "to_run(step 5: weights=None): weights must be an array of real numbers"),
        ({-1: ToyModel(np.ones((3, 4, 2)))}, "to_run(models with the steps [-1])"),
        (ToyModel(np.ones((4, 4, 2))), "to_run(step 40: weights of shape (4, 4, 2)): the Spec has (3, 4, 2)"),
        (ToyModel(np.ones((3, 4, 2)), activation="linear"), "to_run(model with the activation 'linear'): the Spec has"),
        ({5: {"W": torch.ones(2)}}, "to_run(step 5: ['W']): a state must be a ToyModel, or have its weights and bias"),
    ],
)
def test_what_does_not_fit_the_spec_is_refused_in_a_sentence(models, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        to_run(models, SPEC)


@pytest.mark.parametrize("wrong", [-1.0, np.nan, np.inf])
def test_a_wall_time_is_a_time(wrong):
    with pytest.raises(
        ValueError, match=rf"to_run\(wall_time_s={wrong}\): wall_time_s must be a number of seconds, or"
    ):
        to_run(ToyModel(np.ones((3, 4, 2))), SPEC, wall_time_s=wrong)


def test_states_in_half_precision_are_kept_in_single():
    back = to_run({40: state(weights=torch.full((3, 4, 2), 1 / 3).bfloat16())}, SPEC)
    assert back.weights.dtype == np.float32
    assert (back.weights == 171 / 512).all()  # 1/3 to eight bits
