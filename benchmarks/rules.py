"""What the rules of a text cost: characters a second with each of them, as a part of the speed without.

A character LSTM of one layer with random weights in int8 writes a text of the same length under each rule, which all
take turns; the table shows the median and the best run of each. First, each text must be what the rules in Python
make of the same engine, symbol by symbol (parity).

    python benchmarks/rules.py
"""

from __future__ import annotations

import statistics
import time
from typing import Any

from rhapsode.config import ModelConfig
from rhapsode.model import Model
from rhapsode.modelfile import ModelFile
from rhapsode.nn.spec import initial_parameters
from rhapsode.text.tokenizers.char import CharTokenizer

CHARACTERS = "".join(map(chr, range(32, 97)))
ROUNDS, LENGTH, SHORT = 9, 20_000, 300
RULES: dict[str, dict[str, Any]] = {
    "no rule": {},
    "stop": {"stop": ["THE END", "0123456", "$$$$$$$"]},
    "ban": {"ban": ["AB", "XYZ", "THE", "42"]},
    "only": {"only": CHARACTERS[1:60]},
    "regex": {"regex": "([^ ]{1,9} )*.?"},
    "require": {"require": ["RHAPSODE WAS HERE"]},
    "penalties": {"frequency_penalty": 0.1, "presence_penalty": 0.1, "repetition_penalty": 1.1},
    "typical": {"typical_p": 0.95},
    "top_k and top_p": {"top_k": 40, "top_p": 0.95},
    "bias": {"bias": {"E": 1.0, "Q": -5.0}},
}


def main() -> None:
    model = _model()
    for fields in RULES.values():
        _check(model, fields)
    seconds: dict[str, list[float]] = {name: [] for name in RULES}
    for _ in range(ROUNDS):
        for name, fields in RULES.items():
            began = time.perf_counter()
            text = model.generate("A", seed=1, length=LENGTH, **fields)
            seconds[name].append((time.perf_counter() - began) / max(1, len(text)))
    plain = statistics.median(seconds["no rule"])
    print(f"{'rule':<18}{'characters/s':>14}{'best':>12}{'of the speed without':>22}")
    for name, runs in seconds.items():
        median = statistics.median(runs)
        print(f"{name:<18}{1 / median:>14,.0f}{1 / min(runs):>12,.0f}{plain / median:>21.0%}")


def _model() -> Model:
    tokenizer = CharTokenizer(CHARACTERS)
    config = ModelConfig(vocab_size=tokenizer.vocab_size, specials=tokenizer.specials, hidden=512)
    return Model(ModelFile(config, tokenizer, initial_parameters(config), {"start": " "}), "int8")


def _check(model: Model, fields: dict[str, Any]) -> None:
    """The loop in C++ and the rules in Python write the same."""
    found = model.generate("A", seed=1, length=SHORT, **fields)
    model.engine.writes = False
    expected = model.generate("A", seed=1, length=SHORT, **fields)
    del model.engine.writes
    if found != expected:
        raise SystemExit(f"parity: {fields} writes another text by itself")


if __name__ == "__main__":
    main()
