"""Samples of features, and the hidden activations of a model on them, as datasets that PyTorch loads."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from tegum.core.arguments import is_integer
from tegum.core.description import short
from tegum.core.features.distribution import FeatureDistribution
from tegum.core.features.sets import FeatureSet, GatedSet
from tegum.core.limits import check_memory
from tegum.torch.model import ToyModel
from tegum.training.exact_losses import models_of

if TYPE_CHECKING:
    import xarray as xr


class _Numbered(IterableDataset[Tensor]):
    """Batches with numbers, split over processes and their workers."""

    def __init__(
        self,
        features: FeatureDistribution | Sequence[FeatureSet],
        batch: int,
        seed: int | Sequence[int],
        start: int,
        batches: int | None,
        rank: int,
        world_size: int,
    ) -> None:
        call = type(self).__name__
        counts = [("batch", batch, 1), ("start", start, 0), ("rank", rank, 0), ("world_size", world_size, 1)]
        for name, value, least in counts if batches is None else [*counts, ("batches", batches, 0)]:
            if not (is_integer(value) and value >= least):
                raise ValueError(f"{call}({name}={short(value)}): {name} must be an int of at least {least}")
        if rank >= world_size:
            raise ValueError(f"{call}(rank={rank}): rank must be below world_size={world_size}")
        if batches is not None and batches % world_size:
            rule = f"batches must be a multiple of world_size={world_size}, as processes wait for each other"
            raise ValueError(f"{call}(batches={batches}): {rule}")
        self.features: FeatureDistribution = _distribution(call, features)
        self.seed: list[int] = _seed_numbers(call, seed)
        self.batch: int = int(batch)
        self.start: int = int(start)
        self.rank: int = int(rank)
        self.world_size: int = int(world_size)
        self.batches: int | None = None if batches is None else int(batches)
        what, numbers = f"samples of {self.features.n:,} features", 32 * self.batch * self.features.n
        check_memory(f"{call}(batch={self.batch})", what, numbers, "a smaller batch fits")
        self.features.sample([*self.seed, 0], 1)  # refuses data that this process does not have

    def number(self, k: int) -> Tensor:
        """Compute one batch.

        Args:
            k: its number, at least 0, wherever the dataset starts and ends.

        Returns:
            What iterating yields for this number.

        Raises:
            ValueError: k is no int of at least 0.

        """
        if not (is_integer(k) and k >= 0):
            raise ValueError(f"{type(self).__name__}.number(k={short(k)}): k must be an int of at least 0")
        return self._numbered(int(k))

    @abstractmethod
    def _numbered(self, k: int) -> Tensor: ...

    def __iter__(self) -> Iterator[Tensor]:
        worker = get_worker_info()
        first, apart = (0, 1) if worker is None else (worker.id, worker.num_workers)
        k, apart = self.rank + first * self.world_size, apart * self.world_size
        while self.batches is None or k < self.batches:
            yield self._numbered(self.start + k)
            k += apart

    def __len__(self) -> int:
        """The number of batches that this process gets.

        Raises:
            TypeError: there is no end of them.

        """
        if self.batches is None:
            name = type(self).__name__
            raise TypeError(f"len({name}(batches=None)): there is no end of these batches; {name}(batches=…) has one")
        return self.batches // self.world_size


class Samples(_Numbered):
    """Batches of samples of a feature distribution, bit by bit those of `features.sample`.

    Batch number k is `features.sample([seed, k], batch)`, rounded to `dtype`: numbers of NumPy's Philox generator, the
    same on every machine. With any number of workers a DataLoader yields batches start, start + 1, … in this order,
    without repeats or gaps: worker i of w draws every w-th of them. Let it take batches as they are, by
    `batch_size=None`. Whoever iterates again gets the same batches again; to go on, begin at a later `start`.

    Where several processes train together (DistributedDataParallel), each of them would get the same batches: nothing
    here asks torch.distributed. Tell them apart by `rank` and `world_size`. Process r of R then gets batches start + r,
    start + r + R, …, again shared by its workers, so that in a step all of them together see the batches that a single
    process sees one after another in R steps.

    A batch of 1,024 samples of 32 features takes 0.3 to 0.8 ms on one core, by the kind of set, and of copulas up to
    1.4 ms, so that workers are rarely needed.

    Args:
        features: the feature distribution, or a list of sets.
        batch: the number of samples in a batch.
        seed: an int of at least 0, or a list of them.
        start: the number of the first batch.
        batches: how many batches there are, for all processes together; None is without end.
        dtype: that of the samples.
        rank: the number of this process, as `torch.distributed.get_rank()` has it.
        world_size: the number of processes that share the batches, of which `batches` is a multiple.

    Raises:
        ValueError: an argument breaks its rule, or `dtype` cannot hold the largest value of a feature.

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
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        _check_dtype("Samples", dtype)
        super().__init__(features, batch, seed, start, batches, rank, world_size)
        self.dtype = dtype
        for each in self.features.sets:
            if not _fits(largest := _largest(each), dtype):
                rule = f"dtype must hold the values of {short(each)}, which go up to {largest:g}"
                raise ValueError(f"Samples(dtype={dtype}): {rule}")

    def _numbered(self, k: int) -> Tensor:
        x = self.features.sample([*self.seed, k], self.batch)
        return torch.from_numpy(x).to(self.dtype)


