"""The population loss as a Fourier series, in JAX and double precision: value, gradient, Hessian, and their errors.

An output x̂ = max(0, z), z = b + Σ_i a_i x_i, of the model of Elhage et al. (2022) has the loss

    ℓ = E[(x_own − x̂)²] = E[x_own²] − E[x_own z] − E[x_own |z|] + ½ E[z²] + ½ E[z|z|].

Moments are closed forms. For |z| ≤ M two classical series, over odd k and with t = kπ/M,

    |z|  = M/2 − (4M/π²) Σ cos(tz) / k²,        z|z| = M z − (8M²/π³) Σ sin(tz) / k³,

turn the rest into the characteristic function E e^{itz} = e^{itb} Π_sets F(t a) and its derivative in a_own. The part
that hardly decays with t is taken out and added in closed form (`tegum.core.population.autodiff.patterns`); an output
whose z never changes sign is in closed form altogether. A window that is flat over the first half of the frequencies
and falls smoothly to zero over the second half makes the part that still decays slowly (from weakly coupled features)
converge faster than any power, unless it sits at z = 0.

Value, gradient and Hessian each choose their own number of frequencies, so that each reaches the accuracy asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, assert_never

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from tegum.core.compiled.xla_ffi import counted
from tegum.core.features.characteristic import marked, uniform_transforms
from tegum.core.features.distribution import FeatureDistribution
from tegum.core.features.tables import RayTable
from tegum.core.jax_setup import compiled, scope
from tegum.core.loss.linear import moment_form, squared_errors
from tegum.core.model import Activation, exact_path
from tegum.core.population.autodiff.patterns import events, segment
from tegum.core.population.autodiff.set_arrays import AlikeSets, Moments, Series, series_of
from tegum.core.population.truncation import MARGIN, SHORTER, TRUST, UNCOUPLED, window
from tegum.core.population.truncation_tail import tail_bounds

FEWEST_AUTODIFF_FREQUENCIES, MOST_AUTODIFF_FREQUENCIES = 32, 2**15
"""The fewest and the most frequencies of the series in JAX."""

_RAYS_AT_ONCE = 2**23
"""The most combinations of rays, outputs and frequencies computed at once, for sets with a quadrature: about a second's
work."""


class _Output(NamedTuple):
    """What is known of one output before its parameters vary; none of it is differentiated."""

    own: Any
    coupled: Any
    scale: Any
    above: Any
    """Its z is never negative."""
    below: Any
    """Its z is never positive."""


def _output(a: Any, b: Any, own: Any) -> _Output:
    lower, upper = b + jnp.minimum(a, 0).sum(), b + jnp.maximum(a, 0).sum()
    reach = jnp.maximum(jnp.abs(lower), jnp.abs(upper))
    scale = jnp.where(reach > 0, MARGIN * reach, 1.0)
    return _Output(own, jnp.abs(a) > UNCOUPLED * scale, scale, (lower >= 0) & (upper > 0), upper <= 0)


def _closed(a: Any, b: Any, output: _Output, groups: tuple[AlikeSets, ...], moments: Moments) -> Any:
    """The loss of one output without its series."""
    own = output.own
    spread = moments.covariance @ a
    mean = b + moments.mean @ a
    own_mean, own_power = (own * moments.mean).sum(), (own * moments.power).sum()
    own_z = own_mean * mean + (own * spread).sum()
    square = mean**2 + a @ spread
    e = events(a, own, output.coupled, groups)
    s, sign, size = segment(b, jnp.where(output.coupled, a, 0.0)), jnp.sign(b), jnp.abs(b)
    point = e.none @ jnp.stack([b * size, 2 * size, 2 * sign])
    # The derivative of U|z| in r counts where the one active feature is the output's own.
    lone = (e.one * jnp.stack([s.square, 2 * s.size, 2 * s.sign], -1)).sum()
    own_point = e.none_marked @ jnp.stack([size, sign, 0 * sign])
    along = jnp.where(
        own[:, None],
        jnp.stack([s.own_size, s.own_sign, s.own_slope], -1),
        jnp.stack([s.size, s.sign, s.slope], -1),
    )
    own_lone = (e.one_marked * along).sum()
    # The share of the events in the linear terms M z and M/2 of the two series.
    z_events = e.none[0] * b + e.none[1] + (e.one[:, 0] * (b + a * output.coupled / 2) + e.one[:, 1]).sum()
    own_events = e.none_marked[0] + (e.one_marked[:, 0] * jnp.where(own, 0.5, 1.0)).sum()
    signed = output.scale * (mean - z_events) + point + lone
    own_size = output.scale / 2 * (own_mean - own_events) + own_point + own_lone
    series = own_power - own_z - own_size + square / 2 + signed / 2
    return jnp.where(output.above, own_power - 2 * own_z + square, jnp.where(output.below, own_power, series))


def _terms(a: Any, b: Any, output: _Output, groups: tuple[AlikeSets, ...], number: Any, count: Any) -> Any:
    """The terms of some frequencies in one output's loss, weighted for `count` in all and for fewer (`SHORTER`)."""
    k = 2 * number + 1.0
    t = k * jnp.pi / output.scale
    whole, mine = jnp.ones_like(t, dtype=complex), jnp.ones_like(t, dtype=complex)
    u, v = uniform_transforms(t[:, None] * a)
    for group in groups:
        here = group.features
        known = u[:, here], v[:, here]
        plain, own = marked(group.table, t[:, None, None] * a[here], output.own[here], known)
        whole, mine = whole * plain.prod(-1), mine * own.prod(-1)
    e = events(a, output.own, output.coupled, groups)
    powers = (1j * t[:, None]) ** jnp.arange(3)
    whole = whole - powers @ e.none - ((powers @ e.one.T) * u).sum(-1)
    mine = mine - powers @ e.none_marked - ((powers @ e.one_marked.T) * jnp.where(output.own, v, u)).sum(-1)
    turn = jnp.exp(1j * t * b)
    m = output.scale
    term = (4 * m / jnp.pi**2) * (turn * mine).real / k**2 - (4 * m**2 / jnp.pi**3) * (turn * whole).imag / k**3
    term = jnp.where(output.above | output.below, 0.0, term)
    shares = jnp.array([1.0, *SHORTER])
    return (window((number + 0.5) / (shares[:, None] * count)) * term).sum(-1)


