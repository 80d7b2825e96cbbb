"""Sparse matrices from outside: right or refused, whatever their indices are; in a fresh process, which may crash."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_array_equal

import tegum as tg
from tegum.core.inputs.sparse import assembled, checked
from tegum.core.limits import VARIABLE
from tegum.data.matrices import open_matrix

DENSE = np.array([[0, 1.5, 0, 2], [0, 0, 0, 0], [3, 0, 0, 0], [0, 0, 4, 5]])
FORMS = ("csr", "csc", "bsr", "coo", "dia", "lil", "dok")


def altered(form: str, **parts: Any) -> Any:
    """A matrix whose parts are set behind SciPy's back."""
    matrix = sp.bsr_array(DENSE, blocksize=(2, 2)) if form == "bsr" else getattr(sp, f"{form}_array")(DENSE)
    for name, value in parts.items():
        setattr(matrix, name, value)
    return matrix


def lil(change: Callable[[Any], Any]) -> Any:
    matrix = sp.lil_array(DENSE)
    change(matrix)
    return matrix


def dok(place: Any) -> Any:
    matrix = sp.dok_array(DENSE)
    matrix._dict[place] = np.float64(1)
    return matrix


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["array", "matrix"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int8, np.uint16, np.bool_])
def test_every_form_is_read(form: str, kind: str, dtype: Any):
    given = getattr(sp, f"{form}_{kind}")(DENSE.astype(dtype))
    assert_array_equal(checked(given).toarray(), DENSE.astype(dtype))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        # 100 + 100 in one byte is −56.
        (sp.coo_array((np.array([100, 100], np.int8), ([0, 0], [1, 1])), (1, 2)), [[0, 200]]),
        (sp.csr_array((np.array([100, 100], np.int8), [1, 1], [0, 2]), shape=(1, 2)), [[0, 200]]),
        (sp.coo_array((np.array([True, True]), ([0, 0], [1, 1])), (1, 2)), [[0, 1]]),
        (sp.csr_array(([1.0, 2.0], [1, 0], [0, 2]), shape=(1, 2)), [[2, 1]]),
        (sp.csr_array(([1.0, 0.0], [0, 1], [0, 2]), shape=(1, 2)), [[1, 0]]),
        (sp.csr_array(np.array([[0, 1e300]]).astype(np.longdouble)), [[0, 1e300]]),
        (altered("csr", data=np.array([1.5, 2, 3, 4, 5], ">f8")), DENSE),
        (altered("csr", indices=np.array([1, 3, 0, 2, 3], np.uint64)), DENSE),
        (altered("coo", data=np.array([1.5, 2, 3, 4, 5], np.float16)), DENSE),
        # Flags that say it is in order are not believed.
        (
            altered(
                "csr", indices=np.array([3, 1, 0, 2, 3]), data=np.array([2, 1.5, 3, 4, 5]), _has_sorted_indices=True
            ),
            DENSE,
        ),
        (sp.dia_array((np.array([[9.0, 1.0]]), [1]), shape=(2, 2)), [[0, 1], [0, 0]]),
    ],
)
def test_what_is_unusual_and_right(given: Any, expected: Any):
    found = checked(given)
    assert_array_equal(found.toarray(), expected)
    assert found.has_canonical_format
    assert found.data.all()


