"""Configurations are checked when made, in the user's words."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rhapsode.config import ELEMENTWISE, CorpusConfig, ModelConfig, SamplingConfig, TrainConfig
from rhapsode.errors import ConfigError
from rhapsode.nn.cells import CELLS

ALL = [CorpusConfig, ModelConfig, SamplingConfig, TrainConfig]


def make(cls, **fields):
    return cls(**({"vocab_size": 5} if cls is ModelConfig else {}) | fields)


@pytest.mark.parametrize("cls", ALL)
def test_defaults_are_valid_and_come_back_from_json(cls):
    config = make(cls)
    assert cls.from_json(config.to_json()) == config


@pytest.mark.parametrize("cls", ALL)
def test_every_field_says_what_it_is(cls):
    assert all(field.metadata["help"] for field in dataclasses.fields(cls))


@pytest.mark.parametrize(
    ("cls", "field", "value", "allowed"),
    [
        (ModelConfig, "dropout", 1.0, "from 0"),
        (ModelConfig, "dropout", 1.0, "below 1"),
        (ModelConfig, "dropout", float("nan"), "a number"),
        (ModelConfig, "hidden", 0, "from 1"),
        (ModelConfig, "hidden", 3.5, "whole number"),
        (ModelConfig, "hidden", True, "whole number"),
        (ModelConfig, "cell", "transformer", "rnn, gru, lstm"),
        (TrainConfig, "lr", 0.0, "above 0"),
        (TrainConfig, "lr", "fast", "a number"),
        (TrainConfig, "nesterov", 1, "true or false"),
        (SamplingConfig, "top_p", 0.0, "above 0"),
    ],
)
def test_a_value_that_is_not_allowed_is_named_with_what_is(cls, field, value, allowed):
    with pytest.raises(ConfigError) as caught:
        make(cls, **{field: value})
    assert caught.value.option == field
    assert allowed in caught.value.allowed
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("cls", "fields"),
    [
        (ModelConfig, {"tied": True}),
        (ModelConfig, {"tied": True, "input": "embedding", "embedding_size": 8, "hidden": 16}),
        (ModelConfig, {"nonlinearity": "relu"}),
        (ModelConfig, {"specials": 5}),
        (TrainConfig, {"minutes": 1, "steps": 5}),
        (TrainConfig, {"nesterov": True}),
        (TrainConfig, {"accumulate": 64}),
        (TrainConfig, {"targets": "last"}),
    ],
)
def test_fields_that_do_not_go_together(cls, fields):
    with pytest.raises(ConfigError):
        make(cls, **fields)


def test_whole_numbers_are_numbers():
    assert TrainConfig(minutes=3).minutes == 3.0
    assert isinstance(TrainConfig(lr=1).lr, float)


scalars = st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5)


def test_a_cell_without_a_recurrent_matrix_has_no_dropconnect():
    assert {name for name, cell in CELLS.items() if not cell.matrices} == ELEMENTWISE
    for name in ELEMENTWISE:
        with pytest.raises(ConfigError, match=f"dropconnect.*{name}"):
            ModelConfig(vocab_size=5, cell=name, dropconnect=0.1)


json_values = scalars | st.lists(scalars, max_size=2)
names = st.sampled_from(["hidden", "lr", "stop", "vocab_size", "cell", "x"])


@given(st.sampled_from(ALL), st.dictionaries(names, json_values, max_size=3))
def test_json_from_anywhere_is_a_configuration_or_an_error(cls, values):
    try:
        config = cls.from_json(values)
    except ConfigError as error:
        assert error.option  # noqa: PT017
    else:
        assert isinstance(config, cls)
