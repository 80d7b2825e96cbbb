"""The recipe in JAX, as well as one can write it: the whole of training is one compiled loop.

Samples are drawn inside the loop, for all instances at once; loss and gradient of an instance are mapped over
instances; AdamW is written out; the state is donated. The loop is `fori_loop`, which compiles to the same program as a
`scan` whose outputs are dropped, but takes its length as an argument. What is faster differs from machine to machine
and from case to case, so there are options: how samples lie in memory, whether the gradient is JAX's or written out,
and the generator.

Run as a script, every option checks itself (`recipe_checks.py`).
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from recipe_checks import BATCH, check_recipe

RATE, DECAY, BETA1, BETA2, EPSILON = 1e-3, 0.01, 0.9, 0.999, 1e-8
LAYOUTS = ("columns", "rows")
"""Samples of an instance as (feature, sample), or as (sample, feature)."""
GRADIENTS = ("automatic", "written")
GENERATORS = ("threefry2x32", "unsafe_rbg")


class Problem(NamedTuple):
    """What a program is compiled for."""

    instances: int
    features: int
    hidden: int
    density: float
    set_size: int
    layout: str = LAYOUTS[0]
    gradient: str = GRADIENTS[0]
    generator: str = GENERATORS[0]


class State(NamedTuple):
    """All that a step changes. Parameters, and the moments alike, are W and bias, as `reference.Model` has them."""

    key: jax.Array
    step: jax.Array
    parameters: tuple[jax.Array, jax.Array]
    first: tuple[jax.Array, jax.Array]
    second: tuple[jax.Array, jax.Array]


def draw(problem: Problem, key: jax.Array, batch: int) -> jax.Array:
    """Samples for all instances, (instance, feature, sample), or with "rows" (instance, sample, feature).

    Of the 32 bits of a word, 24 are used, which float32 holds exactly. A feature with a gate of its own needs only one
    word: where it is below the density, word over density is uniform.
    """
    n, sets = problem.features, problem.features // problem.set_size
    own = problem.set_size == 1
    words = n if own else n + sets
    shape, axis = ((words, batch), 1) if problem.layout == "columns" else ((batch, words), 2)
    bits = jax.random.bits(key, (problem.instances, *shape), jnp.uint32)
    # Converted as signed numbers, for which every processor has an instruction.
    u = (bits >> 8).astype(jnp.int32).astype(jnp.float32)
    limit = np.float32(problem.density * 2**24)
    if own:
        return jnp.where(u < limit, u * np.float32(1 / limit), 0)
    magnitudes, gates = (lax.slice_in_dim(u, *bounds, axis=axis) for bounds in ((0, n), (n, words)))
    gates = jnp.repeat(gates < limit, problem.set_size, axis=axis)
    return jnp.where(gates, magnitudes * np.float32(2**-24), 0)


def loss(problem: Problem, W: jax.Array, bias: jax.Array, x: jax.Array) -> jax.Array:
    """Squared error of one instance, mean over samples and features."""
    z = W @ (W.T @ x) + bias[:, None] if problem.layout == "columns" else (x @ W) @ W.T + bias
    return jnp.mean((jnp.maximum(z, 0) - x) ** 2)


def gradient(problem: Problem, W: jax.Array, bias: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The derivatives of the loss by W and bias."""
    if problem.gradient == "automatic":
        return jax.grad(functools.partial(loss, problem), (0, 1))(W, bias, x)
    share = np.float32(2 / x.size)
    if problem.layout == "columns":
        h = W.T @ x
        z = W @ h + bias[:, None]
        dz = jnp.where(z > 0, (jnp.maximum(z, 0) - x) * share, 0)
        # dz hᵀ + x (Wᵀ dz)ᵀ as one product, which is faster.
        return jnp.concatenate([dz, x], 1) @ jnp.concatenate([h, W.T @ dz], 1).T, dz.sum(1)
    h = x @ W
    z = h @ W.T + bias
    dz = jnp.where(z > 0, (jnp.maximum(z, 0) - x) * share, 0)
    return jnp.concatenate([dz, x]).T @ jnp.concatenate([h, dz @ W]), dz.sum(0)


