"""What ``media.write`` and ``media.safe`` promise: files that play, appear whole or not at all."""

from __future__ import annotations

import errno
import io
import os
import stat
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from avcc.errors import AvccError, MediaError
from avcc.media import safe
from avcc.media.crop import whole
from avcc.media.read import read
from avcc.media.safe import temporary
from avcc.media.write import write, write_parts
from avcc.stages import SAMPLE_RATE, SIDE, Clip
from tests.clips import clicks, first_click, number_in, picture

ENDINGS = ("mp4", "m4v", "mov", "mkv", "webm")
COUNT = 30
pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(scope="module")
def clip() -> Clip:
    """A second and a fifth, with a click after half a second; ``read`` takes it whole."""
    near = (lambda t: (0.0, 0.5, 1.1),)
    frames = np.stack([picture(i, i / 25, (SIDE, SIDE), near) for i in range(COUNT)])
    return Clip(frames, COUNT, clicks([0.5], COUNT / 25, SAMPLE_RATE), whole(SIDE, SIDE))


def checked(path: Path, clip: Clip) -> None:
    """``path`` holds what ``clip`` does."""
    back = read(path)
    assert back.count == clip.count and back.audio is not None
    assert back.crop == clip.crop == whole(SIDE, SIDE)
    shown = list(back.frames)
    assert [number_in(frame, back.crop) for frame in shown] == list(range(clip.count))
    for one, other in zip(shown, clip.frames, strict=True):
        assert np.abs(one.astype(int) - other).mean() < 5
        assert np.abs(one.mean((0, 1)) - other.mean((0, 1))).max() < 1, "the same colours"
    assert len(back.audio) == clip.count * 640
    assert first_click(back.audio) == pytest.approx(0.5, abs=0.003)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_file_holds_the_clip(tmp_path: Path, clip: Clip, ending: str) -> None:
    path = tmp_path / f"talk.{ending}"
    shares: list[float] = []
    write(path, clip, progress=shares.append)
    checked(path, clip)
    assert shares[-1] == 1 and shares == sorted(shares)
    assert os.listdir(tmp_path) == [path.name]
    with av.open(str(path)) as box:
        video, audio = box.streams.video[0], box.streams.audio[0]
        assert (video.average_rate, video.width, video.height) == (25, SIDE, SIDE)
        assert video.pix_fmt == "yuv420p", "what every player takes"
        assert audio.channels == 1
        assert (box.duration or 0) / av.time_base == pytest.approx(COUNT / 25, abs=0.08)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_file_says_that_it_is_synthetic(tmp_path: Path, clip: Clip, ending: str) -> None:
    told = []
    for title in ("Grüße, ж", None):
        path = tmp_path / f"talk.{ending}"
        write(path, clip, title=title)
        with av.open(str(path)) as box:
            told.append({name.lower(): value for name, value in box.metadata.items()})
    assert all("synthetic" in tags["comment"].lower() for tags in told)
    assert [tags["title"] for tags in told] == ["Grüße, ж", "avcc"]


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_same_clip_gives_the_same_bytes(tmp_path: Path, clip: Clip, ending: str) -> None:
    paths = [tmp_path / f"one.{ending}", tmp_path / f"another.{ending}"]
    for path in paths:
        write(path, clip)
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize("piped", [False, True])
def test_uncompressed_pictures(tmp_path: Path, clip: Clip, piped: bool) -> None:
    path = tmp_path / "talk.y4m"
    if piped:
        pipe = Pipe()
        write(pipe, clip, ending=".y4m")  # type: ignore[arg-type]
        path.write_bytes(pipe.data)
    else:
        write(path, clip)
    assert path.read_bytes().startswith(b"YUV4MPEG2 W256 H256 F25:1 ")
    back = read(io.BytesIO(path.read_bytes()) if piped else path)
    assert back.count == COUNT and back.audio is None
    assert back.crop == whole(SIDE, SIDE)
    shown, first = next(iter(back.frames)).astype(float), next(iter(clip.frames))
    assert np.abs(shown.mean((0, 1)) - first.mean((0, 1))).max() < 1, "the colours that all expect"
    assert np.abs(shown - first).mean() < 4


@pytest.mark.parametrize("piped", [False, True])
def test_uncompressed_sound(tmp_path: Path, clip: Clip, piped: bool) -> None:
    path = tmp_path / "talk.wav"

    def untouched() -> Iterator[np.ndarray]:
        raise AssertionError("no picture is needed for the sound")
        yield

    only = Clip(untouched(), COUNT, clip.audio)
    if piped:
        pipe = Pipe()
        write(pipe, only, ending=".wav")  # type: ignore[arg-type]
        path.write_bytes(pipe.data)
    else:
        write(path, only)
        with av.open(str(path)) as box:
            assert "Synthetic" in box.metadata["comment"]
    assert clip.audio is not None
    with av.open(str(path)) as box:
        assert box.streams.audio[0].rate == SAMPLE_RATE
        heard = np.concatenate([f.to_ndarray().ravel() for f in box.decode(audio=0)]) / 2**15
    np.testing.assert_allclose(heard, clip.audio[: COUNT * 640], atol=2**-14)
    with pytest.raises(MediaError, match="no sound"):
        write(tmp_path / "none.wav", Clip(clip.frames, COUNT, None))
    assert os.listdir(tmp_path) == ["talk.wav"]


