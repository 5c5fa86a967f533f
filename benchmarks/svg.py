"""Draws a series as a chart in SVG, without anything but the standard library: one panel for each line, on one axis of time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

WIDTH: Final = 720
PANEL: Final = 110
LEFT: Final = 64
RIGHT: Final = 14
TOP: Final = 26
#: Figures of a series, their titles and colours, in the order of the panels.
PANELS: Final = (
    ("memory_mib", "memory (anonymous, MiB)", "#1f6feb"),
    ("journal_mib", "of it the journal of past requests (bounded, MiB)", "#57606a"),
    ("descriptors", "descriptors", "#9a6700"),
    ("timers", "timers", "#1a7f37"),
    ("deadlines", "connections and requests with a deadline", "#8250df"),
)


def chart(series: Sequence[dict[str, float]]) -> str:
    """The chart of a churn's series; each panel begins at zero, so that what looks flat is flat."""
    height = TOP + PANEL * len(PANELS) + 24
    last = max(each["minutes"] for each in series)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="11">',
             f'<rect width="{WIDTH}" height="{height}" fill="white"/>']
    for number, (name, title, colour) in enumerate(PANELS):
        top, bottom = TOP + PANEL * number, TOP + PANEL * number + PANEL - 34
        most = max(max(each[name] for each in series) * 1.1, 1.0)
        points = " ".join(
            f"{_x(each['minutes'], last):.1f},{bottom - (bottom - top) * each[name] / most:.1f}" for each in series)
        first, end = series[0][name], series[-1][name]
        parts += [
            f'<text x="{LEFT}" y="{top - 6}" fill="#24292f">{title}: {first:.4g} at first, {end:.4g} at the end</text>',
            f'<line x1="{LEFT}" y1="{bottom}" x2="{WIDTH - RIGHT}" y2="{bottom}" stroke="#d0d7de"/>',
            f'<text x="{LEFT - 6}" y="{bottom + 4}" text-anchor="end" fill="#57606a">0</text>',
            f'<text x="{LEFT - 6}" y="{top + 8}" text-anchor="end" fill="#57606a">{most:.3g}</text>',
            f'<polyline fill="none" stroke="{colour}" stroke-width="1.6" points="{points}"/>',
        ]
    step = next(each for each in (0.25, 1, 5, 10, 30, 60, 240) if last / each <= 8)
    bottom = TOP + PANEL * len(PANELS) - 34
    for tick in range(int(last / step) + 1):
        x = _x(tick * step, last)
        parts.append(f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle" fill="#57606a">{tick * step:g} min</text>')
    return "\n".join([*parts, "</svg>", ""])


def _x(minutes: float, last: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * minutes / last if last else LEFT
