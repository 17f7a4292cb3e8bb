"""Stage ``vocoder``: mel -> waveform, by spectral distances first and discriminators after."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from avcc.analysis.mel import LogMel
from avcc.render.voice import Vocoder
from avcc.training import discriminators as judge
from avcc.training.data import voices
from avcc.training.loop import Options, Stage

SAMPLES = 32 * 640 // 2  # 0.64 s a cut


def spectral_loss(out: Tensor, real: Tensor) -> Tensor:
    """Multi-resolution STFT distance: spectral convergence and log magnitude (Yamamoto 2020)."""
    total = out.new_zeros(())
    for window in (256, 512, 1024, 2048):
        hann = torch.hann_window(window, device=out.device)
        a, b = (
            torch.stft(x, window, window // 4, window=hann, return_complex=True).abs().clamp(1e-5)
            for x in (out, real)
        )
        total = total + (a - b).norm() / b.norm() + (a.log() - b.log()).abs().mean()
    return total / 4


class VocoderStage(Stage):
    """Generator and judges; the judges join after 3,000 steps."""

    name = "vocoder"
    batch = 8

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        torch.manual_seed(options.seed)
        self.nets["vocoder"] = Vocoder()
        self.nets["judges"] = judge.VoiceJudges()
        self.optims["vocoder"] = self.adam(self.nets["vocoder"], 5e-4, betas=(0.8, 0.95))
        self.optims["judges"] = self.adam(self.nets["judges"], 3e-4, betas=(0.8, 0.95))
        self.train = voices(options.cache, "train", options.tier)
        self.held = voices(options.cache, "val").batch(np.random.default_rng(1), 64, 64000)
        self.mel = LogMel().to(options.device)
        self.start = options.judge_from

    def step(self, i: int) -> dict[str, float]:
        real = self.train.batch(self.rng, self.batch, SAMPLES).to(self.o.device)
        mel = self.mel(real)
        # a little noise on the mel: at the decoder it is never exact
        noisy = mel + 0.05 * torch.rand((), device=mel.device) * torch.randn_like(mel)
        with self.autocast():
            fake = self.nets["vocoder"](noisy)
        mel_loss = (self.mel(fake) - mel).abs().mean()
        stft_loss = spectral_loss(fake, real)
        loss = 15 * mel_loss + 2 * stft_loss
        out = {"mel": mel_loss.item(), "stft": stft_loss.item()}
        if i >= self.start:
            with self.autocast():
                seen_real, seen_fake = self.nets["judges"](real), self.nets["judges"](fake.detach())
                bad = judge.judge_loss(seen_real, seen_fake)
            self._descend("judges", bad)
            self.nets["judges"].requires_grad_(False)
            with self.autocast():
                seen_fake = self.nets["judges"](fake)
                fool = judge.fooling_loss(seen_fake)
                match = judge.matching_loss(seen_real, seen_fake)
            self.nets["judges"].requires_grad_(True)
            loss = loss + fool + 4 * match
            out |= {"judge": bad.item(), "fool": fool.item(), "match": match.item()}
        self._descend("vocoder", loss)
        return out

    def _descend(self, which: str, loss: Tensor) -> None:
        self.optims[which].zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.nets[which].parameters(), 10.0)
        self.optims[which].step()

    def validate(self, nets: nn.ModuleDict) -> dict[str, float]:
        real = self.held.to(self.o.device)
        mel = self.mel(real)
        fake = nets["vocoder"](mel)
        mel_loss = float((self.mel(fake) - mel).abs().mean())
        # judged weights sound better at a slightly worse distance: the newest win
        return {"score": -self._steps(), "mel": mel_loss, "stft": float(spectral_loss(fake, real))}

    def _steps(self) -> float:
        state = self.optims["vocoder"].state
        return float(next(iter(state.values()))["step"]) if state else 0.0

    def export(self, nets: nn.ModuleDict) -> dict[str, Tensor]:
        return {f"vocoder.{k}": v for k, v in nets["vocoder"].state_dict().items()}
