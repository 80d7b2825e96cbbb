"""The cache of compiled kernels: kept across processes, dropped when a source changes, and never a condition."""

from __future__ import annotations

import importlib.util
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from numba.core import caching, config

import tegum
from tegum.core.compiled import compile as compiled

CALLEE = """
from tegum.core.compiled.compile import kernel
from tegum.core.factors import FACTOR

@kernel
def scaled(x):
    return FACTOR * x
"""
CALLER = """
from tegum.core import callee
from tegum.core.compiled.compile import kernel

@kernel
def called(x):
    return callee.scaled(x) + 1.0
"""
FIRST_THE = {
    "callee": "callee.scaled(1.0); print(caller.called(1.0), len(caller.called.stats.cache_hits))",
    "caller": "print(caller.called(1.0), len(caller.called.stats.cache_hits))",
}


def test_a_change_anywhere_recompiles_what_depends_on_it(tmp_path: Path):
    package = tmp_path / "tegum"
    shutil.copytree(Path(tegum.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "core" / "factors.py").write_text("FACTOR = 2.0\n")
    (package / "core" / "callee.py").write_text(CALLEE)
    (package / "core" / "caller.py").write_text(CALLER)

    def called(first: str = "caller", **environment: str) -> str:
        program = f"from tegum.core import callee, caller; {FIRST_THE[first]}"
        environment = {"PYTHONPATH": str(tmp_path), "NUMBA_CACHE_DIR": str(tmp_path / "cache")} | environment
        run = subprocess.run(
            [sys.executable, "-c", program], env=os.environ | environment, capture_output=True, text=True, cwd=tmp_path
        )
        assert (run.returncode, run.stderr) == (0, "")
        return run.stdout.strip()

    assert called() == "3.0 0"
    # What compiles nothing and is not imported may change.
    other = package / "experiments" / "pair" / "__init__.py"
    other.write_text(other.read_text() + "# changed\n")
    assert called() == "3.0 1"
    # A constant, from a file that compiles nothing, and the callee, whichever is called first.
    (package / "core" / "factors.py").write_text("FACTOR = 5.0\n")
    assert called("callee") == "6.0 0"
    (package / "core" / "callee.py").write_text(CALLEE.replace("* x", "* x * 2.0"))
    assert called("caller") == "11.0 0"
    # A new file that defines compiled code, found wherever it is.
    (package / "figures" / "fresh.py").write_text("from ..core import compiled\n")
    assert called() == "11.0 0"
    # Settings that make other code, and one that would make none.
    assert called(NUMBA_BOUNDSCHECK="1", NUMBA_DISABLE_JIT="1") == "11.0 0"


def kernels_in(folder: Path, text: str = "x + 1.0") -> Any:
    """A module of one kernel, as a process that has just begun has it."""
    path = folder / "other.py"
    source = f"from tegum.core.compiled.compile import kernel\n\n@kernel\ndef f(x):\n    return {text}\n"
    if not path.exists():
        path.write_text(source)
    spec = importlib.util.spec_from_file_location("other", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.f


@pytest.fixture(autouse=True)
def _a_process_that_has_said_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(compiled, "_said", set())


@pytest.mark.parametrize(
    "damage",
    [lambda b: b[:-1], lambda b: b[:20], lambda _: b"", lambda _: b"\x80\x04K\x01.", lambda b: b[:-9] + b"x" + b[-8:]],
    ids=["cut by one byte", "cut in its beginning", "empty", "another pickle", "one byte changed"],
)
def test_damaged_code_is_replaced(damage: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any):
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path / "cache"))
    kernels_in(tmp_path)(1.0)
    (stored,) = tmp_path.glob("cache/*/*.tegum")
    whole = stored.read_bytes()
    stored.write_bytes(damage(whole))
    assert kernels_in(tmp_path)(1.0) == 2.0
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert f"{stored} holds no usable compiled code" in told
    assert stored.read_bytes()[:15] == whole[:15]
    again = kernels_in(tmp_path)
    assert again(1.0) == 2.0
    assert len(again.stats.cache_hits) == 1
    assert capsys.readouterr().err == ""


