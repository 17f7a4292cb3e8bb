"""Strips of five frames for the page of ``avcc.evaluation``."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import av
import numpy as np

from avcc.evaluation import strips
from avcc.evaluation.films import Films


def _picture(data: bytes) -> np.ndarray:
    with av.open(io.BytesIO(data), mode="r", format="mjpeg") as box:
        return next(box.decode(video=0)).to_ndarray(format="rgb24")


def test_five_frames_evenly_apart() -> None:
    colours = np.zeros((50, 64, 64, 3), np.uint8)
    colours[..., 0] = (np.arange(50) * 5)[:, None, None]
    colours[..., 2] = 90
    shown = _picture(strips.strip(colours))
    assert shown.shape == (128, 640, 3)
    means = shown.reshape(128, 5, 128, 3)[:, :, 16:-16].mean((0, 2))
    np.testing.assert_allclose(means[:, 0], [25, 75, 125, 175, 225], atol=4)
    np.testing.assert_allclose(means[:, 1:], [[0, 90]] * 5, atol=4)
    one = _picture(strips.strip(colours[20:21]))
    np.testing.assert_allclose(one.reshape(-1, 3).mean(0), [100, 0, 90], atol=4)


def test_blocks_of_equal_rates(tmp_path: Path) -> None:
    films = Films(tmp_path)
    frames = np.zeros((3, 256, 256, 3), np.uint8)
    source, ours, theirs = (
        films.keep(key, frames + i * 40, None, synthetic=False)
        for i, key in enumerate(("source", "ours", "theirs"))
    )
    coded = [
        ("talk", "2", "avcc", ours),
        ("talk", "2", "x264", theirs),
        ("talk", "2", "frozen", "gone.webm"),
        ("talk", "4", "avcc", ours),
        ("other", "2", "avcc", ours),
    ]
    (block,) = strips.blocks(tmp_path, {"talk": source, "other": "gone.webm"}, coded)
    assert block["clip"] == "talk" and [part["rate"] for part in block["rates"]] == ["2", "4"]
    two, four = ([line["label"] for line in part["lines"]] for part in block["rates"])
    assert two == ["avcc", "x264"] and four == ["avcc"]
    head, data = block["rates"][0]["lines"][1]["picture"].split(",")
    assert head == "data:image/jpeg;base64"
    assert abs(float(_picture(base64.b64decode(data)).mean()) - 80) < 3
    assert films.has(ours)
    (tmp_path / strips.name(ours)).unlink()
    assert not films.has(ours), "what lacks its strip is made again"
