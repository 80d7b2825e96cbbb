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
    """All measures of the experiment."""
    full, none = found.angles[:, -1], found.angles[found.densities <= NULL_UP_TO, 0]
    exact = found.along / 12
    v, c = variance(found.along), covariance(found.along)
    reduced = 2 * v - found.symmetric
    runs = found.starts
    listed = [
        Measure("densities", "densities", len(found.densities), "", n=runs, meaning=f"on the grid, {runs} starts each"),
        Measure(
            "largest_angle_at_strength_1",
            "largest angle at strength 1",
            float(full.max()),
            "rad",
            n=len(full),
            null=float(none.min()),
            meaning="angle between the represented direction and (a + b)/√2, the largest over densities; "
            f"null: the least at strength 0, densities up to {NULL_UP_TO:g}",
        ),
        Measure(
            "least_angle_at_strength_0",
            "least angle at strength 0",
            float(none.min()),
            "rad",
            n=len(none),
            meaning=f"angle between the represented direction and (a + b)/√2, the least over densities up to "
            f"{NULL_UP_TO:g}; a single feature has π/4",
        ),
        Measure(
            "largest_difference_from_closed_form",
            "largest relative difference from the closed form",
            float(np.abs(found.losses[:, -1] / exact - 1).max()),
            "",
            n=len(full),
            meaning="loss at strength 1 compared with p/12, the largest over densities",
        ),
    ]
    listed += [
        _of_transition(
            f"density_{in_key(begin.at, 3)}.strength_of_principal_component",
            f"strength from which the principal component is best at density {begin.at:.3g}",
            begin,
            "strength",
            "correlation strength from which the best solution is the principal component",
            runs,
        )
        for begin in found.principal
    ]
    for number in (0, len(found.along) // 2, len(found.along) - 1):
        p = float(found.along[number])
        listed += [
            Measure(
                f"density_{in_key(p, 3)}.reduction_by_principal_component",
                f"loss reduction by the principal component at density {p:.3g}",
                float(reduced[0, number]),
                "loss, sum over features",
                n=1,
                null=float(reduced[1, number]),
                meaning="loss reduction when only the principal component is represented; closed form "
                f"{v[number] + c[number]:.6g}; null: strength 0",
            ),
            Measure(
                f"density_{in_key(p, 3)}.reduction_by_one_feature",
                f"loss reduction by one feature at density {p:.3g}",
                float(v[number]),
                "loss, sum over features",
                n=1,
                null=float(v[number]),
                meaning="loss reduction when only one feature is represented, by the closed form p/3 − p²/4",
            ),
        ]
    listed += [
        Measure(
            f"{name}_ratio_of_reductions", f"{name} ratio of the loss reductions", float(pick(reduced[0] / v)), "",
            n=len(v), null=float(pick(reduced[1] / v)),
            meaning="reduction by the principal component / by one feature, over densities; 7/4 in the sparse limit, "
            "1 at density 1; null: strength 0",
        )
        for name, pick in (("least", np.min), ("largest", np.max))
    ]  # fmt: skip
    for k, row in zip(OTHER_FEATURES, found.shares, strict=True):
        for at in (0, *np.flatnonzero(found.room == IGNORED_AT).tolist()):
            key = f"beside_{k}.density_{in_key(found.room[at], 3)}.share_of_second_component"
            name = f"share of the second component at density {found.room[at]:.3g}, {_others(k)}"
            meaning = "|W_a − W_b|² / |W_a + W_b|² in the best solution, 1 where a and b are orthogonal"
            listed.append(Measure(key, name, float(row[at]), "", n=runs, meaning=meaning))
    for begin in found.second:
        key = f"beside_{begin.at:g}.largest_density_of_second_component"
        name = f"largest density of the second component, {_others(int(begin.at))}"
        what = "density up to which the best solution represents the second component"
        listed.append(_of_transition(key, name, begin, "density", what, runs))
    return listed


def _others(count: int) -> str:
    return f"{count} other feature{'' if count == 1 else 's'}"


def _of_transition(key: str, name: str, begin: Transition, unit: str, what: str, runs: int) -> Measure:
    there = begin.there
    kind = "abrupt" if begin.jump else "gradual"
    meaning = f"{what} ({kind}{'' if there.confirmed else ', not confirmed'})"
    return Measure(
        key, name, there.value, unit, there.value - there.error, there.value + there.error, runs, meaning=meaning
    )
