"""The module computes what `tg.forward` and `tg.empirical_loss` do, and its parts can be hooked."""

from __future__ import annotations

import copy
import re

import ml_dtypes
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch import nn

import tegum as tg
import tegum.torch
from tegum.core.loss.empirical import empirical_gradient
from tegum.torch import ToyModel

RANDOM = np.random.default_rng(0)
FEATURES = tg.FeatureDistribution([tg.Correlated(2, 0.3), tg.Independent(3, 0.2, importance=[1.0, 0.5, 0.0])])
N, M = FEATURES.n, 2
X = FEATURES.sample(1, 200)
PARTS = ("embed", "hidden", "unembed", "activation")


def parameters(*runs: int) -> tuple[np.ndarray, np.ndarray]:
    return RANDOM.normal(size=(*runs, N, M)), RANDOM.normal(size=(*runs, N))


@pytest.mark.parametrize("activation", ["relu", "linear"])
@pytest.mark.parametrize("runs", [(), (4,), (2, 3)])
def test_outputs_and_losses_are_those_of_tegum(runs, activation):
    W, b = parameters(*runs)
    model = ToyModel(W, b, activation)
    x = torch.from_numpy(X)
    assert_allclose(model(x).detach(), tg.forward(W, b, X, activation), rtol=1e-12, atol=1e-12)
    for importance in (FEATURES.importance, 2.0):
        expected = tg.empirical_loss(W, b, X, importance, activation)
        assert_allclose(model.loss(x, importance).detach(), expected, rtol=1e-12)
    assert model.loss(x).shape == runs


@pytest.mark.parametrize("activation", ["relu", "linear"])
def test_gradients_are_those_of_tegum(activation):
    W, b = parameters(4)
    # At the ReLU's kink the derivative is 0: a zero row with zero bias lies there.
    W[1, 2], b[1, 2] = 0, 0
    model = ToyModel(W, b, activation)
    model.loss(torch.from_numpy(X), FEATURES.importance).sum().backward()
    dW, db = empirical_gradient(W, b, X, FEATURES.importance, activation)
    assert_allclose(model.weights.grad, dW, rtol=1e-10, atol=1e-13)
    assert_allclose(model.bias.grad, db, rtol=1e-10, atol=1e-13)


