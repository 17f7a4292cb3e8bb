"""Means by groups of clips (``groups``), as tables for the page and for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from avcc.evaluation.bench import Row
from avcc.evaluation.groups import BOUNDS, LANGUAGE, grouped
from avcc.evaluation.report import METRICS
from avcc.evaluation.tables import Table

ON_PAGE = ("lpips", "landmark", "mouth_corr", "likeness", "flicker", "pesq", "estoi", "wer")
SHOWN = ("lpips", "landmark", "mouth", "mouth_corr", "likeness", "flicker")


def table(rows: Sequence[Row]) -> str:
    """Means by groups, a block for each coder and rate."""
    blocks = []
    for coder, asked in dict.fromkeys((row.coder, row.asked) for row in rows):
        coded = [r for r in rows if (r.coder, r.asked) == (coder, asked) and r.size]
        lines = [f"{coder} {asked / 1000:g}k".ljust(42) + "clips" + "".join(map(_right, SHOWN))]
        for trait, what in _kinds():
            for name, group in grouped(coded, trait).items():
                lines.append(f"{what}: {name}".ljust(42) + f"{len(group):5d}" + _means(group))
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def tables(rows: Sequence[Row]) -> list[Table]:
    """For each trait the means of every coder and rate by its groups, equal groups and in them
    equal rates together; none where no clip has the trait."""
    coded = [row for row in rows if row.size]
    names = [name for name in ON_PAGE if any(name in row.values for row in coded)]
    found = []
    for trait, what in _kinds():
        lines = []
        for group, of_it in grouped(coded, trait).items():
            asked_of = dict.fromkeys((row.coder, row.asked) for row in of_it)
            for coder, asked in sorted(asked_of, key=lambda pair: pair[1]):
                part = [row for row in of_it if (row.coder, row.asked) == (coder, asked)]
                cells = [_mean(part, name, METRICS[name].digits) for name in names]
                lines.append([group, coder, f"{asked / 1000:g}", str(len(part)), *cells])
        if lines:
            heads = ["clips", "coder", "asked, kbps", "how many"]
            heads += [METRICS[name].heading for name in names]
            about = "Means over the clips that were coded; groups of few clips say little."
            found.append(Table(what[:1].upper() + what[1:], about, heads, lines))
    return found


def _kinds() -> list[tuple[str, str]]:
    """Every trait, and what it is."""
    return [*((trait, what) for trait, (what, _) in BOUNDS.items()), (LANGUAGE, LANGUAGE)]


def _mean(group: Sequence[Row], name: str, digits: int) -> str:
    values = [row.values[name] for row in group if name in row.values]
    return f"{np.mean(values):.{digits}f}" if values else ""


def _means(group: Sequence[Row]) -> str:
    return "".join(_right(_mean(group, name, 3)) for name in SHOWN)


def _right(text: str) -> str:
    return text.rjust(12)
