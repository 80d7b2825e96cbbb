"""Progress of long work, shown on standard error: the same for training, analysis, figures and experiments."""
