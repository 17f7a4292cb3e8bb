"""A made-up cache and work folder (fixtures), and what every stage of training does with them."""

from __future__ import annotations

import json
from pathlib import Path

import faces
import numpy as np
import pytest
import torch
from torch import Tensor

from avcc.analysis.audiomae import AudioMAE
from avcc.stages import TOKENS
from avcc.training import motion
from avcc.training.export import save_weights
from avcc.training.loop import Options, Stage


def talking(frames: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Meshes (frames, 478, 2) of a nodding, talking face, the third missing; int16 sound."""
    rng = np.random.default_rng(seed)
    t = np.arange(frames) / 25
    meshes = np.stack([faces.mesh(0.04 + 0.03 * np.sin(9 * s), seed) for s in t])
    meshes += 0.02 * np.stack([np.sin(2 * t), np.cos(3 * t)], 1)[:, None]
    meshes[2:3] = np.nan
    at = np.arange(frames * 640) / 16_000
    loud = 4000 * (np.sin(2 * np.pi * at) > -0.7) * np.sin(2 * np.pi * (150 + 20 * seed) * at)
    return meshes.astype(np.float32), (loud + rng.normal(0, 300, at.shape)).astype(np.int16)


def _part(folder: Path, side: int, rows: list[dict]) -> None:
    folder.mkdir(parents=True)
    start, every = 0, []
    frames, meshes, sound = [], [], []
    for number, row in enumerate(rows):
        count = row["frames"]
        mesh, audio = talking(count, number + 1)
        frames.append(np.stack([faces.picture(side, number)] * count))
        meshes.append(mesh)
        sound.append(audio)
        every.append({"file": f"{folder.name}/{number}", "start": start, "sound": True} | row)
        start += count
    np.concatenate(frames).tofile(folder / "frames.u8")
    for name in ("mesh.f32", "own.f32"):
        np.concatenate(meshes).tofile(folder / name)
    np.concatenate(sound).tofile(folder / "audio.i16")
    (folder / "index.json").write_text(json.dumps(every))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that ``training cache`` makes, in miniature."""
    folder = tmp_path_factory.mktemp("cache")
    for split in ("train", "val"):
        hi = [{"frames": 16, "tier": "P"}, {"frames": 14, "tier": "W", "sound": False}]
        _part(folder / f"hi_{split}", 256, hi)
        _part(folder / f"lo_{split}", 128, [{"frames": 110, "tier": "P"}])
    _part(folder / "stills", 256, [{"frames": 1, "tier": "P"}])
    for name in ("speech_train", "speech_test"):
        (folder / name).mkdir()
        audio = np.concatenate([talking(60, seed)[1] for seed in (4, 5)])
        audio.tofile(folder / name / "audio.i16")
        rows = [{"start": 0, "samples": 38_400}, {"start": 38_400, "samples": 30_001}]
        (folder / name / "index.json").write_text(json.dumps(rows))
    return folder


@pytest.fixture(scope="module")
def work(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work folder with what the first stages leave, untrained."""
    folder = tmp_path_factory.mktemp("work")
    torch.manual_seed(0)
    mae = {f"mae.{k}": v for k, v in AudioMAE().state_dict().items()}
    save_weights(folder / "audiomae.safetensors", mae, {})
    np.save(folder / "centroids.npy", np.random.default_rng(0).normal(size=(TOKENS, 192)))
    np.savez(folder / "motion.npz", **motion.fit(cache))  # type: ignore[arg-type]
    return folder


def options(cache: Path, work: Path) -> Options:
    return Options(cache, work, batch=2, judge_from=0, perceptual=Path("not there"))


def one_step(stage: Stage) -> dict[str, Tensor]:
    """One step: every loss is a number, every network learns. What would be exported."""
    before = {k: [p.clone() for p in net.parameters()] for k, net in stage.nets.items()}
    for figure in stage.step(0).values():
        assert np.isfinite(figure)
    for name, old in before.items():
        now = [*stage.nets[name].parameters()]
        assert not old or any((a != b).any() for a, b in zip(old, now, strict=True)), name
    stage.nets.eval()
    with torch.no_grad():
        figures = stage.validate(stage.nets)
    assert "score" in figures and all(np.isfinite(v) for v in figures.values())
    return stage.export(stage.nets)
