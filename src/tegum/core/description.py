"""The base of every description (feature sets, Spec): frozen, checked, and refused in one clear sentence."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from inspect import Parameter, Signature, cleandoc
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple, TypeVar, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from tegum.core.reprs import html_table
from tegum.core.words import closest, hint_for, nearest

if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass
else:
    ModelMetaclass = type(BaseModel)

LIMIT = 2**63
"""Whole numbers stay below this, so that every array can hold them."""

Whole = Annotated[int, Field(strict=True, ge=0, lt=LIMIT)]
"""An int of at least 0; NumPy's ints are accepted, bools and floats are not."""
Count = Annotated[int, Field(strict=True, ge=1, lt=LIMIT)]
"""An int of at least 1."""


def _single(value: float) -> float:
    """Refuse what float32, in which training computes, would silently round to zero or infinity."""
    if value != 0 and not 1e-30 <= abs(value) <= 1e30:
        raise ValueError("must lie between 1e-30 and 1e30, as training computes in float32")
    return value


Single: AfterValidator = AfterValidator(_single)
"""A validator: float32 can hold the number, with headroom for computing."""
Positive = Annotated[float, Field(strict=True, gt=0), Single]
"""A finite number above 0; ints and NumPy's numbers are accepted, bools and strings are not."""
NotNegative = Annotated[float, Field(strict=True, ge=0), Single]
"""A finite number of at least 0."""
Fraction = Annotated[float, Field(strict=True, ge=0, lt=1)]
"""A number in [0, 1)."""


Described = TypeVar("Described", bound="Description")
"""In place of Self, which runtime type checkers refuse in a class that is not checked as a whole."""


