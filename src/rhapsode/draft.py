"""A draft: a text that a person and a model write together, with the way back to every place it was at."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from rhapsode.choices import Choice, after_word, choices, in_word
from rhapsode.errors import ConfigError
from rhapsode.labels import likeliest
from rhapsode.model import TextModel
from rhapsode.option import whole_number
from rhapsode.session import Mark

UNDO_LEARNED = 20
"""Changes that can be undone where the session learns: the way back to each holds weights."""


class _Place(NamedTuple):
    """Where the draft was before a change."""

    text: str
    mark: Mark
    ended: bool


class Draft:
    """A text in the making. The model has read all of it at any time."""

    def __init__(
        self,
        model: TextModel,
        prompt: str = "",
        label: str | None = None,
        *,
        dynamic: bool = False,
        dynamic_lr: float | None = None,
    ):
        """Begin with `prompt` and `label`; where the model knows labels and neither is named, with the commonest one.

        Args:
            dynamic, dynamic_lr: learn from the prompt and from what is added, not from what the model writes or
                proposes (see `TextModel.session`). The last `UNDO_LEARNED` changes can then be undone, and what was
                learned from them with them.

        Raises:
            ConfigError: this is no model or no text; there is no such label, or no single model that could learn.
        """
        if not isinstance(model, TextModel):
            raise ConfigError("model", model, "a model, as rhapsode.load and rhapsode.blend give it")
        _check_text("prompt", prompt)
        self.session = model.session(prompt, label, dynamic=dynamic, dynamic_lr=dynamic_lr)
        self.text, self.unknown = prompt, model.unknown
        self.session.position = likeliest(self.session.engine, self.session.position, np.empty(0, np.int32))
        self._ended = False
        """the last word is complete: it was chosen"""
        self._before: deque[_Place] = deque(maxlen=UNDO_LEARNED if dynamic else None)

    @property
    def changes(self) -> int:
        """How many can be undone."""
        return len(self._before)

    def choices(self, count: int) -> list[Choice]:
        """The `count` most probable ways to go on, up to the end of the next word (see `rhapsode.choices`).

        Raises:
            ConfigError: `count` is less than 1.
        """
        count = whole_number("choices", count, 1)
        return choices(self.session.engine, self.session.position, count, self._ended)

    def take(self, choice: Choice) -> None:
        """Go on with one of the `choices` at this place.

        Raises:
            ConfigError: it is none.
        """
        if not isinstance(choice, Choice):
            raise ConfigError("choice", choice, "one of those that choices() gives")
        self._keep()
        self.text += choice.text
        self._ended = in_word(choice.text[-1])
        self.session.position = choice.position

    def add(self, text: str) -> None:
        """Go on with words of one's own.

        Raises:
            ConfigError: they are no text.
        """
        _check_text("text", text)
        self._keep()
        self.text += text
        self.session.skim(text)

    def write(self, **sampling: Any) -> Iterator[str]:
        """Let the model go on, by the fields of `SamplingConfig`, in pieces as they come; not with a word that was
        chosen. All of it is one change, also where the caller stops early.

        Raises:
            ConfigError: a field is unknown or its value is not allowed.
        """
        if self._ended:
            self.session.position = after_word(self.session.engine, self.session.position)
        pieces = self.session.stream(**sampling)
        self._keep()
        return self._noted(pieces)

    def _noted(self, pieces: Iterator[str]) -> Iterator[str]:
        for piece in pieces:
            self.text += piece
            yield piece

    def undo(self, changes: int = 1) -> int:
        """Take back the last `changes`, or as many as there were; return how many.

        Raises:
            ConfigError: `changes` is less than 0.
        """
        count = min(whole_number("changes", changes, 0), len(self._before))
        if count:
            place = [self._before.pop() for _ in range(count)][-1]
            self.text, self._ended = place.text, place.ended
            self.session.rewind(place.mark)
        return count

    def _keep(self) -> None:
        """Note where the draft is, before it changes."""
        self._before.append(_Place(self.text, self.session.mark(), self._ended))
        self._ended = False


def _check_text(option: str, text: object) -> None:
    if not isinstance(text, str):
        raise ConfigError(option, text, "text")
