"""Trajectories that xarray wrote, and folders that only hold one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from tegum.data import schema, store

SPEC = {"features": [{"kind": "independent"}], "hidden": 2}


def trajectory(runs: int = 2, sets: int = 2) -> xr.Dataset:
    random = np.random.default_rng(0)
    return schema.trajectory(
        weights=random.normal(size=(runs, 3, 4, 2)).astype(np.float32),
        bias=random.normal(size=(runs, 3, 4)).astype(np.float32),
        loss=random.random((runs, 3)),
        result=np.full(runs, "completed"),
        diverged_at=np.full(runs, -1),
        seed=np.arange(runs),
        step=np.arange(3) * 10,
        set_=np.arange(4) * sets // 4,
        kind=["independent"] * 4,
        density=np.full(4, 0.1),
        importance=np.ones(4),
        attrs={
            "spec": json.dumps(SPEC | {"features": [{"kind": "independent"}] * sets}), "spec_hash": "0",
            "tegum_version": "0", "created": "", "wall_time_s": 1.0, "engine": "kernel", "threads": 1, "versions": {},
        },
    )  # fmt: skip


def written(path: Path, dataset: xr.Dataset, **options: Any) -> Path:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zarr: the form of text may change
        dataset.to_zarr(path, **options)
    return path


@pytest.mark.parametrize(
    "options", [{}, {"consolidated": False}, {"zarr_format": 2}, {"encoding": {"loss": {"chunks": (1, 2)}}}], ids=str
)
def test_a_store_that_xarray_wrote_is_read_with_a_warning(tmp_path: Path, options: dict[str, Any]):
    run = trajectory()
    path = written(tmp_path / "run.zarr", run, **options)
    with pytest.warns(UserWarning, match=r"^load\('.*run.zarr'\): xarray wrote this store, without checksums") as told:
        found = store.load(path)
    assert len(told) == 1
    xr.testing.assert_identical(found, run)
    # What zarr left out would be read as the fill value later: nothing is left to be read.
    shutil.rmtree(path)
    xr.testing.assert_identical(found, run)
    store.save(found, path)
    xr.testing.assert_identical(store.load(path), run)
    store.verify(path)


def test_zeros_that_are_known_may_be_left_out(tmp_path: Path):
    run = trajectory(runs=1, sets=1)
    path = written(tmp_path / "run.zarr", run)
    assert not (path / "seed" / "c").exists()
    assert not (path / "set" / "c").exists()
    with pytest.warns(UserWarning, match="without checksums"):
        xr.testing.assert_identical(store.load(path), run)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("name", ["weights", "loss", "seed", "set", "kind", "result", "diverged_at", "importance"])
def test_a_lost_chunk_is_not_its_fill_value(tmp_path: Path, name: str, version: Any):
    path = written(tmp_path / "run.zarr", trajectory(), zarr_format=version)
    for file in (path / name).rglob("*"):
        if file.is_file() and not file.name.startswith((".z", "zarr.json")):
            file.unlink()
    sentence = rf"^load\('.*'\): the variable '{name}' is incomplete: 1 chunks are missing, and zarr would read "
    with pytest.raises(ValueError, match=sentence):
        store.load(path)


def test_other_damage(tmp_path: Path):
    path = written(tmp_path / "run.zarr", trajectory())
    with pytest.raises(ValueError, match=r"^verify\('.*'\): xarray wrote this store, without checksums"):
        store.verify(path)
    chunk = path / "weights" / "c" / "0" / "0" / "0" / "0"
    whole = chunk.read_bytes()
    chunk.write_bytes(whole[:-9])
    with pytest.raises(ValueError, match=r"^load\('[^\n]*'\): this zarr store cannot be read \([^\n]*\)$"):
        store.load(path)
    chunk.write_bytes(whole)
    file = path / "zarr.json"
    group = json.loads(file.read_text())
    group["attributes"]["schema_version"] = 2
    file.write_text(json.dumps(group))
    with pytest.raises(
        ValueError, match=r"the store has the schema 'tegum trajectory', version 2, but this tegum reads"
    ):
        store.load(path)


def test_a_saved_store_without_its_manifest_stays_damaged(tmp_path: Path):
    store.save(trajectory(), tmp_path / "run.zarr")
    (tmp_path / "run.zarr" / "manifest" / "zarr.json").unlink()
    sentence = r"the file 'manifest/zarr.json' is missing; the store is damaged: restore it from a copy"
    with pytest.raises(ValueError, match=sentence):
        store.load(tmp_path / "run.zarr")
    (tmp_path / "run.zarr" / "manifest").rmdir()
    with pytest.raises(ValueError, match=sentence):
        store.load(tmp_path / "run.zarr")


def test_a_folder_that_holds_a_store_is_told_from_one(tmp_path: Path):
    for name in ("one", "two"):
        (tmp_path / "results" / name).mkdir(parents=True)
        store.save(trajectory(), tmp_path / "results" / name / "run.zarr")
        (tmp_path / "results" / name / "summary.json").write_text("{}")

    def refused(path: str, sentence: str) -> None:
        with pytest.raises(ValueError, match=r"^load\(") as caught:
            store.load(tmp_path / path)
        assert sentence.replace("TMP", str(tmp_path)) in str(caught.value)

    refused(
        "results/one",
        "this folder is not a zarr store, nor a tegum store; there is one inside it: 'TMP/results/one/run.zarr'",
    )
    refused("results", "there are 2 inside it: 'TMP/results/one/run.zarr', 'TMP/results/two/run.zarr'")
    refused(
        "results/one/run.zarr/weights", "this folder is a variable of the store 'TMP/results/one/run.zarr', which is"
    )
    refused("results/one/summary.json", "this is a file; a tegum store is a folder")
    written(tmp_path / "measures" / "measures.zarr", xr.Dataset({"norm": ("feature", np.ones(3))}))
    refused(
        "measures",
        "what is inside it, 'TMP/measures/measures.zarr', is not a trajectory, but xarray.open_zarr may open it",
    )
    (tmp_path / "empty").mkdir()
    refused("empty", "this folder is not a zarr store, nor a tegum store")
