"""The files that a result of an experiment consists of."""

from typing import Any


def beside_runs(experiment: Any) -> set[str]:
    """The files of a result besides its trajectories."""
    pictures = {f"{name}.{kind}" for name in experiment.figure_names for kind in ("png", "svg")}
    return pictures | {"findings.npz", f"{experiment.name}.html", "summary.json"}
