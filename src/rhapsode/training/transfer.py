"""Going on from a trained model with new text (fine-tuning).

The model keeps its structure; its vocabulary grows by what the new text has and it lacks. Weights go over by symbol:
what stood for ``e`` stands for ``e`` again, whatever its id was. A new symbol enters as the mean of the symbols of
the old text, and is predicted as their mean, as rarely as the rarest of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from rhapsode.config import ModelConfig
from rhapsode.errors import ConfigError, CorpusError, TokenizerError
from rhapsode.modelfile import ModelFile
from rhapsode.nn.spec import Parameters
from rhapsode.text.corpus import Corpus
from rhapsode.text.tokenizer import carried_over

FREE = ("dropout_input", "dropout", "dropout_output", "dropout_mask", "dropconnect")
"""Fields of `ModelConfig` that change no weight, and may be chosen anew."""
BY_SYMBOL = ("embedding.weight", "layers.0.table", "output.weight", "output.bias")
"""Parameters with a row for each symbol."""


def corpus_fields(base: ModelFile, named: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of `CorpusConfig` for text that the model is to learn: `named`, with the kind and case of its symbols.

    Raises:
        ConfigError: another kind or case was named, or no labels for a model that knows some.
    """
    if base.tokenizer.labels and named.get("label") is None:
        raise ConfigError("label", None, "the field or column that holds each text's label, as the model has labels")
    own = {"tokenizer": base.tokenizer.kind, "lowercase": base.tokenizer.lowercase}
    return {**named, **_agreed(own, named)}


def model_fields(base: ModelFile, named: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of `ModelConfig`: the model's, with those `named` that are `FREE`.

    Raises:
        ConfigError: another was named, with another value than the model's.
    """
    derived = {f.name for f in dataclasses.fields(ModelConfig) if f.metadata["derived"]}
    own = {k: v for k, v in vars(base.config).items() if k not in derived and k not in FREE}
    return {**named, **_agreed(own, named)}


def _agreed(own: dict[str, Any], named: Mapping[str, Any]) -> dict[str, Any]:
    """`own`, if no other value was named for one of them."""
    for name in own.keys() & named.keys():
        if named[name] != own[name]:
            raise ConfigError(name, named[name], f"{own[name]!r}, as the model has that is gone on from")
    return own


def check_corpus(base: ModelFile, corpus: Corpus) -> None:
    """Whether the model can go on with this corpus.

    Raises:
        CorpusError: its tokens are others than the model's, or the model cannot learn new ones.
    """
    try:
        index = carried_over(base.tokenizer, corpus.tokenizer)
    except TokenizerError as error:
        raise CorpusError(f"{corpus.path}: not for this model: {error}; name the text itself") from None
    if base.config.input == "scalar" and len(index) != base.config.vocab_size:
        new = [corpus.tokenizer.symbol(int(id)) for id in np.flatnonzero(index < 0)[:5]]
        raise CorpusError(
            f"the text has symbols that the model lacks ({', '.join(new)}), and with scalar input it can learn none"
        )


def starting_model(base: ModelFile, config: ModelConfig, corpus: Corpus) -> ModelFile:
    """The model to begin with: the weights of `base` for the symbols of the corpus."""
    index = carried_over(base.tokenizer, corpus.tokenizer)
    parameters = grown(base.parameters, index, base.tokenizer.specials)
    return ModelFile(config, corpus.tokenizer, parameters, {"from": base.training})


def grown(parameters: Parameters, index: np.ndarray, specials: int) -> Parameters:
    """The weights for a vocabulary whose symbol i was symbol index[i], or is new where that is -1; the last `specials`
    of the old symbols were no text."""
    new = index < 0

    def rows(name: str, old: np.ndarray) -> np.ndarray:
        if name not in BY_SYMBOL:
            return old.copy()
        text = old[: len(old) - specials]
        found = old[index]
        if new.any() and len(text):
            found[new] = text.min(0) if name == "output.bias" else text.mean(0)
        return found

    return {name: rows(name, value) for name, value in parameters.items()}
