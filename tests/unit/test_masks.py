"""Dropout masks: their statistics, and that torch draws the same bits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rhapsode.nn import masks

keys = st.integers(0, 2**32 - 1)


def test_known_values():
    """The hash of `rhapsode.nn.masks`, computed with Python's whole numbers."""

    def mix(x):
        x ^= x >> 16
        x = x * 0x7FEB352D % 2**32
        x ^= x >> 15
        x = x * 0x846CA68B % 2**32
        return x ^ x >> 16

    key = 0xDEADBEEF
    for rows, columns in [(1, 1), (3, 64), (5, 65), (2, 200)]:
        pitch = -(-columns // 64) * 64
        byte = [[mix(key ^ (r * pitch + c) // 4) >> 8 * (c % 4) & 255 for c in range(columns)] for r in range(rows)]
        np.testing.assert_array_equal(masks.keep(key, rows, columns, 0.3), np.array(byte) >= 77)


@pytest.mark.parametrize("p", [0.1, 0.25, 0.5, 0.9])
def test_frequency_and_independence(p):
    kept = masks.keep(masks.key(1, 2, "output"), 1000, 100, p)
    exact = masks.threshold(p) / 256
    spread = (exact * (1 - exact) / kept.size) ** 0.5
    assert abs(1 - kept.mean() - exact) < 4 * spread
    dropped = ~kept - exact
    for neighbour in (dropped[1:] * dropped[:-1], dropped[:, 1:] * dropped[:, :-1], dropped[:, 4:] * dropped[:, :-4]):
        assert abs(neighbour.mean()) < 4 * exact * (1 - exact) / neighbour.size**0.5
    assert masks.scale(p) * (1 - exact) == 1


def test_masks_differ_by_seed_step_and_site():
    drawn = [masks.keep(masks.key(*k), 8, 64, 0.5) for k in [(0, 0, "a"), (1, 0, "a"), (0, 1, "a"), (0, 0, "b")]]
    for i, one in enumerate(drawn):
        assert all(0.3 < (one != other).mean() < 0.7 for other in drawn[:i])


@pytest.mark.parametrize(("p", "expected"), [(0.0, 0), (0.001, 0), (0.5, 128), (0.999, 255), (0.99999, 255)])
def test_threshold(p, expected):
    assert masks.threshold(p) == expected
    assert masks.keep(7, 50, 64, p).any()


@settings(max_examples=100, deadline=None)
@given(keys, st.integers(1, 9), st.integers(1, 200), st.floats(0, 0.99))
def test_torch_draws_the_same_bits(key, rows, columns, p):
    torch = pytest.importorskip("torch")
    from rhapsode.backends.torch.masks import keep, keep_entry

    expected = masks.keep(key, rows, columns, p)
    numbers = torch.arange(rows, dtype=torch.int32)
    np.testing.assert_array_equal(keep(key, numbers, columns, p).numpy(), expected)
    some = numbers.flip(0)[::2]
    np.testing.assert_array_equal(keep(key, some, columns, p).numpy(), expected[some.numpy()])
    entries = torch.arange(rows, dtype=torch.int32) * 31 % columns
    np.testing.assert_array_equal(
        keep_entry(key, numbers, entries, columns, p).numpy(), expected[numbers.numpy(), entries.numpy()]
    )


def test_torch_counts_beyond_31_bits():
    """Rows so far down that their counter passes 2^31 and wraps around at 2^32."""
    torch = pytest.importorskip("torch")
    from rhapsode.backends.torch.masks import keep

    words = masks.pitch(50_000) // 4
    for row in (2**31 // words + 1, 2**32 // words + 1):
        counter = (np.arange(words, dtype=np.uint64) + row * words).astype(np.uint32)
        bits = masks.mix(np.uint32(99) ^ counter).view(np.uint8)[:50_000]
        found = keep(99, torch.tensor([row], dtype=torch.int32), 50_000, 0.5)
        np.testing.assert_array_equal(found[0].numpy(), bits >= 128)
