"""Stores: the exact round trip, the refusals, and that a damaged store never gives wrong numbers."""

import os
import pickle
import re
import subprocess
import sys

import hypothesis.extra.numpy as npst
import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tegum.data import manifest, schema, store

ATTRS = {
    "spec": '{"hidden": 2, "seeds": 3}',
    "spec_hash": "0123abcd",
    "tegum_version": "0.1.0",
    "created": "2025-01-01T00:00:00+00:00",
    "wall_time_s": 1.5,
    "engine": "kernel",
    "threads": 2,
    "versions": {"numpy": "2.1"},
}


def trajectory(runs=3, steps=4, features=5, hidden=2, specs=None, **more):
    """Runs of which the second, if there is one, diverges and is NaN from its second snapshot on."""
    lead = () if specs is None else (specs,)
    rng = np.random.default_rng(runs * steps)
    shape = (*lead, runs, steps)
    given = {
        "weights": rng.normal(size=(*shape, features, hidden)).astype(np.float32),
        "bias": rng.normal(size=(*shape, features)).astype(np.float32),
        "loss": rng.random(shape),
        "result": np.full((*lead, runs), "completed"),
        "diverged_at": np.full((*lead, runs), -1),
    }
    for name in ("weights", "bias", "loss"):
        given[name][(*[slice(None) for _ in lead], slice(1, 2), slice(1, None))] = np.nan
    given["result"][..., 1:2] = "diverged"
    given["diverged_at"][..., 1:2] = 10
    return schema.trajectory(
        **given,
        seed=np.arange(runs),
        step=np.arange(steps) * 100,
        set_=np.arange(features) // 2,
        kind=["Correlated" if feature % 2 else "Independent" for feature in range(features)],
        density=np.full(features, 0.05),
        importance=0.9 ** np.arange(features),
        attrs=ATTRS,
        **more,
    )


def assert_same(left, right):
    """Identical, and in what xarray's own comparison leaves out: dtypes, order, kinds of attribute."""
    xr.testing.assert_identical(left, right)
    assert [*left.data_vars] == [*right.data_vars]
    assert [*left.coords] == [*right.coords]
    assert {name: left[name].dtype for name in left.variables} == {name: right[name].dtype for name in right.variables}
    assert {*left.xindexes} == {*right.xindexes}
    assert repr(left.attrs) == repr(right.attrs)
    for name in left.variables:
        if left[name].dtype.kind in "fc":
            assert left[name].values.tobytes() == right[name].values.tobytes()


def round_trip(dataset, path):
    store.save(dataset, path, overwrite=path.exists())
    return store.load(path)


def leftovers(folder):
    return [entry.name for entry in folder.iterdir() if entry.name.startswith(".")]


# What is saved is what is loaded --------------------------------------------------------------------------


def test_round_trip(tmp_path):
    run = trajectory(time=np.linspace(0, 1, 12).reshape(3, 4))
    assert_same(round_trip(run, tmp_path / "run.zarr"), run)
    store.verify(tmp_path / "run.zarr")
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("specs", [None, 2])
def test_round_trip_in_double_precision_of_runs_that_converged(tmp_path, specs):
    single = trajectory(specs=specs)
    shape = single["result"].shape
    rng = np.random.default_rng(3)
    run = single.assign(
        weights=single["weights"].copy(data=rng.normal(size=single["weights"].shape)),
        bias=single["bias"].copy(data=rng.normal(size=single["bias"].shape)),
        result=single["result"].copy(data=np.broadcast_to(["converged", "diverged", "completed"], shape)),
        converged_at=single["diverged_at"].copy(data=np.broadcast_to([20, -1, -1], shape)),
    )
    loaded = round_trip(run, tmp_path / "run.zarr")
    assert_same(loaded, run)
    assert loaded["weights"].dtype == loaded["bias"].dtype == np.float64


