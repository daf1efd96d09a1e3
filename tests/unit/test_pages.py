"""Tokens on disk: the same ids, whatever is let go of meanwhile."""

import numpy as np
import pytest

from rhapsode.text import pages


@pytest.mark.parametrize("small", [0, 1 << 20])
@pytest.mark.parametrize("mapped", [True, False])
def test_what_is_read_is_what_is_there(small, mapped, tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "SMALL", small)
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 60_000, 200_000).astype("<u2")
    tokens.tofile(tmp_path / "tokens")
    on_disk = np.memmap(tmp_path / "tokens", "<u2", "r") if mapped else tokens
    index = rng.integers(0, 199_000, 150) + np.arange(40)[:, None]
    found = pages.Pages(on_disk).take(index)
    assert found.dtype == np.int32
    assert np.array_equal(found, tokens[index])
