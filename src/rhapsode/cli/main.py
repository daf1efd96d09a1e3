"""``rhapsode COMMAND ...``: finds the command, imports its module only then, and turns what goes wrong into one line.

A command's module has `Options`, a dataclass (see `rhapsode.cli.options`), and ``run(options) -> int``, the exit
status. Exit status: 0 done, 2 a mistake in what was asked, 1 a failure of the work, 130 stopped by Ctrl-C, 141 the
reader of the output has gone (as for any program that a broken pipe ends).
"""

from __future__ import annotations

import contextlib
import importlib
import io
import keyword
import os
import sys
from collections.abc import Sequence
from typing import Any

from rhapsode.errors import ConfigError, RhapsodeError

COMMANDS = {
    "train": "learn from text; leaves a run folder with a model file",
    "generate": "write text with a model",
    "write": "write a text together with a model, choice by choice",
    "evaluate": "measure a model's loss on a text, exactly",
    "score": "how surprising a text is to a model, line by line",
    "train-classifier": "learn to tell the class of a text, such as its language",
    "classify": "name the class of texts with a classifier, or measure it",
    "vector": "texts as vectors, and which are alike",
    "info": "everything a model file tells about itself",
    "prepare": "turn text into a corpus of tokens on disk",
    "export": "a model in another form, such as int8: a quarter of the size",
    "average": "one model of the mean weights of several",
    "import": "a network of Keras or PyTorch as a model file",
    "plan": "what train would do in a given time, and why",
    "bench": "how fast this machine trains and writes, beside torch",
    "demo": "train on text of this computer, and write with the model",
    "completion": "completion of commands and options for a shell",
}
"""Each command, whose module has the same name (with _ for -, and after a word of Python's), and its help."""

EPILOG = """\
MODEL is a run folder or a model file; SOURCE is a file, a folder, a glob, - or
a prepared corpus. 'rhapsode COMMAND --help' shows a command's options.
"""


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    words = list(sys.argv[1:] if words is None else words)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a character that the terminal cannot show
    try:
        if sys.stdout is None:
            return _complain("standard output: it is closed", 1)
        status = _dispatch(words)
        sys.stdout.flush()
        return status
    except SystemExit as end:
        return _status(end)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        _abandon_stdout()
        return 141
    except Exception as error:
        return _failed(error)


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(usage(), end="", file=sys.stdout if words else sys.stderr)
        return 0 if words else 2
    command, *rest = words
    if command in ("-V", "--version"):
        import rhapsode

        print(f"rhapsode {rhapsode.__version__}")
        return 0
    if command not in COMMANDS:
        import difflib

        near = difflib.get_close_matches(command, COMMANDS, n=1)
        hint = f"did you mean {near[0]}?" if near else "see rhapsode --help"
        return _complain(f"{command!r}: no such command; {hint}", 2)
    if command != "bench" and "torch" not in " ".join(rest):  # torch may use the same BLAS
        _leave_processors_to_the_core()
    module = module_of(command)
    from rhapsode.cli.parse import parse

    return module.run(parse(module.Options, rest, f"rhapsode {command}"))


def _leave_processors_to_the_core() -> None:
    """Let numpy's BLAS have no threads: what they find to do takes no time to speak of, and between they spin, on
    processors that the core's own need."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def module_of(command: str) -> Any:
    """The module of a command, imported."""
    name = command.replace("-", "_") + "_" * keyword.iskeyword(command)
    return importlib.import_module(f"rhapsode.cli.{name}")


def usage() -> str:
    """What ``rhapsode --help`` prints."""
    width = max(map(len, COMMANDS)) + 2
    lines = [f"  {name:<{width}}{text}" for name, text in COMMANDS.items()]
    return "\n".join(["usage: rhapsode COMMAND ...", "", "commands:", *lines, "", EPILOG])


def _failed(error: Exception) -> int:
    """One line about what went wrong, and the exit status for it."""
    if os.environ.get("RHAPSODE_DEBUG"):
        import traceback

        traceback.print_exc()
    if isinstance(error, ConfigError):
        from rhapsode.cli.fields import spelling

        return _complain(
            f"{spelling(error.option)}: found {error.found!r}, allowed: {error.allowed}", error.exit_status
        )
    if isinstance(error, RhapsodeError):
        return _complain(str(error), error.exit_status)
    if isinstance(error, MemoryError):
        return _complain(f"out of memory: {error or 'nothing more can be allocated'}", 1)
    if isinstance(error, OSError):
        _abandon_stdout()
        return _complain(f"{error.filename or 'standard output'}: {error.strerror or error}", 1)
    hint = "" if os.environ.get("RHAPSODE_DEBUG") else " (RHAPSODE_DEBUG=1 shows where)"
    return _complain(f"unexpected {type(error).__name__}: {error}{hint}", 1)


def _complain(text: str, status: int) -> int:
    with contextlib.suppress(OSError):
        print("rhapsode: " + " ".join(text.split()), file=sys.stderr, flush=True)
    return status


def _status(end: SystemExit) -> int:
    return end.code if isinstance(end.code, int) else int(end.code is not None)


def _abandon_stdout() -> None:
    """Send what is still buffered nowhere, or Python would complain when it flushes at exit."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
