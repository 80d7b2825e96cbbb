"""What linear-first measures, with intervals and nulls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from tegum.analysis.linear.escape_order import chance
from tegum.analysis.linear.onset import DEFINITIONS
from tegum.analysis.linear.plateau_ranks import PLATEAU_KINDS, on
from tegum.experiments.reporting import Measure, average, in_key, mean, share

if TYPE_CHECKING:
    from tegum.analysis.linear.escape_order import EscapeOrder
    from tegum.analysis.linear.onset import SuperpositionOnset
    from tegum.analysis.linear.plateau_ranks import FirstPlateaus
    from tegum.experiments.linear_first.findings import LinearFirstFindings, OnsetEnsemble


WAYS: Mapping[str, str] = {
    "close-density": "close densities",
    "close-importance": "close importances",
    "close-size": "close sizes",
    "apart-density": "separate densities",
    "apart-importance": "separate importances",
    "apart-size": "separate sizes",
}
"""In what sets differ, and whether their eigenvalues are close or well apart."""

TRAININGS: Mapping[str, str] = {
    "flow": "gradient flow",
    "twin": "gradient flow of the linear model",
    "sgd": "SGD",
    "adamw": "AdamW",
}

EARLY, LATE = 0.5, 0.9
"""Superposition is early if it begins before the first part of the loss's fall is done, late if after the second."""


def measures(found: LinearFirstFindings) -> list[Measure]:
    """All measures, with names of their own."""
    return [*_of_systems(found), *_of_orders(found), *_of_onsets(found)]


def place(way: str, training: str) -> str:
    """The name of an ensemble of `EscapeOrder`, at the start of its measures' names."""
    return f"{WAYS[way]}, {TRAININGS[training]}"


def place_key(way: str, training: str) -> str:
    """An ensemble of `EscapeOrder`, at the start of its measures' keys: "apart_density.sgd"."""
    return f"{way.replace('-', '_')}.{training}"


def where(training: str, ensemble: OnsetEnsemble) -> str:
    """The name of an ensemble of onsets."""
    model = "linear model" if training == "linear" else TRAININGS[training]
    return f"{model}, density {ensemble.density:g}, scale {start(ensemble.scale)}"


def where_key(training: str, ensemble: OnsetEnsemble) -> str:
    """An ensemble of onsets, at the start of its measures' keys: "onset_sgd.density_0_03.start_0_001"."""
    return f"onset_{training}.density_{in_key(ensemble.density)}.start_{_start_key(ensemble.scale)}"


def start(scale: float) -> str:
    """A start scale in words."""
    return "Xavier" if np.isnan(scale) else f"{scale:g}"


def _start_key(scale: float) -> str:
    """A start scale in a key."""
    return "xavier" if np.isnan(scale) else in_key(scale)


def _of_systems(found: LinearFirstFindings) -> Iterator[Measure]:
    for system in found.systems:
        for number, (scale, runs) in enumerate(zip(system.scales, system.runs, strict=True)):
            # The smallest start, which criteria are about, goes without saying.
            key = f"{system.key}.start_{_start_key(scale)}" if number else system.key
            from_start = f", start {start(scale)}" if number else ""
            name = f"{system.name}: first plateau at rank {system.runs[0].rank}"
            yield share(
                f"{key}.first_plateau_at_full_rank",
                f"{name}{from_start}",
                int(on(runs, "linear").sum()),
                len(runs.first),
                f"linear where slowest, start {start(scale)}; else {_counted(runs)}; null: levels times factors",
                null=runs.chance(),
            )
            yield share(
                f"{key}.first_plateau_at_full_rank_at_some_time",
                f"{name} at some time{from_start}",
                int(on(runs, "linear", "begun").sum()),
                len(runs.first),
                "linear where slowest or where purest; null: levels times factors, where purest",
                null=runs.chance(purest=True),
            )
        small, xavier = system.runs[0], system.runs[-1]
        for kind, name in list(PLATEAU_KINDS.items())[1:]:
            yield share(
                f"{system.key}.instead_{kind}", f"{system.name}: instead {name}",
                int(on(small, kind).sum()), len(small.first),
                f"of the runs from scale {system.scales[0]:g}; null: Xavier starts",
                null=float(on(xavier, kind).mean()),
            )  # fmt: skip
        yield average(
            f"{system.key}.weights_in_principal_subspace",
            f"{system.name}: |W|² in the principal subspace",
            small.passing,
            "1",
            f"when the loss first is that of rank {small.rank}, start {system.scales[0]:g}; null: Xavier starts",
            null=mean(xavier.passing.tolist()),
        )
    first = [(system.runs[0], on(system.runs[0], "linear", "lower"), system.losses[-1]) for system in found.systems]
    ends = [below for runs, linear, least in first for below in (runs.loss[linear, -1] < least).tolist()]
    yield share(
        "linear_runs_that_end_below_linear_solutions",
        "linear runs that end below every linear solution",
        sum(ends),
        len(ends),
        "of rank m at most, of runs whose first plateau is linear where slowest",
    )


