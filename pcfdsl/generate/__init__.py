"""Generation of stored sets from recipes: distributed, resumable, verifiable."""
