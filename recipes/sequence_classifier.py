"""A sequence classifier (after the RNN class of a Theano tutorial): read a sequence to its end, then name its class.

    python recipes/sequence_classifier.py                        # everything, some minutes
    python recipes/sequence_classifier.py --quick                # less of it, under a minute
    python recipes/sequence_classifier.py AUSTEN.txt SHAKESPEARE.txt     # who wrote this paragraph?
    python recipes/sequence_classifier.py --poolings last mean max attention --seeds 3    # what attention is worth

First the tutorial's network: one plain recurrent layer over the characters, its last hidden state, softmax; stochastic
gradient descent; `train(inputs, targets, learning_rate, num_epochs)`, then `predict`. Then rhapsode's own way: LSTMs in
both directions, whose states attention puts together, and the default optimiser.

Without files the task is one that every machine with Python has text for: is a paragraph of the standard library code,
a comment (without its #), a docstring, or part of the manual? Those held out are of other files and topics, and none
of them also stands where was learned from. With files, a class each: whose paragraph is it? A tenth is held out.
"""

from __future__ import annotations

import ast
import hashlib
import random
import re
import sys
import sysconfig
import textwrap
import warnings
from collections.abc import Iterator
from pathlib import Path
from pydoc_data import topics
from typing import NamedTuple

import ancestors

import rhapsode
from rhapsode.classify.source import read_labelled
from rhapsode.classify.split import hold_out

Examples = tuple[list[str], list[str]]
"""Texts, and the class of each."""


POOLINGS = ("last", "mean", "max", "attention")
SHORTEST = 60
"""Characters of a paragraph."""


class Size(NamedTuple):
    """How much to do."""

    learned: int
    held_out: int
    ancestor_epochs: int
    epochs: int


FULL = Size(learned=30_000, held_out=6_000, ancestor_epochs=6, epochs=3)
QUICK = Size(learned=2_000, held_out=800, ancestor_epochs=3, epochs=3)


def ancestor(learned: Examples, held_out: Examples, epochs: int) -> rhapsode.SequenceClassifier:
    """The tutorial's network, trained the tutorial's way; prints what it prints."""
    classifier = rhapsode.SequenceClassifier(
        cell="rnn", hidden=64, bidirectional=False, pooling="last", dropout_output=0,
        optimizer="sgd", schedule="constant", warmup=0, weight_decay=0, table_lr=1,
    )  # fmt: skip
    return classifier.train(*learned, learning_rate=0.05, num_epochs=epochs, held_out=held_out, watch=report)


def better(learned: Examples, held_out: Examples, epochs: int, **fields) -> rhapsode.SequenceClassifier:
    """Both directions, attention unless `fields` say otherwise, and rhapsode's defaults for all else."""
    return rhapsode.SequenceClassifier(**fields).train(*learned, num_epochs=epochs, held_out=held_out, watch=report)


def report(epoch, measured) -> None:
    print(f"epoch {epoch.number}, loss = {epoch.loss:.4f}, accuracy on held-out {measured.accuracy:.4f}", flush=True)


def judge(name: str, classifier: rhapsode.SequenceClassifier, held_out: Examples) -> None:
    """How good it is on what it has not seen, and what it says of some of that."""
    seconds = classifier.file.training["seconds"]
    print(f"\n{name}: trained for {seconds:.0f} s")
    print(classifier.evaluate(*held_out))
    for text, label in list(zip(*held_out, strict=True))[:8]:
        found = classifier.predict(text)
        sure = f"{found} ({classifier.probabilities(text)[found]:.2f})"
        print(f"  {sure:20} {'' if found == label else f'NOT {label}: '}{text[:70]!r}")
    print(flush=True)


def paragraphs_of_the_library(size: Size) -> tuple[Examples, Examples]:
    """Paragraphs of the standard library, to learn from and held out, which are of other files and topics."""
    root = Path(sysconfig.get_paths()["stdlib"])
    skipped = {"site-packages", "test", "tests", "encodings", "pydoc_data", "lib2to3"}
    files = [str(path) for path in root.rglob("*.py") if not skipped & set(path.relative_to(root).parts)]
    sources = [*files, *(f"topic {name}" for name in topics.topics)]
    sources.sort(key=lambda name: hashlib.blake2b(name.removeprefix(str(root)).encode()).digest())
    cut = len(sources) // 6
    learned = paragraphs_of(sources[cut:], size.learned)
    return learned, paragraphs_of(sources[:cut], size.held_out, without=set(learned[0]))


