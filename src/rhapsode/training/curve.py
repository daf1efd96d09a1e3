"""The loss curve of a run as an SVG file: training and held-out loss in nats per token against time."""

from __future__ import annotations

import json
import math
from pathlib import Path

from rhapsode.figures import figure
from rhapsode.files import write_text

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 420, 64, 16, 40, 48

Points = list[tuple[float, float]]


def draw_curve(metrics: Path, out: Path, title: str) -> None:
    """Draw what metrics.jsonl says."""
    rows = [json.loads(line) for line in metrics.read_text("utf-8").splitlines() if line.strip()]
    train = [(r["seconds"], r["train_nats_per_token"]) for r in rows if r.get("train_nats_per_token") is not None]
    held_out = [(r["seconds"], r["val_nats_per_token"]) for r in rows if r.get("val_nats_per_token") is not None]
    write_text(out, _svg(train, held_out, title))


def _svg(train: Points, held_out: Points, title: str) -> str:
    right = max((x for x, _ in train + held_out), default=0.0) or 1.0
    low, high = _range(train, held_out)

    def place(point: tuple[float, float]) -> tuple[float, float]:
        x = LEFT + point[0] / right * (WIDTH - LEFT - RIGHT)
        return x, TOP + (high - point[1]) / (high - low) * (HEIGHT - TOP - BOTTOM)

    across = [(tick, place((tick, low))[0]) for tick in _ticks(0, right)]
    up = [(tick, place((0, tick))[1]) for tick in _ticks(low, high)]
    shown = [point for point in train if point[1] <= high]
    curves = _curve("training", "#7f7f7f", shown, list(map(place, shown)), TOP + 16)
    curves += _curve("held out", "#1f5fa8", held_out, list(map(place, held_out)), TOP + 32)
    dots = [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="#1f5fa8"/>' for x, y in map(place, held_out)]
    return "\n".join([*_frame(title), *_axes(across, up), *curves, *dots, "</svg>\n"])


def _frame(title: str) -> list[str]:
    """What is there whatever the figures are."""
    turned = f'text-anchor="middle" transform="rotate(-90 16 {HEIGHT / 2})"'
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="24" font-size="15">{_escaped(title)}</text>',
        f'<text x="{WIDTH / 2}" y="{HEIGHT - 8}" text-anchor="middle">seconds of training</text>',
        f'<text x="16" y="{HEIGHT / 2}" {turned}>nats per token</text>',
    ]


def _axes(across: Points, up: Points) -> list[str]:
    """Round numbers and where they stand."""
    parts = []
    for tick, y in up:
        parts.append(f'<path d="M{LEFT},{y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for tick, x in across:
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{tick:g}</text>')
    return parts


def _curve(name: str, color: str, values: Points, places: Points, y: int) -> list[str]:
    """A line and, in its color, its name and last value at the height `y`."""
    if not values:
        return []
    path = " ".join(f"{right:.1f},{down:.1f}" for right, down in places)
    return [
        f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>',
        f'<text x="{WIDTH - RIGHT - 8}" y="{y}" text-anchor="end" fill="{color}">',
        f"{name}: {figure(values[-1][1])}</text>",
    ]


def _range(train: Points, held_out: Points) -> tuple[float, float]:
    """What the y axis spans; the steep beginning is cut off so that the rest can be read."""
    values = [y for _, y in train + held_out] or [0.0, 1.0]
    settled = [y for _, y in train[len(train) // 10 :] + held_out] or values
    low, high = min(values), max(settled)
    margin = 0.05 * ((high - low) or max(1.0, high))
    return low - margin, high + margin


def _ticks(low: float, high: float) -> list[float]:
    """About five round numbers from low to high."""
    raw = (high - low) / 5
    power = 10 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= raw)
    return [round(step * i, 10) for i in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
