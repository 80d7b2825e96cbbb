"""`iterate` and `train`: segments, Specs trained together, interruption, and what is refused."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import tegum as tg
from tegum.core.loss.empirical import empirical_gradient
from tegum.training.dataset import differences
from tegum.training.engine import together
from tegum.training.sampled.cpu import KernelEngine

PAIRS = [tg.Correlated(2, 0.1)] * 3


def spec(**changes):
    values = {"features": PAIRS, "hidden": 2, "training": tg.Sampled(steps=200), "snapshots": 10, "seeds": 3}
    return tg.Spec(**(values | changes))


def test_segments_cover_training_and_hold_every_snapshot_once():
    one = spec()
    segments = list(tg.iterate(one, segment_seconds=1e-4))
    assert len(segments) > 3
    assert segments[0].start == 0
    assert all(a.state.step == b.start for a, b in itertools.pairwise(segments))
    assert segments[-1].state.step == 200 == segments[-1].steps
    steps = np.concatenate([s.recorded.steps for s in segments])
    np.testing.assert_array_equal(steps, one.snapshots.at(200))
    weights = np.concatenate([s.recorded.weights for s in segments], axis=1)
    np.testing.assert_array_equal(weights, tg.train(one).weights)


def test_a_state_from_the_middle_goes_on_with_the_same_bits_and_is_left_as_it_is():
    one = spec()
    segments = list(tg.iterate(one, segment_seconds=1e-4))
    middle = segments[len(segments) // 2].state
    before = {name: value.copy() for name, value in middle.arrays().items()}
    *_, last = tg.iterate(one, middle)
    np.testing.assert_array_equal(last.state.weights, segments[-1].state.weights)
    for name, value in middle.arrays().items():
        np.testing.assert_array_equal(value, before[name])


def test_a_density_can_change_half_way():
    plain = tg.Sampled(steps=101, optimiser="sgd")
    first, second = spec(training=tg.Sampled(steps=100, optimiser="sgd")), [tg.Correlated(2, 0.9)] * 3
    *_, half = tg.iterate(first)
    changed = spec(features=second, training=plain)
    *_, whole = tg.iterate(changed, half.state)
    assert whole.state.step == 101
    x = KernelEngine([changed]).batches(1, 1, half.state)[0]
    assert abs((x > 0).mean() - 0.9) < 0.03
    expected = empirical_gradient(half.state.weights[1], half.state.bias[1], x)
    np.testing.assert_allclose(whole.state.first[1, :12].reshape(6, 2), expected[0], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(whole.state.first[1, 12:], expected[1], rtol=1e-4, atol=1e-6)


def test_a_finished_state_and_no_steps_at_all_give_one_segment():
    one = spec(training=tg.Sampled(steps=0))
    (only,) = tg.iterate(one)
    np.testing.assert_array_equal(only.recorded.steps, [0])
    run = tg.train(one)
    assert run.sizes["step"] == 1
    assert (run.result == "completed").all()
    np.testing.assert_array_equal(run.weights[:, 0], only.state.weights)


def test_several_specs_give_what_each_gives_alone():
    specs = [
        spec(),
        spec(features=[tg.Correlated(2, 0.3)] * 3),
        spec(features=[tg.Independent(6, 0.2, 2.0)], training=tg.Sampled(steps=200, rate=0.01, schedule="linear")),
        spec(base_seed=7, initial_scale=0.1),
    ]
    together = tg.train(specs)
    assert dict(together.sizes) == {"spec": 4, "seed": 3, "step": 11, "feature": 6, "hidden": 2}
    for number, one in enumerate(specs):
        alone = tg.train(one)
        np.testing.assert_array_equal(together.weights[number], alone.weights)
        np.testing.assert_array_equal(together.loss[number], alone.loss)
        np.testing.assert_array_equal(together.density[number], alone.density)
        np.testing.assert_array_equal(together.importance[number], alone.importance)
    np.testing.assert_array_equal(together["base_seed"], [0, 0, 0, 7])
    np.testing.assert_array_equal(together["training.rate"], [1e-3, 1e-3, 0.01, 1e-3])


def test_a_density_of_all_sets_is_one_coordinate():
    run = tg.train([spec(features=[tg.Correlated(2, p)] * 3) for p in (0.1, 0.2)])
    np.testing.assert_array_equal(run["features.density"], [0.1, 0.2])
    assert [name for name, coordinate in run.coords.items() if coordinate.dims == ("spec",)] == ["features.density"]


def test_differences_of_types_that_do_not_mix_are_text():
    assert differences([{"a": None, "b": 1}, {"a": [0.5], "b": 1, "c": 2}]) == {"a": ["", "[0.5]"], "c": [np.nan, 2]}


def test_a_trajectory_knows_where_it_comes_from():
    one = spec()
    run = tg.train(one, threads=1)
    assert tg.Spec.from_json(json.loads(run.attrs["spec"])) == one
    assert run.attrs["spec_hash"] == one.hash
    assert run.attrs["engine"] == "kernel"
    assert run.attrs["threads"] == 1
    assert run.attrs["tegum_version"] == tg.__version__
    np.testing.assert_array_equal(run.set, [0, 0, 1, 1, 2, 2])
    np.testing.assert_array_equal(run.density, 0.1)


def test_an_interrupted_training_keeps_what_is_done():
    one = spec(training=tg.Sampled(steps=100_000), snapshots=100)
    seen = []

    def interrupt(segment):
        seen.append(segment.state.step)
        if len(seen) == 3:
            raise KeyboardInterrupt

    with pytest.raises(tg.TrainingInterrupted) as caught:
        tg.train(one, progress=interrupt)
    run = caught.value.run
    assert (run.result == "interrupted").all()
    # isel(step=-1) is each run's final state, here too.
    steps = one.snapshots.at(100_000)
    np.testing.assert_array_equal(run.step, steps[steps <= seen[-1]])
    assert np.isfinite(run.loss).all()
    assert isinstance(caught.value, KeyboardInterrupt)


def test_several_callers_at_once_get_what_each_gets_alone():
    specs = [spec(base_seed=k) for k in range(4)]
    barrier = threading.Barrier(4)

    def call(one):
        barrier.wait()
        return tg.train(one, threads=2)

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(call, specs))
    for one, run in zip(specs, together, strict=True):
        np.testing.assert_array_equal(run.weights, tg.train(one).weights)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: tg.train([]), "train([]): at least one Spec must be given"),
        (
            lambda: inspect.unwrap(together)(None),
            "train(None): must be given a Spec, a list of Specs, or a grid of them",
        ),
        (lambda: inspect.unwrap(together)([spec(), 3]), "train([…]): item 1, 3, must be a Spec"),
        (lambda: tg.train([spec(), spec(hidden=3)]), "Specs 0 and 1 differ in hidden (2 and 3)"),
        (
            lambda: tg.train([spec(), spec(training=tg.Sampled(steps=200, batch=512))]),
            "Specs 0 and 1 differ in training.batch (1024 and 512)",
        ),
        (lambda: tg.train([spec(), spec(features=[tg.Independent(5, 0.1)])]), "the number of features (6 and 5)"),
        (lambda: tg.train([spec(), spec(snapshots=5)]), "differ in snapshots"),
        (lambda: tg.train(spec(), threads=0), "train(threads=0): threads must be an int of at least 1"),
        (
            lambda: inspect.unwrap(tg.train)(spec(), engine="gpu"),
            "train(engine='gpu'): engine must be 'auto', 'kernel' or 'jax'",
        ),
    ],
)
def test_what_is_refused(call, sentence):
    with pytest.raises(ValueError, match=r"^train\(") as caught:
        call()
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_state_that_does_not_fit_is_refused():
    *_, last = tg.iterate(spec())
    with pytest.raises(ValueError, match=r"engine 'kernel' need float32 of shape \(4, 6, 2\)"):
        next(tg.iterate(spec(seeds=4), last.state))
    with pytest.raises(ValueError, match=r"training\.steps is 100, which is less"):
        next(tg.iterate(spec(training=tg.Sampled(steps=100)), last.state))
    # Another engine's stream, or moments of another model, would be read beyond their ends.
    short = np.zeros((3, 3), np.float32)
    for name, values in {
        "stream": {"stream": last.state.stream[:, :2].copy()},
        "first": {"first": short, "second": short},
    }.items():
        with pytest.raises(ValueError, match=rf"^iterate\(state with {name}: "):
            next(tg.iterate(spec(), dataclasses.replace(last.state, **values)))


def test_given_starts_are_one_coordinate():
    starts = [np.full((6, 2), value) for value in (0.1, 0.2)]
    run = tg.train([spec(start=start, training=tg.Sampled(steps=0)) for start in starts])
    assert {name for name, coordinate in run.coords.items() if coordinate.dims == ("spec",)} == {"start.weights"}
    assert len(set(run["start.weights"].values)) == 2


def test_densities_of_each_feature_are_one_coordinate():
    run = tg.train([spec(features=[tg.Independent(6, [p] * 6)], training=tg.Sampled(steps=0)) for p in (0.1, 0.2)])
    np.testing.assert_array_equal(run["features.density"], [str([p] * 6) for p in (0.1, 0.2)])


@pytest.mark.parametrize("engine", ["kernel", "jax"])
def test_parameters_that_are_not_finite_are_never_called_completed(engine):
    # One step of SGD takes the bias to −∞, whose ReLU and whose loss are finite.
    run = tg.train(
        spec(
            features=[tg.Independent(4, 0.5, 1e9)],
            start=(np.zeros((4, 2)), np.full(4, 0.5)),
            training=tg.Sampled(steps=1, optimiser="sgd", rate=1e30),
            snapshots=[0, 1],
        ),
        engine=engine,
    )
    assert (run.result == "diverged").all()
    assert np.isfinite(run.bias[:, 0]).all()
    assert np.isnan(run.bias[:, 1]).all()
