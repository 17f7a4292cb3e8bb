"""What ``media.read`` promises of files of every kind."""

from __future__ import annotations

import io
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from avcc.errors import MediaError
from avcc.media.face import Detector
from avcc.media.read import from_arrays, read
from avcc.stages import SIDE, Clip
from tests.clips import Recipe, clicks, first_click, make, number_in, picture, still


def numbers(clip: Clip) -> list[int]:
    assert clip.crop is not None
    return [number_in(frame, clip.crop) for frame in clip.frames]


def likeness(one: np.ndarray, other: np.ndarray) -> float:
    """PSNR in dB."""
    error = np.mean((one.astype(float) - other.astype(float)) ** 2)
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sound = clicks([0.5], 1.0, 44_100)
    return make(tmp_path_factory.mktemp("clips") / "plain.mp4", Recipe(sound=sound))


def test_a_plain_clip(plain: Path) -> None:
    said: list[str] = []
    shares: list[float] = []
    clip = read(plain, warn=said.append, progress=shares.append)
    frames = list(clip.frames)
    assert (clip.count, len(frames)) == (25, 25)
    assert all(f.shape == (SIDE, SIDE, 3) and f.dtype == np.uint8 for f in frames)
    assert numbers(clip) == list(range(25)), "a second iteration gives the same frames"
    assert clip.audio is not None and clip.audio.dtype == np.float32
    assert len(clip.audio) == 25 * 640
    assert first_click(clip.audio) == pytest.approx(0.5, abs=0.002)
    assert said == []
    assert shares[-1] == 1 and shares == sorted(shares)


@pytest.mark.parametrize("size", [(320, 240), (640, 480), (1280, 720), (608, 1080), (1920, 1080)])
def test_the_face_is_where_the_models_were_taught(tmp_path: Path, size: tuple[int, int]) -> None:
    wide = (lambda t: (0.0, 0.5, 0.6),)
    clip = read(make(tmp_path / "c.mp4", Recipe(size=size, seconds=0.2, heads=wide)))
    detector = Detector()
    box = detector.boxes(next(iter(clip.frames)))[0]
    assert 0.44 < box.size / SIDE < 0.6
    assert abs(box.x / SIDE - 0.5) < 0.04
    assert abs(box.y / SIDE - 0.51) < 0.05


@pytest.mark.parametrize(
    ("degrees", "mirrored"), [(90, False), (180, False), (270, False), (0, True), (90, True)]
)
def test_the_display_matrix_is_honoured(
    tmp_path: Path, plain: Path, degrees: int, mirrored: bool
) -> None:
    turned = Recipe(seconds=0.2, degrees=degrees, mirrored=mirrored)
    clip = read(make(tmp_path / "turned.mp4", turned))
    reference = read(plain)
    assert clip.crop is not None and (clip.crop.width, clip.crop.height) == (320, 240)
    assert numbers(clip) == [0, 1, 2, 3, 4]
    assert likeness(next(iter(clip.frames)), next(iter(reference.frames))) > 22


def test_pictures_may_be_limited(plain: Path) -> None:
    assert read(plain, max_pixels=320 * 240).count == 25
    with pytest.raises(MediaError, match=r"320x240, and at most 76799 .* --max-pixels"):
        read(plain, max_pixels=320 * 240 - 1)


@pytest.mark.parametrize("aspect", [Fraction(4, 3), Fraction(1, 2)])
def test_pixels_that_are_not_square(tmp_path: Path, plain: Path, aspect: Fraction) -> None:
    clip = read(make(tmp_path / "c.mp4", Recipe(seconds=0.2, aspect=aspect)))
    assert clip.crop is not None
    assert clip.crop.width / clip.crop.height == pytest.approx(320 / 240, rel=0.01)
    assert numbers(clip) == [0, 1, 2, 3, 4]
    assert likeness(next(iter(clip.frames)), next(iter(read(plain).frames))) > 22


