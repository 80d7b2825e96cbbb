"""Early in training, from a small start, the model finds a linear solution before the better nonlinear one.

Models of Elhage et al., "Toy Models of Superposition" (2022), on learning dynamics. The best linear model of rank r
knows the first r principal directions (`tegum.linear_optimum`); its loss is L_r, and L_0 that of the best constant.
Three parts, ReLU models without weight decay; batches of 1,024; losses are sums over features, and the population's.

*Plateaus.* k correlated sets of three, density 0.05, in m dimensions: m = 3, and m = 2k, which is room to spare; from
starts of several scales and from Xavier's; AdamW at 1e-3, 4,000 steps. Plateaus are those of the loss
(`tegum.analysis.dynamics.plateaus`). The first one after the origin is the first that does not begin with the run and
whose loss is nearer to L_1 than to L_0, or below. A snapshot is *at the linear optimum of rank r* if its loss differs
from L_r by at most 5 %, nearest of all ranks, if the same weights with the best bias have that loss, to 5 %, in the
linear model as well, and if at least 95 % of |W|² lies in the span of the sets' principal directions. (A ReLU hides
what is negative: two sets that share a direction with opposite signs cost it little, and a linear model much.) It is
asked where the plateau is slowest, and where it is purest, which is where the loss in the linear model is least.
Expected is full rank, r = k, or m if that is less. Runs that do otherwise are counted by what they do: full rank where
purest only, a lower rank, antipodal sets (the cosine between the rows of two sets is below −1/2), another plateau,
none. Null: the level L_r times factors between 1/2 and 2 that are no one's; Xavier starts are shown beside.

*Order.* Sets that differ in density, in importance, or in size, start scale 0.001. From a small start gradient flow
should learn the principal directions one after the other, in falling order of their eigenvalues, at times that follow
from eigenvalues and start without a free parameter (`tegum.analysis.linear.escapes`). A direction is learned when its
strength |vᵀ W|² is first 1/2. Eigenvalues are *close* (ratios of 1.2 to 1.5; four sets, m = 4) or *well apart* (ratios
of 3.5 to 4.7; three sets, m = 6). A plateau at L_r is expected where eigenvalue r is at least three times the next:
that is where training from saddle to saddle shows. Runs by SGD and by AdamW; with close eigenvalues by gradient flow as
well, and by that of the linear model from the same starts. Nulls: a random order; levels times factors; the times that
the starts of other runs predict; the loss at a random time between the same two escapes.

*Onset.* Does superposition come early or late? 20 independent features, m = 5, over density and start scale. There is
superposition from that step on to the end at which more than m features are represented, |W_i|² ≥ 1/2; or, by another
definition, at which |W|²_F is above 1.1 m. It is early if the interval of the part of the loss's fall that is done
then, from L_0 to the end, lies below 1/2; late if it lies above 0.9; midway otherwise. Beside it the same model without
a ReLU, and what a linear optimum has: |W|²_F = m and an interference of 1 − m/n. Whether the step from m to m + 1
features is another one than that from m − 1 to m is reported, too.

Criteria, by intervals of 95 %; "most" is more than half, and more than the null:

1. With room to spare (m = 2k), from the smallest start, the first plateau of most runs is at the linear optimum of rank
   k where it is slowest; for every k.
2. With room to spare it is there where slowest or where purest; for every k.
3. As 1 where room is short, k ≤ m < 2k.
4. More than 90 % of the runs whose first plateau is linear where slowest end below the best linear solution of any rank
   up to m.
5. With eigenvalues well apart most runs of SGD rest at every expected level, and learn the directions in order; and
   where the loss is slowest between two escapes it is nearer to L_r than at a random time between them. For each way.
6. Most runs of SGD and gradient flow learn the directions in the predicted order, for each way in which sets differ.
7. With eigenvalues well apart most runs of SGD learn every one of them within 5 % of its predicted time; for each way.
8. The same with close eigenvalues, and in gradient flow.
9. As 6, with AdamW.

The claim holds if all pass, does not hold if none does, and holds in part otherwise; with fewer than four runs
somewhere it is not tested. The onset of superposition is reported and is no criterion: the text only asks, as it does
not say what happens where sets are more than dimensions.

How this came about. Definitions were first made on runs of base seeds 0 and 1, and tested on 100 to 311. A look at
those runs found that a ReLU loss alone takes antipodal sets for linear, that the plateaus of close eigenvalues were no
plateaus, and that a mean over directions and runs hides those that come at other times. Therefore "linear" now asks for
the loss in the linear model as well; criteria 2, 5 and 7 are new, 8 asks for a share of runs instead of a mean, and
nulls are harder. All thresholds have stayed; three for the ratio of eigenvalues is new. So when this was written 1, 3,
8 and 9 were expected to fail for some k or way, and 2 to pass. The new parts were made on runs of base seeds 1 and 700
to 1011. An earlier quick form got 8 runs of gradient flow instead of 6 after a look, and its verdict with 6 is unknown;
the quick form now has no flow. The runs here are of base seeds from 2100 on, and no definition and no criterion was
changed after a look at them. (The quick form has too few linear runs to pass 4: it would take 35, all of them below.
The default form, with 16 flows, does not pass 8; the full one, with 64, does, by a hair: its least share is 0.63 (0.50
to 0.73).)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, final

import numpy as np

from tegum.experiments.framework import Experiment, Findings, Size
from tegum.experiments.linear_first.findings import Found, found_in
from tegum.experiments.reporting import by_key
from tegum.experiments.varied import Range

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from tegum.training.spec.spec import Spec

FIRST_SEED = 2_100
"""Of base seeds."""

EVALUATION = 256
"""Samples of the loss that is recorded: small, for what is measured is the population's."""

