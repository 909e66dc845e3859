"""What a network sees: scenes, clouds and pictures drawn, augmented and batched as tensors."""
