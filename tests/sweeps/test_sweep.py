"""`tegum.sweep`: the values of training bit for bit, whatever makes them, and sentences for everything else."""

from __future__ import annotations

import hashlib
import itertools
import json
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import tegum as tg
from tegum.sweeps.places import place_at

SAMPLED = tg.Sampled(steps=30, batch=32, evaluation=32)
SPEC = tg.Spec(features=[tg.Independent(3, 0.1)], hidden=1, training=SAMPLED, seeds=5, snapshots=3)
DENSITIES = [0.1, 0.3]


@pytest.fixture(autouse=True)
def short_trials(monkeypatch):
    """The trial of a group takes this many seconds at most."""
    monkeypatch.setattr("tegum.sweeps.sweep._TRIAL_SECONDS", 0.05)


def files(address: str, folder: str = "runs.zarr") -> dict[str, str]:
    place = place_at(address, "sweep")
    return {path: hashlib.sha256(place.read(path)).hexdigest() for path in place.sizes(folder)}


def check_same_values(tree, spec: tg.Spec, key: str, values, keep=("loss", "weights", "bias"), **options) -> None:
    for number, value in enumerate(values):
        run = tg.train(spec.override({key: value}), progress=False, **options).isel(step=-1)
        for name in keep:
            np.testing.assert_array_equal(tree[name].isel(spec=number), run[name])
        assert tree["result"].isel(spec=number).values.tolist() == run["result"].values.tolist()


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("pack", [1, 3, 100])
def test_values_are_those_of_training_whatever_the_workers_and_packs(threads, workers, pack):
    tree = tg.sweep(SPEC, {"density": DENSITIES}, executor=threads, workers=workers, pack=pack, progress=False)
    check_same_values(tree, SPEC, "features.density", DENSITIES)


@pytest.mark.parametrize(
    ("training", "engine"),
    [(tg.Exact(steps=8), "auto"), (tg.Flow(steps=20), "auto"), (SAMPLED, "jax"), (SAMPLED, "kernel")],
    ids=["exact", "flow", "jax", "kernel"],
)
def test_values_are_those_of_training_in_every_way(threads, training, engine):
    # One run, where each number of runs is compiled for itself.
    spec = SPEC.replace(training=training, seeds=1 if training.kind == "flow" or engine == "jax" else 3)
    tree = tg.sweep(spec, {"density": DENSITIES}, executor=threads, pack=2, engine=engine, progress=False)
    check_same_values(tree, spec, "features.density", DENSITIES, engine=engine)
    assert ("converged_at" in tree) == (training.kind == "exact")


def test_processes_give_the_same_values_and_files_as_threads(threads, tmp_path):
    """One call with processes of this machine, which is the default."""
    keep = ["states", "polytope_names", "events"]
    one = tg.sweep(SPEC, {"density": DENSITIES}, keep=keep, out=tmp_path / "one", workers=2, pack=3, progress=False)
    check_same_values(one, SPEC, "features.density", DENSITIES)
    tg.sweep(SPEC, {"density": DENSITIES}, keep=keep, out=tmp_path / "two", executor=threads, pack=3, progress=False)
    assert files(str(tmp_path / "one")) == files(str(tmp_path / "two"))
    assert (tmp_path / "one" / "manifest.json").read_bytes() == (tmp_path / "two" / "manifest.json").read_bytes()


def test_the_three_kinds_of_place_have_the_same_files(threads, out):
    several = [out(kind) for kind in ("folder", "memory", "s3")]
    for each in several:
        tree = tg.sweep(
            SPEC, {"density": DENSITIES}, keep=["states", "events"], out=each, executor=threads, pack=3, progress=False
        )
        check_same_values(tree, SPEC, "features.density", DENSITIES)
        # Once more, with all that is there compared.
        tg.sweep(
            SPEC,
            {"density": DENSITIES},
            keep=["states", "events"],
            out=each,
            executor=threads,
            verify=True,
            progress=False,
        )
    found = [files(each) for each in several]
    assert found[0] == found[1] == found[2]
    assert len({place_at(each, "sweep").read("manifest.json") for each in several}) == 1
    assert all({*place_at(each, "sweep").sizes("")} == {*place_at(several[0], "sweep").sizes("")} for each in several)


