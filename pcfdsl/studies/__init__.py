"""Comparisons on paired seeds with intervals: starting points, image sets, the demo; attention of image networks."""
