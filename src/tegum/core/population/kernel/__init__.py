"""The exact loss as a fused kernel, eight models side by side."""
