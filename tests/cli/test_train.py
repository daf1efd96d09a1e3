"""`rhapsode train` as a person runs it: in a process of its own, with signals and bad input."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from rhapsode.cli.main import main
from rhapsode.modelfile import ModelFile
from texts import verses

SMALL = ["--hidden", "16", "--batch-size", "4", "--length", "8", "--no-samples"]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty folder to work in, with a text."""
    monkeypatch.setenv("RHAPSODE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (tmp_path / "verses.txt").write_text(verses(200))
    return tmp_path


def command(*words):
    return [sys.executable, "-m", "rhapsode", *map(str, words)]


def rhapsode(place, *words, **kwargs):
    return subprocess.run(command(*words), cwd=place, capture_output=True, text=True, timeout=120, **kwargs)


def begin(place, *words):
    """Start a run and wait until it is in its steps."""
    metrics = place / "run" / "metrics.jsonl"
    before = metrics.read_text() if metrics.exists() else ""
    process = subprocess.Popen(command(*words), cwd=place, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not metrics.exists() or metrics.read_text() in ("", before):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return process


def test_text_from_standard_input_is_called_so(place):
    for more in (["--steps", 2], ["--steps", 3, "--resume"]):
        done = rhapsode(place, "train", "-", "--out", "run", "--held-out", 0, *SMALL, *more, input=verses(60))
        assert done.returncode == 0, done.stderr
        assert ModelFile.load(place / "run").training["sources"] == ["<stdin>"]


def test_text_in_a_model_out(place):
    done = rhapsode(place, "train", "verses.txt", "--steps", 20, "--out", "run", "--json", *SMALL)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert {
        "model",
        "steps",
        "seconds",
        "tokens_per_second",
        "parameters",
        "val_nats_per_token",
        "val_bits_per_char",
    } <= report.keys()
    assert report["steps"] == 20
    model = ModelFile.load(place / report["model"])
    assert sum(value.size for value in model.parameters.values()) == report["parameters"]
    assert sorted(p.name for p in (place / "run").iterdir() if p.is_file()) == [
        "best.safetensors",
        "checkpoint.safetensors",
        "last.safetensors",
        "loss.svg",
        "metrics.jsonl",
        "run.json",
    ]


def test_standard_input(place):
    done = rhapsode(place, "train", "-", "--steps", 3, "--json", *SMALL, input=verses(50))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["steps"] == 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_saves_says_where_and_resumes(place, number):
    words = ("train", "verses.txt", "--minutes", 5, "--out", "run", *SMALL)
    process = begin(place, *words)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "saved in run" in err
    assert "--resume" in err
    resumed = begin(place, *words, "--resume")
    resumed.send_signal(signal.SIGINT)
    _, err = resumed.communicate(timeout=60)
    assert resumed.returncode == 130
    assert "resuming" in err


def test_an_interrupt_before_the_first_step_says_how_to_go_on(place, monkeypatch, capsys):
    """Also a second one, that does not wait for the step at hand."""
    monkeypatch.chdir(place)
    words = ["train", "verses.txt", "--steps", "2", "--out", "run", *SMALL]
    with monkeypatch.context() as patch:
        patch.setattr("rhapsode.training.run.make_learner", interrupted)
        assert main(words) == 130
    assert "the same command with --resume goes on from what run holds" in capsys.readouterr().err
    assert main([*words, "--resume"]) == 0


def interrupted(*_):
    raise KeyboardInterrupt


def test_a_kill_without_warning_loses_nothing(place):
    """Law 6, with a real kill."""
    words = ("train", "verses.txt", "--steps", 600, *SMALL)
    process = begin(place, *words, "--out", "run")
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert rhapsode(place, *words, "--out", "run", "--resume").returncode == 0
    assert rhapsode(place, *words, "--out", "whole").returncode == 0
    a, b = (ModelFile.load(place / folder / "last.safetensors").parameters for folder in ("run", "whole"))
    assert all((a[name] == b[name]).all() for name in a)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["missing.txt"], ["missing.txt"]),
        (["empty.txt"], ["empty.txt"]),
        (["folder"], ["folder"]),
        (["verses.txt", "--cell", "transformer"], ["--cell", "transformer", "rnn, gru, lstm"]),
        (["verses.txt", "--dropout", "1.5"], ["--dropout", "1.5", "below 1"]),
        (["verses.txt", "--hidden", "many"], ["--hidden", "many", "whole number"]),
        (["verses.txt", "--steps", "5", "--minutes", "1"], ["--steps", "minutes"]),
        (["verses.txt", "--hiden", "5"], ["--hiden", "--hidden"]),
        (["verses.txt", "--resume"], ["no run to resume"]),
        (["verses.txt", "--tied", "--input", "one-hot", "--steps", "1"], ["--tied", "embedding"]),
        (["verses.txt", "--batches", "windows", "--length", "60000"], ["60000"]),
        ([], ["SOURCE"]),
    ],
)
def test_a_mistake_is_one_line_with_status_2(place, words, says):
    (place / "empty.txt").write_text("")
    (place / "folder").mkdir()
    done = rhapsode(place, "train", *words)
    assert done.returncode == 2, done.stderr
    line = done.stderr.strip().splitlines()[-1]
    assert line.startswith("rhapsode: ")
    assert all(word in line for word in says), line
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="permissions do not bind the superuser")
def test_a_read_only_folder(place):
    (place / "closed").mkdir()
    (place / "closed").chmod(0o500)
    done = rhapsode(place, "train", "verses.txt", "--steps", 2, "--out", "closed/run", *SMALL)
    assert done.returncode == 1
    assert "closed/run" in done.stderr


