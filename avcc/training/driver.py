"""Stage ``driver``: how the mouth moves with what the decoder hears."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avcc.analysis.mel import SCALE, SILENCE, LogMel
from avcc.analysis.motion import MotionBank, ShapeBank
from avcc.diffusion.driver import Driver
from avcc.evaluation.picture import correlation, mouth_openings
from avcc.layers import halve
from avcc.mesh import LIPS, face_size
from avcc.stages import BANDS, SILENT
from avcc.training.acoustic import Speech
from avcc.training.export import grown
from avcc.training.loop import Options, Stage
from avcc.training.mouth import Mouth, gaps
from avcc.training.talks import Talk, talks

FRAMES = 96
LAYERS = (0, 2, 6)  # acoustic layers of the mels that are heard, beside the true one
KEYS = 0.4  # share of a clip's frames, the most typical, that may be its key frame
MOVED = 0.1  # mouth of one unit of the network's output, so that outputs are near one
CORRELATION = 3.0  # weight of the correlation of openings against the lips' distance
KNOTS = np.linspace(0, BANDS - 1, 6)


@dataclass(frozen=True)
class Take:
    """One clip of T frames: ``mels`` float16 (1 + layers, T, 160), the true one first; ``silent``
    bool (T,); ``places`` float32 (T, K) on the motion directions, straight over gaps; of the
    frames with a face: ``mesh`` (T, 478, 2), ``size`` (T,), ``shape`` (T, 24); ``keys``: frames
    that may be the key frame, the best first."""

    mels: np.ndarray
    silent: np.ndarray
    places: np.ndarray
    mesh: np.ndarray
    size: np.ndarray
    shape: np.ndarray
    keys: np.ndarray

    def coefficients(self, key: int) -> np.ndarray:
        """Motion (T, K) relative to one frame."""
        return (self.places - self.places[key]) / self.size[key]


class DriverStage(Stage):
    """Distance of the lips, and correlation of their openings, over cuts of a few seconds."""

    name = "driver"
    batch = 16

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        torch.manual_seed(options.seed)
        arrays = np.load(options.work / "motion.npz")
        self.bank = MotionBank(arrays["motion.directions"])
        self.shapes = ShapeBank(arrays["shape.mean"], arrays["shape.directions"])
        self.scale = arrays["motion.scale"]
        driver = Driver(dropout=0.2)
        self.mouth = Mouth.of(self.bank, self.scale, len(driver.mouth))
        driver.mouth.copy_(torch.from_numpy(self.mouth.directions) * MOVED)
        self.nets["driver"] = driver
        self.optims["driver"] = self.adam(driver, 2e-3, weight_decay=0.05)
        self.speech = Speech(options.work, options.device)
        self.mel = LogMel().to(options.device)
        self.takes = self._takes("train", options.tier)
        self.held = self._takes("val", "PW")
        weights = np.array([len(t.silent) for t in self.takes], np.float64) ** 0.7
        self.chance = weights / weights.sum()

    def begin(self, tensors: dict[str, Tensor]) -> None:
        driver = self.nets["driver"]
        assert isinstance(driver, Driver)
        grown(driver, tensors, "driver")
        driver.rest.copy_(tensors["driver.rest"])

    # -- the material ---------------------------------------------------------------------------

    def _takes(self, split: str, tier: str) -> list[Take]:
        """Every clip of a split in which a face is seen and a voice is heard."""
        found = talks(self.o.cache, self.o.work, split, tier, self.o.device)
        return [self._take(t) for t in found if t.wave is not None]

    @torch.no_grad()
    def _take(self, talk: Talk) -> Take:
        mesh, wave, tokens = talk.mesh, talk.wave, talk.tokens
        assert mesh is not None and wave is not None and tokens is not None
        mel = self.mel(torch.from_numpy(wave)[None].to(self.o.device))
        silent, token = tokens == SILENT, torch.from_numpy(tokens)[None].to(mel.device)
        least = self.speech.fewest
        depths = torch.tensor([max(n, least) for n in LAYERS], device=mel.device).split(1)
        mels = [mel, *(self.speech.decoded(mel, token, layers) for layers in depths)]
        stack = halve(torch.cat(mels)).cpu().numpy()
        stack[:, silent] = SILENCE
        seen = np.flatnonzero(~np.isnan(mesh[:, 0, 0]))
        places = np.stack([self.bank.project(m) for m in mesh[seen]])
        frames = np.arange(len(mesh))
        whole = np.stack([np.interp(frames, seen, column) for column in places.T], 1)
        shape = np.zeros((len(mesh), len(self.shapes.directions)), np.float32)
        shape[seen] = [self.shapes.vector(m)[3:] for m in mesh[seen]]
        keys = seen[_typical(places, mesh[seen])]
        keys = keys[: max(1, int(KEYS * len(keys)))]
        size = face_size(mesh)
        return Take(
            stack.astype(np.float16), silent, whole.astype(np.float32), mesh, size, shape, keys
        )

    def _drawn(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """A batch of cuts, played a little faster or slower, by another voice in another room."""
        rows = []
        for _ in range(self.batch):
            take = self.takes[rng.choice(len(self.takes), p=self.chance)]
            count, pace = len(take.silent), np.exp(rng.uniform(-0.15, 0.15))
            first = rng.uniform(0, max(0.0, count - 1 - pace * FRAMES))
            at = first + pace * np.arange(FRAMES)
            inside, at = at <= count - 1, np.minimum(at, count - 1)
            mel = _between(take.mels[rng.integers(0, len(take.mels))], at)
            silent = take.silent[at.round().astype(int)]
            unsent = np.zeros(FRAMES, bool)
            if rng.random() < 0.15:
                begin = rng.integers(0, FRAMES)
                unsent[begin : begin + rng.integers(10, 60)] = True
            key = int(rng.choice(take.keys))
            goal = (_between(take.places, at) - take.places[key]) / take.size[key] / self.scale
            mel = np.where(unsent[:, None], np.float32(0), disguised(rng, mel))
            rows.append(
                {
                    "mel": mel,
                    "silent": silent & ~unsent,
                    "unsent": unsent,
                    "shape": take.shape[key],
                    "goal": goal,
                    "gap": gaps(take.mesh[key : key + 1])[0] / take.size[key],
                    "counts": inside & ~unsent,
                }
            )
        return {k: np.stack([row[k] for row in rows]).astype(np.float32) for k in rows[0]}

    # -- the stage ------------------------------------------------------------------------------

    def _losses(self, made: Tensor, x: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Distance of the lips' shape, and one less the correlation of openings."""
        shape, gap = (
            torch.from_numpy(m).to(made.device) for m in (self.mouth.shape, self.mouth.gap)
        )
        off = (made - x["goal"]) @ shape
        counts = x["counts"]
        each = F.huber_loss(5 * off, torch.zeros_like(off), reduction="none").mean(-1)
        total = counts.sum(1, keepdim=True).clamp(min=1)

        def opening(motion: Tensor) -> Tensor:
            vector = x["gap"][:, None] + torch.einsum("btk,kpc->btpc", motion, gap)
            size = vector.norm(dim=-1).mean(-1)
            return (size - (size * counts).sum(1, keepdim=True) / total) * counts

        a, b = opening(made), opening(x["goal"])
        power = b.square().sum(1)
        alike = (a * b).sum(1) / (a.square().sum(1) * power + 1e-8).sqrt()
        weight = (power.sqrt() / power.sqrt().mean().clamp(min=1e-6)).clamp(max=2)
        return (each * counts).sum() / counts.sum().clamp(min=1), (weight * (1 - alike)).mean()

    def step(self, i: int) -> dict[str, float]:
        drawn = self.next(self._drawn)
        x = {k: torch.as_tensor(v).to(self.o.device) for k, v in drawn.items()}
        net = self.nets["driver"]
        with self.autocast():
            made = net(x["mel"], x["silent"], x["unsent"], x["shape"]).float()
        lips, apart = self._losses(made, x)
        self.optims["driver"].zero_grad(set_to_none=True)
        (lips + CORRELATION * apart).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        self.optims["driver"].step()
        return {"lips": lips.item(), "correlation": 1 - apart.item()}

    def validate(self, nets: nn.ModuleDict) -> dict[str, float]:
        """Mean correlation of openings, their spread as a share of the true one, and the distance
        of the lips (about their own centre, % of the eyes) beside that of a still face."""
        rows = []
        for take in self.held:
            key = int(take.keys[0])
            seen = ~np.isnan(take.size)
            told = [take.mels[-1].astype(np.float32), take.silent, np.zeros(len(seen), bool)]
            mel, silent, unsent = (
                torch.from_numpy(np.asarray(v, np.float32)).to(self.o.device)[None] for v in told
            )
            shape = torch.from_numpy(take.shape[key])[None].to(self.o.device)
            made = nets["driver"](mel, silent, unsent, shape)[0].float().cpu().numpy() * self.scale
            true, moved, still = (
                self.bank.meshes(c, take.mesh[key])[seen]
                for c in (take.coefficients(key), made, np.zeros_like(made))
            )
            opened, opens = mouth_openings(true), mouth_openings(moved)
            alike = correlation(opened, opens)
            spread = opens.std() / max(float(opened.std()), 1e-6)
            rows.append([alike, spread, _lips_off(moved, true), _lips_off(still, true)])
        alike, spread, lips, still = np.nanmean(rows, 0) if rows else np.zeros(4)
        figures = {"correlation": alike, "spread": spread, "lips": lips, "still": still}
        return {"score": 1 - float(alike)} | {k: float(v) for k, v in figures.items()}

    def export(self, nets: nn.ModuleDict) -> dict[str, Tensor]:
        return {f"driver.{k}": v for k, v in nets["driver"].state_dict().items()}


