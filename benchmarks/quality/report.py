"""The results as Markdown: a table a text of the losses by budget, then all figures, then how they came about."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import math
import platform
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rhapsode.files import write_text

from .contestants import ABOUT, RESET
from .jobs import Results
from .texts import TEXTS

NAMES = {
    "rhapsode": "rhapsode",
    "rhapsode uncalibrated": "… with its logits as trained",
    "rhapsode mixture": "… mixed with n-gram and cache",
    "rhapsode dynamic": "… learning as it reads",
    "rhapsode both": "… both",
    "torch": "same recipe in PyTorch",
    "lstm": "nn.LSTM, char-rnn's sizes",
    "gpt": "GPT, nanoGPT's CPU setting",
    "mingru": "minGRU-pytorch",
    "xlstm": "xlstm",
    "ngram": "Kneser-Ney n-gram",
}
"""The lines of tables and plots."""
ADAPTED = ("uncalibrated", "mixture", "dynamic", "both")
PACKAGES = ("torch", "minGRU-pytorch", "xlstm", "mlstm_kernels", "numpy")

METHOD = f"""\
## How it was measured

    python -m benchmarks.quality --results quality.jsonl [--adapt]

All learn from the same symbols (characters) of a text that rhapsode split, and predict the same held-out ones, each
once. The seconds are of training, from the first step on: reading the text and starting are not counted, nor is
validation, except rhapsode's own. Each keeps the weights that validated best on the way. The learning rate follows the
clock. Peers train in fp32 or under bf16 autocast, whichever was faster in a short trial before.

rhapsode ends by scaling the logits of its model by one number that suits the held-out part; what the model came to
before is told, too. On other text it is somewhere between the two (docs/LOG.md).

The state is carried through the whole held-out part, or, where it says so, reset every {RESET} symbols; each name is
read from the initial state. The GPT has no state: it predicts a symbol from the last 49 to 64, or from all there are
since the reset.

