"""The benchmark: what a call takes, and against what."""