def test_no_sound_and_too_much_of_it(tmp_path: Path, clip: Clip) -> None:
    path = tmp_path / "talk.mp4"
    write(path, Clip(clip.frames, COUNT, None))
    assert read(path).audio is None
    assert clip.audio is not None
    loud = np.concatenate([clip.audio, np.full(SAMPLE_RATE, np.nan, np.float32)])
    loud[:100] = (np.nan, 7, -7, np.inf) * 25
    write(path, Clip(clip.frames, COUNT, loud))
    back = read(path)
    assert back.audio is not None and len(back.audio) == COUNT * 640
    assert np.isfinite(back.audio).all() and first_click(back.audio, 0.1) > 0.49
    write(path, Clip(clip.frames, COUNT, loud[:0]))
    assert read(path).count == COUNT


def test_frames_beyond_the_count_are_left_out(tmp_path: Path, clip: Clip) -> None:
    write(tmp_path / "talk.mkv", Clip(clip.frames, 10, None))
    assert read(tmp_path / "talk.mkv").count == 10
    assert read(io.BytesIO((tmp_path / "talk.mkv").read_bytes())).count == 10, "piped in"


class Pipe(io.RawIOBase):
    """Takes bytes, at most 4,000 at a time, and can't go back."""

    def __init__(self) -> None:
        self.data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, part: bytes) -> int:  # type: ignore[override]
        self.data += part[:4000]
        return min(4000, len(part))


def test_streams_that_seek_and_that_do_not(tmp_path: Path, clip: Clip) -> None:
    path = tmp_path / "talk.mp4"
    memory, pipe = io.BytesIO(), Pipe()
    behind = io.BytesIO(b"head")
    behind.seek(4)
    for stream in (memory, behind, pipe):
        write(stream, clip)  # type: ignore[arg-type]
        assert not stream.closed
    assert behind.getvalue()[:4] == b"head"
    for data in (memory.getvalue(), behind.getvalue()[4:], bytes(pipe.data)):
        path.write_bytes(data)
        checked(path, clip)
        with av.open(str(path)) as box:
            assert "Synthetic" in box.metadata["comment"]
    path.write_bytes(b"")
    with open(path, "ab") as appended:
        write(appended, clip)
    checked(path, clip)


def test_what_a_stream_raises_goes_through(clip: Clip) -> None:
    class Broken(Pipe):
        def write(self, part: bytes) -> int:  # type: ignore[override]
            raise BrokenPipeError(errno.EPIPE, "nobody reads")

    with pytest.raises(BrokenPipeError):
        write(Broken(), clip)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["talk.avi", "talk", "talk.mp4.gz", ".mp4", "mp4"])
def test_an_extension_that_is_not_known(tmp_path: Path, clip: Clip, name: str) -> None:
    with pytest.raises(MediaError, match=r"must end in one of .*\.mp4"):
        write(tmp_path / name, clip)
    assert os.listdir(tmp_path) == []


def test_capital_letters_are_an_extension_too(tmp_path: Path, clip: Clip) -> None:
    write(tmp_path / "TALK.MP4", clip)
    assert os.listdir(tmp_path) == ["TALK.MP4"]


@pytest.mark.parametrize("ending", ["mp4", "webm"])
def test_what_can_not_be_written_leaves_nothing(tmp_path: Path, clip: Clip, ending: str) -> None:
    path = tmp_path / f"talk.{ending}"
    path.write_bytes(b"as it was")
    good = np.zeros((SIDE, SIDE, 3), np.uint8)

    def torn() -> Iterator[np.ndarray]:
        yield good
        raise RuntimeError("torn")

    bad: list[tuple[Iterable[np.ndarray], type[Exception]]] = [
        ([], MediaError),
        ([good, good[:-2]], MediaError),
        ([good, good[..., 0]], MediaError),
        ([good, good.astype(np.float32)], MediaError),
        (torn(), RuntimeError),
    ]
    for frames, error in bad:
        with pytest.raises(error):
            write(path, Clip(frames, 25, clip.audio))
        assert path.read_bytes() == b"as it was" and os.listdir(tmp_path) == [path.name]
    with pytest.raises(AvccError, match="exists already"):
        write(path, clip, overwrite=False)
    assert path.read_bytes() == b"as it was"


