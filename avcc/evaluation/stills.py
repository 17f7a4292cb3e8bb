"""``python -m avcc.evaluation.stills``: what codes a key frame best, at equal bytes.

The middle picture of each clip, coded by each coder at many sizes, as decoded and as the renderer
restores it; distances at the sizes asked for are read off along a straight line between the
two nearest sizes (of logarithms of bytes). Bytes are those of the bare picture.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from torch import Tensor

from avcc import weights
from avcc.analysis.identity import same_priority
from avcc.errors import AvccError
from avcc.evaluation import bench, perceptual
from avcc.layers import loaded
from avcc.render.face import Renderer
from avcc.stages import SIDE

MOST = 1.5  # times the largest size asked for: larger pictures say nothing more
SVT = {"preset": "0", "svtav1-params": "avif=1:lp=1:tune="}


@dataclass(frozen=True)
class Still:
    """How a coder of still pictures is run; ``qualities`` from the coarsest on."""

    encoder: str
    decoder: str
    options: dict[str, str]
    quality: str
    qualities: range


def _svt(tune: int) -> Still:
    options = SVT | {"svtav1-params": SVT["svtav1-params"] + str(tune)}
    return Still("libsvtav1", "libdav1d", options, "crf", range(63, 20, -3))


CODERS = {
    "AV1, SVT, SSIM": _svt(2),  # what the codec takes (analysis/identity.py)
    "AV1, SVT, PSNR": _svt(1),
    "AV1, SVT, IQ": _svt(3),  # still pictures' own, of version 4
    "AV1, SVT, MS-SSIM": _svt(4),
    "HEVC, x265": Still(
        *("libx265", "hevc"),
        {"preset": "placebo", "x265-params": "log-level=none:info=0:pools=none"},
        *("crf", range(51, 18, -3)),
    ),
    "WebP": Still("libwebp", "webp", {"preset": "photo"}, "quality", range(0, 80, 5)),
}


def coded(how: Still, picture: np.ndarray, quality: int) -> tuple[int, np.ndarray]:
    """uint8 (256, 256, 3) -> bytes it takes, and what comes back."""
    encoder = av.codec.CodecContext.create(how.encoder, "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width = encoder.height = SIDE
    encoder.pix_fmt = "yuv420p"
    encoder.time_base = Fraction(1, 25)
    encoder.options = how.options | {how.quality: str(quality)}
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
    frame = frame.reformat(SIDE, SIDE, "yuv420p", interpolation="LANCZOS")
    frame.pts = 0
    with same_priority():
        packets = [*encoder.encode(frame), *encoder.encode(None)]
    decoder = av.codec.CodecContext.create(how.decoder, "r")
    assert isinstance(decoder, av.VideoCodecContext)
    shown = [f for p in [*packets, None] for f in decoder.decode(p)]
    return sum(p.size for p in packets), shown[0].to_ndarray(format="rgb24")


class Judge:
    """Distances of a decoded picture from its source, without and with restoration."""

    def __init__(self, folder: Path | None) -> None:
        first, _ = perceptual.load(perceptual.Lpips, folder)
        second, _ = perceptual.load(perceptual.SecondDistance, folder)
        if first is None or second is None:
            raise AvccError("this needs the perceptual networks' weights (--perceptual)")
        self.nets = first, second
        tensors = weights.tensors(weights.default(), "renderer")
        self.renderer = loaded(Renderer(), tensors, "renderer.", "cpu")

    @torch.inference_mode()
    def distances(self, source: np.ndarray, shown: np.ndarray, size: int) -> list[float]:
        """Of a picture that took ``size`` bytes: LPIPS, restored LPIPS, second distance, restored
        second distance."""
        true, picture = (perceptual.signed(x[None]) for x in (source, shown))
        nowhere = torch.zeros(1, 478, 2)
        restored = self.renderer.key(_last(picture), nowhere, torch.tensor([size])).picture
        return [float(net(x, true)) for net in self.nets for x in (picture, restored.clamp(-1, 1))]


def _last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def curve(how: Still, picture: np.ndarray, sizes: np.ndarray, judge: Judge) -> np.ndarray:
    """Distances at ``sizes`` bytes, float64 (4, S); NaN where the coder doesn't get there."""
    points: list[list[float]] = []
    for quality in how.qualities:
        size, shown = coded(how, picture, quality)
        points.append([size, *judge.distances(picture, shown, size)])
        if size > MOST * sizes[-1]:
            break
    size, *values = np.array(sorted(points)).T
    return np.array([np.interp(np.log(sizes), np.log(size), v, left=np.nan) for v in values])


def main(arguments: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m avcc.evaluation.stills", description=__doc__)
    parser.add_argument("paths", nargs="*", type=Path, help="clips, or folders of them")
    parser.add_argument("--manifest", type=Path, help="a list of clips, with --split")
    parser.add_argument("--split", default="val")
    parser.add_argument("--limit", type=int, default=0, help="clips at most")
    parser.add_argument("--bytes", default="450,700,1000,1500", help="sizes to compare at")
    parser.add_argument("--perceptual", type=Path, help="folder of perceptual networks' weights")
    options = parser.parse_args(arguments)
    paths = list(bench.clip_paths(options.paths))
    if options.manifest:
        paths += bench.manifest_paths(options.manifest, options.split)
    sizes = np.array(sorted(float(n) for n in options.bytes.split(",")))
    judge = Judge(options.perceptual)
    pictures = []
    for path in bench.spread(paths, options.limit):
        try:
            frames = bench.source_of(path, 10.0).frames
        except AvccError as error:
            print(f"note: {path}: {error}", file=sys.stderr)
            continue
        pictures.append(frames[len(frames) // 2])
    if not pictures:
        print("there are no clips: name files, folders or a --manifest", file=sys.stderr)
        return 2
    heads = "LPIPS", "LPIPS, restored", "second", "second, restored"
    print("| coder | " + " | ".join(heads) + " |\n" + "|---" * 5 + "|")
    for name, how in CODERS.items():
        values = np.mean([curve(how, p, sizes, judge) for p in pictures], 0)
        cells = (", ".join("-" if np.isnan(v) else f"{v:.3f}" for v in row) for row in values)
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
    print(f"\n{len(pictures)} pictures, at {options.bytes} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
