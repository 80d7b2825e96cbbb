"""Hidden activations are found, read and replaced by TransformerLens and nnsight themselves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from nnsight import NNsight
from transformer_lens import HookedRootModule
from transformer_lens.hook_points import HookPoint

from tegum.torch import ToyModel

W = np.random.default_rng(0).normal(size=(3, 5, 2))
X = torch.rand(20, 5)


@pytest.fixture
def model():
    return ToyModel(W, np.linspace(-0.3, 0.3, 15).reshape(3, 5), dtype=torch.float32)


def hidden() -> torch.Tensor:
    return torch.einsum("bf,rfh->rbh", X, torch.from_numpy(W).float())


class Hooked(HookedRootModule):
    def __init__(self, toy):
        super().__init__()
        self.toy = toy
        toy.hidden = HookPoint()
        self.setup()

    def forward(self, x):
        return self.toy(x)


def test_transformer_lens_reads_and_replaces_hidden_activations(model):
    plain = model(X)
    hooked = Hooked(model)
    assert list(hooked.hook_dict) == ["toy.hidden"]
    out, cache = hooked.run_with_cache(X)
    torch.testing.assert_close(out, plain)
    torch.testing.assert_close(cache["toy.hidden"], hidden())
    zeroed = hooked.run_with_hooks(X, fwd_hooks=[("toy.hidden", lambda h, **_: torch.zeros_like(h))])
    torch.testing.assert_close(zeroed, model.bias.relu()[:, None].expand(3, 20, 5))


def test_nnsight_finds_every_part_by_its_name(model):
    plain = model(X)
    traced = NNsight(model)
    with traced.trace(X):
        embedded = traced.embed.output.save()
        h = traced.hidden.output.save()
        z = traced.unembed.output.save()
        out = traced.activation.output.save()
    torch.testing.assert_close(h, hidden())
    torch.testing.assert_close(embedded, h)
    torch.testing.assert_close(z.relu(), plain)
    torch.testing.assert_close(out, plain)


def test_nnsight_replaces_hidden_activations(model):
    traced = NNsight(model)
    with traced.trace(X):
        traced.hidden.output[:] = 0
        out = traced.activation.output.save()
    torch.testing.assert_close(out, model.bias.relu()[:, None].expand(3, 20, 5))