def test_several_shapes_are_a_tree_of_groups(threads, tmp_path):
    swept = tg.sweep(SPEC, {"hidden": [1, 2], "count": [2, 3]}, out=tmp_path / "s", executor=threads, progress=False)
    assert {*swept.children} == {"2x1", "3x1", "2x2", "3x2"}
    for path, node in swept.children.items():
        count, hidden = map(int, path.split("x"))
        run = tg.train(SPEC.replace(hidden=hidden).override({"features.0.count": count}), progress=False).isel(step=-1)
        np.testing.assert_array_equal(node["weights"].isel(spec=0), run["weights"])
        # The weights have a dimension of the name of a parameter.
        assert node["hidden"].dims == ("hidden",)
        assert node["spec_hidden"].values.tolist() == [hidden]
        assert node["count"].values.tolist() == [count]
        # Warnings are errors: of metadata that are not in one file xarray warns.
        found = xr.open_zarr(tmp_path / "s" / "runs.zarr", group=path)
        np.testing.assert_array_equal(found["loss"].isel(spec=0), run["loss"])


def test_all_groups_are_opened_at_once(threads, tmp_path):
    swept = tg.sweep(SPEC, {"hidden": [1, 2]}, keep=["loss"], out=tmp_path / "s", executor=threads, progress=False)
    tree = xr.open_datatree(tmp_path / "s" / "runs.zarr", engine="zarr")
    for path in ("3x1", "3x2"):
        np.testing.assert_array_equal(tree[path]["loss"], swept[path]["loss"])
        assert swept[path]["hidden"].values.tolist() == [int(path[-1])]


def test_several_groups_of_one_shape(threads):
    swept = tg.sweep(SPEC, {"steps": [20, 30]}, keep=["loss"], executor=threads, progress=False)
    assert {*swept.children} == {"3x1-1", "3x1-2"}
    for path, steps in (("3x1-1", 20), ("3x1-2", 30)):
        run = tg.train(SPEC.override({"training.steps": steps}), progress=False)
        np.testing.assert_array_equal(swept[path]["loss"].isel(spec=0), run["loss"].isel(step=-1))


def test_a_list_of_specs_a_grid_and_draws_are_swept(threads):
    listed = [SPEC, SPEC.override({"features.density": 0.4})]
    tree = tg.sweep(listed, keep=["loss"], executor=threads, progress=False)
    for number, spec in enumerate(listed):
        np.testing.assert_array_equal(
            tree["loss"].isel(spec=number), tg.train(spec, progress=False)["loss"].isel(step=-1)
        )
    tree = tg.sweep(tg.grid(SPEC, density=DENSITIES), keep=["loss"], executor=threads, progress=False)
    assert tree["loss"].sel(density=0.3).shape == (5,)
    ranges = {"density": tg.Between(0.1, 0.5), "rate": tg.Between(1e-3, 1e-1, scale="log")}
    tree = tg.sweep(SPEC, ranges, way="sobol", count=4, keep=["loss"], executor=threads, progress=False)
    assert dict(tree.sizes) == {"spec": 4, "seed": 5}
    assert len({*tree["density"].values.tolist()}) == len({*tree["rate"].values.tolist()}) == 4


