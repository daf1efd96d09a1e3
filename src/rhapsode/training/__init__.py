"""Training: planning, the loop, checkpoints, and what is seen of it. `backends.base` is all it knows of a backend."""
