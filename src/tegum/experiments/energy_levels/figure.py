"""The figure of the experiment `energy-levels`, and its caption."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from tegum.analysis.dynamics.drops import Drop
    from tegum.analysis.dynamics.levels import Event, Jump
    from tegum.experiments.energy_levels.findings import Ending, Ensemble
    from tegum.experiments.reporting import Measure


@final
@dataclass(frozen=True, eq=False)
class Shown:
    """All that is drawn besides the measures: one run, and the jumps of the others."""

    seed: int | None
    """The seed of the run that is drawn; None if no run completed training, and the first one is drawn."""
    levels: xr.DataArray
    """The dimensionality of each of its features, with dims (step, feature)."""
    loss: xr.DataArray
    """Its loss, with dims (step,)."""
    drops: tuple[Drop[Event], ...]
    """The events of this run, with their drops of the loss."""
    jumps: tuple[Jump, ...]
    """The late jumps of all runs."""

    @classmethod
    def of(cls, ensemble: Ensemble, run: xr.Dataset) -> Shown:
        """Choose the run to draw.

        Args:
            ensemble: what was found in all runs.
            run: the trajectories of all runs.

        """
        from tegum.analysis.geometry.measures import dimensionality

        seed = chosen_run(ensemble)
        drawn = run.isel(seed=0) if seed is None else run.sel(seed=seed)
        drops = () if seed is None else tuple(ensemble.of(seed))
        return cls(seed, dimensionality(drawn["weights"]), drawn["loss"], drops, ensemble.jumps)


def figure(shown: Shown, measured: Mapping[str, Measure]) -> tuple[Figure, Figure]:
    """The chosen run, with the dimensionality of each feature above its loss, and panels of the whole ensemble.

    Args:
        shown: what is drawn.
        measured: the measures by their keys.

    """
    from tegum.figures.experiments.energy_levels import energy_levels
    from tegum.figures.experiments.energy_levels_panels import Share

    rows = (
        ("late jumps with a drop\nfound in the loss alone", "late_events_with_drop_found_alone"),
        ("drops of the loss at\nwhich features jump", "drops_found_alone_with_event"),
        ("late fall of the loss\nthat lies in jumps", "late_decrease_inside_events"),
    )
    shares = [
        Share(name, *(getattr(measured[key], part) for part in ("value", "low", "high", "null"))) for name, key in rows
    ]
    return energy_levels(shown.levels, shown.loss, shown.drops, shown.jumps, shares)


def chosen_run(ensemble: Ensemble) -> int | None:
    """The seed of the run to draw, by the rule in the protocol's amendments; None if no run completed training."""

    def merit(ending: Ending) -> tuple[int, int, int, int]:
        drops = ensemble.of(ending.seed)
        jumps = sum(len(drop.event.jumps) for drop in drops)
        return 2 * bool(drops) + (ending.digons and bool(drops)), len(drops), jumps, -ending.seed

    return max(ensemble.endings, key=merit).seed if ensemble.endings else None


def caption(ensemble: Ensemble, seed: int | None, run: xr.Dataset) -> tuple[str, str]:
    """What the figures show, in sentences, including the sample on which the loss of the drawn run was recorded."""
    from tegum.training.compare import recorded_on

    if seed is None:
        return f"None of {run.sizes['seed']} runs completed training.", ""
    drawn = f"{_of_run(ensemble, seed, run)} {recorded_on(run.sel(seed=seed))}".rstrip()
    return drawn, " ".join(_of_the_ensemble(ensemble))