class _DescriptionMeta(ModelMetaclass):
    # `help` of a description shows its own members and what each field means; of a plain pydantic model it shows pages
    # of what every model has.

    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **options: Any) -> Any:
        made: Any = super().__new__(mcs, name, bases, namespace, **options)
        if fields := getattr(made, "__pydantic_fields__", {}):
            made.__signature__ = _signature(fields, made.positional)
        return made

    def __dir__(cls) -> list[str]:
        own = [owner for owner in cls.__mro__ if isinstance(owner, _DescriptionMeta)]
        names = {name for owner in own for name in vars(owner) if not name.startswith(("_", "model_"))}
        return sorted({*names, *_in_order(cls)})

    @property
    def __doc__(cls) -> str | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The docstring and a line for each field, read from the source only when asked for."""
        text = cleandoc(vars(cls).get("__doc__") or "")
        fields = [_field_line(cls, name) for name in _in_order(cls)]
        return "\n\n".join(part for part in (text, "\n".join(["Fields:", *fields]) if fields else "") if part)


class Description(BaseModel, metaclass=_DescriptionMeta):
    """A frozen, hashable pydantic model whose errors are single sentences.

    A validator raises `ValueError("must …")` for the field it checks, or `broken(key, value, "must …")` if it checks
    several.

    Raises:
        ValueError: quoting the call, the value and the rule, and for an unknown key the nearest known one. If the
            value stood in a nested dictionary the key is dotted: `Spec(training.steps=-5): training.steps must be
            …`.

    """

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True
    )

    positional: ClassVar[tuple[str, ...]] = ()
    """The fields that may be given without their names, in this order."""
    unnamed: ClassVar[str | None] = None
    """The one field whose name dotted keys leave out: the description is written as a list in files."""

    def __init__(self, /, *args: Any, **values: Any) -> None:
        name = type(self).__name__
        if len(args) > len(self.positional):
            some = f"at most {len(self.positional)} values may be given without a name"
            known = ", ".join(self.positional)
            rule = f"{some} ({known})" if known else "values must be given by name"
            raise ValueError(f"{name}({', '.join(map(short, args))}): {rule}")
        given = dict(zip(self.positional, args, strict=False))
        if twice := sorted(given.keys() & values.keys()):
            raise ValueError(f"{name}({twice[0]}={short(values[twice[0]])}): {twice[0]} is given twice")
        values = {key: plain(value) for key, value in (given | values).items()}
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise _error(_refusal(type(self), error)) from None

    if TYPE_CHECKING:

        def __hash__(self) -> int: ...  # pydantic makes it, from the fields

    def __eq__(self, other: object) -> bool:
        # By fields alone: pydantic would compare what properties have kept as well, arrays among it.
        if not isinstance(other, Description):
            return NotImplemented
        if self is other:
            return True
        fields = type(self).model_fields
        return type(self) is type(other) and all(getattr(self, key) == getattr(other, key) for key in fields)

    @classmethod
    def read(cls: type[Described], values: Mapping[Any, Any]) -> Described:
        """Build a description from a dictionary, such as one read from TOML or JSON.

        Args:
            values: the fields by their names.

        Returns:
            The description.

        Raises:
            ValueError: a key is unknown or a value breaks its rule.

        """
        return cls(**{str(key): value for key, value in values.items()})

    @classmethod
    def inner_keys(cls) -> Iterable[str]:
        """The keys that may follow this description's own in a dotted key, for suggestions after a misspelt one.

        Returns:
            The names of the fields.

        """
        return cls.model_fields

    @classmethod
    def meanings(cls) -> dict[str, str]:
        """What each field means: the text under it in its class, for help and labels.

        It is read from the source when asked for, because pydantic's own way of doing so slows every import; a field
        has no meaning if there is no source.

        Returns:
            The meanings by the names of the fields.

        """
        found: dict[str, str] = {}
        for owner in reversed(cls.__mro__):
            if issubclass(owner, Description):
                found |= _attribute_docstrings(owner)
        return {name: found[name] for name in cls.model_fields if name in found}

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        # Only what differs from the default: the repr is short, and still Python that builds an equal description.
        for name in _in_order(type(self)):
            field = type(self).model_fields[name]
            if field.is_required() or getattr(self, name) != field.default:
                yield name, getattr(self, name)

    def __str__(self) -> str:
        return repr(self)

    def _repr_html_(self) -> str:
        return html_table(type(self).__name__, [(str(name), _in_table(value)) for name, value in self.__repr_args__()])

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{type(self).__name__}.{name} = {short(value)}: a description is frozen; use replace()")

    def replace(self: Described, **changes: Any) -> Described:
        """Make a copy with some fields changed, checked again (pydantic's own `model_copy` does not check).

        Args:
            changes: the new values, by the names of the fields.

        Returns:
            The changed copy; this description stays as it is.

        Raises:
            ValueError: a key is unknown or a value breaks its rule.

        """
        return type(self)(**({name: getattr(self, name) for name in self.model_fields_set} | changes))


class Refusal(NamedTuple):
    """Which value broke which rule, in parts, so that an outer description can report it with the whole key."""

    owner: str
    """The class that was called."""
    path: tuple[str, ...]
    """The parts of the dotted key."""
    outer: tuple[str, ...]
    """The parts of the key as an outer description appends them to its own key."""
    given: str | None
    """The value as text; None if it is missing."""
    rule: str
    """What the value must be; empty where the key is unknown."""
    near: tuple[str, ...] = ()
    """For an unknown key: the nearest known one, or all of them."""
    hint: str = ""
    """For an unknown key: how to convert its value to that of the nearest known key."""

    def __str__(self) -> str:
        key = ".".join(self.path)
        if not self.owner:
            return f"{key} {self.rule}"
        call = f"{self.owner}({key}={self.given})" if key and self.given is not None else f"{self.owner}()"
        if self.rule:
            return f"{call}: {key} {self.rule}" if key else f"{call}: {self.rule}"
        if len(self.near) == 1:
            near = f"{self.hint}did you mean {'.'.join((*self.path[:-1], self.near[0]))!r}?"
        else:
            near = f"known are {', '.join(self.near)}"
        return f"{call}: there is no key {key!r}; {near}"


def broken(key: str | tuple[str, ...], value: Any, rule: str, *, missing: bool = False) -> ValueError:
    """The error that a validator raises when the value of one key breaks a rule ("must …") with others."""
    path = (key,) if isinstance(key, str) else key
    return _error(Refusal("", path, path, None if missing else short(value), rule))


@contextmanager
def at(*path: str | int) -> Iterator[None]:
    """Prefix `path` to the key that an inner description refuses, where a validator builds one."""
    try:
        yield
    except ValueError as error:
        inner = _refusal_of(error)
        if inner is None:
            raise
        outer = (*map(str, path), *inner.outer)
        raise _error(inner._replace(path=outer, outer=outer)) from None


def of_kind(kinds: Mapping[str, type[Described]], values: Mapping[Any, Any], default: str | None = None) -> Described:
    """Build the description that a dictionary holds, of the kind that its key `kind` names.

    Raises:
        ValueError: the kind is unknown, or missing without a default, or refuses a value.

    """
    kind = values.get("kind", default)
    if not isinstance(kind, str) or kind not in kinds:
        if kind is None:
            raise broken("kind", None, f"must be given; known are {', '.join(sorted(kinds))}", missing=True)
        raise broken("kind", kind, f"must be a known kind; {nearest(str(kind), kinds)}")
    return kinds[kind].read({key: value for key, value in values.items() if key != "kind"})


def one_of(names: Iterable[str]) -> str:
    """Names as a choice: 'a', 'b' or 'c'."""
    *most, last = map(repr, names)
    return f"{', '.join(most)} or {last}" if most else last


def chosen(value: Any, names: Iterable[str]) -> str:
    """Return the value if it is one of the names, for a field whose choices stand in a table.

    Raises:
        ValueError: it is none of them; the message is the rule that a description reports.

    """
    if not isinstance(value, str) or value not in (names := list(names)):
        raise ValueError(f"must be {one_of(names)}")
    return value


def short(value: Any, limit: int = 120) -> str:
    """A value as text on one line and of bounded length, to quote it in a sentence."""
    try:
        if getattr(value, "ndim", 0) and hasattr(value, "shape"):
            return f"array of shape {tuple(value.shape)}"
        if isinstance(value, int) and value.bit_length() > limit:
            return f"int of {value.bit_length()} bits"
        if hasattr(value, "data_vars"):
            return type(value).__name__
        text = " ".join(repr(value).split())
    except Exception:  # Python prints no int of several thousand digits, and a broken object may not print at all.
        text = f"<{type(value).__name__}>"
    return text if len(text) <= limit else f"{text[:limit]}…"


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """A nested JSON-able value as {dotted path: leaf}; tables in a list are numbered from 0, other lists are leaves."""
    if isinstance(value, Mapping):
        items: Iterable[tuple[Any, Any]] = value.items()
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        items = enumerate(value)
    else:
        return {prefix: value}
    leaves: dict[str, Any] = {}
    for key, item in items:
        leaves |= flatten(item, f"{prefix}.{key}" if prefix else str(key))
    return leaves


def plain(value: Any) -> Any:
    """NumPy's scalars (and JAX's) as Python's, so that descriptions stay hashable and JSON-able."""
    return value.item() if getattr(value, "ndim", None) == 0 and hasattr(value, "item") else value


