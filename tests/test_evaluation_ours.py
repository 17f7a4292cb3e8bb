"""avcc as the evaluation runs it: live streams there and back."""

from __future__ import annotations

import numpy as np

from avcc.container.read import read
from avcc.evaluation.ours import WAYS, coded
from avcc.evaluation.picture import psnr
from avcc.stages import Clip
from tests.test_codec import talk


def test_what_the_ways_are() -> None:
    assert [WAYS[name].told for name in ("avcc", "audio-driven", "live-0.4")] == [
        "mode auto",
        "mode audio-driven",
        "mode auto, live, segments of 0.4 s",
    ]


def test_a_live_stream_comes_back_whole() -> None:
    clip = talk(2.6)
    frames = np.stack(list(clip.frames))
    row = coded(Clip(frames, clip.count, clip.audio), 8000, WAYS["live-1"])
    assert row.frames.shape == (65, 256, 256, 3) and row.audio is not None
    assert len(row.audio) == 65 * 640 and psnr(row.frames, frames) > 17
    (encode,), (decode,) = row.encode, row.decode
    data = encode()
    assert len(data) == row.size and read(data).head.segment_frames == 25
    assert np.array_equal(decode()[0], row.frames)
    mute = coded(Clip(frames, clip.count, None), 8000, WAYS["live-2"])
    assert mute.audio is None and len(mute.frames) == 65
