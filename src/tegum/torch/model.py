"""The model x̂ = act(W Wᵀ x + b) as a PyTorch module, with a submodule wherever something can be hooked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from tegum.core.description import short
from tegum.core.inputs.arrays import numbers_of
from tegum.core.model import activation_named
from tegum.training.exact_losses import models_of
from tegum.training.spec.spec import Spec
from tegum.training.start import starting_parameters

if TYPE_CHECKING:
    import xarray as xr

_DTYPES = {name: getattr(torch, name) for name in ("float64", "float32", "bfloat16", "float16")}
"""What PyTorch can train in."""


class Embed(nn.Module):
    """h = Wᵀ x, sample by sample: what is embedded of the features. It has no parameters of its own."""

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        """Embed features.

        Args:
            x: shape (..., batch, n).
            weights: W, shape (..., n, m).

        Returns:
            h, shape (..., batch, m).

        """
        return x @ weights


class Unembed(nn.Module):
    """z = W h + b: what is read out of the hidden dimensions. It has no parameters of its own."""

    def forward(self, h: Tensor, weights: Tensor, bias: Tensor) -> Tensor:
        """Read features out.

        Args:
            h: shape (..., batch, m).
            weights: W, shape (..., n, m).
            bias: b, shape (..., n).

        Returns:
            z, shape (..., batch, n).

        """
        return h @ weights.mT + bias.unsqueeze(-2)


class Floor(nn.Module):
    """The activation max(z, floor): the ReLU for 0, and the identity for −∞.

    Its derivative at the floor is 0, and NaN stays NaN, as everywhere in tegum.
    """

    def __init__(self, floor: float) -> None:
        super().__init__()
        self.floor = floor

    def forward(self, z: Tensor) -> Tensor:
        """Apply the activation to each element.

        Args:
            z: shape (...).

        Returns:
            max(z, floor), shape (...).

        """
        return z if self.floor == -np.inf else torch.where(z <= self.floor, self.floor, z)

    def extra_repr(self) -> str:
        """The floor, for the representation of the module.

        Returns:
            The text in its parentheses.

        """
        return f"floor={self.floor:g}"


class ToyModel(nn.Module):
    """The model x̂ = act(W Wᵀ x + b) of one run, or of any number of runs side by side.

    Row i of W is the embedding of feature i: `weights` has the shape (..., features, hidden), where the leading axes
    are runs ("instances" in the notebooks of Anthropic and ARENA, which have features as columns). The parameters are
    `weights` and `bias`, in this order. Four submodules without parameters can be hooked, and what they return is:

        embed       h = Wᵀ x
        hidden      h again, as an `nn.Identity`: hook, read or replace hidden activations here
        unembed     z = W h + b
        activation  x̂ = act(z)

    nnsight finds all four by these names. `hidden` may be replaced by any module that returns what it is given, such as
    TransformerLens's `HookPoint`.

    Args:
        weights: W, shape (..., n, m), finite real numbers in an array, a tensor or lists; copied.
        bias: b, shape (..., n), with the leading axes of `weights`; None is zero.
        activation: the name of the activation, "relu" or "linear".
        dtype: that of the parameters, float64, float32, bfloat16 or float16; None is that of `weights`, and PyTorch's
            default if they are lists or integers.

    Raises:
        ValueError: the shapes do not fit together, a number is not finite, or not in `dtype`, or there is no
            activation of that name.

    Example:
        Two features as an antipodal pair in one dimension: the hidden activation of the second is that of the first
        with the opposite sign, and the ReLU removes the interference.

        >>> import tegum.torch, torch
        >>> model = tegum.torch.ToyModel([[1.0], [-1.0]])
        >>> x = torch.tensor([[0.5, 0.0], [0.0, 0.75]])
        >>> model(x).tolist(), model.embed(x, model.weights).tolist()
        ([[0.5, 0.0], [0.0, 0.75]], [[0.5], [-0.75]])

    """

    weights: nn.Parameter
    """The weights W, shape (..., n, m); a row is a feature's embedding."""
    bias: nn.Parameter
    """The biases b, shape (..., n)."""

    def __init__(
        self, weights: Any, bias: Any = None, activation: str = "relu", *, dtype: torch.dtype | None = None
    ) -> None:
        super().__init__()
        W, b = parameter_arrays("ToyModel({})", weights, bias)
        chosen = _dtype_of(weights) if dtype is None else _known_dtype("ToyModel", dtype)
        self.weights, self.bias = _parameter("weights", W, chosen), _parameter("bias", b, chosen)
        self._name = activation
        self.embed: Embed = Embed()
        self.hidden: nn.Module = nn.Identity()
        self.unembed: Unembed = Unembed()
        self.activation: Floor = Floor(activation_named(f"ToyModel(activation={activation!r})", activation).floor)

    @classmethod
    def from_run(
        cls,
        run: xr.Dataset,
        seed: int | Sequence[int] | None = None,
        step: int | None = None,
        *,
        dtype: torch.dtype | None = None,
    ) -> ToyModel:
        """Take the parameters of a trajectory, or of a part of it, by value.

        Args:
            run: a trajectory as `tg.train` returns it, or a selection from it, such as `tg.best(run)`.
            seed: the number of a run, for a model of one run, or a list of them; None is all that `run` has.
            step: the step of a snapshot; None is the last one, or the one that was selected.
            dtype: that of the parameters; None is that of the trajectory: float32 after sampled training, float64
                after training on the exact loss.

        Returns:
            The model; its leading axes are those dimensions of `run` that come before `feature` and are left: of
            several Specs, and `seed` unless one of them was chosen.

        Raises:
            ValueError: `run` is no trajectory, has no such seed or step, holds different activations, or its
                parameters are not finite there, as of a run that diverged, or not in `dtype`.

        Example:
            >>> import tegum as tg, tegum.torch
            >>> spec = tg.Spec(features=[tg.Independent(3, 0.1)], hidden=2, training=tg.Sampled(steps=5), seeds=4)
            >>> run = tg.train(spec)
            >>> model = tegum.torch.ToyModel.from_run(run, seed=2)
            >>> tuple(model.weights.shape), bool((model.weights.numpy(force=True) == run.weights[2, -1]).all())
            ((3, 2), True)

        """
        if not hasattr(run, "variables"):
            raise ValueError(f"ToyModel.from_run(run={short(run)}): run must be a trajectory, an xarray.Dataset")
        if dtype is not None:
            _known_dtype("ToyModel.from_run", dtype)
        chosen = run
        if step is not None:
            chosen = _by_value(chosen, "step", step)
        elif "step" in run.dims:
            chosen = run.isel(step=-1)
        if seed is not None:
            chosen = _by_value(chosen, "seed", seed)
        models = models_of(chosen, "ToyModel.from_run(run)")
        activations = {each.activation for each in models.specs}
        if len(activations) > 1:
            raise ValueError(
                f"ToyModel.from_run(run with the activations {sorted(activations)}): a model has one; select its Specs"
            )
        shape = models.like.shape[:-1]
        W = models.weights.reshape(*shape, *models.weights.shape[-2:])
        b = models.bias.reshape(*shape, -1)
        if not (np.isfinite(W).all() and np.isfinite(b).all()):
            raise ValueError(
                "ToyModel.from_run(run): weights and biases must be finite, and those of a run are not at this step; "
                "it diverged or was interrupted before: choose other seeds or an earlier step"
            )
        return cls(W, b, activations.pop(), dtype=dtype)

    @classmethod
    def from_spec(cls, spec: Spec) -> ToyModel:
        """Take the parameters with which `tg.train(spec)` would start, bit by bit.

        Args:
            spec: the Spec.

        Returns:
            The model, batched over `spec.seeds` (also if it is 1), in the training's precision.

        Raises:
            ValueError: it is no Spec.

        """
        if not isinstance(spec, Spec):
            raise ValueError(f"ToyModel.from_spec(spec={short(spec)}): spec must be a Spec")
        return cls(*starting_parameters([spec]), spec.activation)

    @property
    def activation_name(self) -> str:
        """The name of the activation, as a Spec has it."""
        return self._name

    @property
    def run_shape(self) -> tuple[int, ...]:
        """The shape of the runs side by side; () for a single one."""
        return tuple(self.bias.shape[:-1])

    def forward(self, x: Tensor) -> Tensor:
        """Reconstruct samples.

        Args:
            x: samples in any precision: shape (batch, n), which all runs see, or (..., batch, n) with the leading
                axes of the runs, for samples of their own. A single run takes any leading axes.

        Returns:
            x̂, shape (..., batch, n), with the leading axes of the runs.

        Raises:
            ValueError: x is no dense tensor of real numbers, or has another shape.

        """
        self._check("ToyModel", x)
        h = self.hidden(self.embed(x.to(self.weights.dtype), self.weights))
        return self.activation(self.unembed(h, self.weights, self.bias))

    def loss(self, x: Tensor, importance: Any = 1.0) -> Tensor:
        """Compute the mean over the batch of Σ_j I_j (x_j − x̂_j)²: a sum over features, as everywhere in tegum.

        It can be compiled as a whole, by `torch.compile(model.loss, fullgraph=True)`. Compiled code cannot look at
        values: there, an importance that is negative or not finite makes the loss NaN.

        Args:
            x: samples, as for the model itself, at least one.
            importance: the weight I of each feature's squared error: one number, or shape (n,), such as
                `features.importance`; an array, a tensor or a list.

        Returns:
            The loss of each run, of the shape of the runs. The sum over them trains every run by itself.

        Raises:
            ValueError: x is none of these samples, or an importance is negative or not finite.

        """
        self._check("ToyModel.loss", x)
        if x.shape[-2] == 0:
            raise ValueError(f"ToyModel.loss(x of shape {tuple(x.shape)}): x must have a batch of at least 1")
        return (self._weight(importance) * (x.to(self.weights.dtype) - self(x)).square()).sum(-1).mean(-1)

    def _check(self, call: str, x: Any) -> None:
        """Refuse samples that are none."""
        if not isinstance(x, Tensor):
            raise ValueError(f"{call}(x={short(x)}): x must be a tensor; torch.as_tensor(x) makes one of an array")
        if x.is_complex() or x.is_quantized or x.layout != torch.strided:
            raise ValueError(f"{call}(x of {x.dtype}, {x.layout}): x must be a dense tensor of real numbers")
        n, runs = self.weights.shape[-2], self.run_shape
        if x.ndim < 2 or x.shape[-1] != n or (runs and tuple(x.shape[:-2]) not in ((), runs)):
            own = f", or ({', '.join(map(str, runs))}, batch, {n})" if runs else ""
            raise ValueError(f"{call}(x of shape {tuple(x.shape)}): x must have the shape (batch, {n}){own}")

    def _weight(self, importance: Any) -> Tensor:
        """Importances as a tensor, shape () or (n,)."""
        n, parameters, given = self.weights.shape[-2], self.weights, importance
        if compiling := torch.compiler.is_compiling():
            weight = torch.as_tensor(given, dtype=parameters.dtype, device=parameters.device)
            if weight.ndim == 0 or tuple(weight.shape) == (n,):
                return torch.where((weight >= 0) & (weight < np.inf), weight, np.nan)
        elif (weight := _real_tensor(given)) is not None and tuple(weight.shape) in ((), (n,)):
            weight = weight.to(parameters)
            if bool(((weight >= 0) & (weight < np.inf)).all()):
                return weight
        text = "…" if compiling else short(given.tolist() if hasattr(given, "tolist") else given)
        raise ValueError(
            f"ToyModel.loss(importance={text}): importance must be a finite number of at least 0, or {n} of them, one "
            "for each feature"
        )

    def extra_repr(self) -> str:
        """Sizes, for the representation of the module.

        Returns:
            The text in its parentheses.

        """
        *runs, n, m = self.weights.shape
        side_by_side = f"{'×'.join(map(str, runs))} runs, " if runs else ""
        return f"{side_by_side}features={n}, hidden={m}, activation={self._name!r}"