def _in_table(value: Any) -> str:
    return value if isinstance(value, str) else " ".join(repr(value).split())


def _in_order(description: Any) -> list[str]:
    """The names of the fields, first those that may be given without their names, in that order."""
    fields = description.__pydantic_fields__
    return list(dict.fromkeys([*(name for name in description.positional if name in fields), *fields]))


def _signature(fields: Mapping[str, FieldInfo], positional: tuple[str, ...]) -> Signature:
    """The signature of a description, with names and defaults; the docstring says which values are allowed."""
    named = [name for name in fields if name not in positional]
    return Signature(
        [
            Parameter(
                name,
                Parameter.KEYWORD_ONLY if name in named else Parameter.POSITIONAL_OR_KEYWORD,
                default=None if name not in fields else _default(fields[name]),
            )
            for name in (*positional, *named)
        ]
    )


def _default(field: FieldInfo) -> Any:
    return Parameter.empty if field.is_required() else field.default


def _field_line(owner: Any, name: str) -> str:
    """One field for `help`: its meaning, the values allowed, and its default."""
    field = owner.model_fields[name]
    words = owner.meanings().get(name, "").rstrip(".")
    if get_origin(field.annotation) is Literal:
        rule = " or ".join(repr(option) for option in get_args(field.annotation))
    elif len([member for member in get_args(field.annotation) if member is not NoneType]) > 1:
        rule = ""
    else:
        rule = (_rule(field, None) or "").removeprefix("must be ")
    default = "required" if field.is_required() else f"default {short(field.default, 60)}"
    text = "; ".join(part for part in (words, rule, default) if part)
    return textwrap.fill(f"{name}: {text}.", 100, initial_indent="    ", subsequent_indent="        ")


