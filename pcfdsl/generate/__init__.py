"""Recipes become stored sets on disk: on any number of processes and machines, resumable, verified."""
