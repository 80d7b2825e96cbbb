"""The criteria of the experiment `equivariant`, fixed before the run, and the answer in plain words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tegum.experiments.equivariant.families import leading_modes
from tegum.experiments.equivariant.findings import HALF_LINEAR_LOSS, POLYGON_WIDTHS, RotatedSolutions, polygon_width
from tegum.experiments.reporting import in_key
from tegum.experiments.summary import Criterion

PCA_FROM_WIDTH, UNEVEN_UP_TO_WIDTH = 1.5, 0.25
"""Tuning widths, in radians: PCA is expected from the first upwards, and an uneven solution up to the second."""

OWN_PLANES_WIDTHS = (0.5, 0.7)
"""The least and the largest tuning width, in radians, at which two families are judged."""

OWN_PLANES_DENSITY, SHARED_PLANES_DENSITY = 0.7, 0.03
"""The density at which two families should have planes of their own, and the one at which they should not."""

UNEVEN_DISTANCE = 0.2
"""The distance from equivariance above which a solution is clearly uneven."""

MODE_SHARE_TOLERANCE = 0.02
"""The largest difference allowed between a Fourier mode's share of |W|² and its share in PCA."""


def criteria(found: RotatedSolutions) -> tuple[Criterion, ...]:
    """Whether each part of the claim holds."""
    plane = next(each for each in found.one if each.hidden == 2)
    wide = [
        state.name == "PCA"
        for each in found.one
        for row in each.states
        for width, state in zip(each.widths, row, strict=True)
        if width >= PCA_FROM_WIDTH
    ]
    flat = [(width, state) for row in plane.states for width, state in zip(plane.widths, row, strict=True)]
    middle = [state.polygon and state.ratio <= HALF_LINEAR_LOSS for width, state in flat if polygon_width(width)]
    narrow = [
        state.name == "uneven" and state.defect > UNEVEN_DISTANCE
        for width, state in flat
        if width <= UNEVEN_UP_TO_WIDTH
    ]
    four = next(each for each in found.two if each.hidden == 4)
    planes = {
        density: [
            state
            for width, state in zip(four.widths, row, strict=True)
            if OWN_PLANES_WIDTHS[0] <= width <= OWN_PLANES_WIDTHS[1]
        ]
        for density, row in zip(four.densities, four.together, strict=True)
    }
    own = all(state.polygons for state in planes[OWN_PLANES_DENSITY])
    none = all(state.name != "own dimensions" for state in planes[SHARED_PLANES_DENSITY])
    return (
        Criterion(
            "pca_when_wide",
            f"From width {PCA_FROM_WIDTH:g} rad the best solution is PCA, made of the leading Fourier modes.",
            all(wide) and mode_difference(found) <= MODE_SHARE_TOLERANCE,
            "Wide: PCA (difference in mode shares)",
            "wide.largest_difference_from_pca",
        ),
        Criterion(
            "polygons_when_narrower",
            f"At m = 2 and widths from {POLYGON_WIDTHS[0]:g} to {POLYGON_WIDTHS[1]:g} rad it is a regular polygon of "
            "all orientations.",
            all(middle),
            "Narrower: polygon (share in one mode)",
            "polygons.least_share_of_one_mode",
        ),
        Criterion(
            "uneven_when_narrowest",
            f"At m = 2 and widths up to {UNEVEN_UP_TO_WIDTH:g} rad it is uneven.",
            all(narrow),
            "Narrowest: uneven (distance from even)",
            "narrowest.least_distance_from_equivariance",
        ),
        Criterion(
            "no_polygons_without_rotation",
            "With independent features no best solution is a regular polygon.",
            not any(s.polygon for s in found.null),
            "Independent: none (share in one mode)",
            "null.largest_share_of_one_mode",
        ),
        Criterion(
            "two_families_in_own_planes_only_when_dense",
            f"Two families at m = 4 are polygons in planes of their own at density {OWN_PLANES_DENSITY:g}, but not at "
            f"{SHARED_PLANES_DENSITY:g}.",
            own and none,
            "Two: own planes only when dense",
            f"two_families.m4.density_{in_key(SHARED_PLANES_DENSITY if own else OWN_PLANES_DENSITY)}.own_dimensions",
        ),
    )


def mode_difference(found: RotatedSolutions) -> float:
    """The largest difference between a Fourier mode's share of |W|² and its share in PCA, where the tuning is wide."""
    return max(
        float(np.abs(state.power - leading_modes(each.size, p, width, each.hidden)).max())
        for each in found.one
        for p, row in zip(each.densities, each.states, strict=True)
        for width, state in zip(each.widths, row, strict=True)
        if width >= PCA_FROM_WIDTH
    )


def uneven_distance(found: RotatedSolutions) -> float:
    """The least distance from equivariance at m = 2, where the tuning is narrowest."""
    plane = next(each for each in found.one if each.hidden == 2)
    return min(
        state.defect
        for row in plane.states
        for width, state in zip(plane.widths, row, strict=True)
        if width <= UNEVEN_UP_TO_WIDTH
    )


def answer(judged: Sequence[Criterion]) -> str:
    """What was found, in plain words."""
    passed = {each.key: each.passed for each in judged}

    def kept(key: str, how: str) -> str:
        return how if passed[key] else f"not always {how}"

    planes = " only" if passed["two_families_in_own_planes_only_when_dense"] else ", and not only"
    return (
        "A feature that appears in many orientations is kept "
        f"{kept('pca_when_wide', 'as its slowest waves (PCA)')} if neighbouring orientations are active together, "
        f"{kept('polygons_when_narrower', 'as a regular polygon')} if fewer are, and "
        f"{kept('uneven_when_narrowest', 'unevenly')} if hardly any are. Two such features take planes of their own"
        f"{planes} when dense."
    )
