"""The model x̂ = act(W Wᵀ x + b): its activations, its forward pass and its initial weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, assert_never, get_args

import numpy as np
from jaxtyping import Float, Shaped

from tegum.core.arguments import refusing
from tegum.core.description import nearest, one_of
from tegum.core.inputs.arrays import arrays_of
from tegum.core.jax_setup import check

Activation = Literal["relu", "linear"]
"""The names of the activations, for type checkers, which cannot read `ACTIVATIONS`; that table decides."""

ExactPath = Literal["series", "moments"]
"""How the population loss of an activation is computed: as the Fourier series of the ReLU, or from the moments of x."""

Purpose = Literal["start", "training", "evaluation"]
"""What a run's random numbers are for; each purpose has its own stream. All runs of a base seed share the evaluation
sample of run 0."""

_FLOOR_OF: dict[ExactPath, float] = {"series": 0.0, "moments": -np.inf}
"""The floor for which each exact path is derived."""


def _is_int(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, float | np.floating) or _is_int(value)


@dataclass(frozen=True, slots=True)
class ActivationFunction:
    """An activation of the form max(z, floor), the only form that the kernels and closed-form gradients support.

    Raises:
        ValueError: the floor is not a number below infinity, or not the one that the exact path is derived for.

    """

    name: str
    """The name by which a Spec and the functions of the loss select it."""
    floor: float
    """The floor: the activation is max(z, floor), and its derivative is 1 where z > floor and 0 elsewhere."""
    exact: ExactPath | None = None
    """How exact methods (the population loss and its derivatives, `Exact`, `Flow`, critical points) treat it. With None
    they refuse it, except on a finite population, which needs no path."""

    def __post_init__(self) -> None:
        call = f"ActivationFunction({self.name!r}, floor={self.floor!r})"
        if not _is_number(self.floor) or not self.floor < np.inf:
            raise ValueError(
                f"{call}: floor must be a number below infinity; no engine supports activations of any form but "
                "max(z, floor)"
            )
        if self.exact is not None and self.floor != _FLOOR_OF.get(self.exact):
            known = " and ".join(f"{path!r} for floor {floor:g}" for path, floor in _FLOOR_OF.items())
            raise ValueError(f"{call}: exact={self.exact!r} must be the path for this floor: {known}")
        # A NumPy number would make single precision double.
        object.__setattr__(self, "floor", float(self.floor))

    def function(self, z: Any) -> Any:
        """Apply the activation to each element.

        Args:
            z: a NumPy or JAX array.

        Returns:
            max(z, floor), an array of the same kind; NaN stays NaN.

        """
        if self.floor == -np.inf:
            return z
        # Not maximum(z, floor): JAX gives it the derivative ½ at z = floor, where a zero row with zero bias lies.
        # Not where(z > floor, z, floor): it would turn a diverged run's NaN into the floor.
        return z.__array_namespace__().where(z <= self.floor, self.floor, z)


ACTIVATIONS: dict[str, ActivationFunction] = {
    each.name: each
    for each in (
        ActivationFunction("relu", floor=0.0, exact="series"),
        ActivationFunction("linear", floor=-np.inf, exact="moments"),
    )
}
"""Every activation by its name. An entry added here can be trained by both engines of sampled training and has an
empirical loss; it has a population loss if `exact` says how to compute it."""


def activation_named(call: str, name: str) -> ActivationFunction:
    """Look up an activation by its name.

    Args:
        call: what errors begin with.
        name: the name.

    Returns:
        The activation.

    Raises:
        ValueError: there is no activation of that name.

    """
    if not isinstance(name, str) or name not in ACTIVATIONS:
        raise ValueError(f"{call}: there is no such activation; {nearest(str(name), ACTIVATIONS)}")
    return ACTIVATIONS[name]


def exact_path(call: str, name: str) -> ExactPath:
    """Look up how the population loss of an activation is computed.

    Args:
        call: what errors begin with.
        name: the name of the activation.

    Returns:
        The path: "series" or "moments".

    Raises:
        ValueError: there is no activation of that name, or it has no population loss.

    """
    if (path := activation_named(call, name).exact) is None:
        known = one_of(each.name for each in ACTIVATIONS.values() if each.exact)
        raise ValueError(
            f"{call}: the activation must be {known}, as the population loss of {name!r} is not known; "
            "empirical_loss on samples, Sampled training and finite populations (one Empirical set) take any activation"
        )
    return path


def is_linear(call: str, name: str) -> bool:
    """Whether the exact loss of an activation is the simple, smooth one in moments rather than the series of the ReLU.

    Args:
        call: what errors begin with.
        name: the name of the activation.

    Returns:
        True for moments, False for the series.

    Raises:
        ValueError: as for `exact_path`.

    """
    match path := exact_path(call, name):
        case "moments":
            return True
        case "series":
            return False
        case _:
            assert_never(path)


@refusing
def forward(
    weights: Shaped[Any, "*run feature hidden"],
    bias: Shaped[Any, "*run feature"],
    x: Shaped[Any, "batch feature"],
    activation: Activation = "relu",
) -> Shaped[Any, "*run batch feature"]:
    """Compute the model's reconstruction x̂ = act(W Wᵀ x + b), for every run and every sample.

    Row i of W is the embedding of feature i: here features are rows, W has shape (features, hidden dimensions), and
    the hidden activations of one sample are h = Wᵀ x. Elhage et al. 2022 ("Toy Models of Superposition", section
    "Demonstrating Superposition"), and the ARENA exercises after them, store features as columns and write h = W x
    and x̂ = ReLU(Wᵀ W x + b); transpose their W to use it here.

    Args:
        weights: W, the embeddings, shape (..., n, m); leading axes are runs.
        bias: b, shape (..., n), with the leading axes of `weights`.
        x: feature values in [0, 1], shape (batch, n); all runs see the same samples.
        activation: "relu" or "linear".

    Returns:
        x̂, shape (..., batch, n): a JAX array if any argument is one, otherwise a NumPy array.

    Raises:
        ValueError: the shapes do not fit together, or there is no activation of that name.

    Example:
        Two features as an antipodal pair (a digon) in one dimension: the ReLU removes their interference when only
        one is active, and nothing is recovered when both are.

        >>> import tegum as tg
        >>> import numpy as np
        >>> W, b = np.array([[1.0], [-1.0]]), np.zeros(2)
        >>> tg.forward(W, b, np.array([[0.5, 0.0], [0.0, 0.8], [0.6, 0.6]])).tolist()
        [[0.5, 0.0], [0.0, 0.8], [0.0, 0.0]]

    """
    weights, bias, x = (_computed(each) for each in model_arrays("forward", weights, bias, x))
    function = activation_named(f"forward(activation={activation!r})", activation).function
    return function((x @ weights) @ weights.mT + bias[..., None, :])


def _computed(array: Any) -> Any:
    """Convert to a precision fit for computing: products of 8-bit integers overflow 8 bits."""
    return array if array.dtype.kind == "f" and array.dtype.itemsize >= 4 else array.astype(float)


def model_arrays(call: str, weights: Any, bias: Any, x: Any) -> tuple[Any, Any, Any]:
    """Return a model and its samples as arrays of one kind: JAX if any of them is, otherwise NumPy.

    Args:
        call: what errors begin with.
        weights: W, shape (..., n, m).
        bias: b, shape (..., n).
        x: samples, shape (batch, n).

    Returns:
        The three arrays.

    Raises:
        ValueError: the shapes do not fit together.

    """
    weights, bias, x = arrays_of(call, weights=weights, bias=bias, x=x)
    w, b, samples = np.shape(weights), np.shape(bias), np.shape(x)
    if len(w) < 2:
        raise ValueError(f"{call}(weights of shape {w}): weights must have the shape (..., feature, hidden)")
    if b != w[:-1]:
        raise ValueError(f"{call}(bias of shape {b}): bias must have the shape {w[:-1]}, as weights has {w}")
    if len(samples) != 2 or samples[1] != w[-2] or samples[0] < 1:
        raise ValueError(
            f"{call}(x of shape {samples}): x must have the shape (batch, {w[-2]}), "
            f"with a batch of at least 1, as weights has {w}"
        )
    xp = namespace_of(weights, bias, x)
    return xp.asarray(weights), xp.asarray(bias), xp.asarray(x)


def namespace_of(*arrays: Any) -> Any:
    """The array namespace in which to compute: jax.numpy if any of the arrays comes from it, otherwise numpy.

    Args:
        arrays: arrays and other arguments of a call.

    Returns:
        The namespace.

    """
    spaces = [array.__array_namespace__() for array in arrays if hasattr(array, "__array_namespace__")]
    space = next((space for space in spaces if space is not np), np)
    if space is not np:
        check()
    return space


def stream_seed(base_seed: int | np.integer, run: int | np.integer, purpose: Purpose) -> np.random.SeedSequence:
    """Derive the seed of one run's random numbers for one purpose, with a stream independent of every other.

    Args:
        base_seed: an int in [0, 2⁶⁴).
        run: the number of the run, an int in [0, 2⁶⁴).
        purpose: "start", "training" or "evaluation".

    Returns:
        The seed sequence.

    Raises:
        ValueError: a number is out of range, or there is no such purpose.

    """
    for name, value in (("base_seed", base_seed), ("run", run)):
        if not _is_int(value) or not 0 <= value < 2**64:
            raise ValueError(f"stream_seed({name}={value!r}): {name} must be an int in [0, 2**64)")
    if purpose not in get_args(Purpose):
        known = nearest(str(purpose), get_args(Purpose))
        raise ValueError(f"stream_seed(purpose={purpose!r}): there is no such purpose; {known}")
    # A spawn key is kept apart from the entropy, which is otherwise padded with zeros: (1, 0) would be (1,).
    # The order of the purposes is part of every stream: append to it.
    return np.random.SeedSequence(int(base_seed), spawn_key=(get_args(Purpose).index(purpose), int(run)))


def initial_weights(
    base_seed: int | np.integer,
    run: int | np.integer,
    n: int | np.integer,
    m: int | np.integer,
    scale: float | int | None = None,
) -> Float[np.ndarray, "{n} {m}"]:
    """Draw a run's initial weights, normally distributed around 0; its bias starts at zero.

    Args:
        base_seed: with `run`, the key of the stream (see `stream_seed`): the same key gives bit-identical weights.
        run: the number of the run.
        n: the number of features.
        m: the hidden dimension.
        scale: the standard deviation; None is Xavier's √(2 / (n + m)) (Glorot & Bengio 2010, equation 12, as a
            normal distribution). It scales the same draw.

    Returns:
        float32, shape (n, m).

    Raises:
        ValueError: a size is not a positive int, the scale is not a positive finite number, or the key is out of
            range.

    """
    for name, value in (("n", n), ("m", m)):
        if not _is_int(value) or value < 1:
            raise ValueError(f"initial_weights({name}={value!r}): {name} must be an int of at least 1")
    if scale is not None and (not _is_number(scale) or not 0 < scale < np.inf):
        raise ValueError(
            f"initial_weights(scale={scale!r}): scale must be a positive finite number, or None for Xavier"
        )
    deviation = np.sqrt(2 / (n + m)) if scale is None else float(scale)
    generator = np.random.Generator(np.random.Philox(stream_seed(base_seed, run, "start")))
    return (deviation * generator.standard_normal((n, m))).astype(np.float32)