def test_out_none_keeps_it_in_memory(threads, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    tree = tg.sweep(SPEC, {"density": DENSITIES}, keep=["loss"], executor=threads, progress=False)
    assert list(tmp_path.iterdir()) == []
    assert tree["loss"].shape == (2, 5)
    assert np.isfinite(tree["loss"].values).all()


def test_it_goes_on_where_it_was_and_makes_nothing_twice(threads, tmp_path):
    arguments = {"keep": ["loss"], "out": tmp_path / "s", "executor": threads, "pack": 2, "progress": False}
    tg.sweep(SPEC, {"density": DENSITIES}, part=(0, 2), **arguments)
    assert not (tmp_path / "s" / "manifest.json").exists()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "s").rglob("c/*/*") if path.is_file()}
    counted = []
    tg.sweep(SPEC, {"density": DENSITIES}, **arguments | {"progress": lambda *news: counted.append(news)})
    assert (tmp_path / "s" / "manifest.json").exists()
    assert counted[0][:2] == (5, 10)  # packs have two, two and one run
    assert counted[-1] == (10, 10, 0)
    assert [each[0] for each in counted] == sorted(each[0] for each in counted)
    assert before
    assert all(path.stat().st_mtime_ns == when for path, when in before.items())
    again = []
    tg.sweep(SPEC, {"density": DENSITIES}, **arguments | {"progress": lambda *news: again.append(news)})
    assert all(each[0] == 10 for each in again)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_parts_in_any_order_complete_a_sweep(threads, tmp_path, order):
    for done, number in enumerate(order):
        found = tg.sweep(
            SPEC, {"density": DENSITIES}, keep=["loss"], out=tmp_path / "s", executor=threads, pack=2, part=(number, 3),
            progress=False,
        )  # fmt: skip
        assert int((found["result"] == "missing").sum()) == [6, 3, 0][done] or done < 2
        assert (tmp_path / "s" / "manifest.json").exists() == (done == 2)
    check_same_values(found, SPEC, "features.density", DENSITIES, keep=["loss"])


def test_another_sweep_in_the_place_is_kept_unless_it_may_go(threads, tmp_path):
    arguments = {"keep": ["loss"], "out": tmp_path / "s", "executor": threads, "progress": False}
    tg.sweep(SPEC, {"density": DENSITIES}, **arguments)
    before = files(arguments["out"], "")
    for spec, parameters, changed, what in (
        (SPEC, {"density": [0.1, 0.4]}, {}, "its Specs are others"),
        (SPEC.replace(seeds=6), {"density": DENSITIES}, {}, "its Specs are others"),
        (SPEC, {"density": DENSITIES}, {"keep": ["bias"]}, r"it keeps \[\{'measure': 'loss'\}\]"),
        (SPEC, {"density": DENSITIES}, {"engine": "kernel"}, "it has engine='auto'"),
    ):
        with pytest.raises(ValueError, match=rf"^sweep\(out='.*/s'\): there is another sweep in .*/s: {what}; choose "
                                             r"another place, or replace it with overwrite=True \(--ov"):  # fmt: skip
            tg.sweep(spec, parameters, **arguments | changed)
    assert files(arguments["out"], "") == before
    tree = tg.sweep(SPEC, {"density": [0.1, 0.4]}, **arguments, overwrite=True)
    check_same_values(tree, SPEC, "features.density", [0.1, 0.4], keep=["loss"])
    # Written in other words it is the same sweep.
    tg.sweep(SPEC, {"density": np.array([0.1, 0.4])}, **arguments | {"keep": [tg.Kept("loss", "last")], "pack": 1})