def advance(problem: Problem, state: State) -> State:
    """One step of AdamW on a fresh batch."""
    key, fresh = jax.random.split(state.key)
    # Without the barrier samples would be drawn again wherever they are used.
    x = lax.optimization_barrier(draw(problem, fresh, BATCH))
    slopes = jax.vmap(functools.partial(gradient, problem))(*state.parameters, x)
    step = state.step + 1
    correction1, correction2 = 1 - BETA1**step, 1 - BETA2**step
    first = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, state.first, slopes)
    second = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, state.second, slopes)

    def moved(p: jax.Array, m: jax.Array, v: jax.Array) -> jax.Array:
        return p * (1 - RATE * DECAY) - RATE * (m / correction1) / (jnp.sqrt(v / correction2) + EPSILON)

    return State(key, step, jax.tree.map(moved, state.parameters, first, second), first, second)


@functools.partial(jax.jit, static_argnums=0, donate_argnums=1)
def train(problem: Problem, state: State, steps: int) -> State:
    """Several steps, in one call."""
    return lax.fori_loop(0, steps, lambda _, state: advance(problem, state), state)


@dataclass
class JaxRecipe:
    """The recipe as a side of a comparison (`team.Recipe`). Threads are those of the process: see `team`."""

    threads: int
    seed: int

    def build(self, instances: int, **arguments: Any) -> None:
        """Fresh instances; `arguments` are the other fields of `Problem`."""
        problem = Problem(instances, **arguments)
        if problem != getattr(self, "problem", None):
            # Programs of problems that do not come back would only take memory.
            jax.clear_caches()
        self.problem = problem
        n, m = problem.features, problem.hidden
        W = np.random.default_rng(self.seed).normal(size=(instances, n, m)) * np.sqrt(2 / (n + m))
        self.load(W.astype(np.float32), np.zeros((instances, n), np.float32))

    def load(self, W: np.ndarray, bias: np.ndarray) -> None:
        """Start from weights (instance, feature, hidden) and bias (instance, feature), with moments at zero."""
        parameters = (jnp.array(W), jnp.array(bias))
        # Copies of their own: what is donated may not be shared.
        first, second = (jax.tree.map(jnp.zeros_like, parameters) for _ in range(2))
        key = jax.random.key(self.seed, impl=self.problem.generator)
        self.state = jax.device_put(State(key, jnp.float32(0), parameters, first, second))

    def train(self, steps: int) -> None:
        """Train for some steps, and wait for the end."""
        self.state = jax.block_until_ready(train(self.problem, self.state, steps))

    def parameters(self) -> tuple[np.ndarray, np.ndarray]:
        """Weights and bias."""
        W, bias = self.state.parameters
        return np.array(W), np.array(bias)

    def samples(self, batch: int) -> np.ndarray:
        """Fresh samples of the first instance, (sample, feature)."""
        x = np.asarray(draw(self.problem, self.state.key, batch)[0])
        return x.T if self.problem.layout == "columns" else x

    def loss_and_gradient(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The loss on samples x (sample, instance, feature), summed over instances, and its two gradients."""
        axes = (1, 2, 0) if self.problem.layout == "columns" else (1, 0, 2)
        given = (*self.state.parameters, jnp.array(x.transpose(axes)))
        total = jax.vmap(functools.partial(loss, self.problem))(*given).sum()
        by_W, by_bias = jax.vmap(functools.partial(gradient, self.problem))(*given)
        return np.asarray(total), np.asarray(by_W), np.asarray(by_bias)


def check() -> None:
    """Check every combination of options; raises AssertionError if something is wrong."""
    for layout, written, generator in itertools.product(LAYOUTS, GRADIENTS, GENERATORS):
        options = {"layout": layout, "gradient": written, "generator": generator}
        check_recipe(JaxRecipe(threads=1, seed=0), f"JAX, {', '.join(options.values())}", **options)


if __name__ == "__main__":
    check()
