"""The texts, as corpora: read, encoded and split by rhapsode once, so that all contestants have the same symbols to
learn from and the same ones to predict."""

from __future__ import annotations

import sysconfig
from collections.abc import Sequence
from pathlib import Path

from rhapsode.cli.demo import TEXT as TOPICS
from rhapsode.cli.demo import topics
from rhapsode.config import CorpusConfig
from rhapsode.files import make_folder, write_text
from rhapsode.text.cache import cache_folder
from rhapsode.text.corpus import Corpus, prepare

DATA = Path(__file__).parents[3] / "shared/data"
NO_PART = {"__pycache__", "idle_test", "lib2to3", "pydoc_data", "site-packages", "test", "tests"}
"""Folders of the standard library that are left out."""

TEXTS = {
    "shakespeare": "drama: tinyshakespeare.txt, the last tenth held out, as nanoGPT splits it",
    "names": "first names: names.txt, 1,000 of them held out, none on both sides, the end of each predicted",
    "pride": "English prose: pride-and-prejudice.txt, the last tenth held out",
    "topics": "technical prose: Python's language reference (pydoc_data.topics), the last tenth held out",
    "stdlib": "code: the modules of CPython's standard library without its tests, files drawn at random held out",
}


def corpus_of(text: str) -> Corpus:
    """One of `TEXTS`, or the text in the file of that name; prepared the first time, then kept in rhapsode's cache."""
    return prepare([str(path) for path in files(text)], CorpusConfig(held_out=held_out(text)))


def held_out(text: str) -> float | None:
    """`CorpusConfig.held_out`."""
    return 1000.0 if text == "names" else None


def in_documents(corpus: Corpus) -> bool:
    """Whether each document is read from the initial state, as `rhapsode train` decides it for short ones."""
    documents = len(corpus.train.starts)
    return documents >= 100 and len(corpus.train.tokens) <= 256 * documents


def files(text: str) -> Sequence[Path]:
    """Where the text is."""
    if text == "topics":
        return [_topics_file()]
    if text == "stdlib":
        root = Path(sysconfig.get_paths()["stdlib"])
        return [path for path in sorted(root.rglob("*.py")) if not NO_PART & set(path.relative_to(root).parts)]
    names = {"shakespeare": "tinyshakespeare.txt", "names": "names.txt", "pride": "pride-and-prejudice.txt"}
    return [DATA / names[text] if text in names else Path(text)]


def _topics_file() -> Path:
    """In rhapsode's cache, written if it is not there, so that the corpus is not made anew each time."""
    path = make_folder(cache_folder()) / TOPICS
    if not path.is_file() or path.read_text("utf-8") != topics():
        write_text(path, topics())
    return path
