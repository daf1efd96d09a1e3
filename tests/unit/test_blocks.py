"""The standard error of a mean loss is what repeated draws of the text would give."""

import math

import numpy as np
import pytest

from rhapsode.text.blocks import Spread, certainty
from rhapsode.text.store import Part


def part(tokens, starts):
    return Part(np.zeros(tokens, np.uint8), np.array(starts, np.int64), tokens, tokens)


def drawn(rng, whole):
    """Losses of which neighbours are alike, of a text whose documents are 20 symbols, or of one that is whole."""
    return np.repeat(rng.normal(2, 0.5, 2000), 20) if not whole else np.repeat(rng.normal(2, 0.5, 400), 100)


@pytest.mark.parametrize("whole", [False, True])
def test_it_is_the_spread_of_the_means_of_many_texts(whole):
    rng = np.random.default_rng(0)
    means, errors = [], []
    for _ in range(60):
        nats = drawn(rng, whole)
        spread = Spread(part(len(nats) + 1, [0] if whole else np.arange(0, len(nats), 20)))
        for index in np.array_split(rng.permutation(len(nats)), 7):
            spread.add(index, nats[index])
        means.append(nats.mean())
        errors.append(spread.standard_error())
    assert np.mean(errors) == pytest.approx(np.std(means), rel=0.3)
    assert len(spread.edges) <= 1000


def test_one_stretch_tells_nothing():
    spread = Spread(part(300, [0]))
    spread.add(np.arange(299), np.ones(299))
    assert math.isnan(spread.standard_error())
    assert "too little text to say" in certainty(1.0, spread.standard_error())


def test_in_words():
    assert "rough idea" in certainty(2.0, 0.3)
    assert "rough idea" not in certainty(0.0001, 0.0001)  # the same symbol again and again
    assert certainty(2.0, 0.012) == "its loss is known to ± 0.012 nats per token (standard error)"