def test_code_of_other_sources_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any):
    # As after an upgrade on a full disk, or with a folder of another version: intact, and not of these sources.
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path / "cache"))
    kernels_in(tmp_path)(1.0)
    (stored,) = tmp_path.glob("cache/*/*.tegum")
    old = stored.read_bytes()
    (tmp_path / "two").mkdir()
    assert kernels_in(tmp_path / "two", "x + 2.0")(1.0) == 3.0
    (other,) = set(tmp_path.glob("cache/*/*.tegum")) - {stored}
    other.write_bytes(old)
    assert kernels_in(tmp_path / "two", "x + 2.0")(1.0) == 3.0
    assert capsys.readouterr().err == ""


def test_what_was_edited_after_its_import_is_not_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path / "cache"))
    f = kernels_in(tmp_path)
    (tmp_path / "other.py").write_text("# quite another text\n")
    assert f(1.0) == 2.0
    assert not list(tmp_path.glob("cache/*/*.tegum"))


def test_a_cache_folder_that_is_a_file_costs_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any):
    (tmp_path / "cache").write_text("mine")
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path / "cache"))
    assert kernels_in(tmp_path)(1.0) == 2.0
    place = tmp_path / "__pycache__"
    assert capsys.readouterr().err == (
        f"tegum: NUMBA_CACHE_DIR={tmp_path / 'cache'} cannot be written; compiled code is kept in {place}\n"
    )
    assert list(place.glob("*.tegum"))
    assert (tmp_path / "cache").read_text() == "mine"


def test_a_full_disk_costs_a_sentence_a_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any):
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path / "cache"))
    f = kernels_in(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        assert f(1.0) == 2.0
        assert f(1) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "tegum: compiled code cannot be kept in" in told
    assert "(File too large)" in told
    assert "NUMBA_CACHE_DIR" in told
    # Not a part of a file is left.
    assert [path.name for path in tmp_path.glob("cache/*/*")] == ["tegum.lock"]


def test_a_folder_where_a_file_should_be_costs_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any):
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path / "cache"))
    kernels_in(tmp_path)(1.0)
    (stored,) = tmp_path.glob("cache/*/*.tegum")
    stored.unlink()
    (stored / "inside").mkdir(parents=True)
    assert kernels_in(tmp_path)(1.0) == 2.0
    assert capsys.readouterr().err.count("\n") == 1


def test_where_locks_are_impossible_it_compiles_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any):
    def refuse(*_: Any) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(compiled.fcntl, "lockf", refuse)
    assert kernels_in(tmp_path)(1.0) == 2.0
    assert len(list(tmp_path.glob("cache/*/*.tegum"))) == 1
    assert capsys.readouterr().err == ""


def test_standard_error_may_be_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(config, "CACHE_LOCATOR_CLASSES", "NoSuchLocator")
    monkeypatch.setattr(sys, "stderr", None)
    assert kernels_in(tmp_path)(1.0) == 2.0


READ_ONLY = """
import os, sys
sys.path.insert(0, {folder!r})
import warm, other
warm.f(1.0)
if os.geteuid() == 0:
    os.seteuid(65534)  # root may write everywhere
os.environ["HOME"] = os.environ["XDG_CACHE_HOME"] = "/nonexistent"
print(other.f(1.0), other.f(1))
"""


