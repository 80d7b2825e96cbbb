"""An experiment whose runs are trained elsewhere: the trajectories have the bits of those that are trained here."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import xarray as xr

import tegum as tg
from tegum.experiments.framework import Experiment, Findings
from tegum.experiments.reporting import Measure
from tegum.experiments.summary import Criterion

pytestmark = pytest.mark.quick_form

FEATURES = [tg.Independent(3, 0.3)]


class Ways(Experiment[Any]):
    """Every way of training, a grid, and what follows from where runs have ended."""

    claim = "Losses fall."

    def trainings(self, size: str) -> Mapping[str, Any]:  # noqa: ARG002 (one size for all forms)
        sampled = tg.Spec(features=FEATURES, hidden=2, training=tg.Sampled(steps=40), seeds=5, snapshots=4)
        return {
            "sampled": tg.grid(sampled, density=[0.1, 0.3], rate=[1e-3, 1e-2]),
            "listed": [sampled, sampled.replace(base_seed=7)],
            "exact": sampled.replace(training=tg.Exact(steps=20)),
            "flow": sampled.replace(training=tg.Flow(steps=4, duration=2.0), seeds=2),
        }

    def further(self, runs: Mapping[str, xr.Dataset]) -> Mapping[str, Any]:
        ends = runs["listed"].isel(step=-1, spec=0)
        spec = self.trainings("quick")["listed"][0]
        start = {"weights": ends.weights.values, "bias": ends.bias.values, "training": tg.Exact(steps=10)}
        return {"further": spec.continued_from(**start)}

    def analyse(self, runs: Mapping[str, xr.Dataset]) -> Findings[Any]:
        fall = float((runs["listed"].loss[..., 0] - runs["listed"].loss[..., -1]).mean())
        return Findings((Measure("fall", "fall", fall, "1"),), (Criterion("falls", "It falls.", fall > 0),), "Nothing.")


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("here")
    Ways().run(folder, size="quick", progress=False)
    return folder


def check(folder: Path, here: Path) -> None:
    files = {path.name for path in here.iterdir()}
    assert {path.name for path in folder.iterdir()} == files
    for file in sorted(file for file in files if file.endswith(".zarr")):
        found, expected = tg.load(folder / file), tg.load(here / file)
        xr.testing.assert_equal(found, expected)
        assert list(found.coords) == list(expected.coords)
        differing = {name for name in expected.attrs if found.attrs.get(name) != expected.attrs[name]}
        assert differing <= {"created", "wall_time_s", "threads"}
        assert found.attrs.keys() == expected.attrs.keys()
    told, known = (json.loads((each / "summary.json").read_text()) for each in (folder, here))
    assert (told["measures"], told["criteria"], told["spec"]) == (known["measures"], known["criteria"], known["spec"])


def test_trajectories_from_elsewhere_have_the_same_bits(tmp_path: Path, here: Path) -> None:
    with ThreadPoolExecutor(2) as threads:
        Ways().run(tmp_path / "found", size="quick", progress=False, executor=threads)
    check(tmp_path / "found", here)


class Breaking(Executor):
    """An executor that is gone after some calls."""

    def __init__(self, calls: int) -> None:
        self.left = calls

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.left -= 1
        if self.left < 0:
            raise RuntimeError("the machines were taken away")
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


def test_what_a_cluster_has_trained_is_kept_and_continued(tmp_path: Path, here: Path) -> None:
    folder = tmp_path / "found"
    # Asked who it is, and twice for a trial of each training; the packs of the second are not all made.
    with pytest.raises(RuntimeError, match="taken away") as caught:
        Ways().run(folder, size="quick", progress=False, executor=Breaking(9))
    assert any("resume" in note for note in caught.value.__notes__)
    left = {path.name for path in (folder / "partial").iterdir()}
    assert "sampled.zarr" in left
    assert any(name.endswith(".sweep") for name in left)
    with pytest.raises(FileExistsError, match="unfinished"):
        Ways().run(folder, size="quick", progress=False, executor=Breaking(99))
    Ways().run(folder, size="quick", progress=False, resume=True, executor=Breaking(99))
    check(folder, here)


def test_runs_that_cannot_be_trained_are_told_with_where_the_reasons_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tegum.sweeps import packs

    def fails(*_: Any) -> None:
        raise ValueError("there is no electricity")

    monkeypatch.setattr(packs, "shard", fails)
    with ThreadPoolExecutor(1) as threads, pytest.raises(ValueError, match="could not be trained") as caught:
        Ways().run(tmp_path / "found", size="quick", progress=False, executor=threads)
    assert str(tmp_path / "found" / "partial") in str(caught.value)
    reasons = list((tmp_path / "found" / "partial").glob("*.sweep/failed/*.json"))
    assert "there is no electricity" in json.loads(reasons[0].read_text())["errors"][-1]
