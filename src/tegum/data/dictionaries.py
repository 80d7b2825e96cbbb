"""Dictionaries as other tools save them: which array holds the directions, and whether they are its rows or columns.

What an array is follows from its name, as SAELens, dictionary_learning, Gemma Scope and others call it. Since authors
differ in which way round they store a name, sizes in the configuration and the lengths of biases come first.
"""

from __future__ import annotations

import json
import math
import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tegum.core.arguments import refusing
from tegum.core.description import short
from tegum.core.inputs import orientation
from tegum.core.inputs.files import ArrayFile, UnreadableError, chosen, obstacle, reading
from tegum.core.limits import beyond_memory
from tegum.data.formats.json_files import beside, read_json
from tegum.data.formats.sharded_files import INDEX, INDEXES
from tegum.data.formats.zarr_folders import is_zarr
from tegum.data.matrices import SUFFIXES, array_file, refusing_files

if TYPE_CHECKING:
    import xarray as xr

_MATRICES = {
    "w_dec": (False, True),
    "decoder.weight": (False, False),
    "decoder_linear.weight": (False, False),
    "w_enc": (True, False),
    "encoder.weight": (True, True),
    "encoder_linear.weight": (True, True),
}
"""Names of matrices, perhaps after a prefix: whether it is the encoder, and whether its rows are the features.

Those of `torch.nn.Linear` have a row for each output: features are rows of an encoder, and columns of a decoder.
"""

_OF_FEATURES = (
    "b_enc", "encoder.bias", "encoder_linear.bias", "latent_bias", "threshold", "log_threshold",
    "b_gate", "b_mag", "r_mag", "gate_bias", "mag_bias",
)  # fmt: skip
_OF_DIMENSIONS = ("b_dec", "decoder.bias", "decoder_linear.bias", "decoder_bias", "pre_bias", "bias")
"""Names of vectors with a number for each feature, and for each dimension of the decoder's output."""

_FEATURES, _INPUTS, _OUTPUTS = ("d_sae", "dict_size"), ("d_in", "activation_dim"), ("d_out",)
"""Keys of configurations: the number of features, and dimensions of what goes in and, where that differs, comes out."""

_FOLDERS = {
    "sae_weights.safetensors": ("SAELens", "cfg.json"),
    "ae.pt": ("dictionary_learning", "config.json"),
    "sae.safetensors": ("sparsify", "cfg.json"),
    "params.npz": ("Gemma Scope", "config.json"),
}
"""The file of weights in a folder, with whose it is, and the name of the configuration beside it."""

_NUMBER = re.compile(r"-?\d{1,18}", re.ASCII)

_NO_WEIGHTS = ("sparsity.safetensors", "activations_store_state.safetensors", "activation_whitening.safetensors")
"""Other files that SAELens writes into the folder of a dictionary."""


class _Source(NamedTuple):
    file: ArrayFile
    form: str
    """Whose format it is, or the kind of file."""
    config: dict[str, Any]
    config_name: str
    config_text: str


class _Layout(NamedTuple):
    """What a name says about a matrix."""

    prefix: str
    encoder: bool
    rows: bool
    """Whether its rows are the features."""


class _Size(NamedTuple):
    """A statement about the shape of a matrix."""

    text: str
    of_features: bool
    length: int
    configured: bool