Before its figures count, a network is checked: no logit depends on later symbols, and a text costs the same in pieces
as symbol by symbol. rhapsode's models are computed by PyTorch, too; an n-gram's probabilities sum to one; all predict
as many symbols."""

Losses = dict[str, dict[float, list[float]]]
"""By line and budget, one a seed: nats per symbol, the state carried (documents, where they are short)."""


def write_report(results: Results, out: Path) -> None:
    """Write the tables to `out`, and the plot beside it."""
    rows = [row for row in results.values() if "failed" not in row]
    texts = [text for text in dict.fromkeys([*TEXTS, *(row["text"] for row in rows)]) if _of(rows, text)]
    losses = {text: losses_of(_of(rows, text)) for text in texts}
    picture = _drawn(losses, out.with_suffix(".svg"))
    _, hardware, date = [*out.stem.split("_"), "", ""][:3]
    parts = [
        f"# Held-out loss by seconds of training, {hardware.replace('-', ' ')}, {date}".rstrip(", "),
        f"Nats per symbol, the lower the better: medians over seeds, ± half their range.{picture}",
        *(_section(text, _of(rows, text), losses[text]) for text in texts),
        "## All figures\n\n" + _all_figures(rows),
        _method(results),
    ]
    write_text(out, "\n\n".join(parts) + "\n")


def _drawn(losses: dict[str, Losses], out: Path) -> str:
    """Draw the plot; what refers to it."""
    if importlib.util.find_spec("matplotlib") is None:
        print("no plot: it needs matplotlib")
        return ""
    from .plot import draw

    draw(losses, out)
    return f"\n\n![Losses by seconds]({out.name})"


def losses_of(rows: Sequence[dict[str, Any]]) -> Losses:
    """Of the results of one text."""
    found: dict[str, dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        for way, nats in row["nats"].items():
            if way != "reset":
                line = f"{row['contestant']} {way}" if way in ADAPTED else row["contestant"]
                found[line][row["seconds"]].append(nats)
    return {line: found[line] for line in NAMES if line in found}


def _of(rows: Iterable[dict[str, Any]], text: str) -> list[dict[str, Any]]:
    return [row for row in rows if row["text"] == text]


def _section(text: str, rows: Sequence[dict[str, Any]], losses: Losses) -> str:
    budgets = sorted({row["seconds"] for row in rows if row["seconds"]})
    table = [["", *(f"{seconds:g} s" for seconds in budgets)]]
    for line, found in losses.items():
        level = found.get(0.0)
        table.append([NAMES[line], *(spread(level or found.get(seconds, [])) for seconds in budgets)])
    size = rows[0]["held_out"]
    amount = (
        f"{size['learned']:,} symbols to learn from, {size['tokens']:,} to predict, {size['symbols']} different ones"
    )
    return f"## {Path(text).name}\n\n{TEXTS.get(text, text)}; {amount}.\n\n{_markdown(table)}"


def spread(values: Sequence[float]) -> str:
    """Median ± half the range."""
    if not values:
        return ""
    half = (max(values) - min(values)) / 2
    return f"{statistics.median(values):.4f}" + (f" ± {half:.4f}" if len(values) > 1 else "")


def _all_figures(rows: Sequence[dict[str, Any]]) -> str:
    heads = ["text", "contestant", "s", "seeds", "nats/symbol", "bits/char", "bits/byte"]
    heads += [f"{unit}, reset" for unit in heads[-3:]] + ["setting", "parameters", "symbols read"]
    groups: dict[tuple, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[row["text"], row["contestant"], row["seconds"]].append(row)
    order = {name: number for number, name in enumerate([*TEXTS, *NAMES])}
    keys = sorted(groups, key=lambda key: (order.get(key[0], len(order)), key[0], order[key[1]], key[2]))
    return _markdown([heads, *(_figures(key, groups[key]) for key in keys)])


def _figures(key: tuple[str, str, float], rows: Sequence[dict[str, Any]]) -> list[str]:
    """One line: medians over the seeds."""
    text, contestant, seconds = key
    cells = [Path(text).name, contestant, f"{seconds:g}" if seconds else "", str(len(rows))]
    for ways in (("carried", "documents"), ("reset",)):
        nats = [row["nats"][way] for row in rows for way in ways if way in row["nats"]]
        cells += _in_units(statistics.median(nats), rows[0]["held_out"]) if nats else [""] * 3
    settings = {row["facts"].get("setting") or row["facts"].get("precision", "") for row in rows}
    counts = [_median(rows, name) for name in ("parameters", "symbols")]
    return [*cells, "; ".join(sorted(settings)), *counts]


def _in_units(nats: float, size: dict[str, int]) -> list[str]:
    """Per symbol, and in bits per character and byte."""
    bits = nats * size["tokens"] / math.log(2)
    return [f"{nats:.4f}", f"{bits / size['chars']:.4f}", f"{bits / size['bytes']:.4f}"]


def _median(rows: Sequence[dict[str, Any]], fact: str) -> str:
    values = [row["facts"][fact] for row in rows if fact in row["facts"]]
    return f"{statistics.median(values):,.0f}" if values else ""


def _method(results: Results) -> str:
    versions = [f"{name} {version}" for name in PACKAGES if (version := _version(name))]
    failed = [f"- {row['contestant']}, {row['text']}: {row['failed']}" for row in results.values() if "failed" in row]
    about = "\n".join(f"- **{NAMES[name]}**: {words}." for name, words in ABOUT.items())
    parts = [METHOD, about, *(["What did not work:", "\n".join(failed)] if failed else [])]
    return "\n\n".join([*parts, f"Python {platform.python_version()}, {', '.join(versions)}."])


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _markdown(table: Sequence[Sequence[str]]) -> str:
    rows = [table[0], ["---"] * len(table[0]), *table[1:]]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
