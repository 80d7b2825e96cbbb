"""The kernels of exact training: what one stretch of eight runs does."""
