"""Stage ``renderer``: decoded key frame and quantised motion in, the true frame out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from avcc.analysis.motion import MotionBank, ShapeBank
from avcc.evaluation.perceptual import Lpips
from avcc.quantise.rate import STRIDES
from avcc.quantise.scalar import SHAPE_STEPS, STEPS, rounded, steady
from avcc.render.face import Renderer
from avcc.render.warp import part_maps
from avcc.training.data import part
from avcc.training.export import grown
from avcc.training.loop import Options, Stage

KEYS = 2  # key frames at most that a picture is drawn from
TARGETS = 4  # frames drawn from them
NEIGHBOURS = 0.3  # of the batches draw frames that follow each other: pictures mustn't flicker
EDGE = 5  # frames at a clip's start and end that aren't drawn


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
            if keys and row["frames"] > 2 * EDGE:
                self.by_clip.append((row, keys))
        self.rows = rows
        length = np.array([r["frames"] for r, _ in self.by_clip]) ** 0.5
        self.chance = length / length.sum()
        self.mirror = mirrored_points(shape.mean.reshape(-1, 2))

    def one(
        self, clip: int, keys: list[int], frames: np.ndarray, how: Sent, flip: bool = False
    ) -> dict[str, np.ndarray]:
        """Arrays of some key frames and their targets (clip-relative frame numbers)."""
        row, _ = self.by_clip[clip]
        first = row["start"]
        mesh = self.clips.mesh[first : first + row["frames"]]
        at = [self.rows[key]["frame"] - first for key in keys]
        pictures, true_keys = self.pictures[keys], self.clips.frames[[first + i for i in at]]
        shown = self.clips.frames[first + np.asarray(frames)]
        if flip:
            mesh = mesh[:, self.mirror] * np.array([-1, 1], np.float32) + np.array(
                [1, 0], np.float32
            )
            pictures, true_keys, shown = (x[:, :, ::-1] for x in (pictures, true_keys, shown))
        vector = rounded(self.shape.vector(mesh[at[0]]), SHAPE_STEPS) * SHAPE_STEPS
        mesh_key = self.shape.mesh(vector.astype(np.float32))
        code = how.received(self.bank.coefficients(mesh, mesh[at[0]]))
        # a later key frame's mesh is what the motion says of its frame
        others = self.bank.meshes(code[at[1:]], mesh_key)
        return {
            "key": pictures,
            "key_mesh": np.concatenate([mesh_key[None], others]),
            "true_key": true_keys,
            "frames": shown,
            "mesh": self.bank.meshes(code[frames], mesh_key),
            "code": code[frames],
        }

    def batch(self, rng: np.random.Generator, count: int) -> list[dict[str, np.ndarray]]:
        """Random key frames and targets, of one clip each; every clip of as many key frames.

        Frames whose mesh is missing are never drawn.
        """
        out: list[dict[str, np.ndarray]] = []
        some = int(rng.integers(1, KEYS + 1))
        while len(out) < count:
            clip = int(rng.choice(len(self.by_clip), p=self.chance))
            row, keys = self.by_clip[clip]
            frames = rng.integers(EDGE, row["frames"] - EDGE, TARGETS)
            if rng.random() < NEIGHBOURS:
                frames[1::2] = frames[::2] + 1
            found = ~np.isnan(self.clips.mesh[row["start"] + frames, 0, 0])
            if not found.all() or len(keys) < some:
                continue
            how = Sent(int(rng.choice(STRIDES)), float(rng.choice(STEPS)))
            chosen = [int(k) for k in rng.choice(keys, some, replace=False)]
            out.append(self.one(clip, chosen, frames, how, bool(rng.integers(2))))
        return out


@dataclass(frozen=True)
class Sent:
    """How motion is sent: every so many frames, in steps of so much."""

    stride: int
    step: float

    def received(self, code: np.ndarray) -> np.ndarray:
        """Codes (T, K), NaN where there is no face -> what the decoder's estimate makes of them."""
        at = np.arange(0, len(code), self.stride)
        frames = np.arange(len(code))
        seen = np.flatnonzero(~np.isnan(code[:, 0]))
        code = np.stack([np.interp(frames, seen, column[seen]) for column in code.T], 1)
        sent = steady(code[at], self.step) * self.step
        return np.stack([np.interp(frames, at, column) for column in sent.T], 1).astype(np.float32)


