"""Pitch: mel frames -> how high the voice is. The encoder uses it, and the decoder where none was
sent."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from avcc.layers import ConvNext
from avcc.likeliest import likeliest
from avcc.stages import BANDS

LOWEST, HIGHEST = 60.0, 500.0  # Hz
STEPS = 96  # classes between them, 38 cents each
SWIFT = 6  # classes that a pitch may move in a frame of 20 ms
NEAR = 1.25  # classes: about how far what was sent is off
DOUBT = 0.02  # probability that a pitch near what was sent keeps, however sure of others the mel is
JUMP = 1.5  # what moving costs at ``SWIFT``, in log probability


class Pitch(nn.Module):
    """Normalised log-mel (B, T, 80) -> log probabilities of the classes (B, T, 96)."""

    def __init__(self, width: int = 128, depth: int = 4) -> None:
        super().__init__()
        self.entry = nn.Conv1d(BANDS, width, 7, padding=3)
        self.blocks = nn.Sequential(*[ConvNext(width, depth) for _ in range(depth)])
        self.norm = nn.LayerNorm(width)
        self.exit = nn.Linear(width, STEPS)

    def forward(self, mel: Tensor) -> Tensor:
        x = self.blocks(self.entry(mel.transpose(1, 2))).transpose(1, 2)
        return self.exit(self.norm(x)).float().log_softmax(-1)


def place(hertz: Tensor) -> Tensor:
    """Pitch in Hz -> where it is among the classes, 0 to 95, as a real number."""
    share = (hertz / LOWEST).log() / np.log(HIGHEST / LOWEST)
    return (share * (STEPS - 1)).clamp(0, STEPS - 1)


def contour(likely: np.ndarray) -> np.ndarray:
    """Log probabilities (T, 96) -> pitch in Hz, float32 (T,): the likeliest path that moves little.

    A frame that sounds like its octave doesn't pull the voice there.
    """
    places = np.arange(STEPS)
    moves = np.abs(places[:, None] - places)
    cost = np.where(moves <= SWIFT, JUMP * (moves / SWIFT) ** 2, np.inf)
    path = likeliest(likely, cost.astype(np.float32))
    # between the classes: the mean of the neighbours, by what they are worth
    around = np.clip(path[:, None] + np.arange(-2, 3), 0, STEPS - 1)
    weight = np.exp(np.take_along_axis(likely, around, 1))
    middle = (around * weight).sum(1) / np.maximum(weight.sum(1), 1e-12)
    exact = np.where(weight.sum(1) > 1e-12, middle, path)
    return (LOWEST * (HIGHEST / LOWEST) ** (exact / (STEPS - 1))).astype(np.float32)


@torch.no_grad()
def pitch_of(net: Pitch, mel: Tensor, sent: Tensor | None = None) -> Tensor:
    """Mel (B, T, 80) -> pitch in Hz, float32 (B, T).

    ``sent``: what is known of it already (B, T), NaN where nothing is. The mel says where between
    two pitches that can be sent it lies, if it knows (``DOUBT``).
    """
    likely = net(mel)
    if sent is not None and not sent.isnan().all():
        away = torch.arange(STEPS, device=mel.device) - place(sent)[..., None]
        doubted = (likely.exp() + DOUBT).log() - (away / NEAR).square() / 2
        likely = torch.where(sent.isnan()[..., None], likely, doubted)
    found = np.stack([contour(one) for one in likely.cpu().numpy()])
    return torch.from_numpy(found).to(mel.device)
