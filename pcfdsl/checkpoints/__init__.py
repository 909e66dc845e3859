"""Weights in files: a run's own and other projects', their conversion, and the start of training from them."""
