"""Everything that can be trained: settings, and a function that makes the task for the loop."""
