"""How long work tells what it is doing, on standard error: the same for training, analysis, figures and experiments."""