@refusing
def load_dictionary(
    path: str | os.PathLike[str],
    key: str | None = None,
    *,
    slice: str | None = None,  # noqa: A002 (what it is; the built-in one is not used here)
    transpose: bool | None = None,
) -> xr.DataArray:
    """Load the directions of a dictionary, such as the decoder of a sparse autoencoder, as other tools save it.

    Rows of the result are directions, whichever way round the file has them: that follows from the configuration
    beside it, from the lengths of biases, and from the names of arrays. Where none of these decide, rows are taken, or
    what `transpose` says; a warning, and the attribute `likely_transposed`, tell if they are more likely the columns. A
    warning also says if all numbers are zero.
    Numbers in .npy and .safetensors files, and in .pt files that are not compressed, are checked once and stay in the
    file, unless NumPy lacks their dtype (bfloat16, float8), which become float32.

    Args:
        path: a folder of SAELens (cfg.json, sae_weights.safetensors), of dictionary_learning (ae.pt, config.json) or
            with one file of weights; a .safetensors file; a file of torch.save (.pt, .pth, .bin), of which only tensors
            are read and no code is run; the index of several of either, such as model.safetensors.index.json or
            pytorch_model.bin.index.json; a .npz file, such as Gemma Scope's params.npz, or a .npy file; a zarr array or
            group.
        key: the name of the array; None is the decoder if there is one of a known name, or the only array. Of an
            encoder, W_enc for instance, rows of the result are also features.
        slice: which matrix of an array with more than two dimensions, such as the decoder of a crosscoder: ":,0,:" for
            the first of its layers if they are in the middle. None for a matrix.
        transpose: whether directions are the columns of the array in the file; None is as described above.

    Returns:
        The directions, with dims (feature, hidden); by feature and by hidden also the biases and thresholds that the
        file has. Attributes: `source`, `format`, `architecture`, `key`, `slice`, `transposed` (whether they were
        columns), `likely_transposed` (why they may lie the other way round, else empty) and `config` (JSON).

    Raises:
        ValueError: there is no dictionary, or the file is damaged, its numbers are not finite, its parts contradict
            each other, or the array is not determined; the sentence says which.

    Example:
        Two features in three dimensions, as PyTorch's Linear has them, in columns.

        >>> import tempfile
        >>> import numpy as np
        >>> import tegum as tg
        >>> weights = {"decoder.weight": np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]), "encoder.bias": np.zeros(2)}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.savez(f"{folder}/sae.npz", **weights)
        ...     directions = tg.load_dictionary(f"{folder}/sae.npz")
        >>> directions.values.tolist(), directions.transposed
        ([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]], True)

    """
    return read_dictionary(path, key, slice, transpose, call="load_dictionary")


def read_dictionary(
    path: str | os.PathLike[str],
    key: str | None,
    at: str | None,
    transpose: bool | None,
    *,
    call: str,
    options: Mapping[str, str] = MappingProxyType({}),
) -> xr.DataArray:
    """As `load_dictionary`, with errors and warnings that begin with `call` and name options of a command line."""
    import xarray as xr

    with refusing_files(Path(path), call, options):
        source = _source(Path(path))
        file = source.file
        name = _chosen(file, key)
        index = _index(at, name, file.array(name).shape)
        stored = _dense(file.matrix(name, index), file.path)
        layout = _layout(name)
        sizes = [] if layout is None else list(_sizes(source, layout))
        ways = _ways(stored.shape, sizes, name, file.path, transpose)
        # Of more than two dimensions a name says nothing.
        named = layout is not None and not index and not layout.rows
        transposed = transpose if transpose is not None else ways[0] if len(ways) == 1 else named
        try:
            norms = orientation.norms(stored)
        except ValueError as error:
            rule = f"must lead to a sound matrix: {_quoted(name)} {error}"
            raise UnreadableError("path", str(file.path), rule) from None
        matrix = stored.T if transposed else stored
        vectors = {} if layout is None else _vectors(file, layout, matrix.shape)
    doubt = ""
    if not norms[0].any():
        _warn(f"{call}: {_quoted(name)} holds nothing but zeros, so that no feature has a direction")
    elif transpose is None and len(ways) == 2:
        doubt = orientation.doubt(matrix, *(norms[::-1] if transposed else norms), weak=True)
        if doubt:
            option, lines = ("--no-transpose", "rows") if transposed else ("--transpose", "columns")
            other = f"transpose={not transposed} ({option}) takes its {lines}"
            _warn(f"{call}: {_quoted(name)} is more likely stored the other way round: {doubt}; {other}")
    elif transpose is None and layout is not None and not index and transposed != named:
        _warn(
            f"{call}: {name!r} is stored the other way round than its name says, so that its "
            f"{'columns' if transposed else 'rows'} are the directions: its shape is {stored.shape}, and "
            f"{_listed(sizes)}"
        )
    attributes = {
        "source": os.fspath(path),
        "format": source.form,
        "architecture": _architecture(source.config),
        "key": name,
        "slice": ",".join(":" if isinstance(each, slice) else str(each) for each in index),
        "transposed": transposed,
        "likely_transposed": doubt,
        "config": source.config_text,
    }
    return xr.DataArray(matrix, vectors, ("feature", "hidden"), "weights", attributes)


def _warn(sentence: str) -> None:
    """A warning at the user's own line."""
    warnings.warn(sentence, stacklevel=5)