def test_a_place_that_cannot_be_written(place):
    done = rhapsode(place, "train", "verses.txt", "--steps", 2, "--out", "verses.txt/run", *SMALL)
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()[-1]) < 200
    assert "verses.txt/run" in done.stderr


def test_the_plan_says_why(place):
    done = rhapsode(place, "plan", "verses.txt", "--minutes", 1, "--json")
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert plan["train"]["minutes"] == 1
    assert plan["reasons"]
    assert plan["expected"]["seconds"] > 60
    assert 0 < plan["expected"]["low"] < plan["expected"]["high"]
    assert plan["overlap"]["unit"] == "symbols"


def test_the_plan_is_a_line_a_choice_with_its_reason_in_80_columns(place):
    env = os.environ | {"COLUMNS": "80"}
    done = rhapsode(place, "plan", "verses.txt", "--minutes", 1, "--hidden", 40, env=env)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    model, training = lines.index("model"), lines.index("training")
    assert any(re.fullmatch(r"  --hidden 40 +named", line) for line in lines[model:training])
    assert any(re.fullmatch(r"  --minutes 1 +named", line) for line in lines[training:])
    assert any(re.fullmatch(r"  --batch-size \d+ +\w.*", line) for line in lines[training:])
    usual = " ".join(" ".join(lines).split())
    assert "layers 1" in usual
    assert "--layers" not in usual
    assert "vocab-size" not in usual


def test_what_came_stands_beside_what_was_expected(place):
    done = rhapsode(place, "train", "verses.txt", "--steps", 20, "--out", "run", *SMALL)
    assert done.returncode == 0, done.stderr
    assert "little text" in done.stderr
    assert "expected  about " in done.stderr
    assert "held-out loss" in done.stderr
    assert "the expected" in next(line for line in done.stdout.splitlines() if line.startswith("took "))


def test_a_folder_in_which_another_process_trains(place):
    process = begin(place, "train", "verses.txt", "--minutes", 5, "--out", "run", *SMALL)
    done = rhapsode(place, "train", "verses.txt", "--steps", 2, "--out", "run", "--overwrite", *SMALL)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert done.returncode == 2
    assert "another process trains there" in done.stderr.strip().splitlines()[-1]