def mirrored_points(mesh: np.ndarray) -> np.ndarray:
    """Which point of a mean mesh (478, 2) each point becomes in a mirror, int64 (478,)."""
    there = mesh * np.array([-1, 1], np.float32)
    away = np.linalg.norm(there[:, None] - mesh[None], axis=-1)
    return linear_sum_assignment(away + away.T)[1]


def tensors(batch: list[dict[str, np.ndarray]], device: str) -> dict:
    """One clip after the other, pictures scaled to -1..1 and channels first."""
    out = {}
    for name in batch[0]:
        x = torch.from_numpy(np.stack([b[name] for b in batch])).to(device).flatten(0, 1)
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

    def _render(self, nets: nn.ModuleDict, x: dict, clips: int) -> tuple[Tensor, Tensor]:
        """Pictures, and the restored key frames."""
        renderer = nets["renderer"]
        assert isinstance(renderer, Renderer)
        with self.autocast():
            key = renderer.key(x["key"], x["key_mesh"])
            some, times = len(x["key"]) // clips, len(x["frames"]) // clips
            each = [key.every(some, i).repeat(times) for i in range(some)]
            out = renderer(each, x["mesh"], x["code"])
        return out, key.picture.float()

    def begin(self, tensors: dict[str, Tensor]) -> None:
        grown(self.nets["renderer"], tensors, "renderer")

    def step(self, i: int) -> dict[str, float]:
        x = tensors(self.train.batch(self.rng, self.batch), self.o.device)
        out, restored = self._render(self.nets, x, self.batch)
        real = x["frames"]
        # mouth and eyes are where a viewer looks: their pixels weigh up to five times as much
        care = 1 + 4 * F.interpolate(part_maps(x["mesh"]), (256, 256), mode="bilinear").amax(1)
        wrong = out - real
        pixel = (wrong.abs().mean(1) * care).mean()
        # an error that stays is seen less than one that comes and goes; of frames far from each
        # other this says little, of neighbours it is the flicker
        change = (wrong[1::2] - wrong[::2]).abs().mean()
        keep = (restored - x["true_key"]).abs().mean()
        with self.autocast():
            seen = self.lpips(out, real).float().mean()
            half = self.lpips(_half(out), _half(real)).float().mean()
        loss = 2 * pixel + 0.5 * change + keep + seen + 0.5 * half
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
        how = Sent(1, float(STEPS[1]))
        found: dict[str, list[float]] = {"one": [], "two": [], "key": [], "frozen": []}
        for clip, (row, keys) in enumerate(self.held.by_clip):
            frames = np.linspace(EDGE, row["frames"] - EDGE, TARGETS).astype(int)
            for name, chosen in (("one", keys[:1]), ("two", keys[:2])):
                x = tensors([self.held.one(clip, chosen, frames, how)], self.o.device)
                out, restored = self._render(nets, x, 1)
                found[name].append(float(self.lpips(out.clamp(-1, 1), x["frames"]).mean()))
            kept = self.lpips(restored.clamp(-1, 1), x["true_key"]).mean()
            found["key"].append(float(kept))
            frozen = x["key"][:1].expand_as(out).contiguous()
            found["frozen"].append(float(self.lpips(frozen, x["frames"]).mean()))
        means = {name: float(np.mean(values)) for name, values in found.items()}
        return {"score": (means["one"] + means["two"]) / 2} | means

    def export(self, nets: nn.ModuleDict) -> dict[str, Tensor]:
        return {f"renderer.{k}": v for k, v in nets["renderer"].state_dict().items()}


def _half(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=0.5, mode="area")


def _hinge(told: Tensor) -> Tensor:
    real, fake = told.chunk(2)
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()
