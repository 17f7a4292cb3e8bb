"""A long call, made of a short clip."""

from __future__ import annotations

import re

import numpy as np
import pytest

from avcc.evaluation.call import Call, held
from tests.test_codec import talk


def test_a_call_goes_there_and_back() -> None:
    clip = talk()
    call, frames = Call(clip), np.stack(list(clip.frames))
    pictures, sound = call.piece(45)
    assert np.array_equal(pictures, frames[45:])
    back, again = call.piece(50)
    assert np.array_equal(back, frames[:44:-1]) and clip.audio is not None
    assert sound is not None and again is not None
    assert np.array_equal(sound, clip.audio[45 * 640 :])
    assert np.array_equal(again, clip.audio[: 5 * 640]), "the voice isn't played backwards"
    assert np.array_equal(call.piece(100)[0], frames[:5])


def test_what_it_tells(capsys: pytest.CaptureFixture[str]) -> None:
    told = held(talk(), 2000, 0.1, True)
    assert re.match(r"0.1 minutes at \d+ bit/s; coded in \d", told)
    assert "shown in" in told and "memory" not in told
