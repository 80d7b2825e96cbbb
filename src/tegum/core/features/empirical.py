"""A feature set made of samples that a user brings: real co-activation statistics in place of synthetic ones."""

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
from tegum.core.outside.files import UnreadableError, obstacle, read_matrix

if TYPE_CHECKING:
    from tegum.core.features.sets import Numbers, Uniforms


class Matrix(NamedTuple):
    """A matrix of activations as compiled programs know it: any other of that shape needs no other program."""

    samples: int
    size: int
    longest: int

    @property
    def features(self) -> int:
        """How many features there are."""
        return self.size

    def draw_from(self, arrays: Any, uniforms: Uniforms, batch: int) -> Any:
        """Samples (batch, size): rows of `arrays`, each as often."""
        which = _uniform_rows(uniforms((batch, 2)), self.samples)
        return gathered(arrays, which, self.size, self.longest)


class Empirical(FeatureSet, kind="empirical"):
    """The distribution of rows drawn uniformly from a matrix of activations: rows are samples, columns features.

    The matrix is an array, a sparse matrix of scipy, or a file: .npy, or .npz with one array, the array `key`, or a
    sparse matrix. Its entries are 0, or lie between 1e-30 and 1e15; unlike in other kinds of set they may exceed 1. The
    population is finite, so that the population loss of a distribution that is this one set is an exact mean.

    The description holds a digest of the numbers and not the numbers: equal matrices have one, be they dense or sparse.
    Read from JSON or TOML it takes the matrix that this process has been given under that digest, or else
    the file at `path`, relative to the working directory (in a TOML file, to that file's folder). Where there is
    neither the description can be looked at, and using the data is refused.

    Raises:
        ValueError: no matrix, one with other entries, or one whose digest or shape is not the one described.

    """

    positional: ClassVar[tuple[str, ...]] = ("activations", "importance")
    density: ClassVar[None] = None  # pyright: ignore[reportIncompatibleVariableOverride] - the data have their own
    digest: str
    """Of the numbers, 32 hexadecimal digits; found from them where it is not given."""
    samples: Count
    """How many rows the matrix has."""
    size: Count
    """How many columns it has."""
    path: str | None = None
    """The file it was read from."""
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
    def _told_by_the_data(cls, values: Any) -> Any:
        """Fill in what the data tell, and refuse what they contradict."""
        if not isinstance(values, Mapping):
            return values
        told = dict(values)
        if told.keys() - {*cls.model_fields, "activations"}:
            told.pop("activations", None)
            return told  # pydantic knows what to say about an unknown key
        if isinstance(told.get("path"), os.PathLike):
            told["path"] = os.fspath(told["path"])
        data = _data(told)
        if data is None:
            return told
        found = {"digest": data.digest, "samples": data.samples, "size": data.size}
        for name, value in found.items():
            given = plain(told.get(name, value))
            if given != value:
                raise broken(name, given, f"must be {value!r}, as of the activations that are there")
        return told | found

    @field_validator("digest")
    @classmethod
    def _digest_is_one(cls, value: str) -> str:
        if len(value) != 32 or not set(value) <= set("0123456789abcdef"):
            raise ValueError("must be 32 hexadecimal digits")
        return value

    def model_post_init(self, _: Any) -> None:
        """Hold on to the data, where they are there."""
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
        """The numbers themselves.

        Raises:
            ValueError: they are neither known to this process nor at the path.

        """
        data = recalled(self.digest)
        if data is None:
            where = ""
            if self.path is not None:
                found = obstacle(Path(self.path)) or "and this is another file"
                where = f", and {os.path.abspath(self.path)!r} must lead to a file, {found}"  # noqa: PTH100 - no links
            raise ValueError(
                f"{self!r}: the activations must be there to be used, and this process has been given none of this "
                f"digest{where}; Empirical(activations) with the same numbers gives them"
            )
        return data

    @property
    def features(self) -> int:
        """How many features the set has."""
        return self.size

    @property
    def table_size(self) -> int:
        """None but the samples, which are there."""
        return 0

    @property
    def densities(self) -> Float[np.ndarray, " size"]:
        """As `active`."""
        return self.active()

    def active(self) -> Float[np.ndarray, " size"]:
        """The part of the samples in which each feature is active, exact; 0 of one that never is."""
        return self.data.active.copy()

    def first_moment(self) -> Float[np.ndarray, " size"]:
        """E[x_i], the mean over the rows."""
        return self.data.mean.copy()

    def second_moment(self) -> Float[np.ndarray, "size size"]:
        """E[x_i x_j], the mean over the rows."""
        return self.data.second.copy()

    def arrays(self) -> Dense | Sparse:
        """The matrix in float32."""
        return self.data.arrays()

    def traced(self) -> Matrix:
        """The shape of the matrix, without its numbers."""
        return Matrix(self.samples, self.size, self.data.longest)

    def draw(self, uniforms: Uniforms, batch: int) -> Any:
        """Samples (batch, size): rows of the matrix, each as often."""
        u = uniforms((batch, 2))
        if isinstance(u, np.ndarray):
            return self.data.rows(_uniform_rows(u, self.samples))
        return self.traced().draw_from(self.arrays(), lambda _: u, batch)


def _data(told: dict[str, Any]) -> Activations | None:
    """The data that values of the fields speak of: given (and taken out), known by their digest, or in the file."""
    given = told.pop("activations", None)
    path, key, digest = (told.get(name) for name in ("path", "key", "digest"))
    if given is not None:
        if path is not None:
            raise broken("path", path, "must not be given together with activations")
        try:
            return Activations.of(given)
        except ValueError as error:
            raise broken("activations", given, str(error)) from None
    if isinstance(digest, str) and (data := recalled(digest)) is not None:
        return data
    described = {"digest", "samples", "size"} <= told.keys()
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
    """Numbers of rows, each as often, from two uniforms for each: (batch, 2) to (batch,).

    The first uniform picks one of about √count equal parts of [0, count), the second a place in it. A single one in
    float32 has 24 bits, and among a million rows some would be drawn a fifteenth more often than others.
    """
    xp = u.__array_namespace__()
    parts = 1 << (count - 1).bit_length() // 2
    bounds = np.arange(parts) * count
    start = xp.asarray((bounds // parts).astype(np.int32))
    offset = xp.asarray((bounds % parts / parts).astype(u.dtype))
    part = xp.floor(u[:, 0] * parts).astype(np.int32)
    place = xp.floor(offset[part] + u[:, 1] * (count / parts)).astype(np.int32)
    return xp.minimum(start[part] + place, count - 1)
