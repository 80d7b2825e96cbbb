"""Training on samples: the fused CPU kernel, and JAX for other sets and devices."""
