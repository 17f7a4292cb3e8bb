"""The cache: raw material decoded once, and its meshes as a file that travels."""

from __future__ import annotations

import csv
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from avcc.training import cache as caching
from avcc.training import meshes, own
from avcc.training.data import part, voices
from tests.clips import Recipe, clicks, make
from tests.faces import mesh, picture

FIELDS = {
    "clips": ("file", "split", "tier", "identity", "audio"),
    "faces": ("file",),
    "speech": ("file", "split", "speaker", "language", "source_repo"),
}
ROWS: dict[str, list[tuple[str, ...]]] = {
    "clips": [
        ("hi/one.mp4", "train", "P", "a", "True"),
        ("hi/two.mp4", "train", "W", "b", "False"),
        ("hi/val.mp4", "val", "P", "c", "True"),
        ("lo/small.mp4", "train", "P", "a", "True"),
        ("hi/stayed behind.mp4", "train", "P", "a", "True"),
    ],
    "faces": [("still.png",)],
    "speech": [("train.wav", "train", "s", "en", "x"), ("test.wav", "test", "t", "de", "x")],
}


def _data(folder: Path) -> Path:
    """A data folder in miniature."""
    for kind, rows in ROWS.items():
        (folder / kind).mkdir(parents=True)
        with open(folder / kind / "manifest.csv", "w", newline="") as file:
            csv.writer(file).writerows([FIELDS[kind], *rows])
    for row in ROWS["clips"][:4]:
        path, side = folder / "clips" / row[0], 256 if row[0].startswith("hi") else 128
        path.parent.mkdir(exist_ok=True)
        sound = clicks([0.1], 0.4, 44_100) if row[4] == "True" else None
        make(path, Recipe(size=(side, side), seconds=0.4, sound=sound))
    cv2.imwrite(str(folder / "faces" / "still.png"), picture())
    for row in ROWS["speech"]:
        box = Recipe(seconds=0.4, sound=np.sin(np.arange(17_640) / 20).astype(np.float32) / 4)
        make(folder / "speech" / f"{row[0]}.mp4", box).rename(folder / "speech" / row[0])
    return folder


def _found(frames: np.ndarray, still: bool = False) -> np.ndarray:
    """Stands for MediaPipe: a face that talks, and in the second frame none."""
    out = np.stack([mesh(0.02 + 0.01 * (i % 5), 3) + 0.004 * i for i in range(len(frames))])
    out[1:2] = np.nan
    return out.astype(np.float32)


def test_a_cache_and_its_meshes_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(caching, "ProcessPoolExecutor", ThreadPoolExecutor)
    monkeypatch.setattr(caching, "mesh_of", _found)
    data = _data(tmp_path / "data")
    caching.build(data, tmp_path / "cache")
    assert "1 of 5 files aren't there" in capsys.readouterr().out
    with pytest.raises(FileNotFoundError, match="training own"):
        assert part(tmp_path / "cache", "hi_train").mesh.size
    train = part(tmp_path / "cache", "hi_train", teacher=True)
    assert [(r["file"], r["frames"], r["start"]) for r in train.index] == [
        ("hi/one.mp4", 10, 0),
        ("hi/two.mp4", 10, 10),
    ]
    assert train.frames.shape == (20, 256, 256, 3) and train.frames.std() > 20
    assert part(tmp_path / "cache", "lo_train", teacher=True).frames.shape == (10, 128, 128, 3)
    own.build(tmp_path / "cache", jobs=1)
    seen = part(tmp_path / "cache", "hi_train").mesh
    assert seen.shape == (20, 478, 2) and np.isfinite(seen).all()
    one, two = (train.voice(r) for r in train.index)
    assert abs(int(abs(one).argmax()) - 1600) < 200 and not two.any()  # 0.1 s in
    assert len(voices(tmp_path / "cache", "train").waves) == 3

    meshes.save(tmp_path / "cache", tmp_path / "meshes.npz")
    known = meshes.load(tmp_path / "meshes.npz")
    assert set(known) == {r[0] for r in ROWS["clips"][:4]} | {"still.png"}
    monkeypatch.setattr(caching, "mesh_of", None)  # where MediaPipe isn't
    caching.build(data, tmp_path / "again", meshes=tmp_path / "meshes.npz")
    for name in meshes.PARTS[:3]:
        first, second = (part(tmp_path / c, name, teacher=True) for c in ("cache", "again"))
        assert first.index == second.index and (first.frames == second.frames).all()
        np.testing.assert_allclose(first.mesh, second.mesh, atol=2e-3)  # NaN where NaN was
    text = (tmp_path / "again" / "hi_train" / "index.json").read_text()
    with open(tmp_path / "again" / "hi_train" / "index.json", "w") as file:
        json.dump([{**r, "file": "changed"} for r in json.loads(text)], file)
    caching.build(data, tmp_path / "again")  # what is complete is left alone
    assert part(tmp_path / "again", "hi_train", teacher=True).index[0]["file"] == "changed"


def test_meshes_lose_less_than_they_tremble(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    folder = tmp_path / "hi_train"
    folder.mkdir()
    # faces as they come: a mean face, some ways in which they differ, and a tremble
    ways = rng.normal(size=(30, 956)) * 0.02 * 0.8 ** np.arange(30)[:, None]
    walk = rng.normal(size=(400, 30)).cumsum(0) / 8
    true = (mesh().ravel() + walk @ ways + rng.normal(0, 2e-4, (400, 956))).astype(np.float32)
    true = true.reshape(-1, 478, 2)
    true[[0, 7, 399]] = np.nan
    true.tofile(folder / "mesh.f32")
    (folder / "index.json").write_text(json.dumps([{"file": "a", "frames": 400}]))
    meshes.save(tmp_path, tmp_path / "m.npz")
    got = meshes.load(tmp_path / "m.npz")["a"]
    assert (np.isnan(got) == np.isnan(true)).all()
    assert np.nanmean(abs(got - true)) < 2e-4 * 1.2
    with np.load(tmp_path / "m.npz") as file:  # beside the directions, which many clips share
        assert file["moved"].nbytes < true.nbytes / 50
