"""Other projects' file formats, read without executing or trusting anything in them."""
