"""Training on the exact loss: L-BFGS, Adam and gradient descent, eight runs side by side."""
