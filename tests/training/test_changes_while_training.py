"""Changes while runs train: what every engine makes of them, and what reads trajectories afterwards.

Those of the exact methods and of JAX are in `exact/test_changes.py`, `flow/test_changes.py` and
`sampled/test_jax_engine.py`.
"""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import pytest

import tegum as tg
from tegum.analysis.report import describe, last_snapshots
from tegum.training.compare import known_loss
from tegum.training.engine import together
from tegum.training.sizes import trajectory_bytes

pytestmark = pytest.mark.quick_form

SETS = [tg.PartiallyCorrelated(2, 0.1, 0.5), tg.Independent(3, 0.2)]
CHANGES = [
    {"step": 40, "rate": 0.02, "sets": [{"set": 0, "density": 0.3, "strength": 0.1}]},
    {"step": 75, "sets": [{"set": 1, "importance": [1, 0.5, 0.25]}]},
]
WAYS = {
    "adamw": tg.Sampled(steps=100, batch=64, evaluation=128, rate=0.01, schedule="cosine", warmup=50),
    "sgd": tg.Sampled(steps=100, batch=64, evaluation=128, rate=0.05, optimiser="sgd", momentum=0.5),
}


def spec(training=WAYS["adamw"], **given):
    values = {"features": SETS, "hidden": 2, "training": training, "seeds": 5, "snapshots": 10, "changes": CHANGES}
    return tg.Spec(**(values | given))


def equal(one, other, names=("weights", "bias", "loss")):
    return all(np.array_equal(one[name].values, other[name].values, equal_nan=True) for name in names)


def by_hand(changing):
    """Weights and biases at all snapshots: each part trained by a Spec without changes, from the state before."""
    state, weights, biases = None, [], []
    for begin, end in pairwise((0, *changing.changed_at, changing.training.steps)):
        plain = changing.in_force(begin)
        for segment in tg.iterate(plain, state, segment_seconds=0.0):
            if segment.state.step > end:
                break
            state = segment.state
            weights.append(segment.recorded.weights)
            biases.append(segment.recorded.bias)
            if state.step == end:
                break
    return np.concatenate(weights, 1), np.concatenate(biases, 1)


@pytest.fixture(scope="module")
def changed():
    return tg.train(spec())


@pytest.mark.parametrize("way", WAYS)
def test_a_run_goes_on_as_with_another_spec(way):
    run = tg.train(spec(WAYS[way]))
    weights, bias = by_hand(spec(WAYS[way]))
    np.testing.assert_array_equal(run.weights, weights)
    np.testing.assert_array_equal(run.bias, bias)
    assert not equal(run, tg.train(spec(WAYS[way], changes=[])), ["weights"])


def test_the_loss_at_a_change_is_already_that_of_the_changed_features(changed):
    # The evaluation sample is the same for every step and run, so that a run that starts there has the same loss.
    for step in (0, 30, 40, 70, 80, 100):
        there = changed.sel(step=step)
        plain = (
            spec()
            .in_force(step)
            .replace(
                start=(there.weights.values, there.bias.values), training=tg.Sampled(steps=0, batch=64, evaluation=128)
            )
        )
        np.testing.assert_array_equal(tg.train(plain).loss[:, 0], there.loss)


def test_bits_depend_neither_on_segments_nor_on_threads_nor_on_where_it_was_resumed(changed):
    segments = list(tg.iterate(spec(), segment_seconds=0.0))
    np.testing.assert_array_equal(np.concatenate([each.recorded.loss for each in segments], 1), changed.loss)
    ends = [each.state.step for each in segments]
    for step in (39, 40, 41, 75):
        at = next(place for place, end in enumerate(ends) if end >= step)
        *_, last = tg.iterate(spec(), segments[at].state, segment_seconds=10.0)
        np.testing.assert_array_equal(last.state.weights, changed.weights[:, -1])
    assert equal(tg.train(spec(), threads=1), changed)
    assert equal(tg.train(spec(), threads=3), changed)


def test_changes_to_what_is_in_force_change_no_bit():
    same = [{"step": 30, "rate": 0.01, "sets": [{"set": 0, "density": 0.1}]}, {"step": 40}]
    assert equal(tg.train(spec(changes=same)), tg.train(spec(changes=[])))


def test_a_change_at_the_start_and_one_at_the_end():
    start = spec(changes=[{"step": 0, "rate": 0.02, "sets": [{"set": 1, "density": 0.4}]}])
    assert equal(tg.train(start), tg.train(start.in_force(0)))
    end = tg.train(spec(changes=[{"step": 100, "sets": [{"set": 1, "density": 0.4}]}]))
    plain = tg.train(spec(changes=[]))
    assert equal(end, plain, ["weights", "bias"])
    assert equal(end.isel(step=slice(-1)), plain.isel(step=slice(-1)))
    assert (end.loss[:, -1] != plain.loss[:, -1]).all()


def test_an_interrupted_training_is_resumed_after_a_change(changed, tmp_path):
    def stop(segment):
        if segment.state.step >= 50:
            raise KeyboardInterrupt

    with pytest.raises(tg.TrainingInterrupted):
        tg.train(spec(), out=tmp_path / "run.zarr", progress=stop)
    resumed = tg.train(spec(), out=tmp_path / "run.zarr", resume=True)
    assert equal(resumed, changed)
    stored = tg.load(tmp_path / "run.zarr")
    assert equal(stored, changed, ["weights", "loss", "density", "importance"])
    assert tg.Spec.from_json(stored.attrs["spec"]) == spec()


