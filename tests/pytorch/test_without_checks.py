"""What the run-time checks of the other tests do not let through, in a process without them.

Arguments of a wrong kind are answered with one sentence, and losses are compiled as a whole.
"""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import numpy as np, torch
import tegum as tg
from tegum.core.loss.empirical import empirical_gradient
from tegum.torch import Hidden, Samples, ToyModel, to_run

features = tg.FeatureDistribution([tg.Correlated(2, 0.3), tg.Independent(1, 0.2)])
spec = tg.Spec(features=features, hidden=2, training=tg.Sampled(steps=5), seeds=3)
model, x = ToyModel(np.ones((3, 2))), torch.ones(4, 3)
run = to_run(ToyModel.from_spec(spec), spec)
dtypes = "dtype must be one that can be trained in: torch.float64, torch.float32, torch.bfloat16, torch.float16"
kinds = "features must be a FeatureDistribution, or a list of feature sets"
seeds = "seed must be an int of at least 0, or a list of such ints"
for call, sentence in [
    (lambda: ToyModel(None), "ToyModel(weights=None): weights must be an array of real numbers"),
    (lambda: ToyModel([[1.0]], dtype="float32"), f"ToyModel(dtype='float32'): {dtypes}"),
    (lambda: ToyModel([[1.0]], dtype=[]), f"ToyModel(dtype=[]): {dtypes}"),
    (lambda: model([[1.0]]), "ToyModel(x=[[1.0]]): x must be a tensor; torch.as_tensor(x) makes one of an array"),
    (
        lambda: model.loss(np.ones((2, 1))),
        "ToyModel.loss(x=array of shape (2, 1)): x must be a tensor; torch.as_tensor(x) makes one of an array",
    ),
    (lambda: ToyModel.from_spec(None), "ToyModel.from_spec(spec=None): spec must be a Spec"),
    (lambda: ToyModel.from_run(None), "ToyModel.from_run(run=None): run must be a trajectory, an xarray.Dataset"),
    (lambda: ToyModel.from_run(run, dtype="half"), f"ToyModel.from_run(dtype='half'): {dtypes}"),
    (
        lambda: ToyModel.from_run(run, seed=[[0], [1, 2]]),
        "ToyModel.from_run(seed=[[0], [1, 2]]): the run has the seeds 0, 1, 2",
    ),
    (lambda: to_run(model, None), "to_run(spec=None): spec must be the Spec of what was trained"),
    (lambda: to_run(None, spec), "to_run(models=None): models must be a ToyModel, or states by their step"),
    (
        lambda: to_run({5: None}, spec),
        "to_run(step 5: 'NoneType'): a state must be a ToyModel, or have its weights and bias",
    ),
    (
        lambda: to_run(model, spec, wall_time_s="x"),
        "to_run(wall_time_s='x'): wall_time_s must be a number of seconds, or None",
    ),
    (lambda: Samples(None, 4), f"Samples(features=None): {kinds}"),
    (lambda: Samples("ab", 4), f"Samples(features='ab'): {kinds}"),
    (lambda: Samples(run, 4), f"Samples(features=Dataset): {kinds}"),
    (lambda: Samples(features, None), "Samples(batch=None): batch must be an int of at least 1"),
    (lambda: Samples(features, 4, seed=None), f"Samples(seed=None): {seeds}"),
    (lambda: Samples(features, 4, seed="12"), f"Samples(seed='12'): {seeds}"),
    (lambda: Samples(features, 4, seed=b"12"), f"Samples(seed=b'12'): {seeds}"),
    (lambda: Samples(features, 4, seed=[1, [2]]), f"Samples(seed=[1, [2]]): {seeds}"),
    (lambda: Samples(features, 4, seed=1.5), f"Samples(seed=1.5): {seeds}"),
    (lambda: Samples(features, 4, dtype=None), "Samples(dtype=None): dtype must be one of floating-point numbers"),
    (lambda: Samples(features, 4, dtype="f4"), "Samples(dtype='f4'): dtype must be one of floating-point numbers"),
    (lambda: Samples(features, 4).number(None), "Samples.number(k=None): k must be an int of at least 0"),
    (lambda: Hidden(None, 4), "Hidden(source=None): source must be a trajectory, or a ToyModel"),
    (lambda: Hidden(run, 4, features=5), f"Hidden(features=5): {kinds}"),
]:
    try:
        call()
    except ValueError as error:
        assert str(error) == sentence, str(error)
    else:
        raise AssertionError(sentence)
assert Samples(features, 4, seed=np.arange(2)).seed == Samples(features, 4, seed=range(2)).seed == [0, 1]

rows = [torch.nn.Parameter(row) for row in torch.eye(3)]
for measure in (tg.dimensionality, tg.interference, lambda W: tg.population_loss(W, torch.zeros(3), features)):
    np.testing.assert_array_equal(measure(rows), measure(np.eye(3, dtype=np.float32)))

W, b = (np.random.default_rng(0).normal(size=shape) for shape in ((4, 3, 2), (4, 3)))
model, x, importance = ToyModel(W, b), features.sample(0, 50), np.array([1.0, 0.5, 0.0])
for backend, given in (("eager", importance.tolist()), ("eager", 1.0), ("aot_eager", torch.from_numpy(importance))):
    loss = torch.compile(model.loss, fullgraph=True, backend=backend)
    model.zero_grad()
    found = loss(torch.from_numpy(x), given)
    expected = 1.0 if isinstance(given, float) else importance
    np.testing.assert_allclose(found.detach(), tg.empirical_loss(W, b, x, expected), rtol=1e-12)
    found.sum().backward()
    np.testing.assert_allclose(
        model.weights.grad, empirical_gradient(W, b, x, expected)[0], rtol=1e-10, atol=1e-13
    )
for wrong in (-1.0, torch.nan, torch.inf):
    assert loss(torch.from_numpy(x), torch.tensor([1.0, wrong, 1.0]).double()).isnan().all()
"""


def test_wrong_kinds_are_refused_in_a_sentence_and_losses_are_compiled():
    call = [sys.executable, "-W", "error", "-c", SCRIPT]
    done = subprocess.run(call, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