DRAWN = ((4, 8), ("apart-size", "sgd"))
"""Sets and dimensions of the system, and the ensemble of unlike sets, whose losses are drawn."""


@final
class LinearFirst(Experiment):
    """The claim about linear solutions early in training."""

    claim: ClassVar[str] = (
        "Early in training from a small start the model finds the best linear solution with a direction for each set, "
        "one principal direction after the other, before the better nonlinear one."
    )

    varies: ClassVar[Mapping[str, Range]] = {"seeds": Range(low=4)}
    """With fewer nothing is tested."""

    def trainings(self, size: Size) -> Mapping[str, Spec | Sequence[Spec]]:
        """Sets over start scales, sets that differ by several trainings, and independent features over density."""
        return {**_alike(size), **_unlike(size), **_independent(size)}

    def analyse(self, runs: Mapping[str, xr.Dataset]) -> Findings:
        """Plateaus, orders and onsets; `shown` is what was `Found`."""
        from tegum.experiments.linear_first.criteria import FEWEST, answer, caption, criteria, failures, testable
        from tegum.experiments.linear_first.measures import measures

        found = found_in(runs)
        if not testable(found):
            text = f"Some ensemble has fewer than {FEWEST} runs that trained to their end."
            return Findings((), (), text, found, tested=False)
        measured = by_key(measures(found))
        text = f"{caption(found)} {failures(found)} {answer(found, measured)}"
        return Findings(tuple(measured.values()), criteria(found, measured), text, found)

    def draw(self, runs: Mapping[str, xr.Dataset], findings: Findings) -> Figure:  # noqa: ARG002 (it is in the findings)
        """Losses and first plateaus; plateaus, order and times of unlike sets; superposition over training."""
        from tegum.figures.linear_first import linear_first, only_words

        found: Found = findings.shown
        if not found.fewest:
            return only_words(findings.caption)
        return linear_first(found.systems, found.orders, found.onsets, DRAWN, findings.caption)


def _alike(size: Size) -> dict[str, list[Spec]]:
    """Correlated sets of three, all alike, from starts of several scales."""
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
    """Sets that differ in density, in importance, or in size, with eigenvalues close and well apart."""
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
    # A step of SGD grows the strongest direction by 4 % here, where the flow's growth would be 2 % more.
    rates = {"density": 0.04, "importance": 0.05, "size": 0.02}
    steps = {"density": 4_000, "importance": 5_000, "size": 6_000}
    adamw = Sampled(steps=1_500, weight_decay=0.0, evaluation=EVALUATION)
    # Looser than by default, and a hundred times as accurate as the comparison asks.
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
    """Independent features over density and start scale."""
    from tegum.core.features.distribution import FeatureDistribution
    from tegum.core.features.sets import Independent
    from tegum.training.spec.methods import Sampled
    from tegum.training.spec.snapshots import Snapshots
    from tegum.training.spec.spec import Spec

    quick = size == "quick"
    densities = (0.03, 0.3) if quick else (0.01, 0.03, 0.1, 0.3)
    steps = 3_000 if quick else 5_000

    def specs(training: Sampled, cases: Sequence[tuple[float, float | None]], activation: Any = "relu") -> list[Spec]:
        # Even where things happen: a logarithmic grid would be coarser than what is compared.
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
    """Steps in equal ratios."""
    return sorted({0, *np.geomspace(first, last, count).round().astype(int).tolist()})


def _grid(specs: Mapping[str, Spec | Sequence[Spec]]) -> Any:
    return {
        name: [
            (
                spec.features, spec.hidden, spec.activation, spec.initial_scale, spec.training.kind,
                getattr(spec.training, "optimiser", None),
            )
            for spec in (group if isinstance(group, Sequence) else [group])
        ]
        for name, group in specs.items()
    }  # fmt: skip
