"""Formula-driven supervised learning in 3D: fractal point clouds, scenes of them, and detectors pre-trained on them."""

__version__ = "0.1.0"
