"""The exact loss of the population: value, gradient and Hessian, each with a bound of its error."""
