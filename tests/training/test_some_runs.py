"""Training only some of the runs of a Spec: each as it is among all, whatever is kept of it.

Those of the other engines are beside their changes: `exact/test_changes.py`, `flow/test_changes.py` and
`sampled/test_jax_engine.py`.
"""

from __future__ import annotations

import numpy as np
import pytest

import tegum as tg
from tegum.training.sizes import training_sizes

GENERATOR = np.random.default_rng(3)
STARTS = GENERATOR.standard_normal((20, 5, 2)) / 2, GENERATOR.standard_normal((20, 5)) / 10


def spec(**given):
    sets = [tg.PartiallyCorrelated(2, 0.1, 0.5), tg.Independent(3, 0.2)]
    training = tg.Sampled(steps=40, batch=32, evaluation=64, rate=0.01)
    return tg.Spec(**{"features": sets, "hidden": 2, "training": training, "snapshots": 4, "seeds": 20} | given)


def assert_selected(some, whole, runs):
    """All that training gives, by its values, and what says how it was trained, but for the time it took."""
    expected = whole.sel(seed=list(runs))
    assert set(some.variables) == set(expected.variables)
    for name in expected.variables:
        np.testing.assert_array_equal(some[name].values, expected[name].values, err_msg=str(name))
    taken = {"created", "wall_time_s"}
    assert {k: v for k, v in some.attrs.items() if k not in taken} == {
        k: v for k, v in whole.attrs.items() if k not in taken
    }


@pytest.fixture(scope="module")
def whole():
    return tg.train(spec())


# 17 of 20: neither lanes nor tasks of threads are full.
@pytest.mark.parametrize("runs", [[7], [19, 0, 5], range(2, 19), np.array([4, 3])])
def test_some_runs_are_what_is_selected_from_all(whole, runs):
    assert_selected(tg.train(spec(), runs=runs if isinstance(runs, range) else list(map(int, runs))), whole, runs)


@pytest.mark.parametrize("start", [STARTS, STARTS[0], tg.Start(STARTS[0][0], STARTS[1]), tg.Start(STARTS[0][0])])
def test_runs_have_their_own_starts(start):
    one = spec(start=start)
    run = tg.train(one, runs=[13, 2])
    assert_selected(run, tg.train(one), [13, 2])
    own = np.broadcast_to(one.start.arrays()[0], (20, 5, 2))[[13, 2]].astype(np.float32)
    np.testing.assert_array_equal(run.weights[:, 0], own)


def test_of_several_specs_and_of_a_grid():
    specs = [spec(), spec(base_seed=3)]
    assert_selected(tg.train(specs, runs=[4, 17]), tg.train(specs), [4, 17])
    grid = tg.grid(spec(), density=[0.1, 0.3], rate=[0.01, 0.02])
    run = tg.train(grid, runs=range(3))
    assert run.loss.dims == ("density", "rate", "seed", "step")
    assert_selected(run, tg.train(grid), range(3))


def test_segments_have_these_runs_and_go_on_with_them(whole):
    segments = list(tg.iterate(spec(), runs=[6, 1], segment_seconds=0.0))
    np.testing.assert_array_equal(segments[-1].state.weights, whole.weights[[6, 1], -1])
    *_, last = tg.iterate(spec(), segments[10].state, runs=[6, 1])
    np.testing.assert_array_equal(last.state.weights, whole.weights[[6, 1], -1])
    with pytest.raises(ValueError, match=r"^iterate\(state with weights: float32 of shape \(2, 5, 2\)\): .* need"):
        next(tg.iterate(spec(), segments[10].state, runs=[6]))


def test_they_are_stored_and_resumed(whole, tmp_path):
    out = tmp_path / "some.zarr"

    def stop(segment):
        if segment.state.step >= 15:
            raise KeyboardInterrupt

    with pytest.raises(tg.TrainingInterrupted):
        tg.train(spec(), runs=[9, 8], out=out, progress=stop)
    for others in ([8, 9], [9], None):
        with pytest.raises(ValueError, match=r"belongs to other runs of this Spec; continue with these, or remove"):
            tg.train(spec(), runs=others, out=out, resume=True)
    assert_selected(tg.train(spec(), runs=[9, 8], out=out, resume=True), whole, [9, 8])
    assert_selected(tg.load(out), whole, [9, 8])


def test_only_measures_of_them_are_kept(whole):
    form = lambda run: tg.polytope_names(run.weights.isel(step=-1))  # noqa: E731
    keep = {"last": lambda run: run.loss.isel(step=-1), "form": form}
    some, every = tg.train(spec(), runs=[12, 3, 4], keep=keep), tg.train(spec(), keep=keep)
    np.testing.assert_array_equal(some["last"], whole.loss[[12, 3, 4], -1])
    assert_selected(some, every, [12, 3, 4])
    grid = tg.grid(spec(), density=[0.1, 0.3])
    assert_selected(tg.train(grid, runs=[5], keep=keep), tg.train(grid, keep=keep), [5])


def test_measures_of_their_trajectory_are_those_of_a_selection(whole):
    some = tg.train(spec(), runs=[9, 8])
    np.testing.assert_array_equal(tg.population_loss_along(some), tg.population_loss_along(whole.sel(seed=[9, 8])))
    assert int(tg.best(some).seed) in (8, 9)


def test_memory_is_that_of_some():
    every, some = (training_sizes([each], "kernel", 1) for each in (spec(), spec().some_runs([3, 11])))
    assert some.state * 10 == every.state
    assert some.trajectory < every.trajectory / 5


@pytest.mark.parametrize(
    ("runs", "rule"),
    [
        ([], "there must be at least one run"),
        ([1, 2, 1], "every run must be named once, and 1 is named twice"),
        ([-1], "there is no run -1; runs are 0 to 19, as seeds is 20"),
        ([0, 20], "there is no run 20; runs are 0 to 19, as seeds is 20"),
        (range(15, 25), "there is no run 20; runs are 0 to 19, as seeds is 20"),
        ([True], "runs must be a list of ints or None"),
        ([1.5], "runs must be a list of ints or None"),
        (3, "runs must be a list of ints or None"),
        ("12", "runs must be a list of ints or None"),
    ],
)  # fmt: skip
def test_runs_that_there_are_not(runs, rule):
    for call in (tg.train, tg.iterate):
        with pytest.raises(ValueError) as refused:  # noqa: PT011
            list(call(spec(), runs=runs))
        assert str(refused.value).startswith(f"{call.__name__}(runs=")
        assert str(refused.value).endswith(rule)