def test_samples_of_their_own_for_each_run():
    W, b = parameters(3)
    x = FEATURES.sample(2, 3 * 50).reshape(3, 50, N)
    expected = [tg.forward(*each) for each in zip(W, b, x, strict=True)]
    assert_allclose(ToyModel(W, b)(torch.from_numpy(x)).detach(), expected, rtol=1e-12, atol=1e-12)
    # A single run takes any leading axes.
    assert_allclose(ToyModel(W[0], b[0])(torch.from_numpy(x)).detach()[0], expected[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("dtype", "kept"),
    [
        ("float64", torch.float64),
        (">f4", torch.float32),
        ("float16", torch.float16),
        (np.longdouble, torch.float64),
        ("int32", torch.float32),
        (ml_dtypes.bfloat16, torch.bfloat16),
    ],
)
def test_parameters_have_the_numbers_and_the_dtype_of_any_array(dtype, kept):
    given = np.array([[1, -2], [3, 0], [5, 4]], dtype)
    tensors = [] if dtype in (">f4", np.longdouble) else [torch.tensor(given.astype(float)).to(kept)]
    for weights in (given, *tensors):
        model = ToyModel(weights, given[:, 0])
        assert {model.weights.dtype, model.bias.dtype} == {kept}
        assert_array_equal(model.weights.detach().double(), given.astype(float))
        assert_array_equal(model.bias.detach().double(), given[:, 0].astype(float))
    assert ToyModel(given, dtype=torch.float64).weights.dtype == torch.float64


def test_tensors_of_all_forms_are_taken():
    rows = [torch.nn.Parameter(torch.tensor(row)) for row in ([1.0, 2.0], [3.0, 4.0])]
    assert ToyModel(rows).weights.tolist() == [[1, 2], [3, 4]]
    assert ToyModel(torch.ones(1, 3).expand(5, 3)).weights.tolist() == [[1, 1, 1]] * 5
    narrow = torch.tensor([[0.5], [-2.0]]).to(torch.float8_e5m2)
    assert ToyModel(narrow, dtype=torch.float32).weights.tolist() == [[0.5], [-2.0]]


@pytest.mark.parametrize("kind", [list, np.array, torch.tensor, np.longdouble, np.float32])
def test_a_loss_takes_importances_of_every_kind(kind):
    (W, b), x, weights = parameters(4), RANDOM.random((50, N)), [1.0, 0.5, 0.0, 2.0, 0.25]
    found = ToyModel(W, b).loss(torch.from_numpy(x), kind(weights))
    assert_allclose(found.detach(), tg.empirical_loss(W, b, x, np.array(weights)), rtol=1e-12)


def test_nan_stays_nan():
    z = torch.tensor([np.nan, -1.0, 2.0])
    assert_array_equal(ToyModel([[1.0]]).activation(z), [np.nan, 0.0, 2.0])


def test_a_hook_sees_and_replaces_what_each_part_returns():
    W, b = parameters(4)
    model = ToyModel(W, b)
    seen = {}
    handles = [
        getattr(model, name).register_forward_hook(
            lambda _, __, output, name=name: seen.update({name: output.detach()})
        )
        for name in PARTS
    ]
    out = model(torch.from_numpy(X))
    h = np.einsum("bf,rfh->rbh", X, W)
    z = np.einsum("rbh,rfh->rbf", h, W) + b[:, None]
    assert_allclose(seen["embed"], h, rtol=1e-12, atol=1e-12)
    assert_array_equal(seen["hidden"], seen["embed"])
    assert_allclose(seen["unembed"], z, rtol=1e-11, atol=1e-12)
    assert_array_equal(seen["activation"], out.detach())
    for handle in handles:
        handle.remove()
    # Zeroed hidden activations leave the bias.
    model.hidden.register_forward_hook(lambda *given: torch.zeros_like(given[-1]))
    assert_allclose(model(torch.from_numpy(X)).detach(), np.broadcast_to(np.maximum(b, 0)[:, None], z.shape))


def test_parts_have_no_parameters_and_names_stay():
    model = ToyModel(*parameters(4))
    assert [name for name, _ in model.named_children()] == list(PARTS)
    assert list(model.state_dict()) == [name for name, _ in model.named_parameters()] == ["weights", "bias"]
    assert "4 runs, features=5, hidden=2, activation='relu'" in repr(model)
    other = ToyModel(*parameters(4))
    other.load_state_dict(copy.deepcopy(model.state_dict()))
    assert torch.equal(other.weights, model.weights)


@pytest.fixture(scope="module")
def run():
    spec = tg.Spec(features=FEATURES, hidden=M, training=tg.Sampled(steps=40), seeds=5, snapshots=[0, 10, 40])
    return tg.train(spec, progress=False)


def test_parameters_of_a_run_by_value(run):
    for seed, step, part in (
        (None, None, run.isel(step=-1)),
        (3, None, run.isel(step=-1).sel(seed=3)),
        (3, 10, run.sel(seed=3, step=10)),
        ([4, 1], 0, run.sel(seed=[4, 1], step=0)),
        (None, 10, run.sel(step=10)),
    ):
        model = ToyModel.from_run(run, seed=seed, step=step)
        assert model.weights.dtype == torch.float32
        assert_array_equal(model.weights.detach(), part.weights.values)
        assert_array_equal(model.bias.detach(), part.bias.values)
    assert_array_equal(ToyModel.from_run(tg.best(run)).weights.detach(), tg.best(run).weights.isel(step=-1))
    assert ToyModel.from_run(run, seed=0, dtype=torch.float64).bias.dtype == torch.float64


def test_a_grid_keeps_its_dimensions():
    spec = tg.Spec(
        features=[tg.Independent(3, 0.3)], hidden=2, activation="linear", training=tg.Exact(steps=3), seeds=2
    )
    grid = tg.train(tg.grid(spec, density=[0.1, 0.2, 0.4]), progress=False)
    model = ToyModel.from_run(grid)
    assert model.run_shape == (3, 2)
    assert model.activation_name == "linear"
    assert model.weights.dtype == torch.float64
    assert_array_equal(model.weights.detach(), grid.weights.isel(step=-1))
    assert_array_equal(ToyModel.from_run(grid.sel(density=0.2)).bias.detach(), grid.bias.isel(step=-1).sel(density=0.2))


def test_a_model_starts_where_tegum_does(run):
    spec = tg.Spec(features=FEATURES, hidden=M, training=tg.Sampled(steps=40), seeds=5)
    model = ToyModel.from_spec(spec)
    assert_array_equal(model.weights.detach(), run.weights.sel(step=0))
    assert_array_equal(model.bias.detach(), run.bias.sel(step=0))


def test_a_model_is_trained():
    spec = tg.Spec(features=[tg.Independent(3, 0.5)], hidden=3, training=tg.Sampled(steps=600), seeds=3)
    model = ToyModel.from_spec(spec)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for x in tegum.torch.Samples(spec.features, batch=256, batches=600):
        optimiser.zero_grad()
        model.loss(x).sum().backward()
        optimiser.step()
    # With as many dimensions as features all of them can be represented without interference.
    with torch.no_grad():
        assert model.loss(tegum.torch.Samples(spec.features, 10_000, seed=9).number(0)).max() < 1e-3


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda _: ToyModel([1.0, 2.0]), "ToyModel(weights of shape (2,)): weights must have the shape (..., fe"),
        (lambda _: ToyModel(np.ones((3, 2)), np.ones(2)), "(bias of shape (2,)): bias must have the shape (3,)"),
        (lambda _: ToyModel([[1j]]), "ToyModel(weights=[[1j]]): weights must be an array of real numbers"),
        (lambda _: ToyModel([["1"]]), "ToyModel(weights=[['1']]): weights must be an array of real numbers"),
        (lambda _: ToyModel([[True]]), "ToyModel(weights=[[True]]): weights must be an array of real numbers"),
        (lambda _: ToyModel(torch.eye(2) * 1j), "ToyModel(weights of complex64): weights must be an array of real num"),
        (lambda _: ToyModel([[1.0], [2.0, 3.0]]), "ToyModel(weights=[[1.0], [2.0, 3.0]]): weights must be an array of"),
        (lambda _: ToyModel(torch.eye(2).to_sparse()), "ToyModel(weights=Tensor): weights must be dense"),
        (lambda _: ToyModel(torch.eye(2).to(torch.float8_e5m2)), "(weights of torch.float8_e5m2): a dtype must be giv"),
        (lambda _: ToyModel([[1.0, np.nan]]), "ToyModel(weights with nan at [0, 1]): weights must be finite"),
        (lambda _: ToyModel([[1.0]], [-np.inf]), "ToyModel(bias with -inf at [0]): bias must be finite"),
        (lambda _: ToyModel([[1e6]], dtype=torch.float16), "(weights up to 1e+06, dtype=torch.float16): weights must "),
        (lambda _: ToyModel([[1.0]], dtype=torch.int64), "ToyModel(dtype=torch.int64): dtype must be one that can be "),
        (lambda _: ToyModel([[1.0]])(torch.ones(2, 1) * 1j), "(x of torch.complex64, torch.strided): x must be a dens"),
        (lambda _: ToyModel([[1.0]])(torch.ones(2, 1).to_sparse()), "(x of torch.float32, torch.sparse_coo): x must b"),
        (lambda _: ToyModel([[1.0]]).loss(torch.ones(0, 1)), "loss(x of shape (0, 1)): x must have a batch of at leas"),
        (lambda _: ToyModel([[1.0]], activation="gelu"), "ToyModel(activation='gelu'): there is no such activation"),
        (lambda _: ToyModel(np.ones((3, 2)))(torch.ones(3)), "x must have the shape (batch, 3)"),
        (lambda _: ToyModel(np.ones((4, 3, 2)))(torch.ones(2, 9, 3)), "the shape (batch, 3), or (4, batch, 3)"),
        (lambda _: ToyModel([[1.0]]).loss(torch.ones(2, 1), -1), "loss(importance=-1): importance must be a finite"),
        (lambda _: ToyModel([[1.0]]).loss(torch.ones(2, 1), [1, 2]), "loss(importance=[1, 2]): importance must be a f"),
        (lambda _: ToyModel([[1.0]]).loss(torch.ones(2, 1), [np.nan]), "loss(importance=[nan]): importance must be a "),
        (lambda _: ToyModel([[1.0]]).loss(torch.ones(2, 1), "1"), "loss(importance='1'): importance must be a finite "),
        (lambda _: ToyModel([[1.0]]).loss(torch.ones(2, 1), None), "loss(importance=None): importance must be a finit"),
        (lambda _: ToyModel([[1.0]]).loss(torch.ones(2, 1), torch.tensor([1j])), "loss(importance=[1j]): importance m"),
        (lambda run: ToyModel.from_run(run, seed=[]), "ToyModel.from_run(seed=[]): the run has the seeds 0, 1"),
        (lambda _: ToyModel.from_run(5), "ToyModel.from_run(run=5): run must be a trajectory"),
        (lambda run: ToyModel.from_run(run, seed=7), "ToyModel.from_run(seed=7): the run has the seeds 0, 1, 2, … 4"),
        (lambda run: ToyModel.from_run(run, step=11), "ToyModel.from_run(step=11): the run has the steps 0, 10, 40"),
        (lambda run: ToyModel.from_run(run.sel(seed=2), seed=2), "the run is that of seed 2; leave seed out"),
        (lambda run: ToyModel.from_run(run.where(run.seed < 3)), "must be finite, and those of a run are not"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_in_a_sentence(run, call, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)) as caught:
        call(run)
    assert "\n" not in str(caught.value)


def test_whatever_stands_for_hidden_is_used():
    model = ToyModel(*parameters())
    plain = model(torch.from_numpy(X))
    model.hidden = nn.Sequential(nn.Identity())
    assert torch.equal(model(torch.from_numpy(X)), plain)
