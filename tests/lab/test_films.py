"""Recorded runs as films: what is in their bytes, read here as the format says, and what `tegum report` writes."""

from __future__ import annotations

import base64
import json
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cyclopts import CoercionError
from processes import tegum

import tegum as tg
from tegum.analysis.dynamics.happenings import happenings, jumped
from tegum.cli import app
from tegum.lab.described import described
from tegum.lab.films import films, packed
from tegum.lab.page_file import page
from tegum.lab.reels import reels

SMALL = tg.Spec(
    features=[tg.Correlated(2, 0.2)] * 2,
    hidden=2,
    training=tg.Sampled(steps=200, batch=16, evaluation=64, rate=0.01),
    snapshots=40,
    seeds=3,
)


def read(content: bytes) -> list[tuple[dict[str, Any], bytes]]:
    """The films in a file: the header of each, and its numbers."""
    name = b"tegum film 1\n"
    assert content.startswith(name)
    length = int.from_bytes(content[len(name) : len(name) + 4], "little")
    at = len(name) + 4 + length
    found = []
    for head in json.loads(content[len(name) + 4 : at]):
        found.append((head, zlib.decompress(content[at : at + head["bytes"]])))
        at += head["bytes"]
    assert at == len(content)
    return found


def played(head: dict[str, Any], numbers: bytes) -> list[dict[str, np.ndarray]]:
    """W, b and losses of each run of a film."""
    n, m = head["described"]["n"], head["described"]["m"]
    at, found = 0, []
    for run in head["runs"]:
        count = run["frames"] * n * (m + 1)
        low, high = (np.frombuffer(numbers, np.uint8, count, at + part * count).astype(int) for part in (0, 1))
        steps = (low + 256 * high).reshape(n * (m + 1), run["frames"])
        whole = np.cumsum(steps, axis=1)
        signed = (whole + 2**15) % 2**16 - 2**15
        at += 2 * count
        planes = np.frombuffer(numbers, np.uint8, 4 * run["frames"], at).reshape(4, -1)
        at += 4 * run["frames"]
        found.append(
            {
                "weights": (signed[: n * m].T * run["scales"][0]).reshape(-1, n, m),
                "bias": signed[n * m :].T * run["scales"][1],
                "loss": np.ascontiguousarray(planes.T).view("<f4").ravel(),
            }
        )
    assert at == len(numbers)
    return found


def test_a_film_has_every_state_to_16_bits() -> None:
    run = tg.train(SMALL, progress=False)
    ((head, numbers),) = read(packed(films(run)))
    assert head["steps"] == run.step.values.tolist()
    assert [each["run"] for each in head["runs"]] == [0, 1, 2]
    for seed, shown in enumerate(played(head, numbers)):
        own = run.isel(seed=seed)
        for name in ("weights", "bias"):
            truth = own[name].values
            # Half a unit of 16 bits, and the rounding of float32.
            assert np.abs(shown[name] - truth).max() <= 0.5001 * np.abs(truth).max() / 32767
        np.testing.assert_array_equal(shown["loss"], own.loss.values.astype(np.float32))


def test_a_film_ends_where_its_run_diverged() -> None:
    diverging = SMALL.override({"training.optimiser": "sgd", "training.rate": 1e6})
    run = tg.train(diverging, progress=False)
    ((head, numbers),) = read(packed(films(run)))
    for each, shown in zip(head["runs"], played(head, numbers), strict=True):
        own = run.sel(seed=each["run"])
        assert each["result"] == "diverged"
        assert each["frames"] == int(np.isfinite(own.weights.values).all((1, 2)).sum()) < 41
        assert np.isfinite(shown["weights"]).all()


def test_a_run_that_explodes_leaves_its_digits_to_the_states_before() -> None:
    """The first steps are those of an undisturbed run, with embeddings of the size of one; the last ones are not."""
    spec = SMALL.replace(
        training=tg.Sampled(steps=300, batch=16, evaluation=64, optimiser="sgd", rate=0.01),
        snapshots=300,
        activation="linear",
        changes=[tg.Change(280, rate=1e4)],
    )
    run = tg.train(spec, progress=False)
    assert np.nanmax(np.abs(run.weights.values)) > 300
    ((head, numbers),) = read(packed(films(run)))
    for each, shown in zip(head["runs"], played(head, numbers), strict=True):
        truth = run.weights.sel(seed=each["run"]).values[: each["frames"]]
        assert each["result"] == "diverged"
        assert each["frames"] > 280
        # Thirty times the size of an embedding at most, in 16 bits.
        assert np.abs(shown["weights"] - truth).max() < 1e-3


def test_each_spec_of_a_grid_has_a_film_with_its_values() -> None:
    grid = tg.grid(SMALL, **{"features.density": [0.1, 0.3]})
    made = films(tg.train(grid, progress=False))
    assert [each.header["title"] for each in made] == ["features.density = 0.1", "features.density = 0.3"]
    assert [each.header["described"]["sets"][1]["density"] for each in made] == [0.1, 0.3]


