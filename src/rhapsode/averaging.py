"""Averaging: one model whose weights are the mean of several models' ("model soups": Wortsman et al. 2022,
arXiv:2203.05482).

    θ = Σ w_i θ_i

It costs no more to run than one of them. It helps where the models lie in one basin: checkpoints of one run, or models
that were fine-tuned from the same one. Models that began from different random weights have their units in different
orders, and their mean knows nothing: blend those (`rhapsode.blending`).

Models must have the same structure and the same symbols, which are matched by what they stand for, never by id.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from rhapsode.blending import normalised
from rhapsode.config import ModelConfig
from rhapsode.errors import ConfigError, TokenizerError
from rhapsode.model import Model, models_of
from rhapsode.modelfile import ModelFile
from rhapsode.nn.spec import Parameters
from rhapsode.text.tokenizer import carried_over
from rhapsode.training.transfer import BY_SYMBOL, FREE

IDLE = (*FREE, "init", "init_std")
"""Fields of `ModelConfig` that change nothing about trained weights."""


def average(models: Sequence[Model | ModelFile], weights: Sequence[float] | None = None) -> Model:
    """The model of the mean weights, with the symbols and the dropout of the first, in fp32.

    Args:
        weights: one positive number for each model, in any unit; None: all the same.

    Raises:
        ConfigError: these are no models; the weights are not one positive number for each; the structures differ.
        TokenizerError: they differ in their symbols.
    """
    found = models_of(models, Model, ModelFile)
    return Model(averaged([model.file if isinstance(model, Model) else model for model in found], weights))


def averaged(models: Sequence[ModelFile], weights: Sequence[float] | None = None) -> ModelFile:
    """`average` of model files."""
    share = normalised(weights, len(models))
    first, alike = models[0], [_as(models[0], model) for model in models]
    mean = {
        name: sum(w * own[name].astype(np.float64) for w, own in zip(share, alike, strict=True)).astype(np.float32)
        for name in first.parameters
    }
    of = [model.training.get("progress") for model in models]
    parts = [{"weight": float(w), "progress": progress} for w, progress in zip(share, of, strict=True)]
    training = {key: value for key, value in first.training.items() if key != "progress"} | {"averaged": parts}
    return ModelFile(first.config, first.tokenizer, mean, training)


def greedy(models: Sequence[ModelFile], loss: Callable[[ModelFile], float]) -> tuple[ModelFile, list[int]]:
    """The greedy soup (the paper's recipe 1): from the model of least `loss` on, in order of their losses, each is
    added if the uniform average with it has no greater loss. So the result is never worse than the best of them.

    Returns the average, and the numbers of the models in it.
    """
    averaged(models)  # whether they go together is told before anything is measured
    losses = [loss(model) for model in models]
    order = np.argsort(losses, kind="stable").tolist()
    chosen, least = order[:1], losses[order[0]]
    soup = averaged([models[order[0]]])
    for number in order[1:]:
        wider = averaged([models[i] for i in (*chosen, number)])
        found = loss(wider)
        if found <= least:
            soup, least, chosen = wider, found, [*chosen, number]
    return soup, chosen


def _as(first: ModelFile, other: ModelFile) -> Parameters:
    """The weights of `other` in the order of the symbols of `first`.

    Raises:
        ConfigError, TokenizerError: it is no model of the same structure and symbols.
    """
    for field in dataclasses.fields(ModelConfig):
        mine, theirs = getattr(first.config, field.name), getattr(other.config, field.name)
        if mine != theirs and not field.metadata["derived"] and field.name not in IDLE:
            raise ConfigError(field.name, theirs, f"{mine!r}, as the first model has, to be averaged with it")
    try:
        index = carried_over(other.tokenizer, first.tokenizer)
        carried_over(first.tokenizer, other.tokenizer)
    except TokenizerError as error:
        raise TokenizerError(f"models must have the same symbols to be averaged: {error}") from None
    return {name: value[index] if name in BY_SYMBOL else value for name, value in other.parameters.items()}
