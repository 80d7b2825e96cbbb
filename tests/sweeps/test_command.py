"""`tegum sweep` and `tegum show`: exit codes, what is printed, and what is left."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import tegum as tg
from tegum import cli, terminal

SWEEP = """
keep = ["loss", "mine.py:fragile"]
pack = 2

[parameters]
density = [0.1, 0.3]

[spec]
hidden = 1
seeds = 5
snapshots = 3

[spec.training]
steps = 30
batch = 32
evaluation = 32

[[spec.features]]
kind = "independent"
count = 3
density = 0.1
"""

MEASURE = """
from pathlib import Path

def fragile(run):
    if run.sizes["seed"] == 2 and (Path(__file__).parent / "broken").exists():
        raise RuntimeError("it is broken")
    return run["loss"]
"""

SPEC = tg.Spec(
    features=[tg.Independent(3, 0.1)],
    hidden=1,
    training=tg.Sampled(steps=30, batch=32, evaluation=32),
    seeds=5,
    snapshots=3,
)


@pytest.fixture(autouse=True)
def in_threads(monkeypatch, threads):
    """Threads in place of processes, which take seconds to start; other tests have these."""
    from tegum.sweeps import workers

    monkeypatch.setattr("tegum.sweeps.sweep._TRIAL_SECONDS", 0.05)
    monkeypatch.setattr(workers, "Processes", lambda count, _: workers.Others(threads, count or 2))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch) -> Path:
    (tmp_path / "densities.toml").write_text(SWEEP)
    (tmp_path / "mine.py").write_text(MEASURE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    return tmp_path


def called(capfd, *args: str) -> tuple[int, str, str]:
    """The exit code of a call, what it prints, and what it says beside that."""
    code = 0
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda message, *_, **__: terminal.say(str(message))
        try:
            cli.app([*args])
        except SystemExit as leaving:
            code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
        except Exception as error:
            code = cli._failed(error)
    out, err = capfd.readouterr()
    assert "Traceback" not in err, err
    return code, out, err


def rows(out: str) -> list[tuple[str, str]]:
    """The rows of the table that is printed, with lines that were wrapped put together."""
    found: list[tuple[str, str]] = []
    for line in out.splitlines():
        if line.startswith("│"):
            label, text = (part.strip() for part in line.strip("│").split("│"))
            if label or not found:
                found.append((label, text))
            else:
                found[-1] = found[-1][0], f"{found[-1][1]} {text}"
    return found


def test_a_sweep_is_made_shown_and_opened(folder, capfd):
    code, out, _ = called(capfd, "sweep", "densities.toml")
    assert code == 0
    place = folder / "densities.sweep"
    found = dict(rows(out))
    assert found.pop("size").endswith("B")
    assert found.pop("engine").startswith("auto, ")
    assert found == {
        "state": "complete", "Specs": "2, by density (2 values)", "runs": "10 of 10", "packs": "6 of 6",
        "kept": "result, diverged_at, loss, fragile",
    }  # fmt: skip
    command = next(line for line in out.splitlines() if line.startswith("xarray.open_zarr("))
    found = eval(command, {"xarray": xr})
    run = tg.train(SPEC.override({"features.density": 0.3}), progress=False)
    np.testing.assert_array_equal(found["loss"].isel(spec=1), run["loss"].isel(step=-1))
    assert called(capfd, "show", str(place))[:2] == (0, out)
    # Again it makes nothing.
    before = {path: path.stat().st_mtime_ns for path in place.rglob("*")}
    assert called(capfd, "sweep", "densities.toml", "--verify")[0] == 0
    assert {path: path.stat().st_mtime_ns for path in place.rglob("*")} == before


def test_a_cost_is_told_and_nothing_is_written(folder, capfd):
    code, out, err = called(capfd, "sweep", "densities.toml", "--cost")
    assert code == 0
    assert re.fullmatch(r"10 runs in 6 packs, about .* on 2 cores, [\d.,]+ \w+\n", out), out
    assert "10 runs" not in err
    assert {path.name for path in folder.iterdir() if path.name != "__pycache__"} == {"densities.toml", "mine.py"}


@pytest.mark.usefixtures("folder")
def test_slices_complete_a_sweep(capfd):
    codes = [called(capfd, "sweep", "densities.toml", "--out", "s", "--slice", f"{number}/3") for number in (2, 0)]
    assert [code for code, *_ in codes] == [0, 0]
    code, out, _ = called(capfd, "show", "s")
    assert code == 0
    assert dict(rows(out))["state"] == "incomplete"
    # Packs of two, two and one run, of each density; two of three are there.
    assert dict(rows(out))["packs"] == "4 of 6"
    assert called(capfd, "sweep", "densities.toml", "--out", "s", "--slice", "1/3")[0] == 0
    assert dict(rows(called(capfd, "show", "s")[1]))["state"] == "complete"
    for wrong in ("3/3", "1", "a/b", "-1/3", "1/0", "1/3/4", "/", ""):
        code, out, err = called(capfd, "sweep", "densities.toml", "--out", "s", f"--slice={wrong}")
        assert (code, out) == (2, "")
        assert err.splitlines()[-1] == f"tegum: sweep --slice {wrong}: must be i/k, with i from 0 to below k, as in 0/4"


def test_a_pack_that_fails_is_set_aside_with_exit_code_1_and_made_by_a_later_call(folder, capfd):
    (folder / "broken").touch()
    code, out, err = called(capfd, "sweep", "densities.toml")
    assert code == 1
    assert dict(rows(out))["state"] == "incomplete"
    assert dict(rows(out))["runs"] == "2 of 10"
    assert ("set aside", "Specs 0, runs 0 to 1: RuntimeError: it is broken, in the measure fragile") in rows(out)
    assert "4 packs have failed and were set aside; the same call tries again." in out + err
    assert len(list((folder / "densities.sweep" / "failed").glob("*.json"))) == 4
    code, out, _ = called(capfd, "show", "densities.sweep")
    assert code == 0
    assert out.count("RuntimeError: it is broken, in the measure fragile") == 4
    (folder / "broken").unlink()
    code, out, err = called(capfd, "sweep", "densities.toml")
    assert code == 0
    assert dict(rows(out))["state"] == "complete"
    assert "set aside" not in out + err


@pytest.mark.usefixtures("folder")
def test_set_changes_the_spec_and_is_another_sweep(capfd):
    assert called(capfd, "sweep", "densities.toml", "--out", "s", "--set", "hidden=2")[0] == 0
    found = xr.open_zarr("s/runs.zarr")
    run = tg.train(SPEC.override({"hidden": 2}), progress=False)
    np.testing.assert_array_equal(found["loss"].isel(spec=0), run["loss"].isel(step=-1))
    code, out, err = called(capfd, "sweep", "densities.toml", "--out", "s")
    assert (code, out) == (2, "")
    assert "there is another sweep in" in err.splitlines()[-1]
    assert "--overwrite" in err.splitlines()[-1]
    assert called(capfd, "sweep", "densities.toml", "--out", "s", "--overwrite")[0] == 0


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (("nowhere.toml",), r"nowhere.toml"),
        (("densities.toml", "--workers", "0"), r"workers"),
        (("densities.toml", "--workers", "x"), r"workers"),
        (("densities.toml", "--pack", "0"), r"pack"),
        (("densities.toml", "--set", "hiden=2"), r"there is no key 'hiden'; did you mean 'hidden'\?"),
        (("densities.toml", "--scheduler", "nonsense"), r"there is no scheduler at 'nonsense'"),
        (("densities.toml", "--out", "mine.py"), r"mine.py"),
        (("densities.toml", "--out", "."), r"a sweep needs a folder of its own"),
        (("densities.toml", "--out", "memory://"), r"an object store in memory has a name"),
        (("densities.toml", "--seed", "3"), r"--seed"),
        ((), r"FILE|file"),
    ],
)
def test_wrong_arguments_are_one_sentence_and_exit_code_2(folder, capfd, args, sentence):
    code, out, err = called(capfd, "sweep", *args)
    assert (code, out) == (2, "")
    assert re.search(sentence, err), err
    assert {path.name for path in folder.iterdir() if path.name != "__pycache__"} == {"densities.toml", "mine.py"}


def test_a_measure_that_cannot_be_run_is_one_sentence(folder, capfd):
    (folder / "mine.py").write_text("def fragile(run:\n")
    code, out, err = called(capfd, "sweep", "densities.toml")
    assert (code, out) == (2, "")
    assert "the file raises SyntaxError" in err.splitlines()[-1]
    assert not (folder / "densities.sweep").exists()


@pytest.mark.usefixtures("folder")
def test_a_running_sweep_is_shown(capfd):
    from tegum.sweeps.claims import Claims
    from tegum.sweeps.places import place_at

    assert called(capfd, "sweep", "densities.toml", "--out", "s", "--slice", "0/2")[0] == 0
    claims = Claims(place_at("s", "sweep"))
    assert dict(rows(called(capfd, "show", "s")[1]))["state"] == "incomplete, 1 process handing out packs"
    other = Claims(place_at("s", "sweep"))
    assert dict(rows(called(capfd, "show", "s")[1]))["state"] == "incomplete, 2 processes handing out packs"
    claims.leave()
    other.leave()
    assert dict(rows(called(capfd, "show", "s")[1]))["state"] == "incomplete"


def test_a_damaged_sweep_is_shown_or_refused_in_one_sentence(folder, capfd):
    assert called(capfd, "sweep", "densities.toml", "--out", "s")[0] == 0
    plan, manifest = (folder / "s" / "sweep.json").read_bytes(), (folder / "s" / "manifest.json").read_bytes()
    (folder / "s" / "manifest.json").write_bytes(manifest[:-1])
    code, out, err = called(capfd, "show", "s")
    assert (code, out) == (2, "")
    assert err.splitlines()[-1].endswith(
        "the file 'manifest.json' is damaged; remove it, and what is missing is made again"
    )
    (folder / "s" / "manifest.json").write_bytes(manifest)
    (folder / "s" / "sweep.json").write_bytes(plan[:100])
    code, out, err = called(capfd, "show", "s")
    assert (code, out) == (2, "")
    assert err.splitlines()[-1].endswith("/s/sweep.json is damaged: it is not the plan of a sweep")
    (folder / "s" / "sweep.json").write_bytes(plan)
    # A shard that is damaged is told and made again by the next call.
    shard = folder / "s" / "runs.zarr" / "loss" / "c" / "0" / "0"
    shard.write_bytes(shard.read_bytes()[:-1])
    code, _, err = called(capfd, "sweep", "densities.toml", "--out", "s")
    assert code == 0
    assert "it is made again" in err


def test_sweeps_of_several_shapes_are_shown(folder, capfd):
    (folder / "densities.toml").write_text(SWEEP.replace("density = [0.1, 0.3]", "hidden = [1, 2]"))
    code, out, _ = called(capfd, "sweep", "densities.toml")
    assert code == 0
    assert dict(rows(out))["groups"] == "3x1, 3x2"
    command = next(line for line in out.splitlines() if line.startswith("xarray.open_zarr("))
    assert dict(eval(command, {"xarray": xr}).sizes)["seed"] == 5
