"""The short benchmark behind ``rhapsode bench``: what this machine does, and what torch does on it if installed."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
from collections.abc import Callable
from typing import Any

from rhapsode.backends.choose import resolve_backend
from rhapsode.benchmark.contest import TURNS, Side, contest
from rhapsode.benchmark.task import Entry, Task
from rhapsode.benchmark.training import work_per_token
from rhapsode.benchmark.writing import character_model

CELLS, WIDTHS, BATCH = ("lstm", "gru", "rnn"), (256, 512), 32
WRITER, STREAMS = 512, (1, 64)
"""Width of the LSTM that writes, and how many texts it writes side by side."""
CONTESTANTS = len(CELLS) * len(WIDTHS) * 4 + len(STREAMS) * 4
"""With bf16 and torch."""

Row = dict[str, Any]
Sides = dict[str, Side]


def summary(seconds: float, say: Callable[[str], None]) -> dict[str, Any]:
    """Run all of it, in turns that last about `seconds` together; starting, warming up and checking take as long again.

    `say` is told what is measured next. Returned are

        machine     isa, threads, bf16 (whether training has it)
        peak        by precision: floating-point operations a second of the instructions that products are made of
        training    a list: cell, hidden, precision, tokens_per_second, of_peak (products done, as a part of the peak),
                    torch_tokens_per_second and ratio (None without torch)
        writing     a list: streams, precision, characters_per_second, torch_characters_per_second (fp32) and ratio

    Raises:
        BenchmarkError: rhapsode and torch do not compute the same.
        MissingDependency: the native core was not built.
    """
    resolve_backend("native")
    turn = seconds / (TURNS * CONTESTANTS)
    with contextlib.ExitStack() as stack:
        sides = {"native": stack.enter_context(Side("native"))}
        machine = sides["native"].machine()
        precisions = ["bf16", "fp32"] if machine["bf16"] else ["fp32"]
        peak = {precision: sides["native"].peak(precision) for precision in precisions}
        if importlib.util.find_spec("torch"):
            sides["torch"] = stack.enter_context(Side("torch", threads=machine["threads"]))
        training, writing = [], []
        for cell, hidden in itertools.product(CELLS, WIDTHS):
            say(f"training: {cell}, {hidden} units")
            training += _training(sides, cell, hidden, peak, turn)
        for streams in STREAMS:
            say(f"writing: {streams} at once")
            writing += _writing(sides, streams, turn)
    return {"machine": machine, "peak": peak, "training": training, "writing": writing}


def _training(sides: Sides, cell: str, hidden: int, peak: dict[str, float], turn: float) -> list[Row]:
    """A row a precision."""
    task = Task("training", character_model(cell=cell, hidden=hidden), BATCH)
    found = contest(task, {Entry(n, p): side for n, side in sides.items() for p in peak}, seconds=turn)
    return [
        {
            "cell": cell,
            "hidden": hidden,
            "precision": precision,
            "tokens_per_second": found[Entry("native", precision)],
            "of_peak": found[Entry("native", precision)] * work_per_token(task.model) / peak[precision],
            **_peer("tokens", found, Entry("native", precision), Entry("torch", precision)),
        }
        for precision in peak
    ]


def _writing(sides: Sides, streams: int, turn: float) -> list[Row]:
    """A row a precision."""
    native = [Entry("native", precision) for precision in ("int8", "bf16", "fp32")]
    peer = Entry("torch", "fp32")
    entries = dict.fromkeys(native, sides["native"]) | ({peer: sides["torch"]} if "torch" in sides else {})
    found = contest(Task("writing", character_model(hidden=WRITER), streams), entries, seconds=turn)
    return [
        {
            "streams": streams,
            "precision": entry.precision,
            "characters_per_second": found[entry],
            **_peer("characters", found, entry, peer),
        }
        for entry in native
    ]


def _peer(unit: str, found: dict[Entry, float], own: Entry, peer: Entry) -> Row:
    """The peer's speed, and how many times faster rhapsode is."""
    speed = found.get(peer)
    return {f"torch_{unit}_per_second": speed, "ratio": speed and found[own] / speed}
