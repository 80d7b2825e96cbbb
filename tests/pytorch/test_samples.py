"""What a DataLoader yields is what `features.sample` draws, whatever the number of workers."""

from __future__ import annotations

import itertools
import pickle
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch.utils.data import DataLoader

import tegum as tg
from tegum.torch import Hidden, Samples, ToyModel

ROWS = np.random.default_rng(0).random((20, 3)) * (np.arange(60).reshape(20, 3) % 3 == 0)
FEATURES = tg.FeatureDistribution([tg.Correlated(2, 0.3), tg.Independent(3, 0.2), tg.Empirical(ROWS)])


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


def test_samples_can_be_sent_to_other_processes():
    one = Samples(FEATURES, 16, seed=3, batches=2)
    two = pickle.loads(pickle.dumps(one))
    assert all(torch.equal(*pair) for pair in zip(one, two, strict=True))


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
        (lambda: Samples(FEATURES, 4, seed=-1), "key must be an int of at least 0, a list of such ints"),
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
