"""The linear model as a reference: principal components, subspaces, and escapes from the start."""
