"""Point and box operators: each fast one has an obviously right twin in plain torch."""