def _attribute_docstrings(owner: type) -> dict[str, str]:
    import ast
    import inspect
    import itertools

    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(owner)))
    except (OSError, TypeError, SyntaxError):
        return {}
    found = {}
    for field, text in itertools.pairwise(getattr(tree.body[0], "body", [])):
        match field, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(words))):
                found[name] = " ".join(words.split())
    return found


def _error(refusal: Refusal) -> ValueError:
    # A plain ValueError to callers. The attribute survives pickling, and only outer descriptions read it.
    error = ValueError(str(refusal))
    vars(error)["refusal"] = refusal
    return error


def _refusal_of(error: BaseException) -> Refusal | None:
    return vars(error).get("refusal")


def _refusal(model: type[Description], error: ValidationError) -> Refusal:
    """The first failure of a pydantic validation."""
    failures = error.errors(include_url=False)
    # A misspelt key also leaves one missing: report the one that the user wrote.
    first = next((failure for failure in failures if failure["type"] == "extra_forbidden"), failures[0])
    path = tuple(map(str, first["loc"]))
    given: str | None = short(first["input"])
    near: tuple[str, ...] = ()
    hint = ""
    match first["type"]:
        case "extra_forbidden":
            rule, near, hint = "", _near(model, path[-1]), hint_for(path[-1], first["input"])
        case "missing":
            given, rule = None, "must be given"
        case "value_error":
            cause = first.get("ctx", {})["error"]
            rule = str(cause)
            if inner := _refusal_of(cause):
                path, given, rule, near, hint = path + inner.outer, inner.given, inner.rule, inner.near, inner.hint
        case "literal_error":
            rule = f"must be {first.get('ctx', {})['expected']}"
        case _:
            field = model.model_fields.get(path[0]) if path else None
            rule = _rule(field, first["input"]) if field else None
            rule = rule or str(first["msg"]).replace("Input should", "must")
    outer = path[1:] if path and path[0] == model.unnamed else path
    return Refusal(model.__name__, path, outer, given, rule, near, hint)


def short_keys(model: type[Description]) -> dict[str, str]:
    """The dotted key for each word that names a field, or an inner field of one: "steps" stands for "training.steps".

    A word that several fields know stands for the first of them.
    """
    keys: dict[str, str] = {}
    for name, field in model.model_fields.items():
        for inner in _inner(field):
            keys.setdefault(inner, f"{name}.{inner}")
    return keys | {name: name for name in model.model_fields}


def _near(model: type[Description], word: str) -> tuple[str, ...]:
    """The known key nearest to an unknown one, perhaps an inner key ("training.steps"), or all known keys."""
    keys = short_keys(model)
    close = closest(word, keys)
    return (keys[close],) if close else tuple(sorted(model.model_fields))


def _inner(field: FieldInfo) -> Iterable[str]:
    # A default says more than an abstract annotation.
    for candidate in (type(field.default), field.annotation, *get_args(field.annotation)):
        if isinstance(candidate, type) and issubclass(candidate, Description):
            return candidate.inner_keys()
    return ()


def _rule(field: FieldInfo, value: Any) -> str | None:
    """The rule for a number, from the bounds of the field; None for a field of any other type."""
    annotation, metadata, end = field.annotation, list(field.metadata), ""
    if get_origin(annotation) in (Union, UnionType):
        members = [member for member in get_args(annotation) if member is not NoneType]
        end = ", or None" if len(members) < len(get_args(annotation)) else ""
        annotation = members[0]
    if get_origin(annotation) is Annotated:
        annotation, *extra = get_args(annotation)
        metadata += [part for item in extra for part in getattr(item, "metadata", [item])]
    names = ("ge", "gt", "lt")
    bounds = {name: getattr(part, name) for part in metadata for name in names if hasattr(part, name)}
    if annotation is int:
        if bounds.get("lt") == LIMIT and isinstance(value, int) and value >= LIMIT:
            return f"must be an int below 2**63{end}"
        return f"must be an int of at least {bounds['ge']}{end}" if "ge" in bounds else f"must be an int{end}"
    if annotation is not float:
        return None
    match bounds:
        case {"ge": low, "lt": high}:
            return f"must be a number in [{low}, {high}){end}"
        case {"ge": low}:
            return f"must be a finite number of at least {low}{end}"
        case {"gt": low}:
            return f"must be a finite number above {low}{end}"
        case _:
            return f"must be a finite number{end}"
