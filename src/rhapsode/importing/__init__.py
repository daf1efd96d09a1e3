"""Networks that other libraries have trained, as model files of rhapsode: the same predictions, none of the library."""

from rhapsode.importing.read import import_model

__all__ = ["import_model"]
