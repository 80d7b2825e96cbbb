"""The field's reference recipe: toy models of superposition trained by PyTorch in eager mode.

The layout is that of the widely known notebook: many independent instances side by side in one model, fresh
samples at every step, ReLU(W Wᵀ x + b), mean squared error, AdamW. It is written here plainly, with nothing
tuned for or against it, as the thing the benchmarks compare with.

`TorchRecipe` is this recipe as a side of a comparison, also through torch.compile. Run as a script, both check
themselves (`recipe_checks.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from recipe_checks import check_recipe
from torch import Tensor, nn

BATCH = 1024


class Model(nn.Module):
    """Instances of one toy model, each with weights and bias of its own.

    Attributes
    ----------
    W
        Weights, (instance, feature, hidden). Row `W[i, f]` is the embedding of feature f.
    bias
        (instance, feature).
    density
        Probability that a set is active.
    set_size
        Features in a correlated set: they share one gate. At 1 every feature has a gate of its own.
    importance
        Weights of the features in the loss, (feature,).

    """

    def __init__(self, instances: int, features: int, hidden: int, *, density: float, set_size: int = 1):
        super().__init__()
        if features % set_size:
            raise ValueError(f"set_size={set_size} must divide features={features}")
        self.W = nn.Parameter(nn.init.xavier_normal_(torch.empty(instances, features, hidden)))
        self.bias = nn.Parameter(torch.zeros(instances, features))
        self.density = density
        self.set_size = set_size
        self.importance = torch.ones(features)

    def forward(self, x: Tensor) -> Tensor:
        """Reconstructions of the samples x; both (sample, instance, feature)."""
        h = torch.einsum("bif,ifh->bih", x, self.W)
        return torch.relu(torch.einsum("bih,ifh->bif", h, self.W) + self.bias)

    def generate_batch(self, batch: int) -> Tensor:
        """Fresh samples, (sample, instance, feature): uniform on [0, 1] where the gate is open, else 0."""
        instances, features, _ = self.W.shape
        shape = (batch, instances, features // self.set_size, self.set_size)
        magnitudes = torch.rand(shape)
        gates = torch.rand((*shape[:-1], 1)) <= self.density
        return torch.where(gates, magnitudes, torch.zeros(())).reshape(batch, instances, features)

    def loss(self, x: Tensor) -> Tensor:
        """Importance-weighted squared error, mean over samples and features, summed over instances."""
        error = self.importance * (x - self(x)) ** 2
        return error.mean(dim=(0, 2)).sum()


def make_optimiser(model: Model, fused: bool | None = None) -> torch.optim.AdamW:
    """AdamW at the rate and decay of the recipe: 1e-3 and 0.01, all else PyTorch's defaults."""
    return torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01, fused=fused)


def train(
    model: Model,
    optimiser: torch.optim.Optimizer,
    steps: int,
    batch: int = BATCH,
    loss: Callable[[Tensor], Tensor] | None = None,
) -> float:
    """Train for some steps by the model's loss, or another form of it; returns the last step's (NaN for no step)."""
    of_batch, last = loss or model.loss, torch.tensor(torch.nan)
    for _ in range(steps):
        optimiser.zero_grad(set_to_none=True)
        last = of_batch(model.generate_batch(batch))
        last.backward()
        optimiser.step()
    # Read once at the end: the notebook's progress line is not part of what is timed.
    return last.item()


@dataclass
class TorchRecipe:
    """The recipe as a side of a comparison (`team.Recipe`), in eager mode or through torch.compile.

    Attributes
    ----------
    threads
        Threads of PyTorch.
    seed
        Seed of its random numbers.
    compiled
        Whether loss and gradient go through torch.compile, and AdamW through its fused kernel. Samples are drawn in
        eager mode even then: the code that the compiler writes for random numbers takes twice to six times as long.

    """

    threads: int
    seed: int
    compiled: bool = False

    def __post_init__(self) -> None:
        torch.set_num_threads(self.threads)
        torch.manual_seed(self.seed)

    def build(self, instances: int, **arguments: Any) -> None:
        """Make a fresh `Model(instances, **arguments)` and its optimiser."""
        self.model = Model(instances, **arguments)
        self.optimiser = make_optimiser(self.model, fused=self.compiled or None)
        self.loss = self.model.loss
        if self.compiled:
            # Else shapes seen before would make the compiler write for any shape, and give up after some.
            torch.compiler.reset()
            self.loss = torch.compile(self.model.loss)

    def load(self, W: np.ndarray, bias: np.ndarray) -> None:
        """Start from weights (instance, feature, hidden) and bias (instance, feature), with moments at zero."""
        with torch.no_grad():
            self.model.W.copy_(torch.from_numpy(W))
            self.model.bias.copy_(torch.from_numpy(bias))
        self.optimiser = make_optimiser(self.model, fused=self.compiled or None)

    def train(self, steps: int) -> None:
        """Train for some steps."""
        train(self.model, self.optimiser, steps, loss=self.loss)

    def parameters(self) -> tuple[np.ndarray, np.ndarray]:
        """Weights and bias."""
        return self.model.W.detach().numpy().copy(), self.model.bias.detach().numpy().copy()

    def samples(self, batch: int) -> np.ndarray:
        """Fresh samples of the first instance, (sample, feature)."""
        return self.model.generate_batch(batch)[:, 0].numpy()

    def loss_and_gradient(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The loss on samples x (sample, instance, feature), summed over instances, and its two gradients."""
        self.optimiser.zero_grad(set_to_none=True)
        loss = self.loss(torch.from_numpy(x))
        loss.backward()
        assert self.model.W.grad is not None
        assert self.model.bias.grad is not None
        return loss.detach().numpy(), self.model.W.grad.numpy(), self.model.bias.grad.numpy()


def check() -> None:
    """Check both forms of the recipe; raises AssertionError if something is wrong."""
    for compiled in (False, True):
        check_recipe(TorchRecipe(threads=1, seed=0, compiled=compiled), "torch.compile" if compiled else "eager")


if __name__ == "__main__":
    check()
