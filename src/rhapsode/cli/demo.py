"""``rhapsode demo``: the whole flow on text that every CPython carries, its own language reference."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rhapsode.cli.options import CommandOptions, config_options
from rhapsode.cli.output import note
from rhapsode.config import ModelConfig, TrainConfig
from rhapsode.option import option

TEXT, PROMPT = "python-topics.txt", "The "


@dataclass(frozen=True, kw_only=True)
class Options(CommandOptions):
    """Train a small model for a minute on Python's own documentation, and write with it. Needs no files."""

    out: str = option("demo", "folder for the text and the run", metavar="FOLDER")
    resume: bool = option(False, "go on with the demo that was stopped")
    model: dict[str, Any] = config_options(ModelConfig, "model")
    train: dict[str, Any] = config_options(TrainConfig, "training")


def run(options: Options) -> int:
    """Write the text, train on it, write with the model, print what to try next."""
    from rhapsode.cli import train
    from rhapsode.files import make_folder, write_text
    from rhapsode.model import load

    folder = make_folder(options.out)
    write_text(folder / TEXT, topics())
    source, out = str(folder / TEXT), str(folder / "run")
    chosen = train.Options(
        source=(source,),
        out=out,
        resume=options.resume,
        overwrite=not options.resume,
        json=options.json,
        model=options.model,
        train=options.train,
        corpus={},
    )
    status = train.run(chosen)
    if status == 0 and not options.json:
        text = load(out).generate(PROMPT, length=400, temperature=0.7, seed=1)
        print(f"\n{PROMPT}{text}\n")
        note(_next(Path(out)))
    return status


def topics() -> str:
    """The topics of Python's help, the language reference in plain text, sorted by name."""
    from pydoc_data.topics import topics as pages

    return "\n\n".join(pages[name].strip("\n") for name in sorted(pages)) + "\n"


def _next(run: Path) -> str:
    return f"""\
Try next:
  rhapsode generate {run} --prompt "A class is" --temperature 0.5
  rhapsode info {run}
  rhapsode train YOUR_TEXT.txt --minutes 3"""
