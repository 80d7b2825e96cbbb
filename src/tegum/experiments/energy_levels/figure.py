"""The figure of the experiment `energy-levels`, and its caption."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tegum.experiments.energy_levels.findings import Ending, Ensemble
from tegum.experiments.reporting import Measure

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure


def figure(
    ensemble: Ensemble, seed: int | None, run: xr.Dataset, measured: Mapping[str, Measure], caption: str
) -> Figure:
    """The chosen run: dimensionality of each feature above, the loss below; then what the ensemble shows.

    Args:
        ensemble: what was found in all runs.
        seed: of the run to draw; without one the first is drawn, without events.
        run: all runs.
        measured: the measures by their keys.
        caption: set below the panels.

    """
    from tegum.analysis.geometry.measures import dimensionality
    from tegum.figures.level_panels import Share
    from tegum.figures.levels import energy_levels

    drawn = run.isel(seed=0) if seed is None else run.sel(seed=seed)
    drops = [] if seed is None else ensemble.of(seed)
    rows = (
        ("events with a\ndrop found alone", "late_events_with_drop_found_alone"),
        ("drops found alone\nwith an event", "drops_found_alone_with_event"),
        ("late decrease\ninside events", "late_decrease_inside_events"),
    )
    shares = [
        Share(name, *(getattr(measured[key], part) for part in ("value", "low", "high", "null"))) for name, key in rows
    ]
    levels = dimensionality(drawn["weights"])
    return energy_levels(levels, drawn["loss"], drops, caption, ensemble.jumps, shares)


def chosen_run(ensemble: Ensemble) -> int | None:
    """The seed of the run to draw, by the rule in the protocol's amendments; None where no run trained to its end."""

    def merit(ending: Ending) -> tuple[int, int, int, int]:
        drops = ensemble.of(ending.seed)
        jumps = sum(len(drop.event.jumps) for drop in drops)
        return 2 * bool(drops) + (ending.digons and bool(drops)), len(drops), jumps, -ending.seed

    return max(ensemble.endings, key=merit).seed if ensemble.endings else None


def caption(ensemble: Ensemble, seed: int | None, run: xr.Dataset) -> str:
    """What the figure shows, in sentences, with what the loss of the drawn run was recorded on."""
    from tegum.training.compare import recorded_on

    if seed is None:
        return f"No run of {run.sizes['seed']} trained to its end."
    return f"{_of_run(ensemble, seed, run)} {recorded_on(run.sel(seed=seed))}".rstrip()


def _of_run(ensemble: Ensemble, seed: int, run: xr.Dataset) -> str:
    """The drawn run, then the ensemble."""
    (ending,) = (ending for ending in ensemble.endings if ending.seed == seed)
    n, drops = ensemble.features, ensemble.of(seed)
    with_jumps = {jump.seed for jump in ensemble.jumps}
    digons = {ending.seed for ending in ensemble.endings if ending.digons}
    where = "every represented feature is in a digon" if ending.digons else "not every represented one is in a digon"
    rest = "0" if ending.largest_unrepresented < 0.005 else f"up to {ending.largest_unrepresented:.2f}"
    sentences = [
        f"Run {seed} of {run.sizes['seed']} (n = {n}, m = {run.sizes['hidden']}), one line for each feature; dotted "
        "lines are ideal levels, which a feature that has no partner yet need not meet.",
        f"At the end {where}, and {n - ending.represented} of the {n} features are unrepresented, at dimensionality "
        f"{rest}.",
    ]
    for number, drop in enumerate(drops, 1):
        moves = [f"feature {jump.feature} from {jump.before:.2f} to {jump.after:.2f}" for jump in drop.event.jumps]
        loss = "too close to other jumps to measure what the loss does"
        if drop.measurable:
            change = "the loss drops by" if drop.significant else "the loss drops no more than by chance, by"
            loss = f"{change} {drop.size:.3g} ({drop.size / n:.2g} per feature; by chance {drop.limit:.1g})"
        sentences.append(f"Band {number}: {_listed(moves)}; {loss}.")
    if any(drop.measurable for drop in drops):
        sentences.append("By chance: what 95 % of the same measurements stay below where nothing jumps.")
    if not drops:
        sentences.append("Nothing jumps late in this run, nor in any other.")
    elif not ending.digons:
        sentences.append("No run with late jumps ends in digons only: this is the best of the others.")
    counts = f"{len(digons)} end in digons only and {len(with_jumps)} have late jumps, {len(with_jumps & digons)} both"
    rule = "the one of these with the most events, then jumps, then the lowest seed"
    drawn = f"drawn is {rule if drops and ending.digons else 'one of all'}"
    sentences.append(f"Of {len(ensemble.seeds)} runs {counts}; {drawn}.")
    sentences += _of_the_ensemble(ensemble)
    return " ".join(sentences)


def _of_the_ensemble(ensemble: Ensemble) -> list[str]:
    """What the lower panels show, and what the exact loss says."""
    events = ensemble.events
    kinds = {kind: sum(len(getattr(event, kind)) for event in events) for kind in ("completions", "births", "swaps")}
    named = [f"{count} {kind if count != 1 else kind[:-1]}" for kind, count in kinds.items()]
    sentences = [
        f"Below, left: every late jump of all runs; {len(events)} late events hold {_listed(named)} (a lone feature "
        "gets a partner, two features appear together, two change places). Right: shares with 95 % intervals."
    ]
    lone = ensemble.lone
    if lone.moves:
        parts = ", ".join(f"{count} {name}" for name, count in lone.counts.items() if count)
        sentences.append(f"Drops found alone without an event: {len(lone.moves)} ({parts}).")
    passages, calm = ensemble.looked.passages, ensemble.looked.calm
    if passages:
        left, near = (sum(getattr(each.look, name) for each in passages) for name in ("left", "saddle"))
        sentences.append(
            f"Gradient flow without noise leaves the plateau before {left} of {len(passages)} events looked at, and "
            f"that of {sum(look.left for look in calm)} of {len(calm)} runs without events; a saddle is near {near} "
            f"and {sum(look.saddle for look in calm)} of them."
        )
        ratios = [each.time / each.predicted for each in passages if np.isfinite(each.predicted)]
        if ratios:
            parts = " to ".join(dict.fromkeys(f"{ratio:.2g}" for ratio in (min(ratios), max(ratios))))
            sentences.append(
                f"From where it is slowest it takes {parts} of the time that the saddle's negative eigenvalues alone "
                "would need."
            )
    return sentences


def _listed(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
