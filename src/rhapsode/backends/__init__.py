"""What computes: the native core on CPUs, PyTorch elsewhere. `base` tells what a backend is, `choose` gives one."""
