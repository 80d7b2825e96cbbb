"""Changes while runs train on the exact loss: averages go on, and L-BFGS begins anew."""

from __future__ import annotations

import numpy as np
import pytest

import tegum as tg

SETS = [tg.PartiallyCorrelated(2, 0.1, 0.5), tg.Independent(3, 0.2)]
SPARSER = [{"set": 0, "density": 0.05, "strength": 0.9}, {"set": 1, "importance": [1, 0.5, 0.25]}]


def spec(training, changes, **given):
    return tg.Spec(**{"features": SETS, "hidden": 2, "training": training, "seeds": 4, "changes": changes} | given)


def parts_by_hand(changing, step):
    """Train to a step with one Spec, and on from its state with another, neither of which has changes."""
    segments = tg.iterate(changing.in_force(0), segment_seconds=0.0)
    state = next(each.state for each in segments if each.state.step == step)
    *_, last = tg.iterate(changing.in_force(step), state)
    return last.state


@pytest.mark.quick_form
@pytest.mark.parametrize("optimiser", ["adam", "gd"])
def test_noiseless_descent_goes_on_as_with_another_spec(optimiser):
    training = tg.Exact(steps=130, optimiser=optimiser, rate=0.01, schedule="cosine", warmup=70)
    # Frequencies are chosen at every fiftieth step: 60 is none of them.
    changing = spec(training, [{"step": 60, "rate": 0.03, "sets": SPARSER}], snapshots=13)
    run = tg.train(changing)
    state = parts_by_hand(changing, 60)
    np.testing.assert_array_equal(run.weights[:, -1], state.weights)
    np.testing.assert_array_equal(run.bias[:, -1], state.bias)
    np.testing.assert_array_equal(tg.train(changing, threads=1).loss, run.loss)
    pieces = [each.recorded.loss for each in tg.iterate(changing, segment_seconds=0.0)]
    np.testing.assert_array_equal(np.concatenate(pieces, 1), run.loss)
    np.testing.assert_allclose(run.loss, tg.population_loss_along(run), atol=4e-8)


@pytest.mark.quick_form
def test_lbfgs_wakes_up_and_converges_again():
    changing = spec(tg.Exact(steps=1000), [{"step": 300, "sets": SPARSER}])
    run, before = tg.train(changing), tg.train(changing.in_force(0))
    assert (before.result == "converged").all()
    assert (before.converged_at < 300).all()
    at = run.step.values < 300
    np.testing.assert_array_equal(run.weights[:, at], before.weights[:, at])
    # Then it is a training of its own, from where the one before had ended.
    there = run.sel(step=300)
    start = there.weights.values, there.bias.values
    after = tg.train(changing.in_force(300).replace(training=tg.Exact(steps=700), snapshots=70, start=start))
    np.testing.assert_array_equal(run.weights[:, ~at], after.weights)
    np.testing.assert_array_equal(run.loss[:, ~at], after.loss)
    assert (run.result == "converged").all()
    np.testing.assert_array_equal(run.converged_at, after.converged_at + 300)
    assert (run.converged_at > 300).all()
    for weights, bias in zip(run.weights[:, -1].values, run.bias[:, -1].values, strict=True):
        slopes = tg.population_gradient(weights, bias, changing.in_force(300).features, tol=1e-7)
        assert np.sqrt(sum(np.square(each).sum() for each in slopes)) < 5e-7


@pytest.mark.quick_form
def test_bits_of_lbfgs_do_not_depend_on_where_training_was_interrupted():
    changing = spec(
        tg.Exact(steps=60), [{"step": 25, "sets": SPARSER}, {"step": 40, "sets": [{"set": 1, "density": 0.4}]}]
    )
    run = tg.train(changing, progress=False)
    # The first stops at each of the steps, and the second at none at which something is recorded.
    for given in (changing, changing.replace(snapshots=[13, 26])):
        states = [each.state for each in tg.iterate(given, segment_seconds=0.0)]
        np.testing.assert_array_equal(states[-1].weights, run.weights[:, -1])
        for step in (24, 25, 26, 40):
            *_, last = tg.iterate(given, states[step - 1], segment_seconds=10.0)
            np.testing.assert_array_equal(last.state.weights, run.weights[:, -1])
            np.testing.assert_array_equal(last.state.converged_at, states[-1].converged_at)


