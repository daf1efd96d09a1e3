"""What the README and the guide tell people to type works."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from rhapsode.cli.main import main
from rhapsode.model import load
from texts import verses

ROOT = Path(__file__).parents[2]


def blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL)


def quick(text):
    """The same with a smaller budget."""
    return re.sub(r"minutes=\d+", "steps=10, hidden=32", re.sub(r"--minutes \d+", "--steps 10 --hidden 32", text))


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RHAPSODE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "my-book.txt").write_text(verses(300))
    (tmp_path / "books").mkdir()
    (tmp_path / "books" / "one.txt").write_text(verses(300))
    return tmp_path


def test_the_readmes_commands(place):
    lines = [quick(line) for block in blocks("README.md", "sh") for line in block.splitlines()]
    commands = [line for line in lines if line.startswith("rhapsode ")]
    assert len(commands) >= 5
    for line in commands:
        done = subprocess.run(
            [sys.executable, "-m", *shlex.split(line)], capture_output=True, text=True, timeout=120, cwd=place
        )
        assert done.returncode == 0, (line, done.stderr)
        assert done.stdout.strip(), line


EXAMPLES = [("README.md", 0), ("docs/guide.md", 0), ("docs/languages.md", 0), ("docs/languages.md", 1)]


@pytest.mark.parametrize(("page", "number"), EXAMPLES)
def test_the_python_examples(place, page, number):
    example = blocks(page, "python")[number]
    done = subprocess.run(
        [sys.executable, "-c", quick(example)], capture_output=True, text=True, timeout=120, cwd=place
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_the_command_line_page_is_current():
    done = subprocess.run(
        [sys.executable, "-c", "import generate; print(generate.page(), end='')"],
        cwd=ROOT / "docs",
        capture_output=True,
        text=True,
        check=True,
    )
    assert (ROOT / "docs" / "cli.md").read_text("utf-8") == done.stdout, "run make docs"


def test_the_makefile_has_the_two_commands():
    makefile = (ROOT / "Makefile").read_text()
    assert "\ndemo:" in makefile
    assert "\ntest:" in makefile


@pytest.mark.slow
def test_the_demo(place):
    done = subprocess.run(
        [sys.executable, "-m", "rhapsode", "demo"], capture_output=True, text=True, timeout=300, cwd=place
    )
    assert done.returncode == 0, done.stderr
    assert "\nThe " in done.stdout
    assert "rhapsode generate demo/run" in done.stderr


def test_a_demo_goes_on(place, monkeypatch):
    monkeypatch.setattr("rhapsode.cli.demo.topics", lambda: verses(300))
    words = ["demo", "--hidden", "16", "--batch-size", "4", "--length", "8"]
    assert main([*words, "--steps", "2"]) == 0
    assert main([*words, "--steps", "4", "--resume"]) == 0
    assert load("demo/run/last.safetensors").training["progress"]["step"] == 4
