"""Speed of encoding and decoding, in MB of UTF-8 a second on one core, beside a named peer doing the same.

    python benchmarks/tokenizer_speed.py [FILE]

Before anything is timed, ids and text are compared with the peer's. Medians of 7 runs that take turns. Without FILE the
text is the standard library's own source and documentation.

Peers: for char, a dictionary from character to id in a list comprehension; for byte, `list(text.encode())`; for word,
the same pieces looked up in a dictionary in a comprehension; for bpe, one call of Hugging Face's `tokenizers` with the
same merges on the whole text.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["TOKENIZERS_PARALLELISM"] = "false"

from rhapsode.config import CorpusConfig
from rhapsode.text.tokenizer import Tokenizer, train_tokenizer
from rhapsode.text.tokenizers.word import split_words

RUNS = 7
ENOUGH = 8_000_000
"""Characters of text."""


def main() -> None:
    text = _text()
    size = len(text.encode())
    print(
        f"{size / 1e6:.1f} MB of text, {platform.processor() or platform.machine()}, Python {platform.python_version()}"
    )
    print(f"{'kind':<6}{'encode':>10}{'peer':>10}{'ratio':>8}{'decode':>10}   MB/s, median of {RUNS}")
    for kind in ("char", "byte", "word", "bpe"):
        tokenizer = train_tokenizer(CorpusConfig(tokenizer=kind, vocab_size=8192), [text])
        peer = _peer(tokenizer)
        ids = tokenizer.encode(text)
        assert ids.tolist() == peer(text), f"{kind}: the ids are not the peer's"
        assert kind == "word" or tokenizer.decode(ids) == text, f"{kind}: the text does not come back"
        ours, theirs, back = _medians(
            lambda t=tokenizer: t.encode(text), lambda p=peer: p(text), lambda t=tokenizer, i=ids: t.decode(i)
        )
        print(
            f"{kind:<6}{size / ours / 1e6:>10.1f}{size / theirs / 1e6:>10.1f}{theirs / ours:>7.1f}×"
            f"{size / back / 1e6:>10.1f}"
        )


def _text() -> str:
    if len(sys.argv) > 1:
        text = Path(sys.argv[1]).read_text("utf-8")
    else:
        text = "".join(
            path.read_text("utf-8", "replace") for path in sorted(Path(json.__file__).parents[1].glob("*.py"))
        )
    return (text * (ENOUGH // len(text) + 1))[:ENOUGH]


def _peer(tokenizer: Any) -> Callable[[str], list[int]]:
    if tokenizer.kind == "char":
        table = {c: i for i, c in enumerate(tokenizer.characters)}
        return lambda text: [table[c] for c in text]
    if tokenizer.kind == "byte":
        return lambda text: list(text.encode())
    if tokenizer.kind == "word":
        words = {word: i for i, word in enumerate(tokenizer.words)}
        return lambda text: [words.get(piece, tokenizer.unknown) for piece in split_words(text)]
    return lambda text: _hugging_face(tokenizer).encode(text).ids


def _hugging_face(tokenizer: Tokenizer) -> Any:
    return tokenizer._encoder  # type: ignore[attr-defined]


def _medians(*functions: Callable[[], Any]) -> list[float]:
    """Seconds of each."""
    times: list[list[float]] = [[] for _ in functions]
    for _ in range(RUNS):
        for function, own in zip(functions, times, strict=True):
            start = time.perf_counter()
            function()
            own.append(time.perf_counter() - start)
    return [statistics.median(own) for own in times]


if __name__ == "__main__":
    main()
