"""A clip that isn't over: sent segment by segment, and shown as it comes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import avcc
from avcc.cli import FAILED, INTERRUPTED, OK, USAGE, main
from avcc.codec import Codec
from avcc.container import layout
from avcc.container.describe import info, lines
from avcc.container.layout import Chunk
from avcc.container.pieces import pack_pieces
from avcc.container.read import chunks, is_open, read
from avcc.container.write import identity_payload, pack_end, write
from avcc.errors import FormatError, MediaError, RateError
from avcc.evaluation.call import Call
from avcc.incoming import Incoming
from avcc.live import renewal, sender
from avcc.media import live
from avcc.media.read import read as read_media
from avcc.media.write import write as write_media
from avcc.stages import SAMPLES_PER_FRAME, Clip, KeyFrame
from avcc.terminal import undisturbed
from tests.test_codec import talk

ROOT = Path(__file__).parent.parent
RATE = 2000
SECONDS = 9.0  # three segments, the last of a second
SHORT = 5.6  # two
PIECE = 10
HELD = 4000  # bytes of a film that come late


def pieces(clip: Clip) -> list[tuple[np.ndarray, np.ndarray | None]]:
    """What a reader that doesn't wait for the end gives."""
    frames, out = np.stack(list(clip.frames)), []
    for a in range(0, clip.count, PIECE):
        b = min(a + PIECE, clip.count)
        sound = None
        if clip.audio is not None:
            sound = clip.audio[a * SAMPLES_PER_FRAME : b * SAMPLES_PER_FRAME]
        out.append((frames[a:b], sound))
    return out


@cache
def sent(
    fec: bool = False,
    mode: str = "auto",
    sound: bool = True,
    seconds: float = SECONDS,
    segment: float = 4.0,
) -> tuple[bytes, ...]:
    """The bytes after each piece, and after the end."""
    clip = talk(seconds) if sound else replace(talk(seconds), audio=None)
    sender = Codec("cpu").sender(RATE, sound=sound, mode=mode, fec=fec, segment=segment)
    return (*(sender(*piece) for piece in pieces(clip)), sender.close())


def shown(*parts: bytes, steps: int = 1) -> tuple[list[int], np.ndarray, list[str]]:
    """Frames of each part, all of the sound, and what was said; nothing is drawn."""
    said: list[str] = []
    receiver = Codec("cpu").receiver(steps=steps, warn=said.append)
    counts, sound, data = [], [], b""
    for number, part in enumerate(parts):
        data += part
        for one in receiver(data, number == len(parts) - 1):
            counts.append(one.count)
            assert one.sound is not None and len(one.sound) == one.count * SAMPLES_PER_FRAME
            sound.append(one.sound)
    assert receiver.shown == sum(counts)
    return counts, np.concatenate(sound), said


def test_segments_are_sent_as_soon_as_they_can_be() -> None:
    parts = sent()
    when = [number for number, part in enumerate(parts) if part]
    # a segment of 100 frames, and 5 more that its voice is heard with; the rest at the end
    assert when == [10, 20, len(parts) - 1]
    data = b"".join(parts)
    assert data[9] == layout.BRIEF and is_open(data)
    stream = read(data)
    assert (stream.head.frames, stream.head.samples) == (225, 225 * 640)
    assert not stream.damage and not stream.unended and len(stream.points) == 3
    assert all(point is not None and point.motion_stride for point in stream.points)
    told = info(data)
    assert told["open"] and told["mode"] == "av"
    assert any(line.startswith("live") for line in lines(told))
    assert write(stream) == data, "written as the file's own writer would"


