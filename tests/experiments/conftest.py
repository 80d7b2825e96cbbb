import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from legible import ONE_OF_EACH, complaints_about

from tegum.experiments.framework import Experiment
from tegum.experiments.summary import Summary

GOLDEN = json.loads(Path(__file__).with_name("golden.json").read_text(encoding="utf-8"))
"""The value and 95 % interval of each measure that has one; written by `benchmarks/golden.py keep`."""

STORED = json.loads(Path(__file__).with_name("summaries.json").read_text(encoding="utf-8"))
"""The summary of each quick form, with the measures that decide; written by the same command."""


def compare_with_golden(name: str, summary: Summary) -> None:
    """Refuse a measure far outside the interval it had: other vector units give other runs, but the same results."""
    found = {measure.key: measure.value for measure in summary.measures}
    for key, (value, low, high) in GOLDEN[name].items():
        assert key in found, f"{name}: there is no measure {key} any more"
        width = max(high - low, 1e-6 * abs(value))
        if found[key] is not None:
            assert low - 3 * width <= found[key] <= high + 3 * width, (name, key, found[key], value, low, high)
    # What tests of the screen read is what the experiment says of itself.
    stored = STORED[name]
    assert (summary.claim, summary.question) == (stored["claim"], stored["question"])
    assert [(each.key, each.title) for each in summary.criteria] == [
        (each["key"], each["title"]) for each in stored["criteria"]
    ]
    assert all(each.measure in found for each in summary.criteria)


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
        # `tegum run --help` says at most a minute of two cores, and one to compile. Who else uses them does not count.
        assert time.process_time() - began < minutes * 60 * 2
        (findings,) = found
        compare_with_golden(experiment.name, summary)
        assert complaints_about(experiment.name, out, ONE_OF_EACH) == []
        names = [measure.name for measure in summary.measures]
        assert len(set(names)) == len(names), "measures must have names of their own"
        return summary, out, findings

    return run
