"""Coarse copies of segments (``encode --fec``): where they stand, when they count, what they do."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import books
import numpy as np
import pytest

import avcc
from avcc import cli, weights
from avcc.codec import Codec
from avcc.container import describe, layout
from avcc.container.layout import Chunk, pack_chunk
from avcc.container.read import chunks, read
from avcc.container.write import write
from avcc.entropy import coder
from avcc.errors import FormatError
from avcc.quantise.scalar import STEPS
from avcc.quantise.symbols import COARSE, Quantiser, fineness
from avcc.span import span
from avcc.stages import SEGMENT_FRAMES, UNSENT, OperatingPoint, Stream
from tests.test_codec import talk

BOOK = books.book()
FILE = (Path(__file__).parent / "vectors" / "4a33bd00-copies.avc").read_bytes()  # three segments


def found(kind: int, data: bytes = FILE) -> list[Chunk]:
    return [c for c in chunks(data) if isinstance(c, Chunk) and c.type == kind]


def without(*gone: tuple[int, int]) -> bytes:
    """The file without these chunks: (type, number)."""
    kept = FILE
    for one in sorted((found(kind)[n] for kind, n in gone), key=lambda c: -c.start):
        kept = kept[: one.start] + kept[one.end :]
    return kept


def test_a_copy_stands_behind_the_next_segment() -> None:
    """So what destroys a segment leaves it; the last two stand at the end."""
    order = [(c.type, c.flags) for c in chunks(FILE) if isinstance(c, Chunk)]
    order = [one for one in order if one[0] in (layout.SEGMENT, layout.COPY)]
    s, r = layout.SEGMENT, layout.COPY
    assert order == [(s, 0), (s, 1), (r, 0), (s, 2), (r, 1), (r, 2)]
    one = write(coder.encode(books.symbols(1, 30, coarse=OperatingPoint(3, 0, 1)), BOOK))
    assert [c.flags for c in found(r, one)] == [0] and found(r, one)[0].start == found(s, one)[
        0
    ].end


def test_every_copy_comes_back() -> None:
    for seed in range(12):
        coarse = OperatingPoint(seed % 5, seed % 2, seed % 3, seed % 4 > 0)
        point = OperatingPoint(2, 1, 1, seed % 4 > 0)
        clip = books.symbols(seed, 90 + 60 * seed, point, coarse=coarse)
        stream = coder.encode(clip, BOOK)
        data = write(stream)
        assert data[9] == layout.COPIED and read(data) == stream
        assert books.same(coder.decode(read(data), BOOK), clip)
        # a writer that lost some of them leaves them out
        some = replace(stream, copies=(None, *stream.copies[1:]))
        assert read(write(some)).copies == (some.copies if len(some.copies) > 1 else ())
    with pytest.raises(FormatError, match="copies"):
        write(replace(stream, copies=stream.copies[:1]))


def test_older_readers_skip_them() -> None:
    """Whatever the minor version says, and nothing else of the file depends on them."""
    plain = replace(read(FILE), copies=())
    assert read(write(plain)) == plain and write(plain)[9] < layout.COPIED
    assert read(FILE[:9] + b"\0" + FILE[10:]) == read(FILE)
    stripped = FILE
    for one in reversed(found(layout.COPY)):
        stripped = stripped[: one.start] + stripped[one.end :]
    assert read(stripped) == plain


def test_a_lost_segment_is_replaced_by_its_copy() -> None:
    s, r = layout.SEGMENT, layout.COPY
    stream = read(without((s, 1)))
    assert stream.segments[1] is None and len(stream.damage) == 1
    assert "Segment 1 is damaged or missing; a coarse copy is used." in stream.damage[0]
    symbols = coder.decode(stream, weights.codebook(stream.head.model))
    received = symbols.received(1)
    assert received is not None and received.point == COARSE
    assert symbols.received(0) != received and symbols.received(0) is not None
    step, layers = fineness(symbols)
    assert (layers[100:200] == 0).all() and (layers[:100] == 3).all()
    assert (step[100:200] == STEPS[-1]).all() and (step[200:] == STEPS[1]).all()
    # the copy lost as well: nothing is left to use; other copies say nothing of it
    for gone in (without((s, 1), (r, 1)), without((s, 0), (s, 1), (s, 2), (r, 1))):
        stream = read(gone)
        assert coder.decode(stream, weights.codebook(stream.head.model)).received(1) is None
        assert any("concealed" in sentence for sentence in stream.damage)


def test_runs_of_lost_segments_are_told_apart() -> None:
    stream = coder.encode(books.symbols(3, 900, coarse=OperatingPoint(5, 0, 0)), BOOK)
    lost = replace(
        stream,
        segments=tuple(None if n in (1, 2, 3, 6, 7) else s for n, s in enumerate(stream.segments)),
        copies=tuple(None if n in (3, 7) else c for n, c in enumerate(stream.copies)),
    )
    assert read(write(lost)).damage == (
        "Segments 1 to 2 are damaged or missing; a coarse copy is used.",
        "Segment 3 is damaged or missing and will be concealed.",
        "Segment 6 is damaged or missing; a coarse copy is used.",
        "Segment 7 is damaged or missing and will be concealed.",
    )


def test_copies_that_make_no_sense_cost_nothing_else() -> None:
    (one,) = (c for c in found(layout.COPY) if c.flags == 1)
    sound = read(FILE)
    own = one.payload
    for payload, flags in ((b"", 1), (b"\x80", 1), (b"\xff\xff\3\0", 1), (own, 3), (own, 200)):
        # malformed: the next one counts
        data = FILE[: one.start] + pack_chunk(layout.COPY, flags, payload) + FILE[one.start :]
        assert read(data) == sound
    for payload in (own[:-1], own + b"\0", own[:1] + b"\xc8\1" + own[2:], own[:2]):
        # senseless: it counts all the same, being the first
        data = FILE[: one.start] + pack_chunk(layout.COPY, 1, payload) + FILE[one.start :]
        stream = read(data)
        symbols = coder.decode(stream, book := weights.codebook(stream.head.model))
        assert symbols.copies[1] is None and symbols.copies[0] is not None
        assert not coder.damage(stream, symbols), "of a segment that is there no copy is missed"
        stream = replace(stream, segments=(stream.segments[0], None, stream.segments[2]))
        told = coder.damage(stream, coder.decode(stream, book))
        assert told == ("The copy of segment 1 was left out: its bytes make no sense.",)
    stream = replace(sound, segments=(sound.segments[0], b"no sense", sound.segments[2]))
    told = coder.damage(stream, coder.decode(stream, book))
    assert told == ("Segment 1 was left out: its bytes make no sense; a coarse copy is used.",)


def test_damage_is_looked_through_for_copies() -> None:
    first, second = found(layout.SEGMENT)[:2]
    cut = FILE[: first.start + 9] + FILE[second.end :]  # two segments gone, in one stretch
    stream = read(cut)
    assert [s is None for s in stream.segments] == [True, True, False]
    assert None not in stream.copies


def test_check_tells_of_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "talk.avc"
    path.write_bytes(without((layout.SEGMENT, 1), (layout.SEGMENT, 2), (layout.COPY, 2)))
    assert cli.main(["info", "--check", str(path)]) == cli.FAILED
    told = capsys.readouterr().out
    assert (
        "1 segment, 2 copy, 1 pitch chunks are sound; 1 of 3 segments can be decoded, 1 coarsely"
        in told
    )
    assert "decode fills 8.00 to 9.00 s (segment 2)" in told and "(segment 1)" not in told
    assert cli.main(["info", "--check", "--json", str(path)]) == cli.FAILED
    facts = json.loads(capsys.readouterr().out)
    assert facts["segments_lost"] == [2] and facts["segments_copied"] == [1]
    assert describe.checked(path.read_bytes(), None)["segments_copied"] == [1]
    facts = avcc.info(FILE)
    assert facts["format"] == "1.3"
    sizes = sum(len(c.payload) - 2 for c in found(layout.COPY))
    assert facts["streams"]["copies"]["bytes"] == sizes
    assert sum(part["bytes"] for part in facts["streams"].values()) == pytest.approx(len(FILE))


def test_a_part_takes_its_copies_along() -> None:
    stream = coder.encode(books.symbols(2, 2000, coarse=OperatingPoint(5, 0, 0)), BOOK)
    part = span(stream, 30.0, 2.0)
    kept = part.of(stream)
    there = [n for n, copy in enumerate(kept.copies) if copy is not None]
    assert set(there) == part.segments and 7 in there and 19 not in there
    assert not part.of(replace(stream, copies=())).copies


@cache
def _decoded(*gone: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Meshes and voice of the file without these chunks, and what was said."""
    nets, said = Codec("cpu"), list[str]()
    clip = nets.decode(without(*gone), warn=said.append)
    assert clip.audio is not None
    return np.stack([frame[::4, ::4] for frame in clip.frames]), clip.audio, said