INSIDE = "must have indices inside its shape: "


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        (
            altered("csr", indices=np.array([1, 25, 0, 2, 3])),
            f"{INSIDE}the index of entry 1 is 25, but must lie between 0 and 3",
        ),
        (altered("csc", indices=np.array([2, 0, 3, -1, 3])), f"{INSIDE}the index of entry 3 is -1"),
        (
            altered("csr", indices=np.array([1, 2**64 - 1, 0, 2, 3], np.uint64)),
            f"{INSIDE}the index of entry 1 is 18446744073709551615",
        ),
        (
            altered("csr", indptr=np.array([0, 3, 1, 3, 5])),
            "must have an indptr that begins with 0, never falls, and ends with its 5",
        ),
        (altered("csr", indptr=np.array([0, 2, 2, 3, 4])), "must have an indptr that begins with 0, never falls"),
        (altered("csr", indptr=np.array([1, 2, 2, 3, 5])), "must have an indptr that begins with 0"),
        (altered("csr", indptr=np.array([0, 2, 2, 3, 2**40])), "must have an indptr that begins with 0"),
        (altered("csr", indptr=np.array([0, 2, 5])), "must have an indptr of 5 numbers, not 3"),
        (altered("csr", indptr=np.array([0.0, 2, 2, 3, 5])), "must have a one-dimensional array of ints as its indptr"),
        (
            altered("csr", indices=np.array([[1, 3, 0, 2, 3]])),
            "must have a one-dimensional array of ints as its indices",
        ),
        (altered("csr", indices=np.array([True] * 5)), "must have a one-dimensional array of ints as its indices"),
        (altered("csr", indices=[1, 3, 0, 2, 3]), "must have a one-dimensional array of ints as its indices"),
        (altered("csr", data=np.ones(6)), "must have one index for each entry, but has 5 for 6"),
        (altered("csr", data=np.ones((5, 1))), "must have one index for each entry"),
        (altered("csr", data=np.ones(5, complex)), "must be a matrix of real numbers"),
        (altered("csr", data=np.array([None] * 5)), "must be a matrix of real numbers"),
        (altered("csr", _shape=(4, 2)), f"{INSIDE}the index of entry 1 is 3, but must lie between 0 and 1"),
        (altered("csr", _shape=(10**6, 4)), "must have an indptr of 1000001 numbers, not 5"),
        (altered("csr", _shape=(0, 4)), "must have at least one row"),
        (altered("csr", _shape=(4, 2**70)), "must have fewer rows and columns than 1180591620717411303424"),
        (altered("bsr", indices=np.array([0, 7, 0, 1])), INSIDE),
        (altered("bsr", _shape=(5, 4)), "must have blocks that divide its shape"),
        (
            altered("coo", coords=(np.array([0, 0, 2, 3, 4]), np.array([1, 3, 0, 2, 3]))),
            f"{INSIDE}the row of entry 4 is 4",
        ),
        (
            altered("coo", coords=(np.array([0, 0, 2, 3, 3]), np.array([1, 3, 0, 2, -3]))),
            f"{INSIDE}the column of entry 4 is -3",
        ),
        (
            altered("coo", coords=(np.array([0, 0, 2]), np.array([1, 3, 0, 2, 3]))),
            "must have a row and a column for each entry",
        ),
        (altered("dia", offsets=np.array([0, 1, 1, 9])), "must have a row of data for each of its 4 diagonals"),
        (altered("dia", data=np.ones(4)), "must have a row of data for each"),
        (lil(lambda matrix: matrix.rows[0].append(2)), "must have one column for each number, but row 0 does not"),
        (lil(lambda matrix: matrix.rows[0].__setitem__(0, -9)), f"{INSIDE}the column of entry 0 is -9"),
        (
            lil(lambda matrix: matrix.rows[0].__setitem__(0, "1")),
            "must have a one-dimensional array of ints as its columns",
        ),
        (
            lil(lambda matrix: matrix.rows.__setitem__(1, None)),
            "must have one column for each number, but row 1 does not",
        ),
        (dok((99, 0)), f"{INSIDE}the row of entry 5 is 99"),
        (sp.coo_array(np.ones(3)), "must be a matrix of real numbers"),
    ],
)
def test_what_native_code_would_have_followed(given: Any, rule: str):
    for call in (tg.Empirical, lambda matrix: tg.analyse(np.ones((4, 2)), matrix)):
        with pytest.raises(ValueError, match=r"^(Empirical|analyse)\(activations=.*\): activations must ") as caught:
            call(given)
        assert rule in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_shape_is_compared_with_the_memory(monkeypatch: pytest.MonkeyPatch):
    vast = {"indptr": np.zeros(5, int), "indices": np.zeros(0, int), "data": np.zeros(0)}
    with pytest.raises(ValueError, match=r"must fit into memory: with 4 rows and 1\d* columns it would take 9.2 EB"):
        assembled("csr", (4, 2**60), vast)
    monkeypatch.setenv(VARIABLE, "1kB")
    with pytest.raises(ValueError, match=r"it would take 1.6 kB of memory, and TEGUM_MEMORY_LIMIT allows 1.0 kB"):
        assembled("csr", (4, 200), vast)
    assert assembled("csr", (4, 100), vast).nnz == 0
    monkeypatch.setenv(VARIABLE, "much")
    with pytest.raises(ValueError, match=r"^TEGUM_MEMORY_LIMIT='much': must be a number of bytes"):
        assembled("csr", (4, 100), vast)


def test_a_pickle_that_does_not_hold_what_it_says():
    one = tg.Empirical(sp.csr_array(DENSE))
    assert pickle.loads(pickle.dumps(one)) == one
    restore, (values, digest) = one.data.__reduce__()
    values = values.copy()
    values.indices[0] = 77
    with pytest.raises(ValueError, match="the index of entry 0 is 77"):
        restore(values, digest)
    with pytest.raises(ValueError, match=r"the pickled activations have the digest .* they are damaged"):
        restore(2 * DENSE, digest)