def test_round_trip_of_several_specs(tmp_path):
    specs = {
        "training.rate": [1e-3, 1e-2],
        "count": [1, 2],
        "optimiser": ["sgd", "adamw with α"],
        "on": [True, False],
    }
    run = trajectory(specs=2)
    run = run.assign_coords({name: ("spec", values) for name, values in specs.items()})
    assert_same(round_trip(run, tmp_path / "run.zarr"), run)


def test_round_trip_of_all_that_may_be_added(tmp_path):
    run = trajectory()
    run.attrs |= {"list": [1, 2.5, None, True, {"a": "ü"}], "nothing": None, "none": []}
    run = run.assign(
        scalar=np.float32(2.5),
        flags=("step", np.array([True, False, True, True])),
        small=("step", np.arange(4, dtype=np.uint8)),
        pairs=("step", np.array([1j, -0.0, np.nan, np.inf])),
        names=("name", np.array(["", " a b", "π"], dtype="<U9")),
        objects=("name", np.array(["x", "yy", "x"], dtype=object)),
        empty=("nobody", np.zeros(0)),
        days=("step", np.arange(4), {"units": "days", "scale_factor": 2, "coordinates": "loss"}),
    ).assign_coords(name=["first", "second", "third"], where="here")
    assert_same(round_trip(run, tmp_path / "run.zarr"), run)


def test_numpy_scalars_in_attributes_become_numbers(tmp_path):
    run = trajectory()
    run.attrs |= {"float": np.float32(0.1), "int": np.int64(3), "bool": np.True_, "pair": (1, 2)}
    loaded = round_trip(run, tmp_path / "run.zarr")
    xr.testing.assert_identical(loaded, run)
    assert [type(loaded.attrs[name]) for name in ("float", "int", "bool", "pair")] == [float, int, bool, list]


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.data(),
    sizes=st.tuples(st.integers(0, 3), *[st.integers(1, 3)] * 3),
    specs=st.none() | st.integers(1, 3),
    chunk=st.sampled_from([100, 2**20]),
)
def test_round_trip_of_any_shape_and_bits(tmp_path, monkeypatch, data, sizes, specs, chunk):
    monkeypatch.setattr(store, "CHUNK_BYTES", chunk)
    run = trajectory(*sizes, specs=specs)
    floats = st.floats(width=32) | st.just(-0.0)
    run["weights"].values[...] = data.draw(npst.arrays(np.float32, run.weights.shape, elements=floats))
    words = npst.arrays(object, (sizes[2],), elements=st.text(max_size=3))
    run = run.assign(words=("feature", data.draw(words)))
    assert_same(round_trip(run, tmp_path / "run.zarr"), run)


def test_other_readers_find_the_same(tmp_path):
    run = trajectory()
    store.save(run, tmp_path / "run.zarr")
    with xr.open_zarr(tmp_path / "run.zarr", chunks=None, consolidated=False) as plain:
        assert {*plain.coords} == {*run.coords}
        xr.testing.assert_equal(plain.weights.drop_vars("kind"), run.weights.drop_vars("kind"))
        words = plain.result.attrs["tegum_text"]["words"]
        assert [words[code] for code in plain.result.values] == [*run.result.values]
    chunk = tmp_path / "run.zarr" / "loss" / "c" / "0" / "0"
    chunk.write_bytes(bytes([chunk.read_bytes()[0] ^ 1]) + chunk.read_bytes()[1:])
    with (
        xr.open_zarr(tmp_path / "run.zarr", chunks=None, consolidated=False) as plain,
        pytest.raises(ValueError, match="checksum do not match"),
    ):
        plain.loss.load()


