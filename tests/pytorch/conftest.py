"""One thread for PyTorch: its threads would wait for those of the other workers."""

import torch

torch.set_num_threads(1)
