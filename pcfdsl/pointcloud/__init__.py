"""PC-FractalDB: categories, instances and the point clouds they stand for."""