def _counted(runs: FirstPlateaus) -> str:
    counts = Counter(runs.kinds)
    return ", ".join(f"{counts[kind]} {name}" for kind, name in list(PLATEAU_KINDS.items())[1:])


def _of_orders(found: LinearFirstFindings) -> Iterator[Measure]:
    for (way, training), order in found.orders.items():
        key, name = place_key(way, training), place(way, training)
        yield share(
            f"{key}.in_predicted_order", f"{name}: in the predicted order",
            int(order.in_order.sum()), len(order.measured),
            f"{order.modes} directions; null: a random order", null=chance(order.modes),
        )  # fmt: skip
        for rank in range(1, order.modes + 1):
            yield share(
                f"{key}.plateau_at_rank_{rank}", f"{name}: plateau at rank {rank}",
                int(order.plateaus_at(rank).sum()), len(order.measured),
                f"within 5 % of L_{rank}, ReLU and linear; eigenvalue over the next {order.ratio(rank):.2g}; null: "
                "levels times factors", null=order.by_chance((rank,)),
            )  # fmt: skip
        if training != "adamw":
            yield from _of_times(key, name, order)
        if way.startswith("apart"):
            yield share(
                f"{key}.every_expected_plateau", f"{name}: every expected plateau",
                int(order.climbs.sum()), len(order.measured),
                f"at ranks {', '.join(map(str, order.expected))}, and directions in order; null: share of plateaus at "
                "levels times factors", null=order.by_chance(order.expected),
            )  # fmt: skip
        if way == "close-size" and training == "adamw":
            # AdamW moves entries, not directions, at its rate: in a set of s features each has 1/√s of the way to go.
            yield _median(
                f"{key}.exponent_of_time_in_set_size", f"{name}: exponent of the time in the set's size",
                order.exponents,
                "median; time to learn a set of s features ∝ s to this; −1/2 if all entries move alike; null: the "
                "closed form for gradient flow from the same starts", order.exponent_predicted,
            )  # fmt: skip


def _of_times(key: str, name: str, order: EscapeOrder) -> Iterator[Measure]:
    yield share(
        f"{key}.every_time_as_predicted", f"{name}: every time as predicted",
        int(order.timely.sum()), len(order.measured),
        "within 5 %, a direction that is not learned is not; null: by the starts of other runs",
        null=order.timely_by_others,
    )  # fmt: skip
    yield average(
        f"{key}.error_of_predicted_times", f"{name}: error of predicted times", order.error, "1",
        "mean |ln (measured/predicted)|; null: by the starts of other runs", null=order.error_by_others,
    )  # fmt: skip
    for mode in range(order.modes):
        yield average(
            f"{key}.lateness_of_direction_{mode + 1}",
            f"{name}: lateness of direction {mode + 1}",
            order.late[:, mode],
            "1",
            "ln (measured/predicted)",
            null=0.0,
        )
    rests = order.rests()
    yield average(
        f"{key}.distance_of_rests_from_linear_optima", f"{name}: distance of rests from linear optima",
        rests[:, 0], "1",
        "mean |ln (loss/L_r)| where the loss is slowest between two escapes; null: at a random time between them",
        null=mean(rests[:, 1].tolist()),
    )  # fmt: skip
    yield average(
        f"{key}.rests_nearer_than_random_times", f"{name}: rests nearer than random times",
        rests[:, 1] - rests[:, 0], "1", "the null minus that distance, by run; null: 0", null=0.0,
    )  # fmt: skip


