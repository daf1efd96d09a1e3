"""``rhapsode generate``: text from a model, as it is written."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rhapsode.cli.options import config_options
from rhapsode.cli.output import note, print_json
from rhapsode.cli.writing import WritingOptions, decoded, open_model, read_prompt
from rhapsode.config import SamplingConfig
from rhapsode.errors import ConfigError
from rhapsode.generate import Written, fresh_seed
from rhapsode.model import TextModel
from rhapsode.option import option
from rhapsode.session import Session


@dataclass(frozen=True, kw_only=True)
class Options(WritingOptions):
    """Write text with a model, or with a blend of several, on stdout as it comes."""

    prompt: str | None = option(None, "the text to go on from; - reads it from stdin")
    label: str | None = option(
        None, "the text's label, of a model that was trained with labels; without it one is drawn, or suits the prompt"
    )
    no_echo: bool = option(False, "do not print the prompt before the text")
    samples: int = option(1, "how many texts to write; their seeds follow each other", low=1, high=65_536)
    logprobs: int | None = option(
        None, "after each text, its tokens with their log-probabilities and this many alternatives", metavar="N", low=0
    )
    session: str | None = option(
        None, "go on from the session in this file, if there is one, and save it there afterwards", metavar="FILE"
    )
    sampling: dict[str, Any] = config_options(SamplingConfig, "sampling")


def run(options: Options) -> int:
    """Load the model, read the prompt, write."""
    settings = SamplingConfig(**options.sampling)
    if options.samples > settings.beams > 1:
        raise ConfigError("samples", options.samples, f"at most beams ({settings.beams})")
    if options.samples > 1 and options.session is not None:
        raise ConfigError("samples", options.samples, "1, with --session")
    prompt, model = _prompt(options), open_model(options)
    _note_unknown(model.unknown(prompt), "characters" if model.tokenizer.kind == "char" else "words")
    seed = fresh_seed() if settings.seed is None else settings.seed
    sampling = options.sampling | {"seed": seed}
    session = _session(model, prompt, options)
    if options.samples > 1:
        began = time.perf_counter()
        _tell(prompt, options, session.samples(options.samples, options.logprobs or 0, **sampling), began)
        return 0
    try:
        _write_on(session, prompt, options, sampling)
    except KeyboardInterrupt:
        _save(session, options.session)
        raise
    _save(session, options.session)
    return 0


def _write_on(session: Session, prompt: str, options: Options, sampling: dict[str, Any]) -> None:
    """Write one text, as it comes if nothing else is asked for."""
    if options.json or options.logprobs is not None:
        began = time.perf_counter()
        _tell(prompt, options, [session.write(options.logprobs or 0, **sampling)], began)
    else:
        _write_one("" if options.no_echo else prompt, session.stream(**sampling))
        _note_dead_end(session.ended_by)
        if session.label is not None and options.label is None:
            note(f"rhapsode: label {session.label}")


def _save(session: Session, path: str | None) -> None:
    if path is not None:
        session.save(path)


def _session(model: TextModel, prompt: str, options: Options) -> Session:
    """The session that is in the file, if there is one, after the prompt; else a new one."""
    if options.session is None or not Path(options.session).exists():
        return model.session(prompt, options.label, dynamic=options.dynamic, dynamic_lr=options.dynamic_lr)
    for name in ("label", "dynamic_lr"):
        if getattr(options, name) is not None:
            raise ConfigError(name, getattr(options, name), f"only for a new text; that of {options.session} goes on")
    session = model.load_session(options.session)
    if options.dynamic and not session.learns:
        raise ConfigError("dynamic", True, f"only for a new text; that of {options.session} was begun without")
    session.skim(prompt)
    return session


def _write_one(echo: str, pieces: Iterable[str]) -> None:
    """Print one text piece by piece, and see that it ends in a line break."""
    last = echo
    print(echo, end="", flush=True)
    try:
        for piece in pieces:
            print(piece, end="", flush=True)
            last = piece
    finally:
        if not last.endswith("\n"):
            print(flush=True)


def _tell(prompt: str, options: Options, texts: Sequence[Written], began: float) -> None:
    """Print whole texts one after another, or as JSON."""
    seconds = time.perf_counter() - began
    if options.json:
        told = [_as_json(text, options.logprobs is not None) for text in texts]
        print_json({"model": options.model, "prompt": prompt, "seconds": round(seconds, 3), "texts": told})
        return
    for number, text in enumerate(texts, 1):
        if len(texts) > 1:
            origin = f"seed {text.seed}" if text.seed is not None else f"log-probability {text.log_probability:.2f}"
            label = f", label {text.label}" if text.label is not None else ""
            print(f"=== {number} of {len(texts)}, {origin}{label} ===")
        _write_one("" if options.no_echo else prompt, [text.text])
        _note_dead_end(text.ended_by)
        if options.logprobs is not None:
            print("\n".join(_token_lines(text)))


def _as_json(text: Written, with_tokens: bool) -> dict[str, Any]:
    value: dict[str, Any] = {
        "text": text.text,
        "label": text.label,
        "seed": text.seed,
        "ended_by": text.ended_by,
        "tokens": text.symbols,
        "log_probability": text.log_probability,
    }
    if with_tokens:
        value["logprobs"] = [
            {"token": t.symbol, "logprob": t.log_probability, "top": {a.symbol: a.log_probability for a in t.top}}
            for t in text.tokens
        ]
    return value


def _token_lines(text: Written) -> list[str]:
    """A line a token: the token, its log-probability, the alternatives."""
    lines = []
    for token in text.tokens:
        others = "   ".join(f"'{other.symbol}' {other.log_probability:.2f}" for other in token.top)
        symbol = f"'{token.symbol}'"
        lines.append(f"{symbol:>12} {token.log_probability:8.2f}   {others}".rstrip())
    return lines


def _prompt(options: Options) -> str:
    """The text to go on from: as given, from a file, or from stdin."""
    if options.prompt == "-" and options.prompt_file is None:
        return decoded(sys.stdin.buffer.read() if sys.stdin else b"", "stdin")
    return read_prompt(options.prompt, options.prompt_file)


def _note_dead_end(ended_by: str | None) -> None:
    """Say that a text is short because nothing more was allowed."""
    if ended_by == "dead end":
        note("rhapsode: the text ends here because nothing that may follow is allowed (--ban, --only, --require)")


def _note_unknown(unknown: list[str], what: str, most: int = 10) -> None:
    """Say once which characters or words of the prompt the model does not know."""
    if unknown:
        shown = " ".join(map(repr, unknown[:most])) + (" …" if len(unknown) > most else "")
        note(f"rhapsode: the model was not trained on {len(unknown)} of the prompt's {what}: {shown}")
