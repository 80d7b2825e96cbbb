"""What a sweep keeps of every run: measures, last states, events, or trajectories with fewer snapshots."""

from __future__ import annotations

import functools
import hashlib
import importlib
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, final

import numpy as np
from pydantic import field_validator, model_validator

from tegum.core.description import Count, Description, broken, short
from tegum.core.inputs.files import obstacle
from tegum.core.inputs.users_code import of_module, ran
from tegum.core.words import closest
from tegum.training.dataset import changed_at, digest_of_code
from tegum.training.measuring import argument_of, named_measures

if TYPE_CHECKING:
    import xarray as xr

STATES = "states"
"""Keeps weights, biases and losses."""

MEASURE = "in the measure "
"""How the note of an error begins that a measure has raised."""

EVENTS = "events"
"""Keeps what happens in a run: jumps, drops and stages, as a JSON list for each run."""

_STATES = ("weights", "bias", "loss")
_VARIABLES = (*_STATES, "gradient_error")
_ANALYSIS = "tegum.analysis."


class Kept(Description):
    """One thing that a sweep keeps of every run: a measure, or `states`, or `events`.

    Raises:
        ValueError: there is no such measure, or `at` and `every` are both given.

    Example:
        >>> import tegum as tg
        >>> tg.Kept("polytope_names")
        Kept(measure='polytope_names')
        >>> tg.Kept("dimensionality", every=10).name
        'dimensionality'

    """

    positional: ClassVar[tuple[str, ...]] = ("measure", "at")
    measure: str
    """A function of `tegum`'s analysis by its name, a variable of trajectories (weights, bias, loss), a function in a
    file of yours ("mine.py:height") or in an installed package ("package.module:height"), "states" (weights, bias and
    loss), or "events". In Python the function itself will do."""
    at: Literal["last", "all"] = "last"
    """Whether it is measured at the last snapshot, or at all of them: on the whole trajectory."""
    every: Count | None = None
    """Measure at every n-th snapshot and at the last one, in place of `at`."""
    named: str | None = None
    """The name of the variable; by default that of the measure."""

    if TYPE_CHECKING:

        def __init__(
            self,
            measure: str | Callable[..., Any],
            at: Literal["last", "all"] = "last",
            *,
            every: int | None = None,
            named: str | None = None,
        ) -> None: ...

    @field_validator("measure", mode="before")
    @classmethod
    def _function_by_name(cls, value: Any) -> Any:
        return _name_of(value) if callable(value) else value

    @model_validator(mode="after")
    def _parts_fit(self) -> Kept:
        if self.every is not None and "at" in self.model_fields_set:
            raise broken("every", self.every, "must not be given together with at")
        if self.measure == EVENTS and {"at", "every"} & self.model_fields_set:
            raise broken("measure", self.measure, "must be looked for in the whole trajectory, without at or every")
        if self.named is not None and not self.named.isidentifier():
            raise broken("named", self.named, "must be a word of letters, digits and underscores")
        if self.measure == STATES and self.named is not None:
            raise broken("named", self.named, "must not be given with states, which are three variables")
        return self

    @property
    def name(self) -> str:
        """The name of the variable."""
        return self.named or self.measure.rpartition(":")[2].rpartition(".")[2]

    @classmethod
    def of(cls, value: Any) -> Kept:
        """Return an entry as it is, or build the one that a name, a function or a table describes.

        Args:
            value: a `Kept`, a name, a function, or a dictionary of the fields.

        Returns:
            The entry.

        Raises:
            ValueError: `value` is none of these, or breaks a rule.

        """
        if isinstance(value, Kept):
            return value
        if isinstance(value, Mapping):
            return cls.read(value)
        if isinstance(value, str) or callable(value):
            return cls(value)
        raise ValueError(f"Kept({short(value)}): must be the name of a measure, a function, or a table of these keys")

    def thinned(self, run: xr.Dataset) -> xr.Dataset:
        """Return the snapshots on which it is measured.

        Args:
            run: a trajectory.

        Returns:
            The trajectory at these snapshots; at the last one alone, without the dimension `step`.

        """
        if self.every is not None:
            last = run.sizes["step"] - 1
            return run.isel(step=np.unique([*range(0, last, self.every), last]))
        return run if self.at == "all" or self.measure == EVENTS else run.isel(step=-1)


