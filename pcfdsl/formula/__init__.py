"""The generator layer: iterated function systems in two and three dimensions.

Knows nothing of clouds, images, labels or torch, and of files only the published form of a system.
"""
