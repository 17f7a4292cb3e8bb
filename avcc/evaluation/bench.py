"""Every coder over every clip at every rate, each through real bytes, with all metrics.

``avcc`` goes through the public API alone. Clips are read to the canonical picture and sound first
and cut there, without coding anything again, so that all coders get the same arrays; times are
those of coding and decoding arrays, without reading the source's file.
"""

from __future__ import annotations

import csv
import os
import subprocess
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np

from avcc.errors import AvccError
from avcc.evaluation import baselines, memory, ours, split, sync
from avcc.evaluation.folder import is_page
from avcc.evaluation.groups import traits
from avcc.evaluation.peers import PEERS, Pictures, absence
from avcc.evaluation.picture import PictureMeter, face_meshes
from avcc.evaluation.sound import Reference, SoundMeter
from avcc.evaluation.split import Coded, Judge, Material
from avcc.media.read import read
from avcc.stages import FRAME_RATE, SAMPLES_PER_FRAME, Clip

MEDIA = {".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg", ".ogv"}
MANIFEST = "manifest.csv"  # of a folder of clips, where it has one
FAILED = "failed: "  # how the note of a row begins that another try might bring
STILLS = {"frozen": "svtav1", "warp": "svtav1"}  # coders that begin with a still: what codes it
CODERS = (*ours.WAYS, *STILLS, *PEERS)


@dataclass
class Source:
    """One clip in memory, and what metrics and coders ask of it more than once."""

    name: str
    clip: Clip
    frames: np.ndarray
    reference: Reference | None
    material: Material | None = None  # what peers share between rates

    @cached_property
    def mesh(self) -> np.ndarray:
        """float32 (N, 478, 2), pixels."""
        return face_meshes(self.frames)

    @cached_property
    def traits(self) -> dict[str, float]:
        """What kind of clip it is (``groups.traits``)."""
        return traits(self.frames, self.mesh)

    @property
    def seconds(self) -> float:
        return len(self.frames) / float(FRAME_RATE)


@dataclass
class Row:
    """One coder, clip and rate. ``values`` is empty and ``note`` says why where nothing came."""

    clip: str
    coder: str
    asked: float  # bits a second
    seconds: float
    size: int = 0  # bytes
    values: dict[str, float] = field(default_factory=dict)
    traits: dict[str, float] = field(default_factory=dict)
    note: str = ""
    setting: str = ""  # of the coder, as it was run
    language: str = ""  # that is spoken, where a manifest says it
    film: str = ""  # of what came back, where one was kept: its file's name
    # of some frames of source and decoded, for distances between all clips' (``kernel.kid``)
    features: tuple[np.ndarray, np.ndarray] | None = field(default=None, repr=False)

    def as_dict(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if name != "features"}


class Meter:
    """Picture and sound metrics together."""

    def __init__(self, folder: str | Path | None, skip: tuple[str, ...], stride: int) -> None:
        self.picture, self.sound = PictureMeter(folder), SoundMeter(skip)
        self.stride, self.memory = stride, "memory" not in skip
        self.notes = self.picture.notes + self.sound.notes
        # What tells these measures from others (``kept``).
        self.identity = [*self.picture.identity, *self.sound.identity, f"stride {stride}"]
        self.identity += [] if self.memory else ["no memory"]

    def row(
        self,
        source: Source,
        coder: str,
        rate: float,
        show: Callable[[np.ndarray, np.ndarray | None], str] | None = None,
    ) -> Row:
        """Code ``source`` and measure what comes back; ``show`` keeps it and gives its name."""
        row = Row(source.name, coder, rate, source.seconds)
        try:
            coded = self._coded(source, coder, rate)
        except AvccError as error:
            row.note = f"{type(error).__name__}: {error}"
            return row
        except (av.FFmpegError, subprocess.SubprocessError, OSError, MemoryError) as error:
            row.note = f"{FAILED}{type(error).__name__}: {error}"  # one coder, not the whole run
            return row
        if coded is None:
            row.note = "cannot go this low"
            return row
        row.size, row.note, row.setting = coded.size, coded.note, coded.setting
        if show is not None:
            row.film = show(coded.frames, coded.audio)
        row.values["kbps"] = 8 * coded.size / source.seconds / 1000
        row.values["frames_short"] = float(len(source.frames) - len(coded.frames))
        mesh = source.mesh if "landmarks absent" not in " ".join(self.notes) else None
        found = None if mesh is None else face_meshes(coded.frames)
        row.values |= self.picture.scores(source.frames, coded.frames, mesh, self.stride, found)
        if mesh is not None and found is not None:
            row.values |= sync.scores(found, coded.audio)
            of_source = sync.scores(mesh, source.clip.audio)
            row.values |= {f"{name}_source": value for name, value in of_source.items()}
            row.values |= sync.offset(row.values)
        row.features = self.picture.features(source.frames, coded.frames)
        row.traits = {} if mesh is None else source.traits
        if source.reference is not None:
            row.values |= self.sound.scores(source.reference, coded.audio)
        row.values["encode_x"] = coded.encode_seconds / source.seconds
        row.values["decode_x"] = coded.decode_seconds / source.seconds
        row.values["model_bytes"] = float(coded.model_bytes)
        if self.memory:
            _remember(row, coded)
        return row

    def _coded(self, source: Source, coder: str, rate: float) -> Coded | None:
        """The clip by a coder within ``rate`` bits a second, if it goes so low. Raises
        ``AvccError``."""
        if coder in ours.WAYS:
            return ours.coded(source.clip, rate, ours.WAYS[coder])
        if why := why_absent(coder):
            raise AvccError(why)
        if source.material is None:
            judge = Judge(self.picture.nearness, self.sound.intelligibility)
            source.material = Material(source.frames, source.clip.audio, judge)
        frames = source.frames
        makers: dict[str, Callable[[], split.Pictures]] = {
            "frozen": lambda: baselines.frozen(frames),
            "warp": lambda: baselines.warped(frames, source.mesh),
        }
        make = makers.get(coder, lambda: Pictures(coder, frames))
        return source.material.best(coder, make, rate)


