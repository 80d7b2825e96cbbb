"""The geometry of weights: measures of embeddings, names of shapes, poses."""
