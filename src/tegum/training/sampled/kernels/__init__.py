"""The fused CPU kernels: what one run does in one training step, sixteen samples side by side."""
