"""Training: the step, the loop, checkpoints and run records."""
