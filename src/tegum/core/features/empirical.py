"""A feature set made of samples that a user brings: real co-activation statistics instead of synthetic ones."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from jaxtyping import Float
from pydantic import field_validator, model_validator

from tegum.core.description import Count, broken, plain
from tegum.core.features.samples import Activations, Dense, Sparse, gathered, recalled
from tegum.core.features.sets import FeatureSet
from tegum.core.inputs.files import UnreadableError, obstacle, read_matrix

if TYPE_CHECKING:
    from tegum.core.features.sets import Numbers, Uniforms


class Matrix(NamedTuple):
    """The shape of a matrix of activations, all that a compiled program depends on: matrices of one shape share it."""

    samples: int
    """The number of samples, the rows of the matrix."""
    size: int
    """The number of features, the columns of the matrix."""
    longest: int
    """The largest number of non-zero entries in a row of a sparse matrix."""

    @property
    def features(self) -> int:
        """The number of features."""
        return self.size

    def draw_from(self, arrays: Any, uniforms: Uniforms, batch: int) -> Any:
        """Samples (batch, size): rows of `arrays`, each equally likely."""
        which = _uniform_rows(uniforms((batch, 2)), self.samples)
        return gathered(arrays, which, self.size, self.longest)


class Empirical(FeatureSet, kind="empirical"):
    """The distribution of rows drawn uniformly from a matrix of activations that you bring.

    Rows are samples and columns are features. The matrix is an array, a SciPy sparse matrix, or a file: a .npy file,
    or a .npz file with one array, with the array `key`, or with a sparse matrix. An entry is 0 or lies between 1e-30
    and 1e15; unlike in other kinds of set, it may exceed 1. The population is finite, so that the population loss of
    a distribution that consists of this one set is an exact mean over the rows; `Exact` and `Flow` train on it, and
    `Sampled` on rows drawn with replacement. Next to other sets, only the linear model has a population loss.

    The description stores a digest of the numbers rather than the numbers: equal matrices have equal digests,
    whether dense or sparse. Read from JSON or TOML, it takes the matrix with that digest that this process has been
    given, or else the file at `path`, relative to the working directory (in a TOML file, relative to that file's
    folder). If there is neither, the description can be inspected, and using the data raises ValueError.

    Raises:
        ValueError: there is no matrix, its entries are out of range, or its digest or shape is not the one
            described.

    Example:
        >>> import tegum as tg
        >>> rows = tg.Empirical([[0.0, 2.0], [0.0, 0.0], [1.0, 0.0], [0.0, 4.0]])
        >>> rows.active().tolist(), rows.first_moment().tolist()
        ([0.25, 0.5], [0.25, 1.5])

    """

    positional: ClassVar[tuple[str, ...]] = ("activations", "importance")
    density: ClassVar[None] = None  # pyright: ignore[reportIncompatibleVariableOverride] - the data have their own
    digest: str
    """The digest of the numbers, 32 hexadecimal digits; computed from the matrix if it is not given."""
    samples: Count
    """The number of samples, the rows of the matrix."""
    size: Count
    """The number of features, the columns of the matrix."""
    path: str | None = None
    """The file from which the matrix was read."""
    key: str | None = None
    """The name of the array in the file."""

    if TYPE_CHECKING:

        def __init__(
            self,
            activations: Any = None,
            importance: Numbers = 1.0,
            *,
            path: str | os.PathLike[str] | None = None,
            key: str | None = None,
            digest: str = ...,
            samples: int = ...,
            size: int = ...,
        ) -> None: ...

    @model_validator(mode="before")
    @classmethod
    def _filled_from_data(cls, values: Any) -> Any:
        """Fill in the fields that follow from the data, and refuse values that contradict them."""
        if not isinstance(values, Mapping):
            return values
        fields = dict(values)
        if fields.keys() - {*cls.model_fields, "activations"}:
            fields.pop("activations", None)
            return fields  # pydantic reports an unknown key
        if isinstance(fields.get("path"), os.PathLike):
            fields["path"] = os.fspath(fields["path"])
        data = _data(fields)
        if data is None:
            return fields
        found = {"digest": data.digest, "samples": data.samples, "size": data.size}
        for name, value in found.items():
            given = plain(fields.get(name, value))
            if given != value:
                raise broken(name, given, f"must be {value!r}, as for the activations given")
        return fields | found

    @field_validator("digest")
    @classmethod
    def _digest_is_hexadecimal(cls, value: str) -> str:
        if len(value) != 32 or not set(value) <= set("0123456789abcdef"):
            raise ValueError("must be 32 hexadecimal digits")
        return value

    def model_post_init(self, _: Any) -> None:
        """Keep the data alive, if this process has them."""
        if recalled(self.digest) is not None:
            _ = self.data

    def __repr_args__(self) -> Iterator[tuple[str, Any]]:
        if self.path is not None:
            yield "path", self.path
        if self.key is not None:
            yield "key", self.key
        yield from (("samples", self.samples), ("size", self.size), ("digest", f"{self.digest[:8]}…"))
        if self.importance != 1.0:
            yield "importance", self.importance

    @cached_property
    def data(self) -> Activations:
        """The matrix itself.

        Raises:
            ValueError: this process has not been given the matrix, and it is not at `path`.

        """
        data = recalled(self.digest)
        if data is None:
            where = ""
            if self.path is not None:
                found = obstacle(Path(self.path)) or "and this is another file"
                where = f", and {os.path.abspath(self.path)!r} must lead to a file, {found}"  # noqa: PTH100 - no links
            raise ValueError(
                f"{self!r}: the activations must be loaded to be used, but this process has none with this "
                f"digest{where}; Empirical(activations) with the same numbers provides them"
            )
        return data

    @property
    def features(self) -> int:
        """The number of features in the set."""
        return self.size

    @property
    def table_size(self) -> int:
        """Zero: there is no table, only the samples themselves."""
        return 0

    @property
    def densities(self) -> Float[np.ndarray, " size"]:
        """The share of samples in which each feature is active, as `active` returns it."""
        return self.active()

    @property
    def largest(self) -> float:
        """The largest entry of the matrix."""
        return self.data.largest

    def active(self) -> Float[np.ndarray, " size"]:
        """The share of samples in which each feature is active, exact; 0 for a feature that never is."""
        return self.data.active.copy()

    def first_moment(self) -> Float[np.ndarray, " size"]:
        """The mean of each feature over the rows."""
        return self.data.mean.copy()

    def second_moment(self) -> Float[np.ndarray, "size size"]:
        """The second moments of all pairs of features, over the rows."""
        return self.data.second.copy()

    def arrays(self) -> Dense | Sparse:
        """The matrix in float32, dense or sparse."""
        return self.data.arrays()

    def traced(self) -> Matrix:
        """The shape of the matrix, without its numbers."""
        return Matrix(self.samples, self.size, self.data.longest)

    def draw(self, uniforms: Uniforms, batch: int) -> Any:
        """Draw rows of the matrix, uniformly and with replacement."""
        u = uniforms((batch, 2))
        if isinstance(u, np.ndarray):
            return self.data.rows(_uniform_rows(u, self.samples))
        return self.traced().draw_from(self.arrays(), lambda _: u, batch)


def _data(fields: dict[str, Any]) -> Activations | None:
    """The data that the fields describe: given (and removed from `fields`), known by digest, or read from the file."""
    given = fields.pop("activations", None)
    path, key, digest = (fields.get(name) for name in ("path", "key", "digest"))
    if given is not None:
        if path is not None:
            raise broken("path", path, "must not be given together with activations")
        try:
            return Activations.of(given)
        except ValueError as error:
            raise broken("activations", given, str(error)) from None
    if isinstance(digest, str) and (data := recalled(digest)) is not None:
        return data
    described = {"digest", "samples", "size"} <= fields.keys()
    if path is None:
        if not described:
            raise broken("activations", None, "must be given, or the path of a file", missing=True)
        return None
    if not isinstance(path, str):
        raise broken("path", path, "must be text, the path of a .npy or .npz file")
    if described and obstacle(Path(path)):
        return None
    try:
        return Activations.of(read_matrix(Path(path), key))
    except UnreadableError as error:
        raise broken(error.field, path if error.field == "path" else error.value, error.rule) from None
    except ValueError as error:
        raise broken("path", path, f"must lead to activations, which {error}") from None


def _uniform_rows(u: Any, count: int) -> Any:
    """Row numbers, each equally likely, from two uniforms per row: (batch, 2) to (batch,).

    The first uniform picks one of about √count equal parts of [0, count), the second a place in it. A single float32
    uniform has 24 bits, so that of a million rows some would be drawn a fifteenth more often than others.
    """
    xp = u.__array_namespace__()
    parts = 1 << (count - 1).bit_length() // 2
    bounds = np.arange(parts) * count
    start = xp.asarray((bounds // parts).astype(np.int32))
    offset = xp.asarray((bounds % parts / parts).astype(u.dtype))
    part = xp.floor(u[:, 0] * parts).astype(np.int32)
    place = xp.floor(offset[part] + u[:, 1] * (count / parts)).astype(np.int32)
    return xp.minimum(start[part] + place, count - 1)
