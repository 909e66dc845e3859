"""PC-FractalDB: point clouds of 3D fractals."""
