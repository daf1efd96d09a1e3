"""``rhapsode write``: a person and a model write a text in turn, line by line of a dialogue."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from rhapsode.choices import Choice
from rhapsode.cli.options import config_options
from rhapsode.cli.output import note, print_json
from rhapsode.cli.writing import WritingOptions, open_model, read_prompt
from rhapsode.config import SamplingConfig
from rhapsode.draft import Draft
from rhapsode.errors import ConfigError, OutputError
from rhapsode.files import write_text
from rhapsode.generate import fresh_seed
from rhapsode.option import option
from rhapsode.text.tokenizers.base import shown

HELP = """\
  1, 2, ...     go on as the choice of this number says
  any text      go on with it, exactly as typed: a new word begins with a space
  /go [N]       let the model write on: N symbols (--length), by the sampling options
  /line         begin a new line
  /undo [N]     take back the last N changes (1)
  /text         show all of the text
  /save [FILE]  save the text (to --out)
  /quit         end, as Ctrl-D does; the text goes to stdout
  //text, /=7   text that begins with a slash, or is a number
"""
SHOWN = 300
"""Characters of the text that are shown again at every turn."""


@dataclass(frozen=True, kw_only=True)
class Options(WritingOptions):
    """Write a text together with a model.

    Shows the text and the most probable ways to go on; pick one by its number, type words of your own, let the model
    write on, undo. /help tells how. The dialogue is on stderr, the text comes on stdout at the end; commands can
    come from a pipe, one a line.
    """

    label: str | None = option(None, "the text's label, of a model that was trained with labels")
    choices: int = option(5, "how many ways to go on are shown", low=1, high=100)
    length: int = option(100, "most symbols that /go writes", low=1)
    out: str | None = option(None, "save the text to this file at the end", metavar="FILE")
    sampling: dict[str, Any] = config_options(SamplingConfig, "sampling", omit=["length"])


def run(options: Options) -> int:
    """Hold the dialogue; whatever ends it, the text is kept."""
    prompt, model = read_prompt(options.prompt, options.prompt_file), open_model(options)
    seed = options.sampling.get("seed")
    sampling = options.sampling | {"length": options.length, "seed": fresh_seed() if seed is None else seed}
    model.session().rules(sampling)  # a mistake in the options is told at once
    draft = Draft(model, prompt, options.label, dynamic=options.dynamic, dynamic_lr=options.dynamic_lr)
    desk = Desk(draft, options.choices, sampling, options.out)
    desk.tell_unknown(prompt)
    try:
        desk.hold(_lines())
    finally:
        _deliver(options, prompt, desk)
    return 0


def _deliver(options: Options, prompt: str, desk: Desk) -> None:
    """The text, where it was asked for."""
    text = desk.draft.text
    if options.json:
        print_json({"model": options.model, "prompt": prompt, "text": text, "changes": desk.draft.changes})
    else:
        print(text, end="" if text.endswith("\n") else "\n", flush=True)
    if options.out is not None:
        write_text(options.out, text)


def _lines() -> Iterator[str]:
    """What the person types, line by line, without the line breaks."""
    if sys.stdin is None:
        return
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")
    if _can_edit():
        with contextlib.suppress(EOFError):
            while True:
                yield input("> ")
        _say("\n")
        return
    while True:
        _say("> ")
        line = sys.stdin.readline()
        if not line:
            _say("\n")
            return
        yield line.rstrip("\r\n")


def _can_edit() -> bool:
    """Whether `input` lets the person edit lines, and call back earlier ones: at a terminal, where Python has readline.
    A tab is then one, as typed."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return False
    try:
        import readline
    except ImportError:
        return False
    readline.parse_and_bind("tab: self-insert")
    return True


