"""A session of a million characters needs no more memory than a short one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from models import random_model

WRITE = """
import re, sys
from rhapsode.model import load

def megabytes():
    return int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1]) / 1024

session = load(sys.argv[1]).session("once")
for _ in session.stream(length=50_000, seed=1):
    pass
before, size = megabytes(), 0
for piece in session.stream(length=1_000_000, seed=2):
    size += len(piece)
print(size, before, megabytes())
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from Linux's /proc")
def test_a_million_characters_in_constant_memory(tmp_path):
    pytest.importorskip("rhapsode._native", reason="the native core was not built")
    file = random_model(hidden=64, scale=0.1, training={"start": "\n"})  # begins as a line, and never ends
    file.save(tmp_path / "model")
    done = subprocess.run([sys.executable, "-c", WRITE, str(tmp_path / "model")], capture_output=True, text=True)
    assert not done.stderr
    size, before, after = map(float, done.stdout.split())
    assert size == 1_000_000
    assert after < before + 2
