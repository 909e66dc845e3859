"""The generator layer: iterated function systems in two and three dimensions.

Independent of clouds, images, labels and torch; the only files it handles are the released CSV files of systems.
"""