@pytest.mark.parametrize("rate", [10, 24, 30, 50, 60])
@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_other_frame_rates(tmp_path: Path, rate: int, ending: str) -> None:
    clip = read(make(tmp_path / f"c.{ending}", Recipe(rate=rate)))
    assert clip.count == 25
    assert numbers(clip) == [min(rate - 1, k * rate // 25) for k in range(25)]


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_a_variable_frame_rate(tmp_path: Path, ending: str) -> None:
    times = (0.0, 0.04, 0.05, 0.06, 0.21, 0.33, 0.34, 0.7, 0.9)
    clip = read(make(tmp_path / f"c.{ending}", Recipe(times=times)))
    shown = numbers(clip)
    ticks = np.arange(len(shown)) / 25 + 1e-6
    assert shown == list(np.searchsorted(times, ticks, side="right") - 1)
    assert clip.count in range(23, 29), "0.9 s, and however long the last one is held"


def test_times_that_are_missing(tmp_path: Path) -> None:
    path = make(tmp_path / "c.264", Recipe(container="h264"))
    assert numbers(read(path)) == list(range(25))


@pytest.mark.parametrize(("seconds", "count"), [(0.04, 1), (0.3, 8), (0.32, 8), (2.0, 50)])
def test_the_count_of_frames(tmp_path: Path, seconds: float, count: int) -> None:
    path = make(tmp_path / "c.mp4", Recipe(rate=100, seconds=seconds))
    clip = read(path)
    assert clip.count == count == sum(1 for _ in clip.frames)


@pytest.mark.parametrize(
    ("rate", "layout"), [(8000, "mono"), (16000, "mono"), (44100, "stereo"), (48000, "5.1")]
)
def test_sound_of_any_kind(tmp_path: Path, rate: int, layout: str) -> None:
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate).astype(np.float32)
    recipe = Recipe(sound=tone, sound_rate=rate, layout=layout)
    clip = read(make(tmp_path / "c.mp4", recipe))
    assert clip.audio is not None and len(clip.audio) == 16_000
    wave = 0.5 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
    inner = slice(1000, 15_000)
    assert np.abs(clip.audio - wave)[inner].mean() < 0.02, "same loudness, same phase"


@pytest.mark.parametrize("ending", ["mp4", "mkv", "mov"])
@pytest.mark.parametrize(("video", "audio"), [(0.0, 0.3), (0.3, 0.0), (0.2, 0.2)])
def test_sound_that_starts_at_another_time(
    tmp_path: Path, ending: str, video: float, audio: float
) -> None:
    sound = clicks([0.4], 1.0, 44_100)
    recipe = Recipe(sound=sound, sound_start=audio, video_start=video)
    clip = read(make(tmp_path / f"c.{ending}", recipe))
    assert clip.audio is not None
    assert clip.count == 25 and len(clip.audio) == 16_000
    assert first_click(clip.audio) == pytest.approx(0.4 + audio - video, abs=0.004)
    assert numbers(clip) == list(range(25))


@pytest.mark.parametrize("seconds", [0.4, 1.7])
def test_sound_of_another_length(tmp_path: Path, seconds: float) -> None:
    said: list[str] = []
    recipe = Recipe(sound=clicks([0.2], seconds, 44_100))
    for ending in ("mp4", "mkv"):
        clip = read(make(tmp_path / f"c.{ending}", recipe), warn=said.append)
        assert clip.audio is not None and (clip.count, len(clip.audio)) == (25, 16_000)
    assert said == []


def test_no_sound_and_silence(tmp_path: Path) -> None:
    assert read(make(tmp_path / "none.mp4", Recipe(seconds=0.2))).audio is None
    silent = read(make(tmp_path / "zero.mp4", Recipe(sound=np.zeros(44_100, np.float32))))
    assert silent.audio is not None and not silent.audio.any()


def test_a_stream_instead_of_a_path(plain: Path) -> None:
    class Pipe(io.RawIOBase):
        def __init__(self, data: bytes) -> None:
            self.data = io.BytesIO(data)

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
            return self.data.readinto(buffer)

    pipe = io.BufferedReader(Pipe(plain.read_bytes()))
    clip = read(pipe)
    copy = clip.frames._path  # type: ignore[attr-defined]
    assert copy.exists()
    assert numbers(clip) == list(range(25))
    same = zip(clip.frames, read(plain).frames, strict=True)
    assert all(np.array_equal(one, other) for one, other in same)
    del clip, same
    assert not copy.exists(), "the temporary copy goes with the frames"


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_a_file_that_is_cut_off(tmp_path: Path, ending: str) -> None:
    muxing = (("movflags", "faststart"),) if ending == "mp4" else ()
    path = make(tmp_path / f"c.{ending}", Recipe(seconds=3, muxing=muxing))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    said: list[str] = []
    clip = read(path, warn=said.append)
    assert 15 < clip.count < 60
    assert numbers(clip)[:15] == list(range(15))
    assert len(said) == 1 and "cut short" in said[0]


def test_damage_in_the_middle(tmp_path: Path) -> None:
    path = make(tmp_path / "c.mp4", Recipe(seconds=2, muxing=(("movflags", "faststart"),)))
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 3000] = bytes(3000)
    path.write_bytes(data)
    said: list[str] = []
    clip = read(path, warn=said.append)
    assert sum(1 for _ in clip.frames) == clip.count
    assert len(said) == 1


