"""What ``media.live`` promises: the same as ``media.read``, while the source still arrives."""

from __future__ import annotations

import io
import os
import threading
import wave
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest

from avcc.errors import MediaError
from avcc.media.arrival import AHEAD, LATE, Clock
from avcc.media.live import PIECE, LiveSource, Piece, opened
from avcc.media.read import read
from avcc.stages import SAMPLES_PER_FRAME, SIDE, Crop
from tests.clips import Recipe, clicks, first_click, make, number_in

FRAGMENTS = (("movflags", "frag_keyframe+empty_moov+default_base_moof"),)
IN_FRONT = (("movflags", "faststart"),)


class Arriving(io.RawIOBase):
    """A stream that can't seek, gives a little at a time, and knows how much it has given."""

    def __init__(self, data: bytes, chunk: int = 3000) -> None:
        self.data, self.chunk, self.given = data, chunk, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        part = self.data[self.given :][: min(self.chunk, len(buffer))]
        buffer[: len(part)] = part
        self.given += len(part)
        return len(part)


def arriving(path: Path) -> BinaryIO:
    return io.BufferedReader(Arriving(path.read_bytes()))


def pieces_of(source: LiveSource) -> list[Piece]:
    pieces = list(source)
    assert pieces and all(len(p.pictures) == PIECE for p in pieces[:-1])
    for piece in pieces:
        assert 1 <= len(piece.pictures) <= PIECE
        assert piece.pictures.shape[1:] == (SIDE, SIDE, 3) and piece.pictures.dtype == np.uint8
        assert (piece.sound is not None) == source.sounds
        if piece.sound is not None:
            assert piece.sound.shape == (len(piece.pictures) * SAMPLES_PER_FRAME,)
            assert piece.sound.dtype == np.float32
    return pieces


def joined(pieces: list[Piece]) -> tuple[np.ndarray, np.ndarray]:
    pictures = np.concatenate([p.pictures for p in pieces])
    sounds = [p.sound for p in pieces if p.sound is not None]
    return pictures, np.concatenate(sounds) if sounds else np.zeros(0, np.float32)


def numbers(source: LiveSource, pieces: list[Piece]) -> list[int]:
    return [number_in(picture, source.crop) for picture in joined(pieces)[0]]


def tone(seconds: float, rate: int = 44_100) -> np.ndarray:
    """float32 (n,): a tone that rises, with a click."""
    time = np.arange(round(seconds * rate)) / rate
    rising = 0.3 * np.sin(2 * np.pi * (200 + 300 * time) * time).astype(np.float32)
    return rising + clicks([0.5], seconds, rate)


