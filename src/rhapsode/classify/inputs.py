"""What a classifier takes: texts or rows of ids, and their classes; checked, and turned into arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rhapsode.classify.report import Label
from rhapsode.config import CorpusConfig
from rhapsode.errors import ConfigError, listed
from rhapsode.text.tokenizer import Tokenizer, train_tokenizer

Input = str | Sequence[int] | np.ndarray
"""A text, or a row of ids (whole numbers from 0). Sequences of vectors are not read."""


def make_tokenizer(inputs: Sequence[Input], config: CorpusConfig) -> Tokenizer | None:
    """The tokenizer of these texts; None where the first input is a row of ids."""
    if not len(inputs):
        raise ConfigError("inputs", inputs, "at least one sequence")
    if not isinstance(inputs[0], str):
        return None
    return train_tokenizer(config, (text for text in inputs if isinstance(text, str)))


def encoded(inputs: Sequence[Input], tokenizer: Tokenizer | None, vocab_size: int | None = None) -> list[np.ndarray]:
    """The ids [N], int32, of every input: of its text, or as they are, below `vocab_size` if that is known.

    Raises:
        ConfigError: an input is empty, or not of the kind that goes with the tokenizer.
    """
    return [_encoded(f"inputs[{number}]", given, tokenizer, vocab_size) for number, given in enumerate(inputs)]


def _encoded(name: str, given: Input, tokenizer: Tokenizer | None, vocab_size: int | None) -> np.ndarray:
    if tokenizer:
        if not isinstance(given, str) or not given:
            raise ConfigError(name, given, "a text that is not empty")
        return tokenizer.encode(given)
    highest = "" if vocab_size is None else f" to {vocab_size - 1}"
    ids = np.asarray(given)
    if ids.ndim != 1 or not ids.size or ids.dtype.kind not in "iu":
        raise ConfigError(name, given, f"a row of ids, whole numbers from 0{highest} (vectors are not read)")
    if ids.min() < 0 or ids.max() >= (2**31 - 1 if vocab_size is None else vocab_size):
        raise ConfigError(name, int(ids.min() if ids.min() < 0 else ids.max()), f"ids from 0{highest}")
    return ids.astype(np.int32)


def classes_of(targets: Sequence[Label]) -> tuple[Label, ...]:
    """The different classes, in order.

    Raises:
        ConfigError: there is one only, or one is neither text nor a whole number.
    """
    for number, target in enumerate(targets):
        if not isinstance(target, str | int | np.integer) or isinstance(target, bool) or target == "":
            raise ConfigError(
                f"targets[{number}]", target, "the name of a class: text that is not empty, or a whole number"
            )
    found = {target if isinstance(target, str) else int(target) for target in targets}
    if len(found) < 2:
        raise ConfigError("targets", sorted(found, key=str), "at least two classes")
    return tuple(sorted(found, key=lambda label: (isinstance(label, str), label)))


def indices(targets: Sequence[Label], labels: Sequence[Label], inputs: Sequence[Input]) -> np.ndarray:
    """The number among `labels` of each target [N], one for each input.

    Raises:
        ConfigError: one is none of them, or there are more or fewer than inputs.
    """
    if len(targets) != len(inputs):
        raise ConfigError("targets", len(targets), f"as many as inputs ({len(inputs)})")
    index = {label: number for number, label in enumerate(labels)}
    for number, target in enumerate(targets):
        if target not in index:
            raise ConfigError(f"targets[{number}]", target, f"a class that was learned: {listed(labels, 12)}")
    return np.array([index[target] for target in targets], np.int32)
