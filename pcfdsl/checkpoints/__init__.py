"""Weights in files: a run's own, other people's, converted into one another, and where training starts from."""
