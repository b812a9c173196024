"""Pictures of the ops page for the docs, from real runs: ``make pictures``."""
