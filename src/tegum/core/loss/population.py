"""The loss of a model in expectation: the loss on samples (`empirical`) for an infinite batch, to any accuracy."""

from __future__ import annotations

from typing import Any, Literal, overload

import numpy as np
from jaxtyping import Float

from tegum.core.arguments import refusing
from tegum.core.features.distribution import FeatureDistribution
from tegum.core.features.empirical import Empirical
from tegum.core.inputs.arrays import arrays_of
from tegum.core.loss.empirical import is_traced
from tegum.core.model import Activation, activation_named, exact_path, namespace_of


@overload
def population_loss(
    weights: Any,
    bias: Any,
    features: FeatureDistribution,
    *,
    tol: float = ...,
    activation: Activation = ...,
    with_error: Literal[False] = ...,
    threads: int = ...,
) -> Any: ...


@overload
def population_loss(
    weights: Any,
    bias: Any,
    features: FeatureDistribution,
    *,
    tol: float = ...,
    activation: Activation = ...,
    with_error: Literal[True],
    threads: int = ...,
) -> tuple[Any, Any]: ...


@refusing
def population_loss(
    weights: Float[Any, "*run feature hidden"],
    bias: Float[Any, "*run feature"],
    features: FeatureDistribution,
    *,
    tol: float = 1e-8,
    activation: Activation = "relu",
    with_error: bool = False,
    threads: int = 1,
) -> Any:
    """Compute the expectation of Σ_j I_j (x_j − x̂_j)² over the feature distribution, without sampling, in float64.

    This is the loss of Elhage et al. 2022 in the limit of an infinite batch. The ReLU is expanded in a Fourier
    series, which turns the expectation into characteristic functions of the features (derived in ARCHITECTURE.md,
    "The population loss").

    NumPy arrays go through a compiled kernel. JAX arrays go through JAX in double precision, whatever JAX's own
    setting, and the loss can then be differentiated twice: the gradient is as accurate as `tol` relative to max(1,
    ‖gradient‖), second derivatives a thousand times less so. Inside `jax.jit`, where nothing can be refused, a value
    that cannot be computed to that accuracy is NaN. Derivatives in arrays of single precision are of single
    precision too.

    If the distribution consists of one `Empirical` set, the population is finite: the loss is the exact mean over
    its rows and `tol` plays no role. In JAX its second derivatives need forward mode, as in `jax.hessian`.

    Args:
        weights: W, shape (..., n, m); features are rows.
        bias: b, shape (..., n).
        features: the feature distribution, with its importances I.
        tol: the largest permissible error of the loss; it determines the number of frequencies.
        activation: "relu" or "linear".
        with_error: whether to return an estimated bound of the error as well; for random models the bound is
            typically 25 times the error.
        threads: the number of CPU threads for NumPy arrays.

    Returns:
        The loss, shape (...), or (loss, error).

    Raises:
        ValueError: the shapes do not fit together, a parameter is not finite, `tol` is not a positive number or
            cannot be reached, a set of features has no characteristic function (such as an `Empirical` set beside
            others) or, for a ReLU, magnitudes are not uniform on [0, h] with one h for all sets, there is no
            activation of that name, or the activation has no population loss.

    Example:
        A model of zeros predicts nothing, so that its loss is Σ E[x_i²]: two features of density 0.3 have 2 · 0.3/3.
        A perfect embedding of the first feature leaves the second one's 0.1.

        >>> import tegum as tg
        >>> import numpy as np
        >>> features = tg.FeatureDistribution([tg.Independent(count=2, density=0.3)])
        >>> W = np.array([[[0.0], [0.0]], [[1.0], [0.0]]])
        >>> tg.population_loss(W, np.zeros((2, 2)), features).round(6).tolist()
        [0.2, 0.1]

    """
    xp = namespace_of(weights, bias)
    weights, bias = _model("population_loss", weights, bias, features)
    _check_request("population_loss", tol, activation)
    if (rows := finite_population("population_loss({})", features, activation)) is not None:
        from tegum.core.loss import finite

        of = finite.finite_loss if xp is np else finite.jax_finite_loss
        loss = of(weights, bias, rows, activation)
        return (loss[()], finite.rounding(weights, bias, rows)[()]) if with_error else loss[()]
    check_series("population_loss({})", features, activation)
    if xp is np:
        from tegum.core.population.evaluate import evaluate

        w, b = weights.reshape(-1, *weights.shape[-2:]), bias.reshape(-1, bias.shape[-1])
        found = evaluate(w, b, features, tol=tol, activation=activation, threads=threads)
        loss, error = found.loss.reshape(bias.shape[:-1]), found.error.reshape(bias.shape[:-1])
        return (loss[()], error[()]) if with_error else loss[()]
    from tegum.core.population.autodiff.series import jax_loss

    loss, error = jax_loss(weights, bias, features, tol, activation)
    return (loss, error) if with_error else loss


