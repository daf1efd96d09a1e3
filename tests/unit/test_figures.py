"""Numbers for people."""

import math

import pytest

from rhapsode.figures import figure


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
