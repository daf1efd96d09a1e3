"""Held-out loss by seconds of training: rhapsode beside what else one could pick. See `__main__`."""
