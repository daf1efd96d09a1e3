"""`rhapsode train` in a process of its own, and when it said what. For the scripts beside this file."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TEXT = Path("../shared/data/tinyshakespeare.txt")


def said_by_train(
    text: Path, options: list[str], python: tuple[str, ...] = ("-m", "rhapsode")
) -> list[tuple[float, str]]:
    """Each line on stderr, with the seconds since the process was started.

    The text has not been read before, and nothing is left of the run. `python` is how Python gets to the command
    line. Exits with what was said if the command fails.
    """
    if not text.is_file():
        sys.exit(f"--text: {text}: no such file")
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, *python, "train", str(text), f"--out={folder}/run", "--no-samples", *options]
        environment = os.environ | {"RHAPSODE_CACHE": f"{folder}/cache"}
        pipes = {"stderr": subprocess.PIPE, "stdout": subprocess.DEVNULL}
        begun = time.perf_counter()
        with subprocess.Popen(command, env=environment, text=True, **pipes) as process:
            said = [(time.perf_counter() - begun, line) for line in process.stderr]
    if process.returncode:
        sys.exit("".join(line for _, line in said))
    return said
