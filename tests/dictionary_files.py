"""Dictionaries in files, written as the packages that they come from write them, without these packages."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
import zarr
from safetensors.numpy import save_file

DIRECTIONS = np.random.default_rng(0).choice(np.array([-2, -1, -0.5, 0.25, 0.5, 1, 1.5], np.float32), (9, 4))
"""Nine directions in four dimensions, in numbers that bfloat16 and float8 hold."""

FEATURES, DIMENSIONS = DIRECTIONS.shape
SAE = {
    "W_dec": DIRECTIONS,
    "W_enc": 2 * DIRECTIONS.T,
    "b_enc": np.linspace(-1, 1, FEATURES, dtype=np.float32),
    "b_dec": np.linspace(0, 1, DIMENSIONS, dtype=np.float32),
}
"""The arrays of SAELens and Gemma Scope."""

LINEAR = {
    "encoder.weight": 2 * DIRECTIONS,
    "encoder.bias": SAE["b_enc"],
    "decoder.weight": DIRECTIONS.T,
    "bias": SAE["b_dec"],
}
"""Those of dictionary_learning's AutoEncoder, and of others that use PyTorch's Linear."""

CONFIG = {"architecture": "standard", "d_in": DIMENSIONS, "d_sae": FEATURES, "dtype": "float32", "metadata": {}}

NARROW = {"BF16": "bfloat16", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2"}


def plain(arrays: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """As safetensors wants them: it writes the bytes of an array, whatever its order."""
    return {name: np.ascontiguousarray(each) for name, each in arrays.items()}


def saelens(folder: Path, arrays: Mapping[str, Any] = SAE, config: Any = CONFIG) -> Path:
    folder.mkdir()
    save_file(plain(arrays), folder / "sae_weights.safetensors")
    (folder / "cfg.json").write_text(json.dumps(config))
    save_file({"sparsity": np.full(FEATURES, -2, np.float32)}, folder / "sparsity.safetensors")
    return folder


def sharded(folder: Path, arrays: Mapping[str, Any] = SAE, shards: int = 2) -> Path:
    folder.mkdir()
    held = {name: f"model-{1 + number % shards:05}-of-{shards:05}.safetensors" for number, name in enumerate(arrays)}
    for shard in {*held.values()}:
        save_file(plain({name: each for name, each in arrays.items() if held[name] == shard}), folder / shard)
    index = {"metadata": {"total_size": 0}, "weight_map": held}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def gemma_scope(folder: Path, arrays: Mapping[str, Any] = SAE) -> Path:
    folder.mkdir()
    np.savez(folder / "params.npz", **arrays, threshold=np.full(FEATURES, 0.1, np.float32))
    return folder


def narrow(file: Path, name: str) -> Path:
    """One array in a dtype that NumPy lacks."""
    import ml_dtypes

    values = DIRECTIONS.astype(getattr(ml_dtypes, NARROW[name]))
    header = {"W_dec": {"dtype": name, "shape": [FEATURES, DIMENSIONS], "data_offsets": [0, values.nbytes]}}
    return raw(file, header, values.tobytes())


def raw(file: Path, header: Any, numbers: bytes) -> Path:
    """A .safetensors file with this header, right or wrong."""
    text = json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + numbers)
    return file


def crosscoder(file: Path) -> Path:
    """A decoder with two layers, (feature, layer, dimension)."""
    layers = np.stack([DIRECTIONS, -3 * DIRECTIONS], 1)
    save_file(plain({"W_dec": layers, "b_enc": SAE["b_enc"], "b_dec": np.zeros((2, DIMENSIONS), np.float32)}), file)
    return file


def written(write: Callable[[Path], Any]) -> Callable[[Path], Path]:
    """A writer that returns the path."""

    def writer(path: Path) -> Path:
        write(path)
        return path

    return writer


def _array(path: Path) -> None:
    zarr.create_array(path, data=DIRECTIONS)


KINDS: dict[str, tuple[str, Callable[[Path], Path], str | None]] = {
    "SAELens": ("sae", saelens, None),
    "SAELens, its file alone": ("alone", lambda path: saelens(path) / "sae_weights.safetensors", None),
    "sharded safetensors": ("shards", sharded, None),
    "an index": ("indexed", lambda path: sharded(path) / "model.safetensors.index.json", None),
    "Gemma Scope": ("gemma", gemma_scope, None),
    "PyTorch's Linear": ("linear.safetensors", written(lambda path: save_file(plain(LINEAR), path)), None),
    "bfloat16": ("BF16.safetensors", lambda path: narrow(path, "BF16"), None),
    "float8_e4m3fn": ("F8_E4M3.safetensors", lambda path: narrow(path, "F8_E4M3"), None),
    "float8_e5m2": ("F8_E5M2.safetensors", lambda path: narrow(path, "F8_E5M2"), None),
    "crosscoder": ("crosscoder.safetensors", crosscoder, ":,0,:"),
    "npy": ("w.npy", written(lambda path: np.save(path, DIRECTIONS)), None),
    "sparse": (
        "sparse.npz",
        written(lambda path: scipy.sparse.save_npz(path, scipy.sparse.csc_array(DIRECTIONS))),
        None,
    ),
    "zarr": ("w.zarr", written(_array), None),
}
"""Kinds of dictionary: the name of a file or folder, what writes it there and returns what to open, and a slice."""