def disguised(rng: np.random.Generator, mel: np.ndarray) -> np.ndarray:
    """Mel (T, 160) of another speaker, room and level: formants moved, coloured, at times with
    noise under it or without some bands."""
    x = mel.reshape(len(mel), 2, BANDS)
    at = np.arange(BANDS) * np.exp(0.12 * rng.normal()) + 0.5 * rng.normal()
    low = np.clip(at.astype(int), 0, BANDS - 2)
    part = np.clip(at - low, 0, 1).astype(np.float32)
    x = x[:, :, low] * (1 - part) + x[:, :, low + 1] * part
    x = x + _curve(0.15 * rng.normal(size=len(KNOTS)) + 0.1 * rng.normal())
    if rng.random() < 0.3:
        noise = _curve(rng.uniform(-1.6, -0.3) + 0.3 * rng.normal(size=len(KNOTS)))
        noise = noise + 0.2 * rng.normal(size=x.shape)
        x = np.logaddexp(SCALE * x, SCALE * noise) / SCALE
    x = np.maximum(x, SILENCE)
    if rng.random() < 0.5:
        first = rng.integers(0, BANDS - 10)
        x[:, :, first : first + rng.integers(2, 14)] = 0
    return x.reshape(mel.shape).astype(np.float32)


def _curve(knots: np.ndarray) -> np.ndarray:
    return np.interp(np.arange(BANDS), KNOTS, knots)


