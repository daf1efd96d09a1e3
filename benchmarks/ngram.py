"""What counting achieves on a text, by length of context: held-out loss and seconds of a Kneser-Ney n-gram.

    python benchmarks/ngram.py                                          ../shared/data/tinyshakespeare.txt
    python benchmarks/ngram.py ../shared/data/names.txt --held-out 1000

Text is read and split as `rhapsode prepare` does it. Every quality table carries the best line of this one.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from pathlib import Path

from rhapsode.analysis.baselines import NGram
from rhapsode.config import CorpusConfig
from rhapsode.evaluate import measured
from rhapsode.text.corpus import Corpus, prepare


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="*", default=["../shared/data/tinyshakespeare.txt"])
    parser.add_argument("--tokenizer", default="char")
    parser.add_argument("--held-out", type=float, default=0.1)
    parser.add_argument("--orders", type=int, default=8)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        config = CorpusConfig(tokenizer=options.tokenizer, held_out=options.held_out)
        corpus = prepare(options.source, config, Path(folder) / "corpus")
        print(f"{len(corpus.train.tokens) - 1:,} tokens to learn from, {len(corpus.held_out.tokens) - 1:,} held out")
        print("order  nats/token  bits/char  seconds")
        for order in range(1, options.orders + 1):
            show(order, corpus)


def show(order: int, corpus: Corpus) -> None:
    begun = time.perf_counter()
    tokenizer = corpus.tokenizer
    model = NGram(order).fit(corpus.train.tokens, tokenizer.vocab_size, tokenizer.boundary)
    nats = math.fsum(model.nats(corpus.held_out.tokens))
    seconds = time.perf_counter() - begun
    found = measured(corpus.held_out, nats, tokenizer)
    print(f"{order:5}  {found.nats_per_token:10.4f}  {found.bits_per_char:9.4f}  {seconds:7.2f}", flush=True)


if __name__ == "__main__":
    main()
