"""The run folder: everything about one training run, where a person can find it.

    run.json                what was asked for and decided: sources, configurations, corpus, versions
    start.safetensors       the model that it went on from, its vocabulary grown (train --from)
    best.safetensors        the model file of the best validation so far: the one to use
    last.safetensors        the model file of the latest weights
    checkpoint.safetensors  what `--resume` goes on from
    metrics.jsonl           one JSON object a line: training and validation figures by step
    loss.svg                the curves
    lock                    while a process trains here

Each file appears whole or not at all. A run that is killed at any moment loses at most the steps since its latest
checkpoint, and makes them again, the same, when it is resumed.
"""

from __future__ import annotations

import json
import shutil
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rhapsode.config import CorpusConfig, ModelConfig, TrainConfig
from rhapsode.errors import ConfigError, RunError
from rhapsode.files import make_folder, write_json
from rhapsode.modelfile import BEST, LAST
from rhapsode.training.expectation import Expectation
from rhapsode.training.lock import LOCK, FolderLock

DESCRIPTION, START, CHECKPOINT = "run.json", "start.safetensors", "checkpoint.safetensors"
METRICS, CURVE = "metrics.jsonl", "loss.svg"
OURS = (DESCRIPTION, START, CHECKPOINT, METRICS, CURVE, BEST, LAST)


@dataclass(frozen=True)
class Description:
    """What run.json says."""

    sources: tuple[str, ...]
    corpus: CorpusConfig
    corpus_path: str
    corpus_digest: str
    model: ModelConfig
    train: TrainConfig
    backend: str
    reasons: tuple[str, ...] = ()
    """why the plan chose what it chose, a line each"""
    version: str = ""
    expected: Expectation | None = None
    """what the run was expected to reach; None: nobody said, or it was resumed with another budget"""

    def to_json(self) -> dict[str, Any]:
        values = dict(vars(self))
        for name in ("corpus", "model", "train"):
            values[name] = values[name].to_json()
        expected = self.expected and self.expected.to_json()
        return values | {"sources": list(self.sources), "reasons": list(self.reasons), "expected": expected}

    @classmethod
    def load(cls, folder: Path) -> Description:
        """Read run.json of a run folder. What an older version did not know yet has its default.

        Raises:
            RunError: there is none, or it is damaged.
        """
        path = folder / DESCRIPTION
        if not path.is_file():
            raise RunError(f"{folder}: no run to resume here ({DESCRIPTION} is missing)")
        try:
            values = json.loads(path.read_text("utf-8"))
            values |= {
                "sources": tuple(values["sources"]),
                "reasons": tuple(values.get("reasons", ())),
                "corpus": CorpusConfig.from_json(values["corpus"]),
                "model": ModelConfig.from_json(values["model"]),
                "train": TrainConfig.from_json(values["train"]),
                "expected": Expectation(**values["expected"]) if values.get("expected") else None,
            }
            return cls(**values)
        except (OSError, ValueError, KeyError, TypeError, ConfigError) as error:
            raise RunError(f"{path}: damaged: {error}") from None


def new_run(folder: Path, description: Description, overwrite: bool) -> FolderLock:
    """Make the folder of a new run, and lock it.

    Raises:
        RunError: a run is there already, or a file, or a folder with other things in it, or another process trains
            there.
        OutputError: it cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder}: is a file; a run needs a folder")
    if folder.is_dir() and not (folder / DESCRIPTION).is_file() and any(p.name != LOCK for p in folder.iterdir()):
        raise RunError(f"{folder}: not empty and not a run; choose another folder with --out")
    make_folder(folder)
    with ExitStack() as stack:
        lock = stack.enter_context(FolderLock(folder))
        if (folder / DESCRIPTION).is_file():
            if not overwrite:
                raise RunError(f"{folder}: holds a run; --resume goes on with it, --overwrite starts anew")
            _clear(folder)
        write_json(folder / DESCRIPTION, description.to_json())
        stack.pop_all()
    return lock


def _clear(folder: Path) -> None:
    for name in OURS:
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / "tensorboard", ignore_errors=True)


def default_folder(sources: tuple[str, ...], *, resume: bool) -> Path:
    """runs/NAME after the first source; with a number where that is taken, the newest one to resume."""
    stem = Path(sources[0]).name.split(".")[0].strip("*?[]- ") if sources else ""
    base = Path("runs") / (stem or "text")
    number, taken = 1, base
    while _numbered(base, number).exists():
        taken = _numbered(base, number)
        number += 1
    return taken if resume else _numbered(base, number)


def _numbered(base: Path, number: int) -> Path:
    return base if number == 1 else base.with_name(f"{base.name}-{number}")
