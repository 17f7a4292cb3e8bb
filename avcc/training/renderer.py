"""Stage ``renderer``: decoded key frame and quantised motion in, the true frame out."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from avcc.analysis.motion import MotionBank, ShapeBank
from avcc.evaluation.perceptual import Lpips
from avcc.quantise.scalar import SHAPE_STEPS, STEPS, rounded
from avcc.render.face import Renderer
from avcc.render.warp import part_maps
from avcc.training.data import part
from avcc.training.loop import Options, Stage

TARGETS = 3  # frames rendered from one key frame


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


class Pairs:
    """Key frames as decoded, and frames of the same clip with their motion, quantised as sent."""

    def __init__(self, cache: Path, split: str, bank: MotionBank, shape: ShapeBank, tier: str):
        self.clips = part(cache, f"hi_{split}", tier)
        rows = json.loads((cache / f"keys_{split}" / "index.json").read_text())
        self.pictures = np.memmap(cache / f"keys_{split}" / "frames.u8", np.uint8, "r").reshape(
            -1, 256, 256, 3
        )
        self.bank, self.shape = bank, shape
        self.by_clip: list[tuple[dict, list[int]]] = []
        for row in self.clips.index:
            keys = [i for i, k in enumerate(rows) if k["clip"] == row["file"]]
            if keys:
                self.by_clip.append((row, keys))
        self.rows = rows
        length = np.array([r["frames"] for r, _ in self.by_clip]) ** 0.5
        self.chance = length / length.sum()

    def one(self, clip: int, key: int, frames: np.ndarray, step: float) -> dict[str, np.ndarray]:
        """Arrays of one key frame and its targets (clip-relative frame numbers)."""
        row, _ = self.by_clip[clip]
        at = row["start"] + np.asarray(frames)
        true_key = self.clips.mesh[self.rows[key]["frame"]]
        vector = rounded(self.shape.vector(true_key), SHAPE_STEPS) * SHAPE_STEPS
        mesh_key = self.shape.mesh(vector.astype(np.float32))
        code = self.bank.coefficients(self.clips.mesh[at], true_key)
        code = (rounded(code, step) * step).astype(np.float32)
        return {
            "key": self.pictures[key],
            "key_mesh": mesh_key,
            "true_key": self.clips.frames[self.rows[key]["frame"]],
            "frames": np.stack([self.clips.frames[i] for i in at]),
            "mesh": self.bank.meshes(code, mesh_key),
            "code": code,
        }

    def batch(self, rng: np.random.Generator, count: int) -> list[dict[str, np.ndarray]]:
        """Random pairs; frames whose mesh is missing are never drawn."""
        out: list[dict[str, np.ndarray]] = []
        while len(out) < count:
            clip = int(rng.choice(len(self.by_clip), p=self.chance))
            row, keys = self.by_clip[clip]
            frames = rng.integers(3, row["frames"] - 3, TARGETS)
            if np.isnan(self.clips.mesh[row["start"] + frames, 0, 0]).any():
                continue
            step = float(STEPS[rng.integers(0, len(STEPS))])
            out.append(self.one(clip, int(rng.choice(keys)), frames, step))
        return out


def tensors(batch: list[dict[str, np.ndarray]], device: str, flip: bool = False) -> dict:
    """Stacked and scaled to -1..1; pictures channels first."""
    out = {}
    for name in batch[0]:
        x = torch.from_numpy(np.stack([b[name] for b in batch])).to(device)
        if name in ("frames", "mesh", "code"):
            x = x.flatten(0, 1)
        if x.dtype == torch.uint8:
            x = (x.permute(0, 3, 1, 2).float() / 127.5 - 1).contiguous(
                memory_format=torch.channels_last
            )
        out[name] = x
    return out


class RendererStage(Stage):
    """Perceptual, pixel and restoration losses; the judge joins for the second half."""

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
        self.nets["renderer"], self.nets["judge"] = Renderer(), PictureJudge()
        for net in self.nets.values():
            net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optims["renderer"] = self.adam(self.nets["renderer"], 5e-4)
        self.optims["judge"] = self.adam(self.nets["judge"], 2e-4, betas=(0.5, 0.98))
        self.lpips = Lpips(options.perceptual).to(options.device).eval().requires_grad_(False)
        self.train = Pairs(options.cache, "train", bank, shape, options.tier)
        self.held = Pairs(options.cache, "val", bank, shape, "PW")
        self.judged = options.judge_from

    def _render(self, nets: nn.ModuleDict, x: dict) -> tuple[Tensor, Tensor]:
        renderer = nets["renderer"]
        assert isinstance(renderer, Renderer)
        with self.autocast():
            key = renderer.key(x["key"], x["key_mesh"])
            times = len(x["frames"]) // len(x["key"])
            out = renderer(key.repeat(times), x["mesh"], x["code"])
        return out, key.picture.float()

    def step(self, i: int) -> dict[str, float]:
        x = tensors(self.train.batch(self.rng, self.batch), self.o.device)
        out, restored = self._render(self.nets, x)
        real = x["frames"]
        # mouth and eyes are where a viewer looks: their pixels weigh up to five times as much
        care = 1 + 4 * F.interpolate(part_maps(x["mesh"]), (256, 256), mode="bilinear").amax(1)
        pixel = ((out - real).abs().mean(1) * care).mean()
        keep = (restored - x["true_key"]).abs().mean()
        with self.autocast():
            seen = self.lpips(out, real).float().mean()
            half = self.lpips(_half(out), _half(real)).float().mean()
        loss = 2 * pixel + keep + seen + 0.5 * half
        figures = {"pixel": pixel.item(), "lpips": seen.item(), "keep": keep.item()}
        if i >= self.judged:
            loss = loss + self._judge(out, real, figures)
        self.optims["renderer"].zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.nets["renderer"].parameters(), 1.0)
        self.optims["renderer"].step()
        return figures

    def _judge(self, out: Tensor, real: Tensor, figures: dict[str, float]) -> Tensor:
        judge = self.nets["judge"]
        with self.autocast():
            told = judge(torch.cat([real, out.detach()]))
            bad = _hinge(told[-1].float())
        self.optims["judge"].zero_grad(set_to_none=True)
        bad.backward()
        self.optims["judge"].step()
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
        distance, plain, kept = [], [], []
        for clip, (row, keys) in enumerate(self.held.by_clip):
            frames = np.linspace(5, row["frames"] - 5, 4).astype(int)
            x = tensors([self.held.one(clip, keys[0], frames, float(STEPS[1]))], self.o.device)
            out, restored = self._render(nets, x)
            distance.append(float(self.lpips(out.clamp(-1, 1), x["frames"]).mean()))
            kept.append(float(self.lpips(restored.clamp(-1, 1), x["true_key"]).mean()))
            frozen = x["key"].expand_as(out).contiguous()
            plain.append(float(self.lpips(frozen, x["frames"]).mean()))
        score = float(np.mean(distance))
        return {"score": score, "frozen": float(np.mean(plain)), "key": float(np.mean(kept))}

    def export(self, nets: nn.ModuleDict) -> dict[str, Tensor]:
        return {f"renderer.{k}": v for k, v in nets["renderer"].state_dict().items()}


def _half(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=0.5, mode="area")


def _hinge(told: Tensor) -> Tensor:
    real, fake = told.chunk(2)
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()
