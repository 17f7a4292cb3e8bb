"""A table for a person, on the page and on a terminal."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """Heads and lines of equal length; the first cell of a line is its head."""

    title: str
    about: str
    heads: list[str]
    lines: list[list[str]]


def text(table: Table) -> str:
    """For a terminal."""
    lines = [table.heads, *table.lines]
    widths = [max(len(line[i]) for line in lines) for i in range(len(table.heads))]
    parts = ("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)
    return "\n".join([f"{table.title}. {table.about}".replace("\n", " "), *parts])
