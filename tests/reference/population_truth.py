"""The population loss, slowly and exactly: a truth that shares no method with what is tested against it.

L(W, b) = Σ_j I_j E[(x_j − relu(z_j))²], z_j = b_j + Σ_i G_ji x_i, G = W Wᵀ, where x is made of sets that are
mixture tables. Every float is a fraction, and so is L: all is computed in Python's integers, without a limit,
a series or a rounding before the last, which makes a float of the fraction.

Given which features are active, with couplings a and magnitudes U, what is needed are the moments
E[Π U_i^r_i g_p(z)], z = b + Σ a_i U_i, g_p(z) = z₊^p / p! for p ≥ 0 (g_0 is the step, and 0 at 0) and g_−1 = δ.
The g are each other's antiderivatives, and a feature is integrated out by parts,

    ∫₀¹ u^r g_p(y + a u) du = Σ_{s≤r} (−1)^s r!/(r−s)! g_{p+s+1}(y + a) / a^{s+1} − (−1)^r r! g_{p+r+1}(y) / a^{r+1},

which leaves values of g at sums of couplings. Features of coupling exactly 0 are no part of z: they are summed
over if nothing else asks for them, so that the cost, about 3^k for an output, is of its k couplings alone.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, cached_property
from itertools import combinations_with_replacement
from typing import Any

import numpy as np

import tegum as tg
from tegum.core.features.distribution import FeatureDistribution

BLOCK_ELEMENTS = 2**19
"""Elements of a block of samples (4 MiB)."""


def truth(W: Any, b: Any, features: FeatureDistribution, derivatives: int = 0) -> Any:
    """The population loss of a ReLU model, each number as the float next to the exact one.

    Where the loss has a kink (see `smoothness`) the derivatives are those of relu'(0) = 0 and relu''(0) = 0.

    Args:
        W: shape (n, m).
        b: shape (n,).
        features: made of mixture tables.
        derivatives: 0, 1 or 2.

    Returns:
        The loss; with one derivative (loss, gradient); with two (loss, gradient, Hessian). Parameters are
        numbered as in concat(W.ravel(), b).

    """
    exact_W, exact_b = _fractions(W), _fractions(b)
    n, m = exact_W.shape
    G = exact_W @ exact_W.T
    activity = _Activity(features)
    importance = _fractions(features.importance)

    loss = Fraction(0)
    slope = np.full((n, n + 1), Fraction(0))  # of output j in its couplings G_j0, G_j1, … and in b_j
    curvature: list[np.ndarray] = []
    for j in range(n):
        output = _Output(j, G[j], exact_b[j], activity)
        loss += importance[j] * output.derivative()
        if derivatives >= 1:
            slope[j] = [importance[j] * output.derivative(argument) for argument in range(n + 1)]
        if derivatives >= 2:
            matrix = np.full((n + 1, n + 1), Fraction(0))
            for row, column in combinations_with_replacement(range(n + 1), 2):
                matrix[row, column] = matrix[column, row] = importance[j] * output.derivative(row, column)
            curvature.append(matrix)
    if derivatives == 0:
        return float(loss)

    # G_ji = Σ_k W_jk W_ik: a slope in G_ji is felt by both rows.
    both = slope[:, :n] + slope[:, :n].T
    gradient = np.concatenate([(both @ exact_W).ravel(), slope[:, n]])
    if derivatives == 1:
        return float(loss), gradient.astype(np.float64)

    hessian = np.full((gradient.size, gradient.size), Fraction(0))
    hessian[: n * m, : n * m] = np.kron(both, np.vectorize(Fraction)(np.eye(m, dtype=int)))
    weights, unit = _integers(exact_W)
    for j in range(n):
        jacobian = np.zeros((n + 1, n * m + n), dtype=object)
        for i in range(n):
            jacobian[i, j * m : (j + 1) * m] += weights[i]
            jacobian[i, i * m : (i + 1) * m] += weights[j]
        jacobian[n, n * m + j] = unit
        numerators, denominator = _integers(curvature[j])
        hessian += (jacobian.T @ numerators @ jacobian) * Fraction(1, denominator * unit**2)
    return float(loss), gradient.astype(np.float64), hessian.astype(np.float64)


def smoothness(W: Any, b: Any, features: FeatureDistribution) -> int:
    """How many derivatives, of 0, 1 and 2, the population loss has at this model.

    An output whose input is a constant 0 has a kink that no density smooths: with a zero row the gradient
    jumps there, with any other row, which adds nothing as long as its features are inactive, the curvature.
    The curvature also jumps where z_j is 0 at the end x_j = 1 of a line along which nothing else is active.
    """
    exact_W, exact_b = _fractions(W), _fractions(b)
    G = exact_W @ exact_W.T
    activity = _Activity(features)
    least = 2
    for j, bias in enumerate(exact_b):
        support = tuple(int(i) for i in np.flatnonzero(G[j]))
        patterns, _ = activity.patterns(support, frozenset())
        if bias == 0 and 0 in patterns:
            least = min(least, 1 if support else 0)
        if support and bias == -G[j, j] and 1 << support.index(j) in patterns:
            least = min(least, 1)
    return least


def sampled_loss(W: Any, b: Any, features: FeatureDistribution, samples: int, seed: int) -> tuple[float, float]:
    """The mean of the loss over that many samples, at least two, and its standard error; for every kind of set."""
    W, b = np.asarray(W, dtype=np.float64), np.asarray(b, dtype=np.float64)
    G, importance = W @ W.T, features.importance
    block = max(1, BLOCK_ELEMENTS // features.n)
    count, mean, squares = 0, 0.0, 0.0  # squares: of deviations from the mean
    for number, start in enumerate(range(0, samples, block)):
        x = features.sample([seed, number], min(block, samples - start))
        error = x @ G
        error += b
        np.maximum(error, 0, out=error)
        error -= x
        error *= error
        loss = error @ importance
        step = loss.mean() - mean
        added = len(loss)
        squares += ((loss - loss.mean()) ** 2).sum() + step**2 * count * added / (count + added)
        count += added
        mean += step * added / count
    return float(mean), float(np.sqrt(squares / (count - 1) / count))


class _Activity:
    """Which features are active together, and how often."""

    def __init__(self, features: FeatureDistribution) -> None:
        self.sets: list[tuple[int, list[tuple[Fraction, list[Fraction]]]]] = []
        start = 0
        for weights, gates in features.tables():
            shares = [Fraction(float(weight)) for weight in weights]
            rows = [[Fraction(float(gate)) for gate in row] for row in gates]
            self.sets.append((start, [(share / sum(shares), row) for share, row in zip(shares, rows, strict=True)]))
            start += gates.shape[1]
        self.patterns = cache(self.patterns)

    def patterns(self, support: tuple[int, ...], required: frozenset[int]) -> tuple[dict[int, int], int]:
        """How often each part of `support` is active, and exactly that, while all of `required` is active too.

        A part is a number whose bit k stands for `support[k]`. Parts that never are active are left out.
        Probabilities are integers, over the one denominator that comes with them.
        """
        bit = {i: 1 << k for k, i in enumerate(support)}
        together = {0: Fraction(1)}
        for start, components in self.sets:
            asked = [i for i in range(start, start + len(components[0][1])) if i in bit or i in required]
            if not asked:
                continue
            of_set: dict[int, Fraction] = {}
            for share, gates in components:
                branches = {0: share}
                for i in asked:
                    gate = gates[i - start]
                    active = {part | bit.get(i, 0): p * gate for part, p in branches.items() if gate > 0}
                    inactive = {part: p * (1 - gate) for part, p in branches.items() if gate < 1}
                    branches = active if i in required else active | inactive
                for part, p in branches.items():
                    of_set[part] = of_set.get(part, Fraction(0)) + p
            together = {one | other: p * q for one, p in together.items() for other, q in of_set.items()}
        denominator = math.lcm(*(p.denominator for p in together.values()))
        return {part: int(p * denominator) for part, p in together.items()}, denominator


class _Output:
    """One output of the model, as a function of its couplings and its bias."""

    def __init__(self, j: int, couplings: Sequence[Fraction], bias: Fraction, activity: _Activity) -> None:
        self.j, self.n, self.activity = j, len(couplings), activity
        self.support = tuple(i for i, coupling in enumerate(couplings) if coupling != 0)
        self.bit = {i: 1 << k for k, i in enumerate(self.support)}
        # Moments of g_p are homogeneous in couplings and bias, of degree p: integers can stand for them.
        self.unit = math.lcm(bias.denominator, *(coupling.denominator for coupling in couplings))
        self.a = [int(couplings[i] * self.unit) for i in self.support]
        self.b = int(bias * self.unit)
        self.all = (1 << len(self.support)) - 1
        self.highest = len(self.support) + 2
        self.differences: dict[tuple[int, int, int], int] = {}
        self.product = cache(self.product)

    def derivative(self, *arguments: int) -> Fraction:
        """The derivative of E[(x_j − relu(z_j))²] in these arguments: coupling i is number i, the bias number n.

        Each derivative lowers the order of g by one and, in a coupling, adds a factor x_i.
        """
        order, factors = len(arguments), [i for i in arguments if i < self.n]
        value = -2 * self.moment(1 - order, [self.j, *factors]) + 2 * self.moment(2 - order, factors)
        if order == 0:
            patterns, denominator = self.activity.patterns((), frozenset([self.j]))
            value += Fraction(patterns.get(0, 0), 3 * denominator)
        return value

    def moment(self, p: int, factors: Iterable[int]) -> Fraction:
        """E[Π x_i · g_p(z)] over the features of `factors`, as often as each is named there."""
        powers = Counter(factors)
        outside = [i for i in powers if i not in self.bit]
        inside = sum(self.bit[i] for i in powers if i in self.bit)
        patterns, denominator = self.activity.patterns(self.support, frozenset(outside))

        # What is left of the features of `factors` when they are integrated out: (coefficient, those at u = 1, order).
        terms = [(1, 0, p)]
        denominator *= math.factorial(self.highest) * self.product(self.all)
        for i, r in powers.items():
            if i not in self.bit:
                denominator *= r + 1
                continue
            bit = self.bit[i]
            a = self.a[self.support.index(i)]
            denominator *= a**r
            last = (-1) ** r * math.factorial(r)
            terms = [
                term
                for c, ends, q in terms
                for term in [
                    *((c * (-1) ** s * math.perm(r, s) * a ** (r - s), ends | bit, q + s + 1) for s in range(r + 1)),
                    (-c * last, ends, q + r + 1),
                ]
            ]
        total = 0
        for active, probability in patterns.items():
            if active & inside == inside:
                others = active & ~inside
                integral = sum(c * self.difference(ends, others, q + others.bit_count()) for c, ends, q in terms)
                total += probability * self.product(self.all & ~active) * integral
        return Fraction(total, denominator) / Fraction(self.unit) ** p

    def difference(self, ends: int, others: int, q: int) -> int:
        """highest! · Σ over parts of `others` of ±g_q(b + couplings of `ends` and of the part)."""
        key = ends, others, q
        if key not in self.differences:
            if others:
                bit = others & -others
                value = self.difference(ends | bit, others ^ bit, q) - self.difference(ends, others ^ bit, q)
            else:
                z = self.b + sum(a for k, a in enumerate(self.a) if ends >> k & 1)
                value = z**q * math.perm(self.highest, self.highest - q) if z > 0 and q >= 0 else 0
            self.differences[key] = value
        return self.differences[key]

    def product(self, part: int) -> int:
        """The product of the couplings of a part of the support."""
        return math.prod(a for k, a in enumerate(self.a) if part >> k & 1)


def _fractions(array: Any) -> np.ndarray:
    """The same numbers, exact."""
    array = np.asarray(array, dtype=np.float64)
    return np.array([Fraction(value) for value in array.ravel().tolist()], dtype=object).reshape(array.shape)


def _integers(array: np.ndarray) -> tuple[np.ndarray, int]:
    """Fractions as integers over one denominator."""
    denominator = math.lcm(*(value.denominator for value in array.ravel()))
    integers = [value.numerator * (denominator // value.denominator) for value in array.ravel()]
    return np.array(integers, dtype=object).reshape(array.shape), denominator


# Models to test on


@dataclass(frozen=True, eq=False)
class Case:
    """A model and the features it sees."""

    id: str
    features: FeatureDistribution
    W: np.ndarray
    b: np.ndarray

    @property
    def small(self) -> bool:
        """Whether `truth` gives every derivative within a few seconds."""
        return self.features.n <= 6

    @cached_property
    def couplings(self) -> int:
        """The most couplings, not exactly zero, that an output has."""
        W = _fractions(self.W)
        return int(np.count_nonzero(W @ W.T, axis=1).max())

    @property
    def exact(self) -> bool:
        """Whether `truth` gives loss and gradient within seconds: every small case, and wide ones of few couplings."""
        return self.couplings <= 8

    @cached_property
    def smooth(self) -> int:
        """How many derivatives the loss has here; of models that are not `exact` it is never computed."""
        return smoothness(self.W, self.b, self.features)


def _case(name: str, sets: Sequence[tg.FeatureSet], W: Any, b: Any) -> Case:
    features = FeatureDistribution(sets)
    W = np.asarray(W, dtype=np.float64)
    return Case(name, features, W, np.array(np.broadcast_to(np.asarray(b, dtype=np.float64), len(W))))


def _random(name: str, sets: Sequence[tg.FeatureSet], m: int, seed: int, scale: float = 0.6) -> Case:
    rng = np.random.default_rng(seed)
    n = FeatureDistribution(sets).n
    return _case(name, sets, scale * rng.standard_normal((n, m)), 0.2 * rng.standard_normal(n))


def digons(count: int, dead: int = 0, tilt: float = 0.0) -> np.ndarray:
    """Pairs of opposite unit rows, each pair orthogonal to the others, and zero rows after them.

    With `tilt` every pair leans on the one before by about that much.
    """
    axes = np.eye(count) + tilt * np.eye(count, k=-1)
    return np.concatenate([np.repeat(axes, 2, axis=0) * np.tile([[1.0], [-1.0]], (count, 1)), np.zeros((dead, count))])


@cache
def cases() -> tuple[Case, ...]:
    """Models of every kind that has given trouble or might; their sets are mixture tables."""
    independent, correlated, anticorrelated = tg.Independent, tg.Correlated, tg.Anticorrelated
    partially = tg.PartiallyCorrelated
    pairs = [correlated(2, 0.1)] * 3
    kinds: dict[str, Callable[[int, Any, Any], tg.FeatureSet]] = {
        "independent": independent,
        "correlated": correlated,
        "anticorrelated": anticorrelated,
        "partially": lambda size, density, importance: partially(size, density, 0.4, importance),
    }
    found = [
        _case("one", [independent(1, 0.3)], [[1.1]], -0.1),
        _case("one-positive-bias", [independent(1, 0.3)], [[0.9]], 0.05),
        _case("one-always-active", [independent(1, 1.0)], [[0.7, 0.2]], 0.05),
        _case("one-perfect", [independent(1, 0.2)], [[1.0]], 0.0),
        _case("one-dead-positive-bias", [independent(1, 0.2)], [[0.0]], 0.1),
        _case("one-always-negative", [independent(1, 0.2)], [[0.5]], -0.3),
        _case("one-closes-at-its-end", [independent(1, 0.2)], [[0.5]], -0.25),
    ]
    for number, (kind, make) in enumerate(kinds.items()):
        found += [
            _random(f"{kind}-2", [make(2, 0.2, 1.0)], 1, 10 + number),
            _random(f"{kind}-4", [make(4, 0.3, 1.0)], 2, 20 + number),
            _random(f"{kind}-unequal-3", [make(3, (0.05, 0.4, 0.9), (1.0, 0.5, 3.0))], 2, 30 + number),
            _random(f"{kind}-always-active-3", [make(3, (1.0, 0.4, 1.0), (1.0, 0.0, 2.0))], 2, 40 + number),
            _random(f"{kind}-rare-3", [make(3, 1e-3, 1.0)], 2, 50 + number),
        ]
    tree = tg.Hierarchy([-1, 0, 0, 1], (0.6, 0.3, 0.5, 0.4), (1.0, 0.5, 2.0, 1.0), exclusive=True)
    found += [
        _random("exactly-k-4", [tg.ExactlyK(4, 2, 0.6)], 2, 57),
        _random("hierarchy-4", [tree], 2, 58),
        _random("copula-3", [tg.Copula((0.1, 0.3, 0.2), factors=((0.5,), (-0.4,), (0.6,)))], 2, 59),
    ]
    mixed = [independent(1, 0.2), correlated(2, 0.3, 2.0), anticorrelated(2, 0.6), independent(1, 1.0, 0.3)]
    found += [
        _random("mixed-5", [partially(3, (0.1, 0.2, 0.5), 0.7, (1.0, 2.0, 0.5)), anticorrelated(2, 0.9)], 2, 60),
        _random("mixed-6", mixed, 3, 61),
        _random("always-active-5", [independent(5, 1.0)], 2, 62),
        _random("independent-6", [independent(6, 0.15)], 2, 63),
        _random("three-pairs", pairs, 2, 64),
        _random("three-pairs-large-weights", pairs, 2, 65, scale=3.0),
        _random("three-pairs-tiny-weights", pairs, 2, 66, scale=1e-5),
        _random("more-hidden-than-features", [correlated(3, 0.3)], 5, 67),
        _random("wide-12", [correlated(2, 0.1)] * 3 + [independent(6, 0.05, tuple(0.8**i for i in range(6)))], 4, 70),
        _random("wide-20", [anticorrelated(4, 0.5)] * 3 + [partially(8, 0.1, 0.5)], 5, 71, scale=0.4),
        _random("wide-40", [independent(40, 0.05)], 10, 72, scale=0.3),
        _random("wide-40-pairs", [correlated(2, 0.03)] * 20, 8, 73, scale=0.3),
        _random("wide-40-always-active", [independent(38, 0.1), independent(2, 1.0)], 10, 74, scale=0.3),
    ]
    rng = np.random.default_rng(80)
    row = rng.standard_normal((4, 2)) / 2
    found += [
        _case("zero", pairs, np.zeros((6, 2)), 0.0),
        _case("zero-positive-bias", pairs, np.zeros((6, 2)), [0.01, 0.02, 0.05, 0.1, 0.3, 1.5]),
        _case("zero-negative-bias", pairs, np.zeros((6, 2)), -0.1),
        _case("collapsed", [correlated(2, 0.1), independent(2, 0.2)], row[[0, 0, 1, 2]], [-0.05, -0.05, 0.02, -0.1]),
        _case("collapsed-pairs", pairs, row[[0, 0, 1, 1, 2, 2]], -0.03),
        _case("collapsed-opposite", pairs, np.array([[1.0], [1], [-1], [-1], [1], [-1]]), -0.02),
        _case("bias-zero", pairs, rng.standard_normal((6, 2)) / 2, 0.0),
        _case("positive-bias", pairs, rng.standard_normal((6, 2)) / 2, 0.1),
        _case("hexagon", pairs, [[np.cos(t), np.sin(t)] for t in np.arange(6) * np.pi / 3], -0.1),
        _case("dead-positive-bias", pairs, np.concatenate([row, np.zeros((2, 2))]), [-0.1, 0.1, 0, 0.2, 0.07, 0.01]),
        _case("dead-negative-bias", pairs, np.concatenate([row, np.zeros((2, 2))]), [-0.1, 0.1, 0.3, 0.2, -0.07, -1]),
        _case("orthogonal", [independent(4, 0.2)], np.diag([1.0, 0.9, 1.1, 0.5]), [-0.01, 0.01, -0.1, 0.05]),
        _case("orthogonal-always-active", [independent(3, 1.0)], np.eye(3), [-0.01, 0.01, -0.1]),
    ]
    for tilt in (1e-12, 1e-6, 1e-3):
        nearly = np.diag([1.0, 0.9, 1.1, 0.5]) + tilt * np.array([[0.0, 1, -1, 2]] * 4)
        biases = [-0.01, 0.01, -0.1, 0.05]
        found += [
            _case(f"nearly-orthogonal-{tilt:.0e}", [independent(4, 0.2)], nearly, biases),
            _case(f"nearly-orthogonal-digons-{tilt:.0e}", pairs, digons(2, 2, tilt), [-0.01] * 4 + [0.04, -0.04]),
            _case(f"nearly-dead-{tilt:.0e}", pairs, digons(2, 2) + tilt * rng.standard_normal((6, 2)), 0.01),
        ]
    for bias in (-0.01, 0.0):
        name = "negative" if bias else "zero"
        found += [
            _case(f"digon-{name}-bias", [correlated(2, 0.05)], digons(1), bias),
            _case(f"two-digons-{name}-bias-dead-rows", pairs, digons(2, 2), [bias] * 4 + [0.05, -0.05]),
            _case(f"three-digons-{name}-bias", pairs, digons(3), bias),
            _case(f"digon-{name}-bias-dead-rows", [independent(4, 0.1)], 1.02 * digons(1, 2), [bias, bias, 0.05, 0.05]),
            _case(
                f"wide-digons-{name}-bias",
                [correlated(2, 0.05)] * 18 + pairs[:2],
                digons(18, 4),
                [bias] * 36 + [0.04] * 4,
            ),
        ]
    return tuple(found)


@cache
def trained_cases() -> tuple[Case, ...]:
    """Models as training leaves them, trained on the first call."""
    pairs = [tg.Correlated(2, 0.1)] * 3
    sets: dict[str, tuple[list[tg.FeatureSet], int]] = {
        "pairs": (pairs, 2),
        "independent": ([tg.Independent(5, 0.05, tuple(0.9**i for i in range(5)))], 2),
        "anticorrelated": ([tg.Anticorrelated(2, 0.3)] * 2 + [tg.Independent(1, 0.2)], 2),
        "wide": ([tg.PartiallyCorrelated(4, 0.05, 0.5)] * 5, 5),
    }
    found = []
    for name, (each, hidden) in sets.items():
        training = tg.Sampled(steps=2_000, rate=5e-3, batch=256)
        run = tg.train(tg.Spec(features=each, hidden=hidden, training=training, seeds=2, snapshots=[2_000]))
        for seed in range(2):
            last = run.isel(seed=seed, step=-1)
            W, b = (np.array(last[array], dtype=np.float64) for array in ("weights", "bias"))
            found.append(_case(f"trained-{name}-{seed}", each, W, b))
    return tuple(found)
