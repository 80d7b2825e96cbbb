"""What a DataLoader yields is what `features.sample` draws, whatever the number of workers."""

from __future__ import annotations

import itertools
import pickle
import re
import subprocess
import sys

import numpy as np
import pytest
import scipy.stats
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch.utils.data import DataLoader

import tegum as tg
from tegum.torch import Hidden, Samples, ToyModel
from tegum.torch.samples import features_of

ROWS = np.random.default_rng(0).random((20, 3)) * (np.arange(60).reshape(20, 3) % 3 == 0)
FEATURES = tg.FeatureDistribution([tg.Correlated(2, 0.3), tg.Independent(3, 0.2), tg.Empirical(ROWS)])


BIG = [tg.Independent(3, 0.5, magnitude=tg.UniformMagnitude(0, 1e6))]
HALF_NORMAL = tg.Independent(3, 0.5, magnitude=tg.HalfNormalMagnitude(8e3))
TINY = tg.Independent(1, 0.5, magnitude=tg.ConstantMagnitude(1e-9))
HALF = ToyModel([[4e4], [-4e4]], dtype=torch.float16)


def expected(seed: list[int], numbers: range, batch: int) -> list[np.ndarray]:
    return [FEATURES.sample([*seed, k], batch).astype(np.float32) for k in numbers]


def test_batches_are_those_of_sample():
    found = list(DataLoader(Samples(FEATURES, 16, seed=3, batches=7), batch_size=None))
    assert all(each.dtype == torch.float32 for each in found)
    assert_array_equal(np.stack(found), expected([3], range(7), 16))
    # From the middle, as after an interruption.
    later = Samples(FEATURES, 16, seed=3, start=4, batches=3)
    assert_array_equal(np.stack(list(later)), expected([3], range(4, 7), 16))
    assert_array_equal(later.number(0), expected([3], range(1), 16)[0])
    # A seed of several numbers is another stream, and without an end there is always one more.
    endless = itertools.islice(Samples(FEATURES, 16, seed=[3, 1]), 5)
    assert_array_equal(np.stack(list(endless)), expected([3, 1], range(5), 16))
    doubles = next(iter(Samples(FEATURES, 16, seed=3, dtype=torch.float64)))
    assert_array_equal(doubles, FEATURES.sample([3, 0], 16))


SCRIPT = """
import sys
import numpy as np
import tegum as tg
import torch
from tegum.torch import Hidden, Samples, ToyModel
from torch.utils.data import DataLoader

context, *cases = sys.argv[1:]
features = tg.FeatureDistribution([tg.Correlated(2, 0.3)] * 3 + [tg.Empirical(np.eye(4))])
model = ToyModel(np.random.default_rng(0).normal(size=(2, 10, 3)))
for case in cases:
    workers, batches, start = map(int, case.split(","))
    options = dict(batch_size=None, num_workers=workers, multiprocessing_context=context if workers else None)
    drawn = np.stack([features.sample([5, start + k], 8) for k in range(batches)])
    loader = DataLoader(Samples(features, 8, seed=5, start=start, batches=batches), **options)
    assert (torch.stack(list(loader)).numpy() == drawn.astype(np.float32)).all(), case
    loader = DataLoader(Hidden(model, 8, seed=5, features=features, start=start, batches=batches), **options)
    exact = np.einsum("kbf,rfh->krbh", drawn, model.weights.detach().numpy())
    np.testing.assert_allclose(torch.stack(list(loader)).numpy(), exact, rtol=1e-12, atol=1e-12)
    assert len(loader) == batches, case
"""
"""Loads batches with some numbers of workers, and compares them with what is drawn here."""