# What could not be given back is refused ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda run: run.drop_vars("bias"), "bias is missing"),
        (
            lambda run: run.assign_attrs(schema_version=0),
            "schema='tegum trajectory', schema_version=0; a store holds",
        ),
        (lambda run: run.drop_attrs(), "schema=None"),
        (
            lambda run: run.assign_attrs(when=np.arange(3)),
            "the attribute 'when' of the dataset holds int64 array of shape (3,); an attribute is text",
        ),
        (lambda run: run.assign_attrs({"a": {1: 2}}), "the attribute 'a' of the dataset holds {1: 2}"),
        (lambda run: run.assign_attrs(a=[1.0, float("nan")]), "the attribute 'a' of the dataset holds nan"),
        (lambda run: run.assign_attrs({1: 2}), "the dataset has the attribute 1"),
        (lambda run: run.assign_attrs(coordinates="x"), "the dataset has the attribute 'coordinates'"),
        (lambda run: run.assign(x=((), 1, {"_FillValue": 1})), "x has the attribute '_FillValue'"),
        (lambda run: run.assign(x=("a", np.array(["2025"], "M8[s]"))), "x has the dtype datetime64[s]"),
        (lambda run: run.assign(x=("a", np.array([1.0], ">f8"))), "x has the dtype >f8"),
        (lambda run: run.assign(x=("a", np.array(["a"], "T"))), "x has the dtype StringDType()"),
        (lambda run: run.assign(x=("a", np.array(["a", None], object))), "x holds the object nan"),
        (lambda run: run.assign({"a/b": 1}), "'a/b' cannot name a stored variable"),
        (lambda run: run.assign({"a b": 1}), "'a b' cannot name a stored variable"),
        (lambda run: run.assign(manifest=1), "'manifest' cannot name a stored variable"),
        (lambda run: run.assign({3: 1}), "3 cannot name a stored variable"),
        (lambda run: run.assign(x=((1,), [2])), "x has the dimensions (1,)"),
        (lambda run: run.assign(x=(("a", "c"), [[1]])).stack(b=("a", "c")), "b is a MultiIndex"),
    ],
)
def test_unstorable_datasets_are_refused(tmp_path, spoil, sentence):
    path = tmp_path / "run.zarr"
    with pytest.raises(
        ValueError, match="^" + re.escape(f"save(dataset, {str(path)!r}): ") + ".*" + re.escape(sentence)
    ):
        store.save(spoil(trajectory()), path)
    assert [*tmp_path.iterdir()] == []


def test_no_folder_above_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist; create it first"):
        store.save(trajectory(), tmp_path / "no" / "run.zarr")


# Replacing ------------------------------------------------------------------------------------------------


def test_an_existing_store_is_replaced_only_on_demand(tmp_path):
    path = tmp_path / "run.zarr"
    first, second = trajectory(), trajectory(runs=1)
    store.save(first, path)
    with pytest.raises(FileExistsError, match="overwrite=True replaces a tegum store"):
        store.save(second, path)
    assert_same(store.load(path), first)
    store.save(second, path, overwrite=True)
    assert_same(store.load(path), second)
    assert leftovers(tmp_path) == []


def test_nothing_but_a_store_is_ever_replaced(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("dear")
    with pytest.raises(FileExistsError, match="not a tegum store"):
        store.save(trajectory(), tmp_path / "thesis", overwrite=True)
    with pytest.raises(FileExistsError, match="not a tegum store"):
        store.save(trajectory(), tmp_path / "thesis" / "chapter.tex", overwrite=True)
    assert (tmp_path / "thesis" / "chapter.tex").read_text() == "dear"


def test_a_lazily_loaded_store_can_replace_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "CHUNK_BYTES", 60)
    path = tmp_path / "run.zarr"
    run = trajectory()
    store.save(run, path)
    store.save(store.load(path).isel(seed=slice(1, None)), path, overwrite=True)
    assert_same(store.load(path), run.isel(seed=slice(1, None)))


def test_numbers_of_a_replaced_store_are_not_those_of_the_new_one(tmp_path):
    path = tmp_path / "run.zarr"
    store.save(trajectory(), path)
    loaded = store.load(path)
    store.save(trajectory(steps=3), path, overwrite=True)
    with pytest.raises(
        ValueError, match=r"'weights/c/0/0/0/0' of the variable 'weights'.*replaced since it was loaded"
    ):
        loaded.weights.load()


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_failure_while_writing_leaves_nothing(tmp_path, monkeypatch, overwrite):
    path = tmp_path / "run.zarr"
    first = trajectory()
    if overwrite:
        store.save(first, path)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(manifest, "write", full)
    with pytest.raises(OSError, match="No space left"):
        store.save(trajectory(runs=1), path, overwrite=overwrite)
    assert leftovers(tmp_path) == []
    if overwrite:
        assert_same(store.load(path), first)
    else:
        assert not path.exists()