def paragraphs_of(sources: list[str], count: int, without: set[str] = frozenset()) -> Examples:
    """So many different paragraphs at most, as many of each kind, in random order."""
    kinds: dict[str, list[str]] = {"code": [], "comment": [], "docstring": [], "manual": []}
    seen = set(without)
    for name in sources:
        found = manual(topics.topics[name[6:]]) if name.startswith("topic ") else source_file(Path(name))
        for kind, text in found:
            if len(text) >= SHORTEST and text not in seen and len(kinds[kind]) < count // len(kinds):
                seen.add(text)
                kinds[kind].append(text)
        if all(len(own) >= count // len(kinds) for own in kinds.values()):
            break
    chosen = [(text, kind) for kind, own in kinds.items() for text in own]
    random.Random(0).shuffle(chosen)
    return [text for text, _ in chosen], [kind for _, kind in chosen]


def manual(topic: str) -> Iterator[tuple[str, str]]:
    return (("manual", text) for text in paragraphs(topic))


def source_file(path: Path) -> Iterator[tuple[str, str]]:
    """The paragraphs of a source file: kind and text. Comments come without their ``#``, docstrings without quotes."""
    source = path.read_text("utf-8", errors="replace")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            nodes = list(ast.walk(ast.parse(source)))
    except (SyntaxError, ValueError):
        return
    lines = source.splitlines()
    for node in nodes:
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and (text := ast.get_docstring(node)):
            yield from (("docstring", own) for own in paragraphs(text))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.end_lineno > node.lineno:
            lines[node.lineno - 1 : node.end_lineno] = [""] * (node.end_lineno - node.lineno + 1)
    marked = ["#" if line.lstrip().startswith("#") else "" for line in lines]
    for kind, mark in (("comment", "#"), ("code", "")):
        own = "\n".join(line if its == mark else "" for line, its in zip(lines, marked, strict=True))
        without = re.sub(r"^\s*#+ ?", "", own, flags=re.MULTILINE) if mark else own
        yield from ((kind, text) for text in paragraphs(without))


def paragraphs(text: str) -> list[str]:
    """What stands between blank lines, without its common indentation."""
    return [textwrap.dedent(own).strip("\n") for own in re.split(r"\n(?:[ \t]*\n)+", text)]


def main() -> None:
    parser = ancestors.Parser(description="Learn to name the class of a text.")
    parser.add_argument("--quick", action="store_true", help="less of everything, under a minute")
    parser.add_argument("--poolings", nargs="+", choices=POOLINGS, default=POOLINGS[-1:], help="one or more")
    parser.add_argument("--seeds", type=ancestors.count, default=1, help="how many times with each (default 1)")
    parser.add_argument("files", nargs="*", help="a file or folder for each class, or tables with a column `label`")
    options = parser.parse_args()
    size = QUICK if options.quick else FULL
    try:
        learned, held_out = texts_of(options.files) if options.files else paragraphs_of_the_library(size)
        count, classes = len(learned[0]), ", ".join(sorted(set(learned[1])))
        print(f"{count:,} texts to learn from, {len(held_out[0]):,} held out, of these classes: {classes}", flush=True)
        judge("the ancestor", ancestor(learned, held_out, size.ancestor_epochs), held_out)
        for pooling in options.poolings:
            for seed in range(options.seeds):
                found = better(learned, held_out, size.epochs, pooling=pooling, seed=seed)
                judge(f"rhapsode, {pooling}, seed {seed}", found, held_out)
    except rhapsode.RhapsodeError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_status)


def texts_of(files: list[str]) -> tuple[Examples, Examples]:
    """What is in the files: nine tenths to learn from, and a tenth."""
    config = rhapsode.CorpusConfig()
    texts, labels = read_labelled(files, config, "label", print)
    return hold_out(texts, labels, config)


if __name__ == "__main__":
    main()
