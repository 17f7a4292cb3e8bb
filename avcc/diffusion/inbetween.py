"""In-betweens: the mouth between frames whose motion was sent, by the voice.

A network makes signals of the voice and of the straight lines from one sent frame to the next. How
the lips follow these signals differs from speaker to speaker, and what was sent tells: wherever
three sent frames follow each other, the middle one is off the straight line between its neighbours,
and so are the signals there. Ridge regression of the one on the other, about how lips follow on the
mean of all people, gives this speaker's; it says what lies off the lines where nothing was sent. A
decoder does that by itself, so it costs no bits, and files of earlier encoders have it as well.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avcc.layers import ConvNext
from avcc.stages import BANDS, MOTION, MOUTH

SIGNALS = 8
KERNEL, DEPTH = 7, 4
FURTHEST = 50  # frames from a sent frame to the one after the next, if anything was lost there
LEAST = 0.05  # spread of lips that counts as a whole one: a mouth at rest isn't made to tremble


class Lines(NamedTuple):
    """Where T frames lie between the sent ones, as (T,): the sent frame at or ``before`` each and
    the one ``after`` it (at the ends the same one), ``part``: how far from the one to the other."""

    before: Tensor
    after: Tensor
    part: Tensor

    @classmethod
    def between(cls, sent: Tensor, count: int) -> Lines:
        """``sent``: int64 (N,), rising, at least one of ``count`` frames."""
        frames = torch.arange(count, device=sent.device)
        at = torch.searchsorted(sent, frames, right=True) - 1
        before, after = (sent[i.clamp(0, len(sent) - 1)] for i in (at, at + 1))
        part = (frames - before) / (after - before).clamp(min=1)
        return cls(before, after, part.clamp(0, 1).float())

    def straight(self, x: Tensor) -> Tensor:
        """What (B, T, C) would be, went it straight from each sent frame to the next."""
        part = self.part[:, None]
        return x[:, self.before] * (1 - part) + x[:, self.after] * part


class Inbetween(nn.Module):
    """How far the mouth is off the straight lines, float32 (B, T, 20), in units of a coefficient's
    spread; 0 in sent frames.

    ``mel``: (B, T, 160), decoded, ``SILENCE`` in silence, 0 where no voice was sent; ``silent`` and
    ``unsent``: float (B, T), 0 or 1; ``motion``: (B, T, 20), in these units, straight between the
    frames ``sent``, int64 (N,), of which there is at least one.
    """

    def __init__(self, width: int = 64, dropout: float = 0.0) -> None:
        super().__init__()
        self.entry = nn.Linear(2 * BANDS + 2 + 2 * MOUTH + 2, width)
        self.blocks = nn.Sequential(*[ConvNext(width, DEPTH, KERNEL) for _ in range(DEPTH)])
        self.norm = nn.LayerNorm(width)
        self.exit = nn.Linear(width, SIGNALS)
        self.mean = nn.Parameter(0.1 * torch.randn(SIGNALS, MOUTH))  # how lips follow, of all
        self.ridge = nn.Parameter(torch.tensor(1.6))  # ln of how much that counts beside one clip's
        self.gain = nn.Parameter(torch.tensor(0.85))
        self.register_buffer("mouth", torch.zeros(MOUTH, MOTION))  # lips -> coefficients
        self.register_buffer("shape", torch.zeros(MOTION, MOUTH))  # coefficients -> lips
        self.mouth: Tensor
        self.shape: Tensor
        self.dropout = dropout

    def forward(
        self, mel: Tensor, silent: Tensor, unsent: Tensor, motion: Tensor, sent: Tensor
    ) -> Tensor:
        lines, lips = Lines.between(sent, motion.shape[1]), motion @ self.shape
        signals = self.signals(mel, silent, unsent, lips, lines)
        return self.off(signals, self.followed(signals, lips, sent), lines) @ self.mouth

    def signals(
        self, mel: Tensor, silent: Tensor, unsent: Tensor, lips: Tensor, lines: Lines
    ) -> Tensor:
        """(B, T, ``SIGNALS``) that lips (B, T, ``MOUTH``) may follow."""
        about = lips - lips.mean(1, keepdim=True)
        spread = about.square().mean((1, 2), keepdim=True).sqrt()
        apart = (lines.after - lines.before).clamp(min=1).log2() / 4
        placed = torch.stack([lines.part, apart.to(lines.part.dtype)], -1).expand(len(mel), -1, -1)
        told = mel, silent[..., None], unsent[..., None], about / (spread + LEAST), 0.3 * about
        x = self.entry(torch.cat([*told, placed], -1))
        x = F.dropout(x, self.dropout, self.training)
        x = self.norm(self.blocks(x.transpose(1, 2)).transpose(1, 2))
        x = F.dropout(x, self.dropout, self.training)
        signals: Tensor = self.exit(x)
        return signals

    def followed(self, signals: Tensor, lips: Tensor, sent: Tensor) -> Tensor:
        """How this speaker's lips follow the signals, (B, ``SIGNALS``, ``MOUTH``)."""
        first, middle, last = sent[:-2], sent[1:-1], sent[2:]
        near = last - first <= FURTHEST
        first, middle, last = first[near], middle[near], last[near]
        part = ((middle - first) / (last - first))[:, None]
        heard, seen = (
            x[:, middle] - x[:, first] * (1 - part) - x[:, last] * part for x in (signals, lips)
        )
        back = heard.transpose(1, 2)
        ridge = self.ridge.exp() * torch.eye(SIGNALS, device=lips.device)
        return self.mean + torch.linalg.solve(
            back @ heard + ridge, back @ (seen - heard @ self.mean)
        )

    def off(self, signals: Tensor, how: Tensor, lines: Lines) -> Tensor:
        """How far lips are off the lines, (B, T, ``MOUTH``), if they follow so."""
        return self.gain * ((signals - lines.straight(signals)) @ how)
