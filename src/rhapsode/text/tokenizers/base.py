"""What a tokenizer is, and what the kinds share.

Ids 0 … V-1. The last `specials` of them are no text: the boundary, which opens and closes documents (begin and end in
one symbol); where a text can hold what the vocabulary lacks, the unknown symbol; and the labels, if documents have
some: the one that a document has follows the boundary that opens it. JSON without the field ``labels`` means none.

A tokenizer that was made with `lowercase` turns text into lower case before anything else, and one of kind `spaced`
leaves out marks. What is said of a text below is then said of what `Tokenizer.normalise` makes of it. Python strings
may hold unpaired surrogates, which no encoding can write: each counts as U+FFFD, the replacement character.
"""

from __future__ import annotations

import codecs
import itertools
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np

from rhapsode.errors import TokenizerError

REPLACEMENT = "\ufffd"
"""What an unknown symbol, or bytes that are no character, look like in text."""
WINDOW = 4096
"""Characters at the end of a text that are searched for a place to cut."""
MOST_LABELS = 1000


class Decoder(Protocol):
    """Ids one at a time to text, never half a character: the pieces join to what `decode` gives for all of them."""

    @property
    def pieces(self) -> Sequence[str] | Sequence[bytes]:
        """What each id adds to the text; nothing for a boundary and a label."""
        ...

    def push(self, id: int) -> str:
        """The text that is complete with this id and has not been returned yet."""
        ...

    def flush(self) -> str:
        """What is left at the end; the decoder is then as new."""
        ...


class Tokenizer(Protocol):
    """Text to ids and back."""

    kind: str
    vocab_size: int
    """V, specials included"""
    specials: int
    """how many of the last ids are no text"""
    boundary: int
    """the id that opens and closes documents"""
    unknown: int | None
    """the id of what the vocabulary lacks; None where it lacks nothing"""
    labels: tuple[str, ...]
    """the names of the last ids, in their order"""
    lowercase: bool

    def normalise(self, text: str) -> str:
        """What is encoded of the text (see above)."""
        ...

    def encode(self, text: str) -> np.ndarray:
        """ids [N], int32."""
        ...

    def split(self, text: str) -> list[str]:
        """The part of the text that each id of `encode` stands for; empty where it completes no character. The parts
        join to the text, also where the vocabulary lacks them."""
        ...

    def decode(self, ids: Iterable[int] | np.ndarray) -> str:
        """The text of the ids: nothing for a boundary and a label, U+FFFD for the unknown symbol.

        Raises:
            TokenizerError: an id is none of 0 … V-1.
        """
        ...

    def decoder(self) -> Decoder:
        """A new streaming decoder."""
        ...

    def symbol(self, id: int) -> str:
        """How to show one symbol to people."""
        ...

    def to_json(self) -> dict[str, Any]:
        """All of it, as JSON can hold it; `tokenizer_from_json` is the inverse."""
        ...


class PieceDecoder:
    """Streaming decoder of a vocabulary whose every symbol is whole characters: `pieces[id]`."""

    def __init__(self, pieces: Sequence[str]):
        self.pieces = pieces

    def push(self, id: int) -> str:
        return self.pieces[checked_id(id, len(self.pieces))]

    def flush(self) -> str:
        return ""


class ByteDecoder:
    """Streaming decoder of a vocabulary whose symbols are bytes of UTF-8, `pieces[id]`, perhaps parts of characters."""

    def __init__(self, pieces: Sequence[bytes]):
        self.pieces = pieces
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, id: int) -> str:
        return self._utf8.decode(self.pieces[checked_id(id, len(self.pieces))])

    def flush(self) -> str:
        rest = self._utf8.decode(b"", final=True)
        self._utf8.reset()
        return rest


def normalise(text: str, lowercase: bool) -> str:
    """The text that is encoded: lower case if asked for, unpaired surrogates replaced.

    Lower case is taken character by character (a final Σ is σ, not ς), so that a text may be cut anywhere.

    Raises:
        TokenizerError: it is no text.
    """
    if not isinstance(text, str):
        raise TokenizerError(f"found {text!r:.50}, expected text")
    if lowercase:
        text = text.replace("Σ", "σ").lower()
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def safe_cut(text: str) -> int:
    """Where to cut a text that goes on, so that its halves encode to what the whole does: before the white space after
    a word, the last there is. In a text that has none near its end, at its end."""
    for i in range(len(text) - 1, max(0, len(text) - WINDOW), -1):
        if text[i] in " \n" and not text[i - 1].isspace():
            return i
    return len(text)


def checked_id(id: int, vocab_size: int) -> int:
    """`id`, if it is one of the vocabulary's."""
    if not 0 <= id < vocab_size:
        raise TokenizerError(f"id {id} is none of the vocabulary's 0 to {vocab_size - 1}")
    return id


def checked_ids(ids: Iterable[int] | np.ndarray, vocab_size: int) -> np.ndarray:
    """`ids` as an array [N], if they are all of the vocabulary's."""
    array = np.asarray(ids if isinstance(ids, np.ndarray) else list(ids))
    if array.size == 0:
        return np.empty(0, np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise TokenizerError(f"ids must be a row of whole numbers, found shape {array.shape} of {array.dtype}")
    checked_id(int(array.min()), vocab_size)
    checked_id(int(array.max()), vocab_size)
    return array


def shown(text: str) -> str:
    """Text for people to see: what does not print is written as Python writes it."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def special_symbol(tokenizer: Tokenizer, id: int) -> str:
    """How to show one of the specials to people."""
    if id in (tokenizer.boundary, tokenizer.unknown):
        return "<boundary>" if id == tokenizer.boundary else "<unknown>"
    return f"<label {shown(tokenizer.labels[id - tokenizer.vocab_size])}>"


def labels_json(labels: tuple[str, ...]) -> dict[str, Any]:
    """The entry of a tokenizer's JSON that holds its labels, if there are any."""
    return {"labels": list(labels)} if labels else {}


def read_labels(value: dict[str, Any]) -> tuple[str, ...]:
    """The labels in a tokenizer's JSON.

    Raises:
        TokenizerError: an entry is no text, empty or there twice, or there are more than `MOST_LABELS`.
    """
    labels = read_field({"labels": []} | value, "labels", list)
    if len(labels) > MOST_LABELS:
        raise TokenizerError(f"tokenizer: field 'labels': found {len(labels):,}, expected at most {MOST_LABELS:,}")
    if not all(isinstance(label, str) and label and label == normalise(label, lowercase=False) for label in labels):
        raise TokenizerError("tokenizer: field 'labels': an entry is no text, or empty")
    if any(a == b for a, b in itertools.pairwise(sorted(labels))):
        raise TokenizerError("tokenizer: field 'labels': a label is there twice")
    return tuple(labels)


def read_field(value: dict[str, Any], name: str, kind: type) -> Any:
    """Entry `name` of a tokenizer's JSON, if it is there and of type `kind`.

    Raises:
        TokenizerError: it is not.
    """
    found = value.get(name)
    if type(found) is not kind:
        what = "nothing" if name not in value else type(found).__name__
        raise TokenizerError(f"tokenizer: field {name!r}: found {what}, expected {kind.__name__}")
    return found
