"""What computes: the native core on CPUs, PyTorch elsewhere. A backend is known to the rest by `backends.base` only."""
