"""Early in training from a small start, the model finds a linear solution before the better nonlinear one.

The protocol is in `PROTOCOL.md` beside this file: quotation, grid, definitions, nulls, criteria, amendments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, final

import numpy as np

from tegum.experiments.framework import Experiment, Findings
from tegum.experiments.reporting import by_key
from tegum.experiments.summary import Size
from tegum.experiments.varied import Range

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from tegum.experiments.linear_first.findings import LinearFirstFindings
    from tegum.training.spec.spec import Spec

FIRST_SEED = 2_100
"""The lowest base seed of the experiment."""

EVALUATION = 256
"""The number of samples for the recorded loss: few, as only the exact population loss is measured."""


@final
class LinearFirst(Experiment["LinearFirstFindings"]):
    """The claim about linear solutions early in training.

    It is tested on the exact population loss along each trajectory, in three parts:

    - plateaus: correlated sets of three, all alike, from starts of several scales. Is the first plateau the best linear
      solution with a direction for each set, both in the loss and in the loss of the same weights without the ReLU?
    - order: sets that differ in density, importance or size. Are the principal directions learned in the order, and at
      the times, that gradient flow of the linear model predicts from the initial weights without a free parameter?
    - onset: independent features. How much of the fall of the loss is complete when superposition begins?

    The nulls are levels at which no linear optimum lies, a random order, times predicted from the starts of other runs,
    and the loss at random times between two escapes.
    """

    claim: ClassVar[str] = (
        "Early in training from a small start the model finds the best linear solution with a direction for each set, "
        "one principal direction after the other, before the better nonlinear one."
    )

    question: ClassVar[str] = "Does a linear solution come first?"

    seconds: ClassVar[Mapping[Size, float]] = {"quick": 15, "default": 185}

    further_figures: ClassVar[tuple[str, ...]] = ("order", "onset")

    varies: ClassVar[Mapping[str, Range]] = {"seeds": Range(low=4)}
    """With fewer runs no criterion could pass."""

    def trainings(self, size: Size) -> Mapping[str, Spec | Sequence[Spec]]:
        """Alike sets over start scales, unlike sets over ways of training, and independent features over density."""
        return {**_alike(size), **_unlike(size), **_independent(size)}

    def analyse(self, runs: Mapping[str, xr.Dataset]) -> Findings[LinearFirstFindings]:
        """Find first plateaus, orders and onsets; `shown` is the `LinearFirstFindings`."""
        from tegum.experiments.linear_first.criteria import answer, criteria, testable
        from tegum.experiments.linear_first.figure import caption
        from tegum.experiments.linear_first.findings import found_in
        from tegum.experiments.linear_first.measures import measures

        found = found_in(runs)
        if not testable(found):
            return Findings((), (), caption(found, {}), found, tested=False)
        measured = by_key(measures(found))
        judged, text = criteria(found, measured), caption(found, measured)
        told = answer(found, measured, judged)
        return Findings(tuple(measured.values()), judged, text, found, answer=told)

    def draw(
        self,
        runs: Mapping[str, xr.Dataset],  # noqa: ARG002 (it is in the findings)
        findings: Findings[LinearFirstFindings],
    ) -> tuple[Figure, Figure, Figure]:
        """Draw losses and first plateaus, the order and times of unlike sets, and superposition over training."""
        from tegum.experiments.linear_first.figure import figure

        return figure(findings.shown)


def _alike(size: Size) -> dict[str, list[Spec]]:
    """Specs of correlated sets of three, all alike, from starts of several scales."""
    from tegum.core.features.distribution import FeatureDistribution
    from tegum.core.features.sets import Correlated
    from tegum.training.spec.methods import Sampled
    from tegum.training.spec.snapshots import Snapshots
    from tegum.training.spec.spec import Spec

    quick = size == "quick"
    systems = ((2, 3), (3, 3), (4, 3), (4, 8)) if quick else tuple((k, m) for k in (2, 3, 4, 6) for m in (3, 2 * k))
    scales = (0.001, 0.1, None) if quick else (0.001, 0.01, 0.03, 0.1, None)
    return {
        f"sets-{k}-{m}": [
            Spec(
                features=FeatureDistribution([Correlated(3, 0.05)] * k),
                hidden=m,
                initial_scale=scale,
                training=Sampled(steps=4_000, weight_decay=0.0, evaluation=EVALUATION),
                snapshots=Snapshots(count=150, spacing="logarithmic"),
                seeds=_seeds(size),
                base_seed=FIRST_SEED + number,
            )
            for scale in scales
        ]
        for number, (k, m) in enumerate(systems)
    }


def _unlike(size: Size) -> dict[str, Spec]:
    """Specs of sets that differ in density, in importance, or in size, with close and well-separated eigenvalues."""
    from tegum.core.features.distribution import FeatureDistribution
    from tegum.core.features.sets import Correlated, Independent
    from tegum.training.spec.methods import Flow, Sampled
    from tegum.training.spec.spec import Spec

    quick = size == "quick"
    close = {
        "density": [Correlated(3, p) for p in (0.1, 0.07, 0.05, 0.035)],
        "importance": [Correlated(3, 0.1, importance=each) for each in (1.0, 0.7, 0.5, 0.35)],
        "size": [Correlated(each, 0.05) for each in (5, 4, 3, 2)],
    }
    apart = {
        "density": [Correlated(8, p) for p in (0.16, 0.04, 0.01)],
        "importance": [Correlated(8, 0.1, importance=each) for each in (1.0, 0.25, 0.0625)],
        "size": [Correlated(24, 0.1), Correlated(6, 0.1), Independent(1, 0.1)],
    }
    # At these rates one step of SGD grows the strongest direction by 4 %, and the flow would add only 2 % to that.
    rates = {"density": 0.04, "importance": 0.05, "size": 0.02}
    steps = {"density": 4_000, "importance": 5_000, "size": 6_000}
    adamw = Sampled(steps=1_500, weight_decay=0.0, evaluation=EVALUATION)
    # Looser than the default, and still a hundred times more accurate than the comparison needs.
    flow = Flow(duration=130.0, steps=130, solver="explicit", rtol=1e-4, atol=1e-7, accuracy=1e-5)
    specs: dict[str, Spec] = {}
    for number, (way, sets) in enumerate(close.items()):
        spec = Spec(
            features=FeatureDistribution(sets), hidden=4, initial_scale=0.001, seeds=_seeds(size),
            base_seed=FIRST_SEED + 100 + number,
        )  # fmt: skip
        if not quick:
            fewer = spec.replace(training=flow, snapshots=130, seeds=_seeds(size) // 4)
            specs[f"order-close-{way}-flow"] = fewer
            specs[f"order-close-{way}-twin"] = fewer.replace(activation="linear")
        sgd = Sampled(steps=1_600, optimiser="sgd", rate=0.1, evaluation=EVALUATION)
        specs[f"order-close-{way}-sgd"] = spec.replace(training=sgd, snapshots=160)
        specs[f"order-close-{way}-adamw"] = spec.replace(training=adamw, snapshots=150)
    for number, (way, sets) in enumerate(apart.items()):
        spec = Spec(
            features=FeatureDistribution(sets), hidden=6, initial_scale=0.001, seeds=_seeds(size),
            base_seed=FIRST_SEED + 200 + number,
        )  # fmt: skip
        sgd = Sampled(steps=steps[way], optimiser="sgd", rate=rates[way], evaluation=EVALUATION)
        specs[f"order-apart-{way}-sgd"] = spec.replace(training=sgd, snapshots=_spread(20, steps[way], 100))
        if not quick:
            specs[f"order-apart-{way}-adamw"] = spec.replace(training=adamw, snapshots=_spread(10, 1_500, 100))
    return specs


def _independent(size: Size) -> dict[str, list[Spec]]:
    """Specs of independent features over density and start scale."""
    from tegum.core.features.distribution import FeatureDistribution
    from tegum.core.features.sets import Independent
    from tegum.training.spec.methods import Sampled
    from tegum.training.spec.snapshots import Snapshots
    from tegum.training.spec.spec import Spec

    quick = size == "quick"
    densities = (0.03, 0.3) if quick else (0.01, 0.03, 0.1, 0.3)
    steps = 3_000 if quick else 5_000

    def specs(training: Sampled, cases: Sequence[tuple[float, float | None]], activation: Any = "relu") -> list[Spec]:
        # Evenly spaced where things happen: a logarithmic grid would be coarser than the differences that are compared.
        recorded = {*range(0, 1_501, 10), *np.geomspace(1_500, training.steps, 30).round().astype(int).tolist()}
        return [
            Spec(
                features=FeatureDistribution([Independent(20, p)]),
                hidden=5,
                activation=activation,
                initial_scale=scale,
                training=training,
                snapshots=Snapshots(steps=sorted(recorded)),
                seeds={"quick": 6, "default": 16, "full": 64}[size],
                base_seed=FIRST_SEED + 300 + number,
            )
            for number, (p, scale) in enumerate(cases)
        ]

    adamw = Sampled(steps=steps, weight_decay=0.0, evaluation=EVALUATION)
    sgd = Sampled(steps=2 * steps, optimiser="sgd", rate=0.2, evaluation=EVALUATION)
    starts = (0.001, None) if quick else (0.001, 0.03, None)
    found = {"onset-adamw": specs(adamw, [(p, scale) for scale in starts for p in densities])}
    if not quick:
        found["onset-sgd"] = specs(sgd, [(p, 0.001) for p in densities[1:]])
    found["onset-linear"] = specs(adamw, [(p, 0.001) for p in ((0.3,) if quick else (0.03, 0.3))], "linear")
    return found


def _seeds(size: Size) -> int:
    return {"quick": 16, "default": 64, "full": 256}[size]


def _spread(first: int, last: int, count: int) -> list[int]:
    """`count` steps in equal ratios from `first` to `last`, and step 0."""
    return sorted({0, *np.geomspace(first, last, count).round().astype(int).tolist()})
