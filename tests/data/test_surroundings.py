"""Settings, rights and limits that a process finds itself with: met before the work, or without a part in it."""

from __future__ import annotations

import ast
import json
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import xarray as xr
import zarr

import tegum as tg
from tegum.data import zarr_setup
from tegum.data.keeping import KeptElsewhereError
from tegum.training import checkpoint

SPEC = """
hidden = 2
seeds = 2
snapshots = 4

[training]
steps = 40

[[features]]
kind = "independent"
count = 3
density = 0.3
"""

# Several calls of the command line in one process; each line of standard output is an exit code and what was said.
CALLS = r"""
import contextlib, io, json, sys
from tegum.cli import main

for args in json.loads(sys.argv[1]):
    sys.argv = ["tegum", *args]
    told = io.StringIO()
    with contextlib.redirect_stderr(told), contextlib.redirect_stdout(io.StringIO()):
        try:
            main()
        except SystemExit as leaving:
            code = leaving.code
    print(json.dumps([code, told.getvalue().strip().rpartition("\n")[2]]))
"""

# Even root is refused what a file's rights say, once it has given up its capabilities.
WITHOUT_RIGHTS = """
import ctypes, os

if os.geteuid() == 0:
    ctypes.CDLL(None).capset((ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)())
"""

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="rights are given up in Linux's way")


@pytest.fixture
def spec(tmp_path: Path) -> tg.Spec:
    (tmp_path / "spec.toml").write_text(SPEC)
    return tg.Spec.from_toml(tmp_path / "spec.toml")


def calls(cwd: Path, *commands: list[str], before: str = "", **environment: str) -> list[tuple[int, str]]:
    done = subprocess.run(
        [sys.executable, "-c", before + CALLS, json.dumps(commands)], cwd=cwd, env=os.environ | environment,
        capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    "settings",
    [
        {
            "async.concurrency": 0, "threading.max_workers": 0, "codec_pipeline.batch_size": 0, "json_indent": "wide",
            "codecs.zstd": "nonsense", "buffer": "nonsense", "array.write_empty_chunks": 1, "array.order": "Z",
        },
        {"async": "nonsense", "codec_pipeline.path": "nonsense", "codecs": "nonsense", "ndbuffer": "nonsense"},
    ],
    ids=["numbers", "words"],
)  # fmt: skip
def test_settings_of_zarr_have_no_part_in_it(tmp_path: Path, spec: tg.Spec, settings: dict[str, Any]) -> None:
    undisturbed = tg.train(spec)
    with zarr.config.set(settings):
        here = {key: zarr.config.get(key) for key in settings}
        tg.train(spec, out=tmp_path / "run.zarr", checkpoint_seconds=0.0)
        run = tg.load(tmp_path / "run.zarr")
        # Numbers are read when they are used.
        assert np.array_equal(run.weights.isel(seed=1, step=[0, 3])[:, ::-1], undisturbed.weights[1, [0, 3], ::-1])
        xr.testing.assert_identical(run.drop_attrs(), undisturbed.drop_attrs())
        assert {key: zarr.config.get(key) for key in settings} == here
    assert zarr.config.get("async.concurrency") == 10


def test_settings_of_zarr_come_back_where_scopes_overlap() -> None:
    inside, leave = threading.Event(), threading.Event()

    def stay() -> None:
        with zarr_setup.scope():
            inside.set()
            leave.wait(60)

    with zarr.config.set({"async.concurrency": 3}):
        other = threading.Thread(target=stay)
        with zarr_setup.scope():
            other.start()
            inside.wait(60)
        assert zarr.config.get("async.concurrency") == 10  # the other one is still at work
        leave.set()
        other.join(60)
        assert zarr.config.get("async.concurrency") == 3


def test_settings_in_the_environment(tmp_path: Path, spec: tg.Spec) -> None:
    """In a process of its own: zarr reads them when it is imported. What keeps it from that is refused at once."""
    np.save(tmp_path / "W.npy", np.eye(4))
    environment = {
        "ZARR_ASYNC__CONCURRENCY": "0",
        "ZARR_CODEC_PIPELINE__PATH": "nonsense",
        "ZARR_ARRAY__WRITE_EMPTY_CHUNKS": "1",
        "ZARR_THREADING": "many",
    }
    commands = [["train", "spec.toml"], ["show", "spec.zarr"], ["analyse", "W.npy", "--out", "measured"]]
    assert [code for code, _ in calls(tmp_path, *commands, **environment)] == [0, 0, 0]
    assert tg.load(tmp_path / "spec.zarr").sizes["seed"] == spec.seeds
    (tmp_path / "zarr.yaml").write_text("array: [")
    long = ["train", "spec.toml", "--out", "long.zarr", "--set", "training.steps=500000000"]
    results = calls(tmp_path, long, [*commands[2][:-1], "other"], ZARR_CONFIG=str(tmp_path / "zarr.yaml"))
    for (code, said), begins in zip(results, ("train(out='long.zarr')", "analyse --out other"), strict=True):
        assert code == 2
        assert said.startswith(f"tegum: {begins}: nothing could be stored, as zarr does not work here (A config file")


