"""``rhapsode classify MODEL [FILE...]``: the class of each text, or how good a classifier is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rhapsode.cli.options import CommandOptions, argument
from rhapsode.cli.output import note, print_json
from rhapsode.cli.texts import reading_options, trained_config
from rhapsode.config import CorpusConfig
from rhapsode.errors import ModelFileError, SourceError, listed
from rhapsode.option import option

if TYPE_CHECKING:
    from rhapsode.classify.classifier import SequenceClassifier

SHOWN = 80
"""Characters of a text that are shown at most."""


@dataclass(frozen=True, kw_only=True)
class Options(CommandOptions):
    """Name the most probable class of each text with a classifier (see rhapsode train-classifier), and its probability.

    A text is a line, or a row of a table; --documents can say otherwise. Empty ones are left out.
    """

    model: str = argument("a classifier's file", metavar="MODEL")
    file: tuple[str, ...] = argument("files, folders, globs, or - for stdin", metavar="[FILE...]", default=("-",))
    measure: bool = option(False, "the texts come with their classes, as for training: tell how good it is")
    label: str | None = option(None, "field or column that holds the class (with --measure); default: as for training")
    reading: dict[str, Any] = reading_options()


def run(options: Options) -> int:
    """Classify and report."""
    from rhapsode.classify.classifier import SequenceClassifier

    classifier = SequenceClassifier.load(options.model)
    if classifier.file.tokenizer is None:
        raise ModelFileError(f"{options.model}: a classifier of ids, which takes no text; use it from Python")
    training = classifier.file.training
    if options.measure:
        return measure(options, classifier, trained_config(training, options.reading))
    return name(options, classifier, trained_config(training, {"documents": "auto"} | options.reading))


def name(options: Options, classifier: SequenceClassifier, config: CorpusConfig) -> int:
    """A line for each text."""
    from rhapsode.classify.source import read_texts
    from rhapsode.text.tokenizers.base import shown

    texts = read_texts(options.file, config, note)
    found, labels = classifier.distributions(texts), classifier.labels
    if options.json:
        predictions = [
            {
                "text": text,
                "label": labels[int(p.argmax())],
                "probability": float(p.max()),
                "probabilities": dict(zip(labels, p.tolist(), strict=True)),
            }
            for text, p in zip(texts, found, strict=True)
        ]
        print_json({"model": options.model, "files": options.file, "predictions": predictions})
        return 0
    width = max(len(str(label)) for label in labels)
    for text, p in zip(texts, found, strict=True):
        beginning = text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
        print(f"{labels[int(p.argmax())]!s:<{width}}  {p.max():.4f}  {shown(beginning)}")
    return 0


def measure(options: Options, classifier: SequenceClassifier, config: CorpusConfig) -> int:
    """Accuracy, precision, recall and the confusion table."""
    from rhapsode.classify.source import read_labelled

    label = options.label or str(classifier.file.training.get("label", "label"))
    texts, found = read_labelled(options.file, config, label, note)
    known = {str(label): label for label in classifier.labels}
    for one in found:
        if one not in known:
            names = listed(map(repr, known), 12)
            raise SourceError(f"{', '.join(options.file)}: class {one!r} was not learned; the classifier knows {names}")
    report = classifier.evaluate(texts, [known[one] for one in found])
    if options.json:
        print_json({"model": options.model, "files": options.file, **report.to_json()})
    else:
        print(report)
    return 0