def same_as_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both pictures and sound, with the crop that ``live`` found in the first 2 s alone."""
    source = opened(arriving(path))
    pictures, sound = joined(pieces_of(source))

    def find_crop(samples: Iterable[object], *_: object, **__: object) -> Crop:
        assert list(samples)
        return source.crop

    monkeypatch.setattr("avcc.media.read.find_crop", find_crop)
    clip = read(path)
    assert len(pictures) == clip.count
    assert all(np.array_equal(one, other) for one, other in zip(pictures, clip.frames, strict=True))
    assert source.sounds == (clip.audio is not None)
    if clip.audio is not None:
        assert np.abs(sound[: len(clip.audio)] - clip.audio).max() < 1e-3


@pytest.mark.parametrize(
    ("ending", "muxing"), [("mkv", ()), ("ts", ()), ("mp4", IN_FRONT), ("mp4", FRAGMENTS)]
)
def test_the_same_as_from_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, muxing: tuple[tuple[str, str]]
) -> None:
    recipe = Recipe(seconds=4.3, sound=tone(4.3), muxing=muxing)
    same_as_read(make(tmp_path / f"c.{ending}", recipe), monkeypatch)


@pytest.mark.parametrize("rate", [10, 30, 50])
@pytest.mark.parametrize("ending", ["mkv", "ts"])
def test_other_frame_rates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rate: int, ending: str
) -> None:
    recipe = Recipe(rate=rate, seconds=1.3, sound=tone(1.3))
    same_as_read(make(tmp_path / f"c.{ending}", recipe), monkeypatch)


@pytest.mark.parametrize(
    "times",
    [
        (0.0, 0.04, 0.05, 0.06, 0.21, 0.33, 0.34, 0.7, 0.9),
        (0.0, 0.04, 0.5, 4.1, 4.2, 4.3),
    ],
)
def test_a_variable_frame_rate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: tuple[float, ...]
) -> None:
    recipe = Recipe(times=times, sound=tone(times[-1]))
    same_as_read(make(tmp_path / "c.mkv", recipe), monkeypatch)


@pytest.mark.parametrize(("video", "audio"), [(0.0, 0.3), (0.3, 0.0), (0.0, 3.0)])
@pytest.mark.parametrize("ending", ["mkv", "ts"])
def test_sound_that_starts_at_another_time(
    tmp_path: Path, ending: str, video: float, audio: float
) -> None:
    sound = clicks([0.4], 1.0, 44_100)
    recipe = Recipe(seconds=4, sound=sound, sound_start=audio, video_start=video)
    source = opened(arriving(make(tmp_path / f"c.{ending}", recipe)))
    pictures, heard = joined(pieces_of(source))
    assert len(heard) == len(pictures) * SAMPLES_PER_FRAME
    assert first_click(heard) == pytest.approx(0.4 + audio - video, abs=0.004)


@pytest.mark.parametrize("source", ["stream", "path"])
def test_no_sound(tmp_path: Path, source: str) -> None:
    path = make(tmp_path / "c.mkv", Recipe(seconds=0.5))
    found = opened(arriving(path) if source == "stream" else path)
    assert not found.sounds
    pieces = pieces_of(found)
    assert [len(p.pictures) for p in pieces] == [5, 5, 2]
    assert numbers(found, pieces) == list(range(12))


@pytest.mark.parametrize("ending", ["mkv", "ts"])
def test_pieces_come_before_the_writer_is_done(tmp_path: Path, ending: str) -> None:
    data = make(tmp_path / f"c.{ending}", Recipe(seconds=5, sound=tone(5))).read_bytes()
    out, into = os.pipe()
    seen = threading.Event()
    in_time: list[bool] = []

    def write() -> None:
        with open(into, "wb", buffering=0) as pipe:
            for at in range(0, len(data), 1000):
                if not in_time and at > 0.7 * len(data):
                    in_time.append(seen.wait(30))
                pipe.write(data[at : at + 1000])

    writer = threading.Thread(target=write)
    writer.start()
    with open(out, "rb") as pipe:
        source = opened(pipe)
        pieces = []
        for piece in source:
            pieces.append(piece)
            seen.set()
        assert not pipe.closed, "it is the caller's"
    writer.join()
    assert in_time == [True]
    assert sum(len(p.pictures) for p in pieces) in (124, 125)
    assert numbers(source, pieces)[:120] == list(range(120))


def test_sound_that_stays_away_is_not_waited_for(tmp_path: Path) -> None:
    path = make(tmp_path / "c.mkv", Recipe(seconds=5, sound=tone(0.6)))
    raw = Arriving(path.read_bytes(), 500)
    shares = []
    pieces = []
    for piece in opened(io.BufferedReader(raw, 500)):
        pieces.append(piece)
        shares.append(raw.given / len(raw.data))
    assert shares[5] < 0.95, "1.2 s and two more"
    heard = joined(pieces)[1]
    assert len(heard) == 80_000 and heard[:9000].any() and not heard[10_500:].any()


@pytest.mark.parametrize("ending", ["mkv", "ts"])
def test_an_end_that_is_cut_off(tmp_path: Path, ending: str) -> None:
    data = make(tmp_path / f"c.{ending}", Recipe(seconds=3, sound=tone(3))).read_bytes()
    said: list[str] = []
    source = opened(io.BytesIO(data[: len(data) * 6 // 10]), warn=said.append)
    shown = numbers(source, pieces_of(source))
    assert 15 < len(shown) < 60 and shown[:15] == list(range(15))
    assert len(said) <= 1


def test_damage_in_the_middle(tmp_path: Path) -> None:
    path = make(tmp_path / "c.mp4", Recipe(seconds=2, muxing=IN_FRONT))
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 3000] = bytes(3000)
    said: list[str] = []
    pieces_of(opened(io.BytesIO(bytes(data)), warn=said.append))
    assert len(said) == 1 and "is damaged in" in said[0]


def test_a_clock_that_leaps_runs_on(tmp_path: Path) -> None:
    parts = b""
    for start in (500.0, 100.0, 900.0):
        sound = clicks([0.4], 1.2, 44_100)
        recipe = Recipe(seconds=1.2, sound=sound, sound_start=start, video_start=start)
        parts += make(tmp_path / "c.ts", recipe).read_bytes()
    said: list[str] = []
    source = opened(io.BytesIO(parts), warn=said.append)
    pictures, heard = joined(pieces_of(source))
    assert 84 <= len(pictures) <= 92, "three times 30, but for what is lost at the joints"
    assert [s for s in said if "leaps" in s] == [
        "the clock of the input leaps; what follows is joined on"
    ]
    for start in (0.0, 1.2, 2.4):
        assert first_click(heard, start) == pytest.approx(0.4 + start, abs=0.1)


def test_the_clock() -> None:
    leaps: list[int] = []
    clock = Clock(0.04, lambda: leaps.append(1))
    assert clock.picture(100.0, 0.02) == 0
    assert clock.sound(99.5, 0.02) == pytest.approx(-0.5)
    assert clock.picture(None, 0.0) == pytest.approx(0.02), "as long as the one before says"
    assert clock.picture(99.0, 0.04) == pytest.approx(0.02), "never back"
    assert clock.picture(109.0, 0.04) == pytest.approx(9.0), "a gap"
    assert not leaps
    assert clock.picture(5.0, 0.04) == pytest.approx(9.04)
    assert clock.sound(109.0, 0.02) == pytest.approx(9.0), "still before the leap"
    assert clock.sound(5.1, 0.02) == pytest.approx(9.14), "and behind it"
    assert leaps == [1]
    lone = [clock.sound(5000 + i, 1.0) for i in range(round(LATE) + 1)]
    assert lone[0] is None and lone[-1] is not None and abs(lone[-1] - 9.04) < AHEAD


def test_pictures_of_another_size(tmp_path: Path) -> None:
    small = make(tmp_path / "a.ts", Recipe(seconds=1)).read_bytes()
    large = make(tmp_path / "b.ts", Recipe(seconds=1, size=(640, 480), video_start=1)).read_bytes()
    source = opened(io.BytesIO(small + large))
    assert (source.crop.width, source.crop.height) == (320, 240)
    assert len(numbers(source, pieces_of(source))) in range(46, 52)


def refused(source: str | Path | BinaryIO) -> str:
    with pytest.raises(MediaError) as caught:
        opened(source)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path / "missing.mp4") == "missing.mp4 doesn't exist"
    assert refused(io.BytesIO()) == "the input is empty"
    assert "the input isn't a video" in refused(io.BytesIO(b"this is no film\n" * 100))
    assert "the input isn't a video" in refused(io.BytesIO(b"x"))
    assert "isn't a video" in refused(io.BytesIO(b"#EXTM3U\n#EXTINF:1,\nfile:/etc/passwd\n"))
    with wave.open(str(tmp_path / "c.wav"), "wb") as out:
        out.setparams((1, 2, 8000, 0, "NONE", ""))
        out.writeframes(bytes(8000))
    assert refused(arriving(tmp_path / "c.wav")) == "the input has no video stream"
    path = make(tmp_path / "c.mkv", Recipe(seconds=0.3, heads=()))
    assert refused(path) == "no face was found in the first 2 s of c.mkv"
    with pytest.raises(MediaError, match="at most 100 pixels"):
        opened(path, max_pixels=100)


def test_an_index_at_the_end(tmp_path: Path) -> None:
    path = make(tmp_path / "c.mp4", Recipe(seconds=1))
    raw = Arriving(path.read_bytes(), 100)
    assert "MP4 with its index at the end" in refused(io.BufferedReader(raw, 100))
    assert raw.given < 1000, "that is clear from the start"
    assert len(pieces_of(opened(path))) == 5, "in a file it is no trouble"