def test_densities_and_importances_are_those_of_each_step(changed):
    assert changed.density.dims == changed.importance.dims == ("step", "feature")
    for step in changed.step.values.tolist():
        features = spec().in_force(step).features
        np.testing.assert_array_equal(changed.density.sel(step=step), features.density)
        np.testing.assert_array_equal(changed.importance.sel(step=step), features.importance)
    # A rate that changes leaves them as they are, and so do changes after the last recorded step.
    for changes in ([{"step": 10, "rate": 0.5}], []):
        assert tg.train(spec(changes=changes)).density.dims == ("feature",)


def test_exact_losses_are_those_of_the_features_in_force(changed):
    expected = np.stack(
        [
            tg.population_loss(changed.weights.sel(step=step).values, changed.bias.sel(step=step).values,
                               spec().in_force(step).features)
            for step in changed.step.values.tolist()
        ],
        axis=1,
    )  # fmt: skip
    parts = [
        changed,
        changed.isel(step=slice(3, 9)),
        changed.isel(step=-1),
        changed.isel(seed=2),
        last_snapshots(changed),
    ]
    found = [expected, expected[:, 3:9], expected[:, -1], expected[2], expected[:, -1]]
    for part, values in zip(parts, found, strict=True):
        np.testing.assert_allclose(tg.population_loss_along(part), values, atol=2e-8)
    known = known_loss(changed)
    assert known.exact
    np.testing.assert_allclose(known.loss, expected, atol=2e-8)
    best = tg.best(changed)
    assert int(best.seed) == expected[:, -1].argmin()
    # The recorded loss is a mean over 128 samples.
    assert float(np.abs(changed.loss - expected).max() / tg.loss_error(changed).max()) < 6


def test_the_error_of_the_loss_is_that_of_the_features_in_force(changed):
    plain = changed.isel(step=[-1]).assign_coords(density=("feature", spec().in_force(100).features.density))
    plain = plain.assign_coords(importance=("feature", spec().in_force(100).features.importance))
    alone = tg.train(spec().in_force(100)).attrs
    plain = plain.assign_attrs(spec=alone["spec"], spec_hash=alone["spec_hash"]).drop_vars("spec_hash")
    np.testing.assert_array_equal(tg.loss_error(changed.isel(step=[-1])), tg.loss_error(plain))


def test_what_depends_on_the_step_is_refused_without_it(changed):
    bare = changed.isel(step=-1).drop_vars("step")
    with pytest.raises(ValueError, match="the coordinate step is missing, and its Spec has changes"):
        tg.population_loss_along(bare)
    one = changed.isel(seed=0, step=-1)
    with pytest.raises(
        ValueError, match=r"^critical_point\(dataset\): its Spec has changes, so that the features depend"
    ):
        tg.critical_point(one)
    mixed = changed.assign_coords(importance=(("step", "feature"), changed.importance.values[:, ::-1]))
    with pytest.raises(ValueError, match="importance is not that of its Spec"):
        tg.population_loss_along(mixed)


def test_the_changes_are_among_what_is_said_of_a_trajectory(changed):
    rows = dict(describe(changed))
    assert rows["changes"] == (
        "at step 40 rate 0.02, set 0 density 0.3, set 0 strength 0.1; at step 75 set 1 importance [1.0, 0.5, 0.25]"
    )
    assert rows["density of a feature"] == "0.1 … 0.3"
    assert "changes" not in dict(describe(tg.train(spec(changes=[], seeds=1))))


def test_several_specs_with_changes_at_the_same_steps_give_what_each_gives_alone(changed):
    other = spec(changes=[{"step": 40, "rate": 0.001}, {"step": 75, "sets": [{"set": 1, "density": 0.5}]}])
    run = tg.train([spec(), other])
    assert run.density.dims == ("spec", "step", "feature")
    assert equal(run.isel(spec=0), changed, ["weights", "bias", "loss", "density", "importance"])
    assert equal(run.isel(spec=1), tg.train(other))
    losses = tg.population_loss_along(run)
    np.testing.assert_array_equal(losses[0], tg.population_loss_along(changed))
    grid = tg.train(tg.grid(spec(), {"changes.0.rate": [0.02, 0.5]}))
    assert equal(grid.isel({"changes.0.rate": 0}), changed)


def test_specs_that_change_at_other_steps_are_not_trained_together():
    for other in (spec(changes=[]), spec(changes=CHANGES[:1])):
        sentence = (
            r"^train\(\[…\]\): Specs 0 and 1 differ in the steps of changes \(\(40, 75\) and \(.*\)\); Specs trained"
        )
        with pytest.raises(ValueError, match=sentence):
            tg.train([spec(), other])
    # The first density is what the change leads to: nothing happens there.
    grid = tg.grid(spec(changes=[{"step": 40, "sets": [{"set": 1, "density": 0.2}]}]), density=[0.2, 0.4])
    with pytest.raises(ValueError, match=r"its values of density differ in the steps of changes .*grid\.split"):
        together(grid)


def test_engines_and_kinds_of_set_that_cannot_be_changed_are_refused_before_training():
    ring = spec(features=[tg.ExactlyK(40, 20)], changes=[{"step": 40, "rate": 0.5}])
    with pytest.raises(ValueError, match=re.escape("train(engine='kernel'): the kernel cannot draw ExactlyK")):
        tg.train(ring, engine="kernel")


def test_the_estimate_of_a_trajectory_counts_what_changes():
    # Density and importance of five features at eleven steps, in eight bytes each.
    assert trajectory_bytes([spec()]) - trajectory_bytes([spec(changes=[])]) == 2 * 5 * 11 * 8
