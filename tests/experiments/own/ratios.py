"""A neighbour of `falling_loss.py`, imported by it."""


def to_zero_weights(loss, features, density):
    """The loss over that of W = 0 and b = 0, which is E[x²] = p/3 for each feature."""
    return loss / (features * density / 3)
