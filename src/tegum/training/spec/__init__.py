"""One description of a run: features, model, start, training, and what is recorded."""
