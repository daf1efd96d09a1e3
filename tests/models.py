"""Small random models for tests: every kind of configuration, weights that are not neutral anywhere."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from rhapsode.config import ModelConfig
from rhapsode.modelfile import ModelFile
from rhapsode.nn.cells import CELLS
from rhapsode.nn.spec import parameter_spec
from rhapsode.text.tokenizer import Tokenizer, tokenizer_from_json

LETTERS = "\n ,.abdenorst"
KINDS = [*((cell, "tanh") for cell in sorted(CELLS)), ("rnn", "relu")]
"""Cells, with what their state goes through."""


def char_tokenizer(characters: str = LETTERS, labels: tuple[str, ...] = ()) -> Tokenizer:
    own = {"kind": "char", "characters": "".join(sorted(characters)), "lowercase": False}
    return tokenizer_from_json(own | {"labels": list(labels)})


def byte_tokenizer() -> Tokenizer:
    return tokenizer_from_json({"kind": "byte", "lowercase": False})


def random_model(
    tokenizer: Tokenizer | None = None,
    seed: int = 0,
    training: dict[str, Any] | None = None,
    scale: float = 0.5,
    **fields: Any,
) -> ModelFile:
    """A model with every weight drawn from N(0, scale²), norms and biases too, so that no part is neutral."""
    tokenizer = char_tokenizer() if tokenizer is None else tokenizer
    named: dict[str, Any] = {"hidden": 16, **fields}
    config = ModelConfig(vocab_size=tokenizer.vocab_size, specials=tokenizer.specials, **named)
    rng = np.random.default_rng(seed)
    parameters = {p.name: rng.normal(0, scale, p.shape).astype(np.float32) for p in parameter_spec(config)}
    return ModelFile(config, tokenizer, parameters, training or {})


@st.composite
def model_fields(draw: st.DrawFn) -> dict[str, Any]:
    """Fields of a small `ModelConfig`, of every kind."""
    cell, nonlinearity = draw(st.sampled_from(KINDS))
    hidden = draw(st.integers(1, 33))
    source = draw(st.sampled_from(["one-hot", "embedding", "scalar"]))
    tied = source == "embedding" and draw(st.booleans())
    return {
        "cell": cell,
        "hidden": hidden,
        "input": source,
        "nonlinearity": nonlinearity,
        "layers": draw(st.integers(1, 3)),
        "embedding_size": hidden if tied else draw(st.integers(1, 17)),
        "tied": tied,
        "residual": draw(st.booleans()),
        "norm": draw(st.sampled_from(["none", "layer", "rms"])),
        "conv": draw(st.sampled_from([0, 0, 1, 2, 5])),
        "mlp": draw(st.sampled_from([0.0, 0.0, 0.4, 1.5])),
        "learned_state": draw(st.booleans()),
    }


@st.composite
def models(draw: st.DrawFn) -> ModelFile:
    """Small models over characters, with labels or without, or bytes."""
    fields = draw(model_fields())
    tokenizer = draw(st.sampled_from([char_tokenizer(), char_tokenizer(labels=("a", "the sea")), byte_tokenizer()]))
    # A relu state must not grow until it overflows, nor rounding until it shows, which products of projections amplify.
    scales = {"relu": 0.2, "mlstm": 0.35}
    scale = min(scales.get(fields[name], 0.5) for name in ("cell", "nonlinearity"))
    return random_model(tokenizer, draw(st.integers(0, 999)), scale=scale, **fields)