def parameter_arrays(call: str, weights: Any, bias: Any) -> tuple[np.ndarray, np.ndarray]:
    """The weights and the bias of a model as arrays of real numbers, of shapes that fit together.

    Args:
        call: what errors begin with, as a template: `{}` stands for what is wrong.
        weights: W, shape (..., n, m), an array of any library.
        bias: b, shape (..., n); None is zero.

    Returns:
        W and b, of any dtype, and with any values.

    Raises:
        ValueError: they are no such arrays.

    """
    W = _real_array(call, "weights", weights, ("feature", "hidden"))
    if W.ndim < 2 or 0 in W.shape:
        rule = "weights must have the shape (..., feature, hidden)"
        raise ValueError(f"{call.format(f'weights of shape {W.shape}')}: {rule}")
    b = np.zeros(W.shape[:-1]) if bias is None else _real_array(call, "bias", bias, ("feature",))
    if b.shape != W.shape[:-1]:
        rule = f"bias must have the shape {W.shape[:-1]}, as weights has {W.shape}"
        raise ValueError(f"{call.format(f'bias of shape {b.shape}')}: {rule}")
    return W, b


def _real_array(call: str, name: str, value: Any, dims: tuple[str, ...]) -> np.ndarray:
    try:
        array = numbers_of(value, dims)
    except ValueError as error:
        raise ValueError(f"{call.format(f'{name}={type(value).__name__}')}: {name} {error}") from None
    if hasattr(array, "tocsr"):
        raise ValueError(f"{call.format(f'{name}={type(value).__name__}')}: {name} must be dense; .to_dense() makes it")
    if array.dtype.kind not in "fiu":
        given = f"{name} of {array.dtype}" if hasattr(value, "dtype") else f"{name}={short(value)}"
        raise ValueError(f"{call.format(given)}: {name} must be an array of real numbers")
    return array


