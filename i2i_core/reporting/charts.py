"""Draw curves as SVG: a line for each run over the images that it has seen."""

from __future__ import annotations

import math
from collections.abc import Sequence

from i2i_core.reporting.html import escaped
from i2i_core.reporting.scalars import Bucket, Series, thinned

WIDTH, HEIGHT = 380, 190
LEFT, RIGHT, TOP, BOTTOM = 58, 10, 8, 24
"""Pixels around the plot."""
MOST_POINTS = 240


def chart(name: str, runs: Sequence[Series]) -> str:
    """Draw a chart of one number, with a line and the range of its values for each run.

    Args:
        name: of the number.
        runs: a curve for each run; empty where a run does not have it.
    """
    curves = [thinned(series, MOST_POINTS) for series in runs]
    every = [bucket for curve in curves for bucket in curve]
    lost = sum(not math.isfinite(y) for series in runs for _, y in series)
    title = escaped(name) + (f" <b>({lost:,} not finite)</b>" if lost else "")
    if not every:
        return f"<figure><figcaption>{title}</figcaption><p>no finite value</p></figure>"
    bottom, top = _limits(every)
    right = max(bucket.images for bucket in every) or 1.0
    last = "; ".join(f"{curve[-1].mean:.4g}" for curve in curves if curve)

    def x(images: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * images / right, 1)

    def y(value: float) -> float:
        inside = min(max(value, bottom), top)
        return round(TOP + (HEIGHT - TOP - BOTTOM) * (top - inside) / (top - bottom), 1)

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escaped(name)}, at the end {last}">']
    for value in ticks(bottom, top):
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(value)}" y2="{y(value)}"/>')
        parts.append(f'<text class="left" x="{LEFT - 5}" y="{y(value) + 4}">{value:.4g}</text>')
    for value in ticks(0, right):
        parts.append(f'<text class="below" x="{x(value)}" y="{HEIGHT - 6}">{_short(value)}</text>')
    for number, curve in enumerate(curves):
        if not curve:
            continue
        line = " ".join(f"{x(b.images)},{y(b.mean)}" for b in curve)
        edge = [f"{x(b.images)},{y(b.high)}" for b in curve] + [f"{x(b.images)},{y(b.low)}" for b in reversed(curve)]
        if any(b.high > b.low for b in curve):
            parts.append(f'<polygon class="range run{number}" points="{" ".join(edge)}"/>')
        parts.append(f'<polyline class="run{number}" points="{line}"/>')
        if len(curve) == 1:
            parts.append(f'<circle class="run{number}" cx="{x(curve[0].images)}" cy="{y(curve[0].mean)}" r="3"/>')
    return f"<figure><figcaption>{title}</figcaption>{''.join(parts)}</svg></figure>"


def _limits(every: Sequence[Bucket]) -> tuple[float, float]:
    """Choose the least and the largest value that a chart shows: those of the means, and a tenth of room."""
    low, high = min(b.mean for b in every), max(b.mean for b in every)
    room = (high - low) / 10 or abs(high) / 10 or 1.0
    return (0.0 if 0 <= low < room * 5 else low - room), high + room


def ticks(low: float, high: float, about: int = 4) -> list[float]:
    """Choose round numbers from `low` to `high`: multiples of 1, 2 or 5 times a power of ten."""
    span = (high - low) / about
    power = 10.0 ** math.floor(math.log10(span))
    step = next(step * power for step in (1, 2, 5, 10) if step * power >= span * 0.999)
    return [number * step for number in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _short(images: float) -> str:
    """Write a number of images shortly: 500, 2k, 1.5M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if images >= size:
            return f"{images / size:g}{letter}"
    return f"{images:g}"
