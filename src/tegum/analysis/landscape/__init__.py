"""The landscape of the exact loss: critical points, continuation, phase boundaries."""
