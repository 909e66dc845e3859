"""The claims of the papers, run again at a size that two cores can do: what was claimed, and what came out."""
