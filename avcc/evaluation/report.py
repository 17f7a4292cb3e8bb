"""Rows of measurements as means with intervals, as a table for a person, and as JSON."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from avcc.evaluation.bench import Row
from avcc.evaluation.kernel import kid
from avcc.media.safe import temporary

RESAMPLES = 2000


class Metric(NamedTuple):
    """How a measure is told."""

    heading: str
    digits: int
    better: str  # which way is: low, high, near 0; empty where neither is
    drawn: bool = True  # as a curve


METRICS = {
    "kbps": Metric("real rate, kbps", 3, "", False),
    "lpips": Metric("LPIPS (squeeze)", 4, "low"),
    "second": Metric("second distance", 4, "low"),
    "kid": Metric("KID x 1000 over all clips", 2, "low"),
    "landmark": Metric("landmark error, % of eye distance", 2, "low"),
    "mouth": Metric("mouth error, % of eye distance", 2, "low"),
    "mouth_corr": Metric("mouth opening correlation", 3, "high"),
    "contour": Metric("landmark error by dlib, % of eye distance", 2, "low"),
    "lips_corr": Metric("mouth opening correlation by dlib", 3, "high"),
    "faces_missing": Metric("share of faces lost", 3, "low"),
    "likeness": Metric("face descriptor's distance (same person: 0.6)", 3, "low"),
    "psnr": Metric("PSNR, dB", 2, "high"),
    "ssim": Metric("SSIM", 4, "high"),
    "ms_ssim": Metric("MS-SSIM", 4, "high"),
    "flicker": Metric("flicker, levels", 2, "near 0"),
    "grid": Metric("grid of two pixels, levels", 3, "near 0"),
    "pesq": Metric("PESQ-WB", 3, "high"),
    "stoi": Metric("STOI", 3, "high"),
    "estoi": Metric("ESTOI", 3, "high"),
    "visqol": Metric("ViSQOL (speech)", 3, "high"),
    "dnsmos": Metric("DNSMOS overall", 2, "high"),
    "dnsmos_source": Metric("  of the sources", 2, "", False),
    "p808": Metric("DNSMOS P.808", 2, "high"),
    "p808_source": Metric("  of the sources", 2, "", False),
    "plcmos": Metric("PLCMOS", 2, "high"),
    "plcmos_source": Metric("  of the sources", 2, "", False),
    "speaker": Metric("speaker similarity", 3, "high"),
    "wer": Metric("WER against the source's words", 3, "low"),
    "lag_ms": Metric("sound late by, ms", 1, "near 0"),
    "sync": Metric("lips and voice alike", 3, "high"),
    "sync_source": Metric("  in the sources", 3, "", False),
    "sync_ms": Metric("sound later than lips by, ms", 0, "", False),
    "sync_ms_source": Metric("  in the sources", 0, "", False),
    "av_offset": Metric("A/V offset beside the source's, ms either way", 0, "low"),
    "frames_short": Metric("frames missing at the end", 2, "near 0", False),
    "encode_x": Metric("encode time / duration", 2, "low"),
    "decode_x": Metric("decode time / duration", 2, "low"),
    "encode_mib": Metric("peak memory of encoding, MiB", 0, "low", False),
    "decode_mib": Metric("peak memory of decoding, MiB", 0, "low", False),
    "model_bytes": Metric("models that are loaded, bytes", 0, "low", False),
}
COMPUTE = ("encode_x", "decode_x", "encode_mib", "decode_mib", "model_bytes")  # no quality
_PACKAGES = (
    *("torch", "numpy", "scipy", "av", "mediapipe", "dlib-bin", "pytorch-msssim"),
    *(
        "pesq",
        "pystoi",
        "visqol-python",
        "ai-edge-litert",
        "speechmos",
        "onnxruntime",
        "resemblyzer",
        "pocketsphinx",
    ),
)


def interval(values: Sequence[float], seed: int = 0) -> tuple[float, float, float]:
    """Mean and the 95 % percentile-bootstrap interval over clips; the mean thrice if only one."""
    x = np.asarray(values, np.float64)
    if len(x) < 2:
        return (float(x.mean()),) * 3
    if np.ptp(x) == 0:
        return (float(x[0]),) * 3
    from scipy.stats import bootstrap

    how = {"n_resamples": RESAMPLES, "method": "percentile", "rng": np.random.default_rng(seed)}
    found = bootstrap((x,), np.mean, confidence_level=0.95, **how).confidence_interval
    return float(x.mean()), float(found.low), float(found.high)


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
        for name, metric in METRICS.items():
            cells = [_cell(entry["metrics"].get(name), metric.digits) for entry in part]
            if any(cells):
                better = f" ({metric.better})" if metric.better else ""
                lines.append([f"{metric.heading}{better}", *cells])
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


def document(rows: Sequence[Row], notes: Sequence[str]) -> dict[str, Any]:
    """Everything that was measured, with versions."""
    found: dict[str, str | None] = {}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = None
    return {
        "summary": summary(rows),
        "rows": [row.as_dict() for row in rows],
        "notes": list(notes),
        "versions": {"python": platform.python_version(), **found},
        "machine": platform.processor() or platform.machine(),
    }


def write_json(path: Path, rows: Sequence[Row], notes: Sequence[str]) -> None:
    """The document as JSON, written whole or not at all."""
    text = json.dumps(document(rows, notes), indent=1) + "\n"
    with temporary(path) as work:
        work.write_text(text, encoding="utf-8")
