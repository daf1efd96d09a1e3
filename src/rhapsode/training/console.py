"""A run as a person sees it, on stderr: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import sys
import time
from typing import TextIO

from rhapsode.figures import clock, figure
from rhapsode.training.observer import Observer, Report

PLAIN_SECONDS = 5.0
BAR_WIDTH = 10


def console_observer(bits_per_char: float, stream: TextIO | None = None) -> Observer:
    """The observer that suits `stream` (stderr)."""
    stream = stream or sys.stderr
    return LiveConsole(bits_per_char, stream) if stream.isatty() else PlainConsole(bits_per_char, stream)


def _figures(report: Report, bits_per_char: float) -> str:
    """The most telling first: a narrow terminal shows only so many."""
    p = report.progress
    return (
        f"loss {figure(p.train_loss)} ({figure(p.train_loss * bits_per_char, 3)} bits/char)  "
        f"{report.tokens_per_second:,.0f} tokens/s  step {p.step:,}  epoch {report.epoch:.2f}"
    )


def _validation(report: Report, bits_per_char: float, best: bool) -> str:
    p = report.progress
    if p.val_loss == math.inf:
        return f"step {p.step:,}  no held-out text to validate on"
    text = f"held out {figure(p.val_loss)} nats/token, {figure(p.val_loss * bits_per_char, 3)} bits/char"
    return f"step {p.step:,}  {clock(p.seconds)}  {text}{'  (best)' if best else ''}"


class PlainConsole:
    """A line every few seconds: for logs and pipes."""

    def __init__(self, bits_per_char: float, stream: TextIO):
        self.bits_per_char, self.stream, self.last = bits_per_char, stream, -math.inf

    def step(self, report: Report) -> None:
        if time.monotonic() - self.last >= PLAIN_SECONDS:
            self.last = time.monotonic()
            left = clock(report.seconds_left)
            self._line(f"{100 * report.used:3.0f} %  {left} left  {_figures(report, self.bits_per_char)}")

    def validation(self, report: Report, best: bool) -> None:
        self._line(_validation(report, self.bits_per_char, best))

    def sample(self, report: Report, text: str) -> None:
        self._line(f"--- sample at step {report.progress.step:,} ---\n{text}\n---")

    def close(self) -> None:
        self.stream.flush()

    def _line(self, text: str) -> None:
        print(text, file=self.stream, flush=True)


class LiveConsole:
    """A progress bar with the figures; validations and samples scroll by above it."""

    def __init__(self, bits_per_char: float, stream: TextIO):
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn
        from rich.table import Column

        self.bits_per_char = bits_per_char
        columns = (
            BarColumn(BAR_WIDTH, table_column=Column(width=BAR_WIDTH)),
            TextColumn("{task.percentage:.0f} %"),
            TextColumn("{task.fields[left]} left"),
            TextColumn("{task.description}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
        )
        self.progress = Progress(*columns, console=Console(file=stream), transient=True, expand=True)
        self.task = self.progress.add_task("starting", total=1.0, left="?")
        self.progress.start()

    def step(self, report: Report) -> None:
        text, left = _figures(report, self.bits_per_char), clock(report.seconds_left)
        self.progress.update(self.task, completed=report.used, description=text, left=left)

    def validation(self, report: Report, best: bool) -> None:
        style = "green" if best else "yellow"
        self.progress.console.print(_validation(report, self.bits_per_char, best), style=style, highlight=False)

    def sample(self, report: Report, text: str) -> None:
        from rich.markup import escape
        from rich.panel import Panel

        title = f"step {report.progress.step:,}"
        self.progress.console.print(Panel(escape(text), title=title, title_align="left", border_style="dim"))

    def close(self) -> None:
        self.progress.stop()