def _of_run(ensemble: Ensemble, seed: int, run: xr.Dataset) -> str:
    """Sentences on the drawn run."""
    (ending,) = (ending for ending in ensemble.endings if ending.seed == seed)
    n, drops = ensemble.features, ensemble.of(seed)
    with_jumps = {jump.seed for jump in ensemble.jumps}
    digons = {ending.seed for ending in ensemble.endings if ending.digons}
    where = f"{'every' if ending.digons else 'not every'} represented feature is in a digon"
    rest = "0" if ending.largest_unrepresented < 0.005 else f"up to {ending.largest_unrepresented:.2f}"
    sentences = [
        f"Run {seed} of {run.sizes['seed']} (n = {n}, m = {run.sizes['hidden']}), one line per feature. Dotted lines "
        "are ideal levels; a feature without a partner need not lie on one.",
        f"At the end {where}, and {n - ending.represented} of the {n} features are unrepresented, at dimensionality "
        f"{rest}.",
    ]
    for number, drop in enumerate(drops, 1):
        moves = [f"feature {jump.feature} from {jump.before:.2f} to {jump.after:.2f}" for jump in drop.event.jumps]
        loss = "the drop of the loss cannot be measured, as other jumps are too close"
        if drop.measurable:
            change = "the loss drops by" if drop.significant else "the loss drops no more than by chance, by"
            loss = f"{change} {drop.size:.3g} ({drop.size / n:.2g} per feature; chance level {drop.limit:.1g})"
        sentences.append(f"Band {number}: {_listed(moves)}; {loss}.")
    if any(drop.measurable for drop in drops):
        sentences.append("Chance level: the 95 % quantile of the same measurement where nothing jumps.")
    if not drops:
        sentences.append("Nothing jumps late in this run, or in any other.")
    elif not ending.digons:
        sentences.append("No run with late jumps ends in digons only; this is the best of the others.")
    counts = f"{len(digons)} end in digons only, {len(with_jumps)} have late jumps, and {len(with_jumps & digons)} both"
    rule = "the one among these with the most events, then the most jumps, then the lowest seed"
    drawn = f"the run drawn is {rule if drops and ending.digons else 'one of all runs'}"
    sentences.append(f"Of {len(ensemble.seeds)} runs, {counts}; {drawn}.")
    return " ".join(sentences)


def _of_the_ensemble(ensemble: Ensemble) -> list[str]:
    """Sentences on the panels of the ensemble, and on the exact loss."""
    events = ensemble.events
    kinds = {kind: sum(len(getattr(event, kind)) for event in events) for kind in ("completions", "births", "swaps")}
    named = [f"{count} {kind if count != 1 else kind[:-1]}" for kind, count in kinds.items()]
    without = sum(not any(getattr(event, kind) for kind in kinds) for event in events)
    others = f"; {without} {'has' if without == 1 else 'have'} none of these" if without else ""
    sentences = [
        "First panel: every late jump of all runs; dotted lines are ideal levels. Jumps at the same time form an "
        f"event. The {len(events)} late events contain {_listed(named)} (completion: a lone feature gains a partner; "
        f"birth: two features appear together; swap: two features exchange their levels){others}. Second panel: shares "
        "with 95 % intervals; drops are those found in the loss alone."
    ]
    unmatched = ensemble.unmatched
    if unmatched.moves:
        parts = ", ".join(f"{count} {name}" for name, count in unmatched.counts.items() if count)
        sentences.append(f"Drops without an event: {len(unmatched.moves)} ({parts}).")
    passages, calm = ensemble.exact_loss.passages, ensemble.exact_loss.calm
    if passages:
        left, near = (sum(getattr(each.look, name) for each in passages) for name in ("left", "saddle"))
        sentences.append(
            f"Noiseless gradient flow leaves the plateau before {left} of {len(passages)} events examined, and the "
            f"plateau of {sum(look.left for look in calm)} of {len(calm)} runs without events; a saddle is near {near} "
            f"and {sum(look.saddle for look in calm)} of these plateaus, respectively."
        )
        ratios = [each.time / each.predicted for each in passages if np.isfinite(each.predicted)]
        if ratios:
            parts = " to ".join(dict.fromkeys(f"{ratio:.2g}" for ratio in (min(ratios), max(ratios))))
            sentences.append(
                f"From its slowest point the flow takes {parts} times as long as growth at the saddle's negative "
                "eigenvalues alone would take."
            )
    return sentences


def _listed(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
