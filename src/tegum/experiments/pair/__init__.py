"""When two correlated features must share one dimension, the model represents their principal component.

The protocol is in `PROTOCOL.md` beside this file: quotation, grid, definitions, nulls, criteria, amendments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, final

import numpy as np

from tegum.experiments.framework import Experiment, Findings
from tegum.experiments.pair.findings import IGNORED_AT, OTHER_FEATURES
from tegum.experiments.summary import Size
from tegum.experiments.varied import Range
from tegum.solutions.descent import KEY

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from tegum.experiments.pair.findings import PairSolutions
    from tegum.training.spec.spec import Spec


@final
class Pair(Experiment["PairSolutions"]):
    """The claim about two correlated features that have to share one hidden dimension.

    It is tested on the exact population loss, where the lowest of many starts counts, in three settings:

    - angle: two features and one hidden dimension, over density and correlation strength. How far is the represented
      direction from the principal component (a + b)/√2?
    - impact: by how much does the loss fall when only the principal component is represented, and by how much when
      only one feature is? Both have closed forms.
    - room: a fully correlated pair and 1, 2 or 3 independent features in two hidden dimensions. From which density
      upwards is the second component (a − b)/√2 ignored?

    The null is the same pair without correlation.
    """

    claim: ClassVar[str] = (
        "Of two correlated features with room for one, the model represents the principal component, which has more "
        "impact on the loss than either, and ignores the second."
    )

    question: ClassVar[str] = "Which part of a correlated pair is kept?"

    seconds: ClassVar[Mapping[Size, float]] = {"quick": 10, "default": 55}

    further_figures: ClassVar[tuple[str, ...]] = ("impact",)

    varies: ClassVar[Mapping[str, Range]] = {"seeds": Range(low=8), "base_seed": Range(never=KEY)}
    """With fewer starts the lowest is often not the best; fresh starts use a base seed of their own."""

    def trainings(self, size: Size) -> Mapping[str, Spec | Sequence[Spec]]:
        """Descents over density and strength, symmetric ones over density, and pairs with 1, 2 and 3 other features."""
        from tegum.core.features.distribution import FeatureDistribution
        from tegum.core.features.sets import Correlated, Independent, PartiallyCorrelated
        from tegum.training.spec.methods import Exact
        from tegum.training.spec.spec import Spec

        p, rho, starts, q, more = {
            "quick": (6, 6, 16, 10, 16),
            "default": (12, 16, 32, 24, 48),
            "full": (24, 41, 128, 60, 256),
        }[size]
        exact = Exact(gradient_tolerance=1e-8)
        densities = np.round(np.geomspace(0.01, 0.95, p), 6).tolist()
        room = sorted({IGNORED_AT, *np.round(np.geomspace(0.01, 0.95, q), 6).tolist()})

        def spec(sets: Sequence[object], hidden: int, seeds: int, start: object = None) -> Spec:
            features = FeatureDistribution(sets)  # pyright: ignore[reportArgumentType]
            return Spec(
                features=features, hidden=hidden, training=exact, snapshots=1, seeds=seeds, base_seed=2, start=start
            )

        return {
            "angle": [
                spec([PartiallyCorrelated(2, each, strength)], 1, starts)
                for each in densities
                for strength in np.round(np.linspace(0, 1, rho), 6).tolist()
            ],
            "impact": [
                # Descent from equal weights keeps them equal.
                spec([PartiallyCorrelated(2, each, strength)], 1, 1, ([[0.7], [0.7]], [0.0, 0.0]))
                for strength in (1.0, 0.0)
                for each in densities
            ],
            **{
                f"room-{k}": [spec([Correlated(2, each), Independent(k, each)], 2, more) for each in room]
                for k in OTHER_FEATURES
            },
        }

    def analyse(self, runs: Mapping[str, xr.Dataset]) -> Findings[PairSolutions]:
        """Find the angles, reductions and shares; `shown` is the `PairSolutions`."""
        from tegum.experiments.pair.criteria import answer, criteria
        from tegum.experiments.pair.figure import caption
        from tegum.experiments.pair.findings import find
        from tegum.experiments.pair.measures import measures

        found = find(runs)
        return Findings(tuple(measures(found)), criteria(found), caption(found), found, answer=answer(found))

    def draw(self, runs: Mapping[str, xr.Dataset], findings: Findings[PairSolutions]) -> tuple[Figure, Figure]:  # noqa: ARG002 (it is in the findings)
        """The angle over density and strength, both loss reductions, and the share of the second component."""
        from tegum.experiments.pair.figure import figure

        return figure(findings.shown)
