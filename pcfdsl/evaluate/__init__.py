"""Detection average precision and reports."""
