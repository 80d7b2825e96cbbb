"""Decompositions are NumPy's, and large ones are known while they last."""

from __future__ import annotations

import threading

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

from tegum.core import lapack
from tegum.core.threads import SERIAL_BELOW, serial_blas


def test_they_are_those_of_numpy() -> None:
    matrix = np.random.default_rng(0).normal(size=(5, 5))
    form = matrix @ matrix.T
    np.testing.assert_array_equal(lapack.eigvalsh(form), np.linalg.eigvalsh(form))
    for ours, theirs in (
        (lapack.eigh(form), np.linalg.eigh(form)),
        (lapack.svd(matrix[:3]), np.linalg.svd(matrix[:3])),
        (lapack.svd(matrix[:3], full_matrices=False), np.linalg.svd(matrix[:3], full_matrices=False)),
    ):
        for mine, numpys in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(mine, numpys)


def test_a_large_one_is_named_while_it_lasts() -> None:
    form = np.random.default_rng(0).normal(size=(900, 900))
    thread = threading.Thread(target=lapack.eigh, args=(form + form.T,))
    thread.start()
    seen = set()
    while thread.is_alive():
        seen.add(lapack.under_way())
    thread.join()
    assert "eigenvectors of a 900 × 900 matrix" in seen
    assert lapack.under_way() is None
    with lapack.noted("eigenvalues", (399, 5000)):
        assert lapack.under_way() is None


def test_small_ones_and_what_happens_beside_them_have_one_thread_of_blas() -> None:
    def threads() -> set[int]:
        return {each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"}

    with threadpool_limits(3, user_api="blas"):
        before = threads()
        with serial_blas(SERIAL_BELOW):
            assert threads() == before
        inside = []
        with serial_blas():
            thread = threading.Thread(target=lambda: inside.append((lapack.eigvalsh(np.eye(3)), threads())))
            thread.start()
            thread.join()
            # What ends first does not give the others their threads back.
            assert threads() == {1}
        assert inside[0][1] == {1}
        assert threads() == before
