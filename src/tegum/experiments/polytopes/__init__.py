"""Features end up in a few polytopes with fractional dimensionality, often tegum products of smaller ones.

The protocol is in `PROTOCOL.md` beside this file: quotation, grid, definitions, nulls, criteria, amendments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, final

import numpy as np

from tegum.experiments.framework import Experiment, Findings
from tegum.experiments.polytopes.findings import Model
from tegum.experiments.polytopes.measures import DENSE
from tegum.experiments.reporting import by_key
from tegum.experiments.summary import Size
from tegum.experiments.varied import ANY, SAMPLING, Range, refuse_room

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from tegum.training.spec.spec import Spec


@final
class Polytopes(Experiment["list[Model]"]):
    """The claim about discrete polytopes.

    It is tested on models of many equal features in few dimensions, one at each of many densities. Wherever the levels
    of five polytopes can be reached at all, the dimensionalities of represented features are compared with these
    levels, and the tegum factors are named. As features become sparser, the experiment also measures how long the
    dimensions per feature stay at 1 and at 1/2.

    The nulls are the same levels shifted elsewhere; even frames and random directions with rows of the same lengths;
    and a fall of the dimensions per feature without any plateau.
    """

    claim: ClassVar[str] = (
        "Equal features end up in a few polytopes with fractional dimensionality, often as tegum products of smaller "
        "ones, and as density varies the dimensions per feature stick at 1 and 1/2."
    )

    question: ClassVar[str] = "Do equal features form a few polytopes?"

    seconds: ClassVar[Mapping[Size, float]] = {"quick": 10, "default": 550}

    further_figures: ClassVar[tuple[str, ...]] = ("examples",)

    varies: ClassVar[Mapping[str, Range]] = {
        **dict.fromkeys(("seeds", "hidden", "features.count"), ANY),
        **SAMPLING,
        "training.steps": ANY,
    }

    def trainings(self, size: Size) -> Mapping[str, Spec | Sequence[Spec]]:
        """One model at each of 22, 23 or 60 densities, and three at each in the full size."""
        from tegum.core.features.distribution import FeatureDistribution
        from tegum.core.features.sets import Independent
        from tegum.training.spec.methods import Sampled
        from tegum.training.spec.snapshots import Snapshots
        from tegum.training.spec.spec import Spec

        n, m, steps, fine, coarse, seeds = {
            "quick": (64, 10, 4_000, 20, 2, 1),
            "default": (400, 30, 30_000, 20, 3, 1),
            "full": (400, 30, 30_000, 45, 15, 3),
        }[size]
        ratios = [*np.geomspace(1, DENSE, fine), *np.geomspace(DENSE, 100, coarse + 1)[1:]]
        return {
            "run": [
                Spec(
                    features=FeatureDistribution([Independent(n, density=float(np.round(1 / ratio, 6)))]),
                    hidden=m,
                    training=Sampled(steps=steps),
                    snapshots=Snapshots(count=1),
                    seeds=seeds,
                    base_seed=500 + number,
                )
                for number, ratio in enumerate(ratios)
            ]
        }

    def check(self, specs: Mapping[str, Spec | Sequence[Spec]]) -> None:
        """Refuse models that have room for all features."""
        group = specs["run"]
        refuse_room(self.name, group[0] if isinstance(group, Sequence) else group)

    def analyse(self, runs: Mapping[str, xr.Dataset]) -> Findings[list[Model]]:
        """Find the levels and polytopes of every model; `shown` is the list of `Model`s."""
        from tegum.experiments.polytopes.criteria import answer, criteria
        from tegum.experiments.polytopes.figure import caption
        from tegum.experiments.polytopes.findings import find
        from tegum.experiments.polytopes.measures import measures

        models = find(runs["run"])
        tested = any(model.in_range for model in models)
        measured = by_key(measures(models)) if tested else {}
        judged, text = criteria(measured), caption(models, measured)
        told = answer(measured, judged)
        return Findings(tuple(measured.values()), judged, text, models, tested=tested, answer=told)

    def draw(self, runs: Mapping[str, xr.Dataset], findings: Findings[list[Model]]) -> tuple[Figure, Figure]:  # noqa: ARG002 (it is in the findings)
        """Dimensionalities over 1/p, the share of features in each polytope, and an example of each polytope."""
        from tegum.experiments.polytopes.figure import figure

        return figure(findings.shown)
