"""The findings of the experiment `pair` as measures."""

from __future__ import annotations

import numpy as np

from tegum.experiments.pair.findings import (
    IGNORED_AT,
    NULL_UP_TO,
    OTHER_FEATURES,
    PairSolutions,
    Transition,
    covariance,
    variance,
)
from tegum.experiments.reporting import Measure, in_key


def measures(found: PairSolutions) -> list[Measure]:
    """Everything that is reported."""
    full, none = found.angles[:, -1], found.angles[found.densities <= NULL_UP_TO, 0]
    exact = found.along / 12
    v, c = variance(found.along), covariance(found.along)
    reduced = 2 * v - found.symmetric
    runs = found.starts
    listed = [
        Measure("densities", "densities", len(found.densities), "density", n=runs, meaning=f"with {runs} starts each"),
        Measure(
            "largest_angle_at_strength_1",
            "largest angle at strength 1",
            float(full.max()),
            "rad",
            n=len(full),
            null=float(none.min()),
            meaning=f"to (a + b)/√2; null: the least at strength 0, densities up to {NULL_UP_TO:g}",
        ),
        Measure(
            "largest_difference_from_closed_form",
            "largest difference from p/12",
            float(np.abs(found.losses[:, -1] / exact - 1).max()),
            "1",
            n=len(full),
            meaning="of the loss at strength 1, relative",
        ),
    ]
    listed += [
        _of_transition(
            f"density_{in_key(begin.at, 3)}.strength_of_principal_component",
            f"strength of the principal component at {begin.at:.3g}",
            begin,
            "strength",
            runs,
        )
        for begin in found.principal
    ]
    for number in (0, len(found.along) // 2, len(found.along) - 1):
        p = float(found.along[number])
        listed += [
            Measure(
                f"density_{in_key(p, 3)}.reduction_by_principal_component",
                f"reduction by the principal component at {p:.3g}",
                float(reduced[0, number]),
                "loss, sum over features",
                n=1,
                null=float(reduced[1, number]),
                meaning=f"closed form {v[number] + c[number]:.6g}; null: strength 0",
            ),
            Measure(
                f"density_{in_key(p, 3)}.reduction_by_one_feature",
                f"reduction by one feature at {p:.3g}",
                float(v[number]),
                "loss, sum over features",
                n=1,
                null=float(v[number]),
                meaning="closed form p/3 − p²/4",
            ),
        ]
    listed += [
        Measure(
            f"{name}_ratio_of_reductions", f"{name} ratio of both reductions", float(pick(reduced[0] / v)), "1",
            n=len(v), null=float(pick(reduced[1] / v)),
            meaning="principal component over one feature; 7/4 in the sparse limit, 1 at density 1; null: strength 0",
        )
        for name, pick in (("least", np.min), ("largest", np.max))
    ]  # fmt: skip
    for k, row in zip(OTHER_FEATURES, found.shares, strict=True):
        for at in (0, *np.flatnonzero(found.room == IGNORED_AT).tolist()):
            key = f"beside_{k}.density_{in_key(found.room[at], 3)}.share_of_second_component"
            name = f"share of the second component beside {k} at {found.room[at]:.3g}"
            listed.append(Measure(key, name, float(row[at]), "1", n=runs, meaning="1 where a and b are orthogonal"))
    for begin in found.second:
        key = f"beside_{begin.at:g}.largest_density_of_second_component"
        name = f"density up to which the second component is represented beside {begin.at:g}"
        listed.append(_of_transition(key, name, begin, "density", runs))
    return listed


def _of_transition(key: str, name: str, begin: Transition, unit: str, runs: int) -> Measure:
    there = begin.there
    kind = "the best solution changes at once" if begin.jump else "gradual"
    told = f"{kind}{'' if there.confirmed else ', not confirmed'}"
    return Measure(
        key, name, there.value, unit, there.value - there.error, there.value + there.error, runs, meaning=told
    )
