"""Stage ``driver``: how the mouth moves with what the decoder hears."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avcc.diffusion.driver import Driver
from avcc.evaluation.picture import correlation, mouth_openings
from avcc.training.export import grown
from avcc.training.loop import Options, Stage
from avcc.training.mouth import Mouth, gaps
from avcc.training.takes import Takes, lips_off

FRAMES = 96
MOVED = 0.1  # mouth of one unit of the network's output, so that outputs are near one
CORRELATION = 3.0  # weight of the correlation of openings against the lips' distance


class DriverStage(Stage):
    """Distance of the lips, and correlation of their openings, over cuts of a few seconds."""

    name = "driver"
    batch = 16

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        torch.manual_seed(options.seed)
        self.takes = Takes(options)
        self.bank, self.scale = self.takes.bank, self.takes.scale
        driver = Driver(dropout=0.2)
        self.mouth = Mouth.of(self.bank, self.scale, len(driver.mouth))
        driver.mouth.copy_(torch.from_numpy(self.mouth.directions) * MOVED)
        self.nets["driver"] = driver
        self.optims["driver"] = self.adam(driver, 2e-3, weight_decay=0.05)

    def begin(self, tensors: dict[str, Tensor]) -> None:
        driver = self.nets["driver"]
        assert isinstance(driver, Driver)
        grown(driver, tensors, "driver")
        driver.rest.copy_(tensors["driver.rest"])

    def _drawn(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """A batch of cuts."""
        rows = []
        for take, row in self.takes.cuts(rng, self.batch, FRAMES):
            key = int(row.pop("key"))
            row["goal"] = row.pop("motion") / self.scale
            row["shape"] = take.shape[key]
            row["gap"] = gaps(take.mesh[key : key + 1])[0] / take.size[key]
            rows.append(row)
        return {k: np.stack([row[k] for row in rows]).astype(np.float32) for k in rows[0]}

    def _losses(self, made: Tensor, x: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Distance of the lips' shape, and one less the correlation of openings."""
        shape, gap = (
            torch.from_numpy(m).to(made.device) for m in (self.mouth.shape, self.mouth.gap)
        )
        off = (made - x["goal"]) @ shape
        counts = x["counts"]
        each = F.huber_loss(5 * off, torch.zeros_like(off), reduction="none").mean(-1)
        total = counts.sum(1, keepdim=True).clamp(min=1)

        def opening(motion: Tensor) -> Tensor:
            vector = x["gap"][:, None] + torch.einsum("btk,kpc->btpc", motion, gap)
            size = vector.norm(dim=-1).mean(-1)
            return (size - (size * counts).sum(1, keepdim=True) / total) * counts

        a, b = opening(made), opening(x["goal"])
        power = b.square().sum(1)
        alike = (a * b).sum(1) / (a.square().sum(1) * power + 1e-8).sqrt()
        weight = (power.sqrt() / power.sqrt().mean().clamp(min=1e-6)).clamp(max=2)
        return (each * counts).sum() / counts.sum().clamp(min=1), (weight * (1 - alike)).mean()

    def step(self, i: int) -> dict[str, float]:
        drawn = self.next(self._drawn)
        x = {k: torch.as_tensor(v).to(self.o.device) for k, v in drawn.items()}
        net = self.nets["driver"]
        with self.autocast():
            made = net(x["mel"], x["silent"], x["unsent"], x["shape"]).float()
        lips, apart = self._losses(made, x)
        self.descend("driver", lips + CORRELATION * apart)
        return {"lips": lips.item(), "correlation": 1 - apart.item()}

    def validate(self, nets: nn.ModuleDict) -> dict[str, float]:
        """Mean correlation of openings, their spread as a share of the true one, and the distance
        of the lips (about their own centre, % of the eyes) beside that of a still face."""
        rows = []
        for take in self.takes.held:
            key = int(take.keys[0])
            seen = ~np.isnan(take.size)
            told = [take.mels[-1].astype(np.float32), take.silent, np.zeros(len(seen), bool)]
            mel, silent, unsent = (
                torch.from_numpy(np.asarray(v, np.float32)).to(self.o.device)[None] for v in told
            )
            shape = torch.from_numpy(take.shape[key])[None].to(self.o.device)
            made = nets["driver"](mel, silent, unsent, shape)[0].float().cpu().numpy() * self.scale
            true, moved, still = (
                self.bank.meshes(c, take.mesh[key])[seen]
                for c in (take.coefficients(key), made, np.zeros_like(made))
            )
            opened, opens = mouth_openings(true), mouth_openings(moved)
            alike = correlation(opened, opens)
            spread = opens.std() / max(float(opened.std()), 1e-6)
            rows.append([alike, spread, lips_off(moved, true), lips_off(still, true)])
        alike, spread, lips, still = np.nanmean(rows, 0) if rows else np.zeros(4)
        figures = {"correlation": alike, "spread": spread, "lips": lips, "still": still}
        return {"score": 1 - float(alike)} | {k: float(v) for k, v in figures.items()}

    def export(self, nets: nn.ModuleDict) -> dict[str, Tensor]:
        return {f"driver.{k}": v for k, v in nets["driver"].state_dict().items()}
