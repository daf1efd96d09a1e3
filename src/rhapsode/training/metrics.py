"""The figures of a run in files: metrics.jsonl, the loss curve, and TensorBoard where it is installed."""

from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path
from typing import Any

from rhapsode.errors import OutputError
from rhapsode.files import write_text
from rhapsode.training.curve import draw_curve
from rhapsode.training.folder import CURVE, METRICS
from rhapsode.training.observer import Observer, Report


class MetricsFile:
    """Appends to metrics.jsonl one object a report, and draws the curve at each validation.

    Fields: step, epoch, tokens, seconds, lr, train_nats_per_token, grad_norm, tokens_per_second; after a validation
    val_nats_per_token, val_bits_per_char and best.
    """

    def __init__(self, folder: Path, title: str, bits_per_char: float, resume_step: int | None = None):
        """`bits_per_char` turns held-out nats per token into bits per character; lines after `resume_step` go."""
        self.path, self.curve, self.title, self.bits_per_char = folder / METRICS, folder / CURVE, title, bits_per_char
        write_text(self.path, self._kept(resume_step))
        self.file = self.path.open("a", encoding="utf-8")

    def _kept(self, resume_step: int | None) -> str:
        if resume_step is None or not self.path.exists():
            return ""
        lines = self.path.read_text("utf-8").splitlines()
        return "".join(f"{line}\n" for line in lines if _step(line) <= resume_step)

    def step(self, report: Report) -> None:
        self._write(_row(report))

    def validation(self, report: Report, best: bool) -> None:
        loss = report.progress.val_loss
        row = _row(report) | {"val_nats_per_token": loss, "val_bits_per_char": loss * self.bits_per_char, "best": best}
        self._write(row)
        draw_curve(self.path, self.curve, self.title)

    def sample(self, report: Report, text: str) -> None:
        """Samples are for people's eyes only."""

    def close(self) -> None:
        self.file.close()

    def _write(self, row: dict[str, Any]) -> None:
        row = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}
        try:
            self.file.write(json.dumps(row) + "\n")
            self.file.flush()
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be written: {error.strerror or error}") from error


def _step(line: str) -> float:
    """The step of a line; a line cut off by a kill counts as later than any."""
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError, TypeError):
        return math.inf


def _row(report: Report) -> dict[str, Any]:
    p = report.progress
    return {
        "step": p.step,
        "epoch": round(report.epoch, 4),
        "tokens": p.tokens,
        "seconds": round(p.seconds, 3),
        "lr": report.lr,
        "train_nats_per_token": p.train_loss,
        "grad_norm": report.grad_norm,
        "tokens_per_second": round(report.tokens_per_second),
    }


class TensorBoard:
    """The same figures for TensorBoard, in the run folder's `tensorboard`."""

    def __init__(self, folder: Path, bits_per_char: float, resume_step: int | None = None):
        from tensorboard.summary import Writer

        self.writer, self.bits_per_char = Writer(str(folder / "tensorboard")), bits_per_char

    def step(self, report: Report) -> None:
        row = _row(report)
        for name in ("lr", "train_nats_per_token", "grad_norm", "tokens_per_second"):
            self.writer.add_scalar(name, row[name], report.progress.step)

    def validation(self, report: Report, best: bool) -> None:
        loss = report.progress.val_loss
        self.writer.add_scalar("val_nats_per_token", loss, report.progress.step)
        self.writer.add_scalar("val_bits_per_char", loss * self.bits_per_char, report.progress.step)

    def sample(self, report: Report, text: str) -> None:
        """Samples are for people's eyes only."""

    def close(self) -> None:
        self.writer.close()


def file_observers(folder: Path, title: str, bits_per_char: float, resume_step: int | None) -> list[Observer]:
    """What writes a run's figures to files: TensorBoard only where it is installed."""
    observers: list[Observer] = [MetricsFile(folder, title, bits_per_char, resume_step)]
    if importlib.util.find_spec("tensorboard") is not None:
        observers.append(TensorBoard(folder, bits_per_char, resume_step))
    return observers
