"""Superposition wins where features are sparse, PCA where they are correlated, and mixtures where they are both.

The protocol is in `PROTOCOL.md` beside this file: quotation, grid, definitions, nulls, criteria, amendments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, final

import numpy as np

from tegum.experiments.framework import Experiment, Findings
from tegum.experiments.reporting import by_key
from tegum.experiments.summary import Size
from tegum.experiments.varied import Range
from tegum.solutions.descent import KEY

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from tegum.experiments.tradeoff.findings import TradeoffPlanes
    from tegum.training.spec.spec import Spec

SETS = 3
"""The number of sets of features, the same on every plane."""

OTHER_PLANES = ((2, 3), (3, 2), (3, 3), (4, 2), (4, 3))
"""The further planes of the full form: for each, the size of its sets and the number of hidden dimensions."""


@final
class Tradeoff(Experiment["TradeoffPlanes"]):
    """The claim about the space of trade-offs between superposition and PCA.

    It is tested on the exact population loss of three partially correlated pairs in two hidden dimensions, over a plane
    of density and correlation strength. At each point the lowest of many starts, and of descents from the neighbours'
    solutions, counts. Its relative loss, the loss divided by that of the best linear model, says how close it is to
    PCA. The relative loss should rise with density and with strength. Where features are both sparse and correlated, at
    least a tenth of the best solutions should be mixtures: some pairs collapsed, yet not PCA.

    The curves on which the best solution changes abruptly are followed by continuation. Their orders, their triple
    points, and the places where a symmetry is lost continuously are reported. The null is the edge of the plane without
    correlation, where no two features may share a direction up to density 0.5.
    """

    claim: ClassVar[str] = (
        "Sparser features favour superposition and more correlated ones PCA, with mixtures of both where features are "
        "sparse and correlated."
    )

    question: ClassVar[str] = "When does superposition beat PCA?"

    seconds: ClassVar[Mapping[Size, float]] = {"quick": 25, "default": 160}

    further_figures: ClassVar[tuple[str, ...]] = ("loss",)

    varies: ClassVar[Mapping[str, Range]] = {"seeds": Range(low=8), "base_seed": Range(never=KEY)}
    """With fewer starts the lowest is often not the best; fresh starts use a base seed of their own."""

    def trainings(self, size: Size) -> Mapping[str, Spec | Sequence[Spec]]:
        """Descents over density and strength, without correlation, and in the full form with other sizes of sets."""
        from tegum.core.features.distribution import FeatureDistribution
        from tegum.core.features.sets import PartiallyCorrelated
        from tegum.training.spec.methods import Exact
        from tegum.training.spec.spec import Spec

        (low, high, p), (weak, rho), starts = {
            "quick": ((0.04, 0.7, 10), (0.5, 5), 12),
            "default": ((0.02, 0.95, 40), (0.025, 40), 32),
            "full": ((0.02, 0.95, 80), (0.0125, 80), 128),
        }[size]

        def densities(count: int) -> list[float]:
            # Rounded, so that the densities are the same numbers on every machine.
            return np.round(np.geomspace(low, high, count), 6).tolist()

        def spec(members: int, hidden: int, density: float, strength: float, seeds: int) -> Spec:
            sets = [PartiallyCorrelated(members, density, strength)] * SETS
            exact = Exact(gradient_tolerance=1e-6)
            return Spec(
                features=FeatureDistribution(sets), hidden=hidden, training=exact, snapshots=1, seeds=seeds, base_seed=4
            )

        def plane(members: int, hidden: int, sides: tuple[int, int], seeds: int) -> list[Spec]:
            strengths = np.round(np.linspace(weak, 1, sides[1]), 6).tolist()
            return [
                spec(members, hidden, each, strength, seeds) for each in densities(sides[0]) for strength in strengths
            ]

        others = OTHER_PLANES if size == "full" else ()
        return {
            "run": plane(2, 2, (p, rho), starts),
            "null": [spec(2, 2, each, 0.0, starts) for each in densities(p)],
            **{f"{members}-in-{hidden}": plane(members, hidden, (40, 40), 32) for members, hidden in others},
        }

    def analyse(self, runs: Mapping[str, xr.Dataset]) -> Findings[TradeoffPlanes]:
        """Find the map of best solutions and its boundaries; `shown` is the `TradeoffPlanes`."""
        from tegum.experiments.tradeoff.criteria import answer, criteria
        from tegum.experiments.tradeoff.figure import caption
        from tegum.experiments.tradeoff.findings import find
        from tegum.experiments.tradeoff.measures import measures

        found = find(runs)
        measured = by_key(measures(found, runs["run"]))
        judged, told = criteria(found), answer(measured)
        return Findings(tuple(measured.values()), judged, caption(found.main), found, answer=told)

    def draw(self, runs: Mapping[str, xr.Dataset], findings: Findings[TradeoffPlanes]) -> tuple[Figure, Figure]:  # noqa: ARG002 (it is in the findings)
        """Maps of collapsed pairs and of the relative loss, with boundaries, and the solutions as pictures."""
        from tegum.experiments.tradeoff.figure import figure

        return figure(findings.shown.main)
