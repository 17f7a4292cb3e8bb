"""Stage ``audiomae``: masked patches of mel predicted from the ones left, no labels."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from avcc.analysis.audiomae import PATCH, ROWS, AudioMAE, Block, patches
from avcc.analysis.mel import LogMel
from avcc.training.data import voices
from avcc.training.loop import Options, Stage

FRAMES = 100  # 4 s


class Guesser(nn.Module):
    """Decoder of the masked autoencoder: thrown away after training."""

    def __init__(self, width: int, inner: int = 96) -> None:
        super().__init__()
        self.entry = nn.Linear(width, inner)
        self.hidden = nn.Parameter(torch.zeros(inner))
        self.row = nn.Parameter(torch.randn(ROWS, inner) * 0.02)
        self.blocks = nn.ModuleList(Block(inner, 4) for _ in range(2))
        self.exit = nn.Linear(inner, PATCH)

    def forward(self, seen: Tensor, keep: Tensor, seconds: Tensor) -> Tensor:
        b, n = keep.shape[0], seconds.shape[0]
        y = self.entry(seen)
        x = self.hidden.to(y.dtype).expand(b, n, -1)
        x = x.scatter(1, keep[..., None].expand(-1, -1, x.shape[-1]), y)
        x = x + self.row.repeat(n // ROWS, 1)
        for block in self.blocks:
            x = block(x, seconds)
        return self.exit(x)


class AudioMAEStage(Stage):
    """Masks 60 % of the patches: half as single patches, half as spans of whole frames.

    Spans take away the neighbours in frequency, from which a patch is too easily guessed, so that
    the features must hold what is being said rather than the local texture.
    """

    name = "audiomae"
    batch = 12

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        torch.manual_seed(options.seed)
        self.nets["mae"] = AudioMAE()
        self.nets["guesser"] = Guesser(192)
        self.optims["all"] = self.adam(self.nets, 8e-4)
        self.train = voices(options.cache, "train", options.tier)
        self.held = voices(options.cache, "val").batch(np.random.default_rng(1), 48, FRAMES * 640)
        self.mel = LogMel().to(options.device)

    def _keep(self, rng: np.random.Generator, count: int) -> Tensor:
        """Indices of the patches left, int64 (count, kept), the same number in each row."""
        n, kept = FRAMES * ROWS, int(FRAMES * ROWS * 0.4)
        score = rng.random((count, n))
        for row in score:
            frames = row.reshape(FRAMES, ROWS)
            for start in rng.integers(0, FRAMES, 6):
                frames[start : start + rng.integers(2, 10)] += 1
        return torch.from_numpy(np.sort(np.argsort(score, 1)[:, :kept], 1))

    def _loss(self, nets: nn.ModuleDict, wave: Tensor, keep: Tensor) -> Tensor:
        mel = self.mel(wave)
        target = patches(mel)
        mae = nets["mae"]
        assert isinstance(mae, AudioMAE)
        with self.autocast():
            x, seconds = mae.embed(mel)
            x = x.gather(1, keep[..., None].expand(-1, -1, x.shape[-1]))
            times = seconds[keep][:, None]
            for block in mae.blocks:
                x = block(x, times)
            guess = nets["guesser"](x, keep, seconds)
        error = (guess.float() - target).square().mean(-1)
        hidden = torch.ones_like(error).scatter(1, keep, 0.0)
        return (error * hidden).sum() / hidden.sum()

    def _drawn(self, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Waveforms, and which patches of each are left."""
        wave = self.train.batch(rng, self.batch, FRAMES * 640)
        return wave, self._keep(rng, self.batch)

    def step(self, i: int) -> dict[str, float]:
        wave, keep = (x.to(self.o.device) for x in self.next(self._drawn))
        loss = self._loss(self.nets, wave, keep)
        self.descend("all", loss)
        return {"loss": loss.item()}

    def validate(self, nets: nn.ModuleDict) -> dict[str, float]:
        keep = self._keep(np.random.default_rng(2), len(self.held)).to(self.o.device)
        return {"score": float(self._loss(nets, self.held.to(self.o.device), keep))}

    def export(self, nets: nn.ModuleDict) -> dict[str, Tensor]:
        return {f"mae.{k}": v for k, v in nets["mae"].state_dict().items()}
