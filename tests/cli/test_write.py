"""``rhapsode write`` over a pipe, and under Ctrl-C."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys

import pytest

from models import random_model
from rhapsode import load
from rhapsode.cli.main import main
from rhapsode.draft import Draft


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "model.safetensors"
    random_model(training={"start": "\n"}).save(path)
    return str(path)


@pytest.fixture
def run(capsys, monkeypatch):
    """Types lines to the command; gives exit status, stdout, stderr."""

    def run(typed: str, *words: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        status = main(["write", *words])
        return status, *capsys.readouterr()

    return run


def test_a_text_of_choices_own_words_and_the_models(run, file, tmp_path):
    draft = Draft(load(file), "bad")
    draft.take(draft.choices(3)[1])
    draft.add(" rose and")
    list(draft.write(length=12, seed=7 + 2, temperature=0.5))
    out = tmp_path / "text.txt"
    words = ("--prompt", "bad", "--choices", "3", "--seed", "7", "--temperature", "0.5", "--out", str(out))
    status, told, err = run("2\n rose and\n/go 12\n", file, *words)
    assert (status, told.rstrip("\n")) == (0, draft.text.rstrip("\n"))
    assert out.read_text() == draft.text
    assert err.count("\n   3  ") == 4
    assert "\n   4  " not in err


def test_commands(run, file, tmp_path):
    saved = tmp_path / "draft.txt"
    typed = f"1\n/undo\n or\n/line\n//a\n/=7\n/save {saved}\n/undo 2\n/text\n/help\n/quit\nnever\n"
    status, told, err = run(typed, file, "--prompt", "bad")
    assert (status, told) == (0, "bad or\n")
    assert saved.read_text() == "bad or\n/a7"
    assert "not trained on '7'" in err
    assert "/undo [N]" in err


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("9\n", "9: no such choice; there are 1 to 5"),
        ("0\n", "0: no such choice"),
        ("/nonsense\n", "/nonsense: no such command"),
        ("/go x\n", "/go: found 'x', allowed: a number from 1 on"),
        ("/undo\n", "/undo: nothing"),
        ("/save\n", "/save: which file?"),
        ("/save /nowhere/at/all\n", "/nowhere/at/all: cannot be written"),
    ],
)
def test_a_mistake_is_told_and_the_dialogue_goes_on(run, file, typed, said):
    status, told, err = run(typed + " and\n", file, "--prompt", "bad")
    assert (status, told) == (0, "bad and\n")
    assert said in err


def test_what_go_cannot_write_is_told_and_the_dialogue_goes_on(run, file):
    status, told, err = run("/go 2\n and\n", file, "--prompt", "bad", "--require", "rose")
    assert (status, told) == (0, "bad and\n")
    assert "/go: require: found ('rose',), allowed: at most 2 symbols" in err


def test_it_learns_from_the_prompt_and_from_own_words(run, file, tmp_path):
    """And forgets what is undone."""
    story = tmp_path / "story.txt"
    story.write_text("bad roses and sad ends. " * 20)
    words = (file, "--prompt-file", str(story), "--seed", "1", "--temperature", "1")
    plain, learned, undone, more = (
        run(typed + "/go 80\n", *words, *more)[1]
        for typed, more in (
            ("", ()),
            ("", ("--dynamic", "--dynamic-lr", "0.01")),
            ("the sand on the shore, the rose\n/undo\n", ("--dynamic", "--dynamic-lr", "0.01")),
            ("the sand on the shore, the rose\n", ("--dynamic", "--dynamic-lr", "0.01")),
        )
    )
    draft = Draft(load(file), story.read_text(), dynamic=True, dynamic_lr=0.01)
    list(draft.write(length=80, seed=1 + 2, temperature=1))
    assert undone.rstrip("\n") == draft.text.rstrip("\n")
    assert len({plain, learned, undone, more}) == 4


def test_another_try_after_undo_is_another_text(run, file):
    _, once, _ = run("/go 60\n", file, "--prompt", "bad", "--seed", "3")
    _, again, _ = run("/go 60\n/undo\n/go 60\n", file, "--prompt", "bad", "--seed", "3")
    assert once != again


def test_json_is_one_object(run, file):
    status, told, _ = run(" or\n", file, "--prompt", "bad", "--json")
    assert (status, json.loads(told)) == (0, {"model": file, "prompt": "bad", "text": "bad or", "changes": 1})


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--choices", "0"), "--choices: found 0"),
        (("--temperature", "-1"), "--temperature: found -1.0"),
        (("--only", "ZQ"), "--only: found 'ZQ'"),
        (("--dynamic-lr", "0.1"), "--dynamic-lr: found 0.1, allowed: only with dynamic"),
        (("--prompt-file", "none.txt"), "none.txt: cannot be read: No such file or directory"),
        (("--prompt", "a", "--prompt-file", "b"), "--prompt-file: found 'b', allowed: only without --prompt"),
    ],
)
def test_wrong_options_are_one_line(run, file, words, said):
    status, told, err = run("", file, *words)
    assert (status, told, err.count("\n")) == (2, "", 1)
    assert said in err


def test_ctrl_c_keeps_the_text(file, tmp_path):
    out = tmp_path / "text.txt"
    words = [sys.executable, "-m", "rhapsode", "write", file, "--prompt", "bad", "--out", str(out)]
    process = subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | {"COLUMNS": "80"}
    )
    assert process.stdin
    assert process.stderr
    process.stdin.write(b" or\n")
    process.stdin.flush()
    while b"bad or|" not in process.stderr.readline():
        pass
    process.send_signal(signal.SIGINT)
    told, err = process.communicate(timeout=60)
    assert (process.returncode, told) == (130, b"bad or\n")
    assert out.read_text() == "bad or"
    assert b"Traceback" not in err


def test_lines_can_be_edited_and_called_back(file):
    """At a terminal: the arrow up brings the last line again, the arrow left goes back in it."""
    pytest.importorskip("readline")
    pty = pytest.importorskip("pty")
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "xterm"
        os.execv(sys.executable, [sys.executable, "-m", "rhapsode", "write", file, "--prompt", "bad", "--json"])
    shown = until(terminal, b"> ")
    for keys in (b" ed\x1b[Dn\n", b"\x1b[A\n", b"/quit\n"):
        os.write(terminal, keys)
        shown += until(terminal, b"> ")
    assert os.waitpid(pid, 0)[1] == 0
    assert b'"text": "bad end end"' in shown


def until(terminal: int, mark: bytes) -> bytes:
    """What the terminal shows up to the mark, or to the end."""
    shown = b""
    while not shown.endswith(mark):
        try:
            more = os.read(terminal, 1)
        except OSError:  # Linux: the other side is closed
            break
        if not more:
            break
        shown += more
    return shown
