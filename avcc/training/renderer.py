"""Stage ``renderer``: decoded key frame and quantised motion in, the true frame out."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from avcc.analysis.motion import MotionBank, ShapeBank
from avcc.evaluation.lattice import lattice
from avcc.evaluation.perceptual import Lpips
from avcc.render.face import Renderer
from avcc.render.warp import part_maps
from avcc.training.export import grown
from avcc.training.landmarks import Landmarks
from avcc.training.loop import Options, Stage
from avcc.training.motion import motion_paths
from avcc.training.pairs import EDGE, TARGETS, Pairs, Pictures, Sent, Stills

GRID, NEAR = 15.0, 8  # what a grid of two pixels weighs, and pixels over which it is one
GRADED = 0.05  # what a level of it weighs in the score; LPIPS hardly sees it


class PictureJudge(nn.Module):
    """Patch discriminator (Isola et al. 2017) that sees the picture beside the key frame's warp."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        sizes = [12, width, 2 * width, 4 * width]
        self.layers = nn.ModuleList(
            spectral_norm(nn.Conv2d(a, b, 4, 2, 1)) for a, b in pairwise(sizes)
        )
        self.last = spectral_norm(nn.Conv2d(sizes[-1], 1, 3, padding=1))

    def forward(self, x: Tensor) -> list[Tensor]:
        x = F.pixel_unshuffle(x, 2)
        features = []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.2)
            features.append(x)
        return [*features, self.last(x)]


