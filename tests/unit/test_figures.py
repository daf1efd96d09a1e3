"""Numbers for people."""

import math

import pytest

from rhapsode.figures import clock, duration, figure


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1.23456, "1.2346"),
        (99999.9999, "99999.9999"),
        (100000.0, "1e+05"),
        (3.4e38, "3.4e+38"),
        (-3.4e38, "-3.4e+38"),
        (math.inf, "inf"),
        (math.nan, "nan"),
    ],
)
def test_large_numbers_are_short(value, shown):
    assert figure(value) == shown


def test_digits_and_width_can_be_chosen():
    assert figure(1234567.891, 2, 15) == "1234567.89"
    assert figure(12.3456, 3, 5) == "12"


def test_durations_of_every_size():
    shown = {
        0.25: "0.25 s",
        8.24: "8.2 s",
        59: "59 s",
        61: "1:01 minutes",
        3599.6: "1:00:00 hours",
        3700: "1:01:40 hours",
    }
    assert {seconds: duration(seconds) for seconds in shown} == shown


def test_the_clock_of_a_run():
    shown = {0: "0:00", 8.6: "0:09", 61: "1:01", 3700: "1:01:40", math.inf: "?"}
    assert {seconds: clock(seconds) for seconds in shown} == shown