def test_a_path_taken_in_the_meantime_is_kept(tmp_path, monkeypatch):
    path = tmp_path / "run.zarr"
    write = manifest.write

    def slowly(root, names):
        write(root, names)
        path.mkdir()
        (path / "other").write_text("another's")

    monkeypatch.setattr(manifest, "write", slowly)
    with pytest.raises(FileExistsError, match="appeared at this path in the meantime"):
        store.save(trajectory(), path)
    assert (path / "other").read_text() == "another's"
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("name", ["notes.txt", "weights/c/notes.txt", "mine/c/0/c/1", "weights/mine/zarr.json"])
@pytest.mark.parametrize("damaged", [False, True])
def test_what_is_no_part_of_a_store_is_not_removed_with_it(tmp_path, monkeypatch, name, damaged):
    path = tmp_path / "run.zarr"
    store.save(trajectory(), path)
    if damaged:
        (path / manifest.FILE).write_text("{")
        (path / "loss" / "c" / "0" / "0").unlink()
    (path / ".DS_Store").touch()  # of a system, and nobody's
    if damaged:
        store.save(trajectory(), path, overwrite=True)
    (path / name).parent.mkdir(parents=True, exist_ok=True)
    (path / name).write_text("mine")
    with pytest.raises(
        FileExistsError, match=rf"^save\(.*\): a tegum store is at .*, but '{name}' in it is not part of"
    ):
        store.save(trajectory(runs=1), path, overwrite=True)
    # Put there while the new one is written.
    monkeypatch.setattr(store, "check_place", lambda path, **_: path)
    with pytest.raises(FileExistsError, match=f"'{name}' has appeared in the folder to be replaced"):
        store.save(trajectory(runs=1), path, overwrite=True)
    assert (path / name).read_text() == "mine"
    assert store.load(path).sizes["seed"] == trajectory().sizes["seed"]
    assert leftovers(tmp_path) == []


def test_a_link_in_a_store_is_no_part_of_it(tmp_path):
    store.save(trajectory(), tmp_path / "run.zarr")
    (tmp_path / "mine").mkdir()
    (tmp_path / "run.zarr" / "mine").symlink_to(tmp_path / "mine")
    with pytest.raises(FileExistsError, match="'mine' in it is not part of that"):
        store.save(trajectory(), tmp_path / "run.zarr", overwrite=True)


def test_a_replacement_cut_between_its_renames_is_put_back(tmp_path):
    path, aside = tmp_path / "run.zarr", tmp_path / ".run.zarr.01234567.old"
    store.save(trajectory(), path)
    for overwrite in (False, True):
        path.rename(aside)
        with pytest.warns(
            UserWarning, match=r"had left the former result at .*01234567\.old'; it is back in its place"
        ):
            assert store.check_place(path, overwrite=True) == path
        assert leftovers(tmp_path) == []
        path.rename(aside)
        if overwrite:
            with pytest.warns(UserWarning, match="it is back"):
                store.save(trajectory(runs=1), path, overwrite=True)
            assert_same(store.load(path), trajectory(runs=1))
        else:
            with pytest.warns(UserWarning, match="it is back"), pytest.raises(FileExistsError, match="something is at"):
                store.save(trajectory(runs=1), path)
            assert_same(store.load(path), trajectory())
        assert leftovers(tmp_path) == []
    # The new one had taken its place already.
    store.save(trajectory(), tmp_path / "other.zarr")
    (tmp_path / "other.zarr").rename(aside)
    store.save(trajectory(), path, overwrite=True)
    assert leftovers(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="no locks")
