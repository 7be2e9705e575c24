"""One run: training, rollouts, checkpoint, result."""