class RendererStage(Stage):
    """Perceptual, pixel, mesh and restoration losses; the judge joins for the second half."""

    name = "renderer"
    batch = 2

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        if options.perceptual is None:
            raise ValueError("this stage needs the folder of LPIPS weights (--perceptual)")
        torch.manual_seed(options.seed)
        arrays = np.load(options.work / "motion.npz")
        bank = MotionBank(arrays["motion.directions"])
        shape = ShapeBank(arrays["shape.mean"], arrays["shape.directions"])
        paths = motion_paths(options.work)
        self.nets["renderer"], self.nets["judge"] = Renderer(), PictureJudge()
        for net in self.nets.values():
            net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optims["renderer"] = self.adam(self.nets["renderer"], 5e-4)
        self.optims["judge"] = self.adam(self.nets["judge"], 2e-4, betas=(0.5, 0.98))
        self.lpips = Lpips(options.perceptual).to(options.device).eval().requires_grad_(False)
        self.landmarks = Landmarks().to(options.device)
        self.train = Pairs(options.cache, "train", bank, shape, paths, options.tier)
        self.held = Pairs(options.cache, "val", bank, shape, paths, "PW")
        self.stills = Stills(options.cache, options.tier)
        self.pictures = {
            split: Pictures(options.cache, split, options.device)
            for split in ("train", "val", "stills")
        }
        self.judged = options.judge_from

    def _render(self, nets: nn.ModuleDict, x: dict, clips: int) -> tuple[Tensor, Tensor]:
        """Pictures, and the restored key frames."""
        renderer = nets["renderer"]
        assert isinstance(renderer, Renderer)
        with self.autocast():
            key = renderer.key(x["key"], x["key_mesh"], x["size"])
            some, times = len(x["key"]) // clips, len(x["frames"]) // clips
            each = [key.every(some, i).repeat(times) for i in range(some)]
            out = renderer(each, x["mesh"], x["code"])
        return out, key.picture.float()

    def begin(self, tensors: dict[str, Tensor]) -> None:
        grown(self.nets["renderer"], tensors, "renderer")

    def _batch(self, rng: np.random.Generator) -> tuple[dict, dict]:
        return self.train.batch(rng, self.batch), self.stills.batch(rng, self.batch)

    def step(self, i: int) -> dict[str, float]:
        moving, still = self.next(self._batch)
        x = self.pictures["train"].shown(moving)
        out, restored = self._render(self.nets, x, self.batch)
        real = x["frames"]
        # mouth and eyes are where a viewer looks: their pixels weigh up to five times as much
        care = 1 + 4 * F.interpolate(part_maps(x["mesh"]), (256, 256), mode="bilinear").amax(1)
        wrong = out - real
        pixel = (wrong.abs().mean(1) * care).mean()
        # an error that stays is seen less than one that comes and goes; of frames far from each
        # other this says little, of neighbours it is the flicker
        change = (wrong[1::2] - wrong[::2]).abs().mean()
        with self.autocast():
            seen = self._seen(out, real)
            half = self.lpips(_half(out), _half(real)).float().mean()
        # every second picture, for it takes as long as the other losses together
        mesh = self.landmarks.distance(out[::2], real[::2], x["mesh"][::2])
        key = self._restored(restored, x["true_key"], still)
        grid = lattice(wrong, NEAR).abs().mean()
        loss = 2 * pixel + 0.5 * change + seen + 0.5 * half + 3 * mesh + key + GRID * grid
        figures = {"pixel": pixel.item(), "lpips": seen.item(), "grid": GRID * grid.item()}
        figures |= {"mesh": mesh.item(), "key": key.item()}
        if i >= self.judged:
            loss = loss + self._judge(out, real, figures)
        self.descend("renderer", loss)
        return figures

    def _seen(self, out: Tensor, real: Tensor) -> Tensor:
        """LPIPS, of pictures moved by a pixel or not: its first layer takes every second pixel, and
        what falls between them would be no loss (a grid that the last pixel shuffle leaves)."""
        y, x = torch.randint(2, (2,)).tolist()
        return self.lpips(out[..., y:, x:], real[..., y:, x:]).float().mean()

    def _restored(self, restored: Tensor, true: Tensor, still: dict[str, Tensor]) -> Tensor:
        """Loss of restored key frames, those of stills among them."""
        if len(still["key"]):
            still = self.pictures["stills"].shown(still)
            renderer = self.nets["renderer"]
            assert isinstance(renderer, Renderer)
            with self.autocast():
                nowhere = still["key"].new_zeros(len(still["key"]), 478, 2)
                also = renderer.key(still["key"], nowhere, still["size"]).picture.float()
            restored = torch.cat([restored, also])
            true = torch.cat([true, still["true_key"]])
        with self.autocast():
            seen = self._seen(restored, true)
        wrong = restored - true
        return wrong.abs().mean() + 0.5 * seen + GRID * lattice(wrong, NEAR).abs().mean()

    def _judge(self, out: Tensor, real: Tensor, figures: dict[str, float]) -> Tensor:
        judge = self.nets["judge"]
        with self.autocast():
            told = judge(torch.cat([real, out.detach()]))
            bad = _hinge(told[-1].float())
        self.descend("judge", bad, clip=math.inf)
        judge.requires_grad_(False)
        with self.autocast():
            fake, true = judge(out), judge(real)
            match = torch.stack(
                [(a - b.detach()).abs().mean() for a, b in zip(fake[:-1], true[:-1], strict=True)]
            ).mean()
            fool = -fake[-1].float().mean()
        judge.requires_grad_(True)
        figures |= {"judge": bad.item(), "fool": fool.item(), "match": match.item()}
        return 0.05 * fool + 2 * match

    def validate(self, nets: nn.ModuleDict) -> dict[str, float]:
        how = Sent(1, 1)
        found: dict[str, list[float]] = {"one": [], "two": [], "key": [], "frozen": [], "grid": []}
        for clip, (row, keys) in enumerate(self.held.by_clip):
            frames = np.linspace(EDGE, row["frames"] - EDGE, TARGETS).astype(int)
            for name, chosen in (("one", keys[:1]), ("two", keys[:2])):
                one = self.held.one(clip, chosen, frames, how)
                x = self.pictures["val"].shown({k: torch.from_numpy(v) for k, v in one.items()})
                out, restored = self._render(nets, x, 1)
                out = out.clamp(-1, 1)
                found[name].append(float(self.lpips(out, x["frames"]).mean()))
            found["grid"].append(127.5 * float(lattice(out - x["frames"]).abs().mean()))
            kept = self.lpips(restored.clamp(-1, 1), x["true_key"]).mean()
            found["key"].append(float(kept))
            frozen = x["key"][:1].expand_as(out).contiguous()
            found["frozen"].append(float(self.lpips(frozen, x["frames"]).mean()))
        means = {name: float(np.mean(values)) for name, values in found.items()}
        score = (means["one"] + means["two"]) / 2 + GRADED * means["grid"]
        return {"score": score} | means

    def export(self, nets: nn.ModuleDict) -> dict[str, Tensor]:
        return {f"renderer.{k}": v for k, v in nets["renderer"].state_dict().items()}


def _half(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=0.5, mode="area")


def _hinge(told: Tensor) -> Tensor:
    real, fake = told.chunk(2)
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()
