"""One process at a time trains in a run folder, and what a killed one left locks nobody out."""

import json
import signal
import subprocess
import sys

import pytest

from rhapsode.errors import RunError
from rhapsode.training.folder import DESCRIPTION
from rhapsode.training.lock import LOCK, FolderLock
from rhapsode.training.start import start
from texts import verses

SMALL = {"hidden": 8, "batch_size": 4, "length": 8, "steps": 3}
HOLDER = """
import sys, time
from pathlib import Path
from rhapsode.training.lock import FolderLock
with FolderLock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def source(tmp_path, monkeypatch):
    monkeypatch.setenv("RHAPSODE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "verses.txt").write_text(verses(60))
    return str(tmp_path / "verses.txt")


def holder(folder):
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    return process


def test_a_lock_dies_with_its_process(tmp_path):
    process = holder(tmp_path)
    with pytest.raises(RunError, match="another process trains there"):
        FolderLock(tmp_path).acquire()
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (tmp_path / LOCK).exists()
    with FolderLock(tmp_path):
        pass
    assert not (tmp_path / LOCK).exists()


@pytest.mark.parametrize("how", [{}, {"resume": True}, {"overwrite": True}])
def test_a_folder_in_use_is_left_alone(source, tmp_path, how):
    start((source,), tmp_path / "run", SMALL).go()
    before = (tmp_path / "run" / DESCRIPTION).read_bytes()
    process = holder(tmp_path / "run")
    with pytest.raises(RunError, match="run: another process trains there"):
        start((source,), tmp_path / "run", {} if how.get("resume") else SMALL | {"steps": 5}, **how)
    process.kill()
    process.wait()
    assert (tmp_path / "run" / DESCRIPTION).read_bytes() == before


def test_a_run_that_is_set_up_keeps_its_folder_until_it_ends(source, tmp_path):
    run = start((source,), tmp_path / "run", SMALL)
    with pytest.raises(RunError, match="another process"):
        start((source,), tmp_path / "run", SMALL, overwrite=True)
    run.go()
    start((source,), tmp_path / "run", SMALL, overwrite=True).go()


def test_a_run_of_an_older_version_resumes(source, tmp_path):
    """What it did not know yet has its default."""
    start((source,), tmp_path / "run", SMALL).go()
    path = tmp_path / "run" / DESCRIPTION
    told = json.loads(path.read_text())
    for part, name in (("train", "averaging"), ("model", "conv"), ("corpus", "label")):
        del told[part][name]
    del told["reasons"]
    path.write_text(json.dumps(told))
    assert start((source,), tmp_path / "run", {"steps": 5}, resume=True).go().progress.step == 5