def _median(key: str, name: str, values: Float[np.ndarray, " run"], meaning: str, null: float) -> Measure:
    """A median with the interval of two order statistics, by the binomial distribution."""
    if not len(values):
        return Measure(key, name, None, "1", n=0, null=null, meaning=meaning)
    from scipy.stats import quantile_test

    # With five runs even the extremes are no interval of 95 %: then it has an end that is NaN.
    interval = quantile_test(values, p=0.5).confidence_interval(0.95)
    low, high = map(float, interval) if np.isfinite(interval).all() else (None, None)
    return Measure(key, name, float(np.median(values)), "1", low, high, len(values), null, meaning)


def _of_onsets(found: LinearFirstFindings) -> Iterator[Measure]:
    for training, group in found.onsets.items():
        for ensemble in group:
            key, name, onset = where_key(training, ensemble), where(training, ensemble), ensemble.onset
            for by, rule in DEFINITIONS.items():
                begins = onset.begins(by)
                yield share(
                    f"{key}.runs_with_superposition_by_{by}", f"{name}: runs with superposition ({rule})",
                    int(np.isfinite(begins).sum()), len(begins), "until the end",
                )  # fmt: skip
                if np.isfinite(begins).any():
                    yield _step(
                        f"{key}.onset_of_superposition_by_{by}", f"{name}: onset of superposition ({rule})", begins,
                        "from which on it is so",
                    )  # fmt: skip
                    yield average(
                        f"{key}.fall_done_at_onset_by_{by}", f"{name}: fall done at the onset ({rule})",
                        onset.at(onset.fallen, begins), "1",
                        f"part of the fall of the loss; early below {EARLY:g}, late above {LATE:g}",
                    )  # fmt: skip
            if ensemble.scale == group[0].scale:
                yield from _in_time(key, name, onset)


def _in_time(key: str, name: str, onset: SuperpositionOnset) -> Iterator[Measure]:
    """At three moments, of the smallest start scale."""
    m = onset.hidden
    parts = {"early": EARLY, "late": LATE}
    for word, part in parts.items():
        yield _step(
            f"{key}.{word}_part_of_fall", f"{name}: {part:.0%} of the fall", onset.done(part),
            "of the loss, from that of a constant",
        )  # fmt: skip
    moments = [(f"{word}_part_of_fall", f"at {part:.0%} of the fall", onset.done(part)) for word, part in parts.items()]
    moments.append(("end", "at the end", np.full(len(onset.count), float(onset.steps[-1]))))
    for at, moment, steps in moments:
        yield average(f"{key}.represented_features_over_m_at_{at}", f"{name}: represented features over m {moment}",
                      onset.at(onset.count, steps) / m, "1",
                      "null: 1, at most so many without superposition", null=1.0)  # fmt: skip
        yield average(f"{key}.dimensions_per_feature_at_{at}", f"{name}: m/|W|²_F {moment}",
                      m / onset.at(onset.total, steps), "1",
                      "dimensions for each feature; null: 1, a linear optimum", null=1.0)  # fmt: skip
        yield average(f"{key}.interference_at_{at}", f"{name}: interference {moment}",
                      onset.at(onset.disturbed, steps), "1",
                      "Σ_j≠i (Ŵ_i · W_j)², mean over features; null: 1 − m/n, a linear optimum",
                      null=onset.linear_interference)  # fmt: skip
    reached = np.isfinite(onset.represented(m + 1))
    if reached.any():
        less, full, more = (onset.represented(count)[reached] for count in (m - 1, m, m + 1))
        yield average(f"{key}.from_m_to_m_plus_1_represented", f"{name}: from m to m + 1 represented", more - full,
                      "step", "null: from m − 1 to m", null=float(np.mean(full - less)))  # fmt: skip


def _step(key: str, name: str, steps: Float[np.ndarray, " run"], meaning: str) -> Measure:
    finite = steps[np.isfinite(steps)]
    return average(key, name, finite, "step", f"{meaning}; mean of {len(finite)} runs")
