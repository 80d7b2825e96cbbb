"""The activation patterns that a Fourier series handles badly, in closed form.

For one output z = b + Σ_i a_i x_i a feature is *coupled* when a_i is not negligible. "No coupled feature active" puts z
on a point and "one coupled feature active" on a segment, so that their part of E e^{itz} hardly decays with t. Trained
models are full of them: features are orthogonal, rows are dead. Both are elementary: z|z|, |z| and sign z at a point or
averaged along b + aU. Uncoupled features are kept to second order, r = Σ_uncoupled a_i x_i being zero in value but not
in its derivatives: every probability here is a polynomial in r, with coefficients E[r^k; event] / k!.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, assert_never

import jax
import jax.numpy as jnp

from tegum.core.features.tables import MixtureTable, RayTable
from tegum.core.population.truncation_tail import all_but_one

if TYPE_CHECKING:
    from tegum.core.population.autodiff.set_arrays import AlikeSets


class Events(NamedTuple):
    """E[r^k; event] / k! for k = 0, 1, 2, and the same weighted with x_own ("marked")."""

    none: Any
    """No coupled feature active, shape (3,)."""
    none_marked: Any
    one: Any
    """Feature l the only coupled one that is active, shape (n, 3)."""
    one_marked: Any
    """Where l is the output's own feature its magnitude U is left to the integral over U."""


def _times(p: Any, q: Any) -> Any:
    """The product of polynomials of degree 2, cut off at that degree."""
    p0, p1, p2 = p[..., 0], p[..., 1], p[..., 2]
    q0, q1, q2 = q[..., 0], q[..., 1], q[..., 2]
    return jnp.stack([p0 * q0, p0 * q1 + p1 * q0, p0 * q2 + p1 * q1 + p2 * q0], -1)


def _rest(p: Any) -> Any:
    """For each of the polynomials (count, 3), the product of all others; one without a constant term must be zero."""
    constant = p[:, 0]
    ratio = p[:, 1:] / jnp.where(constant > 0, constant, 1.0)[:, None]
    first = ratio[:, 0].sum() - ratio[:, 0]
    second = ratio[:, 1].sum() - ratio[:, 1]
    squares = (ratio[:, 0] ** 2).sum() - ratio[:, 0] ** 2
    others = jnp.stack([jnp.ones_like(first), first, second + (first**2 - squares) / 2], -1)
    return all_but_one(jax.lax.stop_gradient(constant))[:, None] * others


def events(a: Any, own: Any, coupled: Any, groups: tuple[AlikeSets, ...]) -> Events:
    """The events of one output.

    Args:
        a: its couplings, (n,).
        own: which feature it is to reproduce, booleans (n,).
        coupled: which couplings count, booleans (n,).
        groups: the sets.

    """
    parts = [_set_events(group, a[group.features], own[group.features], coupled[group.features]) for group in groups]
    plain = jnp.concatenate([part[0] for part in parts])
    mine = jnp.concatenate([own[group.features].any(-1) for group in groups])
    weighted = (jnp.concatenate([part[1] for part in parts]) * mine[:, None]).sum(0)
    rest = _rest(plain)
    rest_mine = (rest * mine[:, None]).sum(0)
    # The product over all sets but one and that of the output's own feature, which is marked.
    without_own = _rest(jnp.where(mine[:, None], jnp.array([1.0, 0.0, 0.0]), plain))
    one, one_marked = jnp.zeros((len(a), 3)), jnp.zeros((len(a), 3))
    start = 0
    for group, part in zip(groups, parts, strict=True):
        here = slice(start, start + len(group.features))
        start = here.stop
        others = jnp.where(mine[here, None], rest[here], _times(without_own[here], weighted))
        one = one.at[group.features].set(_times(part[2], rest[here][:, None]))
        one_marked = one_marked.at[group.features].set(_times(part[3], others[:, None]))
    none = _times(plain[0], rest[0])
    return Events(none, _times(weighted, rest_mine), one, one_marked)


def _set_events(group: AlikeSets, a: Any, own: Any, coupled: Any) -> tuple[Any, Any, Any, Any]:
    """The events within each set: none and none marked, (set, 3), one and one marked, (set, size, 3).

    A set without the output's own feature is not marked: its "one marked" is "one".
    """
    match table := group.table:
        case MixtureTable():
            return _gated_events(table, a, own, coupled)
        case RayTable():
            return _ray_events(group, table, a, own, coupled)
        case _:
            assert_never(table)


