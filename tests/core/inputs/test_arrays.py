"""Arrays as people hold them: taken where their numbers are plain to see, else refused in a sentence."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import scipy.sparse
import xarray as xr
from numpy.testing import assert_allclose, assert_array_equal

import tegum as tg
from tegum.core.inputs.arrays import arrays_of, numbers_of

W = np.arange(1, 7, dtype=np.float64).reshape(3, 2) / 8
"""Numbers that fit in the narrowest kind."""


class Tensor:
    """What a tensor of PyTorch can do, and what it refuses."""

    layout = "torch.strided"
    requires_grad = True

    def __init__(self, values: Any, dtype: str = "torch.float64", **parts: Any) -> None:
        self.values_, self.dtype, self.parts = np.asarray(values), dtype, parts
        self.shape, self.ndim = parts.get("shape", self.values_.shape), 2
        self.layout, self.is_quantized = parts.get("layout", self.layout), parts.get("quantised", False)

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")

    def detach(self) -> Tensor:
        found = Tensor(self.values_, self.dtype, **self.parts)
        found.requires_grad = False
        return found

    def cpu(self) -> Tensor:
        if self.parts.get("device") == "meta":
            raise NotImplementedError("Cannot copy out of meta tensor; no data!")
        return self

    def float(self) -> Tensor:
        return Tensor(self.values_.astype(np.float32), "torch.float32").detach()

    def numpy(self) -> np.ndarray:
        if self.requires_grad:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad.")
        if self.dtype == "torch.bfloat16":
            raise TypeError("Got unsupported ScalarType BFloat16")
        return self.values_

    def _values(self) -> Tensor:
        return Tensor(self.values_).detach()

    def _indices(self) -> Tensor:
        return Tensor(self.parts["indices"]).detach()

    values = _values

    def crow_indices(self) -> Tensor:
        return Tensor(self.parts["pointers"]).detach()

    def col_indices(self) -> Tensor:
        return Tensor(self.parts["indices"]).detach()


COO: dict[str, Any] = {"layout": "torch.sparse_coo", "shape": (2, 3), "indices": [[0, 0, 1], [2, 2, 0]]}
CSR: dict[str, Any] = {"layout": "torch.sparse_csr", "shape": (2, 3), "indices": [2, 0], "pointers": [0, 1, 2]}


@pytest.mark.parametrize(
    "given",
    [
        Tensor(W),
        Tensor(W, "torch.bfloat16"),
        [Tensor(row) for row in W],
        (Tensor(W[0], "torch.bfloat16"), W[1].tolist(), W[2]),
        [[Tensor(number) for number in row] for row in W],
        W.tolist(),
        np.matrix(W),
        np.ma.array(W),
        np.asfortranarray(W),
        W.astype(">f8"),
        W.astype(np.longdouble),
        W.astype(np.float16),
        W.astype(ml_dtypes.bfloat16),
        W.astype(ml_dtypes.float8_e4m3fn),
        jnp.asarray(W),
        jnp.asarray(W, jnp.bfloat16),
        xr.DataArray(W),
        xr.DataArray(W.T, dims=("hidden", "feature")),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else type(value).__name__,
)
def test_weights_of_every_library(given: Any):
    assert_array_equal(numbers_of(given, ("feature", "hidden")), W)
    assert_array_equal(arrays_of("population_loss", weights=given)[0], W)
    assert_allclose(tg.analyse(given, neighbours=False).norm, np.linalg.norm(W, axis=1), rtol=1e-14)
    assert_array_equal(tg.Start(given).arrays()[0], W)
    if isinstance(given, np.ndarray) or "feature" in getattr(given, "dims", ()):
        assert_array_equal(tg.dimensionality(given), tg.dimensionality(W))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (Tensor([0.5, 0.25, 2], **COO), [[0, 0, 0.75], [2, 0, 0]]),
        (Tensor([0.5, 2], **CSR), [[0, 0, 0.5], [2, 0, 0]]),
        (xr.DataArray(np.eye(3)[:2].T, dims=("feature", "sample")), np.eye(3)[:2]),
        (xr.DataArray(np.eye(3)[:2]), np.eye(3)[:2]),
    ],
)
def test_activations_of_other_libraries(given: Any, expected: Any):
    assert tg.Empirical(given).digest == tg.Empirical(np.array(expected)).digest
    density = (np.array(expected) != 0).mean(0)
    assert_array_equal(tg.analyse(np.ones((3, 2)), given, neighbours=False).density, density)


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        (Tensor(W, device="meta"), "must be a tensor that can be read here: Cannot copy out of meta tensor"),
        (
            Tensor([1.0, 1], **CSR | {"indices": [2, 9]}),
            "must have indices inside its shape: the index of entry 1 is 9",
        ),
        (Tensor([1.0] * 3, **COO | {"indices": [[0, 0, 1], [2, 2, -1]]}), "the column of entry 2 is -1"),
        (Tensor([1.0] * 3, **COO | {"indices": [[0, 0, 1]]}), "only some of its dimensions are sparse"),
        (
            Tensor(W, layout="torch.sparse_bsc"),
            "its layout is sparse_bsc; .to_sparse_csr() or .to_dense() makes one",
        ),
        (np.ma.masked_greater(W, 0.5), "must have no masked entries"),
        ([Tensor(W, device="meta")], "must be a tensor that can be read here: Cannot copy out of meta tensor"),
        (Tensor(W, "torch.qint8", quantised=True), "torch.qint8 is quantised; .dequantize() makes it so"),
        (W.astype(complex), "must be a matrix of real numbers"),
        (W.astype(object), "must be a matrix of real numbers"),
        (None, "must be a"),
        ("w.npy", "must be a matrix of real numbers"),
        ({"W": W}, "must be a matrix of real numbers"),
        (xr.Dataset({"W": ("x", W[0])}), "must be an array of numbers that can be read here"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else type(value).__name__,
)
def test_what_is_refused_in_a_sentence(given: Any, rule: str):
    calls = [("weights", lambda: tg.analyse(given))]
    calls += [("activations", lambda: tg.analyse(W, given)), ("activations", lambda: tg.Empirical(given))]
    for name, call in calls if given is not None else calls[:1]:
        with pytest.raises(ValueError, match=rf"\({name}.*{name} ") as caught:
            call()
        assert "\n" not in str(caught.value)
        assert rule in str(caught.value) or name == "weights"
    start = (
        pytest.raises(ValueError, match=r"^Start\(weights=")
        if given is not None
        else pytest.raises(ValueError, match="Start")
    )
    with start:
        tg.Start(given)


@pytest.mark.parametrize("name", ["weights", "bias", "x"])
def test_a_loss_of_what_is_masked(name: str):
    given: dict[str, Any] = {"weights": W, "bias": np.zeros(3), "x": np.ones((4, 3))}
    with pytest.raises(ValueError, match=rf"empirical_loss\({name}=MaskedArray\): {name} must have no masked entries"):
        tg.empirical_loss(**given | {name: np.ma.masked_less(given[name], 9)})


def test_a_loss_of_what_is_sparse():
    features = tg.FeatureDistribution([tg.Independent(3, 0.5)])
    with pytest.raises(ValueError, match=r"^population_loss\(weights=csr_array\): weights must be dense"):
        tg.population_loss(scipy.sparse.csr_array(W), np.zeros(3), features)


@pytest.mark.pytorch
@pytest.mark.filterwarnings("ignore:Sparse:UserWarning")
def test_pytorch_itself():
    import torch

    tensor = torch.tensor(W)
    for given in (
        torch.nn.Parameter(tensor),
        tensor.bfloat16(),
        tensor.to(torch.float8_e4m3fn),
        torch.nn.Parameter(tensor.T).T,
    ):
        assert_allclose(tg.analyse(given, neighbours=False).norm, np.linalg.norm(W, axis=1), rtol=1e-14)
        assert_array_equal(tg.Start(given).arrays()[0], W)
    zero, features = torch.nn.Parameter(torch.zeros(3)), tg.FeatureDistribution([tg.Independent(3, 0.5)])
    expected = tg.population_loss(W, np.zeros(3), features)
    assert tg.population_loss(torch.nn.Parameter(tensor), zero, features) == expected
    assert_allclose(tg.analyse(tensor.to_sparse(), neighbours=False).norm, np.linalg.norm(W, axis=1), rtol=1e-14)
    rows = np.array([[0, 0.5, 0, 0], [1, 0, 0, 2]])
    digest = tg.Empirical(rows).digest
    for form in ("to_sparse", "to_sparse_csr", "to_sparse_csc"):
        assert tg.Empirical(getattr(torch.tensor(rows), form)()).digest == digest
    assert tg.Empirical(torch.tensor(rows).to_sparse_bsr((1, 2))).digest == digest
    rows = [torch.nn.Parameter(row) for row in tensor]
    assert_array_equal(numbers_of(rows), W)
    assert_array_equal(tg.Start(rows).arrays()[0], W)
    assert_array_equal(tg.analyse(rows, neighbours=False).norm, tg.analyse(W, neighbours=False).norm)
    assert_array_equal(numbers_of(tensor[:1].expand(3, 2)), W[[0, 0, 0]])
    for bad in (torch.empty(3, 2, device="meta"), tensor + 1j):
        with pytest.raises(ValueError, match=r"^analyse\(weights"):
            tg.analyse(bad)
