"""The model x̂ = act(W Wᵀ x + b) as a PyTorch module, with a submodule wherever something can be hooked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from tegum.core.description import short
from tegum.core.inputs.arrays import array_of
from tegum.core.model import activation_named
from tegum.training.exact_losses import models_of
from tegum.training.start import starting_parameters

if TYPE_CHECKING:
    import xarray as xr

    from tegum.training.spec.spec import Spec


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
        weights: W, shape (..., n, m), an array or a tensor; copied.
        bias: b, shape (..., n), with the leading axes of `weights`; None is zero.
        activation: the name of the activation, "relu" or "linear".
        dtype: that of the parameters; None is that of `weights`, and PyTorch's default if they are lists or integers.

    Raises:
        ValueError: the shapes do not fit together, the numbers are not real, or there is no activation of that name.

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
        W = array_of("ToyModel", "weights", weights)
        if W.ndim < 2 or 0 in W.shape:
            raise ValueError(
                f"ToyModel(weights of shape {W.shape}): weights must have the shape (..., feature, hidden)"
            )
        b = np.zeros(W.shape[:-1], W.dtype) if bias is None else array_of("ToyModel", "bias", bias)
        if b.shape != W.shape[:-1]:
            raise ValueError(
                f"ToyModel(bias of shape {b.shape}): bias must have the shape {W.shape[:-1]}, as weights has {W.shape}"
            )
        if dtype is None and (W.dtype.kind != "f" or not hasattr(weights, "dtype")):
            dtype = torch.get_default_dtype()
        self.weights = nn.Parameter(_parameter("weights", W, dtype))
        self.bias = nn.Parameter(_parameter("bias", b, dtype or self.weights.dtype))
        self._name = activation
        self.embed = Embed()
        self.hidden: nn.Module = nn.Identity()
        self.unembed = Unembed()
        self.activation = Floor(activation_named(f"ToyModel(activation={activation!r})", activation).floor)

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
                parameters are not finite there, as of a run that diverged.

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

        """
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
            ValueError: x has another shape.

        """
        n, runs = self.weights.shape[-2], self.run_shape
        if x.ndim < 2 or x.shape[-1] != n or (runs and tuple(x.shape[:-2]) not in ((), runs)):
            own = f", or ({', '.join(map(str, runs))}, batch, {n})" if runs else ""
            raise ValueError(f"ToyModel(x of shape {tuple(x.shape)}): x must have the shape (batch, {n}){own}")
        h = self.hidden(self.embed(x.to(self.weights.dtype), self.weights))
        return self.activation(self.unembed(h, self.weights, self.bias))

    def loss(self, x: Tensor, importance: Any = 1.0) -> Tensor:
        """Compute the mean over the batch of Σ_j I_j (x_j − x̂_j)²: a sum over features, as everywhere in tegum.

        Args:
            x: samples, as for the model itself.
            importance: the weight I of each feature's squared error: one number, or shape (n,), such as
                `features.importance`.

        Returns:
            The loss of each run, of the shape of the runs. The sum over them trains every run by itself.

        Raises:
            ValueError: x has another shape, or an importance is negative or not finite.

        """
        weight = torch.as_tensor(importance, dtype=self.weights.dtype, device=self.weights.device)
        n = self.weights.shape[-2]
        if weight.shape not in ((), (n,)) or not bool(((weight >= 0) & (weight < np.inf)).all()):
            raise ValueError(
                f"ToyModel.loss(importance={short(importance)}): importance must be a finite number of at least 0, or "
                f"{n} of them, one for each feature"
            )
        return (weight * (x.to(self.weights.dtype) - self(x)).square()).sum(-1).mean(-1)

    def extra_repr(self) -> str:
        """Sizes, for the representation of the module.

        Returns:
            The text in its parentheses.

        """
        *runs, n, m = self.weights.shape
        side_by_side = f"{'×'.join(map(str, runs))} runs, " if runs else ""
        return f"{side_by_side}features={n}, hidden={m}, activation={self._name!r}"


def parameters_of_one(model: ToyModel, call: str) -> tuple[Tensor, Tensor]:
    """The parameters of a model of one run with a ReLU, which formats of other packages hold.

    Args:
        model: the model.
        call: what errors begin with.

    Returns:
        W, shape (n, m), and b, shape (n,): float32, on the CPU, apart from the model's.

    Raises:
        ValueError: it is of several runs, or has another activation.

    """
    if model.run_shape:
        rule = f"the model must be of one run, and this one has {'×'.join(map(str, model.run_shape))}"
        raise ValueError(f"{call}: {rule}; ToyModel.from_run(run, seed=0) takes one")
    if model.activation_name != "relu":
        raise ValueError(
            f"{call}: the activation must be 'relu', as the format has no other: {model.activation_name!r}"
        )
    W, b = (each.detach().to("cpu", torch.float32, copy=True) for each in (model.weights, model.bias))
    return W, b


def _parameter(name: str, array: np.ndarray, dtype: torch.dtype | None) -> Tensor:
    if array.dtype.kind not in "fiu":
        raise ValueError(f"ToyModel({name} of {array.dtype}): {name} must hold real numbers")
    return torch.from_numpy(np.array(array, order="C")).to(dtype)


def _by_value(run: xr.Dataset, dim: str, value: Any) -> xr.Dataset:
    """The part of a trajectory at these values of a dimension."""
    if dim not in run.dims:
        held = f"is that of {dim} {run[dim].item()}" if dim in run.coords and run[dim].ndim == 0 else f"has no {dim}"
        raise ValueError(f"ToyModel.from_run({dim}={short(value)}): the run {held}; leave {dim} out")
    there = run[dim].values
    wanted = np.asarray(value)
    if wanted.ndim > 1 or wanted.dtype.kind not in "iu" or not np.isin(wanted, there).all():
        known = ", ".join(map(str, there[:3])) + (f", … {there[-1]}" if len(there) > 3 else "")
        raise ValueError(f"ToyModel.from_run({dim}={short(value)}): the run has the {dim}s {known}")
    return run.sel({dim: value if wanted.ndim == 0 else list(wanted)})
