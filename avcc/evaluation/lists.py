"""Lists of clips: which part of which video, and where in the picture.

Formats, as their authors publish them (no media is in a list, and none is fetched):

``hdtf``    HDTF (Zhang et al. 2021): ``XX_annotion_time.txt``, a line a video with times of its
            clips (``Name.mp4 00:30-01:00 01:30-02:30``), and beside it ``XX_crop_wh.txt``, a line a
            clip with left, width, top and height in pixels (``Name_0.mp4 412 599 0 599``); where
            ``XX_resolution.txt`` names a height, these are pixels of a picture so high.
``vfhq``    VFHQ (Xie et al. 2022): a folder of ``Clip+VIDEO+P0+C0+F1537-1825.txt`` with lines that
            begin with H, W, FPS and CROP (left, top, right, bottom). The first and the last frame
            are left out, as its own script does.
``celebv``  CelebV-HQ (Zhu et al. 2022): JSON, ``clips`` by name, each with ``ytb_id``, ``duration``
            in seconds and ``bbox`` as shares of the picture, here widened by 0.02 as its script
            does.
``csv``     one's own: columns ``file``, and any of ``start``, ``end`` (seconds or h:mm:ss),
            ``left``, ``top``, ``width``, ``height`` (pixels), ``name``, ``language``.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avcc.errors import AvccError

TIMES, BOXES, HEIGHTS = "_annotion_time.txt", "_crop_wh.txt", "_resolution.txt"
KEYS = ("H", "W", "FPS", "CROP")  # how VFHQ's lines begin; what they say comes last in them
WIDER = 0.02  # of the picture: what CelebV-HQ's script adds on each side of a box


@dataclass(frozen=True)
class Box:
    """A part of the picture, in pixels of one that is ``of`` (width, height) large; 0: as large as
    the video's."""

    left: float
    top: float
    width: float
    height: float
    of: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class Part:
    """One clip of a list: seconds from the video's first picture, to its end where ``end`` is
    ``None``; ``videos`` are names that its file may have, without extension. Without a box the
    face is looked for."""

    name: str
    videos: tuple[str, ...]
    start: float = 0.0
    end: float | None = None
    box: Box | None = None
    language: str = ""


def read(path: Path, form: str = "") -> list[Part]:
    """The clips of a list, in its order; its format is told by its names where none is given.
    Raises ``AvccError`` with one sentence that names the file and what is wrong in it."""
    form = form or _form(path)
    try:
        parts = list(FORMS[form](path))
    except OSError as error:
        raise AvccError(f"the list {path} can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise AvccError(f"the list {path} is no text") from error
    except (
        ValueError,
        KeyError,
        IndexError,
        TypeError,
        AttributeError,
        RecursionError,
        csv.Error,
    ) as error:
        raise AvccError(f"the list {path} isn't what {form} lists are: {error}") from error
    if not parts:
        raise AvccError(f"the list {path} names no clip")
    return parts


def _form(path: Path) -> str:
    if path.name.endswith(TIMES):
        return "hdtf"
    if path.is_dir():
        return "hdtf" if any(path.glob(f"*{TIMES}")) else "vfhq"
    return {".json": "celebv", ".txt": "vfhq"}.get(path.suffix.lower(), "csv")


def _hdtf(path: Path) -> Iterator[Part]:
    for times in sorted(path.glob(f"*{TIMES}")) if path.is_dir() else [path]:
        subset = times.name.removesuffix(TIMES)
        boxes = _table(times.with_name(subset + BOXES))
        heights = times.with_name(subset + HEIGHTS)
        high = _table(heights) if heights.is_file() else {}
        for video, spans in _table(times).items():
            for number, span in enumerate(spans):
                box = boxes.get(f"{video}_{number}")
                if box is None:
                    continue  # its authors give no window for a few
                left, width, top, height = map(float, box)
                tall = high.get(video, [])
                start, end = map(seconds, span.split("-"))
                where = Box(
                    left, top, width, height, (0.0, float(tall[0]) if len(tall) == 1 else 0.0)
                )
                names = (f"{subset}_{video}", video)
                yield Part(f"{subset}_{video}_{number}", names, start, end, where)


def _table(path: Path) -> dict[str, list[str]]:
    """Lines of words by their first, without its extension."""
    lines = (line.split() for line in path.read_text("utf-8").splitlines())
    return {first.removesuffix(".mp4"): rest for first, *rest in filter(None, lines)}


def _vfhq(path: Path) -> Iterator[Part]:
    for meta in sorted(path.glob("*+F*.txt")) if path.is_dir() else [path]:
        lines = meta.read_text("utf-8").splitlines()
        told = {key: line.split() for key in KEYS for line in lines if line.startswith(key)}
        found = re.fullmatch(r"[^+]*\+(.+)\+P(\d+)\+C(\d+)\+F(\d+)-(\d+)", meta.stem)
        if found is None:
            raise ValueError(f"{meta.name} doesn't end in +P..+C..+F..-..")
        rate = float(told["FPS"][-1])
        first, last = int(found[4]) + 1, int(found[5]) - 1
        left, top, right, bottom = map(float, told["CROP"][-4:])
        width, height = (float(told[key][-1]) if key in told else 0.0 for key in ("W", "H"))
        box = Box(left, top, right - left, bottom - top, (width, height))
        yield Part(meta.stem, (found[1],), first / rate, (last + 1) / rate, box)


def _celebv(path: Path) -> Iterator[Part]:
    clips: dict[str, Any] = json.loads(path.read_text("utf-8"))["clips"]
    for name, told in clips.items():
        sides = {side: float(told["bbox"][side]) for side in ("left", "top", "right", "bottom")}
        left, top = (max(0.0, sides[side] - WIDER) for side in ("left", "top"))
        right, bottom = (min(1.0, sides[side] + WIDER) for side in ("right", "bottom"))
        box = Box(left, top, right - left, bottom - top, (1.0, 1.0))
        span = told["duration"]
        yield Part(name, (told["ytb_id"],), float(span["start_sec"]), float(span["end_sec"]), box)


def _csv(path: Path) -> Iterator[Part]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        for number, row in enumerate(csv.DictReader(file), 1):
            video = Path(row["file"]).stem
            corner = [(row.get(side) or "").strip() for side in ("left", "top", "width", "height")]
            if any(corner) and not all(corner):
                raise ValueError(f"line {number + 1} has only some of left, top, width, height")
            box = None
            if all(corner):
                left, top, width, height = map(float, corner)
                box = Box(left, top, width, height)
            end = (row.get("end") or "").strip()
            yield Part(
                (row.get("name") or "").strip() or f"{video}_{number}",
                (video,),
                seconds((row.get("start") or "").strip() or "0"),
                seconds(end) if end else None,
                box,
                (row.get("language") or "").strip(),
            )


def seconds(text: str) -> float:
    """Of ``75.5``, ``1:15.5`` or ``0:01:15.5``."""
    total = 0.0
    for part in text.split(":"):
        total = 60 * total + float(part)
    return total


FORMS: dict[str, Callable[[Path], Iterator[Part]]] = {
    "hdtf": _hdtf,
    "vfhq": _vfhq,
    "celebv": _celebv,
    "csv": _csv,
}
