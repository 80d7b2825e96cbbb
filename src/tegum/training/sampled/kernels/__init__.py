"""The fused CPU kernels: one training step of one run, sixteen samples at a time."""
