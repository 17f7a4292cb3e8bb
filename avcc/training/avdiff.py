"""Stage ``avdiff``: truth of both modalities from what some operating point would have sent."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from avcc.analysis.mel import LogMel
from avcc.analysis.motion import MotionBank, ShapeBank
from avcc.diffusion.avdiff import MEL, AVDiff, Condition
from avcc.diffusion.schedule import MEL_UNSENT, between, mel_off
from avcc.layers import halve
from avcc.quantise.scalar import SHAPE_STEPS, STEPS, rounded
from avcc.stages import MOTION, SILENT, UNSENT
from avcc.training.acoustic import Speech, depths, voice_levels, voice_values
from avcc.training.contours import SENT, audible, contours, cut_of
from avcc.training.export import grown
from avcc.training.loop import Options, Stage
from avcc.training.motion import motion_paths
from avcc.training.talks import Talk, sung, talks
from avcc.training.tokens import heard

FRAMES = 100
STRIDES = (1, 2, 3, 5, 12)


class AVDiffStage(Stage):
    """Rectified-flow matching with a random operating point, random gaps and absent modalities."""

    name = "avdiff"
    batch = 16

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        torch.manual_seed(options.seed)
        work = options.work
        self.nets["avdiff"] = AVDiff(cross=not options.apart)
        self.optims["avdiff"] = self.adam(self.nets["avdiff"], 8e-4)
        arrays = np.load(work / "motion.npz")
        self.bank = MotionBank(arrays["motion.directions"])
        self.paths = motion_paths(options.work)
        self.shape = ShapeBank(arrays["shape.mean"], arrays["shape.directions"])
        self.scale = arrays["motion.scale"]
        self.speech = Speech(work, options.device)
        self.mel = LogMel().to(options.device)
        clips = talks(options.cache, work, "train", options.tier, options.device)
        self.talks = sung(options, "train", clips)
        self.spoken = heard(options, "train")
        waves = self.spoken.waves
        self.pitches = contours(options, "train", waves) if audible(work) else None
        weights = np.array([len(t) for t in self.talks], np.float64) ** 0.5
        self.chance = weights / weights.sum()
        held = sung(options, "val", talks(options.cache, work, "val", "PW", options.device))
        rng = np.random.default_rng(5)
        self.held = [t for t in held if t.wave is not None and len(t) > FRAMES + 1]
        self.held_batches = {
            name: self._assembled(self._sent(rng, [self._cut(rng, t) for t in self.held], **point))
            for name, point in HELD_POINTS.items()
        }

    def begin(self, tensors: dict[str, Tensor]) -> None:
        grown(self.nets["avdiff"], tensors, "avdiff")

    # -- one training example -------------------------------------------------------------------

    def _cut(self, rng: np.random.Generator, talk: Talk | None) -> dict:
        """Truth of one window; ``None``: a voice alone from the speech pack."""
        x: dict = {"mesh": None, "key": None, "wave": None, "tokens": None, "pitch": None}
        if talk is None:
            places = self.spoken.places(rng, 1, FRAMES)
            wave, tokens = self.spoken.cuts(places, FRAMES)
            if self.pitches is not None:
                x["pitch"] = cut_of(self.pitches, places, FRAMES)[0].numpy()
            return x | {"wave": wave[0].numpy(), "tokens": tokens[0].numpy()}
        assert talk.mesh is not None
        a = int(rng.integers(0, max(1, len(talk.mesh) - FRAMES)))
        mesh = talk.mesh[a : a + FRAMES]
        found = np.flatnonzero(~np.isnan(talk.mesh[:, 0, 0]))
        x["mesh"], x["key"] = mesh, talk.mesh[int(rng.choice(found))]
        if talk.wave is not None and talk.tokens is not None:
            x["wave"] = talk.wave[a * 640 : (a + FRAMES) * 640]
            x["tokens"] = talk.tokens[a : a + FRAMES]
            if talk.pitch is not None:
                x["pitch"] = talk.pitch[2 * a : 2 * (a + FRAMES)]
        return x

    def _sent(
        self,
        rng: np.random.Generator,
        cuts: list[dict],
        stride: int | None = None,
        step: int | None = None,
        layers: int | None = None,
        audio: bool | None = None,
    ) -> dict[str, np.ndarray]:
        """What of each cut some operating point would have sent, drawn at random where it isn't
        given, and the truth of it."""
        n = len(cuts)
        wave = np.zeros((n, FRAMES * 640), np.float32)
        tokens = np.full((n, FRAMES), UNSENT, np.int64)
        true = np.zeros((n, FRAMES, MOTION), np.float32)
        motion, m_off = np.zeros_like(true), np.ones_like(true)
        a_off = np.full((n, FRAMES, 1), MEL_UNSENT, np.float32)
        has_motion, has_audio = np.zeros((n, FRAMES, 1)), np.zeros((n, FRAMES, 1))
        shape = np.zeros((n, len(self.shape.directions)), np.float32)
        depth = np.zeros(n, np.int64)
        pitch = np.full((n, 2 * FRAMES), np.nan, np.float32)
        for i, x in enumerate(cuts):
            hole = np.zeros(FRAMES, bool)
            if rng.random() < 0.15 and stride is None:
                at = rng.integers(0, FRAMES)
                hole[at : at + rng.integers(10, 60)] = True
            if x["mesh"] is not None:
                count = len(x["mesh"])
                vector = rounded(self.shape.vector(x["key"]), SHAPE_STEPS) * SHAPE_STEPS
                shape[i] = vector[3:]
                code = self.bank.coefficients(x["mesh"], x["key"])
                seen = ~np.isnan(code[:, 0])
                which = int(rng.integers(0, len(STEPS))) if step is None else step
                size = STEPS[which]
                every = STRIDES[rng.integers(0, len(STRIDES))] if stride is None else stride
                if stride is None and rng.random() < 0.2:
                    every = 0
                kept = np.full((FRAMES, MOTION), np.nan, np.float32)
                if every:
                    kept[:count] = self.paths.received(code, int(every), which)
                    kept[:count][~seen] = np.nan
                if rng.random() < 0.7:
                    kept[hole] = np.nan
                motion[i], m_off[i] = between(kept / self.scale, size / self.scale)
                true[i, :count] = np.nan_to_num(code / self.scale)
                has_motion[i, :count, 0] = seen
            if x["wave"] is not None:
                count = len(x["tokens"])
                wave[i, : count * 640] = x["wave"]
                has_audio[i, :count] = 1
                sent = rng.random() < 0.8 if audio is None else audio
                fewest = self.speech.fewest
                drawn = depths(rng, 1, fewest)[0] if layers is None else layers
                depth[i] = max(drawn, fewest)
                if sent:
                    tokens[i, :count] = x["tokens"]
                    a_off[i, :count] = mel_off(int(depth[i]))
                    if x["pitch"] is not None and (layers is not None or rng.random() < SENT):
                        pitch[i, : len(x["pitch"])] = x["pitch"]
                    if rng.random() < 0.7:
                        tokens[i, hole], a_off[i, hole] = UNSENT, MEL_UNSENT

        return {
            "wave": wave,
            "token": tokens,
            "depth": depth,
            "pitch": pitch,
            "motion": motion,
            "motion_off": m_off,
            "mel_off": a_off,
            "shape": shape,
            "true": true,
            "has_audio": has_audio.astype(np.float32),
            "has_motion": has_motion.astype(np.float32),
        }

    def _assembled(
        self, sent: Mapping[str, np.ndarray | Tensor]
    ) -> tuple[Condition, Tensor, Tensor, Tensor, Tensor]:
        """Conditions, truths (B, T, 160) and (B, T, 20), and which of them count (B, T, 1)."""
        x = {name: torch.as_tensor(value).to(self.o.device) for name, value in sent.items()}
        token, has_audio = x["token"], x["has_audio"]
        mel = self.mel(x["wave"])
        with torch.no_grad(), self.autocast():
            heard = (token != SILENT) & (token != UNSENT)
            speaks = has_audio[..., 0] > 0
            voice = voice_values(voice_levels(self.speech.nets["voice"](mel, speaks).float()))
            # a file without sound has no voice code either
            voice = voice * speaks.any(1)[:, None]
            latent = self.speech.nets["encoder"](mel).float()
            acoustic, _ = self.speech.residuals(latent, x["depth"], heard)
            estimator = self.speech.nets["estimator"]
            guess = halve(estimator(token, acoustic, voice, x["pitch"]).float())
        # where nothing was sent the estimator's guess says nothing: the mean of speech is nearer
        unsent = (token == UNSENT)[..., None]
        guess = guess.masked_fill(unsent, 0.0)
        c = Condition(guess, x["motion"], x["mel_off"], x["motion_off"], voice, x["shape"])
        return c, halve(mel), x["true"], has_audio, x["has_motion"]

    # -- the stage ------------------------------------------------------------------------------

    def _flow_loss(
        self, net: nn.Module, data: tuple, ta: Tensor, tm: Tensor, noise: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        c, mel, motion, has_audio, has_motion = data
        goal_a = ((mel - c.mel) / c.mel_off).clamp(-8, 8)
        goal_m = ((motion - c.motion) / c.motion_off).clamp(-8, 8)
        # drawn on the CPU, so that a validation hears the same noise everywhere
        ea = torch.randn(goal_a.shape, generator=noise).to(goal_a.device)
        em = torch.randn(goal_m.shape, generator=noise).to(goal_m.device)
        ta, tm = ta.to(goal_a.device), tm.to(goal_m.device)
        xa = torch.lerp(goal_a, ea, ta[:, None, None])
        xm = torch.lerp(goal_m, em, tm[:, None, None])
        with self.autocast():
            va, vm = net(xa, xm, ta, tm, c)
        loss_a = ((va.float() - (ea - goal_a)).square() * has_audio).sum()
        loss_m = ((vm.float() - (em - goal_m)).square() * has_motion).sum()
        return (
            loss_a / (has_audio.sum().clamp(min=1) * MEL),
            loss_m / (has_motion.sum().clamp(min=1) * MOTION),
        )

    def _drawn(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        cuts = []
        for _ in range(self.batch):
            # a third of the voices come from the speech pack: more people than the clips have
            alone = rng.random() < 0.3
            talk = None if alone else self.talks[rng.choice(len(self.talks), p=self.chance)]
            cuts.append(self._cut(rng, talk))
        return self._sent(rng, cuts)

    def step(self, i: int) -> dict[str, float]:
        data = self._assembled(self.next(self._drawn))
        ta = torch.rand(self.batch)
        tm = torch.where(torch.rand(self.batch) < 0.6, ta, torch.rand(self.batch))
        last = torch.rand(self.batch) < 0.15  # pure noise: the first step matters most with few
        ta, tm = torch.where(last, 1.0, ta), torch.where(last, 1.0, tm)
        loss_a, loss_m = self._flow_loss(self.nets["avdiff"], data, ta, tm, None)
        self.descend("avdiff", loss_a + loss_m)
        return {"audio": loss_a.item(), "motion": loss_m.item()}

    def validate(self, nets: nn.ModuleDict) -> dict[str, float]:
        out = {}
        for name, data in self.held_batches.items():
            n = len(data[1])
            noise = torch.Generator().manual_seed(7)
            ta = (torch.arange(n) % 4 + 1) / 4
            a, m = self._flow_loss(nets["avdiff"], data, ta, ta, noise)
            out[f"{name}_a"], out[f"{name}_m"] = float(a), float(m)
        return {"score": sum(out.values()) / len(out)} | out

    def export(self, nets: nn.ModuleDict) -> dict[str, Tensor]:
        return {f"avdiff.{k}": v for k, v in nets["avdiff"].state_dict().items()}


HELD_POINTS: dict[str, dict] = {
    "low": {"stride": 3, "step": 2, "layers": 0, "audio": True},
    "mid": {"stride": 2, "step": 1, "layers": 2, "audio": True},
    "voice": {"stride": 0, "step": 1, "layers": 2, "audio": True},
    "lips": {"stride": 1, "step": 1, "layers": 0, "audio": False},
}
