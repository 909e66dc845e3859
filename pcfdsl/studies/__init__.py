"""Several ways compared on the same seeds, with intervals; the demo and its report."""
