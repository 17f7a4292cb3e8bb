"""Rate against a metric as a picture in SVG: one line a coder, whiskers for the intervals.

Drawn here because a page that works without a network can't fetch a plotting library, and one that
is carried inside would be a hundred times as large as all the rest of it. Signs have no colour of
their own but a class each (``c0`` and on), which the page's style gives; shapes tell coders apart
too. A hollow sign stands for a mean over fewer clips than were asked for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

WIDTH, HEIGHT = 420, 260
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 14, 40
CLASSES = 8  # colours of the style; coders after that begin again, with another shape
SHAPES = ("circle", "square", "diamond", "triangle", "cross")


@dataclass(frozen=True)
class Point:
    """One coder at one rate: kbps, the mean over clips and its interval."""

    kbps: float
    mean: float
    low: float
    high: float
    whole: bool = True  # over all clips


def svg(title: str, lines: Mapping[str, Sequence[Point]], order: Sequence[str]) -> Markup:
    """``lines``: points of each coder; ``order``: all coders of the page, which gives each its
    colour and shape on every picture. Raises ``ValueError`` where there is no point at all."""
    points = [point for line in lines.values() for point in line]
    if not points:
        raise ValueError(f"there is nothing to draw of {title}")
    across = _Axis([p.kbps for p in points], LEFT, WIDTH - RIGHT, True)
    up = _Axis([v for p in points for v in (p.low, p.high)], HEIGHT - BOTTOM, TOP, False)
    said = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">').format(
        WIDTH, HEIGHT, f"{title} against the rate"
    )
    parts = [said, *_grid(across, up)]
    for coder, line in lines.items():
        number = order.index(coder)
        parts.append(_line(coder, sorted(line, key=lambda p: p.kbps), number, across, up))
    return Markup("\n").join([*parts, Markup("</svg>")])


def mark(number: int, x: float, y: float, whole: bool = True) -> Markup:
    """The sign of one coder at a place, as an SVG element."""
    shape, size = SHAPES[number % len(SHAPES)], 4.0
    kind = Markup('class="mark{}"').format("" if whole else " hollow")
    if shape == "circle":
        return Markup('<circle {} cx="{:.1f}" cy="{:.1f}" r="{}"/>').format(kind, x, y, size)
    corners = {
        "square": ((-1, -1), (1, -1), (1, 1), (-1, 1)),
        "diamond": ((0, -1.3), (1.3, 0), (0, 1.3), (-1.3, 0)),
        "triangle": ((0, -1.2), (1.2, 1), (-1.2, 1)),
        "cross": ((-1.2, -0.4), (-0.4, -0.4), (-0.4, -1.2), (0.4, -1.2), (0.4, -0.4), (1.2, -0.4),
                  (1.2, 0.4), (0.4, 0.4), (0.4, 1.2), (-0.4, 1.2), (-0.4, 0.4), (-1.2, 0.4)),
    }[shape]  # fmt: skip
    places = " ".join(f"{x + size * a:.1f},{y + size * b:.1f}" for a, b in corners)
    return Markup('<polygon {} points="{}"/>').format(kind, places)


def _line(coder: str, line: Sequence[Point], number: int, across: _Axis, up: _Axis) -> Markup:
    places = [(across.at(p.kbps), up.at(p.mean)) for p in line]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    parts = [Markup('<g class="c{}">').format(number % CLASSES)]
    if len(places) > 1:
        parts.append(Markup('<polyline class="line" points="{}"/>').format(path))
    for p, (x, y) in zip(line, places, strict=True):
        told = f"{coder}: {p.mean:.4g} at {p.kbps:.3g} kbps"
        if p.high > p.low:
            told += f" (95 %: {p.low:.4g} to {p.high:.4g})"
            whisker = Markup('<path class="whisker" d="M{0:.1f} {1:.1f}V{2:.1f}"/>')
            parts.append(whisker.format(x, up.at(p.low), up.at(p.high)))
        parts.append(Markup("<g><title>{}</title>{}</g>").format(told, mark(number, x, y, p.whole)))
    return Markup("").join([*parts, Markup("</g>")])


def _grid(across: _Axis, up: _Axis) -> list[Markup]:
    label = Markup('<text class="tick" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>')
    parts = []
    for value in up.ticks():
        y = up.at(value)
        parts.append(
            Markup('<path class="grid" d="M{} {:.1f}H{}"/>').format(LEFT, y, WIDTH - RIGHT)
        )
        parts.append(label.format(LEFT - 6, y + 4, "end", f"{value:.6g}"))
    for value in across.ticks():
        x = across.at(value)
        parts.append(
            Markup('<path class="grid" d="M{:.1f} {}V{}"/>').format(x, TOP, HEIGHT - BOTTOM)
        )
        parts.append(label.format(x, HEIGHT - BOTTOM + 16, "middle", f"{value:g}"))
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(label.format(middle, HEIGHT - 6, "middle", escape("kbps, picture and voice")))
    return parts


class _Axis:
    """Values to places on the paper, with a little air at both ends."""

    def __init__(self, values: Sequence[float], start: float, end: float, log: bool) -> None:
        self.log, self.start, self.end = log, start, end
        found = [self._scaled(value) for value in values]
        low, high = min(found), max(found)
        air = 0.08 * (high - low) or (0.3 if log else max(abs(high) * 0.1, 0.05))
        self.low, self.high = low - air, high + air

    def at(self, value: float) -> float:
        part = (self._scaled(value) - self.low) / (self.high - self.low)
        return self.start + part * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Round values within the axis, some four to eight of them."""
        if self.log:
            ends = (math.exp(self.low), math.exp(self.high))
            tens = range(math.floor(math.log10(ends[0])), math.ceil(math.log10(ends[1])) + 1)
            values = [float(f"{digit}e{ten}") for ten in tens for digit in (1, 2, 3, 4, 6, 8)]
            return [value for value in values if ends[0] <= value <= ends[1]][:12]
        raw = (self.high - self.low) / 5
        ten = 10.0 ** math.floor(math.log10(raw))
        step = next(s * ten for s in (1, 2, 5, 10) if s * ten >= raw)
        first = math.ceil(self.low / step)
        count = math.floor(self.high / step) - first + 1
        return [round(step * (first + i), 10) for i in range(count)]

    def _scaled(self, value: float) -> float:
        return math.log(max(value, 1e-9)) if self.log else value