def _source(path: Path) -> _Source:
    """The file of weights at a path, which may be that of a folder with a configuration."""
    if found := obstacle(path, "either"):
        raise UnreadableError("path", str(path), f"must lead to a file, {found}")
    if not path.is_dir() or is_zarr(path):
        return _Source(array_file(path), _kind(path), {}, "", "")
    name = _weights_in(path)
    form, config_name = _FOLDERS.get(name, ("", "config.json"))
    with reading(path, f"a folder of {form or 'one dictionary'}"):
        file, config_file = beside(path, name), beside(path, config_name)
    config, text = {}, ""
    configured = os.path.lexists(config_file)
    for each in (file, config_file) if configured else (file,):
        if found := obstacle(each, "either" if each.suffix == ".zarr" else "file"):
            raise UnreadableError("path", str(path), f"must lead to a folder with a file {each.name!r}, {found}")
    if configured:
        with reading(path, f"a folder with a readable {config_name}"):
            config = read_json(config_file)
            text = json.dumps(config)
    return _Source(array_file(file), form or _kind(file), config, config_name, text)


def _weights_in(folder: Path) -> str:
    """The name of the only file of weights in a folder, or of the index of several."""
    with reading(folder, "a folder that can be read"):
        names = sorted(each.name for each in folder.iterdir())
    held = [name for name in names if name in _FOLDERS] or [name for name in names if name.endswith(INDEXES)]
    held = held or [name for name in names if name.endswith(SUFFIXES) and name not in _NO_WEIGHTS]
    if not held:
        what = f"it holds {_some(names)}" if names else "it is empty"
        raise UnreadableError(
            "path", str(folder), f"must lead to a dictionary, but in this folder there is no file of weights: {what}"
        )
    if len(held) > 1:
        raise UnreadableError(
            "path", str(folder), f"must lead to one dictionary, but this folder holds {_some(held)}; name one of these"
        )
    return held[0]


def _kind(path: Path) -> str:
    return "zarr" if path.is_dir() else path.name.removesuffix(INDEX).rpartition(".")[2]


def _some(names: Sequence[str]) -> str:
    return ", ".join(repr(name[:60]) for name in names[:8]) + (", …" if len(names) > 8 else "")


def _chosen(file: ArrayFile, key: str | None) -> str:
    if key is None and file.names is not None and len(file.names) > 1:
        decoders = [name for name in file.names if (layout := _layout(name)) is not None and not layout.encoder]
        return chosen(None, decoders or file.names, file.path)
    return file.chosen(key)


def _index(at: str | None, name: str, shape: tuple[int, ...]) -> tuple[int | slice, ...]:
    """The index that a text names, such as ":,0,:"; empty for a matrix, which needs none."""
    said, more = f"{_quoted(name)} has the shape {shape}", len(shape) - 2
    if more <= 0:
        if at is not None:
            raise UnreadableError("slice", at, f"must be None, as {said}")
        return ()
    if at is None:
        raise UnreadableError("slice", None, f"must be given, as {said}: {_slices(shape)}")
    parts = [part.strip() for part in at.split(",")]
    parts += [":"] * (len(shape) - len(parts))
    numbers = [part for part in parts if part != ":"]
    if len(parts) > len(shape) or len(numbers) != more or not all(_NUMBER.fullmatch(each) for each in numbers):
        raise UnreadableError("slice", at, f"must be one of the matrices of {_quoted(name)}: {_slices(shape)}")
    for part, length in zip(parts, shape, strict=True):
        if part != ":" and not -length <= int(part) < length:
            raise UnreadableError("slice", at, f"must lie inside, as {said}, and {part} does not")
    return tuple(slice(None) if part == ":" else int(part) for part in parts)


def _quoted(name: str) -> str:
    return repr(name) if name else "the array"


def _slices(shape: tuple[int, ...]) -> str:
    """Which matrices an array of more than two dimensions has."""
    if len(shape) > 3:
        first = ",".join(["0"] * (len(shape) - 2) + [":", ":"])
        return f"{first!r} is the first in its last two dimensions, of shape {shape[-2:]}"
    ways = []
    for axis, length in enumerate(shape):
        texts = [",".join(str(number) if axis == each else ":" for each in range(3)) for number in (0, length - 1)]
        rest = shape[:axis] + shape[axis + 1 :]
        ways.append(f"{' to '.join(map(repr, texts if length > 1 else texts[:1]))} of shape {rest}")
    return ", ".join(ways)