@pytest.mark.parametrize(
    ("context", "cases"),
    [("fork", ["0,11,0", "1,5,0", "2,11,3", "4,11,0", "4,3,0"]), ("spawn", ["2,5,1"])],
)
def test_workers_share_the_batches_and_keep_their_order(context, cases):
    """In a process of its own, as JAX warns of forks once it is loaded."""
    # PyTorch warns of more workers than cores.
    call = [sys.executable, "-W", "error", "-W", "ignore:This DataLoader will create", "-c", SCRIPT, context, *cases]
    done = subprocess.run(call, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr


class Worker:
    """What PyTorch tells one of several workers of a DataLoader about itself."""

    def __init__(self, id: int, num_workers: int) -> None:  # noqa: A002 (PyTorch's name)
        self.id, self.num_workers = id, num_workers


@pytest.mark.parametrize("batches", [None, 12])
@pytest.mark.parametrize("workers", [0, 1, 2, 3])
@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_processes_share_the_batches_in_their_order(world_size, workers, batches, monkeypatch):
    """Iterated as a DataLoader does, a batch of each worker in turn."""
    model = ToyModel(np.random.default_rng(0).normal(size=(8, 2)), dtype=torch.float64)
    found = {}
    for rank in range(world_size):
        shared = {"seed": 3, "start": 5, "batches": batches, "rank": rank, "world_size": world_size}
        samples = Samples(FEATURES, 16, **shared, dtype=torch.float64)
        hidden = Hidden(model, 16, features=FEATURES, **shared)
        assert batches is None or len(samples) == len(hidden) == len(hidden.samples) == 12 // world_size
        shards = []
        for worker in range(max(workers, 1)):
            told = Worker(worker, workers) if workers else None
            monkeypatch.setattr("tegum.torch.samples.get_worker_info", lambda told=told: told)
            # Without an end, as many of each as make twelve.
            end = 12 // world_size // max(workers, 1) if batches is None else None
            shards.append(list(zip(itertools.islice(samples, end), itertools.islice(hidden, end), strict=True)))
        in_order = [pair for pairs in itertools.zip_longest(*shards) for pair in pairs if pair is not None]
        found |= {5 + rank + step * world_size: pair for step, pair in enumerate(in_order)}
    # Step by step, process by process: without repeats or gaps.
    assert sorted(found) == list(range(5, 5 + len(found)))
    assert len(found) == 12 if batches else len(found) >= 6
    for k, (x, h) in found.items():
        assert_array_equal(x, FEATURES.sample([3, k], 16))
        assert torch.equal(h, x @ model.weights.detach())


def test_a_narrow_dtype_holds_what_fits():
    law = tg.HalfNormalMagnitude(7e3)
    samples = Samples([tg.Independent(3, 0.5, magnitude=law)], 1000, dtype=torch.float16)
    # The largest of all uniforms, 1 − 2⁻⁵³, gives 8.21 standard deviations.
    assert 7e3 * scipy.stats.halfnorm.isf(2.0**-53) < 65504
    assert samples.number(0).isfinite().all()
    for dtype in (torch.bfloat16, torch.float8_e4m3fn):
        x = Samples(FEATURES, 20, seed=1, dtype=dtype).number(0)
        assert_allclose(x.float(), FEATURES.sample([1, 0], 20), rtol=2**-4, atol=2**-9)
    assert not Samples([tg.Empirical(np.zeros((2, 3)))], 4, dtype=torch.float16).number(0).any()


def test_samples_can_be_sent_to_other_processes():
    one = Samples(FEATURES, 16, seed=3, batches=2)
    two = pickle.loads(pickle.dumps(one))
    assert all(torch.equal(*pair) for pair in zip(one, two, strict=True))


def test_samples_of_a_run_that_changed_on_the_way_are_those_of_a_step():
    changes = [{"step": 2, "sets": [{"set": 1, "density": 0.6}]}]
    training = tg.Sampled(steps=3, batch=8, evaluation=8)
    spec = tg.Spec(features=FEATURES, hidden=2, training=training, snapshots=3, changes=changes)
    run = tg.train(spec, progress=False)
    assert Hidden(run, 16).features == spec.in_force(3).features != FEATURES
    assert Hidden(run.isel(step=1), 16).features == FEATURES
    assert Hidden(run, 16, features=FEATURES).features == FEATURES
    with pytest.raises(
        ValueError, match=r"^features_of\(run with 2 feature distributions\): .* its changes .* a step$"
    ):
        features_of(run)
    assert features_of(run.isel(step=slice(2))) == FEATURES


def test_hidden_activations_of_a_run_belong_to_its_samples():
    run = tg.train(
        tg.Spec(features=FEATURES, hidden=2, training=tg.Sampled(steps=20, batch=32), seeds=3), progress=False
    )
    W = run.weights.isel(step=-1).values
    for source, own in ((run, W), (run.sel(seed=2), W[2]), (run.sel(seed=[2]), W[[2]])):
        hidden = Hidden(source, batch=50, seed=1, batches=4)
        assert len(hidden) == len(hidden.samples) == 4
        for k, (h, x) in enumerate(zip(hidden, hidden.samples, strict=True)):
            assert h.dtype == torch.float32
            assert_array_equal(x, FEATURES.sample([1, k], 50).astype(np.float32))
            assert_allclose(h, x.numpy() @ own, rtol=1e-5, atol=1e-6)
            assert torch.equal(h, hidden.number(k))
    # A sparse autoencoder's parameters are float32, whatever the toy model's are.
    double = run.assign(weights=run.weights.astype(np.float64), bias=run.bias.astype(np.float64))
    assert Hidden(double, batch=50).number(0).dtype == torch.float64
    assert torch.equal(Hidden(double, batch=50, dtype=torch.float32).number(0), Hidden(run, batch=50).number(0))
    # Parameters are copied: training goes on without changing what is yielded.
    model = ToyModel.from_run(run)
    hidden = Hidden(model, batch=50, features=FEATURES)
    before = hidden.number(0)
    with torch.no_grad():
        model.weights.zero_()
    assert torch.equal(hidden.number(0), before)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: Samples(FEATURES, 0), "Samples(batch=0): batch must be an int of at least 1"),
        (lambda: Samples(FEATURES, 4, start=-1), "Samples(start=-1): start must be an int of at least 0"),
        (lambda: Samples(FEATURES, 4, batches=-2), "Samples(batches=-2): batches must be an int of at least 0"),
        (lambda: Samples(FEATURES, 4, seed=-1), "Samples(seed=-1): seed must be an int of at least 0, or a list of su"),
        (lambda: Samples(FEATURES, 4, seed=[]), "Samples(seed=[]): seed must be an int of at least 0, or a list of su"),
        (lambda: Samples(FEATURES, 4, seed=True), "Samples(seed=True): seed must be an int of at least 0, or a list o"),
        (lambda: Samples(FEATURES, 10**12), "Samples(batch=1000000000000): samples of 8 features would take 256 TB"),
        (lambda: Samples(FEATURES, 4).number(-1), "Samples.number(k=-1): k must be an int of at least 0"),
        (lambda: Samples(FEATURES, 4, rank=2, world_size=2), "Samples(rank=2): rank must be below world_size=2"),
        (lambda: Samples(FEATURES, 4, rank=-1), "Samples(rank=-1): rank must be an int of at least 0"),
        (
            lambda: Samples(FEATURES, 4, batches=5, world_size=2),
            "Samples(batches=5): batches must be a multiple of wor",
        ),
        (lambda: Samples(BIG, 4, dtype=torch.float16), "dtype must hold the values of Independent(count=3, density=0"),
        (lambda: Samples([tg.Empirical(np.eye(3) * 7e4)], 4, dtype=torch.float16), "which go up to 70000"),
        (lambda: Samples([HALF_NORMAL], 4, dtype=torch.float16), "(scale=8000.0)), which go up to 66338.9"),
        (lambda: Samples([TINY], 4, dtype=torch.float16), "ConstantMagnitude(value=1e-09)), which go up to 1e-09"),
        (lambda: Samples(FEATURES, 4, dtype=torch.float8_e8m0fnu), "(dtype=torch.float8_e8m0fnu): dtype must hold th"),
        (lambda: Hidden(ToyModel([[1.0]]), 0, features=[TINY]), "Hidden(batch=0): batch must be an int of at least 1"),
        (
            lambda: Hidden(HALF, 4, features=[tg.Independent(2, 0.1)]),
            "Hidden(source of torch.float16): dtype must hold hidden activations, which may go up to 80000",
        ),
        (
            lambda: Hidden(ToyModel([[1e5]]), 4, features=[tg.Independent(1, 0.1)], dtype=torch.float16),
            "Hidden(dtype=torch.float16): dtype must hold",
        ),
        (
            lambda: Hidden(ToyModel([[1.0]]), 4, features=[tg.Independent(1, 0.1)], dtype=torch.int32),
            "Hidden(dtype=torch.int32): dtype must be one of floating-point numbers",
        ),
        (lambda: Samples(FEATURES, 4, dtype=torch.int64), "Samples(dtype=torch.int64): dtype must be one of floating"),
        (lambda: Samples([], 4), "must hold at least one feature set"),
        (lambda: Hidden(ToyModel([[1.0]]), 4), "Hidden(ToyModel): features must be given"),
        (lambda: Hidden(ToyModel([[1.0]]), 4, features=FEATURES), "Hidden(features with n = 8): there must be 1"),
    ],
)
def test_what_is_wrong_is_refused_in_a_sentence(call, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        call()


def test_what_has_no_end_has_no_length():
    with pytest.raises(TypeError, match="there is no end of these batches"):
        len(Samples(FEATURES, 4))
