"""Follower: what is heard -> how the mouth moves, by a code of how this speaker's lips follow.

The mean of how people's mouths go with a voice says little of any of them (``diffusion.driver``).
Here a network makes a few signals of the voice, the same for all, and lips follow these in a way of
the speaker's own: a matrix, which the encoder finds by ridge regression and sends, once a clip, as
so many numbers along the directions in which speakers differ most. Where motion isn't sent, ten
bytes or so make lips move as this person's do.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avcc.layers import ConvNext
from avcc.stages import BANDS, LIPS, LIPS_MOST, MOTION, MOUTH

SIGNALS = 12
KERNEL, DEPTH = 7, 4
REACH = KERNEL // 2 * DEPTH  # tokens on either side that are heard
NOISE = 1.0  # power of what no code explains, as a share of what lips are off the mean of people
# How much further than the best fit a mouth goes, from where it is on the mean: a fit moves less
# than what it follows, and a quarter more costs 2 % of distance.
LIVELY = 1.25


class Follower(nn.Module):
    """Decoded mel of T tokens, and a code -> motion float32 (B, T, 20), in units of a coefficient's
    spread.

    ``mel``: (B, T, 160), ``SILENCE`` in silence, 0 where no voice was sent; ``silent`` and
    ``unsent``: float (B, T), 0 or 1; ``code``: float (B, 32), the numbers that were sent.
    """

    def __init__(self, width: int = 96, dropout: float = 0.0) -> None:
        super().__init__()
        self.entry = nn.Linear(2 * BANDS + 2, width)
        self.blocks = nn.Sequential(*[ConvNext(width, DEPTH, KERNEL) for _ in range(DEPTH)])
        self.norm = nn.LayerNorm(width)
        self.exit = nn.Linear(width, SIGNALS)
        # How lips follow the signals, and where they are without: on the mean of all people, by
        # what each number of a code adds, and how large these numbers are (standard deviation).
        self.mean = nn.Parameter(0.1 * torch.randn(SIGNALS + 1, MOUTH))
        self.register_buffer("basis", torch.zeros(LIPS, SIGNALS + 1, MOUTH))
        self.register_buffer("spread", torch.ones(LIPS))
        self.register_buffer("mouth", torch.zeros(MOUTH, MOTION))  # lips -> coefficients
        self.register_buffer("shape", torch.zeros(MOTION, MOUTH))  # coefficients -> lips
        self.basis: Tensor
        self.spread: Tensor
        self.mouth: Tensor
        self.shape: Tensor
        self.dropout = dropout

    def forward(self, mel: Tensor, silent: Tensor, unsent: Tensor, code: Tensor) -> Tensor:
        how = self.mean + torch.einsum("bn,nsm->bsm", code, self.basis)
        return self.signals(mel, silent, unsent) @ how @ self.mouth

    def signals(self, mel: Tensor, silent: Tensor, unsent: Tensor) -> Tensor:
        """(B, T, ``SIGNALS`` + 1) that lips may follow; the last one is 1."""
        x = self.entry(torch.cat([mel, silent[..., None], unsent[..., None]], -1))
        x = F.dropout(x, self.dropout, self.training)
        x = self.norm(self.blocks(x.transpose(1, 2)).transpose(1, 2))
        x = F.dropout(x, self.dropout, self.training)
        x = self.exit(x)
        return torch.cat([x, torch.ones_like(x[..., :1])], -1)

    def code(self, signals: np.ndarray, motion: np.ndarray) -> np.ndarray:
        """How lips follow signals float32 (T, ``SIGNALS`` + 1), as a code int64 (32,).

        ``motion``: (T, 20), in units of a coefficient's spread; rows of NaN count nothing. The most
        likely numbers, were each drawn from a normal distribution of its ``spread``.
        """
        seen = ~np.isnan(motion[:, 0])
        if not seen.any():
            return np.zeros(LIPS, np.int64)
        heard = signals[seen].astype(np.float64)
        mean, basis = (x.detach().cpu().double().numpy() for x in (self.mean, self.basis))
        lips = motion[seen] @ self.shape.cpu().double().numpy()
        middle = lips.mean(0)
        left = middle + LIVELY * (lips - middle) - heard @ mean
        alike = np.einsum("nsm,st,ktm->nk", basis, heard.T @ heard, basis, optimize=True)
        noise = NOISE * np.square(left).mean() + 1e-9
        sure = np.diag(noise / np.square(self.spread.cpu().double().numpy()))
        found = np.linalg.solve(alike + sure, np.einsum("nsm,sm->n", basis, heard.T @ left))
        return found.round().clip(-LIPS_MOST, LIPS_MOST).astype(np.int64)
