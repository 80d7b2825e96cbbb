"""Every public function answers a wrong kind of argument with one sentence; in a process without run-time checks."""

import subprocess
import sys

import pytest

import tegum

FUNCTIONS = [name for name in tegum.__all__ if name[0].islower()]

SCRIPT = """
import inspect, sys
import numpy as np, xarray as xr
import tegum

wrong = [
    None, "text", b"bytes", [], {}, object(), True, -1, 0, 1.5, float("nan"), 10**30, 1j, [None], [1, 2],
    np.datetime64("2020-01-01"), np.array(["a"]), np.ones(2, complex), np.array([None]), np.zeros((0, 2)),
    np.full((2, 1), np.nan), xr.DataArray(np.ones((2, 1))), xr.DataArray(np.ones((2, 1)), dims=("feature", "other")),
    xr.Dataset({"weights": ("feature", np.ones(2))}), tegum.Spec, lambda: None,
]
for name in sys.argv[1:]:
    function = getattr(tegum, name)
    parameters = inspect.signature(function).parameters.values()
    needed = [each.name for each in parameters if each.default is inspect.Parameter.empty]
    for value in wrong:
        try:
            answer = function(**dict.fromkeys(needed, value))
            list(answer) if inspect.isgenerator(answer) else answer
        except (ValueError, OSError) as error:
            if "(" not in str(error).split(" ")[0] and name not in str(error):
                print(name, repr(value)[:60], type(error).__name__, error)
        except Exception as error:
            print(name, repr(value)[:60], type(error).__name__, error)

spec = tegum.Spec(features=[tegum.Independent(2, density=0.2)], hidden=1, seeds=1, training=tegum.Sampled(steps=1))
for state in (xr.Dataset(), "state", 3):
    try:
        next(tegum.iterate(spec, state))
        print("iterate takes", state)
    except ValueError as error:
        if "): state must be the TrainingState of a Segment" not in str(error):
            print("iterate", error)
"""


def test_every_function_refuses_wrong_kinds_in_a_sentence():
    found = subprocess.run([sys.executable, "-c", SCRIPT, *FUNCTIONS], capture_output=True, text=True, timeout=300)
    assert (found.stdout, found.returncode) == ("", 0), found.stderr


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: tegum.vary([1, 2], "density", 0.1), r"vary\(features=\[1, 2\]\): features must be a FeatureDist"),
        (lambda: tegum.vary(PAIR, ["density"], 0.1), r"vary\(parameter=\['density'\]\): parameter must be a text"),
        (lambda: tegum.dimensionality(RUN), r"dimensionality\(weights=Dataset\): weights must be an array"),
        (lambda: tegum.late_jumps([1], 10), r"late_jumps\(jumps=\[1\]\): jumps must be a list of Jumps"),
        (lambda: tegum.represented(RUN.weights, threshold=True), r"threshold=True\): threshold must be a number"),
        (lambda: tegum.name_polytope(RUN.weights), r"name_polytope\(weights with dims .*; tegum.polytope_names names"),
        (lambda: tegum.name_polytope(RUN.weights.values), r"one matrix, of shape .*; tegum.polytope_names names many"),
        (
            lambda: tegum.unstable_directions(RUN),
            r"unstable_directions\(point=Dataset\): point must be a Crit",
        ),
    ],
)
def test_says_what_is_wrong(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


def test_leaves_the_number_of_arguments_to_python():
    with pytest.raises(TypeError, match=r"missing (1 required|a required)"):
        tegum.gram()


PAIR = tegum.FeatureDistribution([tegum.Independent(2, density=0.2)])
SPEC = tegum.Spec(features=PAIR, hidden=1, seeds=1, training=tegum.Sampled(steps=2, batch=16, evaluation=16))
RUN = tegum.train(SPEC)
