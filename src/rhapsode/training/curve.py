"""The loss curve of a run as an SVG file: training and held-out loss in nats per token against time."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from rhapsode.files import write_text

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 420, 64, 16, 40, 48


def draw_curve(metrics: Path, out: Path, title: str) -> None:
    """Draw what metrics.jsonl says."""
    rows = [json.loads(line) for line in metrics.read_text("utf-8").splitlines() if line.strip()]
    train = [(r["seconds"], r["train_nats_per_token"]) for r in rows if r.get("train_nats_per_token") is not None]
    held_out = [(r["seconds"], r["val_nats_per_token"]) for r in rows if r.get("val_nats_per_token") is not None]
    write_text(out, _svg(train, held_out, title))


def _svg(train: list[tuple[float, float]], held_out: list[tuple[float, float]], title: str) -> str:
    points = train + held_out or [(0.0, 0.0)]
    right = max(x for x, _ in points) or 1.0
    low, high = _range(train, held_out)

    def place(point: tuple[float, float]) -> str:
        x = LEFT + point[0] / right * (WIDTH - LEFT - RIGHT)
        y = TOP + (high - point[1]) / (high - low) * (HEIGHT - TOP - BOTTOM)
        return f"{x:.1f},{y:.1f}"

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="24" font-size="15">{_escaped(title)}</text>',
    ]
    for tick in _ticks(low, high):
        x, y = place((0, tick)).split(",")
        parts.append(f'<path d="M{x},{y}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{float(y) + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for tick in _ticks(0, right):
        x = place((tick, low)).split(",")[0]
        parts.append(f'<text x="{x}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{tick:g}</text>')
    parts.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 8}" text-anchor="middle">seconds of training</text>')
    turned = f'text-anchor="middle" transform="rotate(-90 16 {HEIGHT / 2})"'
    parts.append(f'<text x="16" y="{HEIGHT / 2}" {turned}>nats per token</text>')
    train = [point for point in train if point[1] <= high]
    for name, color, line, row in (("training", "#7f7f7f", train, 0), ("held out", "#1f5fa8", held_out, 1)):
        if line:
            parts.append(
                f'<polyline points="{" ".join(map(place, line))}" fill="none" stroke="{color}" stroke-width="2"/>'
            )
            parts.append(f'<text x="{WIDTH - RIGHT - 8}" y="{TOP + 16 + 16 * row}" text-anchor="end" fill="{color}">')
            parts.append(f"{name}: {line[-1][1]:.4f}</text>")
    for point in held_out:
        x, y = place(point).split(",")
        parts.append(f'<circle cx="{x}" cy="{y}" r="3" fill="#1f5fa8"/>')
    return "\n".join([*parts, "</svg>\n"])


def _range(train: list[tuple[float, float]], held_out: list[tuple[float, float]]) -> tuple[float, float]:
    """What the y axis spans; the steep beginning is cut off so that the rest can be read."""
    values = [y for _, y in train + held_out] or [0.0, 1.0]
    settled = [y for _, y in train[len(train) // 10 :] + held_out] or values
    low, high = min(values), max(settled)
    margin = 0.05 * (high - low) or 0.05
    return low - margin, high + margin


def _ticks(low: float, high: float) -> list[float]:
    """About five round numbers from low to high."""
    raw = (high - low) / 5
    power = 10 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= raw)
    return [round(step * i, 10) for i in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _escaped(text: Any) -> str:
    return str(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
