"""avcc beside each other coder on the same clips: differences, and bits for the same quality.

All statements are paired: a clip counts where both coders did it. Intervals are 95 % percentile
bootstraps over clips (``scipy.stats.bootstrap``).

BD-rate (Bjontegaard 2001, with monotone cubics): how many per cent more bits avcc needs than the
other for the same quality, a mean over the qualities that both reach, by clip; then the mean of its
logarithm over clips. Curves that get worse with more bits are replaced by their best so far.

Where curves hardly overlap, a ratio says more: the bits that the other coder needs for the quality
that avcc has at one rate, over avcc's bits, by clip. Where it doesn't get there with all the bits
that it was given, the ratio is more than theirs over ours; the median over clips says so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from avcc.evaluation.bench import Row
from avcc.evaluation.report import COMPUTE, METRICS, interval

OURS = "avcc"
# The bootstrap of a few clips is too sure; that six all agree by chance has a probability of 3 %.
ENOUGH = 6
Curve = list[tuple[float, float]]  # (kbps, quality), more quality is better


@dataclass(frozen=True)
class Difference:
    """Ours less theirs at one rate, over the clips that both did."""

    metric: str
    other: str
    asked: float  # bits a second
    clips: int
    mean: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """Whose is better, where there are enough clips and the interval leaves out 0."""
        if self.clips < ENOUGH or self.low <= 0 <= self.high:
            return "open"
        return OURS if (self.mean > 0) == (METRICS[self.metric].better == "high") else self.other


@dataclass(frozen=True)
class Bits:
    """Bits for the same quality."""

    metric: str
    other: str
    asked: float  # of ours: the rate that ``times`` starts from
    clips: int
    overlapping: int  # clips of which curves overlap
    bd_rate: tuple[float, float, float] | None  # per cent: mean, low, high
    times: float  # median over clips
    sign: str  # of ``times``: "" for about, "more than", "less than"


def compared() -> list[str]:
    """The metrics of which one way is better; time and memory are no quality that bits buy."""
    found = [name for name, metric in METRICS.items() if metric.better in ("low", "high")]
    return [name for name in found if name not in COMPUTE]


def others(rows: Sequence[Row]) -> list[str]:
    """The coders beside ours; none where ours wasn't run."""
    coders = list(dict.fromkeys(row.coder for row in rows))
    return [coder for coder in coders if coder != OURS] if OURS in coders else []


def differences(rows: Sequence[Row]) -> list[Difference]:
    """At every rate that both were asked for."""
    done = {(row.coder, row.asked, row.clip): row.values for row in rows if row.size}
    found = []
    for other in others(rows):
        for asked in dict.fromkeys(row.asked for row in rows):
            pairs = [
                (values, done[other, asked, clip])
                for (coder, rate, clip), values in done.items()
                if coder == OURS and rate == asked and (other, asked, clip) in done
            ]
            for metric in compared():
                away = [a[metric] - b[metric] for a, b in pairs if metric in a and metric in b]
                if away:
                    told = Difference(metric, other, asked, len(away), *interval(away))
                    found.append(told)
    return found


def bits(rows: Sequence[Row]) -> list[Bits]:
    """By other coder and metric, from our lowest rate on."""
    found = []
    for other in others(rows):
        asked = min(row.asked for row in rows if row.coder == OURS)
        tried = max(row.asked for row in rows if row.coder == other) / 1000
        for metric in compared():
            rates, ratios = [], []
            for clip in dict.fromkeys(row.clip for row in rows):
                ours, theirs = (curve(rows, clip, coder, metric) for coder in (OURS, other))
                start = value_at(rows, clip, metric, asked)
                if start is None or not (theirs or _refused(rows, clip, other)):
                    continue
                ratios.append(ratio(start, theirs, tried))
                rate = bd_rate(ours, theirs)
                rates += [] if rate is None else [rate]
            if ratios:
                found.append(Bits(metric, other, asked, len(ratios), *_summed(rates, ratios)))
    return found


def _summed(
    rates: list[float], ratios: list[tuple[float, str]]
) -> tuple[int, tuple[float, float, float] | None, float, str]:
    ordered = sorted(ratios)
    times, sign = ordered[(len(ordered) - 1) // 2]  # of two the less bold
    if not rates:
        return 0, None, times, sign
    mean, low, high = (100 * math.expm1(x) for x in interval([math.log1p(r) for r in rates]))
    return len(rates), (mean, low, high), times, sign


def curve(rows: Sequence[Row], clip: str, coder: str, metric: str) -> Curve:
    """A clip's points by rate."""
    sign = 1 if METRICS[metric].better == "high" else -1
    points = [
        (row.values["kbps"], sign * row.values[metric])
        for row in rows
        if (row.clip, row.coder) == (clip, coder) and row.size and metric in row.values
    ]
    return sorted(points)


def value_at(
    rows: Sequence[Row], clip: str, metric: str, asked: float
) -> tuple[float, float] | None:
    """Our own point at a rate."""
    ours = [row for row in rows if (row.clip, row.coder, row.asked) == (clip, OURS, asked)]
    points = curve(ours, clip, OURS, metric)
    return points[0] if points else None


def _refused(rows: Sequence[Row], clip: str, coder: str) -> bool:
    """Whether the coder was asked for a clip and could not do it at any rate."""
    asked = [row for row in rows if (row.clip, row.coder) == (clip, coder)]
    return bool(asked) and not any(row.size for row in asked)


def rising(points: Curve) -> Curve:
    """The points that are better than all with fewer bits."""
    kept: Curve = []
    for rate, quality in points:
        if not kept or quality > kept[-1][1]:
            kept.append((rate, quality))
    return kept


def bd_rate(ours: Curve, theirs: Curve) -> float | None:
    """How many more bits ours needs than theirs, as a share (-0.5: half as many), or ``None``
    where the qualities of the two don't overlap."""
    from scipy.interpolate import PchipInterpolator

    curves = [rising(points) for points in (ours, theirs)]
    if min(map(len, curves)) < 2:
        return None
    low = max(points[0][1] for points in curves)
    high = min(points[-1][1] for points in curves)
    if high - low <= 1e-9:
        return None
    means = []
    for points in curves:
        rates, qualities = np.array(points).T
        means.append(PchipInterpolator(qualities, np.log(rates)).integrate(low, high))
    return math.expm1(float(means[0] - means[1]) / (high - low))


def ratio(ours: tuple[float, float], theirs: Curve, tried: float) -> tuple[float, str]:
    """Their bits over ours for the quality of our point; ``tried``: kbps that they had at most."""
    rate, quality = ours
    points = rising(theirs)
    if not points or quality > points[-1][1]:
        return max(tried, points[-1][0] if points else 0.0) / rate, "more than"
    if quality < points[0][1]:
        return points[0][0] / rate, "less than"
    rates, qualities = np.array(points).T
    return float(np.exp(np.interp(quality, qualities, np.log(rates)))) / rate, ""
