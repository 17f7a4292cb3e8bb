"""Stage ``motionprior``: what foretells changes of the motion coefficients."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from avcc.entropy.forecast import motion_told
from avcc.entropy.places import LEVELS, VALUES, MotionLayout
from avcc.entropy.prior import UNIT, logarithms
from avcc.entropy.tables import REACH, SIGNED
from avcc.quantise.motion import MotionPaths
from avcc.quantise.rate import STRIDES
from avcc.quantise.scalar import STEPS
from avcc.stages import SEGMENT_FRAMES
from avcc.training.loop import Options
from avcc.training.priors import Batch, PriorNet, PriorStage, foretelling
from avcc.training.tables import clip_motion, models


class MotionPriorStage(PriorStage):
    """Of motion at every stride and step."""

    name = "motionprior"
    kind = "motion"
    width = 96
    batch = 16

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        arrays, o = models(options.work), options
        # With a prior that was learned before, codes are what an encoder with it would send.
        paths = MotionPaths(foretelling(options.work))
        self._logs = torch.from_numpy(logarithms(self.book.table("motion")) / UNIT).float()
        self._paths = paths
        self._coded = {
            split: _motions(clip_motion(o.cache, arrays, split, o.tier), paths)
            for split in ("train", "val")
        }

    @property
    def _layout(self) -> MotionLayout:
        return MotionLayout(self.book.directions, self.book.steps)

    def made(self) -> PriorNet:
        layout = self._layout
        net = PriorNet(layout.size, layout.count, SIGNED, self.width)
        with torch.no_grad():
            net.lookup.add_(_smooth(layout, self.width))
        return net

    def drawn(self, rng: np.random.Generator) -> Batch:
        stride, step = int(rng.choice(STRIDES)), int(rng.integers(self.book.steps))
        known = self._coded["train"][stride, step]
        chosen = rng.integers(0, len(known), self.batch * stride)
        return self._batch([known[k] for k in chosen], stride, step)

    def held(self) -> list[Batch]:
        return [self._batch(known, *at) for at, known in self._coded["val"].items()]

    def _batch(self, codes: list[np.ndarray], stride: int, step: int) -> Batch:
        layout = self._layout
        found: list[tuple[np.ndarray, ...]] = []
        for code in codes:
            if len(code) < 2:
                continue
            rows = self._paths.rows(code[None], step)[:, 1:]
            symbol, told = motion_told(layout, code[None], rows, stride, step)
            found.append((told[0], symbol[0], rows[0]))
        told, symbol, rows = (np.concatenate(of) for of in zip(*found, strict=True))
        each = np.arange(layout.count)
        now = layout.now(0, 0) + each * SIGNED + symbol
        bias = layout.bias(0) + each
        whole = (torch.from_numpy(x) for x in (told, now, bias, symbol))
        return *whole, self._logs[torch.from_numpy(rows)]


def _smooth(layout: MotionLayout, width: int) -> Tensor:
    """Lookups of motion to begin with: what stands for neighbouring values is alike."""
    change = torch.arange(SIGNED) - REACH
    blocks = change, change, change, torch.arange(-VALUES, VALUES + 1), torch.arange(LEVELS)
    mixed = [_curves(values, layout.count, width).flatten(0, 1) for values in blocks]
    rest = torch.zeros(layout.size - sum(map(len, mixed)), width)
    return torch.cat([*mixed, rest])


def _curves(values: Tensor, count: int, width: int) -> Tensor:
    """Random mixtures (count, values, width) of a few curves over values."""
    v = values.float()
    size = (1 + v.abs()).log2()
    curves = torch.stack([v.sign() * size, size, v.sign(), (v == 0).float()], 1)
    return torch.einsum("nc,kcw->knw", curves, torch.randn(count, 4, width) * 0.08)


def _motions(
    clips: list[np.ndarray], paths: MotionPaths
) -> dict[tuple[int, int], list[np.ndarray]]:
    """Segments of codes int64 (rows, K), as an encoder would send them, by stride and step."""
    cuts = [
        clip[a : a + SEGMENT_FRAMES] for clip in clips for a in range(0, len(clip), SEGMENT_FRAMES)
    ]
    return {
        (stride, step): paths.parts(cuts, stride, step)
        for stride in STRIDES
        for step in range(len(STEPS))
    }
