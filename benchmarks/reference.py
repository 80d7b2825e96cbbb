"""The field's reference recipe: toy models of superposition trained by PyTorch in eager mode.

The layout is that of the widely known notebook: many independent instances side by side in one model, fresh
samples at every step, ReLU(W Wᵀ x + b), mean squared error, AdamW. It is written here plainly, with nothing
tuned for or against it, as the thing the benchmarks compare with.

Run as a script, it checks itself: one gradient against the same written out by hand in NumPy at float64, the
densities of its batches, and that the loss falls.
"""

from __future__ import annotations

import multiprocessing
import time
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import torch
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


def make_optimiser(model: Model) -> torch.optim.AdamW:
    """AdamW at the rate and decay of the recipe: 1e-3 and 0.01, all else PyTorch's defaults."""
    return torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)


def train(model: Model, optimiser: torch.optim.Optimizer, steps: int, batch: int = BATCH) -> float:
    """Train for some steps; returns the loss of the last one (NaN for no step)."""
    loss = torch.tensor(torch.nan)
    for _ in range(steps):
        optimiser.zero_grad(set_to_none=True)
        loss = model.loss(model.generate_batch(batch))
        loss.backward()
        optimiser.step()
    # Read once at the end: the notebook's progress line is not part of what is timed.
    return loss.item()


def _serve(connection: Connection, threads: int, seed: int) -> None:
    """Loop of one worker of a `Team`: carry out each request, answer when it is done, stop at None."""
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    model = optimiser = None
    while (message := connection.recv()) is not None:
        match message:
            case ("build", arguments):
                model = Model(**arguments)
                optimiser = make_optimiser(model)
            case ("load", W, bias) if model is not None:
                with torch.no_grad():
                    model.W.copy_(torch.from_numpy(W))
                    model.bias.copy_(torch.from_numpy(bias))
            case ("train", steps) if model is not None and optimiser is not None:
                train(model, optimiser, steps)
            case _:
                raise RuntimeError(f"a worker without a model was sent {message[0]!r}")
        connection.send("done")


class Team:
    """The recipe in several processes, with some threads each, that work at the same time.

    A process of its own keeps the thread pools of PyTorch out of the process it is compared with.

    Attributes
    ----------
    processes
        Processes that train side by side, each a model of its own.
    instances
        Instances in each process's model; set by `build`.

    """

    def __init__(self, processes: int, threads: int):
        self.processes = processes
        self.instances = 0
        # Spawned, not forked: a fork takes over the state of thread pools without their threads.
        context = multiprocessing.get_context("spawn")
        self._workers = []
        for seed in range(processes):
            ours, theirs = context.Pipe()
            worker = context.Process(target=_serve, args=(theirs, threads, seed), daemon=True)
            worker.start()
            # With our copy open, we would wait for ever for the answer of a worker that died.
            theirs.close()
            self._workers.append((worker, ours))

    def build(self, instances: int, **arguments: Any) -> None:
        """Give every process a fresh `Model(instances, **arguments)`."""
        self.instances = instances
        self._ask([("build", {"instances": instances, **arguments})] * self.processes)

    def load(self, W: np.ndarray, bias: np.ndarray) -> None:
        """Take over weights (run, feature, hidden) and bias (run, feature): as many runs as fit, in order."""
        parts = [slice(i * self.instances, (i + 1) * self.instances) for i in range(self.processes)]
        self._ask([("load", np.ascontiguousarray(W[part]), np.ascontiguousarray(bias[part])) for part in parts])

    def train(self, steps: int) -> float:
        """Train all instances of all processes for some steps; returns the seconds taken, wall clock."""
        start = time.perf_counter()
        self._ask([("train", steps)] * self.processes)
        return time.perf_counter() - start

    def close(self) -> None:
        """End the processes."""
        for worker, connection in self._workers:
            connection.send(None)
            worker.join()

    def _ask(self, messages: list[tuple[Any, ...]]) -> None:
        for (_, connection), message in zip(self._workers, messages, strict=True):
            connection.send(message)
        for _, connection in self._workers:
            connection.recv()


def gradient_by_hand(W: np.ndarray, bias: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gradient of the loss (importance 1) for one instance, written out.

    Takes W (feature, hidden), bias (feature,) and x (sample, feature); returns the derivatives by W and bias.
    """
    h = x @ W
    z = h @ W.T + bias
    dz = 2.0 * (np.maximum(z, 0.0) - x) * (z > 0.0) / x.size
    dh = dz @ W
    return x.T @ dh + dz.T @ h, dz.sum(axis=0)


def check() -> None:
    """Check gradient, densities and descent; raises AssertionError if one is wrong."""
    torch.manual_seed(0)
    model = Model(3, 8, 3, density=0.3, set_size=2)
    with torch.no_grad():
        model.bias.normal_(std=0.1)
    x = model.generate_batch(BATCH)
    model.loss(x).backward()
    assert model.W.grad is not None
    assert model.bias.grad is not None
    for i in range(3):
        W, bias = (p[i].detach().double().numpy() for p in (model.W, model.bias))
        dW, dbias = gradient_by_hand(W, bias, x[:, i].double().numpy())
        np.testing.assert_allclose(model.W.grad[i], dW, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(model.bias.grad[i], dbias, rtol=1e-4, atol=1e-6)

    active = model.generate_batch(100_000)[:, 0].numpy() > 0.0
    np.testing.assert_allclose(active.mean(axis=0), 0.3, atol=0.01)
    np.testing.assert_array_equal(active[:, 0::2], active[:, 1::2])
    np.testing.assert_allclose((active[:, 0] & active[:, 2]).mean(), 0.09, atol=0.01)

    model = Model(8, 6, 2, density=0.05, set_size=2)
    optimiser = make_optimiser(model)
    first = train(model, optimiser, 1)
    last = train(model, optimiser, 1500)
    assert last < 0.6 * first, (first, last)
    print(f"gradient, densities and descent as expected: 8 runs, loss {first:.4f} -> {last:.4f} in 1,500 steps")


if __name__ == "__main__":
    check()
