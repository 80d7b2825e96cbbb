"""Toy models, samples and hidden activations for PyTorch; `pip install 'tegum[torch]'`, then `import tegum.torch`.

    import tegum as tg
    import tegum.torch

    model = tegum.torch.ToyModel.from_run(run)                     # an nn.Module, batched over the run's seeds
    for x in torch.utils.data.DataLoader(tegum.torch.Samples(features, batch=1024), batch_size=None, num_workers=2):
        loss = model.loss(x, features.importance)                  # one for each seed
    trained = tegum.torch.to_run(model, spec)                      # a trajectory, as tg.train returns

Nothing else in tegum imports this package, so that tegum needs no PyTorch. Formats of other packages are in modules of
their own: `tegum.torch.saelens`, `tegum.torch.spd` and `tegum.torch.dictionary_learning`.
"""

from __future__ import annotations

try:
    from tegum.torch.model import ToyModel
except ModuleNotFoundError as _error:
    if _error.name != "torch":
        raise
    raise ModuleNotFoundError("tegum.torch needs PyTorch: pip install 'tegum[torch]'", name="torch") from None

from tegum.torch.samples import Hidden, Samples
from tegum.torch.trajectory import to_run

__all__ = ["Hidden", "Samples", "ToyModel", "to_run"]
