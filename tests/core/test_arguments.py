"""Every public function answers a wrong kind of argument with one sentence; in a process without run-time checks."""

import subprocess
import sys

import numpy as np
import pytest

import tegum

SCRIPT = """
import inspect, os, sys, tempfile
from concurrent.futures import ThreadPoolExecutor
import numpy as np, xarray as xr
import tegum
from tegum import *

os.chdir(tempfile.mkdtemp())
pair = FeatureDistribution([Independent(2, density=0.2)])
four = FeatureDistribution([Correlated(2, density=0.2)] * 2)
training = Sampled(steps=40, batch=16, evaluation=16)
spec = Spec(features=pair, hidden=1, seeds=2, training=training, snapshots=20)
run = train(spec)
W, b = run.weights[0, -1].values, run.bias[0, -1].values
row = dict(loss=run.loss[0].values, steps=run.step.values)
square = np.random.default_rng(0).normal(size=(4, 2))
point = critical_point([[1.0], [-1.0]], [0.0, 0.0], pair)
jump = Jump(0, 0, 1, 2, 0.1, 0.5)
event = Event((jump,))
executor = ThreadPoolExecutor(1)
tegum.sweep(spec, keep=["loss"], executor=executor, out="there.sweep", progress=False)
level = dimensionality(run.weights)
np.save("W.npy", square)
parts = motions(np.stack([square, 1.1 * square, 1.3 * square]), four)
sets = dict(weights=square, features=four)
model = dict(weights=W, bias=b)
right = dict(
    Anticorrelated=dict(size=2, density=0.1), Between=dict(low=0.1, high=0.2), Change=dict(step=1),
    SetChange=dict(set=0),
    Copula=dict(density=0.1, correlation=np.eye(2)),
    Correlated=dict(size=2, density=0.1),
    Empirical=dict(activations=np.eye(2)),
    Equivariant=dict(size=4, density=0.1, width=0.5), Exact={}, ExactlyK=dict(size=4, k=2),
    FeatureDistribution=dict(sets=pair.sets), Flow={}, Hierarchy=dict(parents=[-1, 0], density=0.1),
    ConstantMagnitude={}, HalfNormalMagnitude={}, UniformMagnitude={},
    Independent=dict(count=2, density=0.1), Kept=dict(measure="loss"),
    PartiallyCorrelated=dict(size=2, density=0.1, strength=0.5), Sampled={},
    Snapshots={}, Spec=dict(features=pair, hidden=1), Start=model,
    analyse=dict(weights=square), angle_to_pca=sets, best=dict(run=run), canonical_pose=dict(weights=square),
    captured_variance=dict(directions=square, basis=square[:1]),
    coincidence=dict(windows=[jump], others=[jump], step=run.step.values, draws=10),
    collapsed_count=sets, collapsed_sets=sets, critical_point=dict(**model, features=pair),
    dead_outputs=dict(weights=run.weights, bias=run.bias, features=pair), dimensionality=dict(weights=square),
    dimensions_per_feature=dict(weights=square), empirical_loss=dict(**model, x=np.ones((3, 2))),
    equivariance_defect=dict(weights=square), escape_order=dict(run=run, features=pair),
    even_frame=dict(lengths=np.ones(3), hidden=2),
    find_drops=dict(loss=run.loss), find_jumps=dict(dimensionality=level),
    find_plateaus=row, find_regimes=row, find_revivals=dict(weights=run.weights, bias=run.bias, features=pair),
    first_plateaus=dict(run=run, features=pair),
    follow=dict(point=point, parameter="density", values=[0.2, 0.21]), forward=dict(**model, x=np.ones((3, 2))),
    gram=dict(weights=square), grid=dict(spec=spec, density=[0.1, 0.2]),
    group_jumps=dict(jumps=[jump]), interference=dict(weights=square),
    interference_between=sets, interference_within=sets, iterate=dict(specs=spec), kept_rotations=dict(weights=square),
    jump_attribution=dict(run=run, rest=4, longest=10),
    largest_moves=dict(windows=[jump], dimensionality=level, jumps=[jump]), late_jumps=dict(jumps=[jump], steps=10),
    linear_optimum=dict(features=four, hidden=1, starts=1), load=dict(path="nowhere"),
    load_dictionary=dict(path="W.npy"), local_capture=sets,
    local_moments=dict(features=four, number=0), local_pca=dict(**sets, number=0),
    loss_drops=dict(events=[event], loss=run.loss, jumps=[jump]), loss_error=dict(run=run),
    match_directions=dict(found=square, truth=square), mode_power=dict(weights=square),
    mode_strengths=dict(**sets, count=1),
    mode_variances=dict(size=4, density=0.1, width=0.5),
    motion_shares=dict(parts=parts, steps=[1, 2, 3], first=0, last=2),
    motion_stages=dict(weights=[[square, 1.1 * square, 1.3 * square]], loss=[[1.0, 0.5, 0.4]], steps=[1, 2, 3],
        features=four),
    motions=dict(weights=np.stack([square, square]), features=four), name_polytope=dict(weights=square),
    pca_likeness=sets,
    phase_boundary=dict(config_a=point, config_b=point, features=pair, parameter="density", low=0.19, high=0.21),
    polytope_names=dict(weights=square), population_gradient=dict(**model, features=pair),
    population_loss=dict(**model, features=pair), population_loss_along=dict(run=run),
    predicted_escapes=dict(**sets, count=1), principal_angles=dict(a=square, b=square),
    random_directions=dict(lengths=np.ones(3), hidden=2), readout_error=sets,
    rearrangements=dict(events=[event], weights=run.weights),
    render=dict(run=run, target="film.gif", seed=0, width=64, seconds=0.1, overwrite=True),
    open_sweep=dict(out="there.sweep"), represented=dict(weights=square), saddle_index=dict(**model, features=pair),
    save=dict(dataset=run, path="run.zarr", overwrite=True),
    share_inside=dict(loss=run.loss, windows=[jump], draws=10), superposition_onset=dict(run=run, features=pair),
    sweep=dict(spec=spec, keep=["loss"], executor=executor), tegum_factors=dict(weights=square),
    train=dict(specs=spec), unstable_directions=dict(point=point),
    vary=dict(features=pair, parameter="density", value=0.1), view=dict(run=run),
)
wrong = [
    None, "x", b"x", -1, float("nan"), 10**30, 1j, True, [], [None], object(), slice(2), np.ones((2, 2)), np.array("x"),
    np.array([None]), np.ones(2, complex), xr.Dataset(), run, pair,
]
# What is handed out and not called: results, states, and what other classes derive from.
made = {"Boundary", "Branch", "CriticalPoint", "Event", "Grid", "Jump", "LinearOptimum", "LossDrop", "MixtureTable",
        "Segment", "TrainingInterrupted", "TrainingState", "FeatureSet", "GatedSet", "Magnitude", "Training"}
public = set(tegum.__all__) - set(tegum.NAMESPACES)
assert right.keys() | made == public, right.keys() ^ public ^ made
tried = 0
for name, arguments in right.items():
    call = getattr(tegum, name)
    for parameter in inspect.signature(call).parameters:
        for value in wrong:
            tried += 1
            try:
                answer = call(**{**arguments, parameter: value})
                list(answer) if inspect.isgenerator(answer) else answer
            except (ValueError, OSError) as error:
                if not str(error).startswith(name) or "\\n" in str(error) or len(str(error)) > 400:
                    print(name, parameter, repr(value)[:60], type(error).__name__, error)
            except Exception as error:
                print(name, parameter, repr(value)[:60], type(error).__name__, error)
print(tried > 5000)
"""


