"""The compiled programs of the JAX engine: the steps of a run, for any values in its Spec.

Samples lie along the last axis, (feature, batch), as in the CPU kernel: that axis is long, so it vectorises well.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple, final

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float32, Int32, UInt32

from tegum.core.compiled.xla_ffi import counted
from tegum.core.features.copula import CopulaShape
from tegum.core.features.empirical import Matrix
from tegum.core.features.magnitudes import Magnitude
from tegum.core.features.sets import FeatureSet
from tegum.core.jax_setup import KEPT_PROGRAMS, compiled
from tegum.core.model import ACTIVATIONS, Activation

if TYPE_CHECKING:
    from tegum.core.features.sets import Uniforms
    from tegum.training.spec.optimisers import Rule


class Mixtures(NamedTuple):
    """The shapes of consecutive sets with mixture tables, without the numbers in them."""

    sizes: tuple[int, ...]
    components: tuple[int, ...]
    magnitude: Magnitude
    """The law that they have in common."""


class Program(NamedTuple):
    """What a program is compiled for; everything else is an array argument, so that other values reuse the program."""

    sets: tuple[Mixtures | FeatureSet | Matrix | CopulaShape, ...]
    """The sets; one without a mixture table is traced through its own `draw_from`, with its values as constants."""
    activation: Activation
    rule: Rule
    batch: int
    piece: int
    """Samples drawn together: a batch, or a piece of one if the whole would take too long a call (`piece_size`)."""
    evaluation_batches: int
    together: bool
    """Whether runs form an additional axis, as GPUs need, or are trained in turn. On a CPU a run's samples then stay in
    the cache: sixteen runs together take a fifth longer with 6 features, and half as long again with 40."""

    @property
    def pieces(self) -> int:
        """The number of pieces of a batch."""
        return -(-self.batch // self.piece)


class Table(NamedTuple):
    """The numbers of `Mixtures`, padded to the same number of components."""

    upper: Float32[Any, "*run bound mixture"]
    """Cumulative weights of all components but the last, for each set with more than one."""
    gates: Float32[Any, "*run component feature"]


class Constants(NamedTuple):
    """What a run trains with and does not change."""

    evaluation: UInt32[Any, "*run word"]
    importance: Float32[Any, "*run feature"]
    tables: tuple[Table, ...]
    settings: Float32[Any, "*run setting"]
    """AdamW: β₁, 1 − β₁, β₂, 1 − β₂, ε. SGD: momentum, weight decay."""


class JaxRuns(NamedTuple):
    """The state of a run; with a leading axis, of several."""

    stream: UInt32[Any, "*run word"]
    parameters: Float32[Any, "*run parameter"]
    """Weights, row by row, then the bias."""
    first: Float32[Any, "*run parameter"]
    second: Float32[Any, "*run parameter"]
    diverged_at: Int32[Any, "*run"]
    loss: Float32[Any, "*run"]
    """The result of the last evaluation."""


def uniforms(
    stream: UInt32[Array, " word"], number: Any, rows: int, batch: int, piece: Any = None
) -> Float32[Array, "{rows} {batch}"]:
    """The uniforms on [0, 1) for batch `number` of a stream, or for a piece of that batch.

    They have 32 random bits, so that small densities are drawn accurately.
    """
    key = jax.random.fold_in(jax.random.wrap_key_data(stream, impl="threefry2x32"), number)
    if piece is not None:
        key = jax.random.fold_in(key, piece)
    words = jax.random.bits(key, (rows, batch), jnp.uint32)
    return jnp.minimum(words.astype(jnp.float32) * np.float32(2**-32), np.float32(1 - 2**-24))


@final
class Rows:
    """Hands out the rows of a matrix of uniforms, as many as a shape needs; without a matrix it only counts them."""

    def __init__(self, batch: int, matrix: Float32[Array, "row {batch}"] | None = None) -> None:
        self.batch: int = batch
        self.matrix: Float32[Array, "row {batch}"] | None = matrix
        self.used: int = 0

    def __call__(self, shape: tuple[int, ...]) -> Float32[Array, ...]:
        """Fresh uniforms of a shape."""
        size = math.prod(shape)
        first, self.used = self.used, self.used + -(-size // self.batch)
        if self.matrix is None:
            return jnp.zeros(shape, jnp.float32)
        part = self.matrix[first : self.used]
        return part.T.reshape(shape) if shape[:1] == (self.batch,) else part.ravel()[:size].reshape(shape)


def draw(
    program: Program,
    tables: tuple[Table, ...],
    stream: UInt32[Array, " word"],
    number: Any,
    data: tuple[Any, ...] = (),
    piece: Any = 0,
) -> Float32[Array, "feature {program.piece}"]:
    """A piece of batch `number` of a stream, with features as rows.

    The last piece has as many samples as the others; those beyond the batch must not be counted. `data` are the arrays
    of sets without a mixture table.
    """
    counted = Rows(program.piece)
    jax.eval_shape(lambda: _draw(program, tables, counted, data))
    # All random numbers at once: each place that draws some costs half a second of compilation. Without the barrier
    # they would be drawn again in every place that uses them.
    piece = None if program.pieces == 1 else piece
    matrix = lax.optimization_barrier(uniforms(stream, number, counted.used, program.piece, piece))
    return _draw(program, tables, Rows(program.piece, matrix), data)


def _draw(
    program: Program, tables: tuple[Table, ...], fresh: Uniforms, data: tuple[Any, ...]
) -> Float32[Array, "feature {program.piece}"]:
    parts, numbers, arrays = [], iter(tables), iter(data)
    for sets in program.sets:
        if isinstance(sets, Mixtures):
            parts.append(_draw_mixtures(sets, next(numbers), fresh, program.piece))
        else:
            x = jnp.asarray(sets.draw_from(next(arrays, ()), fresh, program.piece), jnp.float32)
            if x.shape != (program.piece, sets.features):
                raise ValueError(
                    f"{sets!r}.draw(uniforms, batch={program.piece}): must return an array of shape "
                    f"{(program.piece, sets.features)}, not {x.shape}"
                )
            parts.append(x.T)
    return jnp.concatenate(parts)


def _draw_mixtures(sets: Mixtures, table: Table, fresh: Uniforms, batch: int) -> Float32[Array, "feature {batch}"]:
    """As `GatedSet.draw`, for several sets at once."""
    u = fresh((batch, sum(sets.sizes))).T
    q = jnp.broadcast_to(table.gates[0, :, None], u.shape)
    if len(table.upper):
        mixture = np.cumsum([components > 1 for components in sets.components]) - 1
        owner = np.repeat(np.maximum(mixture, 0), sets.sizes)
        chosen = fresh((batch, int(mixture[-1]) + 1)).T[owner]
        for upper, gates in zip(table.upper, table.gates[1:], strict=True):
            q = jnp.where(chosen >= upper[owner, None], gates[:, None], q)
    return jnp.where(u < q, sets.magnitude.drawn(u / jnp.where(q > 0, q, 1)), 0)


def loss_and_gradient(
    parameters: Float32[Array, " parameter"],
    x: Float32[Array, "feature batch"],
    importance: Float32[Array, " feature"],
    activation: Activation,
) -> tuple[Float32[Array, ""], Float32[Array, " parameter"]]:
    """The empirical loss of one run and its gradient, in the closed form of `tegum.core.loss.empirical`."""
    return _share(parameters, x, importance[:, None], activation, x.shape[1])


def _share(
    parameters: Float32[Array, " parameter"],
    x: Float32[Array, "feature sample"],
    importance: Float32[Array, " feature #sample"],
    activation: Activation,
    batch: int,
) -> tuple[Float32[Array, ""], Float32[Array, " parameter"]]:
    """The contribution of some samples of a batch to its mean loss and to the gradient."""
    act = ACTIVATIONS[activation]
    W, b = _weights_and_bias(parameters, len(x))
    h = W.T @ x
    z = W @ h + b[:, None]
    error = act.function(z) - x
    weighted = importance * error
    dz = jnp.where(z > act.floor, weighted * np.float32(2 / batch), 0)
    # dz hᵀ + x (Wᵀ dz)ᵀ as one product, which is faster.
    dW = jnp.concatenate([dz, x], axis=1) @ jnp.concatenate([h, W.T @ dz], axis=1).T
    return (weighted * error).sum(0).sum() / batch, jnp.concatenate([dW.ravel(), dz.sum(1)])


def _weights_and_bias(
    parameters: Float32[Array, " parameter"], features: int
) -> tuple[Float32[Array, "{features} hidden"], Float32[Array, " {features}"]]:
    return parameters[:-features].reshape(features, -1), parameters[-features:]


def _adamw(
    run: JaxRuns,
    gradient: Float32[Array, " parameter"],
    constants: Constants,
    schedule: Float32[Array, " coefficient"],
) -> JaxRuns:
    """Decoupled weight decay and bias-corrected moments (Loshchilov & Hutter 2019), as PyTorch orders them."""
    beta1, rest1, beta2, rest2, eps = constants.settings
    step, scale, keep = schedule
    first = run.first * beta1 + gradient * rest1
    second = run.second * beta2 + gradient * gradient * rest2
    parameters = run.parameters * keep + step * first / (jnp.sqrt(second) * scale + eps)
    return run._replace(parameters=parameters, first=first, second=second)


def _sgd(
    run: JaxRuns,
    gradient: Float32[Array, " parameter"],
    constants: Constants,
    schedule: Float32[Array, " coefficient"],
) -> JaxRuns:
    """Coupled weight decay and heavy-ball momentum, as PyTorch orders them."""
    momentum, decay = constants.settings
    first = momentum * run.first + (gradient + decay * run.parameters)
    return run._replace(parameters=run.parameters + schedule[0] * first, first=first)


JAX_UPDATES: dict[Rule, Callable[..., JaxRuns]] = {"adam": _adamw, "momentum": _sgd}
"""The JAX implementation of each update rule."""


def _step(
    program: Program,
    number: Int32[Array, ""],
    run: JaxRuns,
    constants: Constants,
    schedule: Float32[Array, " coefficient"],
    data: tuple[Any, ...],
    stop: UInt32[Any, " 2"] | None,
) -> JaxRuns:
    """One step of one run. A run whose loss is not finite stays unchanged from then on."""

    def share(piece: Any) -> tuple[Float32[Array, ""], Float32[Array, " parameter"]]:
        return _of_piece(program, run, constants, run.stream, number, piece, data)

    if program.pieces == 1:
        loss, gradient = share(0)
    else:
        nothing = jnp.zeros((), jnp.float32), jnp.zeros_like(run.parameters)
        pieces = np.int32(program.pieces)
        loss, gradient = counted(pieces, lambda piece, sums: jax.tree.map(jnp.add, sums, share(piece)), nothing, stop)
    new = JAX_UPDATES[program.rule](run, gradient, constants, schedule)
    running = run.diverged_at < 0
    new = jax.tree.map(lambda new, old: jnp.where(running & jnp.isfinite(loss), new, old), new, run)
    return new._replace(diverged_at=_diverged(run, loss, number))


def _of_piece(
    program: Program,
    run: JaxRuns,
    constants: Constants,
    stream: UInt32[Array, " word"],
    number: Any,
    piece: Any,
    data: tuple[Any, ...],
) -> tuple[Float32[Array, ""], Float32[Array, " parameter"]]:
    """The contribution of a piece of batch `number` of a stream to that batch's loss and gradient."""
    x = draw(program, constants.tables, stream, number, data, piece)
    importance = constants.importance[:, None]
    if program.pieces > 1:
        samples = piece * program.piece + jnp.arange(program.piece, dtype=np.int32)
        importance = jnp.where(samples < program.batch, importance, 0)
    return _share(run.parameters, x, importance, program.activation, program.batch)


