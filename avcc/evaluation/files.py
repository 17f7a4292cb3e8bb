"""Tables for programs: rows and means as CSV, everything as JSON; each appears whole."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from avcc.evaluation.bench import Row
from avcc.evaluation.report import METRICS, summary
from avcc.media.safe import temporary


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """One line a clip, coder and rate."""
    heads = [
        "clip",
        "coder",
        "asked_bps",
        "seconds",
        "bytes",
        "note",
        "setting",
        "language",
        "film",
    ]
    heads += METRICS
    lines: list[list[Any]] = [
        [r.clip, r.coder, r.asked, r.seconds, r.size, r.note, r.setting, r.language, r.film]
        + [r.values.get(name, "") for name in METRICS]
        for r in rows
    ]
    _write(path, heads, lines)


def write_means(path: Path, rows: Sequence[Row]) -> None:
    """One line a coder, rate and metric: mean, 95 % interval, how many clips it is over."""
    heads = ["coder", "asked_bps", "clips", "of", "over", "metric", "mean", "low", "high", "over_n"]
    lines: list[list[Any]] = [
        [e["coder"], e["asked"], e["clips"], e["of"], e["over"], name, m["mean"], m["low"],
         m["high"], m["clips"]]
        for e in summary(rows)
        for name, m in e["metrics"].items()
    ]  # fmt: skip
    _write(path, heads, lines)


def write_text(path: Path, text: str) -> None:
    """UTF-8, whole or not at all. Raises ``AvccError``."""
    with temporary(path) as work:
        work.write_text(text, encoding="utf-8", newline="")


def _write(path: Path, heads: Sequence[str], lines: Iterable[Sequence[Any]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(heads)
    writer.writerows([_plain(cell) for cell in line] for line in lines)
    write_text(path, text.getvalue())


def _plain(cell: Any) -> Any:
    """A text that a spreadsheet would take for a formula gets an apostrophe before it: clips'
    names are anybody's."""
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in tuple("=+-@\t\r") else cell
