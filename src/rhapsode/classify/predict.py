"""From a classifier's file to probabilities: on the native core where it was built, else in numpy."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from rhapsode.classify.examples import by_length, cut, padded
from rhapsode.classify.file import ClassifierFile
from rhapsode.nn.classifier import logits
from rhapsode.sampling import log_softmax

Logits = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""From ids [T, B] and lengths [B] to logits [B, C]."""


def open_classifier(file: ClassifierFile) -> Logits:
    """What computes the logits of the classifier in `file`, in fp32. May be shared by threads."""
    try:
        from rhapsode.backends.native.classifier import Network
    except ImportError:
        return partial(logits, file.model, file.head, file.parameters)
    network, lock = Network(file.model, file.head, file.parameters), threading.Lock()

    def locked(ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        with lock:
            return network.logits(ids, lengths)

    return locked


def probabilities(logits: Logits, sequences: Sequence[np.ndarray], length: int) -> np.ndarray:
    """[N, C], float64, of N sequences, none of them empty: the mean over the pieces of each."""
    pieces = cut(sequences, length)
    groups = list(by_length(pieces.ids))
    found = [np.exp(log_softmax(logits(*padded([pieces.ids[i] for i in group])))) for group in groups]
    sums = np.zeros((len(sequences), found[0].shape[1]))
    for group, p in zip(groups, found, strict=True):
        np.add.at(sums, pieces.of[group], p)
    return sums / np.bincount(pieces.of)[:, None]