def test_a_read_only_installation_without_a_home_costs_a_sentence(tmp_path: Path):
    kernels_in(tmp_path)
    shutil.copy(tmp_path / "other.py", tmp_path / "warm.py")
    (tmp_path / "__pycache__").mkdir(exist_ok=True)
    for path in (tmp_path / "__pycache__", tmp_path):
        path.chmod(0o555)
    environment = {key: value for key, value in os.environ.items() if key != "NUMBA_CACHE_DIR"}
    program = READ_ONLY.format(folder=str(tmp_path))
    # As root the warm kernel finds a folder; as anybody else it does not, and says so as the other one does.
    run = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    tmp_path.chmod(0o755)
    (tmp_path / "__pycache__").chmod(0o755)
    assert (run.returncode, run.stdout) == (0, "2.0 2.0\n"), run.stderr
    assert run.stderr.count("\n") == 1
    assert run.stderr.startswith("tegum: compiled code cannot be kept (no folder for it can be written): ")


SLOW = """
import os, time
from numba.extending import overload
from tegum.core.compiled.compile import kernel

def slowly(x): ...

@overload(slowly)
def _(x):
    with open({log!r}, "a") as log:
        log.write(f"{{os.getpid()}}\\n")
    time.sleep({seconds})
    return lambda x: x + 1.0

@kernel
def f(x):
    return slowly(x)

print(f(1.0))
"""


def started(program: Path, cache: Path) -> subprocess.Popen[str]:
    environment = os.environ | {"NUMBA_CACHE_DIR": str(cache)}
    return subprocess.Popen(
        [sys.executable, str(program)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_processes_compile_the_same_code_once(tmp_path: Path):
    program, log = tmp_path / "slow.py", tmp_path / "log"
    program.write_text(SLOW.format(log=str(log), seconds=4))
    running = [started(program, tmp_path / "cache") for _ in range(3)]
    told = [each.communicate(timeout=120) for each in running]
    assert [out for out, _ in told] == ["2.0\n"] * 3
    assert len(set(log.read_text().splitlines())) == 1
    assert {err for _, err in told} <= {"", "tegum: waiting for another process, which is compiling the same code\n"}


def test_the_lock_of_a_killed_process_goes_with_it(tmp_path: Path):
    program, log = tmp_path / "slow.py", tmp_path / "log"
    program.write_text(SLOW.format(log=str(log), seconds=600))
    owner = started(program, tmp_path / "cache")
    while not log.exists():
        assert owner.poll() is None
        time.sleep(0.05)
    owner.send_signal(signal.SIGKILL)
    owner.communicate()
    program.write_text(SLOW.format(log=str(log), seconds=0))
    assert started(program, tmp_path / "cache").communicate(timeout=60) == ("2.0\n", "")


def test_the_cache_of_numba_has_what_ours_replaces():
    # Private to numba, and so looked at here first when its version changes.
    assert {"load_overload", "save_overload", "_index_key", "cache_path"} <= set(dir(caching.FunctionCache))
    assert {"reduce", "rebuild", "locator", "filename_base"} <= set(dir(caching.CompileResultCacheImpl))


def test_no_thread_for_numba_is_told_and_costs_nothing():
    program = "import tegum; print(tegum.Spec(features=[tegum.Independent(2, 0.1)], hidden=1).features.n); import numba"
    environment = os.environ | {"NUMBA_NUM_THREADS": "0"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "2\n")
    assert "NUMBA_NUM_THREADS=0: numba must have at least 1 thread, so it gets 1" in done.stderr


def test_an_interruption_while_a_kernel_is_compiled_is_not_lost(tmp_path):
    """LLVM calls Python back to hand over what it has compiled; what is raised there would be printed and forgotten."""
    (tmp_path / "interrupted.py").write_text("""
import os, signal
from llvmlite.binding.executionengine import ExecutionEngine

found, interrupt = ExecutionEngine._find_module_ptr, []

def interrupted(self, module):
    if interrupt:
        os.kill(os.getpid(), interrupt.pop())
    return found(self, module)

ExecutionEngine._find_module_ptr = interrupted

from tegum.core.compiled.compile import kernel

@kernel
def twice(x):
    return 2 * x

interrupt.append(signal.SIGINT)
try:
    twice(3)
except KeyboardInterrupt:
    print("interrupted, then", twice(4))
""")
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "interrupted.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted, then 8\n", "")