@pytest.mark.quick_form
def test_a_run_that_had_converged_has_not_where_the_last_step_changes_the_loss():
    plain = spec(tg.Exact(steps=400), [])
    changed = tg.train(plain.replace(changes=[{"step": 400, "sets": SPARSER}]))
    unchanged = tg.train(plain)
    assert (unchanged.result == "converged").all()
    assert (changed.result == "completed").all()
    assert (changed.converged_at == -1).all()
    np.testing.assert_array_equal(changed.weights, unchanged.weights)
    np.testing.assert_array_equal(changed.loss[:, :-1], unchanged.loss[:, :-1])
    np.testing.assert_allclose(changed.loss, tg.population_loss_along(changed), atol=4e-8)


@pytest.mark.quick_form
def test_a_change_to_what_is_in_force_leaves_the_memory_as_it_is():
    same = [{"step": 20, "sets": [{"set": 0, "density": 0.1}]}]
    one, other = (tg.train(spec(tg.Exact(steps=60), changes)) for changes in (same, []))
    np.testing.assert_array_equal(one.weights, other.weights)


@pytest.mark.quick_form
def test_a_finite_population_can_change_its_importances():
    generator = np.random.default_rng(0)
    x = np.where(generator.random((50, 4)) < 0.4, generator.random((50, 4)), 0.0)
    changes = [{"step": 10, "sets": [{"set": 0, "importance": [1, 0.5, 0.25, 2]}]}]
    training = tg.Exact(steps=30, optimiser="adam", rate=0.01)
    changing = tg.Spec(features=[tg.Empirical(x)], hidden=2, training=training, seeds=3, changes=changes)
    run = tg.train(changing)
    np.testing.assert_array_equal(run.weights[:, -1], parts_by_hand(changing, 10).weights)
    for step in (9, 10, 30):
        loss = tg.empirical_loss(
            run.weights.sel(step=step).values,
            run.bias.sel(step=step).values,
            x,
            changing.in_force(step).features.importance,
        )
        np.testing.assert_allclose(run.loss.sel(step=step), loss, rtol=1e-6)


@pytest.mark.quick_form
def test_the_rate_of_plain_descent_is_that_in_force():
    # Without noise a step is the gradient at the changed features, times the changed rate, times the schedule.
    training = tg.Exact(steps=8, optimiser="gd", rate=0.5, schedule="linear")
    changes = [{"step": 3, "rate": 2.0, "sets": [{"set": 0, "density": 0.4}]}, {"step": 5, "rate": 0.25}]
    changing = spec(training, changes, snapshots=8, seeds=2)
    run = tg.train(changing)
    for step in range(8):
        w, b = run.weights.values[:, step], run.bias.values[:, step]
        features = [SETS[0] if step < 3 else SETS[0].replace(density=0.4), SETS[1]]
        along_w, along_b = tg.population_gradient(w, b, tg.FeatureDistribution(features), tol=1e-9)
        rate = (0.5 if step < 3 else 2.0 if step < 5 else 0.25) * (1 - step / 8)
        np.testing.assert_allclose(run.weights.values[:, step + 1], w - rate * along_w, atol=1e-7)
        np.testing.assert_allclose(run.bias.values[:, step + 1], b - rate * along_b, atol=1e-7)


@pytest.mark.quick_form
@pytest.mark.parametrize("training", [tg.Exact(steps=40), tg.Exact(steps=40, optimiser="adam", rate=0.01)])
def test_some_runs_have_the_bits_that_they_have_among_all(training):
    # 17 fill no multiple of the lanes, and are none of all in order.
    one, runs = spec(training, [{"step": 25, "sets": SPARSER}], seeds=20, snapshots=4), [19, *range(16)]
    some, selected = tg.train(one, runs=runs), tg.train(one).sel(seed=runs)
    for name in ("weights", "bias", "loss", "result", "converged_at"):
        np.testing.assert_array_equal(some[name], selected[name])
