"""Paired statements as tables for a person, on the page and on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from avcc.evaluation import paired
from avcc.evaluation.bench import Row
from avcc.evaluation.report import METRICS, RESAMPLES
from avcc.evaluation.tables import Table

DIFFERENCES = f"""avcc less the other on the same clips at the same asked rate: mean, and the 95 %
interval by {RESAMPLES:,} bootstrap resamples of clips. The better one is named where the interval
leaves out 0 and there are at least {paired.ENOUGH} clips."""
BITS = """BD-rate: how many per cent more bits avcc needs than the other for the same quality (less
than 0: fewer), mean over the clips of which curves overlap. Times: how many times avcc's bits the
other needs for the quality that avcc has at {rate} kbps, median over clips; "more than" where it
doesn't get there with all the bits that it was given."""


def tables(rows: Sequence[Row]) -> list[Table]:
    """Differences, and bits for the same quality; none where avcc or others weren't run."""
    found = [_differences(rows), _bits(rows)]
    return [table for table in found if table.lines]


def _differences(rows: Sequence[Row]) -> Table:
    found = {(d.metric, d.other, d.asked): d for d in paired.differences(rows)}
    columns = list(dict.fromkeys((other, asked) for _, other, asked in found))
    lines = []
    for metric in paired.compared():
        cells = [_difference(found.get((metric, *column))) for column in columns]
        if any(cells):
            lines.append([METRICS[metric].heading, *cells])
    heads = ["measure", *(f"{other}, {asked / 1000:g} kbps" for other, asked in columns)]
    return Table("Differences at the same rate", DIFFERENCES, heads, lines)


def _difference(told: paired.Difference | None) -> str:
    if told is None:
        return ""
    digits = METRICS[told.metric].digits
    if told.clips < 2:
        return f"{told.mean:+.{digits}f} (one clip)"
    span = f"{told.low:+.{digits}f} to {told.high:+.{digits}f}"
    return f"{told.mean:+.{digits}f} ({span}) {told.verdict}"


def _bits(rows: Sequence[Row]) -> Table:
    found = {(b.metric, b.other): b for b in paired.bits(rows)}
    columns = list(dict.fromkeys(other for _, other in found))
    lines = []
    for metric in paired.compared():
        told = [found.get((metric, other)) for other in columns]
        if any(told):
            cells = [cell for one in told for cell in (_rate(one), _times(one))]
            lines.append([METRICS[metric].heading, *cells])
    heads = ["measure", *(f"{other}, {what}" for other in columns for what in ("BD-rate", "times"))]
    rate = f"{min((b.asked for b in found.values()), default=0) / 1000:g}"
    return Table("Bits for the same quality", BITS.format(rate=rate), heads, lines)


def _rate(told: paired.Bits | None) -> str:
    if told is None:
        return ""
    if told.bd_rate is None:
        return "no overlap"
    mean, low, high = told.bd_rate
    span = f" ({low:+.0f} to {high:+.0f})" if told.overlapping > 1 else ""
    return f"{mean:+.0f} %{span}, {told.overlapping} of {told.clips}"


def _times(told: paired.Bits | None) -> str:
    return "" if told is None else f"{told.sign} {told.times:.1f}".strip()
