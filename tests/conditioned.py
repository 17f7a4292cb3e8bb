"""Made-up features of a clip, and the conditions that a decoder makes of them."""

from __future__ import annotations

import numpy as np
import torch

from avcc.diffusion.conditions import Conditions
from avcc.diffusion.driver import Driver
from avcc.diffusion.estimate import Estimator
from avcc.diffusion.inbetween import Inbetween
from avcc.follower import Follower
from avcc.stages import LATENT, MOTION, SHAPE, SILENT, VOICE, Features, KeyFrame

SCALE = np.linspace(0.5, 2, MOTION).astype(np.float32)


def features(count: int, every: int | None) -> Features:
    """Random ones; motion of every so many frames was sent, or of none."""
    rng = np.random.default_rng(1)
    semantic = rng.integers(0, SILENT, count)
    motion = rng.normal(size=(count, MOTION)).astype(np.float32)
    motion[[every is None or i % every > 0 for i in range(count)]] = np.nan
    key = KeyFrame(np.zeros((256, 256, 3), np.uint8), np.zeros((478, 2), np.float32))
    acoustic = rng.normal(size=(count, LATENT)).astype(np.float32)
    silent = semantic == SILENT
    return Features((key,), motion, semantic, acoustic, silent, np.zeros(VOICE + 1, np.float32))


def conditions(
    f: Features,
    driver: Driver | None = None,
    inbetween: Inbetween | None = None,
    follower: Follower | None = None,
) -> Conditions:
    """By an estimator of random weights."""
    torch.manual_seed(0)
    count = len(f.motion)
    return Conditions(
        Estimator(16, 6).eval(),
        f,
        SCALE,
        step=np.full(count, np.float32(0.2)),
        layers=np.full(count, 2),
        shape=np.arange(SHAPE, dtype=np.float32) / SHAPE,
        sound=True,
        device="cpu",
        driver=driver,
        inbetween=inbetween,
        follower=follower,
    )
