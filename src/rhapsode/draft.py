"""A draft: a text that a person and a model write together, with the way back to every place it was at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rhapsode.choices import Choice, choices, in_word
from rhapsode.errors import ConfigError
from rhapsode.labels import likeliest
from rhapsode.session import Mark

if TYPE_CHECKING:
    from rhapsode.model import TextModel


class _Place(NamedTuple):
    """Where the draft was before a change."""

    text: str
    mark: Mark
    ended: bool


class Draft:
    """A text in the making. The model has read all of it at any time."""

    def __init__(self, model: TextModel, prompt: str = "", label: str | None = None):
        """Begin with `prompt` and `label`; where the model knows labels and neither is named, with the commonest one.

        Raises:
            ConfigError: there is no such label.
        """
        self.session, self.text, self.unknown = model.session(prompt, label), prompt, model.unknown
        self.session.position = likeliest(self.session.engine, self.session.position, np.empty(0, np.int32))
        self._ended = False
        """the last word is complete: it was chosen"""
        self._before: list[_Place] = []

    @property
    def changes(self) -> int:
        """How many can be undone."""
        return len(self._before)

    def choices(self, count: int) -> list[Choice]:
        """The `count` most probable ways to go on, up to the end of the next word (see `rhapsode.choices`).

        Raises:
            ConfigError: `count` is less than 1.
        """
        if count < 1:
            raise ConfigError("choices", count, "at least 1")
        return choices(self.session.engine, self.session.position, count, self._ended)

    def take(self, choice: Choice) -> None:
        """Go on with one of the `choices` at this place."""
        self._keep()
        self.text += choice.text
        self._ended = in_word(choice.text[-1])
        self.session.position = choice.position

    def add(self, text: str) -> None:
        """Go on with words of one's own."""
        self._keep()
        self.text += text
        self.session.skim(text)

    def write(self, **sampling: Any) -> Iterator[str]:
        """Let the model go on, by the fields of `SamplingConfig`, in pieces as they come. All of it is one change, also
        where the caller stops early.

        Raises:
            ConfigError: a field is unknown or its value is not allowed.
        """
        pieces = self.session.stream(**sampling)
        self._keep()
        return self._noted(pieces)

    def _noted(self, pieces: Iterator[str]) -> Iterator[str]:
        for piece in pieces:
            self.text += piece
            yield piece

    def undo(self, changes: int = 1) -> int:
        """Take back the last `changes`, or as many as there were; return how many."""
        count = min(changes, len(self._before))
        if count:
            place = self._before[-count]
            del self._before[-count:]
            self.text, self._ended = place.text, place.ended
            self.session.rewind(place.mark)
        return count

    def _keep(self) -> None:
        """Note where the draft is, before it changes."""
        self._before.append(_Place(self.text, self.session.mark(), self._ended))
        self._ended = False
