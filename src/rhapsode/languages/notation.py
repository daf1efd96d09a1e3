"""How a grammar is written.

    # A remark, to the end of the line.
    <greeting> = hello <whom> <end>
    <whom>     = world [3] | dear <whom> | ""
    <end>      = . | "|"

A nonterminal is a name in angle brackets; its alternatives follow an equals sign, with bars between them. Everything
else that stands between white space is a terminal, a word of the language. A number in square brackets after an
alternative is its weight; without one it is 1. ``""`` is an alternative of no words. A word that has one of
``| = < > [ ] "`` in it, or ``#`` before it, stands in double quotes, where ``\\"`` is a double quote and ``\\\\`` a
backslash. Ends of lines mean nothing. An alternative that is there twice has the sum of its weights. Sentences are made
from the first nonterminal, with a space between two words.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from rhapsode.errors import LanguageError
from rhapsode.languages.grammar import Grammar, Nonterminal, Right, Symbol
from rhapsode.languages.sampler import is_weight

_TOKEN = re.compile(
    r"(?P<remark>#[^\n]*)"
    r"|(?P<name><[^<>\s]+>)(?=\s|=|$)"
    r'|(?P<quoted>"(?:[^"\\\n]|\\["\\])*")(?=\s|$)'
    r"|(?P<weight>\[[^\]\n]*\])(?=\s|$)"
    r"|(?P<mark>[=|])(?=\s|$)"
    r'|(?P<word>[^\s<>\[\]"|=#][^\s<>\[\]"|=]*)(?=\s|$)'
    r"|(?P<wrong>\S+)"
)


class _Token(NamedTuple):
    kind: str
    text: str
    line: int


def parse(text: str) -> Grammar:
    """The grammar that `text` describes.

    Raises:
        LanguageError: it describes none; names the line.
    """
    tokens, weighted = _tokens(text), dict[Nonterminal, dict[Right, float]]()
    starts = [i for i, t in enumerate(tokens[:-1]) if t.kind == "name" and tokens[i + 1][:2] == ("mark", "=")]
    if not tokens:
        raise LanguageError("no rule, allowed: at least one, as in <sentence> = hello world")
    if starts[:1] != [0]:
        raise _error(tokens[0], "a rule first, as in <sentence> = hello world")
    for begin, end in zip(starts, [*starts[1:], len(tokens)], strict=True):
        left = Nonterminal(tokens[begin].text[1:-1])
        if left in weighted:
            raise _error(tokens[begin], f"one rule for each name, and {left} has one above")
        weighted[left] = _alternatives(tokens[begin + 1 : end])
    return Grammar.of(next(iter(weighted)), weighted)


def _tokens(text: str) -> list[_Token]:
    """What the text consists of, without remarks."""
    tokens, line, at = [], 1, 0
    for match in _TOKEN.finditer(text):
        line, at = line + text.count("\n", at, match.start()), match.start()
        token = _Token(match.lastgroup or "", match[0], line)
        if token.kind == "wrong":
            raise _error(token, 'a <name>, a word, a [weight] or |, with white space between; other words in ""')
        if token.kind != "remark":
            tokens.append(token)
    return tokens


def _alternatives(tokens: list[_Token]) -> dict[Right, float]:
    """The alternatives after an equals sign (the first token), with their weights."""
    found: dict[Right, float] = {}
    bars = [i for i, token in enumerate(tokens) if (token.kind, token.text) == ("mark", "|")]
    for begin, end in zip([0, *bars], [*bars, len(tokens)], strict=True):
        right, weight = _alternative(tokens[begin], tokens[begin + 1 : end])
        found[right] = found.get(right, 0.0) + weight
    return found


def _alternative(before: _Token, tokens: list[_Token]) -> tuple[Right, float]:
    """One alternative, and its weight; `before` is the mark that it follows."""
    weight = 1.0
    if tokens and tokens[-1].kind == "weight":
        weight, tokens = _weight(tokens[-1]), tokens[:-1]
    if not tokens:
        raise LanguageError(f'line {before.line}: nothing after {before.text}, allowed: symbols, or "" for no words')
    for token in tokens:
        if token.kind in ("weight", "mark"):
            raise _error(token, "a weight only at the end of an alternative, = only after a rule's name")
    if [token.text for token in tokens] == ['""']:
        return (), weight
    return tuple(_symbol(token) for token in tokens), weight


def _weight(token: _Token) -> float:
    """The number in square brackets."""
    try:
        weight = float(token.text[1:-1])
    except ValueError:
        weight = -1.0
    if not is_weight(weight):
        raise _error(token, "a weight from 0, as in [0.5]")
    return weight


def _symbol(token: _Token) -> Symbol:
    """The symbol that is written so."""
    if token.kind == "name":
        return Nonterminal(token.text[1:-1])
    word = re.sub(r"\\(.)", r"\1", token.text[1:-1]) if token.kind == "quoted" else token.text
    if not word or word.split() != [word]:
        raise _error(token, 'words without white space; "" only as a whole alternative')
    return word


def _error(token: _Token, allowed: str) -> LanguageError:
    return LanguageError(f"line {token.line}: found {token.text}, allowed: {allowed}")
