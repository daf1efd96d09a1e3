"""The laws run over random models: these are of every kind that `ModelConfig` allows, so that no option is untested."""

from collections import defaultdict
from dataclasses import asdict, fields

from hypothesis import Phase, given, settings

from learners import model_configs
from models import models
from rhapsode.config import ModelConfig

INITIAL_VALUES_ONLY = {"specials", "init", "init_std"}
"""Fields that decide with what a model begins, and nothing that is computed with it."""

TRAINING_ONLY = {"dropout_input", "dropout", "dropout_output", "dropout_mask", "dropconnect"}
"""Fields that an engine has no use for."""


def varied(configs):
    """The fields of which 200 of these models have more than one value."""
    seen = defaultdict(set)

    @settings(max_examples=200, derandomize=True, database=None, deadline=None, phases=[Phase.generate])
    @given(configs)
    def draw(config):
        for name, value in asdict(config).items():
            seen[name].add(value)

    draw()
    return {name for name, values in seen.items() if len(values) > 1}


ALL = {field.name for field in fields(ModelConfig)} - INITIAL_VALUES_ONLY


def test_learners_are_of_every_kind():
    assert varied(model_configs(dropout=True)) == ALL


def test_engines_are_of_every_kind():
    assert varied(models().map(lambda file: file.config)) - INITIAL_VALUES_ONLY == ALL - TRAINING_ONLY
