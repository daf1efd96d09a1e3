"""One symbol a word, words being what spaces and marks set apart: the text that Keras' Tokenizer makes of a text.

Tabs, line feeds and the marks in `MARKS` count as spaces, unless a word of the vocabulary has them; spaces beside each
other count as one. What is said of a text is said of what is left of it: each word with one space before it.
"""

from __future__ import annotations

from typing import Any, Self

from rhapsode.errors import TokenizerError
from rhapsode.text.tokenizers.base import normalise
from rhapsode.text.tokenizers.word import WordTokenizer

MARKS = '!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n'
"""What Keras' Tokenizer leaves out if it is not told otherwise."""


class SpacedTokenizer(WordTokenizer):
    """`words`, each with the space before it, are the ids 0, 1, …, from the most frequent on."""

    kind = "spaced"

    def __init__(self, words: list[str], lowercase: bool = False, labels: tuple[str, ...] = ()):
        super().__init__(words, lowercase, labels)
        self._spaces = str.maketrans(dict.fromkeys(set(MARKS).difference(*words), " "))

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        tokenizer = super().from_json(value)
        for word in tokenizer.words:
            if word.rfind(" ") != 0 or word == " ":
                raise TokenizerError(f"tokenizer: field 'words': {word!r} is no word with one space before it")
        return tokenizer

    def normalise(self, text: str) -> str:
        return "".join(self.split(text))

    def split(self, text: str) -> list[str]:
        return [f" {word}" for word in normalise(text, self.lowercase).translate(self._spaces).split(" ") if word]
