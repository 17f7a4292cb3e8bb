"""Peak memory that ``avcc.evaluation`` tells: of the coder's own process, and of nothing else."""

from __future__ import annotations

import sys
from functools import partial

import numpy as np
import pytest

from avcc import weights
from avcc.errors import AvccError
from avcc.evaluation import baselines, memory, peers, voices
from avcc.evaluation.bench import Meter, Source
from avcc.evaluation.split import Coded
from avcc.stages import Clip
from tests.clips import picture

MIB = 2**20


@pytest.fixture(scope="module")
def small() -> np.ndarray:
    """uint8 (5, 128, 128, 3): a head that moves right."""
    moves = (lambda t: (0.2 * t, 0.5, 1.1),)
    return np.stack([picture(0, i / 25, (128, 128), moves) for i in range(5)])


def test_a_task_is_measured_in_a_process_of_its_own() -> None:
    ballast = np.ones(300 * MIB, np.uint8)
    little, more, also = (memory.peak(partial(bytearray, n * MIB)) for n in (1, 150, 151))
    assert 5 < little < 150, "what this process holds isn't counted"
    assert 140 < more - little < 160 and abs(also - more) < 10
    assert memory.most([]) is None
    both = memory.most([partial(bytearray, MIB), partial(bytearray, 150 * MIB)])
    assert both == pytest.approx(more, abs=10)
    assert ballast[-1] == 1
    assert memory.peak(partial(np.zeros, MIB)) > little + 5, "NumPy's own"


def test_a_program_counts_instead_of_what_runs_it() -> None:
    hold = [sys.executable, "-c", f"bytearray({120 * MIB})"]
    found = memory.cost(hold)
    assert 120 < found.peak < 160 and found.seconds > 0
    again = memory.peak(partial(memory.cost, hold))
    assert again == pytest.approx(found.peak, abs=10)


def test_a_task_that_fails_says_why() -> None:
    with pytest.raises(AvccError, match=r"ValueError.*base 10"):
        memory.peak(partial(int, "x"))
    with pytest.raises(AvccError, match="no-such-program"):
        memory.cost(["/no-such-program"])


def test_coders_can_be_measured_again(small: np.ndarray) -> None:
    if peers.absence("x264"):
        pytest.skip(peers.absence("x264"))
    drawn = next(peers.Pictures("x264", small).within(4000))
    assert drawn.encode is not None and drawn.decode is not None
    packets, _ = drawn.encode()
    assert sum(map(len, packets)) == drawn.size
    assert np.array_equal(drawn.decode(), drawn.frames)
    assert all(20 < memory.peak(task) < 600 for task in (drawn.encode, drawn.decode))
    sound = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)
    for voice in voices.voices(sound):
        assert voice.task is not None and voice.task().size == voice.size
    if not peers.absence("svtav1"):
        (frozen,) = baselines.frozen(small).within(2000)
        (warped,) = baselines.warped(small, np.full((5, 478, 2), np.nan)).within(2000)
        assert frozen.decode is not None and warped.decode is not None
        assert np.array_equal(frozen.decode(), frozen.frames)
        assert np.array_equal(warped.decode(), warped.frames)


def test_rows_say_it(small: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = (partial(bytearray, 90 * MIB), partial(bytearray, MIB)), (partial(int, "x"),)
    coded = Coded(100, small, None, 1.0, 2.0, "", "", *tasks, 77)
    monkeypatch.setattr(Meter, "_coded", lambda *_: coded)
    source = Source("talk", Clip(small, 5, None), small, None)
    source.__dict__["mesh"] = np.full((5, 478, 2), np.nan, np.float32)
    row = Meter(None, (), 1).row(source, "x264", 2000)
    assert row.values["model_bytes"] == 77 and 90 < row.values["encode_mib"] < 130
    assert "decode_mib" not in row.values and "decode_mib not measured: ValueError" in row.note
    assert "encode_mib" not in Meter(None, ("memory",), 1).row(source, "x264", 2000).values


def test_the_size_of_our_models() -> None:
    ours = [weights.path_of(weights.default(), part) for part in weights.PARTS]
    assert memory.our_models() == sum(path.stat().st_size for path in ours)
    assert weights.path_of(weights.default(), "faces") in ours
