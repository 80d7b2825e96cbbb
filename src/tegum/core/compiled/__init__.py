"""Compiled code: lanes, the cache of compiled kernels, and C functions that JAX programs call."""
