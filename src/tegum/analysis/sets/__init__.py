"""What becomes of sets of correlated features: collapse, local non-superposition."""
