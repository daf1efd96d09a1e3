"""Held-out loss against seconds of training, one panel a text, as an SVG file."""

from __future__ import annotations

import statistics
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullLocator, ScalarFormatter

from .report import NAMES, Losses

COLOURS = {
    "rhapsode": "#b3202c",
    "rhapsode both": "#e2868c",
    "torch": "#2f5d8a",
    "lstm": "#6d9dc5",
    "gpt": "#3d7f4a",
    "mingru": "#c08a1e",
    "xlstm": "#77558f",
    "ngram": "#555555",
}
"""The lines that are drawn."""
MARKERS = {"rhapsode": "o", "rhapsode both": "o", "torch": "s", "lstm": "D", "gpt": "^", "mingru": "v", "xlstm": "P"}
COLUMNS = 3
STYLE = {
    "font.family": "sans-serif",
    "font.size": 10,
    "svg.fonttype": "none",
    "svg.hashsalt": "rhapsode",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#999999",
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "xtick.color": "#444444",
    "ytick.color": "#444444",
}


def draw(losses: dict[str, Losses], out: Path) -> None:
    """Draw the losses of each text."""
    count = len(losses) + 1  # the last panel is the legend
    with mpl.rc_context(STYLE):
        figure, grid = pyplot.subplots(
            -(-count // COLUMNS), min(COLUMNS, count), squeeze=False, figsize=(11, 3.6 * -(-count // COLUMNS))
        )
        panels = list(grid.flat)
        for panel, (text, found) in zip(panels, losses.items(), strict=False):
            _draw_text(panel, Path(text).name, found)
        for panel in panels[len(losses) :]:
            panel.axis("off")
        _legend(panels[: len(losses)], panels[len(losses)])
        figure.tight_layout(w_pad=2, h_pad=2)
        figure.savefig(out, metadata={"Date": None})
        pyplot.close(figure)


def _draw_text(panel: Axes, text: str, losses: Losses) -> None:
    budgets = sorted({seconds for found in losses.values() for seconds in found if seconds})
    for line in COLOURS:
        if line in losses:
            _draw_line(panel, line, losses[line])
    panel.set_xscale("log")
    panel.set_xticks(budgets, [f"{seconds:g}" for seconds in budgets])
    panel.xaxis.set_minor_locator(NullLocator())
    panel.set_yscale("log")
    panel.yaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))
    panel.yaxis.set_major_formatter(ScalarFormatter())
    panel.yaxis.set_minor_locator(NullLocator())
    panel.set_title(text, loc="left", fontweight="bold")
    panel.set_xlabel("seconds of training")
    panel.set_ylabel("nats per character")


def _draw_line(panel: Axes, line: str, found: dict[float, list[float]]) -> None:
    """A median a budget with the range of the seeds; what has no budget is a level."""
    name, colour = NAMES[line].replace("… both", "rhapsode, mixed and learning"), COLOURS[line]
    if 0.0 in found:
        panel.axhline(found[0.0][0], color=colour, linestyle=(0, (4, 3)), linewidth=1.5, label=name)
        return
    seconds = sorted(found)
    medians = [statistics.median(found[s]) for s in seconds]
    low, high = [min(found[s]) for s in seconds], [max(found[s]) for s in seconds]
    width = 2.6 if line == "rhapsode" else 1.5
    panel.plot(seconds, medians, color=colour, linewidth=width, marker=MARKERS[line], markersize=5, label=name)
    panel.fill_between(seconds, low, high, color=colour, alpha=0.2, linewidth=0)


def _legend(panels: list[Axes], place: Axes) -> None:
    """One for all panels."""
    found = [pair for panel in panels for pair in zip(*panel.get_legend_handles_labels(), strict=True)]
    handles = {label: handle for handle, label in found}
    place.legend(handles.values(), handles.keys(), loc="center left", frameon=False, fontsize=11, labelspacing=0.9)
