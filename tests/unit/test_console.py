"""What a person sees while a model learns."""

import io
import json
import math
import re

import pytest

from rhapsode.training import console
from rhapsode.training.metrics import MetricsFile
from rhapsode.training.observer import Report
from rhapsode.training.progress import Progress


def report(step=1200, used=0.5, val=1.5):
    progress = Progress(step=step, tokens=9, seconds=61.4, train_loss=1.75, val_loss=val)
    return Report(progress, used, 4e-3, 1.25, 0.8, 31_234.5, 61.4)


def test_plain_lines_have_the_figures_and_no_control_characters(monkeypatch):
    monkeypatch.setattr(console, "PLAIN_SECONDS", 0.0)
    stream = io.StringIO()
    observer = console.console_observer(2.0, stream)
    observer.step(report())
    observer.validation(report(), best=True)
    observer.sample(report(), "It was [bold]")
    observer.close()
    text = stream.getvalue()
    for figure in ("50 %", "step 1,200", "1.7500", "3.500 bits/char", "31,234 tokens/s", "1:01 left"):
        assert figure in text
    assert "held out 1.5000 nats/token, 3.000 bits/char  (best)" in text
    assert "It was [bold]" in text
    assert "\x1b" not in text


def test_plain_lines_come_every_few_seconds_only():
    stream = io.StringIO()
    observer = console.PlainConsole(1.0, stream)
    for step in range(50):
        observer.step(report(step))
    assert len(stream.getvalue().splitlines()) == 1


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_gets_a_bar_and_samples_as_they_are():
    stream = Terminal()
    observer = console.console_observer(2.0, stream)
    observer.step(report())
    observer.sample(report(), "It was [bold]\nso")
    observer.validation(report(), best=False)
    observer.close()
    text = stream.getvalue()
    assert "It was [bold]" in text
    assert "held out 1.5000" in text
    assert "1.7500" in text


@pytest.mark.parametrize(("loss", "said"), [(math.nan, "held out nan"), (math.inf, "no held-out text")])
def test_without_a_held_out_part_this_is_said(loss, said):
    stream = io.StringIO()
    console.PlainConsole(1.0, stream).validation(report(val=loss), best=True)
    assert said in stream.getvalue()


def test_losses_of_a_training_that_diverges_are_short_and_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr(console, "PLAIN_SECONDS", 0.0)
    stream = io.StringIO()
    observers = [console.PlainConsole(1.0, stream), MetricsFile(tmp_path, "t", 1.0)]
    for observer in observers:
        observer.step(report(val=1.2e30))
        observer.validation(report(val=1.2e30), best=True)
        observer.close()
    assert "held out 1.2e+30 nats/token, 1.2e+30 bits/char" in stream.getvalue()
    assert ">held out: 1.2e+30<" in (tmp_path / "loss.svg").read_text().replace("\n", "")


def test_resuming_cuts_the_metrics_back(tmp_path):
    first = MetricsFile(tmp_path, "t", 1.0)
    for step in (1, 5, 9):
        first.step(report(step))
    first.close()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 10, "los')
    resumed = MetricsFile(tmp_path, "t", 1.0, resume_step=5)
    resumed.validation(report(6), best=True)
    resumed.close()
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 5, 6]
    assert rows[-1]["val_nats_per_token"] == 1.5
    assert "<svg" in (tmp_path / "loss.svg").read_text()


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_bar_and_the_time_left_fit_any_terminal(width, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    observer = console.console_observer(2.0, stream)
    stream.truncate(0)
    observer.step(report())
    observer.progress.refresh()
    observer.close()
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", stream.getvalue())
    (line,) = {part.strip("\0 \r") for part in re.split(r"[\r\n]", text) if "1:01 left" in part}
    assert line.startswith("━")
    assert "50 %" in line
    assert "1.7500" in line
    assert len(line) <= width
    assert ("tokens/s" in line) == (width >= 80)