def _diverged(run: JaxRuns, loss: Float32[Array, ""], number: Int32[Array, ""]) -> Int32[Array, ""]:
    return jnp.where((run.diverged_at < 0) & ~jnp.isfinite(loss), number, run.diverged_at)


def _of_each(
    program: Program, change: Callable[..., JaxRuns], runs: JaxRuns, others: tuple[Any, ...], count: Any
) -> JaxRuns:
    """Apply `change` to the first `count` runs, each with its own of the others; to all if trained together."""
    if program.together:
        return jax.vmap(change)(runs, *others)

    def one(number: Int32[Array, ""], runs: JaxRuns) -> JaxRuns:
        new = change(*jax.tree.map(itemgetter(number), (runs, *others)))
        return jax.tree.map(lambda all_runs, run: all_runs.at[number].set(run), runs, new)

    return lax.fori_loop(0, count, one, runs)


@compiled(static_argnames="program")
def train(
    program: Program,
    runs: JaxRuns,
    constants: Constants,
    count: Int32[Any, ""],
    schedule: Float32[Any, "run step coefficient"],
    start: Int32[Any, ""],
    steps: Int32[Any, ""],
    data: tuple[Any, ...] = (),
    stop: UInt32[Any, " 2"] | None = None,
) -> JaxRuns:
    """Several steps; their number is an argument of the program.

    On a CPU `stop` is the address of a flag: once it is raised, the call returns soon, with arbitrary values.
    """

    def trained(run: JaxRuns, constants: Constants, schedule: Float32[Array, "step coefficient"]) -> JaxRuns:
        def step(done: Int32[Array, ""], run: JaxRuns) -> JaxRuns:
            return _step(program, start + done, run, constants, schedule[done], data, stop)

        return counted(steps, step, run, stop)

    with jax.default_matmul_precision("highest"):  # by default GPUs round to fewer digits
        return _of_each(program, trained, runs, (constants, schedule), count)


