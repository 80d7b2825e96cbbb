"""Plots of one idea each: a Dataset in, matplotlib Axes out; `tegum.plot` names them for users."""
