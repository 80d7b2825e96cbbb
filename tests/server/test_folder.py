"""The folder of the lab: what is in it is listed and opened, and nothing outside it is reached."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
import xarray as xr
from lab_client import Client

import tegum as tg
from tegum.experiments.summary import Criterion, Summary
from tegum.lab.films import films, packed
from tegum.server.folder import LabFolder
from tegum.server.reading import RefusedError
from tegum.server.running import Lab, shown

pytestmark = pytest.mark.quick_form

SPEC = tg.Spec(
    features=[tg.Independent(3, 0.1)], hidden=2, training=tg.Sampled(steps=20, batch=8), snapshots=4, seeds=5
)


@pytest.fixture(scope="module")
def run() -> xr.Dataset:
    return tg.train(SPEC, progress=False)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, run: xr.Dataset) -> Path:
    """A folder with stores, results, damaged ones, and links that stay inside and lead out."""
    outside = tmp_path_factory.mktemp("outside")
    tg.save(run, outside / "secret.zarr")
    root = tmp_path_factory.mktemp("lab")
    tg.save(run, root / "run.zarr")
    (root / "a" / "b").mkdir(parents=True)
    grid = tg.train(tg.grid(SPEC, {"training.rate": [0.1, 0.2, 0.3]}), progress=False)
    tg.save(grid, root / "a" / "b" / "grid.zarr")
    tg.save(tg.train(SPEC, keep={"end": lambda one: one.loss.isel(step=-1)}, progress=False), root / "kept.zarr")
    run.to_zarr(root / "plain.zarr", zarr_format=2)
    (root / "empty.zarr").mkdir()
    (root / "empty.zarr" / "zarr.json").write_text('{"attributes": {"schema": "tegum trajectory"}}')
    (root / "odd.zarr").mkdir()
    (root / "odd.zarr" / "zarr.json").write_text("[" * 10_000)
    result = root / "found"
    result.mkdir()
    tg.save(run, result / "run.zarr")
    passed = Criterion("low", "It is low.", True)
    summary = Summary(
        name="pair", claim="It is.", verdict="holds", criteria=(passed,), measures=(), caption="", size="quick",
        spec={}, seed={}, versions={}, wall_time_s=1.0, question="Is it?",
        files=(result / "run.zarr", result / "summary.json"),
        source={"file": "mine.py", "sha256": "0"},
    )  # fmt: skip
    (result / "summary.json").write_text(json.dumps(summary.to_json()))
    (root / "other").mkdir()
    (root / "other" / "summary.json").write_text("{}")
    (root / "stolen").mkdir()
    stolen = summary.to_json() | {"files": [f"../../{outside.name}/secret.zarr", "summary.json"]}
    (root / "stolen" / "summary.json").write_text(json.dumps(stolen))
    (root / ".hidden").mkdir()
    shutil.copytree(root / "run.zarr", root / ".hidden" / "run.zarr")
    (root / "again.zarr").symlink_to(root / "run.zarr")
    (root / "link.zarr").symlink_to(outside / "secret.zarr")
    (root / "way").symlink_to(outside)
    return root


@pytest.fixture(scope="module")
def swept(place: Path) -> xr.Dataset:
    """A sweep of which half is there, as after a crash or while it runs."""
    keep = ["loss", "polytope_names", "states"]
    with ThreadPoolExecutor(1) as threads:
        tree = tg.sweep(
            SPEC, {"density": [0.1, 0.4]}, keep=keep, pack=5, part=(1, 2), out=place / "s.sweep", executor=threads,
            progress=False,
        )  # fmt: skip
    return tree.to_dataset().load()


def listed(client: Client) -> dict[str, Any]:
    status, _, body = client.ask("GET", "/api/folder")
    assert status == 200
    return json.loads(body)


def test_stores_and_results_are_listed_with_what_their_metadata_say(client: Client, place: Path) -> None:
    found = listed(client)
    assert (found["name"], found["opens"], found["left_out"]) == (place.name, None, None)
    entries = {each["path"]: each for each in found["entries"]}
    stored = {"kind": "run", "n": 3, "m": 2, "runs": 5, "specs": 1, "steps": 20, "training": "sampled"}
    assert entries.pop("run.zarr") == {"path": "run.zarr", "title": "run", **stored}
    assert entries.pop("again.zarr") == {"path": "again.zarr", "title": "again", **stored}
    assert entries.pop("plain.zarr") == {"path": "plain.zarr", "title": "plain", **stored}
    assert entries.pop("found/run.zarr") == {"path": "found/run.zarr", "title": "run", **stored}
    grid = {"path": "a/b/grid.zarr", "title": "grid", **stored, "specs": 3}
    assert entries.pop("a/b/grid.zarr") == grid
    assert entries.pop("found") == {
        "path": "found", "kind": "result", "title": "Is it?", "name": "pair", "verdict": "holds", "size": "quick",
        "page": True,
    }  # fmt: skip
    entries.pop("stolen")
    why = {path: each["why"] for path, each in entries.items()}
    assert why == {
        "kept.zarr": "it holds measures of runs, and no states",
        "empty.zarr": why["empty.zarr"],
        "odd.zarr": why["odd.zarr"],
        "other": "its summary.json is not that of an experiment",
        "link.zarr": "it leads out of the folder of the lab",
        "way": "it leads out of the folder of the lab",
    }
    assert all(why[name].startswith("its metadata cannot be read") for name in ("empty.zarr", "odd.zarr"))


def test_a_sweep_is_seen_while_it_runs(client: Client, swept: xr.Dataset) -> None:
    entries = {each["path"]: each for each in listed(client)["entries"]}
    told = {"runs": 10, "runs_there": 5, "complete": False, "specs": 2}
    assert entries["s.sweep"] == {"path": "s.sweep", "kind": "sweep", "title": "s", **told}
    assert not any(path.startswith("s.sweep/") for path in entries)
    status, _, body = client.ask("GET", "/api/sweep?path=s.sweep")
    assert status == 200
    found = json.loads(body)
    assert {key: found[key] for key in told} == told
    assert (found["packs"], found["packs_there"], found["processes"], found["set_aside"]) == (2, 1, 0, [])
    assert found["measures"] == ["loss", "polytope_names"]
    empty, full = found["rows"]
    assert (empty["labels"], empty["runs"], empty["values"]) == ({"density": 0.1}, 0, {})
    assert (full["labels"], full["runs"]) == ({"density": 0.4}, 5)
    assert tg.Spec.from_json(full["spec"]) == SPEC.override({"features.density": 0.4})
    assert full["values"]["loss"] == f"{swept.loss.sel(density=0.4).mean().item():.4g}"
    names = [str(name) for name in swept.polytope_names.sel(density=0.4).values]
    first, count = Counter(names).most_common(1)[0]
    assert full["values"]["polytope_names"].startswith(f"{first} {count / 5:.0%}")


def test_a_damaged_sweep_is_listed_with_why(place: Path, swept: xr.Dataset) -> None:  # noqa: ARG001 (it is there)
    shutil.copytree(place / "s.sweep", place / "cut.sweep")
    (place / "cut.sweep" / "sweep.json").write_text("{")
    try:
        (entry,) = (each for each in LabFolder(place).listed()["entries"] if each["path"] == "cut.sweep")
        assert "its plan cannot be read" in entry["why"]
        with pytest.raises(ValueError, match="damaged"):
            LabFolder(place).sweep("cut.sweep")
        with pytest.raises(ValueError, match="there is no sweep"):
            LabFolder(place).sweep("run.zarr")
    finally:
        shutil.rmtree(place / "cut.sweep")


def test_a_film_is_that_of_the_store(client: Client, run: xr.Dataset) -> None:
    for query, given in (("", {}), ("&seeds=0,3&every=2", {"seeds": [0, 3], "every": 2})):
        status, headers, body = client.ask("GET", f"/api/film?path=run.zarr{query}")
        assert (status, headers["content-type"]) == (200, "application/octet-stream")
        assert body == packed(films(run, **given))
    assert client.ask("GET", "/api/film?path=a/b/grid.zarr")[0] == 200


@pytest.mark.parametrize(
    ("query", "status", "word"),
    [
        ("run.zarr&seeds=9", 422, "seeds=9"),
        ("run.zarr&seeds=", 422, "seeds="),
        ("run.zarr&seeds=-1", 422, "seeds="),
        ("run.zarr&every=0", 422, "every=0"),
        ("run.zarr&every=1e3", 422, "every="),
        ("run.zarr&every=" + "9" * 5000, 422, "every="),
        ("kept.zarr", 422, "kept.zarr"),
        ("empty.zarr", 422, "empty.zarr"),
        ("odd.zarr", 422, "odd.zarr"),
        ("a", 422, "tegum store"),
        ("none.zarr", 404, "there is nothing"),
        ("run.zarr/none", 404, "there is nothing"),
    ],
)
def test_films_that_cannot_be_are_refused(client: Client, query: str, status: int, word: str) -> None:
    found, sentence = client.told("GET", f"/api/film?path={query}")
    assert (found, word in sentence) == (status, True), sentence
    assert "\n" not in sentence


@pytest.mark.parametrize("way", ["/api/film?path={}", "/result?path={}&token={token}"])
def test_nothing_outside_the_folder_is_reached(client: Client, place: Path, way: str) -> None:
    outside = place.parent / next(each.name for each in place.parent.iterdir() if each.name.startswith("outside"))
    given = [
        "..", "../", f"../{outside.name}/secret.zarr", f"a/../../{outside.name}/secret.zarr", "a/../run.zarr",
        str(outside / "secret.zarr"), str(place / "run.zarr"), "/etc", "", ".", "~/x", "link.zarr", "way/secret.zarr",
        "way", "..\\run.zarr", "run.zarr\x00", "a\nb", "x" * 5000, "file:///etc", "a//../..",
    ]  # fmt: skip
    for path in given:
        for written in (quote(path, safe=""), quote(path).replace("..", "%2e%2e")):
            status, sentence = client.told("GET", way.format(written, token=client.token))
            assert status in (403, 404, 422), (path, status)
            assert "secret" not in sentence or "secret" in path
            assert status != 422 or path in (".", "~/x"), (path, sentence)


def test_a_store_of_which_a_part_is_elsewhere_or_no_file_is_refused(tmp_path: Path, run: xr.Dataset) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "secret").write_bytes(b"x")
    lab = LabFolder(tmp_path / "root")
    for name, make in (("linked", lambda part: part.symlink_to(tmp_path / "secret")), ("piped", os.mkfifo)):
        tg.save(run, tmp_path / "root" / f"{name}.zarr")
        (part,) = (tmp_path / "root" / f"{name}.zarr" / "loss").rglob("zarr.json")
        part.unlink()
        make(part)
        with pytest.raises(RefusedError, match=f"{name}.zarr.*'zarr.json'"):
            lab.loaded(f"{name}.zarr")
    (tmp_path / "root" / "large.zarr").mkdir()
    (tmp_path / "root" / "large.zarr" / "zarr.json").write_bytes(b" " * (2**24 + 1))
    with pytest.raises(RefusedError, match="is too large for a description"):
        lab.loaded("large.zarr")


def test_a_result_is_shown_without_running_its_code(client: Client) -> None:
    """Its summary names a file of code, which is not even there."""
    status, headers, body = client.ask("GET", f"/result?path=found&token={client.token}")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "Is it?" in body.decode()
    assert client.told("GET", "/result?path=found")[0] == 403
    assert client.told("GET", f"/result?path=other&token={client.token}")[0] == 422
    assert client.told("GET", f"/result?path=run.zarr&token={client.token}")[0] == 404
    status, sentence = client.told("GET", f"/result?path=stolen&token={client.token}")
    assert (status, "leads out of the folder" in sentence) == (403, True)


def test_one_store_is_opened_alone(place: Path) -> None:
    with Lab(place / "run.zarr") as lab:
        client = Client(lab.address)
        found = listed(client)
        assert ([each["path"] for each in found["entries"]], found["opens"]) == (["run.zarr"], "run.zarr")
        assert client.ask("GET", "/api/film?path=run.zarr")[0] == 200
        assert client.told("GET", "/api/film?path=again.zarr") == (
            403, "path='again.zarr': the lab was opened with run.zarr alone"
        )  # fmt: skip


def test_a_list_that_is_cut_off_says_so(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = LabFolder(place).listed()
    monkeypatch.setattr("tegum.server.folder.MOST_ENTRIES", 3)
    cut = LabFolder(place).listed()
    assert (len(cut["entries"]), "there may be more" in cut["left_out"]) == (3, True)
    monkeypatch.setattr("tegum.server.folder.MOST_ENTRIES", len(whole["entries"]))
    monkeypatch.setattr("tegum.server.folder.DEPTH", 1)
    shallow = LabFolder(place).listed()
    assert "there may be more" in shallow["left_out"]
    paths = [{each["path"] for each in listing["entries"]} for listing in (whole, shallow)]
    assert paths[0] - paths[1] == {"a/b/grid.zarr", "found/run.zarr"}
    monkeypatch.setattr("tegum.server.folder.MOST_FOLDERS", 2)
    assert "there may be more" in LabFolder(place).listed()["left_out"]


def test_a_folder_that_cannot_be_read_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "shut").mkdir(0o000)
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with Lab(tmp_path) as lab:
        client = Client(lab.address)
        assert all("why" in each for each in listed(client)["entries"])
        assert client.told("GET", "/api/film?path=loop")[0] in (403, 404)
    (tmp_path / "shut").chmod(0o700)


def test_a_spec_opens_the_page_with_it(tmp_path: Path) -> None:
    """Its activations may lie elsewhere: whoever opens the lab has named them."""
    (tmp_path / "data").mkdir()
    (tmp_path / "lab").mkdir()
    np.save(tmp_path / "data" / "rows.npy", np.array([[0.0, 1.0], [0.5, 0.0]]))
    file = tmp_path / "lab" / "rows.toml"
    file.write_text('hidden = 1\n[[features]]\nkind = "empirical"\npath = "../data/rows.npy"\n')
    folder, fragment = shown(file)
    assert folder.root == tmp_path / "lab"
    assert fragment.startswith("#spec=")
    with Lab(file) as lab:
        client = Client(lab.address)
        assert lab.address.endswith(fragment)
        spec = {"features": [{"kind": "empirical", "path": str(tmp_path / "data" / "rows.npy")}], "hidden": 1}
        status, _, body = client.ask("POST", "/api/describe", {"spec": spec})
        assert (status, json.loads(body)["n"]) == (200, 2)
        other = {"features": [{"kind": "empirical", "path": str(tmp_path / "data" / "more.npy")}], "hidden": 1}
        assert client.told("POST", "/api/describe", {"spec": other})[0] == 422
