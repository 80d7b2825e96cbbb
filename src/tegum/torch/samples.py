"""Samples of features, and the hidden activations of a model on them, as datasets that PyTorch loads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from tegum.core.arguments import is_integer
from tegum.core.description import short
from tegum.core.features.distribution import FeatureDistribution
from tegum.core.features.sets import FeatureSet
from tegum.torch.model import ToyModel
from tegum.training.exact_losses import models_of

if TYPE_CHECKING:
    import xarray as xr


class Samples(IterableDataset[Tensor]):
    """Batches of samples of a feature distribution, bit by bit those of `features.sample`.

    Batch number k is `features.sample([seed, k], batch)`, rounded to `dtype`: numbers of NumPy's Philox generator, the
    same on every machine. With any number of workers a DataLoader yields batches start, start + 1, … in this order,
    without repeats or gaps: worker i of w draws every w-th of them. Let it take batches as they are, by
    `batch_size=None`. Whoever iterates again gets the same batches again; to go on, begin at a later `start`.

    A batch of 1,024 samples of 32 features takes 0.3 to 0.7 ms on one core, by the number of sets, so that workers are
    rarely needed.

    Args:
        features: the feature distribution, or a list of sets.
        batch: the number of samples in a batch.
        seed: an int of at least 0, or a list of them.
        start: the number of the first batch.
        batches: how many batches there are; None is without end.
        dtype: that of the samples.

    Raises:
        ValueError: an argument breaks its rule; the sentence names it.

    Example:
        >>> import tegum as tg, tegum.torch, torch
        >>> pairs = tg.FeatureDistribution([tg.Correlated(size=2, density=0.5)] * 3)
        >>> samples = tegum.torch.Samples(pairs, batch=4, seed=7, batches=10)
        >>> third = list(torch.utils.data.DataLoader(samples, batch_size=None))[2]
        >>> bool((third.numpy() == pairs.sample([7, 2], 4).astype("float32")).all())
        True

    """

    def __init__(
        self,
        features: FeatureDistribution | Sequence[FeatureSet],
        batch: int,
        seed: int | Sequence[int] = 0,
        *,
        start: int = 0,
        batches: int | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        counts = [("batch", batch, 1), ("start", start, 0)]
        for name, value, least in counts if batches is None else [*counts, ("batches", batches, 0)]:
            if not (is_integer(value) and value >= least):
                raise ValueError(f"Samples({name}={short(value)}): {name} must be an int of at least {least}")
        if not dtype.is_floating_point:
            raise ValueError(f"Samples(dtype={dtype}): dtype must be one of floating-point numbers")
        self.features = features if isinstance(features, FeatureDistribution) else FeatureDistribution(list(features))
        self.batch, self.start, self.dtype = int(batch), int(start), dtype
        self.batches = None if batches is None else int(batches)
        self.seed = [seed] if is_integer(seed) else list(seed)  # pyright: ignore[reportArgumentType]
        self.features.sample([*self.seed, 0], 1)  # refuses what is no seed

    def number(self, k: int) -> Tensor:
        """Draw one batch.

        Args:
            k: its number, at least 0, wherever the dataset starts and ends.

        Returns:
            Samples, shape (batch, n).

        """
        x = self.features.sample([*self.seed, k], self.batch)
        return torch.from_numpy(x).to(self.dtype)

    def __iter__(self) -> Iterator[Tensor]:
        worker = get_worker_info()
        first, apart = (0, 1) if worker is None else (worker.id, worker.num_workers)
        k = first
        while self.batches is None or k < self.batches:
            yield self.number(self.start + k)
            k += apart

    def __len__(self) -> int:
        """The number of batches.

        Raises:
            TypeError: there is no end of them.

        """
        if self.batches is None:
            raise TypeError("len(Samples(batches=None)): there is no end of these batches; Samples(batches=…) has one")
        return self.batches


class Hidden(IterableDataset[Tensor]):
    """Batches of hidden activations h = Wᵀ x of a trained model, as a sparse autoencoder is trained on.

    Batch number k belongs to batch number k of `Samples` with the same features, batch and seed, which is the
    attribute `samples`: iterate over both to have hidden activations beside the features that they stand for.

    Args:
        source: a trajectory, of which the final state is taken, with its features; or a `ToyModel`, whose parameters
            are copied. Select a run before, as by `tg.best(run)` or `run.sel(seed=3)`; of several runs the batches
            have the leading axes.
        batch: as for `Samples`.
        seed: as for `Samples`.
        features: the feature distribution, or a list of sets; only with a trajectory it may be left out.
        start: as for `Samples`.
        batches: as for `Samples`.

    Raises:
        ValueError: an argument breaks its rule, or the features are not as many as those of the model.

    Example:
        An antipodal pair in one dimension: where the first feature is active h is positive, and elsewhere it is not.

        >>> import tegum as tg, tegum.torch
        >>> model = tegum.torch.ToyModel([[1.0], [-1.0]])
        >>> hidden = tegum.torch.Hidden(model, batch=100, features=[tg.Anticorrelated(2, 0.5)], batches=3)
        >>> all(bool(((h[:, 0] > 0) == (x[:, 0] > 0)).all()) for h, x in zip(hidden, hidden.samples))
        True

    """

    def __init__(
        self,
        source: xr.Dataset | ToyModel,
        batch: int,
        seed: int | Sequence[int] = 0,
        *,
        features: FeatureDistribution | Sequence[FeatureSet] | None = None,
        start: int = 0,
        batches: int | None = None,
    ) -> None:
        if isinstance(source, ToyModel):
            model = source
            if features is None:
                raise ValueError("Hidden(ToyModel): features must be given, as a model does not know its features")
        else:
            model = ToyModel.from_run(source)
            features = features_of(source) if features is None else features
        W = model.weights.detach().clone()
        self.samples = Samples(features, batch, seed, start=start, batches=batches, dtype=W.dtype)
        self._weights = W
        n = self.samples.features.n
        if n != W.shape[-2]:
            raise ValueError(f"Hidden(features with n = {n}): there must be {W.shape[-2]} features, as the model has")

    def number(self, k: int) -> Tensor:
        """Compute one batch.

        Args:
            k: its number, at least 0, wherever the dataset starts and ends.

        Returns:
            Hidden activations, shape (..., batch, m), with the leading axes of the runs.

        """
        return self._of(self.samples.number(k))

    def _of(self, x: Tensor) -> Tensor:
        return x.to(self._weights.device) @ self._weights

    def __iter__(self) -> Iterator[Tensor]:
        return map(self._of, self.samples)

    def __len__(self) -> int:
        """The number of batches.

        Raises:
            TypeError: there is no end of them.

        """
        return len(self.samples)


def features_of(run: xr.Dataset) -> FeatureDistribution:
    """The features of a trajectory of one Spec.

    Args:
        run: the trajectory, or a selection from it.

    Returns:
        The feature distribution.

    Raises:
        ValueError: it has several Specs with different features, or none.

    """
    found: list[Any] = list(dict.fromkeys(each.features for each in models_of(run, "features_of(run)").specs))
    if len(found) > 1:
        raise ValueError(f"features_of(run with {len(found)} feature distributions): select one of its Specs")
    return found[0]
