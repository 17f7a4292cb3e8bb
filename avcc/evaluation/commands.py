"""Encoders that are programs of their own: ``aomenc`` and ``vvencapp``, where they are on the path.

Both read YUV4MPEG2 and write an elementary stream, whose packets are counted.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av

from avcc.errors import AvccError
from avcc.evaluation.memory import cost

_ARGUMENTS = {
    "aomenc": "--cpu-used=2 --end-usage=q --cq-level={quality} --kf-max-dist=9999 --passes=2"
    " --lag-in-frames=48 --bit-depth=10 --input-bit-depth=10 --threads=1 --quiet --ivf"
    " -o {target} {source}",
    "vvencapp": "--input {source} --preset slow --qp {quality} --qpa 1 --refreshsec 9999"
    " --threads 1 --verbosity 0 --output {target}",
}
_FORMATS = {"aomenc": ("ivf", ".ivf"), "vvencapp": ("vvc", ".266")}


def found(program: str) -> bool:
    """Whether a program is one of these and on the path."""
    return program in _ARGUMENTS and shutil.which(program) is not None


def command(program: str, quality: int | str, source: str, target: str) -> list[str]:
    """The command line."""
    parts = _ARGUMENTS[program].split()
    return [program, *(p.format(quality=quality, source=source, target=target) for p in parts)]


def packets(
    program: str,
    pictures: Iterable[av.VideoFrame],
    quality: int,
    size: tuple[int, int],
    rate: Fraction,
) -> list[bytes]:
    """Packets of planar 4:2:0 pictures of ten bits, of (width, height). Raises ``AvccError``."""
    form, extension = _FORMATS[program]
    with tempfile.TemporaryDirectory(prefix="avcc-peer-") as folder:
        source, target = Path(folder, "in.y4m"), Path(folder, f"out{extension}")
        with source.open("wb") as file:
            head = f"YUV4MPEG2 W{size[0]} H{size[1]} F{rate.numerator}:{rate.denominator} Ip A1:1"
            file.write(f"{head} C420p10 XYSCSS=420P10\n".encode())
            for picture in pictures:
                file.write(b"FRAME\n" + picture.to_ndarray().tobytes())
        try:
            cost(command(program, quality, str(source), str(target)))
        except AvccError as error:
            raise AvccError(f"{program} failed and says: {error}") from error
        if not target.is_file():
            raise AvccError(f"{program} wrote nothing")
        with av.open(str(target), format=form) as box:
            return [bytes(packet) for packet in box.demux(video=0) if packet.size]
