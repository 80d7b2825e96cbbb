"""The criteria of the experiment `octahedron`, fixed before the run, and the answer in plain words."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tegum.experiments.octahedron.findings import OctahedronFindings
from tegum.experiments.reporting import Measure, said
from tegum.experiments.summary import Criterion

LEAST_SHARE = 0.02
"""The least share of runs for a route to count as one."""


def criteria(found: OctahedronFindings, measured: Mapping[str, Measure]) -> tuple[Criterion, ...]:
    """The criteria of the protocol; none if no run has a small start."""
    if not found.small.any():
        return ()

    def low(key: str) -> float:
        return _number(measured[key].low if key in measured else None, -np.inf)

    def high(key: str) -> float:
        return _number(measured[key].high if key in measured else None, np.inf)

    def given(key: str) -> str | None:
        return key if key in measured else None

    index = measured.get("adjusted_rand_index")
    over = [f"ruler_share_over_time_over_{null}" for null in ("any_order", "random_places")]
    routes = sorted(("route_straight", "route_pairs_first"), key=low)
    decides = routes[0] if low(routes[0]) <= LEAST_SHARE or index is None else index.key
    agrees = index is not None and _number(index.value, -np.inf) > _number(index.null, np.inf)
    return (
        Criterion(
            "ends_as_octahedra",
            "From small starts, runs end as octahedra whose antipodal pairs join different sets.",
            low("octahedra_that_join_both_sets") > 0.9,
            "Octahedra join both sets",
            given("octahedra_that_join_both_sets"),
        ),
        Criterion(
            "regimes_in_order",
            "From small starts, inflation comes before opening, and does so more often than from Xavier starts.",
            low("small.regimes_in_order") > max(0.9, high("xavier.regimes_in_order")),
            "Inflation first, opening later",
            given("small.regimes_in_order"),
        ),
        Criterion(
            "one_transformation",
            "Over time, the dominant motion has a larger share than with the same regimes in any order, or with "
            "regimes at random places.",
            all(low(key) > 0 for key in over),
            "Regimes are purer than if reordered",
            given(min(over, key=low)),
        ),
        Criterion(
            "twist_is_fall",
            "In more than half of the straight runs, the twist into the antiprism dominates a fall of the loss.",
            low("straight.falls_ruled_by_twist") > 0.5,
            "The twist dominates a fall of the loss",
            given("straight.falls_ruled_by_twist"),
        ),
        Criterion(
            "several_routes",
            "Both routes occur, and clusters of trajectories agree with them.",
            low("route_straight") > LEAST_SHARE and low("route_pairs_first") > LEAST_SHARE and agrees,
            "Two routes (agreement of clusters)" if decides not in routes else "Two routes (share of the rarer)",
            given(decides),
        ),
    )


def answer(measured: Mapping[str, Measure]) -> str:
    """What was found, in plain words."""

    def of(key: str) -> str:
        return said(measured.get(key))

    return (
        f"From small starts {of('small.octahedra')} of the runs end as octahedra. In {of('small.regimes_in_order')} "
        f"all features first grow together, and each set opens later; {of('route_straight')} go straight on, "
        f"{of('route_pairs_first')} first pair features of both sets. One motion dominates a regime by "
        f"{of('ruler_share_over_time_over_any_order')} more than in shuffled order."
    )


def _number(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value
