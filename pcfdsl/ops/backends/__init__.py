"""Accelerated implementations behind the signatures of pcfdsl.ops."""

from pcfdsl.ops.backends.choice import describe

__all__ = ["describe"]
