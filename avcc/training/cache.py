"""One pass over the raw material: everything decoded once, into memory maps.

The cache holds, for each part (``hi_train``, ``hi_val``, ``lo_train``, ``lo_val``, ``stills``):

- ``frames.u8``      uint8 (N, S, S, 3), every frame of every clip, one after the other
- ``mesh.f32``       float32 (N, 478, 2), face-mesh points in units of the picture's side,
                     NaN where no face was found
- ``audio.i16``      int16 (N * 640,), 16 kHz, silent where the clip has no sound
- ``index.json``     one row a clip: name, start, frames, sound, tier, identity

and for ``speech_train`` / ``speech_test``: ``audio.i16`` and ``index.json`` (start and length in
samples, speaker, language).
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import av
import numpy as np

from avcc.evaluation.landmarks import MediaPipeMesh
from avcc.training.meshes import load

Job = tuple[Path, dict, np.ndarray | None]  # a file, its row, its meshes where they are known
Part = tuple[dict, np.ndarray, np.ndarray, np.ndarray]  # row, frames, meshes, sound

SAMPLES_PER_FRAME = 640
MESH_POINTS = 478
LOOKS = 4  # at a still


def decode_video(path: Path) -> np.ndarray:
    """All frames of a clip, uint8 (N, H, W, 3)."""
    with av.open(str(path)) as box:
        return np.stack([f.to_ndarray(format="rgb24") for f in box.decode(video=0)])


def decode_audio(path: Path) -> np.ndarray:
    """The sound of a file as int16 mono at 16 kHz, empty if it has none."""
    with av.open(str(path)) as box:
        if not box.streams.audio:
            return np.zeros(0, np.int16)
        resampler = av.AudioResampler("s16", "mono", 16000)
        parts = [r.to_ndarray()[0] for f in box.decode(audio=0) for r in resampler.resample(f)]
        parts += [r.to_ndarray()[0] for r in resampler.resample(None)]
    return np.concatenate(parts) if parts else np.zeros(0, np.int16)


def mesh_of(frames: np.ndarray, still: bool = False) -> np.ndarray:
    """Face-mesh points by MediaPipe, float32 (N, 478, 2) in units of the side, NaN if none.

    ``still``: the pictures have nothing to do with one another. Each is then looked at until the
    mesh has settled: what MediaPipe says at first sight is 2 % of the eye distance off what it says
    of a face that it follows.
    """
    out = np.full((len(frames), MESH_POINTS, 2), np.nan, np.float32)
    with MediaPipeMesh() as finder:
        for i, frame in enumerate(frames):
            if still and i:
                finder.points(np.zeros_like(frame))  # the face before is gone
            for _ in range(LOOKS if still else 1):
                mesh = finder.points(frame)
            if mesh is not None:
                out[i] = mesh
    return out


def _one_clip(job: Job) -> Part:
    path, row, mesh = job
    frames = decode_video(path)
    sound = decode_audio(path) if row["audio"] == "True" else np.zeros(0, np.int16)
    padded = np.zeros(len(frames) * SAMPLES_PER_FRAME, np.int16)
    n = min(len(sound), len(padded))
    padded[:n] = sound[:n]
    return row, frames, mesh_of(frames) if mesh is None else mesh, padded


def _write_part(folder: Path, results: Iterator, side: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    index, start = [], 0
    with (
        open(folder / "frames.u8", "wb") as fv,
        open(folder / "mesh.f32", "wb") as fm,
        open(folder / "audio.i16", "wb") as fa,
    ):
        for row, frames, mesh, sound in results:
            if frames.shape[1:] != (side, side, 3):
                print(f"skipped {row['file']}: {frames.shape}", flush=True)
                continue
            frames.tofile(fv)
            mesh.tofile(fm)
            sound.tofile(fa)
            index.append(
                dict(
                    file=row["file"],
                    start=start,
                    frames=len(frames),
                    sound=row.get("audio") == "True",
                    tier=row.get("tier", "P"),
                    identity=row.get("identity", row["file"]),
                )
            )
            start += len(frames)
    (folder / "index.json").write_text(json.dumps(index))
    print(f"{folder.name}: {len(index)} clips, {start} frames", flush=True)


def _one_still(job: Job) -> Part:
    path, row, mesh = job
    frames = decode_video(path)[:1]
    mesh = mesh_of(frames, still=True) if mesh is None else mesh
    return row, frames, mesh, np.zeros(SAMPLES_PER_FRAME, np.int16)


def _write_speech(folder: Path, data: Path, rows: list[dict]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    index, start = [], 0
    with open(folder / "audio.i16", "wb") as fa:
        for row in rows:
            sound = decode_audio(data / "speech" / row["file"])
            sound.tofile(fa)
            keep = {k: row[k] for k in ("file", "speaker", "language", "source_repo")}
            index.append(dict(keep, start=start, samples=len(sound)))
            start += len(sound)
    (folder / "index.json").write_text(json.dumps(index))
    print(f"{folder.name}: {len(index)} files, {start / 16000 / 3600:.2f} h", flush=True)


def _rows(manifest: Path) -> list[dict]:
    with open(manifest, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _there(folder: Path, rows: list[dict]) -> list[dict]:
    """The rows whose files there are: a rented machine may have got some of them only."""
    found = [row for row in rows if (folder / row["file"]).exists()]
    if len(found) < len(rows):
        print(f"{folder}: {len(rows) - len(found)} of {len(rows)} files aren't there", flush=True)
    return found


def build(data: Path, cache: Path, jobs: int = 2, meshes: Path | None = None) -> None:
    """Decode everything under ``data`` into ``cache``; parts that are complete are left alone.

    ``meshes``: a file of ``training.meshes`` to take them from, instead of finding them.
    """
    clips = _there(data / "clips", _rows(data / "clips" / "manifest.csv"))
    stills = _there(data / "faces", _rows(data / "faces" / "manifest.csv"))
    speech = _there(data / "speech", _rows(data / "speech" / "manifest.csv"))
    known = load(meshes) if meshes else {}
    os.environ.setdefault("GLOG_minloglevel", "3")
    with ProcessPoolExecutor(jobs) as pool:
        for part in ("hi_val", "hi_train", "stills", "lo_train", "lo_val"):
            folder = cache / part
            if (folder / "index.json").exists():
                continue
            if part == "stills":
                work = [(data / "faces" / r["file"], r, known.get(r["file"])) for r in stills]
                _write_part(folder, pool.map(_one_still, work, chunksize=8), 256)
                continue
            size, split = part.split("_")
            rows = [r for r in clips if r["split"] == split and r["file"].startswith(size + "/")]
            work = [(data / "clips" / r["file"], r, known.get(r["file"])) for r in rows]
            _write_part(folder, pool.map(_one_clip, work), 256 if size == "hi" else 128)
    for split in ("train", "test"):
        folder = cache / f"speech_{split}"
        if not (folder / "index.json").exists():
            _write_speech(folder, data, [r for r in speech if r["split"] == split])
