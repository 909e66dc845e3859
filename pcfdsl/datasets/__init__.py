"""Labelled scenes, clouds and pictures: benchmarks and their preparation, detection sets, splits. No torch."""
