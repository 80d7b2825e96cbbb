"""How weights are trained: one class for each kind of training, as a Spec holds it."""

from __future__ import annotations

import abc
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, assert_never

import numpy as np
from jaxtyping import Float, Float64
from pydantic import field_validator, model_serializer, model_validator

from tegum.core.description import (
    Count,
    Description,
    Fraction,
    NotNegative,
    Positive,
    Whole,
    broken,
    chosen,
    of_kind,
    one_of,
    plain,
    short,
)
from tegum.core.limits import check_memory
from tegum.training.spec.optimisers import OPTIMISERS, Optimiser, Rule

if TYPE_CHECKING:
    from tegum.training.spec.optimisers import ExactOptimiser, SampledOptimiser
    from tegum.training.state import TrainingState


class Training(Description, abc.ABC):
    """The base of all ways of training. A new one is a class with a `kind` of its own, by which files name it.

    Raises:
        ValueError: a field breaks its rule; the sentence names it.

    Example:
        >>> import tegum as tg
        >>> tg.Training.of({"kind": "exact", "steps": 500}) == tg.Exact(steps=500)
        True

    """

    kinds: ClassVar[dict[str, type[Training]]] = {}
    """Every concrete way of training, by the name that files use for it; filled as classes are defined."""
    kind: ClassVar[str]
    shared: ClassVar[tuple[str, ...]] = ("steps",)
    """The fields in which Specs trained in one call must agree."""
    default_kind: ClassVar[str] = "sampled"
    """The kind of a table that does not name one."""
    dtype: ClassVar[str] = "float64"
    """The dtype of the weights and biases that are trained and recorded."""
    converges: ClassVar[bool] = False
    """Whether a run may end before the last step, by a tolerance."""

    steps: Whole
    """The number of steps, at most."""

    def __init_subclass__(cls, kind: str | None = None, **options: Any) -> None:
        super().__init_subclass__(**options)
        if kind is not None:
            cls.kind = kind
            Training.kinds[kind] = cls

    @classmethod
    def of(cls, value: Any) -> Training:
        """Return a way of training as it is, or build the one that a dictionary describes.

        Args:
            value: a `Training`, or a dictionary of its fields with its `kind`, "sampled" by default.

        Returns:
            The way of training.

        Raises:
            ValueError: `value` is neither, or describes no way of training.

        """
        if isinstance(value, Training):
            return value
        if not isinstance(value, Mapping):
            raise ValueError("must be a description such as Sampled(), or a table of its keys")
        return of_kind(Training.kinds, value, cls.default_kind)

    @classmethod
    def inner_keys(cls) -> Iterable[str]:
        """The kind, this kind's fields, and those of the others, for suggestions after a misspelt key."""
        others = (name for kind in Training.kinds.values() for name in kind.model_fields)
        return dict.fromkeys(("kind", *cls.model_fields, *others))

    def time(self, step: Any) -> Float64[np.ndarray, "*shape"] | None:  # noqa: ARG002 (a flow needs it)
        """The time at each of some steps, for training that proceeds in time.

        Args:
            step: one step, or an array of steps.

        Returns:
            Times as float64, of the shape of `step`; None for any training but a flow.

        """
        return None

    @property
    def ends_early(self) -> bool:
        """Whether runs may end before the last step, as with training to convergence."""
        return False

    @property
    def samples_evaluated(self) -> int | None:
        """The number of samples over which the loss of a snapshot is a mean; None if it is the exact loss."""
        return None

    def gradient_error(self, state: TrainingState) -> Float64[np.ndarray, " run"] | None:  # noqa: ARG002 (as above)
        """The largest error of the gradient that each run has met, for training that records it.

        Args:
            state: the state of all runs.

        Returns:
            Errors, shape (run,); None for any training but a flow.

        """
        return None

    @model_serializer(mode="wrap")
    def _with_kind(self, fields: Any) -> dict[str, Any]:
        return {"kind": self.kind, **fields(self)}


