"""How much text a corpus holds: for people, for model files, and to turn losses per token into bits per character."""

from __future__ import annotations

import math
from collections import Counter

from rhapsode.text.corpus import Corpus, Part
from rhapsode.text.tokenizer import Tokenizer, label_id

STRIDE = 1 << 16
"""Documents looked at together."""


def counts(part: Part) -> dict[str, int]:
    """How much text a part of a corpus holds; the boundary before it is none of its tokens."""
    return {
        "tokens": part.predictions,
        "chars": part.chars,
        "bytes": part.bytes,
        "documents": len(part.starts),
    }


def describe(corpus: Corpus) -> str:
    """How much text there is, of how many symbols, in words."""
    tokenizer = corpus.tokenizer
    labels = f", {len(tokenizer.labels):,} of them labels" if tokenizer.labels else ""
    return (
        f"{corpus.train.chars:,} characters to learn from, {corpus.held_out.chars:,} held out; "
        f"{tokenizer.vocab_size:,} {tokenizer.kind} symbols{labels}"
    )


def label_counts(part: Part, tokenizer: Tokenizer) -> dict[str, int]:
    """How many documents of a part have each label."""
    found = Counter[int]()
    for at in range(0, len(part.starts), STRIDE):
        found.update(part.tokens[part.starts[at : at + STRIDE] + 1].tolist())
    return {label: found[label_id(tokenizer, label)] for label in tokenizer.labels}


def bits_per_char_of_a_nat(corpus: Corpus) -> float:
    """Bits per character that a nat per token comes to on the held-out part (the training part, if nothing is held
    out): a loss in nats per token times this is in bits per character."""
    part = corpus.held_out if corpus.held_out.predictions else corpus.train
    return part.predictions / max(1, part.chars) / math.log(2)
