"""The landscape of the exact loss: critical points, continuation and phase boundaries."""
