"""Other people's file formats: read without running anything in them and without believing what they promise."""