def test_runs_and_steps_can_be_chosen_and_the_last_step_is_always_there() -> None:
    run = tg.train(SMALL, progress=False)
    (one,) = films(run, seeds=[2, 0], every=7)
    assert [each["run"] for each in one.header["runs"]] == [2, 0]
    assert one.header["steps"] == [0, 35, 70, 105, 140, 175, 200]
    assert one.taken == "2 of 3 runs, 7 of 41 recorded steps"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"seeds": [5]}, r"^films\(seeds=5\): there is no such run; the runs are 0 to 2$"),
        ({"seeds": [1, 1]}, r"^films\(seeds=\[1, 1\]\): there must be at least one run, and none twice$"),
        ({"seeds": []}, "there must be at least one run"),
        ({"every": 0}, r"^films\(every=0\): every must be at least 1$"),
    ],
)
def test_what_cannot_be_taken_is_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        films(tg.train(SMALL, progress=False), **options)


def test_a_trajectory_without_a_spec_or_with_another_one_is_refused() -> None:
    run = tg.train(SMALL, progress=False)
    bare = run.copy()
    del bare.attrs["spec"]
    with pytest.raises(ValueError, match="must say what was trained"):
        films(bare)
    with pytest.raises(ValueError, match="n and m must be those of its Spec, 4 and 2"):
        films(run.isel(feature=slice(3)))
    with pytest.raises(ValueError, match=r"features of the sets \[1, 0, 1, 0\]\): its features must be in the order"):
        films(run.isel(feature=[2, 0, 3, 1]))
    with pytest.raises(ValueError, match="it holds measures of runs, and no states"):
        films(tg.train(SMALL, keep=[tg.dimensionality], progress=False))
    with pytest.raises(ValueError, match=r"films\(seeds=5\): there is no such run; its runs are \[2, 0\]"):
        films(tg.train(SMALL, runs=[2, 0], progress=False), seeds=[5])


def test_films_of_almost_equal_values_have_titles_of_their_own() -> None:
    grid = tg.grid(SMALL.override({"training.steps": 10, "snapshots": 2}), density=[0.1, 0.10000001, 1.0])
    titles = [each.header["title"] for each in films(tg.train(grid, progress=False))]
    assert titles == ["density = 0.1", "density = 0.10000001", "density = 1"]


def test_a_page_of_64_runs_is_small_enough_to_send() -> None:
    """64 runs of 6 features in 2 dimensions at 300 steps, and 64 of 40 in 5: what is promised of their sizes."""
    for n, m, most in ((6, 2, 1_500_000), (40, 5, 10_000_000)):
        spec = tg.Spec(
            features=[tg.Independent(n, 0.05)],
            hidden=m,
            training=tg.Sampled(steps=600, batch=64),
            snapshots=300,
            seeds=64,
        )
        (one,) = films(tg.train(spec, progress=False))
        assert one.taken == "64 of 64 runs, 301 of 301 recorded steps"
        assert len(page(films=packed([one]))) < most


def test_events_are_those_of_the_detectors_and_said_in_words() -> None:
    """Two absent features appear as a digon at step 5,000, as the loss drops by 0.2."""
    step = np.arange(0, 10_001, 100)
    rows = np.array([[1.0, 0], [0, 1], [-1, 0], [0, -1]])
    weights = np.where((step >= 5_000)[:, None, None] | np.array([True, False, True, False])[None, :, None], rows, 0)
    noise = 1e-4 * np.random.default_rng(0).normal(size=len(step))
    spec = tg.Spec(
        features=[tg.Independent(4, 0.1)],
        hidden=2,
        training=tg.Sampled(steps=10_000, batch=1, evaluation=1),
        snapshots=100,
    )
    run = tg.train(spec, progress=False)
    run["weights"] = run.weights.dims, weights[None].astype(np.float32)
    run["loss"] = run.loss.dims, (np.where(step < 5_000, 0.5, 0.3) + noise)[None]
    (found,) = happenings(run)
    said = {each["kind"]: each for each in found}
    assert said["jump"]["words"] == "features 1 and 3 appear as a digon"
    assert (said["jump"]["step"], said["jump"]["until"]) == (4900, 5000)
    assert re.match(r"the loss drops by 0\.2, \d+ times its noise$", said["drop"]["words"])


