"""Best solutions over parameters, the boundaries where one replaces another, and the saddles near states of a run."""