def test_short_segments_come_sooner() -> None:
    """Of a second each: after 25 frames, the 5 that are heard as well, and what a piece rounds; at
    first 2 s are held, to choose the key frame from."""
    parts = sent(True, segment=1.0)
    data = b"".join(parts)
    when = [number for number, part in enumerate(parts) if part]
    assert when == [5, 7, 10, 12, 15, 17, 20, len(parts) - 1]
    assert data[9] == layout.BRIEF and is_open(data)
    stream = read(data)
    assert stream.head.segment_frames == 25 and len(stream.segments) == 9 == len(stream.copies)
    assert write(stream) == data and not stream.damage
    told = info(data)
    assert told["format"] == "1.9" and told["segment_s"] == 1
    assert any("each segment of 1 s" in line for line in lines(told))
    counts, sound, said = shown(*parts)
    assert len(counts) == 9 and sum(counts) == 225 and not said
    ends = np.cumsum(counts[:-1]) - 25 * np.arange(1, 9)
    assert ends.min() >= -15 and ends.max() <= -5, "where it is quiet, a little before the segment"
    whole = avcc.decode(data, steps=1)
    assert whole.audio is not None and len(sound) == len(whole.audio)
    level = np.sqrt(np.square(sound).mean() / np.square(whole.audio).mean())
    assert 0.5 < level < 2
    counts, _, said = shown(without(data, 3))
    assert sum(counts) == 225 and any("Segment 3" in s and "copy" in s for s in said)


def test_a_face_that_comes_late() -> None:
    """Where the first segment has none, the key frame is of what follows it."""
    near = Codec("cpu").sender(4 * RATE, segment=1.0)
    grey = np.full((30, 256, 256, 3), 99, np.uint8)
    frames = np.concatenate([grey, np.stack(list(talk(2.0).frames))])
    data = b"".join(near(frames[a : a + PIECE], None) for a in range(0, len(frames), PIECE))
    stream = read(data + near.close())
    assert len(stream.segments) == 4 and not stream.damage
    assert len(stream.segments[0] or b"") < len(stream.segments[2] or b"")


def test_segments_that_are_too_short() -> None:
    sender = Codec("cpu").sender(RATE, segment=0.1)
    with pytest.raises(FormatError, match="length of a segment is 2"):
        for piece in pieces(talk(SHORT)):
            sender(*piece)


def test_pieces_of_a_key_frame_are_worth_their_framing() -> None:
    """In short segments they come with every so many, and as much comes in a minute."""
    key = KeyFrame(np.stack(list(talk().frames))[0], np.zeros((478, 2), np.float32), 9)
    sizes = {}
    for seconds in (4.0, 1.0, 0.4):
        renewed = renewal.Renewal(RATE * seconds / 8, seconds)
        renewed.take(key, lambda _: b"code")
        came = [len(renewed.piece()) for _ in range(round(60 / seconds))]
        renewed.close()
        assert all(size > renewal.LEAST for size in list(filter(None, came))[:-1])
        assert max(came) <= 0.1 * RATE * 4 / 8
        sizes[seconds] = sum(came)
    assert min(sizes.values()) > 1000 and max(sizes.values()) < 1600


def test_what_comes_is_shown_part_by_part() -> None:
    parts = sent()
    counts, sound, said = shown(*parts)
    assert len(counts) == 3 and sum(counts) == 225 and not said
    # each ends where it is quiet, a little before its segment does
    assert all(70 <= counts[0] <= 90 and 170 <= sum(counts[:2]) <= 190 for _ in "1")
    level = np.sqrt(np.square(sound).mean())
    true = talk(SECONDS).audio
    assert true is not None and 0.5 < level / np.sqrt(np.square(true).mean()) < 2


def test_how_the_bytes_are_cut_changes_nothing() -> None:
    data = b"".join(sent())
    counts, sound, _ = shown(data)
    rng = np.random.default_rng(4)
    places = [0, *sorted(rng.integers(1, len(data), 40).tolist()), len(data), len(data)]
    cut = [data[a:b] for a, b in pairwise(places)]
    again, same, said = shown(*cut)
    assert again == counts and np.array_equal(same, sound) and not said


@pytest.mark.parametrize("seconds", [SECONDS, 8.0])
def test_the_end_may_come_late(seconds: float) -> None:
    """What the last segment gave is gone on with; one that is shorter waits for the end."""
    data = b"".join(sent(seconds=seconds))
    end = next(c.start for c in chunks(data) if isinstance(c, Chunk) and c.type == layout.END)
    counts, sound, said = shown(data[:end], data[end:], b"")
    whole, same, _ = shown(data)
    assert sum(counts) == sum(whole) == seconds * 25 and not said
    assert len(counts) == 3
    known = sum(counts[:-1]) * SAMPLES_PER_FRAME
    off, like = (sound - same)[: known - 640], same[: known - 640]
    assert np.abs(off).max() < 0.03, "but for a little of the level"
    assert np.square(off).mean() < 0.02**2 * np.square(like).mean(), "34 dB below the sound"
    assert np.abs(sound[known:]).max() > 0.01


