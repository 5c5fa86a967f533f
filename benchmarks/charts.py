"""Draws bars and lines in panels, as SVG for light and dark pages, without anything but the standard library."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

WIDTH: Final = 760
_GAP: Final = 18
_BAR: Final = 17
_TEXT: Final = 6.4          # width of a character of the size that is used, about
#: Colours for light and for dark pages. Who is not named has the last one.
COLOURS: Final = {
    "voltgw-compiled": ("#0969da", "#58a6ff"), "voltgw": ("#80b3f0", "#2f78c8"), "haproxy": ("#bf8700", "#d29922"),
    "nginx": ("#1a7f37", "#3fb950"), "envoy": ("#bf3989", "#db61a2"), "": ("#6e7781", "#8b949e"),
}
_INK: Final = {"paper": ("#ffffff", "#0d1117"), "ink": ("#24292f", "#e6edf3"), "dim": ("#57606a", "#9198a1"),
               "rule": ("#d8dee4", "#30363d")}


@dataclass(frozen=True, slots=True)
class Bars:
    """A panel with a bar for each name, from zero."""

    title: str
    unit: str
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Lines:
    """A panel with a line for each name, through its points from left to right; logarithmic axes begin at the least value."""

    title: str
    x_label: str
    y_label: str
    series: Mapping[str, Sequence[tuple[float, float]]]
    log_x: bool = False
    log_y: bool = False


def bars(panels: Sequence[Bars], columns: int = 3) -> str:
    """Panels in rows of `columns`, each with a scale of its own and the value behind each bar."""
    names = list(dict.fromkeys(name for panel in panels for name in panel.values))
    wide = (WIDTH - _GAP * (columns + 1)) / columns
    label = max(len(name) for name in names) * _TEXT
    parts: list[str] = []
    top = 34.0
    for first in range(0, len(panels), columns):
        row = panels[first:first + columns]
        for number, panel in enumerate(row):
            left = _GAP + number * (wide + _GAP)
            parts.append(_text(left, top, panel.title, weight="bold"))
            parts.append(_text(left, top + 15, panel.unit, "dim"))
            most = max(panel.values.values(), default=0.0) or 1.0
            room = wide - label - 8 - 46
            for line, (name, value) in enumerate(panel.values.items()):
                y = top + 24 + line * _BAR
                parts += [_text(left + label, y + 11, name, "dim", anchor="end"),
                          (f'<rect x="{left + label + 6:.1f}" y="{y + 1:.1f}" width="{max(1.0, room * value / most):.1f}" '
                           f'height="{_BAR - 4}" class="{_colour(name)}"/>'),
                          _text(left + label + 10 + room * value / most, y + 11, f"{value:.3g}")]
        top += 24 + _BAR * max(len(panel.values) for panel in row) + 28
    return _document(top - 14, parts, names)


def lines(panels: Sequence[Lines], height: int = 230) -> str:
    """Panels side by side with one legend above them."""
    names = list(dict.fromkeys(name for panel in panels for name in panel.series))
    wide = (WIDTH - _GAP) / len(panels)
    parts, x = [], float(_GAP)
    for name in names:
        parts += [f'<rect x="{x:.1f}" y="12" width="12" height="4" class="{_colour(name)}"/>', _text(x + 17, 18, name)]
        x += 17 + len(name) * _TEXT + 22
    for number, panel in enumerate(panels):
        parts += _panel(panel, _GAP + number * wide, 46, wide - _GAP, height)
    return _document(46 + height + 12, parts, names)


def _panel(panel: Lines, left: float, top: float, wide: float, high: float) -> list[str]:
    points = [point for series in panel.series.values() for point in series]
    axis_x = Axis([x for x, _ in points], panel.log_x, left + 44, left + wide - 6, from_zero=False)
    axis_y = Axis([y for _, y in points], panel.log_y, top + high - 40, top + 22, from_zero=True)
    parts = [_text(left, top + 4, panel.title, weight="bold")]
    for value in axis_y.ticks():
        y = axis_y.at(value)
        parts += [f'<line x1="{left + 44:.1f}" y1="{y:.1f}" x2="{left + wide - 6:.1f}" y2="{y:.1f}" class="rule"/>',
                  _text(left + 39, y + 4, f"{value:,g}", "dim", anchor="end")]
    for value in sorted({x for x, _ in points}):
        parts.append(_text(axis_x.at(value), top + high - 24, _short(value), "dim", anchor="middle"))
    parts += [_text(left + 44 + (wide - 50) / 2, top + high - 7, panel.x_label, "dim", anchor="middle"),
              _text(left + 44, top + 18, panel.y_label, "dim")]
    for name, series in panel.series.items():
        at = [(axis_x.at(x), axis_y.at(y)) for x, y in series]
        parts.append(f'<polyline points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in at)}" class="line {_colour(name)}"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6" class="{_colour(name)}"/>' for x, y in at]
    return parts


class Axis:
    """Where a value stands."""

    def __init__(self, values: Sequence[float], log: bool, begin: float, end: float, *, from_zero: bool) -> None:
        self.log = log
        self.least = min(values) if log or not from_zero else 0.0
        self.most = max(*values, self.least + 1e-9)
        self._begin, self._end = begin, end

    def at(self, value: float) -> float:
        """On the page."""
        if self.log:
            share = math.log(value / self.least) / (math.log(self.most / self.least) or 1.0)
        else:
            share = (value - self.least) / (self.most - self.least)
        return self._begin + (self._end - self._begin) * share

    def ticks(self) -> list[float]:
        """Round values within."""
        if self.log:
            powers = range(math.floor(math.log10(self.least)), math.ceil(math.log10(self.most)) + 1)
            found = [digit * 10.0 ** power for power in powers for digit in (1, 2, 5)]
        else:
            step = 10.0 ** math.floor(math.log10(self.most / 3))
            step *= next(factor for factor in (1, 2, 5, 10) if self.most / (step * factor) <= 6)
            found = [step * number for number in range(7)]
        return [float(f"{value:.6g}") for value in found if self.least <= value <= self.most]


def _short(value: float) -> str:
    return f"{value / 1000:g}k" if value >= 1000 else f"{value:g}"


def _colour(name: str) -> str:
    return f"of-{name}" if name in COLOURS else "of-"


def _text(x: float, y: float, text: str, kind: str = "ink", anchor: str = "start", weight: str = "normal") -> str:
    more = f' text-anchor="{anchor}"' if anchor != "start" else ""
    more += f' font-weight="{weight}"' if weight != "normal" else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}"{more}>{escape(text)}</text>'


def _document(height: float, parts: Iterable[str], names: Sequence[str]) -> str:
    used = {**_INK, **{_colour(name): COLOURS.get(name, COLOURS[""]) for name in names}}

    box = f'viewBox="0 0 {WIDTH} {height:.0f}"'
    fixed = ".line{fill:none!important;stroke-width:1.8}"

    def style(dark: bool) -> str:
        rules = [f".{name}{{fill:{pair[dark]}}}.line.{name},.{name}.rule{{stroke:{pair[dark]}}}" for name, pair in used.items()]
        return "".join(rules) + f".rule{{stroke:{_INK['rule'][dark]}}}"

    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" {box} font-family="sans-serif" font-size="11.5">',
        f"<style>{style(False)}{fixed}@media(prefers-color-scheme:dark){{{style(True)}}}</style>",
        f'<rect width="{WIDTH}" height="{height:.0f}" class="paper"/>', *parts, "</svg>", ""])
