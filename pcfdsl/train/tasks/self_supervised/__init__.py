"""Self-supervised pre-training of image networks: the rows without labels of the papers' tables."""