def _real_tensor(value: Any) -> Tensor | None:
    """A tensor, or an array or list as one; None if it is none of real numbers."""
    if isinstance(value, Tensor):
        return None if value.is_complex() or value.is_quantized or value.layout != torch.strided else value
    try:
        array = numbers_of(value)
    except ValueError:
        return None
    plain = isinstance(array, np.ndarray) and array.dtype.kind in "fiub"
    return torch.from_numpy(array.astype(np.float64)) if plain else None


def _known_dtype(call: str, dtype: Any) -> torch.dtype:
    if dtype not in _DTYPES.values():
        known = ", ".join(f"torch.{name}" for name in _DTYPES)
        raise ValueError(f"{call}(dtype={short(dtype)}): dtype must be one that can be trained in: {known}")
    return dtype


def _dtype_of(weights: Any) -> torch.dtype:
    """The dtype in which weights are given, or PyTorch's default where that is none of floating-point numbers."""
    given = getattr(weights, "dtype", None)
    name = getattr(given, "name", str(given).removeprefix("torch."))
    if name in _DTYPES:
        return _DTYPES[name]
    if name.startswith(("float8", "float6", "float4")):
        rule = "a dtype must be given, as PyTorch does not compute in this one: dtype=torch.float32"
        raise ValueError(f"ToyModel(weights of {given}): {rule}")
    # NumPy's extended precision, which PyTorch does not have.
    return torch.float64 if name.startswith(("float", "longdouble")) else torch.get_default_dtype()


