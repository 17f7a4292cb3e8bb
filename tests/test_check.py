"""``info --check``: what is damaged, and what ``decode`` makes of it."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from avcc import cli, weights
from avcc.codec import Codec
from avcc.container.layout import SEGMENT, Chunk
from avcc.container.read import chunks, read
from avcc.container.write import write
from avcc.decoder import decoder
from avcc.entropy import coder
from avcc.stages import Latents, Stream

VECTORS = Path(__file__).parent / "vectors"
WHOLE = (VECTORS / "4a33bd00-segments.avc").read_bytes()  # 225 frames: three segments


def segment(number: int, data: bytes = WHOLE) -> Chunk:
    found = [c for c in chunks(data) if isinstance(c, Chunk) and c.type == SEGMENT]
    return found[number]


def missing(*numbers: int) -> bytes:
    """The file without some of its segments."""
    kept = WHOLE
    for number in sorted(numbers, reverse=True):
        one = segment(number)
        kept = kept[: one.start] + kept[one.end :]
    return kept


def flipped(at: int) -> bytes:
    broken = bytearray(WHOLE)
    broken[at] ^= 0x10
    return bytes(broken)


def checked(
    data: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str], *more: str
) -> tuple[int, str]:
    path = tmp_path / "talk.avc"
    path.write_bytes(data)
    code = cli.main(["info", "--check", str(path), *more])
    said = capsys.readouterr()
    assert said.err == "" or code
    return code, said.out


@pytest.mark.parametrize("path", sorted(VECTORS.glob("*.avc")), ids=lambda path: path.stem)
def test_whole_files(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, told = checked(path.read_bytes(), tmp_path, capsys)
    assert code == cli.OK
    assert told.splitlines()[-1] == "nothing is damaged or missing"
    assert "checksums and symbols" in told


def test_every_kind_of_damage_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = segment(1)
    for data, lost, sentence in (
        (flipped(one.start + 5), [1], "Bytes"),
        (missing(1), [1], "Segment 1 is damaged or missing"),
        (missing(0, 1, 2), [0, 1, 2], "Segments 0 to 2 are damaged or missing"),
        (WHOLE[:-3], [2], "cut off"),
        (WHOLE + b"rest", [], "Bytes"),
    ):
        code, told = checked(data, tmp_path, capsys)
        assert code == cli.FAILED
        assert sentence in told and told.splitlines()[-1] == "the file is damaged"
        code, text = checked(data, tmp_path, capsys, "--json")
        facts = json.loads(text)
        assert code == cli.FAILED
        assert facts["segments_lost"] == lost and facts["segments"] == 3
        assert not facts["whole"]


def test_what_the_checksum_does_not_see(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A payload that isn't what its symbols would be written as, under a right checksum."""
    stream = read(WHOLE)
    payloads = list(stream.segments)
    assert payloads[1] is not None
    payloads[1] += b"\x00"
    bad = Stream(stream.head, stream.identities, tuple(payloads), cuts=stream.cuts)
    code, told = checked(write(bad), tmp_path, capsys)
    assert code == cli.FAILED
    assert "Segment 1 was left out: its bytes make no sense" in told
    assert "decode fills 4.00 to 8.00 s (segment 1)" in told


def test_a_file_of_another_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stream = read(WHOLE)
    other = WHOLE.replace(stream.head.model, b"\0\1\2\3")  # and so a wrong checksum
    code, told = checked(other, tmp_path, capsys)
    assert (code, told) == (cli.FAILED, "")
    from dataclasses import replace

    other = write(replace(stream, head=replace(stream.head, model=b"\0\1\2\3")))
    code, told = checked(other, tmp_path, capsys)
    assert code == cli.OK
    assert "checksums alone" in told


@pytest.mark.parametrize(
    ("lost", "says"),
    [
        ((0,), "0.00 to 4.00 s (segment 0): the face is held as after it, the voice is made up"),
        ((1,), "4.00 to 8.00 s (segment 1): the face moves on from where it was"),
        ((1, 2), "4.00 to 9.00 s (segments 1 to 2): the face is held as before it"),
        ((0, 1, 2), "0.00 to 9.00 s (segments 0 to 2): the face stays as in the key frame"),
    ],
)
def test_decode_does_what_was_said(
    lost: tuple[int, ...], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = missing(*lost)
    assert says in checked(data, tmp_path, capsys)[1]
    latents, whole = concealed(lost), concealed(())
    assert latents.mel is not None and whole.mel is not None
    assert np.isfinite(latents.motion).all() and np.isfinite(latents.mel).all()
    gone = np.isin(np.arange(225) // 100, lost)
    away = np.ones(225, bool)  # farther from a gap than AVDiff's windows share
    for frame in np.flatnonzero(gone):
        away[max(0, frame - 25) : frame + 26] = False
    for a, b in zip(latents.motion[away], whole.motion[away], strict=True):
        assert np.abs(a - b).max() < 0.25
    # no jump at the seams, or inside, beyond what the clip itself does
    jumps, usual = (np.linalg.norm(np.diff(x.motion, axis=0), axis=1) for x in (latents, whole))
    assert jumps.max() <= 1.1 * usual.max()
    told: list[str] = []
    clip = Codec("cpu").decode(data, warn=told.append)
    assert any("concealed" in sentence for sentence in told)
    assert clip.audio is not None and np.isfinite(clip.audio).all()
    assert len(clip.audio) == 9 * 16_000


@cache
def concealed(lost: tuple[int, ...]) -> Latents:
    stream = read(missing(*lost))
    symbols = coder.decode(stream, weights.codebook(stream.head.model))
    nets = decoder(stream.head.model, "cpu")
    return nets.denoised(nets.dequantised(symbols), symbols, 4, 0, None)
