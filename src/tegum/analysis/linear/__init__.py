"""Beside the linear model: principal components, subspaces, escapes from the start."""