def _ray_events(group: AlikeSets, table: RayTable, a: Any, own: Any, coupled: Any) -> tuple[Any, Any, Any, Any]:
    """A ray activates features together, never one alone; in a set with none coupled, anything counts as "none"."""
    loosely = jnp.where(coupled, 0.0, a)
    idle, loose = 1 - table.weights.sum(-1), ~coupled.any(-1)
    nothing, mine = jnp.zeros_like(idle), own.astype(a.dtype)
    r, own_mean = (group.mean * loosely).sum(-1), (group.mean * mine).sum(-1)
    spread = jnp.einsum("gi,gij,gj->g", loosely, group.second, loosely)
    own_r = jnp.einsum("gi,gij,gj->g", mine, group.second, loosely)
    free = jnp.stack([jnp.ones_like(r), r, spread / 2], -1)
    none = jnp.where(loose[:, None], free, jnp.stack([idle, nothing, nothing], -1))
    weighted = jnp.where(loose[:, None], jnp.stack([own_mean, own_r, nothing], -1), 0.0)
    zero = jnp.zeros((*a.shape, 3))
    return none, weighted, zero, zero


def _gated_events(table: MixtureTable, a: Any, own: Any, coupled: Any) -> tuple[Any, Any, Any, Any]:
    weights, q = table
    slope = jnp.where(coupled, 0.0, a)[:, None, :]
    silent = jnp.where(coupled[:, None, :], 1 - q, 1.0)
    # Uncoupled features: Π (1 + q E[e^{aU r} − 1]) to second order, without the output's own one and with it.
    linear, quadratic = q * slope / 2, q * slope**2 / 6
    mine = own[:, None, :]

    def product(linear: Any, quadratic: Any) -> Any:
        first = linear.sum(-1)
        second = quadratic.sum(-1) + (first**2 - (linear**2).sum(-1)) / 2
        return jnp.stack([jnp.ones_like(first), first, second], -1)

    whole = product(linear, quadratic)
    others = product(jnp.where(mine, 0.0, linear), jnp.where(mine, 0.0, quadratic))
    loose_mine = jnp.where(mine & ~coupled[:, None, :], q, 0.0)
    marks = jnp.stack([(loose_mine * slope**k / d).sum(-1) for k, d in ((0, 2), (1, 3), (2, 8))], -1)
    marked = _times(others, marks)
    weight = (weights * silent.prod(-1))[..., None]
    active = (jnp.where(coupled[:, None, :], q, 0.0) * all_but_one(silent) * weights[..., None])[..., None]
    one = (active * whole[:, :, None]).sum(1)
    # Where the output's own feature is the active one, its magnitude is the mark.
    alone = jnp.where(own[:, :, None], one, (active * marked[:, :, None]).sum(1))
    one_marked = jnp.where(own.any(-1)[:, None, None], alone, one)
    return (weight * whole).sum(1), (weight * marked).sum(1), one, one_marked


class SegmentIntegrals(NamedTuple):
    """Integrals over U in [0, 1] of functions of z = b + aU."""

    square: Any
    """∫ z|z|"""
    size: Any
    """∫ |z|"""
    sign: Any
    """∫ sign z"""
    slope: Any
    """d/db ∫ sign z"""
    own_size: Any
    """∫ U|z|"""
    own_sign: Any
    """∫ U sign z"""
    own_slope: Any
    """d/db ∫ U sign z"""


def segment(b: Any, a: Any) -> SegmentIntegrals:
    """The integrals along b + aU; elementwise. Where z keeps its sign they are polynomials, so a may be tiny."""
    crosses = ((b < 0) & (b + a > 0)) | ((b > 0) & (b + a < 0))
    length = jnp.where(crosses, a, 1.0)
    c = jnp.where(crosses, -b / length, 0.5)
    up, size = jnp.sign(length), jnp.abs(length)
    s = jnp.sign(b + a / 2)
    return SegmentIntegrals(
        square=jnp.where(crosses, up * size**2 * ((1 - c) ** 3 - c**3) / 3, s * (b * b + a * b + a * a / 3)),
        size=jnp.where(crosses, size * (0.5 - c + c * c), s * (b + a / 2)),
        sign=jnp.where(crosses, up * (1 - 2 * c), s),
        slope=jnp.where(crosses, 2 / size, 0.0),
        own_size=jnp.where(crosses, size * (1 / 3 - c / 2 + c**3 / 3), s * (b / 2 + a / 3)),
        own_sign=jnp.where(crosses, up * (0.5 - c * c), s / 2),
        own_slope=jnp.where(crosses, 2 * c / size, 0.0),
    )
