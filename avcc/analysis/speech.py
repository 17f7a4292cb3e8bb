"""Waveform -> speech features: level, mel, silence, AudioMAE features where the model has semantic
tokens, acoustic latents, voice, pitch, signals that lips may follow."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from avcc.analysis.acoustic import AcousticEncoder, VoiceEncoder
from avcc.analysis.audiomae import AudioMAE
from avcc.analysis.mel import LEVEL, SILENCE, LogMel, active_level, powers
from avcc.analysis.pitch import likelihood
from avcc.follower import Follower
from avcc.layers import halve
from avcc.pitch import Pitch
from avcc.stages import LATENT, SAMPLES_PER_FRAME, VOICE

FAINT = 10 ** (-80 / 20)  # RMS of active speech below which a whole track is silence
QUIET = 10 ** (-61 / 20)  # a frame below this, 35 dB under the level of speech, is silence
WINDOW_FRAMES = 150  # 6 s: long voices are analysed in overlapping windows (4 s were trained)
OVERLAP = 25


def silent_frames(wave: np.ndarray) -> np.ndarray:
    """Which frames of a voice at ``LEVEL`` are silence: float32 (640 T,) -> bool (T,).

    A frame beside a sounding one is never silence: onsets and decays are quiet but heard.
    """
    sounds = powers(wave) > QUIET**2
    near = sounds.copy()
    near[1:] |= sounds[:-1]
    near[:-1] |= sounds[1:]
    return ~near


def windows(frames: int) -> list[tuple[int, int, int, int]]:
    """Overlapping windows: (start, end, first kept, last kept) in frames."""
    out = []
    for a in range(0, frames, WINDOW_FRAMES - 2 * OVERLAP):
        start, end = max(0, a - OVERLAP), min(frames, a + WINDOW_FRAMES - OVERLAP)
        out.append((start, end, a, min(frames, a + WINDOW_FRAMES - 2 * OVERLAP)))
    return out


def mae_features(mel: Tensor, mae: AudioMAE) -> np.ndarray:
    """Mel (1, 2 T, 80) -> AudioMAE features float32 (T, D), in windows of bounded size."""
    frames = mel.shape[1] // 2
    parts = []
    for start, end, first, last in windows(frames):
        x = mae(mel[:, 2 * start : 2 * end])[0]
        parts.append(x[first - start : last - start].float().cpu().numpy())
    return np.concatenate(parts) if parts else np.zeros((0, 1), np.float32)


def centred(features: np.ndarray, silent: np.ndarray) -> np.ndarray:
    """Features without the mean of the sounding frames: much of the speaker goes with it."""
    sounding = features[~silent]
    return features - (sounding.mean(0) if len(sounding) else 0)


@dataclass(frozen=True)
class Hearing:
    """A voice, analysed: ``semantic`` float32 (T, D) AudioMAE features, or (T, 1) of zeros where
    the model has no semantic tokens, ``acoustic`` float32 (T, 32) latents, ``silent`` bool (T,),
    ``voice`` float32 (24,) in -1..1, ``level``: RMS of active speech, 0 where all is silence;
    ``pitch`` float32 (2 T, 49), log likelihoods, ``lips`` float32 (T, 13), a follower's signals,
    ``None`` where nothing listened for them."""

    semantic: np.ndarray
    acoustic: np.ndarray
    silent: np.ndarray
    voice: np.ndarray
    level: float
    pitch: np.ndarray | None = None
    lips: np.ndarray | None = None


class Ear(nn.Module):
    """Every network that listens: AudioMAE, acoustic latents, voice code.

    ``words``: whether the model has semantic tokens; without them there is no AudioMAE.
    """

    def __init__(self, words: bool = True) -> None:
        super().__init__()
        self.mel = LogMel()
        self.mae = AudioMAE() if words else None
        self.encoder = AcousticEncoder()
        self.voice = VoiceEncoder()

    @torch.no_grad()
    def forward(
        self,
        wave: np.ndarray,
        frames: int,
        pitch: Pitch | None = None,
        lips: Follower | None = None,
    ) -> Hearing:
        """Waveform float32 (samples,) at 16 kHz, cut or filled to ``frames`` frames, heard.

        ``pitch``, ``lips``: the networks that help to find them; without one nothing looks for it.
        """
        whole = np.zeros(frames * SAMPLES_PER_FRAME, np.float32)
        whole[: len(wave)] = wave[: len(whole)]
        level = active_level(whole)
        if level < FAINT:
            return silence(frames)
        whole *= LEVEL / level
        found = self.heard(whole, silent_frames(whole), pitch, lips)
        return replace(found, semantic=centred(found.semantic, found.silent), level=level)

    @torch.no_grad()
    def heard(
        self,
        wave: np.ndarray,
        silent: np.ndarray,
        pitch: Pitch | None = None,
        lips: Follower | None = None,
    ) -> Hearing:
        """The same of a voice at ``LEVEL``, float32 (640 T,), whose silence (T,) is known; features
        aren't centred."""
        device = self.mel.bank.device
        features, latents, codes, weights, pitches, signals = [], [], [], [], [], []
        for start, end, first, last in windows(len(silent)):
            samples = wave[start * SAMPLES_PER_FRAME : end * SAMPLES_PER_FRAME]
            sound = torch.from_numpy(samples)[None].to(device)
            mel = self.mel(sound)
            kept = slice(first - start, last - start)
            sounding = torch.from_numpy(~silent[start:end])[None].to(device)
            if self.mae is None:
                features.append(np.zeros((last - first, 1), np.float32))
            else:
                features.append(self.mae(mel)[0, kept].float().cpu().numpy())
            latents.append(self.encoder(mel)[0, kept].float().cpu().numpy())
            codes.append(self.voice(mel, sounding)[0].float().cpu().numpy())
            weights.append(float(sounding.sum()) + 1e-6)
            if pitch is not None:
                pitches.append(likelihood(sound, mel, pitch)[2 * kept.start : 2 * kept.stop])
            if lips is not None:
                still = (~sounding).float()
                quiet = halve(mel).masked_fill(~sounding[..., None], SILENCE)
                told = lips.signals(quiet, still, torch.zeros_like(still))
                signals.append(told[0, kept].float().cpu().numpy())
        return Hearing(
            np.concatenate(features),
            np.concatenate(latents),
            silent,
            np.average(np.stack(codes), 0, weights).astype(np.float32),
            LEVEL,
            np.concatenate(pitches) if pitches else None,
            np.concatenate(signals) if signals else None,
        )


def silence(frames: int) -> Hearing:
    """What is heard where there is nothing to hear."""
    nothing = np.zeros((frames, 1), np.float32)
    latents = np.zeros((frames, LATENT), np.float32)
    return Hearing(nothing, latents, np.ones(frames, bool), np.zeros(VOICE, np.float32), 0.0)