class Desk:
    """The dialogue about one draft. Each command is a method that returns whether to show the choices again."""

    def __init__(self, draft: Draft, count: int, sampling: dict[str, Any], out: str | None):
        self.draft, self.count, self.sampling, self.out = draft, count, sampling, out
        self.choices: list[Choice] = []
        self.lines = 0
        """done so far"""
        self.commands: dict[str, Callable[[str], bool]] = {
            "go": self._go,
            "line": lambda _: self._add("\n"),
            "undo": self._undo,
            "text": self._text,
            "save": self._save,
            "help": self._help,
        }

    def hold(self, lines: Iterator[str]) -> None:
        """Do what the lines say until they end, or /quit."""
        note("rhapsode write: a number, your own words, or a command; /help lists them, /quit ends")
        self._show()
        for line in lines:
            if line.strip() in ("/quit", "/q"):
                return
            if self._do(line):
                self._show()
            self.lines += 1

    def _do(self, line: str) -> bool:
        if line.startswith("//") or (line.startswith("/=") and len(line) > 2):
            return self._add(line[1:] if line.startswith("//") else line[2:])
        if line.startswith("/"):
            word, _, rest = line[1:].partition(" ")
            if word not in self.commands:
                return self._refuse(f"/{word}: no such command; /help lists them, //{word} is text")
            return self.commands[word](rest.strip())
        if _is_number(line):
            return self._take(int(line))
        return self._add(line) if line else True

    def _take(self, number: int) -> bool:
        if not 1 <= number <= len(self.choices):
            return self._refuse(f"{number}: no such choice; there are 1 to {len(self.choices)}; /={number} is text")
        self.draft.take(self.choices[number - 1])
        return True

    def _add(self, text: str) -> bool:
        self.draft.add(text)
        self.tell_unknown(text)
        return True

    def _go(self, rest: str) -> bool:
        length = self._number(rest, self.sampling["length"], "/go")
        if length is None:
            return False
        seed = (self.sampling["seed"] + self.lines) % 2**63
        try:
            pieces = self.draft.write(**self.sampling | {"length": length, "seed": seed})
        except ConfigError as error:
            return self._refuse(f"/go: {error}")
        for piece in pieces:
            _say(piece)
        _say("\n")
        return True

    def _undo(self, rest: str) -> bool:
        changes = self._number(rest, 1, "/undo")
        if changes is None:
            return False
        return self.draft.undo(changes) > 0 or self._refuse("/undo: nothing is left to take back")

    def _text(self, rest: str) -> bool:
        note(self.draft.text)
        return False

    def _save(self, rest: str) -> bool:
        path = rest or self.out
        if path is None:
            return self._refuse("/save: which file?")
        try:
            write_text(path, self.draft.text)
        except OutputError as error:
            return self._refuse(str(error))
        note(f"{path}: saved")
        return False

    def _help(self, rest: str) -> bool:
        _say(HELP)
        return False

    def _number(self, text: str, default: int, command: str) -> int | None:
        """The number, at least 1, behind a command; None if it is none, which is told."""
        if not text:
            return default
        if _is_number(text) and int(text) > 0:
            return int(text)
        self._refuse(f"{command}: found {text!r}, allowed: a number from 1 on")
        return None

    def _refuse(self, why: str) -> bool:
        note(why)
        return False

    def _show(self) -> None:
        """The end of the text, and the choices."""
        text = self.draft.text
        note(f"\n{'…' * (len(text) > SHOWN)}{text[-SHOWN:]}|")
        self.choices = self.draft.choices(self.count)
        for number, choice in enumerate(self.choices, 1):
            note(f"{number:>4}  {100 * choice.probability:5.1f} %  {shown(choice.text)}")
        if not self.choices:
            note("      the model has nothing to go on with")

    def tell_unknown(self, text: str) -> None:
        """Say what of the text the model has no symbol for."""
        unknown = self.draft.unknown(text)
        if unknown:
            note(f"the model was not trained on {' '.join(map(repr, unknown))}: it sees them as unknown")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10


def _say(text: str) -> None:
    """Text on stderr as it is."""
    print(text, end="", file=sys.stderr, flush=True)
