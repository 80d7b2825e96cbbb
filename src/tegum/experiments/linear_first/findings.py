"""What the experiment `linear-first` finds: plateaus of alike sets, the order of unlike ones, and superposition."""

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
    """Correlated sets, all alike, trained from starts of several scales."""

    sets: int
    """The number of sets, k."""
    hidden: int
    """The number of hidden dimensions, m."""
    steps: Int[np.ndarray, " step"]
    losses: Float[np.ndarray, " rank"]
    """The losses of the best linear solutions of rank 0, 1, …, m."""
    scales: tuple[float, ...]
    """The standard deviations of the initial weights, rising; NaN for Xavier, which is last."""
    runs: tuple[FirstPlateaus, ...]
    """The first plateaus of the runs from each start scale."""

    @property
    def name(self) -> str:
        """The name of the system in the names of measures, such as "4 sets, m = 8"."""
        return f"{self.sets} sets, m = {self.hidden}"

    @property
    def key(self) -> str:
        """The key of the system at the start of its measures' keys, such as "sets_4_8"."""
        return f"sets_{self.sets}_{self.hidden}"


@final
@dataclass(frozen=True, eq=False)
class OnsetEnsemble:
    """The onset of superposition in the runs of one density, start scale and training."""

    density: float
    scale: float
    """The standard deviation of the initial weights; NaN for Xavier."""
    onset: SuperpositionOnset


@final
@dataclass(frozen=True, eq=False)
class LinearFirstFindings:
    """The findings of all three parts of the experiment."""

    systems: tuple[StartScales, ...]
    orders: Mapping[tuple[str, str], EscapeOrder]
    """Escapes and plateaus by the way in which sets differ and by training, such as ("apart-size", "sgd")."""
    onsets: Mapping[str, tuple[OnsetEnsemble, ...]]
    """Onsets by training: "adamw", "sgd" (not in the quick form), and "linear" (AdamW in a linear model)."""

    @property
    def fewest(self) -> int:
        """The least number of runs of any ensemble that trained to their end."""
        sizes = [len(runs.seeds) for system in self.systems for runs in system.runs]
        sizes += [len(each.measured) for each in self.orders.values()]
        sizes += [len(each.onset.count) for group in self.onsets.values() for each in group]
        return min(sizes, default=0)


def found_in(runs: Mapping[str, xr.Dataset]) -> LinearFirstFindings:
    """Find plateaus, orders and onsets in the trajectories, which are given by the names of their trainings."""
    systems, orders, began = [], {}, {}
    for name, run in runs.items():
        match name.split("-"):
            case ["sets", *_]:
                systems.append(_start_scales(run, specs_of(run)))
            case ["order", group, way, training]:
                orders[f"{group}-{way}", training] = _order(run, spec_of(run))
            case ["onset", training]:
                # The trajectory of a single Spec has no dim "spec".
                several = "spec" in run.dims
                own = specs_of(run) if several else [spec_of(run)]
                each = [run.isel(spec=number) for number in range(len(own))] if several else [run]
                began[training] = tuple(_onset(*pair) for pair in zip(each, own, strict=True))
            case _:
                raise ValueError(f"linear-first, trajectory {name!r}: its name must begin with sets, order or onset")
    return LinearFirstFindings(tuple(systems), orders, began)


def _start_scales(run: xr.Dataset, specs: Sequence[Spec]) -> StartScales:
    """Find the first plateaus of one system, whose Specs differ only in `initial_scale`."""
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
    """The flow time that one step corresponds to: the rate of gradient descent. For Adam there is none, and it is 1."""
    match training.rule:
        case "momentum":
            return training.rate
        case "adam":
            return 1.0
        case _:
            raise ValueError(f"{training!r}: must take steps of gradient descent or of Adam")
