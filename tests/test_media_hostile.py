"""Videos that are broken, empty, enormous or something else: a clip, or one sentence."""

from __future__ import annotations

import os
import wave
from collections import Counter
from functools import cache
from pathlib import Path

import av
import numpy as np
import pytest
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.video.frame import VideoFrame

from avcc.cli import FAILED, main
from avcc.errors import MediaError
from avcc.media.clock import EARLY
from avcc.media.read import read
from avcc.media.video import THREADS, open_media, video_stream
from tests.clips import Recipe, clicks, first_click, make, number_in, picture, still
from tests.fuzz import little_memory

CASES = 30


@cache
def small(folder: Path) -> bytes:
    """A clip of six frames with sound, whose index comes first."""
    sound = clicks([0.1], 0.24, 16_000)
    front = (("movflags", "faststart"),)
    recipe = Recipe(seconds=0.24, sound=sound, sound_rate=16_000, muxing=front)
    return make(folder / "small.mp4", recipe).read_bytes()


def spoiled(rng: np.random.Generator, data: bytes) -> bytes:
    """Bits, bytes, the end or a stretch of it: wrong or missing; more often in the index."""
    out = bytearray(data)
    index = data.index(b"mdat") if rng.random() < 0.7 else len(data)
    for _ in range(rng.integers(1, 6)):
        at, action = int(rng.integers(min(index, len(out)))), rng.integers(4)
        if action == 0:
            out[at] ^= 1 << int(rng.integers(8))
        elif action == 1:
            out[at : at + 4] = (b"\xff\xff\xff\xff", bytes(4), rng.bytes(4))[rng.integers(3)]
        elif action == 2:
            out[at : at + int(rng.integers(1, 60))] = b""
        elif rng.random() < 0.2:
            del out[at:]
    return bytes(out)


def test_spoiled_videos_are_read_or_refused(tmp_path: Path) -> None:
    data, path = small(tmp_path), tmp_path / "case.mp4"
    assert read(tmp_path / "small.mp4").count == 6
    outcomes: Counter[str] = Counter()
    with little_memory():
        for number in range(CASES):
            path.write_bytes(spoiled(np.random.default_rng((1, number)), data))
            try:
                clip = read(path, max_duration=60)
            except MediaError as error:
                assert "\n" not in str(error)
                outcomes["refused"] += 1
                continue
            assert sum(1 for _ in clip.frames) == clip.count <= 60 * 25
            assert clip.audio is None or len(clip.audio) <= 640 * clip.count
            outcomes["read"] += 1
    assert outcomes["refused"] > 3 and outcomes["read"] > 3


def _sound_only(path: Path) -> None:
    with av.open(str(path), "w", format="mp4") as out:
        stream = out.add_stream("aac", rate=16_000, layout="mono")
        assert isinstance(stream, AudioStream)
        frame = AudioFrame.from_ndarray(np.zeros((1, 16_000), np.float32), "fltp", "mono")
        frame.sample_rate = 16_000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            out.mux(packet)


def _wave(path: Path) -> None:
    with wave.open(str(path), "wb") as out:
        out.setparams((1, 2, 8000, 0, "NONE", ""))
        out.writeframes(bytes(8000))


BROKEN = {
    "nothing": (lambda path: path.touch(), "is empty"),
    "text": (lambda path: path.write_text("no film\n" * 500), "isn't a video"),
    "zeros": (lambda path: path.write_bytes(bytes(5000)), "isn't a video"),
    "sound": (_sound_only, "has no video stream"),
    "wave": (_wave, "has no video stream"),
    "half": (lambda path: path.write_bytes(_late(path)), "cut off before its index"),
    "grey": (lambda path: make(path, Recipe(seconds=0.2, heads=())), "no face was found"),
    "huge": (lambda path: path.write_bytes(_y4m(9_000, 4_400) + bytes(100)), "is too large"),
    "playlist": (
        lambda path: path.write_text("#EXTM3U\n#EXTINF:9,\nfile:///etc/passwd\n"),
        "isn't a video|no video stream",
    ),
}


