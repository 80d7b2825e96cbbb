"""One thread for PyTorch, and imports in an order that all packages bear."""

# nnsight gives every object an attribute; beartype, which checks types in tests, cannot be imported after that.
import beartype  # noqa: F401
import torch

import tegum.torch  # noqa: F401

torch.set_num_threads(1)
