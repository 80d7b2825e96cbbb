"""The measures of the experiment `linear-first`."""

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
    "apart-density": "separated densities",
    "apart-importance": "separated importances",
    "apart-size": "separated sizes",
}
"""The ways in which sets differ, with close or well-separated eigenvalues, in words."""

TRAININGS: Mapping[str, str] = {
    "flow": "gradient flow",
    "twin": "gradient flow of the linear model",
    "sgd": "SGD",
    "adamw": "AdamW",
}

EARLY, LATE = 0.5, 0.9
"""Superposition is early if it begins before this first fraction of the fall of the loss is complete, and late if it
begins after the second."""


def measures(found: LinearFirstFindings) -> list[Measure]:
    """All measures of the experiment, each with a key of its own."""
    return [*_of_systems(found), *_of_orders(found), *_of_onsets(found)]


def place(way: str, training: str) -> str:
    """The name of an ensemble of unlike sets, at the start of its measures' names."""
    return f"{WAYS[way]}, {TRAININGS[training]}"


def place_key(way: str, training: str) -> str:
    """The key of an ensemble of unlike sets, at the start of its measures' keys: "apart_density.sgd"."""
    return f"{way.replace('-', '_')}.{training}"


def where(training: str, ensemble: OnsetEnsemble) -> str:
    """The name of an ensemble of independent features, at the start of its measures' names."""
    model = "linear model" if training == "linear" else TRAININGS[training]
    return f"{model}, density {ensemble.density:g}, start {start(ensemble.scale)}"


def where_key(training: str, ensemble: OnsetEnsemble) -> str:
    """The key of an ensemble of independent features, as in "onset_sgd.density_0_03.start_0_001"."""
    return f"onset_{training}.density_{in_key(ensemble.density)}.start_{_start_key(ensemble.scale)}"


def start(scale: float) -> str:
    """A start scale in words: a number, or "Xavier"."""
    return "Xavier" if np.isnan(scale) else f"{scale:g}"


def _start_key(scale: float) -> str:
    """A start scale as part of a key."""
    return "xavier" if np.isnan(scale) else in_key(scale)


