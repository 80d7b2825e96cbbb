"""Compiled code: lanes, the cache of what was compiled, and functions of C that JAX programs call."""
