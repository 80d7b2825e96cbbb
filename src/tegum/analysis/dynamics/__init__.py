"""What happens in training: jumps, events, drops, regimes, motions."""
