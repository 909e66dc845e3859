"""Accelerated implementations behind the signatures of pcfdsl.ops."""
