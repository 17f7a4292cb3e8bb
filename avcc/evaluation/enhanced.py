"""Opus with a network behind it: LACE or NoLACE (Büthe et al. 2023), by WebAssembly in Node.

Of all speech coders with a network that were looked for, this is the one whose weights come inside
a package (docs/evaluation.md): ``@wasm-audio-decoders/opus-ml`` 0.0.3 on npm, MIT, is libopus 1.5
(BSD-3) with both networks compiled in. They work on 16 kHz inside, which the encoder takes by
itself only at higher rates, so it is told to; FFmpeg has no such option, so the packets come from
``opuslib-next-bundled`` (BSD-3). Both are looked for: Node on the path, its package in the folder
that ``AVCC_NODE`` names, or in ``node`` of the Python environment, where the Makefile puts it.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import struct
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np

from avcc.evaluation.digests import version
from avcc.evaluation.memory import cost
from avcc.evaluation.voices import Voice
from avcc.stages import SAMPLE_RATE

FOLDER_VARIABLE = "AVCC_NODE"
PACKAGE = "@wasm-audio-decoders/opus-ml"
NETWORKS = ("lace", "nolace")
RATES = (6_000, 8_000)  # of the encoder; plain Opus, at 16 kHz inside, is worse there
WIDE = 1103  # OPUS_BANDWIDTH_WIDEBAND
PACKET = SAMPLE_RATE * 60 // 1000
SCRIPT = Path(__file__).parent / "opus_ml.mjs"


def absence() -> str:
    """Why it can't be run here; empty where it can."""
    if importlib.util.find_spec("opuslib_next") is None:
        return "Opus with LACE and NoLACE absent: pip install opuslib-next-bundled==0.1.1"
    if shutil.which("node") is None:
        return "Opus with LACE and NoLACE absent: node isn't on the path"
    if not _package().is_dir():
        return f"Opus with LACE and NoLACE absent: npm install --prefix {folder()} {PACKAGE}@0.0.3"
    return ""


def folder() -> Path:
    """Where Node's packages lie, or would."""
    named = os.environ.get(FOLDER_VARIABLE)
    return (Path(named) if named else Path(sys.prefix, "node")).absolute()


def identity() -> str:
    """The versions that a voice follows from; why there are none where it can't be run."""
    if why := absence():
        return why
    told = json.loads((_package() / "package.json").read_text("utf-8"))
    return f"{PACKAGE} {told['version']}, opuslib-next-bundled {version('opuslib-next-bundled')}"


def opus(audio: np.ndarray, bitrate: int, network: str = "nolace") -> Voice:
    """Opus for speech at 16 kHz inside, VBR, 60 ms packets, its delay removed. Raises
    ``AvccError``."""
    began = time.perf_counter()
    packets, delay = _packets(audio, bitrate)
    coded = time.perf_counter() - began
    with tempfile.TemporaryDirectory(prefix="avcc-opus-") as place:
        source, target = Path(place, "packets"), Path(place, "sound")
        source.write_bytes(b"".join(struct.pack("<H", len(p)) + p for p in packets))
        command = ["node", str(SCRIPT), str(folder()), network, str(source), str(target)]
        spent = cost(command).seconds
        sound = np.fromfile(target, "<f4")[delay : delay + len(audio)]
    setting = f"Opus -b {bitrate} voip wideband 60 ms, decoded with {network}"
    task, model = partial(opus, audio, bitrate, network), _package() / "src" / "EmscriptenWasm.js"
    size = sum(map(len, packets))
    return Voice(size, sound, setting, coded, spent, task, model.stat().st_size)


def _packets(audio: np.ndarray, bitrate: int) -> tuple[list[bytes], int]:
    """Packets, and by how many samples what is decoded is late."""
    import opuslib_next

    encoder = opuslib_next.Encoder(SAMPLE_RATE, 1, opuslib_next.APPLICATION_VOIP)
    encoder.bitrate, encoder.complexity, encoder.vbr, encoder.bandwidth = bitrate, 10, 1, WIDE
    padded = np.pad(audio.astype("<f4"), (0, SAMPLE_RATE // 5))
    parts = (padded[i : i + PACKET] for i in range(0, len(padded) - PACKET + 1, PACKET))
    packets = [bytes(encoder.encode_float(part.tobytes(), PACKET)) for part in parts]
    return packets, int(encoder.lookahead)


def _package() -> Path:
    return folder() / "node_modules" / PACKAGE
