"""The entropy coder: exact frequencies, round trips, golden bytes, damage, speed of nothing."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import books
import constriction
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from avcc.entropy import coder, count, prior
from avcc.entropy.coder import Cost, Decoder, Encoder, decode, encode, segment_bits
from avcc.entropy.context import identity_walk, segment, segment_walk
from avcc.entropy.payload import _model
from avcc.entropy.primitive import walked
from avcc.entropy.signed import VALUE_MOST
from avcc.entropy.tables import TOTAL, Codebook
from avcc.errors import FormatError, ModelError
from avcc.stages import OperatingPoint, Segment, Symbols

BOOK = books.book()


def _interval_ends(row: np.ndarray) -> None:
    """The first and last quantile of every symbol decode to it: the model is the integer row."""
    model = _model(row)
    scale = (1 << 64) - 1 >> 24
    ends = np.concatenate([[0], np.cumsum(row, dtype=np.int64)]).tolist()
    for symbol in range(len(row)):
        for quantile in (ends[symbol], ends[symbol + 1] - 1):
            point = quantile * scale
            words = np.array([point >> 32, point & 0xFFFFFFFF], np.uint32)
            found = constriction.stream.queue.RangeDecoder(words).decode(model)
            assert found == symbol


def test_models_have_exactly_the_frequencies_of_the_tables() -> None:
    for table in BOOK.tables.values():
        for row in table[:: max(1, len(table) // 5)]:
            _interval_ends(row)
    for table in count.BUILT_IN.values():
        for row in table:
            _interval_ends(row)
    rng = np.random.default_rng(1)
    for n in (2, 3, 62, 257, 1000):
        row = np.ones(n, np.int64)  # one likely symbol, all others as unlikely as can be
        row[rng.integers(n)] += TOTAL - n
        _interval_ends(row.astype(np.uint32))


def test_interval_arithmetic_is_as_specified() -> None:
    """An encoder of big integers alone, from docs/format.md, writes the same bytes."""
    rng = np.random.default_rng(2)
    for _ in range(300):
        length = int(rng.integers(0, 60))
        names = ["motion", "bit", "semantic_same", "acoustic_0", "glide"]
        steps = []
        for _ in range(length):
            name = names[rng.integers(5)]
            table = (BOOK.tables | count.BUILT_IN)[name]
            row = int(rng.integers(len(table)))
            steps.append((name, row, int(rng.integers(table.shape[1]))))
        writer = Encoder(BOOK)
        low, size, places = 0, (1 << 64) - 1, 0
        for name, row, symbol in steps:
            writer.code(name, row, symbol)
            freq = (BOOK.tables | count.BUILT_IN)[name][row].tolist()
            scale = size >> 24
            low, size = low + scale * sum(freq[:symbol]), scale * freq[symbol]
            if size < 1 << 32:
                low, size, places = low << 32, size << 32, places + 32
        expected = b""
        if steps:
            length = 0
            while 1 << (64 + places - 8 * length) > size:
                length += 1
            value = -(-low >> (64 + places - 8 * length))
            expected = value.to_bytes(length, "big")
        payload = writer.close()
        assert payload == expected
        reader = Decoder(BOOK, payload)
        assert [reader.code(name, row) for name, row, _ in steps] == [s for _, _, s in steps]
        reader.close()


def test_carry_through_many_words() -> None:
    """The likely end of each interval keeps the start just below a carry for long."""
    for tail in range(2):
        writer = Encoder(BOOK)
        symbols = [1] * 300 + [tail] * 3
        for symbol in symbols:
            writer.code("bit", 0, symbol)
        reader = Decoder(BOOK, writer.close())
        assert [reader.code("bit", 0) for _ in symbols] == symbols
        reader.close()


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 1 << 20),
    frames=st.integers(1, 230),
    stride=st.integers(0, 7),
    step=st.integers(0, books.STEPS - 1),
    layers=st.integers(0, books.LAYERS),
    semantic=st.booleans(),
    sound=st.booleans(),
    spread=st.sampled_from([0.0, 0.5, 4.0, 40.0, 20_000.0]),
)
@example(255, 63, 1, 1, 0, False, False, 20_000.0)
def test_round_trip(
    seed: int,
    frames: int,
    stride: int,
    step: int,
    layers: int,
    semantic: bool,
    sound: bool,
    spread: float,
) -> None:
    point = OperatingPoint(stride, step, layers, semantic)
    clip = books.symbols(seed, frames, point, sound, spread, picture=5)
    stream = encode(clip, BOOK)
    assert books.same(decode(stream, BOOK), clip)
    for seg, payload in zip(clip.segments, stream.segments, strict=True):
        assert seg is not None and payload is not None
        bits = sum(segment_bits(seg, point, BOOK))
        # up to a byte to close it, and what ``size >> 24`` cuts off: with ``size`` halved by each
        # bit, 2^-8 + 2^-9 + ... of a symbol's share in every word of 32 bits
        lost = bits / 32 * 2**-7 / np.log(2)
        assert bits - 1e-3 <= len(payload) * 8 < bits + 8.001 + lost or not bits


@pytest.mark.parametrize("value", [30, 31, 32, 33, 94, 95, 1000, VALUE_MOST])
@pytest.mark.parametrize("sign", [1, -1])
def test_escapes(value: int, sign: int) -> None:
    shape = np.zeros(books.SHAPE, np.int64)
    shape[3] = value * sign
    writer = Encoder(BOOK)
    walked(writer, identity_walk(BOOK, shape, np.zeros(0, np.int64), False))
    payload = writer.close()
    found, voice = walked(Decoder(BOOK, payload), identity_walk(BOOK, None, None, False))
    assert (found == shape).all() and voice.shape == (0,)


def test_values_beyond_an_escape_are_refused() -> None:
    shape = np.zeros(books.SHAPE, np.int64)
    shape[0] = VALUE_MOST + 1
    with pytest.raises(FormatError, match="too large"):
        walked(Encoder(BOOK), identity_walk(BOOK, shape, np.zeros(0, np.int64), False))
    writer = Encoder(BOOK)
    writer.code("shape", 0, 61)
    for bit in [0] + [1] * 40:
        writer.code("bit", 0, bit)
    with pytest.raises(FormatError, match="too many bits"):
        walked(Decoder(BOOK, writer.close()), identity_walk(BOOK, None, None, False))


def test_golden_bytes() -> None:
    """Fixed for ever: if this changes, files written before can no longer be read."""
    assert BOOK.id.hex() == GOLDEN[0]
    points = [(1, 0, 2, True), (2, 1, 1, True), (5, 2, 0, True), (3, 1, 0, False), (0, 0, 2, True)]
    digest = hashlib.sha256()
    for seed, (stride, step, layers, semantic) in enumerate(points):
        # Integer arithmetic only, so that no numpy release can change the symbols.
        point = OperatingPoint(stride, step, layers, semantic)
        rows = -(-80 // stride) if stride else 0
        n = 80 if semantic else 0
        grid = np.arange(rows * books.DIRECTIONS).reshape(rows, books.DIRECTIONS)
        motion = (grid * grid * 37 + seed) % 101 % (9 + 6 * (grid % 9)) - 11 * (grid % 13 == 0)
        semantic_tokens = np.arange(n) // 3 * (7 + seed) % 29 % books.TOKENS
        acoustic = np.arange(n * layers).reshape(n, layers) * 89 % 256
        acoustic[semantic_tokens == books.TOKENS - 1] = 0
        seg = Segment(80, motion, semantic_tokens, acoustic)
        writer = Encoder(BOOK)
        segment(writer, BOOK, point, 80, seg)
        payload = writer.close()
        digest.update(len(payload).to_bytes(4, "big") + payload)
    assert digest.hexdigest() == GOLDEN[1]


GOLDEN = ("1c745824", "358ebc4c0542ac50f7524cf5027bde615b73032bb4f33849fbfea0724e6b2c65")


def test_lost_segments_stay_lost_and_are_told() -> None:
    clip = books.symbols(7)
    clip = replace(clip, segments=(clip.segments[0], None, clip.segments[2]))
    stream = encode(clip, BOOK)
    assert stream.segments[1] is None
    assert books.same(decode(stream, BOOK), clip)
    first = stream.segments[0]
    assert first is not None
    for bad in (first[:-6], first + b"\1", b"", b"\xff" * 99):
        broken = replace(stream, segments=(bad, *stream.segments[1:]), damage=("Before.",))
        found = decode(broken, BOOK)
        assert found.segments[0] is None and found.segments[2] is not None
        said = coder.damage(broken, found)
        assert said[0] == "Before." and len(said) == 2 and "Segment 0" in said[1]


def test_flipped_bits_are_mostly_noticed_even_without_a_checksum() -> None:
    """Symbols drawn from the tables themselves: the hardest case, and like real streams."""
    head = replace(books.symbols(8, frames=100).head, point=OperatingPoint(4, 1, 1, True))
    rng = np.random.default_rng(3)
    kept = tried = 0

    def sense(payload: bytes) -> bool:
        walk = segment_walk(BOOK, head.point, 100, None)
        return coder._sound(payload, BOOK, walk) is not None

    while tried < 400:
        source = Decoder(BOOK, rng.bytes(2000))
        try:
            segment(source, BOOK, head.point, 100, None)
        except FormatError:
            continue
        payload = source._again.close()
        assert sense(payload)
        for bit in range(0, 8 * len(payload), 9):
            bad = bytearray(payload)
            bad[bit // 8] ^= 1 << bit % 8
            kept += sense(bytes(bad))
            tried += 1
    assert kept < tried * 0.1


def test_senseless_identity() -> None:
    stream = encode(books.symbols(9), BOOK)
    frame, side, code, picture = stream.identities[0]
    bad = (frame, side, code + b"\1", picture)
    with pytest.raises(FormatError):
        decode(replace(stream, identities=(bad,)), BOOK)
    two = replace(stream, identities=(stream.identities[0], (50, side, code + b"\1", picture)))
    found = decode(two, BOOK)
    assert len(found.identities) == 1
    assert "frame 50" in coder.damage(two, found)[0]


def test_wrong_model_and_point() -> None:
    clip = books.symbols(1)
    other = replace(clip, head=replace(clip.head, model=b"none"))
    with pytest.raises(ModelError, match="6e6f6e65"):
        encode(other, BOOK)
    stream = encode(clip, BOOK)
    with pytest.raises(ModelError, match="6e6f6e65"):
        decode(replace(stream, head=other.head), BOOK)
    for point in (OperatingPoint(1, 9, 0), OperatingPoint(1, 0, 9), OperatingPoint(-1, 0, 0)):
        with pytest.raises(FormatError):
            decode(replace(stream, head=replace(stream.head, point=point)), BOOK)
    with pytest.raises(FormatError):
        decode(replace(stream, segments=stream.segments[1:]), BOOK)


def test_encoder_refuses_what_does_not_fit() -> None:
    clip = books.symbols(1, frames=20)
    good = clip.segments[0]
    assert good is not None
    high = good.semantic.copy()
    high[0] = books.TOKENS
    for bad in (
        replace(good, frames=19),
        replace(good, motion=good.motion[1:]),
        replace(good, motion=good.motion[:, 1:]),
        replace(good, semantic=good.semantic[1:]),
        replace(good, semantic=high),
        replace(good, acoustic=good.acoustic - 1),
        replace(good, acoustic=good.acoustic + 256),
        replace(good, acoustic=good.acoustic[:, :0]),
    ):
        with pytest.raises(FormatError):
            encode(replace(clip, segments=(bad,)), BOOK)
    for symbol in (-1, 62, 1 << 40):
        with pytest.raises(FormatError):
            Encoder(BOOK).code("motion", 0, symbol)
    with pytest.raises(ValueError):
        Encoder(BOOK).code("motion", 0, None)


def test_adaptive_means_and_rows() -> None:
    """The walk of one coefficient and of two, by hand (docs/format.md, "Motion")."""

    class Spy:
        kind = ""

        def __init__(self) -> None:
            self.seen: list[tuple[str, int, int | None]] = []

        def code(self, table: str, row: int, symbol: int | None) -> int:
            self.seen.append((table, row, symbol))
            assert symbol is not None
            return symbol

        def foretold(self, *given: object) -> int:
            raise AssertionError("this codebook has no priors")

    contexts = books.contexts()
    contexts["context.motion_first"] = np.array([[3, 4]], np.uint8)
    contexts["context.motion_start"] = np.array([[8, 0]], np.int32)
    small = Codebook.blank(contexts, books.SHAPE, (books.VOICE, books.LEVELS))
    spy = Spy()
    motion = np.array([[5, -6], [7, -6], [7, -6], [38, -5]])
    seg = Segment(4, motion, np.zeros(0, np.int64), np.zeros((0, 0), np.int64))
    segment(spy, small, OperatingPoint(1, 0, 0, False), 4, seg)
    # means: 8 -> 8 + (32 - 8 >> 2) = 14 -> 14 + (-14 >> 2) = 10 ; 0 -> 0 -> 0
    assert spy.seen[:6] == [
        ("motion_first", 3, 35),
        ("motion_first", 4, 24),
        ("motion", 5 * 3 + 1, 32),  # 8 reaches five bounds
        ("motion", 0 * 3 + 2, 30),  # 32 moved, 8 expected: above twice
        ("motion", 6 * 3 + 1, 30),  # 14 reaches six
        ("motion", 0 * 3 + 0, 30),  # 0 moved, 14 expected: below half
    ]
    # 31 is the first escape: sign 0, no magnitude bits
    assert spy.seen[6:] == [
        ("motion", 5 * 3 + 1, 61),
        ("bit", 0, 0),
        ("bit", 0, 0),
        ("motion", 2, 31),
    ]


def test_cost_is_split_by_kind() -> None:
    clip = books.symbols(2, frames=100)
    seg = clip.segments[0]
    assert seg is not None
    motion, audio = segment_bits(seg, clip.head.point, BOOK)
    still = replace(seg, motion=np.zeros_like(seg.motion))
    assert segment_bits(still, clip.head.point, BOOK)[1] == pytest.approx(audio)
    assert segment_bits(still, clip.head.point, BOOK)[0] != pytest.approx(motion)
    cost = Cost(BOOK)
    one = clip.identities[0]
    walked(cost, identity_walk(BOOK, one.shape, one.voice, True))
    assert cost.bits["identity"] > 0 and cost.bits["motion"] == cost.bits["audio"] == 0


@pytest.mark.parametrize("seed", range(6))
def test_priors_foretell_alike_at_once_and_one_by_one(seed: int) -> None:
    """An encoder asks for a whole segment, a decoder for each symbol; what is sent comes back."""
    book = books.book(foretells=True)
    point = OperatingPoint(1 + seed, seed % 3, seed % 3, seed > 0)
    clip = books.symbols(seed, 230, point, spread=(0.5, 3.0, 90.0)[seed % 3])
    clip = replace(clip, head=replace(clip.head, model=book.id))
    stream = encode(clip, book)
    assert books.same(decode(stream, book), clip)
    for number, (seg, sent) in enumerate(zip(clip.segments, stream.segments, strict=True)):
        assert seg is not None and sent is not None
        assert abs(sum(segment_bits(seg, point, book)) + 4 - 8 * len(sent)) < 9
        assert sent != encode(clip_without(clip), BOOK).segments[number]


def clip_without(clip: Symbols) -> Symbols:
    """A clip for the codebook without priors."""
    return replace(clip, head=replace(clip.head, model=BOOK.id))


def test_foretold_frequencies_are_a_row() -> None:
    """At least 1 each and 2^24 in all, whatever the logits."""
    rng = np.random.default_rng(0)
    for spread in (0, 1, 300, 20_000, 1 << 22):
        logits = np.rint(rng.normal(0, spread, (40, 62)))
        found = prior.normalised(logits)
        assert (found.sum(1) == TOTAL).all() and found.min() >= 1
        for row, said in zip(found, logits, strict=True):
            assert row.argmax() == said.argmax()
            others = np.delete(np.arange(62), said.argmax())  # the likeliest takes what is left
            ranked = others[said[others].argsort()]
            assert (np.diff(row[ranked]) >= 0).all()


def test_logarithms_of_frequencies() -> None:
    count = np.unique(np.concatenate([np.arange(1, 3000), np.geomspace(3000, TOTAL, 999)]))
    count = count.astype(np.uint32)
    exact = 256 * np.log2(count.astype(np.float64))
    assert np.abs(prior.logarithms(count) - exact).max() <= 2  # eight bits of each are looked at


def test_corrections_move_frequencies_by_their_bits() -> None:
    """A last layer that says one bit for one symbol doubles it beside the others."""
    arrays = dict(BOOK.arrays | books.priors())
    for part in ("lookup", "hidden", "hidden_bias", "out", "out_bias"):
        arrays[f"prior.motion.{part}"] = np.zeros_like(arrays[f"prior.motion.{part}"])
    arrays["prior.motion.out_bias"][:, 17] = 1 << 12
    made = Codebook.from_arrays(arrays).motion_prior
    assert made is not None
    plain = BOOK.table("motion")[5].astype(float)
    found = made.frequencies(np.zeros((1, 5)), 0, np.array([5]))[0].astype(float)
    odds = (found / plain) / (found / plain)[16]
    assert odds[17] == pytest.approx(2, rel=0.01)
    assert np.delete(odds, 17) == pytest.approx(1, rel=0.01)


@pytest.mark.parametrize("part", ["lookup", "hidden", "hidden_bias", "out", "out_bias"])
def test_senseless_priors_are_refused(part: str) -> None:
    arrays = dict(BOOK.arrays | books.priors())
    name = f"prior.acoustic.{part}"
    for bad in (arrays[name][..., :-1], arrays[name].astype(np.float32), None):
        broken = {k: v for k, v in (arrays | {name: bad}).items() if v is not None}
        if name == "prior.acoustic.lookup" and bad is None:
            continue  # then there is none
        with pytest.raises(ModelError, match="not usable"):
            Codebook.from_arrays(broken)