def why_absent(coder: str) -> str:
    """Why a coder can't be run here; empty where it can."""
    if coder in ours.WAYS:
        return ""
    if coder not in CODERS:
        return f"no coder is called {coder!r}; there are {', '.join(CODERS)}"
    return absence(STILLS.get(coder, coder))


def _remember(row: Row, coded: Coded) -> None:
    """Peak memory of both ways into ``row``; a note where it couldn't be measured."""
    for name, tasks in (("encode_mib", coded.encode), ("decode_mib", coded.decode)):
        try:
            found = memory.most(tasks)
        except AvccError as error:
            row.note = "; ".join(filter(None, [row.note, f"{name} not measured: {error}"]))
            continue
        if found is not None:
            row.values[name] = found


def source_of(path: Path, seconds: float, name: str = "") -> Source:
    """The clip at ``path``, its first ``seconds`` at most. Raises ``MediaError``."""
    clip = read(path)
    count = min(clip.count, max(1, round(seconds * float(FRAME_RATE))))
    frames = np.stack(list(islice(iter(clip.frames), count)))
    count = len(frames)
    audio = None if clip.audio is None else clip.audio[: count * SAMPLES_PER_FRAME]
    cut = Clip(frames, count, audio, clip.crop)
    return Source(name or path.stem, cut, frames, None if audio is None else Reference(audio))


def clip_paths(paths: Iterable[Path]) -> Iterator[Path]:
    """Files as they are, and the media files in folders, by name; the films of pages aren't."""
    for path in paths:
        if path.is_dir():
            found = sorted(p for p in path.rglob("*") if p.suffix.lower() in MEDIA and p.is_file())
            yield from (p for p in found if not any(map(is_page, p.parents)))
        else:
            yield path


def manifest_paths(manifest: Path, split: str) -> list[Path]:
    """The files of one split of a manifest (CSV with the columns ``file`` and ``split``). Raises
    ``AvccError``."""
    try:
        with manifest.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        return [manifest.parent / row["file"] for row in rows if row["split"] == split]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise AvccError(f"the manifest {manifest} can't be read: {error}") from error
    except KeyError as error:
        raise AvccError(f"the manifest {manifest} has no column {error}") from error


def languages(manifest: Path) -> dict[Path, str]:
    """What is spoken in the files of a manifest that has a column ``language``."""
    try:
        with manifest.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row.get("file")]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise AvccError(f"the manifest {manifest} can't be read: {error}") from error
    return {
        manifest.parent / row["file"]: printable(row["language"].strip())
        for row in rows
        if (row.get("language") or "").strip()
    }


def printable(name: str) -> str:
    """The text with a sign in place of each that moves a terminal, or isn't Unicode."""
    text = os.fsencode(name).decode("utf-8", "replace")
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)


def spread(paths: list[Any], limit: int) -> list[Any]:
    """At most ``limit`` of the paths, or whatever they are, evenly spread, so that neighbours don't
    stand for all."""
    if limit <= 0 or limit >= len(paths):
        return paths
    return [paths[i] for i in np.linspace(0, len(paths) - 1, limit).round().astype(int)]
