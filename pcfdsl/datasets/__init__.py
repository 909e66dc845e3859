"""Labelled scenes, clouds and pictures by name: benchmarks, their preparation, detection sets, splits. No torch."""
