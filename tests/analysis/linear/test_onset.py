import inspect
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr
from linear_findings import onset
from numpy.testing import assert_allclose

import tegum as tg
from tegum.analysis.linear.onset import superposition_onset


def test_onsets_are_those_that_last():
    found = onset(
        [[3, 1, 2, 3, 3], [0, 1, 1, 2, 2]],
        [[0, 0.2, 0.6, 0.95, 1.0], [0, 0.6, 0.4, 0.6, 1.0]],
        total=np.array([[3, 2.1, 2.3, 2.3, 3], [0, 1, 2, 2.1, 2.2]]),
    )
    assert found.represented(2).tolist() == [20, 30]
    assert found.begins("features").tolist() == [30, np.inf]
    assert found.begins("norm").tolist() == [20, np.inf]
    assert found.done(0.5).tolist() == [20, 30]
    assert found.at(found.fallen, found.begins("features")).tolist() == [0.95]
    assert found.linear_interference == pytest.approx(0.6)


def test_two_features_in_one_dimension():
    # Nothing, then one feature, then an antipodal pair. With b = E[x] a feature that is left out costs its variance; a
    # pair costs 2 min(x_0, x_1)² where both are active, whose mean is p²/3.
    p = 0.3
    variance, pair = p / 3 - p**2 / 4, p**2 / 3
    weights = np.array([[[0.0], [0.0]], [[1.0], [0.0]], [[1.0], [-1.0]], [[1.0], [-1.0]]])
    bias = np.array([[p / 2, p / 2], [0.0, p / 2], [0.0, 0.0], [0.0, 0.0]])
    run = xr.Dataset(
        {
            "weights": (("seed", "step", "feature", "hidden"), np.stack([weights, np.full_like(weights, np.nan)])),
            "bias": (("seed", "step", "feature"), np.stack([bias, bias])),
            "loss": (("seed", "step"), np.ones((2, 4))),
            "result": ("seed", ["completed", "diverged"]),
        },
        coords={"seed": [0, 1], "step": [0, 10, 20, 30]},
    )
    found = superposition_onset(run, tg.FeatureDistribution([tg.Independent(2, p)]))
    # The run that diverged is left out.
    assert found.count.tolist() == [[0, 1, 2, 2]]
    assert found.begins("features").tolist() == found.begins("norm").tolist() == [20]
    assert_allclose(found.total, [[0, 1, 2, 2]])
    assert_allclose(found.disturbed, [[0, 0, 1, 1]])
    assert found.linear_interference == pytest.approx(1 / 2)
    assert_allclose(found.fallen, [[0, variance / (2 * variance - pair), 1, 1]], atol=1e-3)
    assert_allclose(found.at(found.fallen, found.represented(1)), variance / (2 * variance - pair), atol=1e-3)


def grown(p: float, results: list[str]) -> xr.Dataset:
    """Runs of two features in one dimension, which have none, one, and both as a digon, with a rise in between."""
    rows = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, -1.0], [1.0, 0.0], [1.0, -1.0], [1.0, -1.0]])
    dims, runs = ("seed", "step", "feature", "hidden"), len(results)
    return xr.Dataset(
        {
            "weights": (dims, np.tile(rows[None, :, :, None], (runs, 1, 1, 1))),
            "bias": (dims[:3], np.tile(np.where(rows == 0, p / 2, 0.0), (runs, 1, 1))),
            "loss": (dims[:2], np.ones((runs, 6))),
            "result": (dims[:1], results),
        },
        coords={"seed": np.arange(runs), "step": np.arange(0, 60, 10)},
    )


PAIR = tg.FeatureDistribution([tg.Independent(2, 0.3)])
UNLIKE = tg.FeatureDistribution([tg.Independent(1, 0.3), tg.Independent(1, 0.2)])

NAMES = ["superposition_onset", "escape_order", "first_plateaus"]
"""The measures that read trajectories by one function."""


def test_superposition_that_is_lost_again_begins_later():
    found = tg.superposition_onset(grown(0.3, ["completed", "converged"]), PAIR)
    assert found.count.tolist() == [[0, 1, 2, 1, 2, 2]] * 2
    assert found.begins("features").tolist() == found.begins("norm").tolist() == [40, 40]
    # The losses are 2 v, v and p²/3, with the variance v of one feature.
    done = (0.3 / 3 - 0.3**2 / 4) / (2 * (0.3 / 3 - 0.3**2 / 4) - 0.3**2 / 3)
    assert_allclose(found.fallen, [[0, done, 1, done, 1, 1]] * 2, atol=1e-3)
    with pytest.raises(ValueError, match=r"^begins\(by='norms'\): there is no such definition; did you mean 'norm'\?"):
        inspect.unwrap(type(found).begins)(found, "norms")


