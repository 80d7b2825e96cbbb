"""Gradient flow of the exact loss."""
