"""What the decoded symbols say, window by window, in the units that AVDiff works in."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from avcc.analysis.mel import SILENCE
from avcc.diffusion.avdiff import Condition
from avcc.diffusion.driver import Driver, audible, filled
from avcc.diffusion.estimate import Estimator
from avcc.diffusion.inbetween import Inbetween
from avcc.diffusion.schedule import DRIVEN_OFF, MEL_UNSENT, between, gaps, mel_off
from avcc.follower import Follower
from avcc.layers import halve
from avcc.stages import BANDS, UNSENT, VOICE, Features, Latents

# Tokens estimated at a time, and beyond each side: driver, follower and in-betweens hear 12, the
# estimator 18 of them. In-betweens follow what was sent of all of them.
WINDOW, MARGIN = 250, 40


class Conditions:
    """Of one clip; call it with a window (first, last) of tokens.

    ``scale``: float32 (K,), spread of each motion coefficient; ``step``: float32 (N,), of their
    quantiser; ``layers``: int (N,), acoustic layers sent; ``shape``: float32 (24,), of the key
    face; ``sound``: whether the clip has any; ``driver``: what moves the mouth where no motion was
    sent; ``follower``: the same where it is known how lips follow the voice; ``inbetween``: between
    frames of which motion was sent. Each if there is such.
    """

    def __init__(
        self,
        estimator: Estimator,
        features: Features,
        scale: np.ndarray,
        *,
        step: np.ndarray,
        layers: np.ndarray,
        shape: np.ndarray,
        sound: bool,
        device: str,
        driver: Driver | None = None,
        inbetween: Inbetween | None = None,
        follower: Follower | None = None,
    ) -> None:
        self._features, self._scale, self._device = features, scale, device
        self._voice = self._tensor(features.voice[:VOICE] * sound)
        self._shape = self._tensor(shape)
        self._estimator, self._driver, self._inbetween = estimator, driver, inbetween
        self._follower = None if features.lips is None else follower
        unsent = features.semantic == UNSENT
        self._motion, self._motion_off = between(features.motion / scale, step[:, None] / scale)
        self._sent = ~np.isnan(features.motion[:, 0])
        lost = _in_gaps(self._sent)
        self._share = audible(unsent) * lost * (driver is not None)
        off = audible(unsent) * ~lost * ~self._sent * self._sent.any()
        self._off, self._straight = off * (inbetween is not None), self._motion.copy()
        self._driven = np.zeros_like(self._motion)
        self._mel_off = np.where(unsent, MEL_UNSENT, mel_off(layers))[:, None]
        self._mel = np.zeros((len(unsent), 2 * BANDS), np.float32)
        self._known: set[int] = set()  # where the windows start that ``_mel`` holds already

    def __call__(self, first: int, last: int) -> Condition:
        if not self._known and self._sent.any() and self._share.any():
            self._fill()
        for a in range(first // WINDOW * WINDOW, last, WINDOW):
            if a not in self._known:
                self._estimate(a)
        w = slice(first, last)
        parts = (self._mel, self._motion, self._mel_off, self._motion_off)
        mel, motion, mel_off, motion_off = (self._tensor(p[w])[None] for p in parts)
        return Condition(mel, motion, mel_off, motion_off, self._voice[None], self._shape[None])

    def latents(self, mel: np.ndarray, motion: np.ndarray) -> Latents:
        """AVDiff's mel (N, 160) and motion (N, K), in its units, as latents."""
        frames = mel.reshape(-1, BANDS).copy()
        frames[np.repeat(self._features.silent, 2)] = SILENCE
        return Latents((motion * self._scale).astype(np.float32), frames)

    def _fill(self) -> None:
        """Put the driver into gaps between sent frames: that takes all that it says."""
        assert self._driver is not None
        for a in range(0, len(self._sent), WINDOW):
            self._estimate(a)
        mouth = self._driver.mouth.cpu().numpy()
        self._motion = filled(self._motion, self._sent, self._driven, self._share, mouth)

    @torch.inference_mode()
    def _estimate(self, a: int) -> None:
        """Fill in the deterministic estimate of the window that starts at ``a``."""
        f, w = self._features, slice(max(0, a - MARGIN), a + WINDOW + MARGIN)
        here = slice(a, a + WINDOW)
        token = torch.from_numpy(f.semantic[w]).to(self._device)[None]
        pitch = None if f.pitch is None else self._tensor(f.pitch[2 * w.start : 2 * w.stop])[None]
        acoustic = self._tensor(f.acoustic[w])[None]
        mel = self._estimator(token, acoustic, self._voice[None], pitch)
        # Where nothing was sent the estimator's guess says nothing: the mean of speech is nearer.
        mel = halve(mel.float()).masked_fill((token == UNSENT)[..., None], 0)
        self._mel[here] = mel[0, a - w.start :][:WINDOW].cpu().numpy()
        self._known.add(a)
        silent, unsent = self._tensor(f.silent[w])[None], (token == UNSENT).float()
        heard = mel.masked_fill(silent[..., None] > 0, SILENCE), silent, unsent
        if self._driver is not None and self._share[here].any():
            moved = self._moved(*heard)
            self._driven[here] = moved[0, a - w.start :][:WINDOW].float().cpu().numpy()
            if not self._sent.any():
                self._motion[here] = self._share[here, None] * self._driven[here]
                self._motion_off[here] = DRIVEN_OFF
        known = np.flatnonzero(self._sent[w])
        if self._inbetween is not None and self._off[here].any() and len(known):
            straight, sent = self._tensor(self._straight[w])[None], torch.from_numpy(known)
            moved = self._inbetween(*heard, straight, sent.to(self._device))
            moved = moved[0, a - w.start :][:WINDOW].float().cpu().numpy()
            self._motion[here] = self._straight[here] + self._off[here, None] * moved

    def _moved(self, *heard: Tensor) -> Tensor:
        """The mouth by the voice alone."""
        if self._follower is not None and self._features.lips is not None:
            return self._follower(*heard, self._tensor(self._features.lips)[None])
        assert self._driver is not None
        return self._driver(*heard, self._shape[None])

    def _tensor(self, x: np.ndarray) -> Tensor:
        return torch.from_numpy(np.asarray(x, np.float32)).to(self._device)


def _in_gaps(sent: np.ndarray) -> np.ndarray:
    """Which frames lie in a gap, bool (T,)."""
    out = np.zeros(len(sent), bool)
    for first, last in gaps(sent):
        out[first:last] = True
    return out