@pytest.mark.parametrize("form", ["csr", "csc", "bsr", "coo", "dia"])
def test_files_of_every_form(form: str, tmp_path: Path):
    sp.save_npz(tmp_path / "x.npz", getattr(sp, f"{form}_matrix")(DENSE))
    assert_array_equal(open_matrix(tmp_path / "x.npz", call="analyse", sparse=True).toarray(), DENSE)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (
            {"indptr": np.array([0, 3, 1, 3, 5])},
            "must lead to a valid sparse matrix, which must have an indptr that begins",
        ),
        (
            {"indices": np.array([1, 3, 0, 2, 2**40])},
            "must lead to a valid sparse matrix, which must have indices inside its",
        ),
        ({"shape": np.array([4, -4])}, "must lead to a valid sparse matrix, which must have at least one row"),
        ({"shape": np.array([4, 4, 4])}, "it describes a sparse matrix of the format 'csr' and the shape [4, 4, 4]"),
        ({"shape": np.array([4.0, 4.0])}, "it describes a sparse matrix of the format 'csr' and the shape [4.0, 4.0]"),
        ({"format": b"xyz"}, "it describes a sparse matrix of the format 'xyz'"),
        ({"format": b"coo"}, "a sparse matrix of the format 'coo' needs 'row', which this file lacks"),
        ({"data": np.array([None] * 5)}, "it holds Python objects, which are not read"),
    ],
)
def test_files_that_lie(change: dict[str, Any], rule: str, tmp_path: Path):
    matrix = sp.csr_array(DENSE)
    parts = {name: getattr(matrix, name) for name in ("data", "indices", "indptr", "shape")}
    np.savez(tmp_path / "x.npz", **{"format": b"csr"} | parts | change)
    file = tmp_path / "x.npz"
    for call in (lambda: open_matrix(file, call="f", sparse=True), lambda: tg.Empirical(path=file)):
        with pytest.raises(ValueError, match=r"x\.npz'\): path ") as caught:
            call()
        assert rule in str(caught.value)


MUTATED = """
import faulthandler, io, sys
import numpy as np, scipy.sparse as sp
from pathlib import Path
from tegum.data.matrices import open_matrix
import tegum as tg
faulthandler.enable()
assert "ml_dtypes" not in sys.modules
right = refused = 0
place = Path(sys.argv[1], "x.npz")
for trial in range(200):
    random = np.random.default_rng([5, trial])
    dense = np.where(random.random((6, 8)) < 0.4, random.integers(1, 9, (6, 8)), 0)
    form = ("csr", "csc", "bsr", "coo")[trial % 4]
    names = {"coo": ("row", "col")}.get(form, ("indptr", "indices"))
    matrix = getattr(sp, f"{form}_array")(dense)
    parts = {name: np.array(getattr(matrix, name)) for name in (*names, "data")}
    hit, at = parts[names[trial // 4 % 2]], random.integers(6)
    if trial % 3:
        raw = bytearray(hit.tobytes())
        raw[random.integers(len(raw))] ^= 1 << int(random.integers(8))
        hit[...] = np.frombuffer(bytes(raw), hit.dtype)
    else:
        hit[at % len(hit)] = random.choice([-1, 0, 25, 2**31 - 1])
    buffer = io.BytesIO()
    np.savez(place, format=form.encode(), shape=np.array(dense.shape), **parts)
    try:
        found = open_matrix(place, call="f", sparse=True)
        tg.analyse(np.ones((8, 2)), found, neighbours=False)
    except ValueError as error:
        assert str(error).startswith(("f(path='x.npz'): path must ", "analyse(activations")), error
        refused += 1
    else:
        expected = np.zeros(dense.shape)
        if form in ("coo", "csr", "csc"):  # by hand, entry by entry
            if form == "coo":
                major, minor = parts["row"], parts["col"]
            else:
                major = np.repeat(np.arange(len(parts["indptr"]) - 1), np.diff(parts["indptr"]))
                minor = parts["indices"]
            for i, j, value in zip(major, minor, parts["data"], strict=True):
                expected[(j, i) if form == "csc" else (i, j)] += value
            assert (found.toarray() == expected).all(), trial
        right += 1
print(right, refused)
"""


def test_mutated_files_are_right_or_refused_and_crash_nothing(tmp_path: Path):
    ran = subprocess.run(
        [sys.executable, "-c", MUTATED, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ.copy(),
    )
    assert ran.returncode == 0, ran.stderr
    right, refused = map(int, ran.stdout.split())
    assert right + refused == 200
    assert refused > 100
    assert right > 10
