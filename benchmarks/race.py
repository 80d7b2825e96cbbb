"""Wall time until the same exact loss: every side trains the same starts, and is judged by the same expectation.

All take steps alike, so this ratio should be that of the times per step. It is measured to show that no side gains its
speed by learning less.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from cases import Case, advance, exact_losses, parameters_of, starts
from team import PEERS, Arrangement, Team, Teams

RUNS = {"6x2": 64, "20x5": 16}
"""The cases that are raced, and the runs of each: as many as the slowest side trains in half a minute."""
STEPS, EVERY = 3_000, 250


def race(case: Case, teams: Teams, arrangements: dict[str, Arrangement], steps: int) -> dict[str, Any]:
    """The curves of all sides, and the time that each took to reach the level that all reach.

    The level is the highest of the sides' lowest median losses.
    """
    curves = {"tegum": _curve_of_tegum(case, teams.threads, steps)}
    for name, arrangement in arrangements.items():
        curves[name] = _curve_of_peer(case, teams, name, arrangement, steps)
    level = max(min(curve["loss"]) for curve in curves.values())
    reached = {}
    for name, curve in curves.items():
        at = int(np.argmax(np.array(curve["loss"]) <= level))
        reached[name] = {"step": curve["step"][at], "seconds": curve["seconds"][at]}
    return {"runs": RUNS[case.name], "steps": steps, "level": level, "reached": reached, "curves": curves}


def _median_loss(case: Case, weights: np.ndarray, bias: np.ndarray, threads: int) -> float:
    return float(np.median(exact_losses(case, weights, bias, threads)))


def _curve_of_tegum(case: Case, threads: int, steps: int) -> dict[str, list[float]]:
    runs, state, seconds = RUNS[case.name], None, 0.0
    advance(case, None, 2, threads, runs)
    curve: dict[str, list[float]] = {"step": [], "seconds": [], "loss": []}
    for step in _marks(steps):
        state, taken = advance(case, state, step - (state.step if state else 0), threads, runs)
        seconds += taken
        _append(curve, step, seconds, _median_loss(case, *parameters_of(state), threads))
    return curve


def _curve_of_peer(case: Case, teams: Teams, name: str, arrangement: Arrangement, steps: int) -> dict[str, list[float]]:
    """Groups of runs one after the other, as many at once as suit the peer, with their seconds added up."""
    runs, processes = RUNS[case.name], arrangement.processes
    share = runs // processes
    instances = max(each for each in range(1, share + 1) if share % each == 0 and each <= arrangement.instances)
    team = teams.ready(PEERS[name], Arrangement(processes, instances, arrangement.options), case)
    team.train(2)  # compiled and warm
    weights, bias = starts(case, runs)
    group = instances * processes
    seconds, parameters = np.zeros(len(_marks(steps))), []
    for first in range(0, runs, group):
        team.load(weights[first : first + group], bias[first : first + group])
        taken, reached = _train_group(team, steps)
        seconds += taken
        parameters.append(reached)
    curve: dict[str, list[float]] = {"step": [], "seconds": [], "loss": []}
    for number, step in enumerate(_marks(steps)):
        both = (np.concatenate([group[number][part] for group in parameters]) for part in range(2))
        _append(curve, step, float(seconds[number]), _median_loss(case, *both, teams.threads))
    return curve


def _train_group(team: Team, steps: int) -> tuple[np.ndarray, list[tuple[np.ndarray, np.ndarray]]]:
    """The seconds until each mark, and the parameters there."""
    seconds, parameters, before = [], [], 0
    for step in _marks(steps):
        seconds.append(team.train(step - before))
        parameters.append(team.parameters())
        before = step
    return np.cumsum(seconds), parameters


def _marks(steps: int) -> list[int]:
    every = min(EVERY, steps)
    return list(range(every, steps + 1, every))


def _append(curve: dict[str, list[float]], step: int, seconds: float, loss: float) -> None:
    for key, value in (("step", step), ("seconds", seconds), ("loss", loss)):
        curve[key].append(value)
