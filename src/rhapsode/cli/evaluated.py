"""Which text `rhapsode evaluate` measures, and which one its n-gram learns from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rhapsode.cli.texts import read_texts
from rhapsode.errors import CorpusError, RunError

if TYPE_CHECKING:
    from rhapsode.modelfile import ModelFile
    from rhapsode.text.corpus import Corpus, Part


def named_corpus(names: Sequence[str], model: ModelFile) -> Corpus | None:
    """The prepared corpus that is named, if one is.

    Raises:
        CorpusError: its tokens are not the model's.
    """
    from rhapsode.text.corpus import is_corpus, open_corpus

    if len(names) != 1 or not is_corpus(names[0]):
        return None
    corpus = open_corpus(names[0])
    if corpus.tokenizer.to_json() != model.tokenizer.to_json():
        raise CorpusError(f"{names[0]}: prepared with another tokenizer than the model's; name the text itself")
    return corpus


def held_out(corpus: Corpus) -> Part:
    """Its held-out part.

    Raises:
        CorpusError: there is none.
    """
    if not corpus.held_out.predictions:
        raise CorpusError(f"{corpus.path}: nothing was held out; name the text to measure")
    return corpus.held_out


def text_part(names: Sequence[str], reading: dict[str, Any], label: str | None, model: ModelFile) -> Part:
    """All of the text that is named, as tokens of the model (see `read_texts`)."""
    from rhapsode.evaluate import part_of

    texts, mode = read_texts(model, names, reading, label)
    documents = [document for text in texts for document in text.documents]
    labels = [label for text in texts for label in text.labels]
    if not documents:
        raise CorpusError(f"{', '.join(names)}: no text in it")
    if mode == "whole":
        return part_of(model.tokenizer, ["".join(documents)], closed=False, labels=labels[:1])
    return part_of(model.tokenizer, documents, closed=True, labels=labels)


def training_part(
    named: Sequence[str],
    run: str,
    reading: dict[str, Any],
    label: str | None,
    model: ModelFile,
    corpus: Corpus | None,
) -> Part:
    """What an n-gram learns from: the text that is named, else what the model of this run was trained on.

    Args:
        corpus: the one that is measured, if one is.

    Raises:
        RunError: the text that the model was trained on is not at hand.
    """
    if named:
        own = named_corpus(named, model)
        return own.train if own else text_part(named, reading, label, model)
    trained = model.training.get("corpus")
    same = corpus and isinstance(trained, dict) and corpus.digest == trained.get("digest")
    return corpus.train if corpus and same else corpus_of_run(run, model).train


def corpus_of_run(name: str, model: ModelFile) -> Corpus:
    """The corpus that the run of this model was trained on.

    Raises:
        RunError: it is not there any more, or the model is in no run folder.
    """
    from rhapsode.training.folder import DESCRIPTION, Description

    folder = Path(name) if Path(name).is_dir() else Path(name).parent
    if (folder / DESCRIPTION).is_file():
        description = Description.load(folder)
        corpus = named_corpus([description.corpus_path], model)
        if corpus and corpus.digest == description.corpus_digest:
            return corpus
    raise RunError(
        f"{name}: the text it was trained on is not at hand; name a FILE, and for --baseline or --mix --baseline-text"
    )