def test_what_fails_after_training_has_the_run(tmp_path: Path, spec: tg.Spec, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []

    def write(_: xr.Dataset, path: Path, **__: Any) -> None:
        written.append(path)
        raise TypeError("a library's own")

    monkeypatch.setattr(checkpoint, "write", write)
    with pytest.raises(
        OSError, match=r"^train\(out='.*'\): writing .*: TypeError \(a library's own\); .* on no disk"
    ) as caught:
        tg.train(spec, out=tmp_path / "run.zarr")
    assert len(written) > 1  # other folders were tried
    xr.testing.assert_identical(vars(caught.value)["run"].drop_attrs(), tg.train(spec).drop_attrs())
    assert caught.value.__notes__ == ["the whole trajectory is in the attribute `run` of this exception"]

    def elsewhere(dataset: xr.Dataset, path: Path, **_: Any) -> None:
        if path == tmp_path / "run.zarr":
            raise TypeError("a library's own")
        tg.save(dataset, path)

    monkeypatch.setattr(checkpoint, "write", elsewhere)
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    with pytest.raises(KeptElsewhereError, match="the trajectory is kept in") as kept:
        tg.train(spec, out=tmp_path / "run.zarr")
    xr.testing.assert_identical(tg.load(kept.value.path), vars(kept.value)["run"])


def test_what_is_stopped_as_it_is_written_is_whole(
    tmp_path: Path, spec: tg.Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = checkpoint.write

    def interrupted(*args: Any, **options: Any) -> None:
        signal.raise_signal(signal.SIGINT)
        write(*args, **options)

    monkeypatch.setattr(checkpoint, "write", interrupted)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KeyboardInterrupt) as caught:
        tg.train(spec, out="run.zarr")
    assert caught.value.__notes__ == ["the whole trajectory is in 'run.zarr'"]
    assert (tg.load("run.zarr").result == "completed").all()
    assert {path.name for path in tmp_path.iterdir()} == {"spec.toml", "run.zarr"}


@linux
def test_without_the_rights_it_is_said_what_was_being_done(tmp_path: Path, spec: tg.Spec) -> None:
    run = tg.train(spec)
    for name, inside in (("chunk", "weights/c/0/0/0/0"), ("group", "zarr.json"), ("folder", ""), ("variable", "loss")):
        tg.save(run, tmp_path / f"{name}.zarr")
        (tmp_path / f"{name}.zarr" / inside).chmod(0)
    np.save(tmp_path / "W.npy", np.eye(4))
    (tmp_path / "hidden").mkdir(mode=0)
    (tmp_path / "hidden.toml").write_text(SPEC)
    (tmp_path / "hidden.toml").chmod(0)
    (tmp_path / "W0.npy").touch(mode=0)
    # A folder that is protected and may be replaced is removed all the same: nothing hidden is left of it.
    tg.save(run, tmp_path / "protected.zarr")
    for path in [tmp_path / "protected.zarr", *(tmp_path / "protected.zarr").rglob("*")]:
        if path.is_dir():
            path.chmod(0o555)
    shown = [["show", f"{name}.zarr"] for name in ("chunk", "group", "folder", "variable")]
    out = ["--out", "hidden/a"]
    made = [["train", "spec.toml", *out], ["run", "polytopes", *out], ["analyse", "W.npy", *out],
            ["render", "group.zarr", *out[:1], "hidden/a.gif"], ["train", "hidden.toml"], ["analyse", "W0.npy"],
            ["train", "spec.toml", "--out", "folder.zarr", "--overwrite"]]  # fmt: skip
    replace = ["train", "spec.toml", "--out", "protected.zarr", "--overwrite"]
    *results, replaced = calls(tmp_path, *shown, *made, replace, before=WITHOUT_RIGHTS)
    assert replaced[0] == 0
    assert not list(tmp_path.glob(".*"))
    for path in tmp_path.iterdir():
        path.chmod(0o700)
    (tmp_path / "variable.zarr" / "loss").chmod(0o700)
    for (code, said), command in zip(results, [*shown, *made], strict=True):
        assert code == 2, command
        assert "[Errno" not in said, command
        assert "ermission denied" in said, (command, said)
    for (_, said), command in zip(results, shown, strict=False):
        assert said.startswith(f"tegum: load('{command[1]}'): reading '{tmp_path / command[1]}"), said
    assert results[4] == (2, "tegum: train --out hidden/a: Permission denied")


def test_where_a_link_leads_to_is_where_it_is_kept(tmp_path: Path, spec: tg.Spec) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "link.zarr").symlink_to(Path("far") / "run.zarr")

    def stop(_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(tg.TrainingInterrupted) as caught:
        tg.train(spec, out=tmp_path / "link.zarr", progress=stop)
    assert f"is kept in {str(tmp_path / 'far' / 'run.partial.zarr')!r}" in caught.value.__notes__[0]
    assert (tg.load(tmp_path / "far" / "run.partial.zarr").result == "interrupted").all()
    tg.train(spec, out=tmp_path / "link.zarr", resume=True)
    assert (tmp_path / "link.zarr").is_symlink()
    assert [path.name for path in (tmp_path / "far").iterdir()] == ["run.zarr"]


def test_what_somebody_puts_into_an_unfinished_training_stays(tmp_path: Path, spec: tg.Spec) -> None:
    notes = tmp_path / "run.partial.zarr" / "notes.txt"

    def put(segment: Any) -> None:
        if notes.parent.exists() and not notes.exists() and segment.state.step == segment.steps:
            notes.write_text("mine")

    with pytest.warns(
        UserWarning, match=r"run\.partial\.zarr' is no longer needed, but stays, as 'notes\.txt' is in it"
    ):
        tg.train(spec, out=tmp_path / "run.zarr", progress=put, checkpoint_seconds=0.0)
    assert notes.read_text() == "mine"
    with pytest.raises(FileExistsError, match=r"run\.partial\.zarr', but 'notes\.txt' in it is not part of that"):
        tg.train(spec, out=tmp_path / "run.zarr", overwrite=True)


def test_exceptions_can_be_sent_to_another_process() -> None:
    """As a pool does; one that could not be read there has it wait for ever."""
    from tegum.analysis.landscape import phases, tracks
    from tegum.cli import _InTheirCodeError
    from tegum.core.inputs.files import UnreadableError
    from tegum.core.stopping import Stopped
    from tegum.data.chunks import DamagedChunkError
    from tegum.lab.widget import LinkError
    from tegum.server.reading import RefusedError
    from tegum.sweeps.coordinator import WholeSweepError
    from tegum.sweeps.packs import DamagedPackError, DifferentWorkerError
    from tegum.sweeps.workers import SchedulerLostError, WorkerDiedError

    kept = KeptElsewhereError("It is elsewhere.", Path("there"))
    kept.add_note("And noted.")
    vars(kept)["run"] = {"loss": 1}
    errors = [
        kept,
        tg.TrainingInterrupted(cast(Any, {"loss": 1})),
        UnreadableError("key", None, "must be there"),
        DamagedChunkError("It is cut."),
        phases._OneBranchEndedError(1, tracks.BranchChange("jump", 0.5, 0.1, ())),
        tracks._TrackEndedError(),
        _InTheirCodeError("mine: it failed"),
        Stopped("enough"),
        LinkError("There is no such step."),
        RefusedError(404, "There is no such store."),
        DamagedPackError("It is cut."),
        DifferentWorkerError("It has other code."),
        SchedulerLostError("It has gone."),
        WholeSweepError("Nothing works."),
        WorkerDiedError("It was killed."),
    ]
    for error in errors:
        other = pickle.loads(pickle.dumps(error))
        assert (type(other), other.args, vars(other)) == (type(error), error.args, vars(error))
        assert str(other) == str(error)
    found = []
    for file in Path(tg.__file__).parent.rglob("*.py"):
        classes = (node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.ClassDef))
        found += [
            each.name
            for each in classes
            if re.search(r"Error|Exception|Interrupt", " ".join(map(ast.unparse, each.bases)))
        ]
    assert sorted(found) == sorted(type(error).__name__ for error in errors)


@linux
@pytest.mark.parametrize("limit", [10_000, 5_000_000])
def test_a_limit_on_the_size_of_files(tmp_path: Path, limit: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"""
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
from tegum.data.disk_space import ReservedSpace
from pathlib import Path
try:
    with ReservedSpace(Path("."), 50_000_000, call="train(out='a.zarr')", what="the trajectory"):
        print("held")
except OSError as error:
    print(error)
"""], cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == ("held" if limit > 10_000 else (
        "train(out='a.zarr'): the trajectory may take files of up to 4.2 MB, but this process may not write files "
        "larger than 10 kB (ulimit -f)"
    ))  # fmt: skip