class Descent(Training):
    """Training by an optimiser whose steps have a learning rate, the common base of `Sampled` and `Exact`."""

    steps: Whole = 10_000
    """The number of steps."""
    optimiser: Any
    """The optimiser, one of those that `OPTIMISERS` has for the kind of training."""
    rate: Positive = 1e-3
    """The learning rate, before `schedule` and `warmup`."""
    schedule: Literal["constant", "cosine", "linear"] = "constant"
    """The learning rate after the warm-up: constant, or decaying to zero over the remaining steps."""
    warmup: Whole = 0
    """The number of steps over which the rate first grows linearly."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Adam's decay rates of the mean gradient and of the mean squared gradient."""
    eps: Positive = 1e-8
    """Adam's term in the denominator."""
    weight_decay: NotNegative | None = None
    """The weight decay: decoupled with Adam, added to the gradient with plain descent (as PyTorch does); None is the
    optimiser's default, as `decay` gives it."""
    momentum: Fraction = 0.0
    """The momentum of plain descent, without dampening."""

    @field_validator("optimiser", mode="before")
    @classmethod
    def _optimiser_is_known(cls, value: Any) -> str:
        return chosen(value, OPTIMISERS[cls.kind])

    @field_validator("betas", mode="before")
    @classmethod
    def _betas_are_two_fractions(cls, value: Any) -> tuple[float, float]:
        value = value.tolist() if hasattr(value, "tolist") else value
        numbers = [plain(number) for number in value] if isinstance(value, list | tuple) else []
        if len(numbers) != 2 or not all(_is_fraction(number) for number in numbers):
            raise ValueError("must be two numbers in [0, 1)")
        return float(numbers[0]), float(numbers[1])

    @model_validator(mode="after")
    def _options_fit(self) -> Descent:
        optimisers = OPTIMISERS[self.kind].values()
        for name in dict.fromkeys(option for each in optimisers for option in each.options):
            owners = [each.name for each in optimisers if name in each.options]
            value, default = getattr(self, name), type(self).model_fields[name].default
            if value != default and self.optimiser not in owners:
                have = f"{' and '.join(map(repr, owners))} {'has' if len(owners) == 1 else 'have'} it"
                raise broken(name, value, f"must stay {default} with the optimiser {self.optimiser!r}: only {have}")
        if self.warmup > self.steps:
            raise broken("warmup", self.warmup, f"must be at most steps, which is {self.steps}")
        return self

    @property
    def rule(self) -> Rule:
        """The update rule of the optimiser's steps."""
        return self._optimiser.rule

    @property
    def memory(self) -> int:
        """The numbers that the optimiser keeps per parameter."""
        return self._optimiser.memory

    @property
    def averaging(self) -> tuple[float, float]:
        """The fractions that carry over between steps: of the mean gradient, or momentum, and of the mean square."""
        match rule := self.rule:
            case "adam":
                return self.betas
            case "momentum":
                return self.momentum, 0.0
            case "lbfgs":
                return 0.0, 0.0
            case _:
                assert_never(rule)

    @property
    def _optimiser(self) -> Optimiser:
        return OPTIMISERS[self.kind][self.optimiser]

    @property
    def decay(self) -> float:
        """The weight decay in force: as given, or the optimiser's default, 0.01 for AdamW and 0 for all others.

        It is multiplied by the learning rate in force, including schedule and warm-up.
        """
        return self._optimiser.decay if self.weight_decay is None else self.weight_decay

    def rates(self, start: int, stop: int) -> Float[np.ndarray, " step"]:
        """The factors that multiply `rate` in the steps start, …, stop − 1, counted from 0.

        The first of w steps of warm-up has the factor 1/w and the last one 1. After the warm-up, with t the share of
        the remaining steps that is done, the factor is 1 (constant), 1 − t (linear) or (1 + cos πt)/2 (cosine;
        Loshchilov & Hutter 2017): it would reach zero in the step after the last.

        Args:
            start: the first step.
            stop: one after the last step.

        Returns:
            Factors as float64, shape (stop − start,). A part is bit-identical to the same part of the whole.

        Raises:
            ValueError: not 0 ≤ start ≤ stop ≤ steps.

        """
        if not 0 <= start <= stop <= self.steps:
            raise ValueError(
                f"rates(start={short(start)}, stop={short(stop)}): "
                f"must be 0 ≤ start ≤ stop ≤ steps, which is {self.steps}"
            )
        check_memory(
            f"rates(start={start}, stop={stop})", "the rates", 48 * (stop - start), "fewer steps at a time fit"
        )
        done = np.arange(start, stop, dtype=np.float64) - self.warmup
        share = np.maximum(done, 0) / max(self.steps - self.warmup, 1)
        match self.schedule:
            case "constant":
                factor = np.ones_like(share)
            case "linear":
                factor = 1 - share
            case "cosine":
                # Not np.cos, which may round by position in the array.
                factor = (1 + np.array([math.cos(math.pi * t) for t in share.tolist()])) / 2
            case _:
                assert_never(self.schedule)
        if self.warmup:
            factor = np.where(done < 0, (done + self.warmup + 1) / self.warmup, factor)
        return factor