def _layout(name: str) -> _Layout | None:
    """What a name says about a matrix: its last parts count, with any prefix."""
    for known, (encoder, rows) in _MATRICES.items():
        folded = name.casefold()
        if folded == known or folded.endswith(f".{known}"):
            return _Layout(name[: len(name) - len(known)], encoder, rows)
    return None


def _sizes(source: _Source, layout: _Layout) -> Iterator[_Size]:
    """All that the configuration and the lengths of vectors say about the shape of a matrix."""
    table = source.config.get("trainer", source.config)
    table = table if isinstance(table, dict) else source.config
    outputs = [] if layout.encoder else [key for key in _OUTPUTS if table.get(key) is not None]
    for key in (*_FEATURES, *(outputs or _INPUTS)):
        if (value := table.get(key)) is None:
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise UnreadableError(
                "path",
                str(source.file.path),
                f"must lead to a folder whose {source.config_name} makes sense, but {key} in it is {short(value)}",
            )
        yield _Size(f"{key} = {short(value)} in {source.config_name}", key in _FEATURES, value, True)
    for name, of_features in _vector_names(source.file, layout):
        shape = source.file.array(name).shape
        # A single number is a threshold for all features.
        if len(shape) == 1 and shape[0] > 1:
            yield _Size(f"{name!r} has the length {shape[0]}", of_features, shape[0], False)


def _vector_names(file: ArrayFile, layout: _Layout) -> Iterator[tuple[str, bool]]:
    for name in file.names or ():
        rest = name.removeprefix(layout.prefix).casefold()
        if name.startswith(layout.prefix) and (rest in _OF_FEATURES or (rest in _OF_DIMENSIONS and not layout.encoder)):
            yield name, rest in _OF_FEATURES


def _vectors(file: ArrayFile, layout: _Layout, shape: tuple[int, int]) -> dict[str, tuple[str, np.ndarray]]:
    """The biases and thresholds that belong to a matrix (feature, hidden), by their names without prefix."""
    found = {}
    for name, of_features in _vector_names(file, layout):
        stored = file.array(name)
        if stored.shape == shape[:1] if of_features else stored.shape == shape[1:]:
            values = stored.read(())
            if isinstance(values, np.ndarray) and values.dtype.kind in "fiub":
                values = values.astype(np.float64) if values.dtype.itemsize > 8 else values
                found[name.removeprefix(layout.prefix)] = "feature" if of_features else "hidden", values
    return found


def _ways(shape: tuple[int, int], sizes: Sequence[_Size], name: str, path: Path, transpose: bool | None) -> list[bool]:
    """Which of rows (False) and columns (True) may be the directions, by what is known of sizes."""
    ways = [False, True]
    # Whoever says which way round it is knows better than the vectors of a file, but a configuration must fit.
    for known in ([size for size in sizes if size.configured], sizes if transpose is None else []):
        ways = [way for way in ways if all(size.length == shape[size.of_features == way] for size in known)]
        if not ways:
            raise UnreadableError(
                "path",
                str(path),
                f"must lead to a dictionary whose parts agree: {name!r} has the shape {shape}, but {_listed(known)}",
            )
    return ways


def _listed(sizes: Sequence[_Size]) -> str:
    return " and ".join(size.text for size in sizes[:6])


def _dense(matrix: Any, path: Path) -> np.ndarray:
    if hasattr(matrix, "tocsr"):
        if too_much := beyond_memory(math.prod(matrix.shape) * matrix.dtype.itemsize):
            raise UnreadableError(
                "path", str(path), f"must lead to a matrix that fits into memory: dense, it {too_much}"
            )
        matrix = matrix.toarray()
    return matrix.astype(np.float64) if matrix.dtype.itemsize > 8 else matrix


def _architecture(config: dict[str, Any]) -> str:
    """What the configuration calls the kind of dictionary; empty if it does not say."""
    trainer = config.get("trainer")
    name = config.get("architecture") or (trainer.get("dict_class") if isinstance(trainer, dict) else None)
    return name[:100] if isinstance(name, str) else ""


def described(found: xr.DataArray) -> str:
    """What the directions of `load_dictionary` are, in a sentence."""
    attrs = found.attrs
    kind = ", ".join(each for each in (attrs["format"], attrs["architecture"]) if each)
    array = _quoted(attrs["key"]) + (f" at {attrs['slice']}" if attrs["slice"] else "")
    return (
        f"{found.sizes['feature']:,} directions in {found.sizes['hidden']:,} dimensions: the "
        f"{'columns' if attrs['transposed'] else 'rows'} of {array} ({kind})."
    )
