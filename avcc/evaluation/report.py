"""Rows of measurements as means with intervals, as a table for a person, and as JSON."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from avcc.evaluation.bench import Row
from avcc.evaluation.kernel import kid

RESAMPLES = 2000
METRICS = {  # name: (heading, digits, which way is better)
    "kbps": ("real rate, kbps", 3, ""),
    "lpips": ("LPIPS (squeeze)", 4, "low"),
    "second": ("second distance", 4, "low"),
    "kid": ("KID x 1000 over all clips (low)", 2, ""),
    "landmark": ("landmark error, % of eye distance", 2, "low"),
    "mouth": ("mouth error, % of eye distance", 2, "low"),
    "mouth_corr": ("mouth opening correlation", 3, "high"),
    "faces_missing": ("share of faces lost", 3, "low"),
    "likeness": ("face descriptor's distance (same person: 0.6)", 3, "low"),
    "psnr": ("PSNR, dB", 2, "high"),
    "ssim": ("SSIM", 4, "high"),
    "flicker": ("flicker, levels", 2, "near 0"),
    "pesq": ("PESQ-WB", 3, "high"),
    "stoi": ("STOI", 3, "high"),
    "estoi": ("ESTOI", 3, "high"),
    "dnsmos": ("DNSMOS overall", 2, "high"),
    "dnsmos_source": ("  of the sources", 2, ""),
    "p808": ("DNSMOS P.808", 2, "high"),
    "p808_source": ("  of the sources", 2, ""),
    "speaker": ("speaker similarity", 3, "high"),
    "wer": ("WER against the source's words", 3, "low"),
    "lag_ms": ("sound late by, ms", 1, "near 0"),
    "sync": ("lips and voice alike", 3, "high"),
    "sync_source": ("  in the sources", 3, ""),
    "sync_ms": ("sound later than lips by, ms", 0, "as source"),
    "sync_ms_source": ("  in the sources", 0, ""),
    "frames_short": ("frames missing at the end", 2, "near 0"),
    "encode_x": ("encode time / duration", 2, "low"),
    "decode_x": ("decode time / duration", 2, "low"),
}
_PACKAGES = (
    *("torch", "numpy", "av", "mediapipe", "dlib-bin"),
    *("pesq", "pystoi", "speechmos", "onnxruntime", "resemblyzer", "pocketsphinx"),
)


def interval(values: Sequence[float], seed: int = 0) -> tuple[float, float, float]:
    """Mean and the 95 % percentile-bootstrap interval over clips; the mean thrice if only one."""
    x = np.asarray(values, np.float64)
    if len(x) < 2:
        return (float(x.mean()),) * 3
    picks = np.random.default_rng(seed).integers(0, len(x), (RESAMPLES, len(x)))
    low, high = np.percentile(x[picks].mean(1), [2.5, 97.5])
    return float(x.mean()), float(low), float(high)


def summary(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """One entry a coder and rate: the clips coded, and each metric's mean, low, high and count."""
    entries = []
    for coder, asked in dict.fromkeys((row.coder, row.asked) for row in rows):
        group = [row for row in rows if (row.coder, row.asked) == (coder, asked)]
        coded = [row for row in group if row.size]
        metrics = {}
        for name in METRICS:
            values = [row.values[name] for row in coded if name in row.values]
            if values:
                mean, low, high = interval(values)
                metrics[name] = {"mean": mean, "low": low, "high": high, "clips": len(values)}
        pairs = [row.features for row in coded if row.features is not None]
        if pairs:
            far = 1000 * kid(*(np.concatenate(side) for side in zip(*pairs, strict=True)))
            if not np.isnan(far):  # all clips as one, so there is no interval
                metrics["kid"] = {"mean": far, "low": far, "high": far, "clips": 1}
        entries.append(
            {
                "coder": coder,
                "asked": asked,
                "clips": len(coded),
                "of": len(group),
                "over": sum(8 * row.size > asked * row.seconds for row in coded),
                "metrics": metrics,
            }
        )
    return entries


def table(rows: Sequence[Row], columns: int = 4) -> str:
    """Metrics down, coders and rates across, ``columns`` at a time; intervals in brackets."""
    entries = summary(rows)
    blocks = []
    for start in range(0, len(entries), columns):
        part = entries[start : start + columns]
        heads = [f"{e['coder']} {e['asked'] / 1000:g}k ({e['clips']}/{e['of']})" for e in part]
        lines = [["", *heads]]
        for name, (heading, digits, better) in METRICS.items():
            cells = [_cell(entry["metrics"].get(name), digits) for entry in part]
            if any(cells):
                lines.append([f"{heading}{f' ({better})' if better else ''}", *cells])
        over = [str(e["over"]) if e["over"] else "" for e in part]
        if any(over):
            lines.append(["CLIPS OVER THE RATE", *over])
        widths = [max(len(line[i]) for line in lines) for i in range(len(part) + 1)]
        blocks.append("\n".join(_line(line, widths) for line in lines))
    return "\n\n".join(blocks)


def _cell(metric: dict[str, Any] | None, digits: int) -> str:
    if metric is None:
        return ""
    mean, low, high = (f"{metric[key]:.{digits}f}" for key in ("mean", "low", "high"))
    return mean if metric["clips"] < 2 else f"{mean} [{low}, {high}]"


def _line(cells: list[str], widths: list[int]) -> str:
    first, *rest = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return "  ".join([first, *rest]).rstrip()


def write_json(path: Path, rows: Sequence[Row], notes: Sequence[str]) -> None:
    """Everything that was measured, with versions, as JSON; written whole or not at all."""
    found: dict[str, str | None] = {}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = None
    document = {
        "summary": summary(rows),
        "rows": [row.as_dict() for row in rows],
        "notes": list(notes),
        "versions": {"python": platform.python_version(), **found},
        "machine": platform.processor() or platform.machine(),
    }
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)
