"""Trajectories as labelled arrays (`schema`) and as files in which damage is detected (`store`)."""
