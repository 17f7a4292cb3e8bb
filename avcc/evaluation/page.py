"""One folder that a person can open and judge by: ``index.html``, films, tables; no network.

Everything that comes from outside (names of clips, notes, settings) is escaped by the template
engine or stands in a JSON block; films are named by digests, so that no name ever becomes a path.
The page's policy (CSP) allows its own scripts and styles alone, by their hashes.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from avcc.evaluation import curves, files, kinds, strips
from avcc.evaluation.bench import Row
from avcc.evaluation.folder import FILMS
from avcc.evaluation.report import COMPUTE, METRICS, Metric, document, summary, write_json
from avcc.evaluation.run import Outcome
from avcc.evaluation.statements import tables
from avcc.stages import FRAME_RATE

WEB = Path(__file__).parent / "web"
SCRIPTS = ("players.js", "blind.js")
FIRST_SHOWN = 6  # players of a clip, until the viewer asks for others
SHOWN = ("kbps", "lpips", "landmark", "mouth_corr", "pesq", "estoi", *COMPUTE)  # of every clip


@dataclass(frozen=True)
class Told:
    """What the page says beside the measurements."""

    title: str
    command: str
    settings: Sequence[tuple[str, str]] = ()
    measures: Sequence[tuple[str, str]] = ()


def write_page(folder: Path, outcome: Outcome, told: Told) -> None:
    """The page and the tables beside it, each whole or as it was. Raises ``AvccError``."""
    rows, notes = outcome.rows, outcome.notes
    files.write_rows(folder / "rows.csv", rows)
    files.write_means(folder / "means.csv", rows)
    write_json(folder / "report.json", rows, notes)
    files.write_text(folder / "index.html", html(outcome, told, folder))


def html(outcome: Outcome, told: Told, folder: Path | None = None) -> str:
    """The page's text; ``folder`` is where its films and strips lie."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(WEB), autoescape=True, undefined=jinja2.StrictUndefined
    )
    rows = outcome.rows
    entries = summary(rows)
    coders = list(dict.fromkeys(row.coder for row in rows))
    style = (WEB / "style.css").read_text("utf-8")
    scripts = [(WEB / name).read_text("utf-8") for name in SCRIPTS]
    return environment.get_template("index.html").render(
        title=told.title,
        command=told.command,
        settings=told.settings,
        measures=told.measures,
        strips=_strips(outcome, folder) if folder else [],
        strip_size=(strips.FRAMES * strips.SIDE, strips.SIDE),
        groups=kinds.tables(rows),
        pairs=tables(rows),
        notes=outcome.notes,
        clips=list(dict.fromkeys(row.clip for row in rows)),
        coders=coders,
        rates=[_kilo(asked) for asked in dict.fromkeys(row.asked for row in rows)],
        classes=curves.CLASSES,
        mark=curves.mark,
        curves=_curves(entries, coders),
        entries=[entry | {"rate": f"{_kilo(entry['asked'])}k"} for entry in entries],
        means=_means(entries),
        row_heads=[METRICS[name].heading for name in SHOWN],
        rows=[_cells(row) for row in rows],
        versions=", ".join(f"{k} {v or 'absent'}" for k, v in document([], [])["versions"].items()),
        data=_data(outcome),
        style=Markup(style),
        style_hash=_hash(style),
        scripts=[{"text": Markup(text), "hash": _hash(text)} for text in scripts],
    )


def _curves(entries: Sequence[dict[str, Any]], coders: Sequence[str]) -> list[dict[str, Any]]:
    found = []
    for name, metric in METRICS.items():
        if not metric.drawn:
            continue
        lines: dict[str, list[curves.Point]] = {}
        for entry in entries:
            told, rate = entry["metrics"].get(name), entry["metrics"].get("kbps")
            if told and rate:
                whole = entry["clips"] == entry["of"]
                point = curves.Point(rate["mean"], told["mean"], told["low"], told["high"], whole)
                lines.setdefault(entry["coder"], []).append(point)
        if lines:
            picture = curves.svg(metric.heading, lines, coders)
            found.append({"title": metric.heading, "better": metric.better, "svg": picture})
    return found


def _means(entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    lines = []
    for name, metric in METRICS.items():
        cells = [_mean(entry["metrics"].get(name), metric) for entry in entries]
        if any(cells):
            lines.append({"title": metric.heading, "better": metric.better, "cells": cells})
    return lines


def _mean(told: dict[str, Any] | None, metric: Metric) -> dict[str, str] | None:
    if told is None:
        return None
    mean, low, high = (f"{told[key]:.{metric.digits}f}" for key in ("mean", "low", "high"))
    return {"mean": mean, "interval": f"{low} to {high}" if told["clips"] > 1 else ""}


def _cells(row: Row) -> dict[str, Any]:
    cells = [
        f"{row.values[name]:.{METRICS[name].digits}f}" if name in row.values else ""
        for name in SHOWN
    ]
    return {
        "clip": row.clip,
        "coder": row.coder,
        "rate": _kilo(row.asked),
        "cells": cells,
        "film": f"{FILMS}/{row.film}" if row.film else "",
        "setting": row.setting if row.size else row.note,
    }


def _strips(outcome: Outcome, folder: Path) -> list[dict[str, Any]]:
    coded = []
    for row in sorted(outcome.rows, key=lambda row: row.asked):
        if row.film:
            coded.append((row.clip, _kilo(row.asked), f"{row.coder}, {_figures(row)}", row.film))
    return strips.blocks(folder / FILMS, outcome.sources, coded)


def _data(outcome: Outcome) -> dict[str, Any]:
    """What the scripts know: each clip's versions with their films, the source first."""
    clips = []
    for clip, source in outcome.sources.items():
        first = {"coder": "source", "asked": None, "kbps": None, "figures": ""}
        versions: list[dict[str, Any]] = [first | {"film": f"{FILMS}/{source}"}]
        for row in outcome.rows:
            if row.clip == clip and row.film:
                versions.append(
                    {
                        "coder": row.coder,
                        "asked": row.asked / 1000,
                        "kbps": round(row.values["kbps"], 3),
                        "figures": _figures(row),
                        "film": f"{FILMS}/{row.film}",
                    }
                )
        clips.append({"name": clip, "versions": versions})
    whole = json.dumps(clips, sort_keys=True)
    return {
        "page": hashlib.sha256(whole.encode()).hexdigest(),  # which page a viewer's choices are of
        "frameRate": float(FRAME_RATE),
        "firstShown": FIRST_SHOWN,
        "clips": clips,
    }


def _figures(row: Row) -> str:
    told = [f"{row.values['kbps']:.2f} kbps"]
    for name, short in (("lpips", "LPIPS"), ("pesq", "PESQ")):
        if name in row.values:
            told.append(f"{short} {row.values[name]:.{METRICS[name].digits}f}")
    return ", ".join(told)


def _kilo(rate: float) -> str:
    return f"{rate / 1000:g}"


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