def _late(path: Path) -> bytes:
    data = make(path, Recipe(seconds=0.4)).read_bytes()
    return data[: len(data) * 2 // 3]


def _y4m(width: int, height: int) -> bytes:
    """The start of an uncompressed video: what follows is one picture."""
    return f"YUV4MPEG2 W{width} H{height} F25:1 Ip A1:1 C420jpeg\nFRAME\n".encode()


@pytest.mark.parametrize("name", BROKEN)
def test_encode_says_one_sentence(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil, sentence = BROKEN[name]
    path = tmp_path / "talk.mp4"
    spoil(path)
    assert main(["encode", "--device", "cpu", str(path)]) == FAILED
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("avcc: ") and said.err.count("\n") == 1
    assert any(part in said.err for part in sentence.split("|"))
    assert os.listdir(tmp_path) == ["talk.mp4"]


@pytest.mark.parametrize(("rate", "seconds", "count"), [(1, 3.0, 75), (240, 0.25, 6)])
def test_one_and_240_frames_a_second(tmp_path: Path, rate: int, seconds: float, count: int) -> None:
    clip = read(make(tmp_path / "c.mp4", Recipe(rate=rate, seconds=seconds)))
    assert clip.count == count and clip.crop is not None
    shown = [number_in(frame, clip.crop) for frame in clip.frames]
    assert shown == [int((k / 25 + EARLY) * rate) for k in range(count)]


def test_a_picture_of_8k(tmp_path: Path) -> None:
    size = (7680, 4320)
    face = picture(5, 0.0, (960, 540), (still,)).repeat(8, 0).repeat(8, 1)[..., 1]
    grey = np.full(size[0] * size[1] // 2, 128, np.uint8)
    path = tmp_path / "c.y4m"
    with path.open("wb") as out:
        out.write(_y4m(*size))
        out.write(face.tobytes())
        out.write(grey.tobytes())
    clip = read(path)
    assert clip.crop is not None and (clip.crop.width, clip.crop.height) == size
    assert [number_in(frame, clip.crop) for frame in clip.frames] == [5]


def test_a_film_of_8k_in_bounded_memory(tmp_path: Path) -> None:
    """The largest picture that is read, in H.264, whose decoder keeps pictures in each thread."""
    size = (8192, 4320)
    luma = picture(5, 0.0, (1024, 540), (still,)).repeat(8, 0).repeat(8, 1)[..., 1]
    chroma = np.full((size[1] // 2, size[0]), 128, np.uint8)
    shown = VideoFrame.from_ndarray(np.concatenate([luma, chroma]), format="yuv420p")
    path = tmp_path / "c.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"preset": "ultrafast", "threads": "1"})
        stream.width, stream.height = size
        for number in range(4):
            shown.pts = number
            out.mux(stream.encode(shown))
        out.mux(stream.encode(None))
    with little_memory():
        clip = read(path)
        assert sum(1 for _ in clip.frames) == clip.count == 4
    with open_media(path, "c") as container:
        assert video_stream(container, "c").codec_context.thread_count <= THREADS


def test_sound_long_before_the_pictures(tmp_path: Path) -> None:
    sound = clicks([0.5, 4.0], 5.0, 16_000)
    recipe = Recipe(sound=sound, sound_rate=16_000, video_start=3.6)
    clip = read(make(tmp_path / "c.mkv", recipe))
    assert clip.audio is not None and len(clip.audio) == 16_000
    assert first_click(clip.audio) == pytest.approx(0.4, abs=0.004)


def test_pictures_that_are_years_apart(tmp_path: Path) -> None:
    path = make(tmp_path / "c.mkv", Recipe(times=(0.0, 0.04, 400_000_000.0)))
    with little_memory(), pytest.raises(MediaError, match=r"lasts \d+ s.*--max-duration"):
        read(path)


def test_a_long_video_must_be_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = make(tmp_path / "c.mp4", Recipe(rate=1, seconds=4))
    assert read(path, max_duration=4.5).count == 100
    with pytest.raises(MediaError, match=r"c\.mp4 lasts 4 s, and at most 3 s are allowed"):
        read(path, max_duration=3)
    assert main(["encode", "--max-duration", "3", str(path)]) == FAILED
    assert "--max-duration" in capsys.readouterr().err