def test_a_folder_with_something_else_is_refused(threads, tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(ValueError, match=r"holds thesis.tex, and a sweep needs a folder of its own$"):
        tg.sweep(SPEC, keep=["loss"], out=tmp_path, executor=threads, progress=False)
    with pytest.raises(ValueError, match=r"holds thesis.tex, and a sweep needs a folder of its own$"):
        tg.sweep(SPEC, keep=["loss"], out=tmp_path, executor=threads, overwrite=True, progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_runs_that_diverge_are_results(threads):
    spec = SPEC.replace(training=tg.Sampled(steps=200, rate=1e30, optimiser="sgd", batch=16, evaluation=16))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tree = tg.sweep(spec, {"rate": [1e30, 0.01]}, keep=["loss", "polytope_names"], executor=threads, progress=False)
    assert (tree["result"].sel(rate=1e30) == "diverged").all()
    assert (tree["result"].sel(rate=0.01) == "completed").all()
    run = tg.train(spec, progress=False)
    np.testing.assert_array_equal(tree["diverged_at"].sel(rate=1e30), run["diverged_at"])


MEASURES = """
from pathlib import Path

def height(run):
    return abs(run["weights"]).max(["feature", "hidden"])

def fragile(run):
    if run.sizes["seed"] == 2 and float(run["weights"].sum()) != 0 and (Path(__file__).parent / "broken").exists():
        raise RuntimeError("it is\\nbroken")
    return height(run)
"""


def test_a_measure_that_always_raises_is_set_aside_and_made_later(threads, tmp_path):
    (tmp_path / "mine.py").write_text(MEASURES)
    keep = [f"{tmp_path}/mine.py:fragile"]
    arguments = {"keep": keep, "out": tmp_path / "s", "executor": threads, "pack": 2, "progress": False}
    news = []
    # The trial has five runs, and packs have two, two and one.
    (tmp_path / "broken").touch()
    with pytest.warns(UserWarning, match="4 packs have failed and were set aside, and the runs in it are missing"):
        found = tg.sweep(SPEC, {"density": DENSITIES}, **arguments | {"progress": lambda *each: news.append(each)})
    assert news[-1] == (2, 10, 4)
    assert int((found["result"] == "completed").sum()) == 2
    failed = [json.loads(path.read_text()) for path in (tmp_path / "s" / "failed").iterdir()]
    assert len(failed) == 4
    assert all(each["errors"] == ["RuntimeError: it is broken, in the measure fragile"] * 3 for each in failed)
    assert sorted((each["specs"], each["runs"]) for each in failed) == [
        ([0], [0, 2]), ([0], [2, 4]), ([1], [0, 2]), ([1], [2, 4]),
    ]  # fmt: skip
    assert not (tmp_path / "s" / "manifest.json").exists()
    (tmp_path / "broken").unlink()
    found = tg.sweep(SPEC, {"density": DENSITIES}, **arguments)
    assert (found["result"] == "completed").all()
    assert (tmp_path / "s" / "manifest.json").exists()
    assert not (tmp_path / "s" / "failed").exists()


def test_a_measure_that_raises_in_the_trial_stops_the_sweep_before_the_work(threads, tmp_path):
    (tmp_path / "mine.py").write_text("def height(run):\n    return run['no such variable']\n")
    with pytest.raises(ValueError, match=r"^sweep.*: a trial of a few runs has failed \(KeyError: .*no such variable"):
        tg.sweep(SPEC, keep=[f"{tmp_path}/mine.py:height"], out=tmp_path / "s", executor=threads, progress=False)
    assert not (tmp_path / "s").exists()


def test_measures_over_time_have_the_same_snapshots(threads):
    keep = [tg.Kept("loss", every=2, named="some"), tg.Kept("loss", "all", named="every")]
    with pytest.raises(
        ValueError, match=r"^sweep\(keep=…\): two measures have different snapshots, and whatever keeps"
    ):
        tg.sweep(SPEC, keep=keep, executor=threads, progress=False)


def test_a_folder_that_moved_is_continued(threads, tmp_path):
    lab = tmp_path / "lab"
    lab.mkdir()
    (lab / "scaling.py").write_text("FACTOR = 2.0\n")
    (lab / "mine.py").write_text(
        f"from scaling import FACTOR\n{MEASURES}\ndef twice(run): return FACTOR * height(run)\n"
    )
    arguments = {"executor": threads, "pack": 2, "progress": False}
    tg.sweep(SPEC, keep=[f"{lab}/mine.py:twice"], out=lab / "s", part=(0, 2), **arguments)
    lab.rename(tmp_path / "moved")
    lab = tmp_path / "moved"
    found = tg.sweep(SPEC, keep=[f"{lab}/mine.py:twice"], out=lab / "s", **arguments)
    run = tg.train(SPEC, progress=False).isel(step=-1)
    np.testing.assert_array_equal(found["twice"].isel(spec=0), 2 * np.abs(run["weights"]).max(["feature", "hidden"]))
    (lab / "scaling.py").write_text("BASE = 3.0\nFACTOR = BASE\n")
    with pytest.raises(ValueError, match="the code of its measures has changed since it was begun"):
        tg.sweep(SPEC, keep=[f"{lab}/mine.py:twice"], out=lab / "s", **arguments)


def test_damaged_files_are_made_again_and_told(threads, tmp_path):
    arguments = {"keep": ["loss"], "out": tmp_path / "s", "executor": threads, "pack": 2, "progress": False}
    tg.sweep(SPEC, {"density": DENSITIES}, **arguments)
    before = files(arguments["out"], "")
    shard = tmp_path / "s" / "runs.zarr" / "loss" / "c" / "1" / "0"
    content = shard.read_bytes()
    for wrong, options in (
        (content[:-1], {}), (content[:9] + bytes([content[9] ^ 1]) + content[10:], {"verify": True}), (None, {}),
    ):  # fmt: skip
        shard.unlink() if wrong is None else shard.write_bytes(wrong)
        with pytest.warns(UserWarning, match=r"^sweep .*/s: runs.zarr/loss/c/1/0 .*; it is made again$"):
            tg.sweep(SPEC, {"density": DENSITIES}, **arguments, **options)
        assert files(arguments["out"], "") == before
    metadata = tmp_path / "s" / "runs.zarr" / "loss" / "zarr.json"
    for wrong, options in ((None, {}), (b"{}", {}), (metadata.read_bytes()[:-2] + b" }", {"verify": True})):
        metadata.unlink() if wrong is None else metadata.write_bytes(wrong)
        with pytest.warns(
            UserWarning, match=r"^sweep .*/s: runs.zarr/loss/zarr.json was missing or damaged; it is made"
        ):
            tg.sweep(SPEC, {"density": DENSITIES}, **arguments, **options)
        assert files(arguments["out"], "") == before


def test_two_who_work_on_a_sweep_share_it(tmp_path):
    """Two calls in two threads, as of two processes."""
    start, trees = threading.Barrier(2), []

    def work() -> None:
        with ThreadPoolExecutor(1) as executor:
            start.wait()
            trees.append(
                tg.sweep(SPEC, {"density": DENSITIES}, keep=["loss"], out=tmp_path / "s", executor=executor, pack=1,
                         progress=False)
            )  # fmt: skip

    several = [threading.Thread(target=work) for _ in range(2)]
    for each in several:
        each.start()
    for each in several:
        each.join(120)
    assert len(trees) == 2
    for tree in trees:
        check_same_values(tree, SPEC, "features.density", DENSITIES, keep=["loss"])
    assert {path.name for path in (tmp_path / "s").iterdir()} == {"sweep.json", "manifest.json", "runs.zarr"}


REFUSED = """
import sys, tempfile, os
from concurrent.futures import ThreadPoolExecutor
import numpy as np
import tegum as tg
from tegum.sweeps import sweep as module

module._TRIAL_SECONDS = 0.05
os.chdir(tempfile.mkdtemp())
spec = tg.Spec(features=[tg.Independent(3, 0.1)], hidden=1, training=tg.Sampled(steps=2, batch=8, evaluation=8),
               seeds=1)
odd = [None, "x", b"x", -1, 0, 1.5, float("nan"), 10**30, 1j, True, [], [None], {}, {"x": 1}, {1: 2}, object(),
       slice(2), np.ones((2, 2)), np.array("x"), np.array([None]), lambda: 0, spec, (1, 2, 3), (1, 1), (0, -1),
       ("0", "1"), "0/2",
       "memory://", "nul\\0"]
right = {"spec": spec, "parameters": {"density": [0.1]}, "keep": ["loss"]}
tried = 0
with ThreadPoolExecutor(1) as executor:
    for name in ("spec", "parameters", "keep", "out", "way", "count", "seed", "executor", "workers", "engine", "pack",
                 "part", "allow_mixed", "overwrite", "verify", "progress"):
        for value in odd:
            if name == "executor" and (value is None or isinstance(value, str)):
                continue  # other tests have these
            tried += 1
            out = {} if name == "out" else {"out": f"place-{tried}"}
            try:
                tg.sweep(**{**right, "executor": executor, "progress": False, **out, name: value})
            except (ValueError, OSError) as error:
                said = str(error)
                named = name in said or name in ("spec", "out") or "there is no key" in said
                if not said.startswith("sweep") or "\\n" in said or len(said) > 400 or not named:
                    print(name, repr(value)[:60], type(error).__name__, said)
                if out and os.path.exists(out["out"]):
                    print(name, repr(value)[:60], "left something:", said)
            except TypeError as error:
                if name != "progress" or "<lambda>" not in str(error):  # the user's own
                    print(name, repr(value)[:60], type(error).__name__, error)
            except Exception as error:
                print(name, repr(value)[:60], type(error).__name__, str(error)[:300])
print(tried)
"""


def test_wrong_arguments_are_refused_in_one_sentence_and_leave_nothing():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", REFUSED], capture_output=True, text=True, timeout=300, check=False
    )
    lines = done.stdout.splitlines()
    assert lines[:-1] == [], done.stderr
    assert int(lines[-1]) > 420


def test_a_part_without_a_place_is_refused():
    with pytest.raises(
        ValueError, match=r"^sweep\(part=\(0, 2\)\): a part of a sweep needs a place for all of them; give"
    ):
        tg.sweep(SPEC, part=(0, 2), progress=False)


def test_an_executor_that_was_shut_down_is_one_sentence(tmp_path):
    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    with pytest.raises(RuntimeError, match=r"cannot schedule new futures after shutdown|the executor has stopped"):
        tg.sweep(SPEC, keep=["loss"], out=tmp_path / "s", executor=executor, progress=False)
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("keep", "seeds"),
    [
        (["loss"], 200),
        (["states", "represented"], 60),
        (["dimensionality", {"measure": "loss", "at": "all", "named": "losses"}], 100),
    ],
)  # fmt: skip
def test_the_bytes_of_a_sweep_are_foretold(threads, tmp_path, keep, seeds):
    from tegum.sweeps.design import design
    from tegum.sweeps.kept import Keeping
    from tegum.sweeps.sweep import Cost, swept

    spec = SPEC.replace(seeds=seeds, snapshots=20, features=[tg.Correlated(2, 0.2)] * 3, hidden=2)
    parameters = {"density": [0.1, 0.2, 0.4, 0.8]}
    place = place_at(tmp_path / "s", "sweep")
    cost = swept(
        place, design(spec, parameters), Keeping(keep, "sweep"), executor=threads, workers=2, engine="auto", pack=seeds,
        part=None, mixed=False, overwrite=False, verify=False, progress=False, call="sweep", only_cost=True,
    )  # fmt: skip
    assert isinstance(cost, Cost)
    assert (cost.runs, cost.packs, cost.workers) == (4 * seeds, 4, 2)
    assert not (tmp_path / "s").exists()
    assert f"{4 * seeds} runs in 4 packs, about " in str(cost)
    tg.sweep(spec, parameters, keep=keep, out=tmp_path / "s", executor=threads, pack=seeds, progress=False)
    stored = sum(size for path, size in place.sizes("runs.zarr").items() if "/c/" in path)
    assert 0.7 < cost.bytes / stored < 1.3