def _parameter(name: str, array: np.ndarray, dtype: torch.dtype) -> nn.Parameter:
    wide = array.astype(np.float64)
    if not np.isfinite(wide).all():
        place = tuple(map(int, np.argwhere(~np.isfinite(wide))[0]))
        raise ValueError(f"ToyModel({name} with {wide[place]} at {list(place)}): {name} must be finite")
    tensor = torch.from_numpy(wide).to(dtype)
    if not bool(tensor.isfinite().all()):
        rule = f"{name} must fit into the dtype, which holds numbers up to {torch.finfo(dtype).max:g}"
        raise ValueError(f"ToyModel({name} up to {np.abs(wide).max():g}, dtype={dtype}): {rule}")
    return nn.Parameter(tensor)


def _by_value(run: xr.Dataset, dim: str, value: Any) -> xr.Dataset:
    """The part of a trajectory at these values of a dimension."""
    if dim not in run.dims:
        held = f"is that of {dim} {run[dim].item()}" if dim in run.coords and run[dim].ndim == 0 else f"has no {dim}"
        raise ValueError(f"ToyModel.from_run({dim}={short(value)}): the run {held}; leave {dim} out")
    there = run[dim].values
    try:
        wanted = np.asarray(value)
    except Exception:  # ragged lists, and whatever else makes no array
        wanted = np.zeros(0)
    if not wanted.size or wanted.ndim > 1 or wanted.dtype.kind not in "iu" or not np.isin(wanted, there).all():
        known = ", ".join(map(str, there[:3])) + (f", … {there[-1]}" if len(there) > 3 else "")
        raise ValueError(f"ToyModel.from_run({dim}={short(value)}): the run has the {dim}s {known}")
    return run.sel({dim: wanted.tolist()})
