"""Image data sets on the generator layer."""
