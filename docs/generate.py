"""Writes docs/cli.md from the commands' own help. `make docs` runs it; a test asserts that the page is current."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parent / "cli.md"
HEAD = "# The command line\n\nMade from `rhapsode COMMAND --help` by `make docs`.\n"


def page() -> str:
    """The whole page."""
    from rhapsode.cli.main import COMMANDS

    sections = [f"\n## rhapsode\n\n```text\n{_help()}```\n"]
    sections += [f"\n## rhapsode {name}\n\n```text\n{_help(name)}```\n" for name in COMMANDS]
    return HEAD + "".join(sections)


def _help(*command: str) -> str:
    """What `rhapsode COMMAND --help` prints on a screen of 100 columns, without colour."""
    environment = os.environ | {"COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"}
    words = [sys.executable, "-m", "rhapsode", *command, "--help"]
    text = subprocess.run(words, env=environment, capture_output=True, text=True, check=True).stdout
    return "\n".join(line.rstrip() for line in text.strip().splitlines()) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