class Hidden(_Numbered):
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
        dtype: the dtype of activations; None is that of the source, float64 after exact training or a flow.
        rank: as for `Samples`.
        world_size: as for `Samples`.

    Raises:
        ValueError: an argument breaks its rule, the features are not as many as those of the model, or the dtype
            cannot hold hidden activations as large as there may be.

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
        dtype: torch.dtype | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if isinstance(source, ToyModel):
            model = source
            if features is None:
                raise ValueError("Hidden(ToyModel): features must be given, as a model does not know its features")
        else:
            if not hasattr(source, "data_vars"):
                raise ValueError(f"Hidden(source={short(source)}): source must be a trajectory, or a ToyModel")
            model = ToyModel.from_run(source)
            # The model is the last one, and so are its features.
            last = source.isel(step=-1) if "step" in source.dims else source
            features = features_of(last) if features is None else features
        super().__init__(features, batch, seed, start, batches, rank, world_size)
        if dtype is not None:
            _check_dtype("Hidden", dtype)
        W = model.weights.detach().to(dtype, copy=True)
        n = self.features.n
        if n != W.shape[-2]:
            raise ValueError(f"Hidden(features with n = {n}): there must be {W.shape[-2]} features, as the model has")
        shared = {"start": self.start, "batches": self.batches, "rank": self.rank, "world_size": self.world_size}
        self.samples: Samples = Samples(self.features, self.batch, self.seed, dtype=W.dtype, **shared)
        largest = np.concatenate([np.full(each.features, _largest(each)) for each in self.features.sets])
        reached = float((torch.from_numpy(largest) @ W.to("cpu", torch.float64).abs()).max())
        if reached > torch.finfo(W.dtype).max:
            rule = f"dtype must hold hidden activations, which may go up to {reached:g}, as torch.float32 does"
            raise ValueError(f"Hidden({'source of ' if dtype is None else 'dtype='}{W.dtype}): {rule}")
        self._weights = W

    def _numbered(self, k: int) -> Tensor:
        return self.samples.number(k).to(self._weights.device) @ self._weights


def _check_dtype(call: str, dtype: Any) -> None:
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise ValueError(f"{call}(dtype={short(dtype)}): dtype must be one of floating-point numbers")


def _distribution(call: str, features: Any) -> FeatureDistribution:
    if isinstance(features, FeatureDistribution):
        return features
    if not isinstance(features, list | tuple):
        rule = "features must be a FeatureDistribution, or a list of feature sets"
        raise ValueError(f"{call}(features={short(features)}): {rule}")
    return FeatureDistribution(features)


def _seed_numbers(call: str, seed: Any) -> list[int]:
    """A seed as a list of numbers, to which that of a batch is appended."""
    several = (
        isinstance(seed, Sequence | np.ndarray) and not isinstance(seed, str | bytes) and getattr(seed, "ndim", 1) == 1
    )
    numbers: list[Any] = list(seed) if several else [seed]
    if not numbers or not all(is_integer(number) and number >= 0 for number in numbers):
        raise ValueError(f"{call}(seed={short(seed)}): seed must be an int of at least 0, or a list of such ints")
    return [int(number) for number in numbers]


def _largest(each: FeatureSet) -> float:
    """The largest value that is drawn of a set: of a law without end, that of the largest uniform number."""
    if isinstance(each, GatedSet) and np.isinf(each.largest):
        return float(each.magnitude.drawn(np.ones(1))[0])
    return each.largest


def _fits(largest: float, dtype: torch.dtype) -> bool:
    """Whether a dtype holds 0 and this number, more or less."""
    numbers = torch.tensor([0.0, largest], dtype=torch.float64)
    try:
        zero, held = numbers.to(dtype).to(torch.float64).tolist()
    except (RuntimeError, NotImplementedError):  # PyTorch names dtypes in which it holds nothing
        return False
    return zero == 0 and abs(held - largest) <= largest / 2


def features_of(run: xr.Dataset) -> FeatureDistribution:
    """The features of a trajectory of one Spec; where they change during training, of a part in which they do not.

    Args:
        run: the trajectory, or a selection from it.

    Returns:
        The feature distribution.

    Raises:
        ValueError: it has several Specs with different features, or one whose changes give its steps different ones, or
            none.

    """
    found: list[Any] = list(dict.fromkeys(each.features for each in models_of(run, "features_of(run)").specs))
    if len(found) > 1:
        rule = "select one of its Specs, and where its changes make them differ, a step"
        raise ValueError(f"features_of(run with {len(found)} feature distributions): {rule}")
    return found[0]
