"""Training: planning, the loop, checkpoints, and what is seen of it. Knows a backend only by `backends.base`."""
