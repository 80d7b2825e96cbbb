"""What is found out: plateaus of alike sets, the order of unlike ones, and the onset of superposition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np
from jaxtyping import Float, Int

from tegum.analysis.linear.escape_order import EscapeOrder, escape_order
from tegum.analysis.linear.onset import SuperpositionOnset, superposition_onset
from tegum.analysis.linear.plateau_ranks import FirstPlateaus, first_plateaus
from tegum.training.dataset import spec_of, specs_of

if TYPE_CHECKING:
    import xarray as xr

    from tegum.training.spec.spec import Spec


@final
@dataclass(frozen=True, eq=False)
class StartScales:
    """Correlated sets, all alike, in so many hidden dimensions, from starts of several scales."""

    sets: int
    hidden: int
    steps: Int[np.ndarray, " step"]
    losses: Float[np.ndarray, " rank"]
    """Of the best linear solution of rank 0, 1, …, m."""
    scales: tuple[float, ...]
    """Standard deviations of the starts, the smallest first; NaN for Xavier's, which is last."""
    runs: tuple[FirstPlateaus, ...]
    """From each of them."""

    @property
    def name(self) -> str:
        """For measures."""
        return f"{self.sets} sets, m = {self.hidden}"

    @property
    def key(self) -> str:
        """At the start of its measures' keys: that of its training, "sets_4_8"."""
        return f"sets_{self.sets}_{self.hidden}"


@final
@dataclass(frozen=True, eq=False)
class OnsetEnsemble:
    """When superposition begins in the runs of one density, start scale and kind of training."""

    density: float
    scale: float
    """Standard deviation of the start; NaN for Xavier's."""
    onset: SuperpositionOnset


@final
@dataclass(frozen=True, eq=False)
class LinearFirstFindings:
    """Everything that was measured."""

    systems: tuple[StartScales, ...]
    orders: Mapping[tuple[str, str], EscapeOrder]
    """By the way in which sets differ, and the training."""
    onsets: Mapping[str, tuple[OnsetEnsemble, ...]]
    """By the training: "adamw", "sgd" (not in the quick form), and "linear", which is AdamW in a linear model."""

    @property
    def fewest(self) -> int:
        """The runs that trained to their end in the ensemble that has the fewest."""
        sizes = [len(runs.seeds) for system in self.systems for runs in system.runs]
        sizes += [len(each.measured) for each in self.orders.values()]
        sizes += [len(each.onset.count) for group in self.onsets.values() for each in group]
        return min(sizes, default=0)


def found_in(runs: Mapping[str, xr.Dataset]) -> LinearFirstFindings:
    """Everything that is measured, of trajectories by the names of their trainings."""
    systems, orders, began = [], {}, {}
    for name, run in runs.items():
        match name.split("-"):
            case ["sets", *_]:
                systems.append(_start_scales(run, specs_of(run)))
            case ["order", group, way, training]:
                orders[f"{group}-{way}", training] = _order(run, spec_of(run))
            case ["onset", training]:
                # Of one Spec a trajectory has no dim for it.
                several = "spec" in run.dims
                own = specs_of(run) if several else [spec_of(run)]
                each = [run.isel(spec=number) for number in range(len(own))] if several else [run]
                began[training] = tuple(_onset(*pair) for pair in zip(each, own, strict=True))
            case _:
                raise ValueError(f"linear-first, trajectory {name!r}: its name must begin with sets, order or onset")
    return LinearFirstFindings(tuple(systems), orders, began)


def _start_scales(run: xr.Dataset, specs: Sequence[Spec]) -> StartScales:
    """First plateaus of one system, whose Specs differ in `initial_scale` alone."""
    first = specs[0]
    found = [
        (_scale(spec), first_plateaus(run.isel(spec=number), spec.features, spec.activation))
        for number, spec in enumerate(specs)
    ]
    found.sort(key=lambda each: (np.isnan(each[0]), each[0]))
    scales, runs = zip(*found, strict=True)
    return StartScales(len(first.features.sets), first.hidden, run["step"].values, runs[0].losses, scales, runs)


def _scale(spec: Spec) -> float:
    return np.nan if spec.initial_scale is None else spec.initial_scale


def _onset(run: xr.Dataset, spec: Spec) -> OnsetEnsemble:
    return OnsetEnsemble(
        density=float(spec.features.density[0]),
        scale=_scale(spec),
        onset=superposition_onset(run, spec.features, spec.activation),
    )


def _order(run: xr.Dataset, spec: Spec) -> EscapeOrder:
    time = 1.0 if spec.training.kind == "flow" else _time_of_step(spec.training)
    return escape_order(run, spec.features, spec.activation, time_of_step=time)


def _time_of_step(training: Any) -> float:
    """In which gradient flow would do as much: the rate of gradient descent; Adam's steps have no such time."""
    match training.rule:
        case "momentum":
            return training.rate
        case "adam":
            return 1.0
        case _:
            raise ValueError(f"{training!r}: must take steps of gradient descent or of Adam")
