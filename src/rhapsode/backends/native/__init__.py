"""The native backend: the C++ core (native/) composed into models and trained, on any CPU."""
