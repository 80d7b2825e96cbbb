"""The loss of a model, on samples and in expectation."""
