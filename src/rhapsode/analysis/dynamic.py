"""Dynamic evaluation: what a text costs a model that learns from it while it reads (see `rhapsode.adaptation`)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from rhapsode.adaptation import LR, SEGMENT, Adaptation
from rhapsode.analysis.predictions import Predictions, segments
from rhapsode.evaluate import Spans
from rhapsode.modelfile import ModelFile
from rhapsode.sampling import log_softmax


def dynamic_predictions(
    model: ModelFile, tokens: np.ndarray, spans: Spans, lr: float = LR, **train: str
) -> Iterator[Predictions]:
    """What the model predicts in the order of the text, learning from each segment after it was predicted.

    Arguments and errors as those of `Adaptation`.
    """
    adaptation = Adaptation(model, lr, None, **train)
    state = adaptation.initial_state()
    for first, last, opens in segments(spans, SEGMENT):
        before = adaptation.initial_state() if opens else state
        logits, state = adaptation.read(tokens[first : last + 1], before, opens)
        yield Predictions(first, log_softmax(logits))