def _of_systems(found: LinearFirstFindings) -> Iterator[Measure]:
    for system in found.systems:
        for number, (scale, runs) in enumerate(zip(system.scales, system.runs, strict=True)):
            # The smallest start, which the criteria are about, is not named in keys and names.
            key = f"{system.key}.start_{_start_key(scale)}" if number else system.key
            from_start = f", start {start(scale)}" if number else ""
            name = f"{system.name}: first plateau at rank {system.runs[0].rank}"
            yield share(
                f"{key}.first_plateau_at_full_rank",
                f"{name}{from_start}",
                int(on(runs, "linear").sum()),
                len(runs.first),
                f"runs at the linear optimum of full rank where the plateau is slowest, start {start(scale)}; others: "
                f"{_counted(runs)}; null: levels times factors",
                null=runs.chance(),
            )
            yield share(
                f"{key}.first_plateau_at_full_rank_at_some_time",
                f"{name} at some time{from_start}",
                int(on(runs, "linear", "begun").sum()),
                len(runs.first),
                "runs at the linear optimum of full rank where the plateau is slowest or purest; null: levels times "
                "factors, where purest",
                null=runs.chance(purest=True),
            )
        small, xavier = system.runs[0], system.runs[-1]
        for kind, name in list(PLATEAU_KINDS.items())[1:]:
            yield share(
                f"{system.key}.instead_{kind}", f"{system.name}: first plateau, {name}",
                int(on(small, kind).sum()), len(small.first),
                f"runs from start scale {system.scales[0]:g} with this kind of first plateau; null: Xavier starts",
                null=float(on(xavier, kind).mean()),
            )  # fmt: skip
        yield average(
            f"{system.key}.weights_in_principal_subspace",
            f"{system.name}: weights in the principal subspace",
            small.passing,
            "share",
            f"share of |W|² in the span of the sets' principal directions when the loss first reaches that of rank "
            f"{small.rank}, start {system.scales[0]:g}; null: Xavier starts",
            null=mean(xavier.passing.tolist()),
        )
    first = [(system.runs[0], on(system.runs[0], "linear", "lower"), system.losses[-1]) for system in found.systems]
    ends = [below for runs, linear, least in first for below in (runs.loss[linear, -1] < least).tolist()]
    yield share(
        "linear_runs_that_end_below_linear_solutions",
        "linear runs that end below every linear solution",
        sum(ends),
        len(ends),
        "runs that end below the best linear solution of any rank up to m, among those with a first plateau that is "
        "linear where slowest",
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
            f"runs that learn all {order.modes} directions in the predicted order; null: a random order",
            null=chance(order.modes),
        )  # fmt: skip
        for rank in range(1, order.modes + 1):
            yield share(
                f"{key}.plateau_at_rank_{rank}", f"{name}: plateau at rank {rank}",
                int(order.plateaus_at(rank).sum()), len(order.measured),
                f"runs with a plateau within 5 % of L_{rank}, with and without the ReLU; ratio of eigenvalue {rank} to "
                "the "
                f"next: {order.ratio(rank):.2g}; null: levels times factors", null=order.by_chance((rank,)),
            )  # fmt: skip
        if training != "adamw":
            yield from _of_times(key, name, order)
        if way.startswith("apart"):
            yield share(
                f"{key}.every_expected_plateau", f"{name}: every expected plateau",
                int(order.every_expected_plateau.sum()), len(order.measured),
                f"runs with plateaus at ranks {', '.join(map(str, order.expected))} that learn directions in order; "
                "null: "
                "share of plateaus at levels times factors", null=order.by_chance(order.expected),
            )  # fmt: skip
        if way == "close-size" and training == "adamw":
            # AdamW moves entries, not directions, at its rate: in a set of s features, each only has to reach 1/√s.
            yield _median(
                f"{key}.exponent_of_time_in_set_size", f"{name}: exponent of the learning time in set size",
                order.exponents,
                "median over runs of the exponent a in (time to learn a set of s features) ∝ s^a; −1/2 if all entries "
                "move "
                "at one rate; null: the closed form for gradient flow from the same starts", order.exponent_predicted,
            )  # fmt: skip


def _of_times(key: str, name: str, order: EscapeOrder) -> Iterator[Measure]:
    yield share(
        f"{key}.every_time_as_predicted", f"{name}: every time as predicted",
        int(order.on_time.sum()), len(order.measured),
        "runs that learn every direction within 5 % of its predicted time; null: predictions from the starts of other "
        "runs",
        null=order.on_time_by_others,
    )  # fmt: skip
    yield average(
        f"{key}.error_of_predicted_times", f"{name}: error of predicted times", order.error, "",
        "mean |ln (measured/predicted)| over directions; null: predictions from the starts of other runs",
        null=order.error_by_others,
    )  # fmt: skip
    for mode in range(order.modes):
        yield average(
            f"{key}.lateness_of_direction_{mode + 1}",
            f"{name}: delay of direction {mode + 1}",
            order.delay[:, mode],
            "",
            f"ln (measured/predicted) of the time at which direction {mode + 1} is learned; null: 0",
            null=0.0,
        )
    rests = order.resting_distances()
    yield average(
        f"{key}.distance_of_rests_from_linear_optima", f"{name}: distance of resting places from linear optima",
        rests[:, 0], "",
        "mean |ln (loss/L_r)| where the loss is slowest between two escapes; null: at a random time between them",
        null=mean(rests[:, 1].tolist()),
    )  # fmt: skip
    yield average(
        f"{key}.rests_nearer_than_random_times", f"{name}: resting places closer to linear optima than random times",
        rests[:, 1] - rests[:, 0], "",
        "|ln (loss/L_r)| at a random time between two escapes, minus that where the loss is slowest; null: 0", null=0.0,
    )  # fmt: skip


