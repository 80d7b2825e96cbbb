"""The figure of the experiment `pair`, and its caption."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tegum.experiments.pair.findings import OTHER_FEATURES, PairSolutions, variance

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def figure(found: PairSolutions) -> tuple[Figure, Figure]:
    """The angle over density and strength; both loss reductions, and the share of the second component.

    Args:
        found: what is drawn.

    """
    from tegum.figures.experiments.pair import pair

    return pair(
        (found.densities, found.strengths, np.degrees(found.angles)),
        [(each.at, each.there.value) for each in found.principal],
        (found.along, 2 * variance(found.along) - found.symmetric[0]),
        (found.room, dict(zip(OTHER_FEATURES, found.shares, strict=True))),
        {int(each.at): each.there.value for each in found.second},
    )


def caption(found: PairSolutions) -> tuple[str, str]:
    """What the figures show, in sentences."""
    second = [f"{begin.there.value:.4f} (k = {begin.at:g})" for begin in found.second]
    return (
        "Angle between the represented direction and (a + b)/√2, the principal component, in the best of "
        f"{found.starts} starts: two features, m = 1. Line: where the principal component becomes the best solution.",
        "First panel: loss reduction when only the principal component, or only one feature, is represented, at "
        "correlation strength 1 (lines: closed forms; dots: found by descent). Second panel: share of the second "
        "principal component of a pair that competes with k = 1, 2 and 3 other features, m = 2"
        f"{'; it is represented up to density ' + ', '.join(second) if second else ''}.",
    )