def test_what_another_process_is_about_to_replace_is_left_alone(tmp_path):
    import fcntl

    part, aside = tmp_path / ".run.zarr.89abcdef.part", tmp_path / ".run.zarr.01234567.old"
    part.mkdir()
    aside.mkdir()
    descriptor = os.open(part, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    store.check_place(tmp_path / "run.zarr")
    os.close(descriptor)
    assert leftovers(tmp_path) == [aside.name, part.name]


def test_a_replacement_cut_between_its_renames_is_pointed_out(tmp_path):
    path = tmp_path / "run.zarr"
    store.save(trajectory(), path)
    path.rename(tmp_path / ".run.zarr.01234567.old")
    with pytest.raises(FileNotFoundError, match=r"left the former store at .*\.run\.zarr\.01234567\.old"):
        store.load(path)


# Damage ---------------------------------------------------------------------------------------------------


def files_of(path):
    return sorted(file for file in path.rglob("*") if file.is_file())


def test_every_flipped_byte_and_every_missing_or_cut_file_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "CHUNK_BYTES", 100)
    path = tmp_path / "run.zarr"
    store.save(trajectory(), path)
    files = files_of(path)
    assert len([file for file in files if file.parent.parent.name != path.name]) > 15
    rng = np.random.default_rng(0)
    for file in files:
        name = file.relative_to(path).as_posix()
        content = file.read_bytes()
        flipped = bytearray(content)
        flipped[rng.integers(len(content))] ^= 1 << rng.integers(8)
        for damaged in (bytes(flipped), content[: len(content) // 2], b"", None):
            file.unlink() if damaged is None else file.write_bytes(damaged)
            for reader in (store.load, store.verify):
                with pytest.raises(ValueError, match=re.escape(name) if name != manifest.FILE else "manifest|schema"):
                    reader(path)
        file.write_bytes(content)
    store.verify(path)


def test_damage_beyond_the_limit_is_noticed_on_reading(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "CHUNK_BYTES", 100)
    monkeypatch.setattr(store, "EAGER_BYTES", 0)
    path = tmp_path / "run.zarr"
    run = trajectory()
    store.save(run, path)
    chunks = [file for file in files_of(path / "weights") if file.name != "zarr.json"]
    chunk = chunks[-1]
    content = chunk.read_bytes()
    sentence = re.escape(f"{chunk.relative_to(path).as_posix()!r} of the variable 'weights'")

    chunk.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    loaded = store.load(path)
    xr.testing.assert_identical(loaded.bias, run.bias)
    with pytest.raises(ValueError, match=sentence):
        loaded.weights.values  # noqa: B018
    with pytest.raises(ValueError, match=sentence):
        store.verify(path)

    # One chunk over another passes zarr's own checksum.
    other = next(file for file in chunks if file.stat().st_size == len(content) and file.read_bytes() != content)
    chunk.write_bytes(other.read_bytes())
    with pytest.raises(ValueError, match=sentence):
        store.load(path).weights.values  # noqa: B018

    chunk.write_bytes(content)
    loaded = store.load(path)
    chunk.unlink()
    with pytest.raises(ValueError, match=f"{sentence} is missing"):
        loaded.weights.values  # noqa: B018
    with pytest.raises(ValueError, match=f"{sentence} is missing"):
        store.load(path)


def test_damage_is_said_in_one_sentence(tmp_path):
    path = tmp_path / "run.zarr"
    store.save(trajectory(), path)
    (path / "bias" / "c" / "0" / "0" / "0").write_bytes(b"")
    (path / "loss" / "c" / "0" / "0").unlink()
    with pytest.raises(ValueError, match="load") as caught:
        store.load(path)
    sentence = str(caught.value)
    assert sentence.startswith(
        f"load({str(path)!r}): the file 'bias/c/0/0/0' of the variable 'bias' has 0 bytes instead"
    )
    assert "(and 1 more)" in sentence
    assert sentence.endswith("the store is damaged: restore it from a copy, or train the run again")
    assert "\n" not in sentence


# What is no store of this version -------------------------------------------------------------------------


def test_another_schema_version_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "run.zarr"
    monkeypatch.setattr(schema, "VERSION", 2)
    store.save(trajectory(), path)
    monkeypatch.undo()
    with pytest.raises(
        ValueError, match=r"'tegum trajectory', version 2, .*reads 'tegum trajectory', version 1; load it"
    ):
        store.load(path)


def test_what_is_no_store_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"load\('.*none.zarr'\): there is nothing at this path$"):
        store.load(tmp_path / "none.zarr")
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="this is a file; a tegum store is a folder"):
        store.load(tmp_path / "file")
    with pytest.raises(ValueError, match="this folder is not a zarr store, nor a tegum store"):
        store.load(tmp_path)
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / ".zgroup").write_text("{}")
    with pytest.raises(ValueError, match="a zarr store of format 2"):
        store.load(tmp_path / "old")
    (tmp_path / "trained.zarr").mkdir()
    with pytest.raises(FileNotFoundError, match=r"nothing at this path; did you mean '.*/trained\.zarr'\?$"):
        store.load(tmp_path / "traind.zarr")
    xr.Dataset({"x": 1}).to_zarr(tmp_path / "other", consolidated=False, zarr_format=3)
    with pytest.raises(ValueError, match=r"a zarr store that tegum\.save did not write"):
        store.load(tmp_path / "other")
    with pytest.raises(ValueError, match=r"verify\(.*a zarr store that tegum\.save did not write"):
        store.verify(tmp_path / "other")


