"""The figures of the experiments, a module each: what is drawn comes in ready, and a Figure comes out."""
