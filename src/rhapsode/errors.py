"""What can go wrong, as one tree.

    RhapsodeError
    ├── ConfigError          an option has a value that is not allowed (also a ValueError)
    ├── SourceError          text cannot be read or decoded
    ├── TokenizerError       a tokenizer cannot be made, read or applied
    ├── CorpusError          a prepared corpus is missing, damaged or too small
    ├── LanguageError        a sampler's table or a grammar is not one, or its sentences have no end
    ├── ModelFileError       a model file is not one, is damaged, or is of another format
    ├── SessionError         a session file is not one, is damaged, or belongs to another model
    ├── RunError             a run folder cannot be started, resumed or found
    ├── OutputError          a file cannot be written
    ├── MissingDependency    an optional package is needed and not installed
    ├── BenchmarkError       a measurement cannot be made, or contestants do not compute the same
    └── TrainingError        the work itself failed (a loss that is not a number)

Every message is one line: what, where, what is allowed. `exit_status` is what the command line exits with:
2 for a mistake in what was asked, 1 for a failure of the work. Beside the tree stands `TrainingInterrupted`, which is a
KeyboardInterrupt.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rhapsode.classify.classifier import SequenceClassifier
    from rhapsode.model import Model


MOST_FOUND = 300
"""Characters of what was found, in a message: it may be a whole model."""


def listed(names: Iterable[object], most: int = 8) -> str:
    """The first of the names with commas between, for a message; ``…`` stands for more than `most`."""
    texts = list(map(str, names))
    return ", ".join(texts[:most] + ["…"] * (len(texts) > most))


class RhapsodeError(Exception):
    """Base of everything that rhapsode raises on purpose."""

    exit_status = 2


class ConfigError(RhapsodeError, ValueError):
    """An option's value is not allowed.

    `option` is the field's name as Python spells it; the command line shows it as ``--option-name``.
    """

    def __init__(self, option: str, found: object, allowed: str):
        self.option, self.found, self.allowed = option, found, allowed
        super().__init__(f"{option}: found {' '.join(f'{found!r:.{MOST_FOUND}}'.split())}, allowed: {allowed}")


class SourceError(RhapsodeError):
    """Text cannot be read or decoded."""


class TokenizerError(RhapsodeError):
    """A tokenizer cannot be made, read or applied."""


class CorpusError(RhapsodeError):
    """A prepared corpus is missing, damaged or too small."""


class LanguageError(RhapsodeError, ValueError):
    """A sampler's table or a grammar is not one, or its sentences have no end."""


class ModelFileError(RhapsodeError):
    """A model file is not one, is damaged, or is of another format."""


class SessionError(RhapsodeError):
    """A session file is not one, is damaged, or belongs to another model."""


class RunError(RhapsodeError):
    """A run folder cannot be started, resumed or found."""


class OutputError(RhapsodeError):
    """A file cannot be written."""

    exit_status = 1


class MissingDependency(RhapsodeError):
    """An optional package is needed and not installed."""


class BenchmarkError(RhapsodeError):
    """A measurement cannot be made, or what is compared does not compute the same."""

    exit_status = 1


class TrainingError(RhapsodeError):
    """Training cannot go on."""

    exit_status = 1


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C, or a request to end, reached `rhapsode.train` or `SequenceClassifier.train`: what was learned so far is
    kept."""

    def __init__(self, model: Model | SequenceClassifier, kept: str = ""):
        self.model = model
        """as it was then: of a language model the best one so far, where one was measured"""
        super().__init__(f"training was interrupted; the model so far is in .model of this exception{kept}")
