"""``python -m tests.make_vectors``: files for ``tests/vectors``, one a feature, with today's model.

Files that are there already are never touched: what was coded once must decode for good. Then
``AVCC_REGENERATE=1 pytest tests/test_format_reader.py tests/test_media_vectors.py`` adds the
fingerprints of new ones. Where renderer or vocoder are exchanged, ``vectors/media.json`` is made
anew: write ``{}`` into it first.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

import avcc
from avcc import weights
from avcc.codec import Codec
from avcc.evaluation.call import Call
from avcc.live import renewal
from avcc.media.live import PIECE
from avcc.stages import MODES, Clip, Crop
from tests.test_codec import talk
from tests.test_scene import scenic

FOLDER = Path(__file__).parent / "vectors"


def clips() -> dict[str, tuple[Clip, float]]:
    """Name -> clip and rate."""
    clip, long = talk(), talk(9.0)
    assert clip.audio is not None
    shots = np.concatenate([frames := np.stack(list(clip.frames)), 255 - frames // 2])
    cropped = replace(clip, crop=Crop(-12, 40, 300, 640, 360))
    return {
        "least": (clip, 1500),
        "2k": (clip, 2000),
        "brief": (clip, 2000),  # of a still, what doesn't go without saying
        "8k": (clip, 8000),
        "all": (clip, 100_000),
        "segments": (long, 2000),
        "mute": (replace(clip, audio=None), 2000),
        "silent": (replace(clip, audio=np.zeros_like(clip.audio)), 2000),
        "cropped": (cropped, 4000),
        "seeded": (clip, 4000),
        "shots": (Clip(shots, len(shots), None), 8000),
        "audio-driven": (clip, 1200),
        "led": (clip, 2000),  # by a voice that lips follow in a way of their own
        "video-driven": (clip, 2000),
        "pitch": (clip, 2200),  # where rate control takes it: once a frame, of earlier versions,
        "finer": (clip, 2200),  # and twice
        "scene": (scenic(), 6000),
        "copies": (long, 3000),
        "soft": (replace(clip, frames=np.stack([_blurred(x) for x in clip.frames])), 4000),
    }


def main() -> None:
    """Write what isn't there."""
    FOLDER.mkdir(exist_ok=True)
    for name, (clip, rate) in clips().items():
        path = FOLDER / f"{weights.default().hex()}-{name}.avc"
        if not path.exists():
            mode = name if name in MODES else "audio-driven" if name == "led" else "auto"
            seed = 77 if name == "seeded" else 0
            scene, fec = name == "scene", name == "copies"
            data = avcc.encode(clip, rate, mode=mode, seed=seed, scene=scene, fec=fec)
            _write(path, data)
    for name, seconds in {"live": 4.0, "short": 1.0}.items():
        path = FOLDER / f"{weights.default().hex()}-{name}.avc"
        if not path.exists():
            _write(path, call(seconds))


def _blurred(picture: np.ndarray) -> np.ndarray:
    """As a soft lens would show it: its head says how sharp it is."""
    return cv2.GaussianBlur(picture, (0, 0), 2.0)


def call(segment: float) -> bytes:
    """An open stream with a cut at 6 s, a later key frame in pieces, and copies."""
    renewal.HURRIED = 0.4, 8.0  # in half the time: tests/fuzz.py takes files of at most 20 s
    sender, film = Codec("cpu").sender(2000, fec=True, segment=segment), Call(talk(9.0))
    out = b""
    for first in range(0, 430, PIECE):
        pictures, sound = film.piece(first)
        out += sender(pictures if first < 150 else 255 - pictures // 2, sound)
    return out + sender.close()


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    print(f"{path.name}: {len(data)} bytes")


if __name__ == "__main__":
    main()
