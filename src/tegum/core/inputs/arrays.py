"""Convert arrays of other libraries (PyTorch, JAX, xarray, pandas) and lists to NumPy, or to SciPy sparse matrices.

No library is imported for this: a tensor is recognised by its methods.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tegum.core.inputs.sparse import assembled
from tegum.core.limits import beyond_memory


def numbers_of(given: Any, dims: tuple[str, ...] = ()) -> Any:
    """The numbers in an array of any library, without a copy where the library allows that.

    A PyTorch tensor is detached from its graph and copied off its device, also one in a list; a sparse one becomes a
    SciPy sparse matrix.
    Narrow dtypes that NumPy does not have (bfloat16, float8) become float32.

    Args:
        given: an array, a tensor, a table, or nested lists.
        dims: names of the last dimensions in the order wanted; a DataArray that has them is transposed.

    Returns:
        A NumPy array of any dtype, or a sparse matrix.

    Raises:
        ValueError: it is not an array, has masked entries, or is on a device that cannot be read; the message is the
            rule, "must …".

    """
    if type(given) is np.ndarray:
        return _wide(given)
    if hasattr(given, "tocsr"):
        return given
    if _is_tensor(given):
        return _of_tensor(given)
    if isinstance(given, list | tuple):
        given = _without_tensors(given)
    if dims and {*dims} <= {*getattr(given, "dims", ())}:
        given = given.transpose(..., *dims)
    if np.ma.is_masked(given):
        raise ValueError("must have no masked entries; .filled(0) or .compressed() says what they mean")
    try:
        return _wide(np.asarray(given))
    except MemoryError:
        raise
    except Exception as error:  # on another device, or traced: libraries raise all kinds of errors
        if isinstance(error, ValueError) and isinstance(given, list | tuple):
            return np.asarray(None)  # ragged lists: the caller refuses this as no array
        raise ValueError(f"must be an array of numbers that can be read here: {_said(error)}") from None


def _is_tensor(given: Any) -> bool:
    return hasattr(given, "detach") and hasattr(given, "layout")


def _without_tensors(given: Any, depth: int = 0) -> Any:
    """Lists with arrays in place of tensors, which NumPy cannot always read itself."""
    if _is_tensor(given):
        return _of_tensor(given)
    if not isinstance(given, list | tuple) or depth == _DEEPEST_LIST:
        return given
    if not any(isinstance(each, list | tuple) or _is_tensor(each) for each in given):
        return given
    return [_without_tensors(each, depth + 1) for each in given]


_DEEPEST_LIST = 6
"""The most levels of lists within lists that are searched for tensors: more than arrays here have axes."""

_DIMS = {"weights": ("feature", "hidden"), "bias": ("feature",), "x": ("sample", "feature")}


def array_of(call: str, name: str, value: Any) -> np.ndarray:
    """One argument of a function that computes in NumPy.

    Raises:
        ValueError: one sentence that begins with `call` and names the argument.

    """
    try:
        array = numbers_of(value, _DIMS[name])
    except ValueError as error:
        raise ValueError(f"{call}({name}={type(value).__name__}): {name} {error}") from None
    if hasattr(array, "tocsr"):
        raise ValueError(f"{call}({name}={type(value).__name__}): {name} must be dense; .toarray() makes it so")
    return array


def arrays_of(call: str, **given: Any) -> list[Any]:
    """Arguments of a function that computes in NumPy or JAX: JAX arrays as they are, others by `array_of`."""
    return [value if _of_jax(value) else array_of(call, name, value) for name, value in given.items()]


def _of_jax(value: Any) -> bool:
    return hasattr(value, "__array_namespace__") and value.__array_namespace__() is not np


def _of_tensor(given: Any) -> Any:
    if getattr(given, "is_quantized", False):
        raise ValueError(
            f"must be a tensor of plain numbers, and {given.dtype} is quantised; .dequantize() makes it so"
        )
    try:
        tensor = given.detach()
        kind = str(tensor.layout).removeprefix("torch.")
        match kind:
            case "strided":
                return _of_dense(tensor)
            case "sparse_coo":
                # Not tensor.coalesce(), which follows the indices in native code.
                if len(indices := _of_dense(tensor._indices())) != 2:
                    raise ValueError("only some of its dimensions are sparse; .to_dense() makes one that can be read")
                parts = {"data": _of_dense(tensor._values()), "row": indices[0], "col": indices[1]}
            case "sparse_csr" | "sparse_bsr":
                held = {"data": tensor.values(), "indices": tensor.col_indices(), "indptr": tensor.crow_indices()}
                parts = {name: _of_dense(each) for name, each in held.items()}
            case "sparse_csc":
                held = {"data": tensor.values(), "indices": tensor.row_indices(), "indptr": tensor.ccol_indices()}
                parts = {name: _of_dense(each) for name, each in held.items()}
            case _:
                raise ValueError(f"its layout is {kind}; .to_sparse_csr() or .to_dense() makes one that can be read")
    except MemoryError:
        raise
    except Exception as error:  # PyTorch raises all kinds of errors
        raise ValueError(f"must be a tensor that can be read here: {_said(error)}") from None
    return assembled(kind.removeprefix("sparse_"), tuple(tensor.shape), parts)


def _of_dense(tensor: Any) -> np.ndarray:
    tensor = tensor.cpu()
    # NumPy has no bfloat16 and no float8.
    if any(word in str(tensor.dtype) for word in ("bfloat16", "float8")):
        tensor = tensor.float()
    for resolve in ("resolve_conj", "resolve_neg"):
        tensor = getattr(tensor, resolve, lambda same=tensor: same)()
    return np.asarray(tensor.numpy())


def _wide(array: np.ndarray) -> np.ndarray:
    """Convert numbers of at most 16 bits in a dtype foreign to NumPy (such as those of ml_dtypes) to float32."""
    if array.dtype.isbuiltin != 2 or array.dtype.itemsize > 2:  # 2: a dtype that another library has registered
        return array
    if too_much := beyond_memory(4 * array.size):
        raise ValueError(f"must fit into memory: in float32 it {too_much}")
    return array.astype(np.float32)


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