def _between(x: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Rows of ``x`` at fractional places, straight between."""
    low = at.astype(int)
    high = np.minimum(low + 1, len(x) - 1)
    part = (at - low)[:, None].astype(np.float32)
    return x[low].astype(np.float32) * (1 - part) + x[high].astype(np.float32) * part


def _typical(places: np.ndarray, mesh: np.ndarray) -> np.ndarray:
    """Order of frames by how well they would do as key frame, much as ``analysis.keys`` has it."""
    others = places[:: max(1, len(places) // 96)]
    away = np.linalg.norm(places[:, None] - others[None], axis=-1).mean(1) / face_size(mesh)
    opened = np.linalg.norm(gaps(mesh), axis=-1).mean(1)
    best = np.quantile(opened, 0.6)
    return np.argsort((away + 0.05) * (1 + 0.7 * abs(opened - best) / (best + 0.02)))


def _lips_off(mesh: np.ndarray, true: np.ndarray) -> float:
    """Distance of the lips about their own centre, in % of the eye distance."""
    eyes = np.linalg.norm(true[:, 33] - true[:, 263], axis=-1)[:, None]
    off = (mesh - true)[:, list(LIPS)]
    return float((np.linalg.norm(off - off.mean(1, keepdims=True), axis=-1) / eyes).mean() * 100)
