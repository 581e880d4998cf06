"""Training: the loop, its objective, and the run folder that holds all that came of it."""