def _name_of(function: Callable[..., Any]) -> str:
    """The name by which a function is found again in another process."""
    name, module = getattr(function, "__qualname__", ""), getattr(function, "__module__", "")
    if module == _modules().get(name):
        return name
    file = getattr(sys.modules.get(module), "__file__", None)
    unseen = module in ("", "__main__") and not (str(file).endswith(".py") and Path(str(file)).is_file())
    if not name.isidentifier() or unseen:  # a function inside another, a method, or one that was typed in
        what = name or type(function).__name__
        example = what if what.isidentifier() else "height"
        raise ValueError(
            f"must be a function that other processes can import, and {what} is not: put it in a file, and name it as "
            f"'mine.py:{example}'"
        )
    of_file = re.fullmatch(r"(.+)_[0-9a-f]{8}", module)
    if module == "__main__" or (of_file is not None and of_file[1] == Path(str(file)).stem):
        return f"{Path(str(file)).resolve()}:{name}"
    return f"{module}:{name}"


@final
class Source(NamedTuple):
    """A measure of a user's file, as it is sent to other processes."""

    path: str
    """The absolute path, where it came from."""
    text: str
    """The code."""
    digest: str
    """Of the file, and of the neighbours that it imports, where it was read."""


@final
class Keeping:
    """What is kept of the runs of a sweep, with the functions that measure it."""

    def __init__(self, entries: Sequence[Any], call: str, sources: Mapping[str, Source] | None = None) -> None:
        """Find the functions.

        Args:
            entries: what is kept.
            call: what errors begin with.
            sources: the files of measures by their paths, where they come from another process.

        Raises:
            ValueError: a measure cannot be found, or two have the same name.

        """
        self._call = call
        if isinstance(entries, str | bytes | Mapping) or not isinstance(entries, Sequence):
            raise ValueError(f"{call}(keep={short(entries)}): keep must be a list of measures")
        if not entries:
            raise ValueError(f"{call}(keep=[]): there must be at least one measure to keep, such as 'loss'")
        self.entries: tuple[Kept, ...] = tuple(self._entry(each) for each in entries)
        self.sources: dict[str, Source] = dict(sources or {})
        self.functions: dict[str, Callable[..., Any]] = {}
        self._digested: dict[str, str] = {}
        for each in self.entries:
            for name, function in self._found(each).items():
                if name in self.functions and not _same(self.functions[name], function):
                    rule = "an entry {measure = …, named = …} has a name of its own"
                    raise ValueError(f"{call}(keep=…): two measures have the name {name}; {rule}")
                self.functions[name] = function
        named_measures(self.functions, call)

    def _entry(self, value: Any) -> Kept:
        try:
            found = Kept.of(value)
        except ValueError as error:
            raise ValueError(f"{self._call}(keep=…): {error}") from None
        where, colon, name = found.measure.rpartition(":")
        if not where.endswith(".py"):
            return found
        # Workers may be in other folders.
        return found.model_copy(update={"measure": f"{Path(where).absolute()}{colon}{name}"})

    def _found(self, entry: Kept) -> dict[str, Callable[..., Any]]:
        measure = entry.measure
        if measure == STATES:
            return {name: functools.partial(_variable, entry, name) for name in _STATES}
        if measure == EVENTS:
            self._digested["tegum.analysis"] = _of_analysis()
            return {entry.name: functools.partial(_events)}
        if measure in _VARIABLES:
            return {entry.name: functools.partial(_variable, entry, measure)}
        return {entry.name: functools.partial(_measured, entry, self._function(measure))}

    def _function(self, measure: str) -> Callable[..., Any]:
        """The function of a measure, whose code is noted."""
        where, colon, name = measure.rpartition(":")
        if not colon:
            module = _modules().get(measure, "")
            if not module:
                near = closest(measure, [*_modules(), *_VARIABLES, STATES, EVENTS])
                hint = f"did you mean {near!r}?" if near else "functions of your own are named as 'mine.py:height'"
                raise ValueError(f"{self._call}(keep=[{measure!r}]): there is no such measure; {hint}")
            self._digested["tegum.analysis"] = _of_analysis()
            return getattr(importlib.import_module(module), measure)
        return self._in_file(where, name, measure) if where.endswith(".py") else self._in_package(where, name, measure)

    def _in_file(self, where: str, name: str, measure: str) -> Callable[..., Any]:
        call = f"{self._call}(keep=[{measure!r}])"
        known = self.sources.get(where)
        if known is None:
            path = Path(where).resolve()
            if found := obstacle(path):
                rule = (
                    "there is no such file" if found == "and there is none" else f"this must be a Python file, {found}"
                )
                raise ValueError(f"{call}: {rule}")
            try:
                text = path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                raise ValueError(f"{call}: the file must be text in UTF-8") from None
        else:
            path, text = Path(known.path), known.text
        module, digest = ran(path, text, call)
        if known is None:
            self.sources[where] = Source(str(path), text, digest)
        self._digested[f"file {path.name} {digest}"] = digest
        return self._attribute(module, name, measure)

    def _in_package(self, where: str, name: str, measure: str) -> Callable[..., Any]:
        if not all(part.isidentifier() for part in where.split(".")):
            rule = "must be a file that ends in .py, or a module as it is imported, before the colon"
            raise ValueError(f"{self._call}(keep=[{measure!r}]): {rule}")
        try:
            module = importlib.import_module(where)
        except ImportError as error:
            raise ValueError(f"{self._call}(keep=[{measure!r}]): {where} cannot be imported ({error})") from None
        found = self._attribute(module, name, measure)
        self._digested[where] = of_module(where)
        return found

    def _attribute(self, module: Any, name: str, measure: str) -> Callable[..., Any]:
        found = getattr(module, name, None)
        if not callable(found):
            known = [each for each in vars(module) if callable(getattr(module, each)) and not each.startswith("_")]
            near = closest(name, known)
            raise ValueError(
                f"{self._call}(keep=[{measure!r}]): there is no function {name} in it"
                + (f"; did you mean {near!r}?" if near else "")
            )
        return found

    @property
    def digest(self) -> str:
        """A digest of what is kept and of the code that measures it."""
        told = [without_folder(each.model_dump(mode="json")) for each in self.entries]
        text = json.dumps([told, sorted(self._digested.items())], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def to_json(self) -> list[Any]:
        """What is kept, in JSON's types."""
        return [each.model_dump(mode="json", exclude_defaults=True) for each in self.entries]


def _same(one: Any, other: Any) -> bool:
    """Whether two functions measure the same: states hold the loss, which may also be asked for by itself."""
    if one.func is not _variable or other.func is not _variable or one.args[1] != other.args[1]:
        return False
    return (one.args[0].at, one.args[0].every) == (other.args[0].at, other.args[0].every)


def without_folder(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An entry in JSON's types, with the name of its file alone: a folder may move, and the code stays the same."""
    where, colon, name = entry["measure"].rpartition(":")
    return {**entry, "measure": f"{Path(where).name}{colon}{name}" if where.endswith(".py") else entry["measure"]}


@functools.cache
def _modules() -> dict[str, str]:
    """The functions of the analysis, by name, with the modules in which they are."""
    # By name: the list of all public names belongs to a layer above.
    public = importlib.import_module("tegum").PUBLIC
    return {
        name: module
        for module, names in public.items()
        if module.startswith(_ANALYSIS)
        for name in names.split()
        if not name[0].isupper()
    }


@functools.cache
def _of_analysis() -> str:
    """A digest of the code of the analysis."""
    return digest_of_code("analysis")


def _variable(entry: Kept, name: str, run: xr.Dataset) -> xr.DataArray:
    if name not in run:
        raise ValueError(f"sweep(keep=[{name!r}]): only flows record it, and these runs are trained otherwise")
    return entry.thinned(run)[name]


def _measured(entry: Kept, function: Callable[..., Any], run: xr.Dataset) -> Any:
    try:
        found = function(argument_of(entry.thinned(run), function))
    except Exception as error:
        error.add_note(f"{MEASURE}{entry.name}")
        raise
    attrs = getattr(found, "attrs", None)
    if attrs and ":" in entry.measure and any(attrs == each.attrs for each in run.data_vars.values()):
        # What xarray has handed on from the weights describes the weights, and not what a user makes of them.
        found = found.drop_attrs(deep=False)
    return found


def _events(run: xr.Dataset) -> list[str]:
    from tegum.analysis.dynamics.happenings import happenings

    return [json.dumps(each, separators=(",", ":")) for each in happenings(run, changed_at(run))]
