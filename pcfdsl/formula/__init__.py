"""The generator layer: iterated function systems in two and three dimensions. Knows nothing of clouds, images, labels, files or torch."""