class Sampled(Descent, kind="sampled"):
    """Train on mini-batches of fresh samples, one per step, with AdamW (Loshchilov & Hutter 2019) or SGD.

    Raises:
        ValueError: a field breaks its rule; the sentence names it.

    Example:
        >>> import tegum as tg
        >>> training = tg.Sampled(steps=4, schedule="linear")
        >>> training.rates(0, 4).tolist(), training.decay, training.samples_evaluated
        ([1.0, 0.75, 0.5, 0.25], 0.01, 4096)

    """

    shared: ClassVar[tuple[str, ...]] = ("steps", "optimiser", "batch", "evaluation")
    dtype: ClassVar[str] = "float32"

    optimiser: str = "adamw"
    """The optimiser: "adamw", or "sgd" for stochastic gradient descent."""
    batch: Count = 1024
    """The number of samples in a mini-batch."""
    evaluation: Count = 4096
    """The number of samples on which the loss of a snapshot is computed; they are the same for every snapshot and for
    all runs of a base seed. Whole batches are drawn, so that it is rounded up to a multiple of `batch`."""

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            steps: int = 10_000,
            optimiser: SampledOptimiser = "adamw",
            rate: float = 1e-3,
            schedule: Literal["constant", "cosine", "linear"] = "constant",
            warmup: int = 0,
            betas: Sequence[float] = (0.9, 0.999),
            eps: float = 1e-8,
            weight_decay: float | None = None,
            momentum: float = 0.0,
            batch: int = 1024,
            evaluation: int = 4096,
        ) -> None: ...

    @property
    def samples_evaluated(self) -> int:
        """The number of samples over which the loss of a snapshot is a mean: whole batches, at least `evaluation`."""
        return -(-self.evaluation // self.batch) * self.batch

    def noiseless(self, accuracy: float = 1e-8) -> Exact:
        """Return the noiseless twin: the same optimiser, rate, schedule and decay on the exact gradient.

        Args:
            accuracy: the largest error of the loss and of its gradient, as in `Exact`.

        Returns:
            The twin, an `Exact` with Adam or gradient descent.

        Raises:
            ValueError: exact training has no such optimiser.

        """
        if (twin := self._optimiser.twin) is None:
            have = one_of(name for name, each in OPTIMISERS[self.kind].items() if each.twin)
            raise ValueError(f"Sampled(optimiser={self.optimiser!r}).noiseless(): optimiser must be {have} for a twin")
        return Exact(
            steps=self.steps,
            optimiser=twin,  # pyright: ignore[reportArgumentType]
            rate=self.rate,
            schedule=self.schedule,
            warmup=self.warmup,
            betas=self.betas,
            eps=self.eps,
            weight_decay=self.decay,
            momentum=self.momentum,
            accuracy=accuracy,
        )


class Exact(Descent, kind="exact"):
    """Train on the exact loss of the whole population, without sampling noise, in float64.

    The loss is `population_loss`. By default, L-BFGS takes each run to convergence.

    If the features are one `Empirical` set, every step goes through all of its rows, and `accuracy` plays no role. That
    loss has kinks: an output that begins to be positive in a row changes the slope at once. None of them is a minimum.
    A run that makes no more progress, at kinks or because its gradient is as small as rounding allows, stays where it
    is and is not called converged.

    Raises:
        ValueError: a field breaks its rule; the sentence names it.

    Example:
        >>> import tegum as tg
        >>> tg.Exact().ends_early, tg.Sampled(rate=0.01).noiseless().optimiser
        (True, 'adam')

    """

    shared: ClassVar[tuple[str, ...]] = ("steps", "optimiser", "accuracy", "gradient_tolerance")
    converges: ClassVar[bool] = True

    steps: Whole = 10_000
    """The number of steps, at most; a run of L-BFGS stops where it has converged."""
    optimiser: str = "lbfgs"
    """The optimiser: "lbfgs", which takes each run to convergence, or the noiseless twins of AdamW and SGD: "adam",
    with decoupled weight decay, and "gd", gradient descent with momentum."""
    gradient_tolerance: Positive = 1e-9
    """The norm of the gradient over all parameters of a run at which L-BFGS has converged."""
    accuracy: Positive = 1e-8
    """The largest error of the loss, and of the entries of its gradient, for which the number of frequencies is chosen.
    """

    @property
    def ends_early(self) -> bool:
        """Whether runs end at convergence, as they do with L-BFGS."""
        match rule := self.rule:
            case "lbfgs":
                return True
            case "adam" | "momentum":
                return False
            case _:
                assert_never(rule)

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            steps: int = 10_000,
            optimiser: ExactOptimiser = "lbfgs",
            rate: float = 1e-3,
            schedule: Literal["constant", "cosine", "linear"] = "constant",
            warmup: int = 0,
            betas: Sequence[float] = (0.9, 0.999),
            eps: float = 1e-8,
            weight_decay: float | None = None,
            momentum: float = 0.0,
            gradient_tolerance: float = 1e-9,
            accuracy: float = 1e-8,
        ) -> None: ...