@compiled(static_argnames="program")
def evaluate(
    program: Program,
    runs: JaxRuns,
    constants: Constants,
    count: Int32[Any, ""],
    number: Int32[Any, ""],
    data: tuple[Any, ...] = (),
    stop: UInt32[Any, " 2"] | None = None,
) -> JaxRuns:
    """The loss after `number` steps, on the evaluation sample; `stop` as in `train`."""

    def evaluated(run: JaxRuns, constants: Constants) -> JaxRuns:
        def evaluate(count: Int32[Array, ""], losses: Float32[Array, " count"]) -> Float32[Array, " count"]:
            batch, piece = count // pieces, count % pieces
            share = _of_piece(program, run, constants, constants.evaluation, batch, piece, data)[0]
            return losses.at[count].set(pieces * share)

        pieces = program.pieces
        count = program.evaluation_batches * pieces
        loss = counted(np.int32(count), evaluate, jnp.zeros(count, jnp.float32), stop).mean()
        # The ReLU of −∞ is 0, so the loss alone would not reveal such parameters; and where the mean square of a
        # gradient overflows, AdamW would stand still for ever.
        sound = jnp.isfinite(run.parameters).all() & jnp.isfinite(run.second).all()
        loss = jnp.where(sound, loss, jnp.nan)
        return run._replace(diverged_at=_diverged(run, loss, number), loss=loss)

    with jax.default_matmul_precision("highest"):
        return _of_each(program, evaluated, runs, (constants,), count)


@compiled(static_argnames="program")
def draw_batches(
    program: Program,
    tables: tuple[Table, ...],
    stream: UInt32[Any, " word"],
    numbers: Int32[Any, " number"],
    data: tuple[Any, ...] = (),
) -> Float32[Array, "number {program.batch} feature"]:
    """Several batches of a stream, by their numbers, with samples as rows."""

    def batch(number: Any) -> Float32[Array, "sample feature"]:
        pieces = [draw(program, tables, stream, number, data, piece) for piece in range(program.pieces)]
        return jnp.concatenate(pieces, axis=1)[:, : program.batch].T

    return lax.map(batch, numbers)


def keep_programs(count: int) -> None:
    """Keep the `count` compiled programs that one training needs, and a few of those before it."""
    for each in (train, evaluate, draw_batches):
        # Where runs are trained together, the last call may be smaller and need a program of its own.
        each.keep = KEPT_PROGRAMS + 2 * count
