"""Weights and activations that a user brings, such as the dictionary of a sparse autoencoder."""