_MOST_STEPS = 2**53
"""The most steps of a flow: float64 represents every whole number up to this."""


class Flow(Training, kind="flow"):
    """Train by gradient flow of the exact loss, dW/dt = −∂L/∂W and db/dt = −∂L/∂b, in float64.

    A step of SGD at rate r takes the time r, so that the flow is the limit of SGD at small rates. Snapshots of a
    flow have a time as well as a step.

    If the features are one `Empirical` set, the gradient is exact whatever `accuracy` is, and each evaluation goes
    through all of its rows. It jumps where an output begins to be positive in a row, so that steps are short there.
    An implicit step needs the gradient at two models for each parameter, which for many rows and parameters takes
    long; "explicit" does without.

    Raises:
        ValueError: a field breaks its rule; the sentence names it.

    Example:
        >>> import tegum as tg
        >>> float(tg.Flow(steps=10, duration=500.0).time(3))
        150.0

    """

    shared: ClassVar[tuple[str, ...]] = ("steps", "duration", "solver", "rtol", "atol", "accuracy")

    steps: Whole = 1_000
    """The number of equal intervals into which the duration is divided, and in which snapshots are counted; inside them
    the solver chooses steps of its own."""
    duration: Positive = 10_000.0
    """The time at the end of the flow."""
    solver: Literal["implicit", "explicit"] = "implicit"
    """Whether steps may be implicit where the flow is stiff, as on long plateaus; elsewhere both solvers take explicit
    steps, which are cheaper."""
    rtol: Positive = 1e-6
    """The tolerated error of a solver's step, relative to the root mean square of the weights, or of the biases."""
    atol: Positive = 1e-9
    """The tolerated error of a solver's step, however small the parameters."""
    accuracy: Positive = 1e-7
    """The largest error of the gradient's entries, for which the number of frequencies is chosen: the flow is that of a
    loss whose slopes are off by this much. At most 4,096 frequencies are used; where these do not suffice, as near a
    kink of the loss, the flow continues with them and the trajectory's `gradient_error` exceeds this. It may also do
    so, up to ten times, where the error grows between two snapshots."""

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            steps: int = 1_000,
            duration: float = 10_000.0,
            solver: Literal["implicit", "explicit"] = "implicit",
            rtol: float = 1e-6,
            atol: float = 1e-9,
            accuracy: float = 1e-7,
        ) -> None: ...

    @field_validator("steps")
    @classmethod
    def _steps_are_distinct(cls, value: int) -> int:
        if value > _MOST_STEPS:
            raise ValueError(f"must be at most {_MOST_STEPS:,}, as float64 cannot distinguish the times of more steps")
        return value

    def time(self, step: Any) -> Float64[np.ndarray, "*shape"]:
        """The time at each of some steps, as float64 of their shape; at the last one exactly `duration`."""
        return np.asarray(self.duration * (np.asarray(step, np.float64) / max(self.steps, 1)))

    def gradient_error(self, state: TrainingState) -> Float64[np.ndarray, " run"]:
        """The largest error of the gradient's entries that each run has met, as estimated at both ends of each leg."""
        return state.second[:, 2]


def _is_fraction(number: Any) -> bool:
    return isinstance(number, int | float) and not isinstance(number, bool) and 0 <= number < 1


def known_rule(training: Descent, engine: str, rules: Collection[Rule]) -> Rule:
    """The update rule of a training, if it is among those that an engine implements.

    Raises:
        ValueError: the engine does not implement it.

    """
    if (rule := training.rule) in rules:
        return rule
    others = [each.name for each in OPTIMISERS[training.kind].values() if each.rule in rules]
    raise ValueError(
        f"{type(training).__name__}(optimiser={training.optimiser!r}): optimiser must be {one_of(others)}, as engine "
        f"{engine!r} does not implement the rule {rule!r}"
    )