def _median(key: str, name: str, values: Float[np.ndarray, " run"], meaning: str, null: float) -> Measure:
    """A median with the interval between two order statistics, from the binomial distribution."""
    if not len(values):
        return Measure(key, name, None, "", n=0, null=null, meaning=meaning)
    from scipy.stats import quantile_test

    # With five runs or fewer even the extremes do not make a 95 % interval; an end is then NaN.
    interval = quantile_test(values, p=0.5).confidence_interval(0.95)
    low, high = map(float, interval) if np.isfinite(interval).all() else (None, None)
    return Measure(key, name, float(np.median(values)), "", low, high, len(values), null, meaning)


def _of_onsets(found: LinearFirstFindings) -> Iterator[Measure]:
    for training, group in found.onsets.items():
        for ensemble in group:
            key, name, onset = where_key(training, ensemble), where(training, ensemble), ensemble.onset
            for by, rule in DEFINITIONS.items():
                begins = onset.begins(by)
                yield share(
                    f"{key}.runs_with_superposition_by_{by}", f"{name}: runs with superposition ({rule})",
                    int(np.isfinite(begins).sum()), len(begins),
                    f"runs with superposition ({rule}) that lasts until the end",
                )  # fmt: skip
                if np.isfinite(begins).any():
                    yield _step(
                        f"{key}.onset_of_superposition_by_{by}", f"{name}: onset of superposition ({rule})", begins,
                        f"first step from which the definition ({rule}) is met until the end",
                    )  # fmt: skip
                    yield average(
                        f"{key}.fall_done_at_onset_by_{by}", f"{name}: fall complete at the onset ({rule})",
                        onset.at(onset.fallen, begins), "share",
                        "fraction of the fall of the loss that is complete when superposition begins; early below "
                        f"{EARLY:g}, late above {LATE:g}",
                    )  # fmt: skip
            if ensemble.scale == group[0].scale:
                yield from _in_time(key, name, onset)


def _in_time(key: str, name: str, onset: SuperpositionOnset) -> Iterator[Measure]:
    """The state at 50 % and at 90 % of the fall of the loss, and at the end."""
    m = onset.hidden
    parts = {"early": EARLY, "late": LATE}
    for word, part in parts.items():
        yield _step(
            f"{key}.{word}_part_of_fall", f"{name}: {100 * part:g} % of the fall", onset.done(part),
            f"step at which {100 * part:g} % of the fall of the loss from that of the best constant is complete",
        )  # fmt: skip
    moments = [
        (f"{word}_part_of_fall", f"at {100 * part:g} % of the fall", onset.done(part)) for word, part in parts.items()
    ]
    moments.append(("end", "at the end", np.full(len(onset.count), float(onset.steps[-1]))))
    for at, moment, steps in moments:
        yield average(f"{key}.represented_features_over_m_at_{at}", f"{name}: represented features over m {moment}",
                      onset.at(onset.count, steps) / m, "",
                      "number of represented features over m; null: 1, the most without superposition",
                      null=1.0)  # fmt: skip
        yield average(f"{key}.dimensions_per_feature_at_{at}", f"{name}: m/|W|²_F {moment}",
                      m / onset.at(onset.total, steps), "",
                      "dimensions per feature, m/|W|²_F; null: 1, a linear optimum", null=1.0)  # fmt: skip
        yield average(f"{key}.interference_at_{at}", f"{name}: interference {moment}",
                      onset.at(onset.disturbed, steps), "",
                      "interference Σ_j≠i (Ŵ_i · W_j)², mean over features; null: 1 − m/n, a linear optimum",
                      null=onset.linear_interference)  # fmt: skip
    reached = np.isfinite(onset.represented(m + 1))
    if reached.any():
        less, full, more = (onset.represented(count)[reached] for count in (m - 1, m, m + 1))
        yield average(f"{key}.from_m_to_m_plus_1_represented", f"{name}: time from m to m + 1 represented features",
                      more - full, "steps",
                      "steps between the representation of m and of m + 1 features; null: from m − 1 to m",
                      null=float(np.mean(full - less)))  # fmt: skip


def _step(key: str, name: str, steps: Float[np.ndarray, " run"], meaning: str) -> Measure:
    finite = steps[np.isfinite(steps)]
    return average(key, name, finite, "steps", f"{meaning}; mean of {len(finite)} runs")
