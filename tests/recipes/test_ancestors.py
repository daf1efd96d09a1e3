"""The recipes that learn from a text: they run, print what their ancestors printed, and refuse what makes no sense."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import rhapsode
from texts import verses

RECIPES = Path(__file__).parents[2] / "recipes"
FALLBACK = "learning from Python's own help"


def figures(pattern, text):
    return [float(figure) for figure in re.findall(pattern, text, re.MULTILINE)]


def test_word_level(recipe):
    done = recipe("word_level", "--quick", "--num-words", "12", "--seed-text", "The class")
    assert done.returncode == 0, done.stderr
    assert FALLBACK in done.stdout
    (known,) = figures(r"frequent they are costs ([\d.]+) nats", done.stdout)
    losses = np.reshape(figures(r"^Epoch \d+: Average Loss = ([\d.]+)$", done.stdout), (4, 2))
    assert (losses[:, 1] < losses[:, 0]).all()
    held_out = figures(r"^held out: ([\d.]+)", done.stdout)
    assert min(held_out) == held_out[-1] < known
    assert len(re.findall(r"^The class", done.stdout, re.MULTILINE)) == 5


def test_keras_characters(recipe, tmp_path):
    done = recipe("keras_characters", "--quick", "--out", "kept")
    assert done.returncode == 0, done.stderr
    assert FALLBACK in done.stdout
    assert re.search(r"^Total patterns:   11,901$", done.stdout, re.MULTILINE)
    losses = figures(r"^Epoch \d+/2 - \d+ s - loss: ([\d.]+) - improved", done.stdout)
    assert len(losses) == 8, "two epochs of three inputs and of words, each better than the one before"
    for loss in figures(r"saved weights-improvement-\d\d-([\d.]+)$", done.stdout):
        (path,) = (tmp_path / "kept").rglob(f"weights-improvement-*-{loss:.4f}.safetensors")
        assert rhapsode.load(path).training["progress"]["epoch_loss"] == pytest.approx(loss, abs=5e-5)
    assert re.search(r"^circle. Here one does after \d+ symbols, and these come for ever: '.+'$", done.stdout, re.M)
    ancestor, ours = losses[1], figures(r"^([\d.]+) nats on windows of the training text", done.stdout)[0]
    assert ours < ancestor
    again = recipe("keras_characters", "--quick", "--out", "kept", "--inputs", "one-hot")
    assert again.returncode == 0, again.stderr
    assert "improved" not in again.stdout, "what was made is not made again"


def test_keras_generator(recipe):
    done = recipe("keras_generator", "--quick", "--epochs", "2", "--steps-per-epoch", "30")
    assert done.returncode == 0, done.stderr
    assert FALLBACK in done.stdout
    losses = np.reshape(figures(r"^Epoch \d - 30 steps - loss: ([\d.]+)$", done.stdout), (3, 2))
    assert (losses[:, 1] < losses[:, 0]).all()
    assert len(re.findall(r"temperature 0.2 +temperature 0.5 +temperature 1 +temperature 1.2$", done.stdout, re.M)) == 3
    for windows, ours in zip(
        *(
            re.findall(rf"^{name}.*?((?: +[\d.]+){{5}})$", done.stdout, re.M)
            for name in ("predicting after windows", "rhapsode, 3 s:?")
        ),
        strict=True,
    ):
        assert float(ours.split()[-1]) < float(windows.split()[-1])


@pytest.mark.parametrize("name", ["word_level", "keras_characters", "keras_generator"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["missing.txt"], "missing.txt: "),
        (["missing.txt", "--quick"], "missing.txt: "),
        (["empty.txt"], "empty.txt: no text in it"),
        (["short.txt"], "symbols, a window of length"),
        (["broken.txt", "--quick"], "broken.txt: "),
        (["verses.txt", "--epochs", "0"], "--epochs: found '0', allowed: a whole number from 1"),
        (["verses.txt", "--out", "verses.txt"], "verses.txt: cannot be made"),
    ],
)
def test_what_makes_no_sense_is_one_line(name, options, message, tmp_path):
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "short.txt").write_text("It was.")
    (tmp_path / "broken.txt").write_bytes(b"\xff\xfe\xff")
    (tmp_path / "verses.txt").write_text(verses(100))
    done = subprocess.run(
        [sys.executable, str(RECIPES / f"{name}.py"), *options],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == (1 if "--out" in options else 2)
    assert message in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "wait4"), reason="needs os.wait4")
def test_memory_does_not_grow_with_the_text(tmp_path):
    def peak(megabytes):
        text, copy = tmp_path / f"{megabytes}.txt", verses(30_000)
        with text.open("w") as file:
            for number in range(megabytes * 1_000_000 // len(copy)):
                file.write(f"{number}\n{copy}")
        options = [str(text), "--tokenizers", "char", "--epochs", "1", "--steps-per-epoch", "200"]
        program = subprocess.Popen([sys.executable, str(RECIPES / "keras_generator.py"), *options], cwd=tmp_path)
        _, status, usage = os.wait4(program.pid, 0)
        assert status == 0
        return usage.ru_maxrss / 1024

    assert peak(100) < peak(10) + 40