def test_the_cost_of_a_sweep_that_has_begun_is_that_of_what_is_missing(threads, tmp_path):
    from tegum.sweeps.design import design
    from tegum.sweeps.kept import Keeping
    from tegum.sweeps.sweep import swept

    parameters = {"density": [0.1, 0.2, 0.4, 0.8]}
    tg.sweep(SPEC, parameters, keep=["loss"], out=tmp_path / "s", executor=threads, pack=SPEC.seeds, part=(0, 4),
             progress=False)  # fmt: skip
    cost = swept(
        place_at(tmp_path / "s", "sweep"), design(SPEC, parameters), Keeping(["loss"], "sweep"), executor=threads,
        workers=2, engine="auto", pack=None, part=None, mixed=False, overwrite=False, verify=False, progress=False,
        call="sweep", only_cost=True,
    )  # fmt: skip
    assert (cost.runs, cost.packs) == (3 * SPEC.seeds, 3)


def test_what_a_measure_imports_the_first_time_is_not_in_the_pace(tmp_path):
    from tegum.sweeps.kept import Keeping
    from tegum.sweeps.probe import PaceTrial, tried

    (tmp_path / "slow.py").write_text(
        "import time\n\ncalls = []\n\n\ndef slow(run):\n    calls.append(1)\n    time.sleep(3 * (len(calls) == 1))\n"
        "    return run['loss']\n"
    )
    keeping = Keeping([f"{tmp_path}/slow.py:slow"], "sweep")
    spec = SPEC.replace(seeds=4)
    found = tried(PaceTrial((spec.to_json(),), tuple(keeping.to_json()), keeping.sources, "auto", 0.1))
    assert found.seconds[0] * spec.seeds < 1.5


