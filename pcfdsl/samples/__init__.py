"""What networks are given: scenes, clouds and pictures, drawn, augmented and batched as tensors."""