def test_what_a_change_does_to_the_loss_is_no_event() -> None:
    """Ten times as dense from step 1,000 on: the loss of any model rises at once, and falls again with the reverse."""
    spec = tg.Spec(
        features=[tg.Independent(4, 0.05)],
        hidden=2,
        training=tg.Sampled(steps=3000, batch=64),
        snapshots=60,
        changes=[
            tg.Change(1000, sets=[tg.SetChange(0, density=0.5)]),
            tg.Change(2000, sets=[tg.SetChange(0, density=0.05)]),
        ],
    )
    run = tg.train(spec, progress=False)
    loss = run.loss.isel(seed=0)
    assert loss.sel(step=1000) > 3 * loss.sel(step=950)
    assert loss.sel(step=2000) < loss.sel(step=1950) / 3
    (found,) = happenings(run, spec.changed_at)
    assert found
    for each in found:
        inside = [
            first <= each["step"] <= each["until"] < end for first, end in ((0, 1000), (1000, 2000), (2000, 3001))
        ]
        assert any(inside), each


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ([(1, 0.8, 0.2), (2, 0.2, 0.8)], "features 2 and 1 change places"),
        ([(1, 0.0, 0.5), (2, 1.0, 0.5)], "feature 1 joins feature 2 in a digon"),
        ([(1, 0.5, 0.0), (2, 0.5, 0.0)], "features 1 and 2 are lost"),
        ([(4, 0.6, 0.0)], "feature 4 is lost"),
        ([(4, 0.4, 0.7)], "feature 4 goes from dimensionality 0.40 to 0.70"),
    ],
)
def test_events_have_words(changes: list[tuple[int, float, float]], words: str) -> None:
    assert jumped(tg.Event(tuple(tg.Jump(0, i, 100, 200, before, after) for i, before, after in changes))) == words


def test_irregular_steps_have_regimes_and_no_jumps() -> None:
    spec = SMALL.replace(snapshots=tg.Snapshots(count=30, spacing="logarithmic"))
    found = [each["kind"] for run in happenings(tg.train(spec, progress=False)) for each in run]
    assert found
    assert set(found) <= {"plateau", "fall"}


@pytest.mark.parametrize(
    ("training", "rate", "method", "losses"),
    [
        (tg.Sampled(rate=0.5, batch=2048), 0.5, "relu; adamw, batch 2,048", "sample"),
        (tg.Exact(optimiser="adam", rate=0.01), 0.01, "relu; adam on the exact loss", "exact"),
        (tg.Exact(), None, "relu; lbfgs on the exact loss", "exact"),
        (tg.Flow(), None, "relu; gradient flow of the exact loss", "exact"),
    ],
)
def test_a_description_says_how_it_is_trained(training: tg.Training, rate: float, method: str, losses: str) -> None:
    found = described(tg.Spec(features=[tg.Independent(3, 0.1)], hidden=2, training=training))
    assert (found["rate"], found["method"], found["losses"]) == (rate, method, losses)
    assert (found["page"] is None) == (found["why"] is not None) == (losses == "exact")


def test_the_drawn_runs_come_first_and_every_training_is_there() -> None:
    run = tg.train(SMALL, progress=False)
    several = tg.train([SMALL.replace(base_seed=seed) for seed in (1, 2, 3)], progress=False)
    made = reels({"several": several, "run": run}, {("run", 0): [2]})
    assert [each.header["title"] for each in made] == ["run", "several: Spec 0", "several: Spec 1", "several: Spec 2"]
    assert [each["run"] for each in made[0].header["runs"]] == [2, 0, 1]
    assert reels({}) == []


@pytest.fixture
def store(tmp_path: Path) -> Path:
    tg.save(tg.train(SMALL, progress=False), tmp_path / "run.zarr")
    return tmp_path


def test_report_writes_the_film_beside_the_store(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(store)
    code, out, err = tegum("report", "run.zarr", "--seeds", "0", "1:3", "--every", "2", cwd=store)
    assert (code, err) == (0, "")
    assert out.startswith("wrote run.html\n3 of 3 runs, 21 of 41 recorded steps; 0.2 MB\n")
    html = (store / "run.html").read_text()
    (data,) = re.findall(r"<script type=\"text/x-tegum-films\">([^<]*)</script>", html)
    ((head, _),) = read(base64.b64decode(data))
    assert head["steps"][:3] == [0, 10, 20]
    assert "<title>run</title>" in html


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nothing.zarr"], "there is nothing at this path"),
        (["run.zarr", "--seeds", "9"], "report run.zarr(seeds=9): there is no such run; the runs are 0 to 2"),
        (["run.zarr", "-o", "run.txt"], "the name of the file must end in .html"),
        (["run.zarr", "--seeds", "0:300000000"], "a range of at most 1,000,000 such as 0:16"),
    ],
)
def test_report_refuses_in_a_sentence(
    store: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], sentence: str
) -> None:
    monkeypatch.chdir(store)
    with pytest.raises((ValueError, OSError, CoercionError)) as refused:
        app(["report", *arguments], exit_on_error=False, result_action="return_value")
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value).strip()
    assert [path.name for path in store.iterdir()] == ["run.zarr"]
