"""Time and memory over length, as ``avcc.evaluation`` measures them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from avcc.errors import AvccError
from avcc.evaluation import growth
from avcc.evaluation.growth import Cost, Length, cost, looped, reference, table
from avcc.media.write import write
from avcc.stages import Clip

BIG = "import sys; x = bytearray(int(sys.argv[1]) * 2**20); x[::4096] = b'1' * len(x[::4096])"


def test_a_clip_that_is_made_long() -> None:
    frames = np.arange(3, dtype=np.uint8)[:, None, None, None]
    clip = looped(frames, np.arange(1000, dtype=np.float32), 0.32)
    for _ in range(2):  # it can be iterated again
        assert [int(frame.max()) for frame in clip.frames] == [0, 1, 2, 2, 1, 0, 0, 1]
    assert clip.count == 8 and clip.audio is not None and clip.audio.shape == (8 * 640,)
    assert clip.audio[999] == 999 and clip.audio[1000] == 0, "filled up to its pictures"
    assert clip.audio[1920 + 7] == 7
    assert looped(frames, None, 1).audio is None


def test_what_a_process_takes() -> None:
    small, large = (cost([sys.executable, "-c", BIG, str(mib)]) for mib in (1, 65))
    assert large.peak - small.peak == pytest.approx(64, abs=12) and small.seconds > 0
    with pytest.raises(AvccError, match="ValueError: why"):
        cost([sys.executable, "-c", "raise ValueError('why')"])


def test_the_reference_codes_every_picture(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (6, 256, 256, 3), np.uint8)
    few, many = tmp_path / "few.mp4", tmp_path / "many.mp4"
    for path, count in ((few, 2), (many, 6)):
        write(path, Clip(frames[:count], count, None))
    assert reference(many) > 2 * reference(few) > 0


def test_a_table_of_ratios(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    frames = np.zeros((2, 256, 256, 3), np.uint8)
    monkeypatch.setattr(growth, "read", lambda _: Clip(frames, 2, None))
    asked: list[list[str]] = []

    def told(command: list[str]) -> Cost:
        asked.append(command)
        name = Path(command[command.index("-m") + 1]).name
        assert Path(command[4] if name == "avcc" else command[3]).suffix in (".mp4", ".avc")
        return Cost(4.0, 300.0) if name == "avcc" else Cost(2.0, 100.0)

    monkeypatch.setattr(growth, "cost", told)
    found = list(growth.lengths(tmp_path / "talk.mp4", [0.4, 0.8], 2000))
    assert found == [Length(s, Cost(4, 300), Cost(4, 300), Cost(2, 100)) for s in (0.4, 0.8)]
    assert len(asked) == 6 and "2000" in asked[0]
    lines = table(found).splitlines()
    assert lines[2].split() == [
        "0.4",
        "10.00",
        "10.00",
        "5.00",
        "2.0",
        "2.0",
        "300",
        "300",
        "100",
        "3.0",
        "3.0",
    ]
    assert len(lines) == 4