def test_a_copy_saves_most_of_what_is_lost() -> None:
    whole, voice, said = _decoded()
    assert not said
    copied, copied_voice, said = _decoded((layout.SEGMENT, 1))
    assert len(said) == 1 and "coarse copy" in said[0]
    made_up, made_up_voice, said = _decoded((layout.SEGMENT, 1), (layout.COPY, 1))
    assert len(said) == 1 and "concealed" in said[0]
    inside = slice(SEGMENT_FRAMES + 10, 2 * SEGMENT_FRAMES - 10)

    def off(pictures: np.ndarray) -> float:
        return float(np.abs(pictures[inside].astype(float) - whole[inside]).mean())

    assert off(copied) < 0.6 * off(made_up)
    heard = slice(inside.start * 640, inside.stop * 640)

    def loudness(wave: np.ndarray) -> np.ndarray:
        return np.log(np.square(wave[heard].reshape(-1, 640)).mean(1) + 1e-7)

    def like(wave: np.ndarray) -> float:
        return float(np.corrcoef(loudness(wave), loudness(voice))[0, 1])

    assert like(copied_voice) > 0.6 > 0.4 > like(made_up_voice)
    # elsewhere nothing changes but what AVDiff hears of its neighbourhood
    assert np.abs(copied[:60].astype(float) - whole[:60]).mean() < 1


