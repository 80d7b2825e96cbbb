"""The exact loss as a series in JAX, for derivatives of any order and sets of any form."""
