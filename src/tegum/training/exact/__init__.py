"""Training on the exact loss: L-BFGS, Adam and gradient descent, eight runs at a time."""
