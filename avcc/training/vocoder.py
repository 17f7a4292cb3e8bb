"""Stage ``vocoder``: mel -> waveform, by spectral distances, and by discriminators after."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from avcc.analysis.mel import LogMel
from avcc.pitch import pitch_of, place
from avcc.render.voice import Vocoder, filtered
from avcc.training import discriminators as judge
from avcc.training.acoustic import Speech, depths
from avcc.training.export import grown
from avcc.training.loop import Options, Stage
from avcc.training.voiced import filled, share_right, voiced

FRAMES = 100  # 4 s that the estimator sees
SAMPLES = 32 * 640  # of them, the 1.28 s that become sound
CLIP = 10.0  # of a gradient's norm
KNOWN = 0.25  # share of the cuts whose mel is the true one


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


class Decoded:
    """True voices and the mel that the estimator makes of their symbols, as at the decoder."""

    def __init__(self, options: Options) -> None:
        self.train = voiced(options, "train")
        self.held = voiced(options, "val")
        self.speech = Speech(options.work, options.device)
        self.mel = LogMel().to(options.device)

    @torch.no_grad()
    def mels(self, wave: Tensor, token: Tensor, layers: Tensor) -> tuple[Tensor, Tensor]:
        """Waveforms (B, 640 T), tokens (B, T), layers (B,) -> true and decoded mel (B, 2 T, 80)."""
        mel = self.mel(wave)
        return mel, self.speech.decoded(mel, token, layers)


class Cuts(NamedTuple):
    """What a step learns from: a waveform (B, SAMPLES), of its mel frames the true mel, the one
    that the vocoder is given, and the pitch in Hz, 0 where there is none."""

    wave: Tensor
    mel: Tensor
    given: Tensor
    pitch: Tensor


class VocoderStage(Stage):
    """Generator and judges; the judges join after ``judge_from`` steps.

    Most mels are decoded ones, of any number of acoustic layers: those are smooth where the voice
    is not known, and the vocoder learns to make up what is missing. The pulses have the true pitch,
    or no harmonic would be where the true voice has it; the network that finds the pitch learns
    beside.
    """

    name = "vocoder"
    batch = 8

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        torch.manual_seed(options.seed)
        self.nets["vocoder"] = Vocoder()
        self.nets["judges"] = judge.VoiceJudges()
        self.optims["vocoder"] = self.adam(self.nets["vocoder"], 4e-4, betas=(0.8, 0.95))
        self.optims["judges"] = self.adam(self.nets["judges"], 4e-4, betas=(0.8, 0.95))
        self.voices = Decoded(options)
        self.mel = self.voices.mel
        self.held = self.voices.held.batch(np.random.default_rng(1), 48, FRAMES)
        self.start = options.judge_from

    def begin(self, tensors: dict[str, Tensor]) -> None:
        grown(self.nets["vocoder"], tensors, "vocoder")

    def _drawn(self, rng: np.random.Generator) -> tuple[Tensor, ...]:
        """Waveforms, tokens and pitches of FRAMES, layers, whose mel is known (B,), where cuts
        begin."""
        drawn = self.voices.train.batch(rng, self.batch, FRAMES)
        layers = depths(rng, self.batch, self.voices.speech.fewest)
        known = rng.random(self.batch) < KNOWN
        first = rng.integers(0, FRAMES - SAMPLES // 640 + 1, self.batch)
        return *drawn, *(torch.from_numpy(x) for x in (layers, known, first))

    def _cuts(self) -> tuple[Cuts, Tensor]:
        """The cuts, and what finding the pitch costs over the whole of what was drawn."""
        drawn = (x.to(self.o.device) for x in self.next(self._drawn))
        wave, token, pitch, layers, known, first = drawn
        mel, given = self.voices.mels(wave, token, layers)
        # a little noise on the mel: at the decoder it is never exact
        noisy = mel + 0.05 * torch.rand((), device=mel.device) * torch.randn_like(mel)
        given = torch.where(known[:, None, None], noisy, given)
        with self.autocast():
            likely = self.net.pitch(given)
        rows = 2 * first[:, None] + torch.arange(SAMPLES // 320, device=mel.device)
        at = 640 * first[:, None] + torch.arange(SAMPLES, device=mel.device)
        bands = rows[..., None].expand(-1, -1, mel.shape[2])
        cuts = Cuts(*(wave.gather(1, at), mel.gather(1, bands), given.gather(1, bands)),
                    filled(pitch).gather(1, rows))  # fmt: skip
        return cuts, pitch_loss(likely, pitch)

    @property
    def net(self) -> Vocoder:
        net = self.nets["vocoder"]
        assert isinstance(net, Vocoder)
        return net

    def step(self, i: int) -> dict[str, float]:
        cuts, off_pitch = self._cuts()
        with self.autocast():
            filters = self.net.filters(cuts.given)
        noise = torch.randn_like(cuts.wave)
        fake = filtered(filters, cuts.pitch, noise, self.net.window)
        mel_loss = (self.mel(fake) - cuts.mel).abs().mean()
        stft_loss = spectral_loss(fake, cuts.wave)
        loss = 10 * mel_loss + stft_loss + off_pitch
        out = {"mel": mel_loss.item(), "stft": stft_loss.item(), "pitch": off_pitch.item()}
        if i >= self.start:
            with self.autocast():
                seen_real = self.nets["judges"](cuts.wave)
                seen_fake = self.nets["judges"](fake.detach())
                bad = judge.judge_loss(seen_real, seen_fake)
            self.descend("judges", bad, CLIP)
            self.nets["judges"].requires_grad_(False)
            with self.autocast():
                seen_fake = self.nets["judges"](fake)
                fool = judge.fooling_loss(seen_fake)
                match = judge.matching_loss(seen_real, seen_fake)
            self.nets["judges"].requires_grad_(True)
            loss = loss + 2 * fool + 4 * match
            out |= {"judge": bad.item(), "fool": fool.item(), "match": match.item()}
        self.descend("vocoder", loss, CLIP)
        return out

    def validate(self, nets: nn.ModuleDict) -> dict[str, float]:
        """``right``: how often the pitch is, of voiced frames; distances are with the pitch that
        was found, as at the decoder."""
        wave, token, pitch = (x.to(self.o.device) for x in self.held)
        net = nets["vocoder"]
        assert isinstance(net, Vocoder)
        make = torch.Generator(wave.device).manual_seed(0)
        noise = torch.randn(wave.shape, generator=make, device=wave.device)
        # judged weights sound better at a slightly worse distance: the newest win
        out = {"score": -self._steps()}
        for layers in (0, 2, 6, None):
            sent = torch.full((len(wave),), layers or 0, device=wave.device)
            mel, given = self.voices.mels(wave, token, sent)
            given = mel if layers is None else given
            found = pitch_of(net.pitch, given)
            fake = net(given, found, noise)
            name = "" if layers is None else str(layers)
            out[f"right{name}"] = share_right(found, pitch)
            out[f"mel{name}"] = float((self.mel(fake) - mel).abs().mean())
        return out | {"stft": float(spectral_loss(fake, wave))}

    def _steps(self) -> float:
        state = self.optims["vocoder"].state
        return float(next(iter(state.values()))["step"]) if state else 0.0

    def export(self, nets: nn.ModuleDict) -> dict[str, Tensor]:
        return {f"vocoder.{k}": v for k, v in nets["vocoder"].state_dict().items()}


def pitch_loss(likely: Tensor, pitch: Tensor) -> Tensor:
    """Cross entropy of log probabilities (B, T, 96) and pitch (B, T) in Hz where there is one, the
    classes beside the right one counting a little."""
    there = pitch > 0
    if not there.any():
        return likely.sum() * 0
    classes = torch.arange(likely.shape[-1], device=likely.device)
    near = (-(classes - place(pitch[there])[:, None]).square() / 2).exp()
    return -(near / near.sum(1, keepdim=True) * likely[there]).sum(1).mean()
