"""Small texts and corpora for tests."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from rhapsode.config import CorpusConfig

SHARED = Path(__file__).parents[2] / "shared" / "data"

WORDS = """the a king sea sings of his ship and war men gods who went home long wine dark rosy dawn""".split()  # noqa: SIM905


def verses(lines: int, seed: int = 0) -> str:
    """Lines of words in random order: text with something to learn in it."""
    rng = random.Random(seed)
    return "".join(" ".join(rng.choice(WORDS) for _ in range(rng.randint(3, 7))) + "\n" for _ in range(lines))


def real_text(name: str) -> Path:
    """A file of real text, or a skipped test where there is none."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"needs {name} in ../shared/data, which only development machines have")
    return path


def small_corpus(folder: Path, text: str | None = None, **fields):
    """A corpus of `text` (some verses) prepared in `folder`."""
    from rhapsode.text.corpus import prepare

    source = folder / "text.txt"
    source.write_text(verses(120) if text is None else text, encoding="utf-8", newline="")
    return prepare([str(source)], CorpusConfig(**fields), folder / "corpus")
