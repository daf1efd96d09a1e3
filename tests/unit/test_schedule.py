"""The course of the learning rate."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rhapsode.config import TrainConfig
from rhapsode.training.schedule import dropout_part, learning_rate

SCHEDULES = ["constant", "linear", "cosine", "step"]


@pytest.mark.parametrize(
    ("schedule", "progress", "part"),
    [
        ("constant", 1.0, 1.0),
        ("linear", 0.0, 1.0),
        ("linear", 0.5, 0.51),
        ("linear", 1.0, 0.02),
        ("cosine", 0.5, 0.51),
        ("cosine", 1.0, 0.02),
        ("step", 0.24, 1.0),
        ("step", 0.26, 0.5),
        ("step", 0.99, 0.125),
    ],
)
def test_known_points(schedule, progress, part):
    config = TrainConfig(lr=0.1, schedule=schedule, warmup=0)
    assert learning_rate(config, 1000, progress) == pytest.approx(0.1 * part)


def test_warm_up_rises_to_the_full_rate_in_its_last_step():
    config = TrainConfig(lr=1.0, schedule="constant", warmup=4)
    assert [learning_rate(config, step, 0) for step in range(6)] == [0.25, 0.5, 0.75, 1, 1, 1]


@given(st.sampled_from(SCHEDULES), st.floats(0, 1), st.floats(0, 1))
def test_after_warm_up_the_rate_never_rises(schedule, a, b):
    config = TrainConfig(schedule=schedule, warmup=0)
    early, late = sorted((a, b))
    assert learning_rate(config, 0, early) >= learning_rate(config, 0, late) > 0


def dropout_after(validations, gap, train_loss=2.0, config=None):
    part = 0.0
    for _ in range(validations):
        part = dropout_part(config or TrainConfig(dropout_gap=0.05), part, train_loss, train_loss * (1 + gap))
    return part


def test_dropout_follows_what_is_learned_by_heart():
    assert dropout_after(5, -0.1) == dropout_after(5, 0.0) == 0
    assert 0 < dropout_after(1, 0.05) < dropout_after(2, 0.05) < dropout_after(50, 0.05) == pytest.approx(1)
    assert dropout_after(50, 0.02) == pytest.approx(0.4)
    assert dropout_after(3, 0.0, train_loss=0.0) == 0
    assert dropout_part(TrainConfig(dropout_gap=0.05), 1.0, 2.0, 2.0) < 1


def test_without_a_gap_dropout_is_full():
    assert dropout_after(1, 0.0, config=TrainConfig()) == 1