def test_a_disk_that_is_full(tmp_path: Path, clip: Clip) -> None:
    resource = pytest.importorskip("resource", reason="only POSIX can limit a file's size")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(AvccError, match=r"talk\.mp4 can't be written: file too large"):
            write(tmp_path / "talk.mp4", clip)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert os.listdir(tmp_path) == []


def test_a_file_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "a.b.mp4"
    target.write_text("old")
    with temporary(target) as work:
        assert work.parent == tmp_path and work.suffix == ".mp4"
        work.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new" and os.listdir(tmp_path) == ["a.b.mp4"]
    long = tmp_path / ("😀" * 62 + ".mp4")
    with temporary(long, overwrite=False) as work:
        work.write_text("a name of 252 bytes")
    assert long.exists() and len(os.listdir(tmp_path)) == 2
    plain = tmp_path / "plain"
    plain.touch()
    assert stat.S_IMODE(long.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


def test_a_signal_leaves_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where it comes when the file has just been made; and another's file is left alone."""
    close, target = os.close, tmp_path / "a.mp4"

    def closed(handle: int) -> None:
        close(handle)
        raise SystemExit(143)

    monkeypatch.setattr(safe.os, "close", closed)
    with pytest.raises(SystemExit), temporary(target):
        pass
    monkeypatch.undo()
    assert not os.listdir(tmp_path)
    monkeypatch.setattr(safe.secrets, "token_hex", lambda n: "00" * n)
    other = tmp_path / ".a.00000000.mp4"
    other.write_text("another's")
    with pytest.raises(AvccError, match="can't be written"), temporary(target):
        pass
    assert other.read_text() == "another's"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError(5, "elsewhere", "x")])
def test_nothing_is_left_after_an_exception(tmp_path: Path, error: BaseException) -> None:
    target = tmp_path / "talk.mp4"
    kind = error if isinstance(error, type) else type(error)
    with pytest.raises(kind), temporary(target) as work:
        work.write_text("half")
        raise error
    assert os.listdir(tmp_path) == []


def test_what_exists_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "talk.mp4"
    with pytest.raises(AvccError, match="exists already"), temporary(target, overwrite=False) as w:
        w.write_text("mine")
        target.write_text("came meanwhile")
    assert target.read_text() == "came meanwhile" and len(os.listdir(tmp_path)) == 1
    entered = False
    with pytest.raises(AvccError, match="exists already"), temporary(target, overwrite=False):
        entered = True
    assert not entered, "before the work, too"
    with pytest.raises(AvccError, match="is a folder"), temporary(tmp_path):
        pass
    with pytest.raises(AvccError, match="can't be written"), temporary(tmp_path / "no" / "x.mp4"):
        pass


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    real, link = tmp_path / "there" / "real.mp4", tmp_path / "link.mp4"
    link.symlink_to(real)
    for text in ("through a dangling link", "through a link"):
        with temporary(link) as work:
            work.write_text(text)
        assert link.is_symlink() and real.read_text() == text and not real.is_symlink()
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(AvccError, match="can't be written"), temporary(tmp_path / "loop"):
        pass


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no devices and no FIFOs here")
def test_devices_and_pipes_are_written_to(tmp_path: Path, clip: Clip) -> None:
    null, fifo = tmp_path / "null.mkv", tmp_path / "fifo.mp4"
    null.symlink_to(os.devnull)
    write(null, clip, overwrite=False)
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode), "it is a device as before"
    os.mkfifo(fifo)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(fifo.read_bytes()), daemon=True)
    reader.start()
    write(fifo, clip, overwrite=False)
    reader.join(10)
    (tmp_path / "copy.mp4").write_bytes(got[0])
    checked(tmp_path / "copy.mp4", clip)
    assert stat.S_ISFIFO(fifo.stat().st_mode)
    if os.path.exists("/dev/full"):
        (tmp_path / "full.mp4").symlink_to("/dev/full")
        with pytest.raises(AvccError, match=r"full\.mp4 can't be written: no space left"):
            write(tmp_path / "full.mp4", clip)


@pytest.mark.parametrize("ending", ["mp4", "wav"])
def test_what_was_shown_of_a_call_is_kept(tmp_path: Path, clip: Clip, ending: str) -> None:
    """Whoever ends the program has the parts that were there; unless told so, nothing."""

    def parts() -> Iterator[tuple[Iterable[np.ndarray], np.ndarray | None]]:
        assert isinstance(clip.frames, np.ndarray) and clip.audio is not None
        yield clip.frames[:20], clip.audio[: 20 * 640]
        raise KeyboardInterrupt

    path = tmp_path / f"call.{ending}"
    with pytest.raises(KeyboardInterrupt):
        write_parts(path, parts())
    assert not os.listdir(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        write_parts(path, parts(), keep=True)
    with av.open(str(path)) as box:
        kind = "audio" if ending == "wav" else "video"
        assert sum(1 for _ in box.decode(**{kind: 0})) >= 10
    if ending == "mp4":
        assert read(path).count == 20
