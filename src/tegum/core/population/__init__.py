"""The exact population loss: value, gradient and Hessian, each with a bound on its error."""