def _per_output(function: Callable[..., Any], gram: Any, b: Any, *rest: Any, which: Any = None) -> Any:
    """`function(a, b, output, …)` for every output, after finding what is not differentiated.

    If only the row of one output is given, `which` says which output that is.
    """
    own = jnp.eye(len(b), dtype=bool) if which is None else (jnp.arange(gram.shape[1]) == which)[None]
    outputs = jax.vmap(_output)(*jax.lax.stop_gradient((gram, b)), own)
    return jax.vmap(function, in_axes=(0, 0, 0, *([None] * len(rest))))(gram, b, outputs, *rest)


def _summed(order: int, gram: Any, b: Any, groups: Any, count: Any, stop: Any) -> Any:
    """The series over `count` frequencies, or its first or second derivative in (a, b): shape (3, n, …)."""
    n = len(b)
    chunk = int(
        np.clip(2 ** np.floor(np.log2(2**18 / (n**2 * (1 + n * (order == 2))))), 1, FEWEST_AUTODIFF_FREQUENCIES)
    )
    # Sets with a quadrature have thousands of rays, and work between two checks of the flag cannot be stopped.
    rays = n * sum(math.prod(each.table.weights.shape) for each in groups if isinstance(each.table, RayTable))
    while chunk > 1 and chunk * rays > _RAYS_AT_ONCE:
        chunk //= 2

    def one(a: Any, b: Any, output: _Output, number: Any, count: Any) -> Any:
        def along(parameters: Any) -> Any:
            return _terms(parameters[:-1], parameters[-1], output, groups, number, count)

        derivative = along
        for differentiate in (jax.jacrev, jax.jacfwd)[:order]:
            derivative = differentiate(derivative)
        return derivative(jnp.append(a, b))

    def step(index: Any, total: Any) -> Any:
        number = index * chunk + jnp.arange(chunk, dtype=b.dtype)
        if rays <= _RAYS_AT_ONCE:
            return total + jnp.moveaxis(_per_output(one, gram, b, number, count), 1, 0)

        def of_output(j: Any, total: Any) -> Any:
            return total.at[:, j].add(_per_output(one, gram[j][None], b[j][None], number, count, which=j)[0])

        return counted(np.int32(n), of_output, total, stop)

    start = jnp.zeros((1 + len(SHORTER), n, *([n + 1] * order)))
    return counted(jnp.asarray(count, int) // chunk, step, start, stop)


def _derivative_of_closed(order: int, gram: Any, b: Any, groups: Any, moments: Moments) -> Any:
    def one(a: Any, b: Any, output: _Output) -> Any:
        def along(parameters: Any) -> Any:
            return _closed(parameters[:-1], parameters[-1], output, groups, moments)

        derivative = along
        for differentiate in (jax.grad, jax.jacfwd)[:order]:
            derivative = differentiate(derivative)
        return derivative(jnp.append(a, b))

    return _per_output(one, gram, b)


def _norm(x: Any) -> Any:
    return jnp.sqrt((x * x).sum())


def _tail_bound(order: int, gram: Any, b: Any, series: Series, count: Any) -> Any:
    """A bound on what `count` frequencies miss of the loss or of the norm of a derivative (`truncation_tail`)."""

    def one(a: Any, b: Any, output: _Output) -> Any:
        bound = tail_bounds(a, b, output.own, output.coupled, output.scale, count, series.groups)[order]
        return jnp.where(output.above | output.below, 0.0, bound)

    return (series.moments.importance * _per_output(one, gram, b)).sum()


def _solved(order: int, gram: Any, b: Any, series: Series, tol: Any) -> tuple[Any, Any]:
    """The importance-weighted losses of all outputs, or a derivative, and the estimated error of the whole."""
    closed = _derivative_of_closed(order, gram, b, series.groups, series.moments)
    weight = series.moments.importance.reshape(-1, *([1] * order))
    reach = jnp.abs(b) + jnp.abs(gram).sum(-1)
    # Rounding: terms as large as M² are added and cancel.
    floor = 1e-15 * (series.moments.importance * (series.moments.power + reach**2)).sum()

    def target(value: Any) -> Any:
        # Second derivatives converge two powers more slowly; their tolerance is relative to their size.
        return tol if order == 0 else jnp.maximum(1.0, _norm(value)) * tol * (1.0 if order == 1 else 1e3)

    # If the tail is too large even with the most frequencies, there is no point in adding any.
    at_best = _tail_bound(order, gram, b, series, MOST_AUTODIFF_FREQUENCIES)

    def tail(value: Any, count: Any) -> Any:
        lost = _tail_bound(order, gram, b, series, count)
        return lost, jnp.where(at_best > target(value), 0.0, lost)

    def unfinished(state: Any) -> Any:
        count, value, error = state
        return (error + tail(value, count)[1] > target(value)) & (count < MOST_AUTODIFF_FREQUENCIES)

    def more(state: Any) -> Any:
        count = 2 * state[0]
        sums = _summed(order, gram, b, series.groups, count, series.stop)
        trust = jnp.array(TRUST).reshape(-1, 1, *([1] * order))
        change = (trust * jnp.abs(sums[1:] - sums[0])).max(0) * weight
        return count, weight * (closed + sums[0]), (change.sum() if order == 0 else _norm(change)) + floor

    count, value, error = jax.lax.while_loop(
        unfinished, more, (jnp.asarray(FEWEST_AUTODIFF_FREQUENCIES / 2), weight * closed, jnp.inf)
    )
    error = error + tail(value, count)[0]
    if series.coarse:
        other = weight * _derivative_of_closed(order, gram, b, series.coarse, series.moments)
        other = other + weight * _summed(order, gram, b, series.coarse, count, series.stop)[0]
        gap = jnp.abs(other - value)
        error = error + (gap.sum() if order == 0 else _norm(gap))
    return jnp.where(error <= target(value), value, jnp.nan), error


@jax.custom_jvp
def output_losses(gram: Any, b: Any, series: Series, tol: Any) -> tuple[Any, Any]:
    """The importance-weighted loss of each output, (n,), and the error of the sum; NaN where `tol` is out of reach."""
    return _solved(0, gram, b, series, tol)


@jax.custom_jvp
def output_gradients(gram: Any, b: Any, series: Series, tol: Any) -> tuple[Any, Any]:
    """The derivatives of each output's loss in its couplings and its bias, (n, n + 1), and the error of their norm."""
    return _solved(1, gram, b, series, tol)


def output_hessians(gram: Any, b: Any, series: Series, tol: Any) -> tuple[Any, Any]:
    """The second derivatives of each output's loss, (n, n + 1, n + 1), and the error of their norm."""
    return _solved(2, gram, b, series, tol)


def _tangent(gram: Any, b: Any) -> Any:
    return jnp.concatenate([gram, b[:, None]], -1)


@output_losses.defjvp
def _losses_jvp(primals: Any, tangents: Any) -> Any:
    # The gradient finds its own number of frequencies: a derivative of the truncated loop would be less accurate.
    gradients, _ = output_gradients(*primals)
    values, error = output_losses(*primals)
    moved = (gradients * _tangent(*tangents[:2])).sum(-1)
    return (values, error), (moved, jnp.zeros_like(error))


@output_gradients.defjvp
def _gradients_jvp(primals: Any, tangents: Any) -> Any:
    hessians, _ = output_hessians(*primals)
    values, error = output_gradients(*primals)
    moved = (hessians * _tangent(*tangents[:2])[:, None]).sum(-1)
    return (values, error), (moved, jnp.zeros_like(error))


def jax_loss(weights: Any, bias: Any, features: FeatureDistribution, tol: float, activation: Activation) -> Any:
    """The population loss of JAX arrays (..., n, m) and (..., n), and a bound on its error, shape (...).

    Raises:
        ValueError: the activation has no population loss, a set has no characteristic function, or `tol` cannot be
            reached (which is known only outside of JAX's transformations).

    """
    traced = isinstance(weights, Tracer) or isinstance(bias, Tracer)
    # Derivatives are taken outside this scope, where no double-precision number may appear unasked.
    single = traced and not jax.config.read("jax_enable_x64")
    with scope(double=True):
        match path := exact_path(f"population_loss(activation={activation!r})", activation):
            case "moments":
                function, series, high = _linear_losses, series_of(features, form=False), 1.0
            case "series":
                features, high = features.rescaled("population_loss({})")
                function, series = _losses, series_of(features)
            case _:
                assert_never(path)
        lead = bias.shape[:-1]
        flat = weights.reshape(-1, *weights.shape[-2:]).astype(float), bias.reshape(-1, bias.shape[-1]).astype(float)
        square = high**2
        # As accurate a gradient needs this, too: that in the biases is multiplied by `high` alone.
        loss, error = function(flat[0], flat[1] / high, series, tol * min(high, 1 / square))
        loss, error = square * loss, square * error
        if not traced and not bool(jnp.isfinite(loss).all()):
            run = int(jnp.argmin(jnp.isfinite(loss)))
            raise ValueError(
                f"population_loss(tol={tol!r}): tol cannot be reached: the loss of model {run} has an error of up to "
                f"{float(error[run]):.2g} with {MOST_AUTODIFF_FREQUENCIES} frequencies"
            )
        loss, error = loss.reshape(lead), error.reshape(lead)
        if single:
            # Rounding to the caller's precision is part of the error.
            error = error + jnp.finfo(jnp.float32).eps * jnp.abs(loss)
            return loss.astype(jnp.float32), error.astype(jnp.float32)
        return loss, error


def _gram(weights: Any) -> Any:
    """W Wᵀ without a matrix product, whose derivative would warn about double precision where JAX is set to single."""
    return (weights[..., :, None, :] * weights[..., None, :, :]).sum(-1)


@compiled()
def _losses(weights: Any, bias: Any, series: Series, tol: Any) -> Any:
    def one(model: tuple[Any, Any]) -> Any:
        w, b = model
        losses, error = output_losses(_gram(w), b, series, tol)
        return losses.sum(), jax.lax.stop_gradient(error)

    return _of_all(one, weights, bias, series)


@compiled()
def _linear_losses(weights: Any, bias: Any, series: Series, tol: Any) -> Any:
    """x̂ = W Wᵀ x + b: a quadratic form in the couplings and the bias of each output (`tegum.core.loss.linear`)."""
    mean = series.moments.mean
    form, aim = moment_form(mean, series.moments.covariance + jnp.outer(mean, mean))
    rows = jnp.concatenate([_gram(weights), bias[..., None]], -1)
    pull = (rows[..., None, :] * form).sum(-1)
    loss = (series.moments.importance * squared_errors(rows, pull, aim, series.moments.power)).sum(-1)
    size = (
        series.moments.importance * (series.moments.power + ((jnp.abs(pull) + 2 * aim) * jnp.abs(rows)).sum(-1))
    ).sum(-1)
    error = 4 * jnp.finfo(bias.dtype).eps * size
    return jnp.where(error <= tol, loss, jnp.nan), jax.lax.stop_gradient(error)


def _of_all(one: Callable[..., Any], weights: Any, bias: Any, series: Series) -> Any:
    """Apply a function of one model to all in turn; NaN for those not yet done when the flag is raised."""
    if series.stop is None:
        return jax.lax.map(one, (weights, bias))
    from tegum.core.compiled.xla_ffi import is_stopped

    def guarded(numbered: Any) -> Any:
        number, model = numbered[0], tuple(numbered[1:])
        nothing = jax.tree.map(lambda each: jnp.full(each.shape, jnp.nan), jax.eval_shape(one, model))
        return jax.lax.cond(is_stopped(series.stop, number), lambda _: nothing, one, model)

    return jax.lax.map(guarded, (jnp.arange(len(weights), dtype=jnp.int32), weights, bias))


@compiled(static_argnames="order")
def derivatives(weights: Any, bias: Any, series: Series, tol: Any, order: int) -> Any:
    """Loss, gradient and Hessian of models (run, n, m) and (run, n), up to an order, each with its error.

    The gradient, (run, P) with P = nm + n, is in (W row by row, b), and the Hessian is (run, P, P). The error of a
    derivative is found in the couplings and biases, and carried over to the parameters by the norm of the Jacobian.
    Once the flag whose address `series` holds is raised, the call returns soon, with arbitrary values.
    """
    n, m = weights.shape[1:]

    def gram_and_bias(parameters: Any) -> Any:
        w = parameters[: n * m].reshape(n, m)
        return jnp.concatenate([w @ w.T, parameters[n * m :, None]], -1)

    def one(model: tuple[Any, Any]) -> Any:
        w, b = model
        losses, error = output_losses(w @ w.T, b, series, tol)
        found = (losses.sum(), error)
        if order == 0:
            return found
        jacobian = jax.jacfwd(gram_and_bias)(jnp.append(w, b))
        stretch = 1 + 2 * _norm(w)
        slopes, slopes_error = output_gradients(w @ w.T, b, series, tol)
        found = (*found, jnp.einsum("ja,jap->p", slopes, jacobian), slopes_error * stretch)
        if order == 1:
            return found
        curvatures, curvatures_error = output_hessians(w @ w.T, b, series, tol)
        symmetric = slopes[:, :n] + slopes[:, :n].T
        hessian = jnp.einsum("jap,jab,jbq->pq", jacobian, curvatures, jacobian)
        hessian = hessian.at[: n * m, : n * m].add(jnp.kron(symmetric, jnp.eye(m)))
        return (*found, hessian, curvatures_error * stretch**2 + 2 * slopes_error)

    return _of_all(one, weights, bias, series)
