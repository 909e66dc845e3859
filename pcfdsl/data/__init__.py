"""Torch data sets of generated and stored scenes."""