def _stream(**how: object) -> Stream:
    return read(avcc.encode(talk(9.0), 2500, **how))  # type: ignore[arg-type]


def test_the_encoder_sends_what_is_asked_for_within_the_rate() -> None:
    for mode in ("av", "audio-driven", "video-driven"):
        data = avcc.encode(talk(9.0), 2500, mode=mode, fec=True)
        assert len(data) <= 2500 * 9 / 8
        stream = read(data)
        assert len(stream.copies) == len(stream.segments) and None not in stream.copies
        for copy in stream.copies:
            assert copy is not None
            point = stream.head.point
            assert copy[0].semantic == point.semantic
            assert bool(copy[0].motion_stride) == bool(point.motion_stride)
    assert not _stream().copies and not _stream(fec=False).copies


def test_features_of_a_copy_are_those_of_its_symbols() -> None:
    """Each frame by the operating point that it was sent at, nothing from one to the next."""
    stream = read(without((layout.SEGMENT, 2)))
    book = weights.codebook(stream.head.model)
    symbols = coder.decode(stream, book)
    features = Quantiser(book).features(symbols, ())
    copy = symbols.copies[2]
    assert copy is not None
    sent = ~np.isnan(features.motion[:, 0])
    assert sent[:200].all() and (np.flatnonzero(sent[200:]) == np.arange(0, 25, 5)).all()
    np.testing.assert_allclose(
        features.motion[200:][::5], copy.segment.motion * STEPS[COARSE.motion_step]
    )
    assert (features.semantic[200:] == copy.segment.semantic).all()
    assert not features.acoustic[200:].any() and features.acoustic[:200].any()
    assert UNSENT not in features.semantic
