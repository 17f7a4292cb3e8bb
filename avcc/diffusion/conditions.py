"""What the decoded symbols say, window by window, in the units that AVDiff works in."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from avcc.analysis.mel import SILENCE
from avcc.diffusion.avdiff import Condition
from avcc.diffusion.estimate import Estimator
from avcc.diffusion.schedule import MEL_UNSENT, between, mel_off
from avcc.layers import halve
from avcc.stages import BANDS, UNSENT, VOICE, Features, Latents

WINDOW, MARGIN = 250, 25  # tokens estimated at a time, and beyond each side


class Conditions:
    """Of one clip; call it with a window (first, last) of tokens.

    ``scale``: float32 (K,), spread of each motion coefficient; ``step``: of their quantiser;
    ``layers``: acoustic layers sent; ``shape``: float32 (24,), of the key face; ``sound``: whether
    the clip has any.
    """

    def __init__(
        self,
        estimator: Estimator,
        features: Features,
        scale: np.ndarray,
        *,
        step: float,
        layers: int,
        shape: np.ndarray,
        sound: bool,
        device: str,
    ) -> None:
        self._features, self._scale, self._device = features, scale, device
        self._voice = self._tensor(features.voice[:VOICE] * sound)
        self._shape = self._tensor(shape)
        self._estimator = estimator
        unsent = features.semantic == UNSENT
        self._motion, self._motion_off = between(features.motion / scale, step / scale)
        self._mel_off = np.where(unsent, MEL_UNSENT, mel_off(layers, True))[:, None]
        self._mel = np.zeros((len(unsent), 2 * BANDS), np.float32)
        self._known: set[int] = set()  # where the windows start that ``_mel`` holds already

    def __call__(self, first: int, last: int) -> Condition:
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

    @torch.inference_mode()
    def _estimate(self, a: int) -> None:
        """Fill in the deterministic estimate of the window that starts at ``a``."""
        f, w = self._features, slice(max(0, a - MARGIN), a + WINDOW + MARGIN)
        token = torch.from_numpy(f.semantic[w]).to(self._device)[None]
        mel = self._estimator(token, self._tensor(f.acoustic[w])[None], self._voice[None])
        found = halve(mel.float())[0, a - w.start :][:WINDOW].cpu().numpy()
        # Where nothing was sent the estimator's guess says nothing: the mean of speech is nearer.
        unsent = f.semantic[a : a + WINDOW] == UNSENT
        self._mel[a : a + WINDOW] = np.where(unsent[:, None], 0, found)
        self._known.add(a)

    def _tensor(self, x: np.ndarray) -> Tensor:
        return torch.from_numpy(np.asarray(x, np.float32)).to(self._device)
