import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tegum.experiments.framework import Experiment


@pytest.fixture(scope="session")
def run_quick(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[Any, Path, Any]]:
    """Runs the quick form of an experiment; gives its summary, its folder and what its one analysis found."""

    def run(experiment: Experiment, minutes: float = 3) -> tuple[Any, Path, Any]:
        out = tmp_path_factory.mktemp(experiment.name)
        analyse_runs, found = type(experiment).analyse, []

        def analyse(self: Experiment, runs: Any) -> Any:
            found.append(analyse_runs(self, runs))
            return found[-1]

        began = time.process_time()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(experiment), "analyse", analyse)
            summary = experiment.run(out, size="quick")
        # `tegum run --help` says about two minutes of two cores. Who else uses them now does not count.
        assert time.process_time() - began < minutes * 60 * 2
        (findings,) = found
        names = [measure.name for measure in summary.measures]
        assert len(set(names)) == len(names), "measures must have names of their own"
        return summary, out, findings

    return run