def test_pictures_go_on_where_the_part_before_ended() -> None:
    clip = talk(4.6)
    data, pictures, ends = b"".join(sent(seconds=4.6)), [], []
    for one in Codec("cpu").receiver(steps=1)(data, True):
        pictures += list(one.frames)
        ends.append(len(pictures))
    assert len(pictures) == clip.count
    whole = np.stack(pictures).astype(np.float32)
    steps = np.abs(np.diff(whole, axis=0)).mean((1, 2, 3))
    assert steps[[end - 1 for end in ends[:-1]]].max() < 2 * np.quantile(steps, 0.95)
    true = np.stack(list(clip.frames)).astype(np.float32)
    still = np.abs(true - true[0]).mean((1, 2, 3))[50:]
    assert (np.abs(whole - true).mean((1, 2, 3))[50:] < 1.5 * still + 8).mean() > 0.9


def test_later_key_frames_come_along(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody dims the light; after a while the picture has it too."""
    monkeypatch.setattr(renewal, "SECONDS", 8.0)
    monkeypatch.setattr(sender, "SPREAD", 8.0)
    near, call, parts, done = Codec("cpu").sender(RATE), Call(talk(SECONDS)), [], 600
    for begin in range(0, done, live.PIECE):
        pictures, sound = call.piece(begin)
        dark = pictures * np.clip(1 - (begin - 50) / 250, 0.6, 1)  # too slowly for a cut
        parts.append(near(dark.astype(np.uint8), sound))
    data = b"".join([*parts, near.close()])
    assert 8 * len(data) <= RATE * done / 25
    stream = read(data)
    first, second = stream.identities[:2]
    assert first[0] < 100 and 200 <= second[0] < 300 and not stream.damage
    kinds = [c.type for c in chunks(data) if isinstance(c, Chunk)]
    assert kinds.count(layout.IDENTITY) == 1 and kinds.count(layout.PIECE) >= 2
    receiver = Codec("cpu").receiver(steps=1)
    begun = [next(iter(part.frames)).mean() for part in receiver(data, True)]
    light = np.stack(list(talk(SECONDS).frames)).mean()
    assert abs(begun[1] / light - 1) < 0.15 and abs(begun[-1] / light / 0.6 - 1) < 0.15
    assert not stream.cuts
    spoiled = pack_pieces(identity_payload(560, 64, second[2], b"no picture"), 99)
    cut = data.index(pack_end(done, done * SAMPLES_PER_FRAME))
    shown(data[:cut] + b"".join(spoiled) + data[cut:])


def test_another_shot_gets_a_key_frame_soon() -> None:
    """A cut at 6 s, into colours turned round; by 28 s its key frame is there, and the rate kept:
    what the key frames took has been paid for."""
    near, call, parts, done = Codec("cpu").sender(RATE), Call(talk(SECONDS)), [], 620
    for begin in range(0, done, live.PIECE):
        pictures, sound = call.piece(begin)
        parts.append(near(pictures if begin < 150 else 255 - pictures // 2, sound))
    data = b"".join([*parts, near.close()])
    stream = read(data)
    assert stream.cuts == (150,)
    assert [150 <= one[0] < 200 for one in stream.identities] == [False, True]
    last = [c for c in chunks(data) if isinstance(c, Chunk) and c.type == layout.SEGMENT][6]
    assert len(read(data[: last.start]).identities) == 2
    assert 0.9 < 8 * len(data) / (RATE * done / 25) <= 1
    assert len(b"".join(parts[:42])) > RATE * 8 / 8 / 2, "the key frame comes first"


def test_a_cut_at_the_start_of_a_segment() -> None:
    near, call = Codec("cpu").sender(4 * RATE, segment=1.0), Call(talk(SECONDS))
    data = b""
    for begin in range(0, 100, live.PIECE):
        pictures, sound = call.piece(begin)
        data += near(pictures if begin < 50 else 255 - pictures // 2, sound)
    assert read(data + near.close()).cuts == (50,)


def test_a_stream_that_is_cut_off_is_shown_as_far_as_it_came() -> None:
    data = b"".join(sent())
    last = [c for c in chunks(data) if isinstance(c, Chunk) and c.type == layout.SEGMENT][-1]
    counts, sound, said = shown(data[: last.start + 9])
    assert sum(counts) == 200 and len(sound) == 200 * 640
    assert any("no end" in sentence for sentence in said)
    with pytest.raises(FormatError):
        shown(data[:300])
    with pytest.raises(FormatError):
        shown(b"RIFF", b"")


def without(data: bytes, number: int) -> bytes:
    """A stream that has lost a segment."""
    parts = [data[: layout.START]]
    for c in chunks(data):
        assert isinstance(c, Chunk)
        if not (c.type == layout.SEGMENT and c.flags == number):
            parts.append(data[c.start : c.end])
    return b"".join(parts)


def test_a_lost_segment_is_made_up_or_its_copy_taken() -> None:
    for fec in (False, True):
        data = without(b"".join(sent(fec)), 1)
        counts, _, said = shown(data)
        assert sum(counts) == 225
        assert any(("copy" in sentence) == fec for sentence in said if "Segment 1" in sentence)
    copies = read(b"".join(sent(True))).copies
    assert len(copies) == 3 and all(copy is not None for copy in copies)


@pytest.mark.parametrize("mode", ["audio-driven", "video-driven", "av"])
def test_modes(mode: str) -> None:
    stream = read(b"".join(sent(mode=mode, seconds=SHORT)))
    points = [point for point in stream.points if point is not None]
    assert all(bool(p.motion_stride) == (mode != "audio-driven") for p in points)
    assert all(p.semantic == (mode != "video-driven") for p in points)


def test_a_clip_without_sound() -> None:
    data = b"".join(sent(sound=False, seconds=SHORT))
    assert read(data).head.samples == 0
    receiver = Codec("cpu").receiver(steps=1)
    assert [part.sound for part in receiver(data, True)] == [None] * 2
    with pytest.raises(MediaError):
        Codec("cpu").sender(RATE, sound=False, mode="audio-driven")


def test_what_the_finished_file_gives() -> None:
    """To everybody else an open stream is a file like any other."""
    clip = avcc.decode(b"".join(sent()), start=3.5, duration=1, steps=1)
    assert clip.count == 25 and clip.audio is not None and len(clip.audio) == 16_000


def test_what_can_not_be_sent() -> None:
    with pytest.raises(MediaError, match="no pictures"):
        Codec("cpu").sender(RATE).close()
    grey = np.full((PIECE, 256, 256, 3), 99, np.uint8)
    sender = Codec("cpu").sender(RATE, sound=False)
    sender(grey, None)
    with pytest.raises(MediaError, match="face"):
        sender.close()
    with pytest.raises(RateError, match=r"needs \d+ bit/s"):
        sender = Codec("cpu").sender(100)
        for piece in pieces(talk()):
            sender(*piece)
        sender.close()


def test_silence_first_and_a_voice_later() -> None:
    clip = talk(SECONDS)
    assert clip.audio is not None
    audio = clip.audio.copy()
    audio[: 4 * 16_000] = 0
    sender = Codec("cpu").sender(RATE)
    parts = [sender(*piece) for piece in pieces(replace(clip, audio=audio))]
    _, sound, _ = shown(*parts, sender.close())
    assert np.abs(sound[: 3 * 16_000]).max() < 0.01 < np.abs(sound[5 * 16_000 :]).max()


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("live") / "talk.mkv"
    write_media(path, talk(SHORT))
    return path


def slowly(source: bytes, stop: threading.Event) -> int:
    """A pipe through which ``source`` comes until its end is held back; gives where to read."""
    end, begin = os.pipe()

    def run() -> None:
        with os.fdopen(begin, "wb") as file:
            file.write(source[:-HELD])
            file.flush()
            stop.wait(120)
            file.write(source[-HELD:])

    threading.Thread(target=run, daemon=True).start()
    return end


def test_through_pipes_and_before_the_clip_is_over(film: Path, tmp_path: Path) -> None:
    """The far end has pictures before the near end has the last of them."""
    stop, out = threading.Event(), tmp_path / "out.mkv"
    command = [sys.executable, "-m", "avcc"]
    sending = subprocess.Popen(
        [*command, "encode", "--live", "-b", "2k", "-", "-o", "-"],
        stdin=slowly(film.read_bytes(), stop), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        cwd=ROOT,
    )  # fmt: skip
    showing = subprocess.Popen(
        [*command, "decode", "--steps", "1", "-", "-o", "-"], stdin=sending.stdout,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT,
    )  # fmt: skip
    assert sending.stdout and showing.stdout and sending.stderr and showing.stderr
    sending.stdout.close()
    first = showing.stdout.read(4000)
    assert b"ftyp" in first and sending.poll() is None, "the clip isn't over yet"
    stop.set()
    out.write_bytes(first + showing.stdout.read())
    assert showing.wait(120) == OK, showing.stderr.read()
    assert sending.wait(120) == OK, sending.stderr.read()
    back = read_media(out)
    assert back.count == SHORT * 25 and back.audio is not None


def test_an_interrupted_call_is_kept(film: Path, tmp_path: Path) -> None:
    out, stop = tmp_path / "call.avc", threading.Event()
    calling = subprocess.Popen(
        [sys.executable, "-m", "avcc", "encode", "--live", "-b", "2k", "-", "-o", str(out)],
        stdin=slowly(film.read_bytes(), stop), stderr=subprocess.PIPE, cwd=ROOT,
        # a job in the background of a shell would inherit that SIGINT is ignored
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    until = time.monotonic() + 120
    while not list(tmp_path.glob(".call.*")) and time.monotonic() < until:
        time.sleep(0.1)
    while not any(p.stat().st_size for p in tmp_path.glob(".call.*")) and time.monotonic() < until:
        time.sleep(0.1)
    calling.send_signal(signal.SIGINT)
    assert calling.wait(60) == INTERRUPTED
    stop.set()
    stream = read(out.read_bytes())
    assert (
        not stream.unended and not stream.damage and stream.head.frames >= 105
    )  # a segment, and 5 more that its voice is heard with


def test_the_command_line(
    film: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "talk.avc"
    assert main(["encode", "--live", "--scene", str(film), "-o", str(out)]) == USAGE
    assert main(["encode", "--segment", "1", str(film), "-o", str(out)]) == USAGE
    assert main(["encode", "--live", "--segment", "9", str(film), "-o", str(out)]) == USAGE
    short = ["--max-duration", "4", "--mode", "audio-driven"]
    assert main(["encode", "--live", *short, str(film), "-o", str(out)]) == OK
    assert re.search(r"4\.00 s.*kbps", told := capsys.readouterr().err) and "max-duration" in told
    assert main(["encode", "--live", str(film), "-o", str(out)]) == FAILED
    assert "exists already" in capsys.readouterr().err
    stream = out.read_bytes()
    assert read(stream).head.frames == 100
    for name, data in (("open", stream), ("whole", stream[:200])):
        with open(tmp_path / name, "wb") as file:
            file.write(data)
    for name, code in (("open", OK), ("whole", FAILED)):
        with open(tmp_path / name, "rb") as file:
            monkeypatch.setattr(sys, "stdin", type("In", (), {"buffer": file, "isatty": bool})())
            wave = tmp_path / f"{name}.wav"
            assert main(["decode", "--steps", "1", "-", "--raw-audio", str(wave)]) == code
            assert wave.exists() == (code == OK)


def test_incoming_takes_what_is_there_and_no_more_than_it_may(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(bytes(200_000))
    with open(path, "rb") as file:
        some = Incoming(file, 100_000)
        some.wait()
        assert 0 < len(some.data) < 200_000 and not some.ended
        assert 100_000 < len(some.rest()) < 200_000 and some.ended
    with open(path, "rb") as file:
        assert Incoming(file, 1 << 20).rest() == bytes(200_000)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_is_being_written_is_finished_first(number: signal.Signals) -> None:
    done, before = [], signal.getsignal(number)
    signal.signal(number, lambda *_: sys.exit(9))
    try:
        with pytest.raises(SystemExit), undisturbed():
            signal.raise_signal(number)
            done.append(1)
    finally:
        signal.signal(number, before)
    assert done == [1]
    with undisturbed():
        done.append(2)
    assert signal.getsignal(number) == before
