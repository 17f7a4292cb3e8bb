"""Estimator: decoded symbols -> the mean of what may have been said, where AVDiff starts from."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from avcc.layers import ConvNext
from avcc.stages import BANDS, LATENT, TOKENS, VOICE


class Estimator(nn.Module):
    """Decoded symbols -> mel (B, 2 T, 80): the mean of what may have been said.

    ``semantic`` int64 (B, T) (``SILENT``, ``UNSENT`` allowed), ``acoustic`` float32 (B, T, 32)
    (zero where no layer was sent), ``voice`` float32 (B, 24).
    """

    def __init__(self, width: int = 256, depth: int = 6) -> None:
        super().__init__()
        self.semantic = nn.Embedding(TOKENS + 2, width)
        self.acoustic = nn.Linear(LATENT, width)
        self.voice = nn.Linear(VOICE, width)
        self.blocks = nn.Sequential(*[ConvNext(width, depth) for _ in range(depth)])
        self.norm = nn.LayerNorm(width)
        self.exit = nn.Linear(width, 2 * BANDS)
        self.skip = nn.Linear(LATENT, 2 * BANDS, bias=False)

    def forward(self, semantic: Tensor, acoustic: Tensor, voice: Tensor) -> Tensor:
        x = self.semantic(semantic) + self.acoustic(acoustic) + self.voice(voice)[:, None]
        x = self.blocks(x.transpose(1, 2)).transpose(1, 2)
        y = self.exit(self.norm(F.gelu(x))) + self.skip(acoustic)
        return y.reshape(y.shape[0], -1, BANDS)
