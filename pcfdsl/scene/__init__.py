"""Synthetic scenes: objects laid out in rooms, with boxes, labels and votes."""
