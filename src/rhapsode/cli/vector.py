"""``rhapsode vector MODEL [FILE...]``: what a model keeps of each text, as a vector; and which texts are alike."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from rhapsode.cli.options import ModelCommandOptions, Precision, argument, precision_option
from rhapsode.cli.output import print_json
from rhapsode.cli.texts import read_texts, reading_options
from rhapsode.errors import CorpusError
from rhapsode.model import cosine, load
from rhapsode.option import option
from rhapsode.text.tokenizers.base import shown


@dataclass(frozen=True, kw_only=True)
class Options(ModelCommandOptions):
    """Print a vector for each line of a text, as a line of JSON: the output of the model's last layer after reading it.

    With --similar-to: the lines, from the one whose vector is most like that of the given text (cosine) to the least.
    A language model's state says most about how a text ends, and in what style; it is no model of meaning.
    """

    model: str = argument("a run folder or a model file", metavar="MODEL")
    file: tuple[str, ...] = argument("files, folders, globs, or - for stdin", metavar="[FILE...]", default=("-",))
    similar_to: str | None = option(None, "rank the texts by their likeness to this one")
    precision: Precision = precision_option()
    reading: dict[str, Any] = reading_options()


def run(options: Options) -> int:
    """Read, and print vectors or a ranking."""
    model = load(options.model, options.precision)
    sources, _ = read_texts(model.file, options.file, {"documents": "lines"} | options.reading, labels="none")
    texts = [text for source in sources for text in source.documents]
    if not texts:
        raise CorpusError(f"{', '.join(options.file)}: no text in it")
    if options.similar_to is None:
        vectors = ({"text": text, "vector": model.vector(text).tolist()} for text in texts)
        if options.json:
            print_json({"model": options.model, "vectors": list(vectors)})
        else:
            for line in vectors:
                print(json.dumps(line, ensure_ascii=False), flush=True)
        return 0
    wanted = model.vector(options.similar_to)
    ranked = sorted(((cosine(wanted, model.vector(text)), text) for text in texts), key=lambda pair: -pair[0])
    if options.json:
        told = [{"text": text, "similarity": similarity} for similarity, text in ranked]
        print_json({"model": options.model, "similar_to": options.similar_to, "texts": told})
    else:
        for similarity, text in ranked:
            print(f"{similarity:7.4f}  {shown(text)}")
    return 0