def test_every_public_name_refuses_a_wrong_argument_in_one_sentence_that_names_it():
    found = subprocess.run([sys.executable, "-W", "error", "-c", SCRIPT], capture_output=True, text=True, timeout=300)
    assert (found.stdout, found.returncode) == ("True\n", 0), found.stderr


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: tegum.iterate(SPEC, RUN), r"iterate\(state=Dataset\): state must be the TrainingState of a Segment"),
        (
            lambda: tegum.iterate(SPEC, segment_seconds="x"),
            r"iterate\(segment_seconds='x'\): segment_seconds must be a num",
        ),
        (
            lambda: tegum.train(SPEC, engine=np.ones(2)),
            r"train\(engine=ndarray of float64, \(2,\)\): engine must be 'auto', 'k",
        ),
        (lambda: tegum.Flow(steps=2 * 10**17), r"Flow\(steps=2000.*\): steps must be at most 9,007,199,254,740,992"),
        (lambda: tegum.follow(POINT, "density", [0.2, 2.0]), r"follow\(density = 2\): .* density must lie in \(0, 1\]"),
        (lambda: tegum.vary([1, 2], "density", 0.1), r"vary\(features=\[1, 2\]\): features must be a FeatureDist"),
        (lambda: tegum.vary(PAIR, ["density"], 0.1), r"vary\(parameter=\['density'\]\): parameter must be a string"),
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


MODEL = [[1.0], [-1.0]], [0.0, 0.0]
PAIR = tegum.FeatureDistribution([tegum.Independent(2, density=0.2)])
SPEC = tegum.Spec(features=PAIR, hidden=1, seeds=1, training=tegum.Sampled(steps=2, batch=16, evaluation=16))
RUN = tegum.train(SPEC)
POINT = tegum.critical_point(*MODEL, PAIR)


def test_what_numpy_is_set_to_do_with_small_numbers_changes_nothing():
    """Underflow is no error in what is computed, whatever a user's own code asks NumPy for."""
    features = tegum.FeatureDistribution([tegum.Correlated(2, 0.1)] * 2)
    spec = tegum.Spec(features=features, hidden=2, seeds=2, training=tegum.Sampled(steps=200, batch=64), snapshots=2)
    rng = np.random.default_rng(0)
    W, b = rng.normal(size=(4, 2)), np.full(4, -0.1)

    def found():
        run = tegum.train(spec)
        point = tegum.critical_point(W, b, features)
        return (
            run.loss.values, tegum.population_loss(W, b, features), point.weights, point.eigenvalues,
            tegum.dimensionality(run.weights).values, tegum.canonical_pose(W * 1e-160),
        )  # fmt: skip

    usual = found()
    with np.errstate(all="raise"):
        strict = found()
    for one, other in zip(usual, strict, strict=True):
        np.testing.assert_array_equal(one, other)
