"""Clips made long, and the clock that splits time by stage."""

from __future__ import annotations

import numpy as np
import pytest

from avcc.evaluation import long
from avcc.stages import Clip


def test_a_clip_is_played_forth_and_back() -> None:
    frames = np.arange(3, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    clip = long.lengthened(Clip(frames, 3, np.arange(3 * 640, dtype=np.float32)), 0.32)
    assert clip.count == 8
    for _ in range(2):  # it can be iterated again
        assert [int(p[0, 0, 0]) for p in clip.frames] == [0, 1, 2, 2, 1, 0, 0, 1]
    assert clip.audio is not None
    assert clip.audio.shape == (8 * 640,) and clip.audio[3 * 640 + 5] == 5
    assert long.lengthened(Clip(frames, 3, None), 1).audio is None


def test_time_is_booked_where_it_was_spent(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 1.0, 3.0, 3.5, 7.0])
    monkeypatch.setattr(long.time, "perf_counter", lambda: next(now))
    clock = long.Clock()
    for stage in ("reading", "following", "reading", "fitting"):
        clock(stage, 0.5)
    assert clock.seconds == {"reading": 1.5, "following": 2.0, "fitting": 3.5}