@refusing
def population_gradient(
    weights: Float[np.ndarray, "*run feature hidden"],
    bias: Float[np.ndarray, "*run feature"],
    features: FeatureDistribution,
    *,
    tol: float = 1e-8,
    activation: Activation = "relu",
) -> tuple[Float[np.ndarray, "*run feature hidden"], Float[np.ndarray, "*run feature"]]:
    """Compute the gradient of `population_loss` in weights and bias, in float64.

    Args:
        weights: W, shape (..., n, m); features are rows.
        bias: b, shape (..., n).
        features: the feature distribution, with its importances.
        tol: the largest permissible error, in the norm over all parameters of a model and relative to max(1,
            ‖gradient‖).
        activation: "relu" or "linear".

    Returns:
        (dW, db), shaped as weights and bias.

    Raises:
        ValueError: as for `population_loss`.

    Example:
        Where W = 0 and b > 0, x̂ = b, so that ∂L/∂b_i = 2 (b_i − E[x_i]): the best constant is the mean.

        >>> import tegum as tg
        >>> import numpy as np
        >>> features = tg.FeatureDistribution([tg.Independent(count=2, density=[0.2, 0.6])])
        >>> dW, db = tg.population_gradient(np.zeros((2, 1)), np.array([0.2, 0.2]), features)
        >>> db.round(6).tolist()
        [0.2, -0.2]

    """
    weights, bias = (np.asarray(each) for each in _model("population_gradient", weights, bias, features))
    _check_request("population_gradient", tol, activation)
    if (rows := finite_population("population_gradient({})", features, activation)) is not None:
        from tegum.core.loss.finite import finite_gradient

        return finite_gradient(weights, bias, rows, activation)
    check_series("population_gradient({})", features, activation)
    from tegum.core.population.evaluate import evaluate

    w, b = weights.reshape(-1, *weights.shape[-2:]), bias.reshape(-1, bias.shape[-1])
    gradient = evaluate(w, b, features, order=1, tol=tol, activation=activation).gradient
    assert gradient is not None
    cut = w[0].size
    return gradient[:, :cut].reshape(weights.shape), gradient[:, cut:].reshape(bias.shape)


def finite_population(
    call: str, features: FeatureDistribution, activation: Activation, instead: str = "empirical_loss on samples"
) -> Empirical | None:
    """The only set, if it is an Empirical one; None if there is no such set, or where moments suffice beside others.

    Args:
        call: what errors begin with, as a template: `{}` stands for what is wrong.
        features: the distribution.
        activation: a name in `ACTIVATIONS`.
        instead: what the user can do.

    Raises:
        ValueError: there is an Empirical set next to others, and moments do not suffice.

    """
    found = [each for each in features.sets if isinstance(each, Empirical)]
    if not found:
        return None
    if len(features.sets) == 1:
        return found[0]
    if activation_named(call.format(f"activation={activation!r}"), activation).exact == "moments":
        return None
    raise ValueError(
        f"{call.format(f'features=[…, {found[0]!r}, …]')}: an Empirical set must be the only one, as there is no "
        f"population loss for it together with others; use {instead}"
    )


def check_series(call: str, features: FeatureDistribution, activation: Activation) -> None:
    """Refuse features without the series that the loss of this activation is computed by, if it is by a series.

    Args:
        call: what errors begin with, as a template: `{}` stands for what is wrong.
        features: the distribution.
        activation: a name in `ACTIVATIONS`.

    Raises:
        ValueError: there is no activation of that name, or no series for these features.

    """
    if exact_path(call.format(f"activation={activation!r}"), activation) == "series":
        features.rescaled(call)


PopulationPath = Literal["series", "moments", "finite"]


def population_path(call: str, features: FeatureDistribution, activation: Activation, instead: str) -> PopulationPath:
    """How the population loss is computed that a model is trained on: from moments alone wherever they suffice.

    Args:
        call: what errors begin with, as a template: `{}` stands for what is wrong.
        features: the distribution.
        activation: a name in `ACTIVATIONS`.
        instead: what the user can do where there is none.

    Returns:
        "moments", "finite" for the rows of an Empirical set, or "series".

    Raises:
        ValueError: there is no activation of that name, or no population loss to train on.

    """
    named = f"activation={activation!r}"
    if activation_named(call.format(named), activation).exact == "moments":
        return "moments"
    if finite_population(call, features, activation, instead) is not None:
        return "finite"
    path = exact_path(call.format(named), activation)
    _, high = features.rescaled(call)
    if high != 1:
        raise ValueError(
            f"{call.format(f'features=[…, {features.sets[0]!r}, …]')}: magnitudes must be uniform on [0, 1] to train "
            f"without samples; train on those, and then multiply biases by {high:g} and losses by {high**2:g}"
        )
    return path


def _model(call: str, weights: Any, bias: Any, features: Any) -> tuple[Any, Any]:
    """Return a model for these features as arrays of one kind; parameters must be finite, unless JAX traces them."""
    weights, bias = arrays_of(call, weights=weights, bias=bias)
    w, b = np.shape(weights), np.shape(bias)
    if not isinstance(features, FeatureDistribution):
        raise ValueError(f"{call}(features={type(features).__name__}): features must be a FeatureDistribution")
    n = features.n
    if 0 in w:
        raise ValueError(
            f"{call}(weights of shape {w}): there must be at least one model, feature and hidden dimension"
        )
    if len(w) < 2 or w[-2] != n:
        raise ValueError(
            f"{call}(weights of shape {w}): weights must have the shape (..., {n}, hidden), as features has n = {n}"
        )
    if b != w[:-1]:
        raise ValueError(f"{call}(bias of shape {b}): bias must have the shape {w[:-1]}, as weights has {w}")
    for name, value in (("weights", weights), ("bias", bias)):
        if isinstance(value, np.ndarray) and value.dtype.kind not in "fiu":
            raise ValueError(f"{call}({name} of dtype {value.dtype}): {name} must hold real numbers")
        if not is_traced(value) and not np.isfinite(np.asarray(value)).all():
            raise ValueError(f"{call}({name}): {name} must be finite, and must not contain a NaN or an infinity")
    xp = namespace_of(weights, bias)
    return xp.asarray(weights), xp.asarray(bias)


def _check_request(call: str, tol: float, activation: str) -> None:
    if isinstance(tol, bool) or not isinstance(tol, float | int | np.floating) or not 0 < tol < np.inf:
        raise ValueError(f"{call}(tol={tol!r}): tol must be a positive finite number")
    activation_named(f"{call}(activation={activation!r})", activation)