def test_kinds_of_set_of_ones_own_are_swept_by_those_who_know_them(threads):
    from tegum.sweeps.probe import PaceTrial, tried

    class Steady(tg.Independent, kind="steady"):
        """As its base, by another name."""

    try:
        spec = SPEC.replace(features=[Steady(3, 0.1)])
        for given in (spec, [spec]):
            tree = tg.sweep(given, keep=["loss"], executor=threads, progress=False)
            np.testing.assert_array_equal(
                tree["loss"].isel(spec=0), tg.train(spec, progress=False)["loss"].isel(step=-1)
            )
    finally:
        del tg.FeatureSet.kinds["steady"]
    sentence = (
        r"^sweep: the worker on .* cannot read a Spec: .*kind='steady'.* must be a known kind.*; a worker knows the"
    )
    with pytest.raises(ValueError, match=sentence) as caught:
        tried(PaceTrial((spec.to_json(),), ({"measure": "loss"},), {}, "auto", 0.1))
    assert "\n" not in str(caught.value)


def test_the_index_along_specs_selects_by_several_parameters(threads):
    swept = tg.sweep(
        SPEC, {"density": DENSITIES, "rate": [0.01, 0.02]}, keep=["loss"], executor=threads, progress=False
    )
    for density, rate in itertools.product(DENSITIES, [0.01, 0.02]):
        run = tg.train(SPEC.override({"features.density": density, "training.rate": rate}), progress=False)
        np.testing.assert_array_equal(swept["loss"].sel(density=density, rate=rate), run["loss"].isel(step=-1))