# Reading only what is asked for ---------------------------------------------------------------------------


def test_reading_one_run_or_one_step_touches_few_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "CHUNK_BYTES", 8 * 8 * 3 * 2 * 4)
    monkeypatch.setattr(store, "EAGER_BYTES", 0)
    path = tmp_path / "run.zarr"
    run = trajectory(32, 64, 3, 2)
    store.save(run, path)
    loaded = store.load(path)
    touched = []
    content = manifest.content
    monkeypatch.setattr(
        manifest, "content", lambda root, name, digest: touched.append(name) or content(root, name, digest)
    )
    xr.testing.assert_identical(loaded.weights.sel(seed=5), run.weights.sel(seed=5))
    assert len([name for name in touched if name.startswith("weights/c/")]) == 4
    touched.clear()
    xr.testing.assert_identical(loaded.weights.isel(step=-1), run.weights.isel(step=-1))
    assert len([name for name in touched if name.startswith("weights/c/")]) == 8
    assert len(files_of(path / "weights" / "c")) == 32


@pytest.mark.parametrize(
    ("shape", "dims", "chunks"),
    [
        ((64, 500, 6, 2), ("seed", "step", "feature", "hidden"), (32, 500, 6, 2)),
        ((4096, 1000, 100, 20), ("seed", "step", "feature", "hidden"), (32, 4, 100, 20)),
        ((1, 3, 4096, 1024), ("seed", "step", "feature", "hidden"), (1, 1, 1024, 256)),
        ((100, 8, 100, 6, 2), ("spec", "seed", "step", "feature", "hidden"), (50, 4, 100, 6, 2)),
        ((0, 5), ("seed", "step"), (1, 5)),
        ((), (), ()),
    ],
)
def test_chunks(shape, dims, chunks):
    assert store._chunks(shape, 4, dims) == chunks
    assert np.prod(chunks) * 4 <= store.CHUNK_BYTES


def test_a_loaded_trajectory_can_be_sent_to_another_process(tmp_path):
    run = trajectory()
    loaded = round_trip(run, tmp_path / "run.zarr")
    assert_same(pickle.loads(pickle.dumps(loaded)), run)


def test_a_loaded_trajectory_is_independent_of_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = trajectory()
    store.save(run, "run.zarr")
    loaded = store.load("run.zarr")
    monkeypatch.chdir("/")
    assert_same(loaded, run)


def test_importing_the_store_imports_no_zarr():
    code = "import sys, tegum.data.store; assert not {'zarr', 'xarray'} & {*sys.modules}"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