def refused(source: object) -> str:
    with pytest.raises(MediaError) as caught:
        read(source)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_refused(tmp_path: Path, plain: Path) -> None:
    assert refused(tmp_path / "missing.mp4") == "missing.mp4 doesn't exist"
    assert "is a folder" in refused(tmp_path)
    (tmp_path / "empty.mp4").touch()
    assert refused(tmp_path / "empty.mp4") == "empty.mp4 is empty"
    (tmp_path / "text.mp4").write_text("this is no film\n" * 100)
    assert "isn't a video" in refused(tmp_path / "text.mp4")
    assert refused(io.BytesIO()) == "the input is empty"
    data = plain.read_bytes()
    (tmp_path / "half.mp4").write_bytes(data[: len(data) // 2])
    assert "cut off before its index" in refused(tmp_path / "half.mp4")
    assert refused("http://example.org/x.mp4") == "x.mp4 doesn't exist"


def test_a_file_without_pictures(tmp_path: Path) -> None:
    import wave

    with wave.open(str(tmp_path / "c.wav"), "wb") as out:
        out.setparams((1, 2, 8000, 0, "NONE", ""))
        out.writeframes(bytes(8000))
    assert refused(tmp_path / "c.wav") == "c.wav has no video stream"


def test_no_face(tmp_path: Path) -> None:
    assert refused(make(tmp_path / "c.mp4", Recipe(heads=()))) == "no face was found in c.mp4"


def test_two_faces(tmp_path: Path) -> None:
    heads = (lambda t: (-0.4, 0.5, 0.9), lambda t: (0.5, 0.5, 0.5))
    said: list[str] = []
    path = make(tmp_path / "c.mp4", Recipe(size=(640, 360), heads=heads))
    clip = read(path, warn=said.append)
    assert said == ["several faces: kept the most prominent (2 seen)"]
    assert clip.crop is not None
    assert clip.crop.x + clip.crop.side / 2 == pytest.approx(320 - 0.4 * 360, abs=40)


def test_a_face_that_travels_stays_inside(tmp_path: Path) -> None:
    heads = (lambda t: (0.5 * np.sin(2 * np.pi * t / 4), 0.5, 0.55),)
    clip = read(make(tmp_path / "c.mp4", Recipe(size=(640, 360), seconds=4, heads=heads)))
    detector = Detector()
    boxes = [detector.boxes(frame)[0] for frame in list(clip.frames)[::5]]
    assert all(b.size / 2 < b.x < SIDE - b.size / 2 for b in boxes)
    assert np.ptp([b.x for b in boxes]) > 60, "the square holds still"


def test_arrays() -> None:
    square = np.stack([picture(i, i / 25, (SIDE, SIDE), (still,)) for i in range(10)])
    clip = from_arrays(square, clicks([0.1], 0.4, 48_000), 48_000)
    assert all(np.array_equal(a, b) for a, b in zip(clip.frames, square, strict=True))
    assert clip.audio is not None and len(clip.audio) == 10 * 640
    assert first_click(clip.audio) == pytest.approx(0.1, abs=0.002)
    wide = [picture(i, i / 50, (320, 240), (still,)) for i in range(50)]
    clip = from_arrays(wide, fps=50)
    assert numbers(clip) == list(range(0, 50, 2)) and clip.audio is None
    for frames, audio in [
        (square[:0], None),
        (square.astype(float), None),
        (square, np.zeros((2, 10))),
        (square, np.array([np.nan])),
        (np.zeros((3, 100, 100, 3), np.uint8), None),
    ]:
        with pytest.raises(MediaError):
            from_arrays(frames, audio)


def test_nothing_is_said_on_stderr(plain: Path) -> None:
    code = f"from avcc.media.read import read; list(read({str(plain)!r}).frames)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stderr == b"" and done.stdout == b""