def test_a_measure_with_the_name_of_a_parameter_is_refused(threads, tmp_path):
    with pytest.raises(
        ValueError, match=r"^sweep\(out=.*\): keep=…: rate tells the Specs apart; give the measure another name$"
    ):
        tg.sweep(
            SPEC, {"rate": [0.01, 0.02]}, keep=[tg.Kept("loss", named="rate")], out=tmp_path / "s", executor=threads,
            progress=False,
        )  # fmt: skip
    assert not (tmp_path / "s").exists()


def test_a_damaged_plan_stops_the_sweep_in_one_sentence(threads, tmp_path):
    arguments = {"keep": ["loss"], "out": tmp_path / "s", "executor": threads, "progress": False}
    tg.sweep(SPEC, **arguments)
    whole = (tmp_path / "s" / "sweep.json").read_bytes()
    (tmp_path / "s" / "sweep.json").write_bytes(whole[:-20])
    with pytest.raises(
        ValueError, match=r"^sweep\(out=.*\): .*/s/sweep.json is damaged: it is not the plan of a sweep"
    ):
        tg.sweep(SPEC, **arguments)
    tg.sweep(SPEC, **arguments, overwrite=True)
    assert (tmp_path / "s" / "sweep.json").read_bytes()[:40] == whole[:40]


def test_the_tree_is_of_this_process_alone(threads, tmp_path):
    """What was opened before a sweep was replaced stays as it was read."""
    first = tg.sweep(SPEC, keep=["loss"], out=tmp_path / "s", executor=threads, progress=False).load()
    values = first["loss"].values.copy()
    tg.sweep(
        SPEC.replace(base_seed=1), keep=["loss"], out=tmp_path / "s", executor=threads, overwrite=True, progress=False
    )
    np.testing.assert_array_equal(first["loss"], values)
    assert Path(tmp_path / "s" / "manifest.json").exists()


def test_equal_specs_are_all_made(threads, tmp_path):
    """Draws from lists repeat themselves: each Spec has its runs, and the store is whole."""
    tree = tg.sweep(
        SPEC, {"density": [0.1, 0.1, 0.3]}, way="zip", pack=2, out=tmp_path / "s", executor=threads, progress=False
    )
    assert (tree["result"] == "completed").all()
    check_same_values(tree, SPEC, "features.density", [0.1, 0.1, 0.3])
    assert (tmp_path / "s" / "manifest.json").exists()


