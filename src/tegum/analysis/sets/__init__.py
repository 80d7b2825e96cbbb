"""How sets of correlated features are represented: collapse, and local non-superposition."""