def test_onset_without_completed_runs_is_empty():
    found = tg.superposition_onset(grown(0.3, ["diverged", "interrupted"]), PAIR)
    assert found.count.shape == (0, 6)
    assert found.begins("features").shape == found.begins("norm").shape == found.done(0.5).shape == (0,)


def test_a_flow_says_its_own_loss_which_may_end_at_zero():
    # A linear flow of one feature to a perfect model: rounding may leave less than nothing.
    run = grown(0.3, ["completed"]).assign_coords(time=(("seed", "step"), np.arange(6.0)[None]))
    variance = 2 * (0.3 / 3 - 0.3**2 / 4)
    run["loss"].values[0] = [variance, variance / 2, variance / 4, 0.0, -1e-18, 0.0]
    found = tg.superposition_onset(run, PAIR, "linear", tol=1e-8)
    assert_allclose(found.fallen, [[0, 0.5, 0.75, 1, 1, 1]], atol=1e-6)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"run": np.ones(3)}, r"\(run=ndarray of float64, \(3,\)\): run must be a Dataset"),
        ({"run": xr.Dataset()}, r"\(run\): weights is missing; the dataset has nothing"),
        ({"run": grown(0.3, ["completed"]).drop_vars("bias")}, r"\(run\): bias is missing"),
        ({"run": grown(0.3, ["completed"]).expand_dims(spec=2)}, r"\(run of 2 Specs\): its runs must be of one Spec"),
        ({"features": [tg.Independent(2, 0.3)]}, r"\(features=.*\): features must be a FeatureDistribution"),
        (
            {"features": tg.FeatureDistribution([tg.Independent(3, 0.3)])},
            r"\(features of n=3\): the run has 2 features",
        ),
        ({"activation": 1}, r"\(activation=1\): activation must be one of its names"),
        ({"tol": 0.0}, r"\(tol=0.0\): tol must be a positive finite number"),
        ({"tol": np.nan}, r"\(tol=nan\): tol must be a positive finite number"),
        ({"tol": "x"}, r"\(tol='x'\): tol must be a number"),
        ({"tol": 1e-300}, r"\(tol=1e-300\): tol cannot be reached: .* ask for at least"),
    ],
)
@pytest.mark.parametrize("name", NAMES)
def test_refuses_in_one_sentence_what_cannot_be_measured(name, change, sentence):
    with pytest.raises(ValueError, match=rf"^{name}{sentence}") as caught:
        getattr(tg, name)(**{"run": grown(0.3, ["completed"]), "features": UNLIKE, **change})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_refuses_a_flow_whose_loss_is_below_zero(name):
    run = grown(0.3, ["completed"])
    flow = run.assign_coords(time=(("seed", "step"), np.arange(6.0)[None])).assign(loss=run.loss - 1.5)
    with pytest.raises(ValueError, match=rf"^{name}\(run with a loss of -0.5\): the loss must be at least 0"):
        getattr(tg, name)(flow, UNLIKE)


SCRIPT = """
import numpy as np
import tegum as tg
from tegum.core.model import ACTIVATIONS, ActivationFunction

ACTIVATIONS["soft"] = ActivationFunction("soft", floor=-1.0)
unlike = tg.FeatureDistribution([tg.Independent(1, 0.3), tg.Independent(1, 0.2)])
rows = tg.FeatureDistribution([tg.Empirical(activations=np.array([[1.0, 0.0], [0.0, 0.5]]))])
run = tg.train(tg.Spec(features=unlike, hidden=1, training=tg.Sampled(steps=2, batch=16, evaluation=16)))
flow = run.assign_coords(time=(("seed", "step"), run.step.values[None] * 0.1))
for measure in (tg.superposition_onset, tg.escape_order, tg.first_plateaus):
    for wrong, name in ((run, "rellu"), (flow, "rellu"), (run, "soft")):
        try:
            measure(wrong, unlike, name)
        except ValueError as error:
            print(error)
    # A finite population needs no path.
    measure(run, rows, "soft")
"""


def test_activations_that_are_unknown_or_have_no_exact_loss_are_refused():
    # In a process of its own: annotations are checked in this one, and know two activations.
    command = [sys.executable, "-W", "error", "-c", SCRIPT]
    said = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout.splitlines()
    for name, (unknown, of_flow, inexact) in zip(NAMES, np.reshape(said, (3, 3)).tolist(), strict=True):
        assert unknown == of_flow == f"{name}(activation='rellu'): there is no such activation; did you mean 'relu'?"
        assert inexact.startswith(f"{name}(activation='soft'): the activation must be 'relu' or 'linear', as the popul")