def test_a_sweep_that_was_replaced_ends_in_a_sentence(tmp_path):
    """A process goes on while another one begins another sweep in the same place: nothing of it gets into the store."""
    from tegum.sweeps import plan as plans
    from tegum.sweeps import store
    from tegum.sweeps.coordinator import Coordinator, WholeSweepError
    from tegum.sweeps.workers import Others

    with ThreadPoolExecutor(1) as one:
        tg.sweep(SPEC, {"density": DENSITIES}, pack=2, part=(0, 3), out=tmp_path / "s", executor=one, progress=False)
        place = place_at(tmp_path / "s", "sweep")
        former = plans.read(place, "sweep")
        assert former is not None
        again = Coordinator(place, former, Others(one, 1), call="sweep(out='s')")
        tg.sweep(SPEC, {"density": [0.2]}, pack=2, out=tmp_path / "s", overwrite=True, executor=one, progress=False)
        there = files(str(tmp_path / "s"))
        with pytest.raises(
            WholeSweepError, match=r"^sweep\(out='s'\): another sweep has been begun in .* in the meantime$"
        ):
            again.run()
        assert store.sealed_packs(place) is not None
    assert {path: digest for path, digest in files(str(tmp_path / "s")).items() if path in there} == there


def test_what_is_no_sweep_is_never_replaced(threads, tmp_path):
    (tmp_path / "s").mkdir()
    for name in ("sweep.json", "manifest.json", "paper.tex"):
        (tmp_path / "s" / name).write_text('{"schema": "of somebody else"}')
    with pytest.raises(ValueError, match=r"holds a sweep.json that is no plan of a sweep, and is not replaced$"):
        tg.sweep(SPEC, out=tmp_path / "s", overwrite=True, executor=threads, progress=False)
    assert {path.name for path in (tmp_path / "s").iterdir()} == {"sweep.json", "manifest.json", "paper.tex"}


def test_a_part_does_not_replace_what_other_parts_have_made(threads, tmp_path):
    with pytest.raises(ValueError, match="overwrite would remove what the other parts have made"):
        tg.sweep(SPEC, part=(0, 2), overwrite=True, out=tmp_path / "s", executor=threads, progress=False)


def test_mixed_units_are_allowed_from_the_beginning_or_not(threads, tmp_path):
    arguments = {"out": tmp_path / "s", "executor": threads, "pack": 2, "progress": False}
    tg.sweep(SPEC, part=(0, 2), **arguments)
    with pytest.raises(ValueError, match="must be given when a sweep is begun, and this one was begun without"):
        tg.sweep(SPEC, allow_mixed=True, **arguments)


def test_coordinates_that_differ_from_those_of_the_trial_are_refused(threads, tmp_path):
    (tmp_path / "mine.py").write_text(
        "def two(weights):\n"
        "    features = [0, 1] if 0 in weights.seed.values and weights.sizes['seed'] > 2 else [1, 0]\n"
        "    return (weights**2).sum('hidden').isel(feature=features)\n"
    )
    with pytest.warns(UserWarning, match="other values of the coordinate feature for some runs than for the first"):
        tree = tg.sweep(SPEC, keep=[f"{tmp_path}/mine.py:two"], pack=2, executor=threads, progress=False)
    assert (tree["result"] == "missing").all()


def test_forgetting_a_pack_writes_what_is_known_before_it_removes_anything(threads, tmp_path, monkeypatch):
    from tegum.sweeps import store
    from tegum.sweeps.places import FolderPlace

    tg.sweep(SPEC, pack=2, out=tmp_path / "s", executor=threads, progress=False)
    place = place_at(tmp_path / "s", "sweep")
    known = store.receipts(place)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(FolderPlace, "write", full)
        with pytest.raises(OSError, match="No space left"):
            store.forget(place, list(known)[:1])
    assert store.receipts(place) == known
    store.forget(place, list(known)[:1])
    assert store.receipts(place) == dict(list(known.items())[1:])
