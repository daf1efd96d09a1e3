"""From text to a trained model in one call."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rhapsode.errors import ConfigError, TrainingInterrupted
from rhapsode.modelfile import ModelFile
from rhapsode.text.source import named
from rhapsode.training.start import start

if TYPE_CHECKING:
    from rhapsode.model import Model


def train(
    source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    from_: str | Path | Model | None = None,
    **fields: Any,
) -> Model:
    """Train a model on text and return it.

    Args:
        source: a file, a folder, a glob, a prepared corpus, or several of these.
        out: the folder to keep the run in; None: only the model is kept.
        resume: go on with the run that is there; only with `out`.
        overwrite: replace the run that is there.
        from_: a model to go on from, whose vocabulary grows by what the text adds (see `rhapsode.training.transfer`).
        fields: any field of `TrainConfig`, `ModelConfig` and `CorpusConfig` by name, e.g. ``minutes=3, hidden=256``;
            what is not named is planned to suit the text and the time.

    Raises:
        TrainingInterrupted: Ctrl-C (or SIGTERM) ended the training after the step at hand. A KeyboardInterrupt, with
            what has been learned so far in its attribute `model`, and in `out`, from which `resume` goes on. A second
            Ctrl-C is a plain KeyboardInterrupt, at once.
        ConfigError: a field is unknown or its value is not allowed.
        ModelFileError: there is no model to go on from.
        SourceError, CorpusError: the text cannot be read, or is too little.
        TrainingError: the loss is no longer finite.
    """
    from rhapsode.model import Model

    if resume and out is None:
        raise ConfigError("resume", resume, "only with out, the folder of a run")
    base = from_.file if isinstance(from_, Model) else from_
    paths = named(source)
    with tempfile.TemporaryDirectory(prefix="rhapsode-") as temporary:
        folder = Path(out) if out is not None else Path(temporary) / "run"
        run = start(paths, folder, fields, resume=resume, overwrite=overwrite, from_=base)
        outcome = run.go()
        model = Model(ModelFile.load(folder))
        if outcome.interrupted:
            raise TrainingInterrupted(model, "" if out is None else f", and in {out}: resume=True goes on")
        return model
