"""The bytes of an open ``.avc`` stream, as far as they came, to pictures and sound."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch

from avcc import weights
from avcc.analysis.mel import loud_level, powers
from avcc.container import read as container
from avcc.container.limits import DECODER
from avcc.decoder import Decoder, decoder
from avcc.entropy import coder
from avcc.errors import FormatError
from avcc.render.draw import Rendering
from avcc.render.speak import counted, quietest
from avcc.stages import (
    FRAME_RATE,
    MOTION,
    SAMPLES_PER_FRAME,
    Features,
    Identity,
    KeyFrame,
    Latents,
    Stream,
    Symbols,
)

PAST = 200  # frames in front of the segment that is decoded, from which it follows
WINDOW = 80  # of them that AVDiff sees
BLEND = 10  # frames at the end of a segment that are made again when the next one is there
QUIET = 20  # frames in front of these, at the quietest of which a piece ends
HEADS_MOST = 1 << 22  # bytes in which a stream must have begun
LOUD = 500  # frames whose loudness counts: 20 s


@dataclass(frozen=True)
class Part:
    """What can be shown: ``frames`` are drawn as they are iterated, ``count`` of them; ``sound``
    float32 (640 count,), ``None`` where there is none."""

    frames: Rendering
    count: int
    sound: np.ndarray | None


class Receiver:
    """Decodes each segment of an open stream when it is there, from it and those before.

    What a file's decoder would look up in the next segment isn't waited for, so that what comes out
    differs a little from what the finished file gives. A part ends some frames before its segment
    does, where the voice is quietest. A later key frame is used from the part on that begins behind
    it, if it is there by then.
    """

    def __init__(
        self,
        device: str,
        *,
        steps: int,
        seed: int | None = None,
        max_duration: float = DECODER.seconds,
        warn: Callable[[str], None] | None = None,
    ) -> None:
        self._device, self._steps, self._seed, self._warn = device, steps, seed, warn
        self._most = max(1, round(max_duration * FRAME_RATE))  # frames
        self._next = 0  # segment
        self._begin = 0  # frame with which the next part begins
        self._nets: Decoder | None = None
        self._keys: dict[int, KeyFrame] = {}  # by frame, the first one first
        self._latest: KeyFrame | None = None  # of which the part before was drawn
        self._motion = np.zeros((0, MOTION), np.float32)  # of all frames given
        self._old: Latents | None = None  # of the last frames, which the next part blends from
        self._rest: np.ndarray | None = None  # sound of one frame, to add to the next part
        self._loud = np.zeros(0, np.float32)
        self._gain: float | None = None

    def __call__(self, data: bytes, ended: bool) -> Iterator[Part]:
        """What can be shown now. ``data``: all that came, from the first byte; ``ended``: there
        will be no more. Nothing is given behind ``max_duration`` seconds. Raises ``FormatError``
        where it's no stream, ``ModelError``."""
        stream = self._read(data, ended)
        if stream is None:
            return
        over = ended or not stream.unended
        most = max(1, self._most // stream.head.segment_frames)
        count = min(len(stream.segments), most)
        while self._next < count and (over or _is_settled(stream, self._next)):
            last = over and self._next == count - 1
            yield self._part(stream, self._next, last)
            self._next += 1
        if over and self._next == count and self._begin < self._end_of(stream, count - 1):
            # The last segment was there before anybody knew that it was the last one.
            yield self._part(stream, count - 1, True)
        if not ended or not self._warn:
            return
        for sentence in stream.damage:
            self._warn(sentence)
        if len(stream.segments) > most:
            self._warn("the stream goes on; --max-duration (in Python: max_duration) allows more")

    @property
    def shown(self) -> int:
        """Frames given so far."""
        return self._begin

    def _read(self, data: bytes, ended: bool) -> Stream | None:
        """The stream so far; ``None`` where its first segment isn't there yet."""
        try:
            stream = container.read(data)
        except FormatError:
            if ended or len(data) > HEADS_MOST or not _may_begin(data):
                raise
            return None
        if not stream.points:
            raise FormatError("The stream isn't an open one.")
        if stream.head.rate != FRAME_RATE:
            raise FormatError(f"The file has {stream.head.rate} pictures a second, not 25.")
        return stream

    def _part(self, stream: Stream, number: int, last: bool) -> Part:
        """What a segment gives, with the end of the one before; or, once more, its own end."""
        if self._nets is None:
            self._nets = decoder(stream.head.model, self._device)
        nets = self._nets
        each = stream.head.segment_frames
        base = max(0, number - -(-PAST // each))
        symbols = self._symbols(stream, base, number)
        first_key = self._key_of(symbols.identities[0], symbols)
        features = nets.quantiser.features(symbols, (first_key,))
        zero, count = base * each, symbols.head.frames
        start = (number - base) * each
        seed = symbols.head.seed if self._seed is None else self._seed
        # Counted from the window, so that one segment's noise isn't the next one's again.
        seed = (seed + 7919 * number) & 0xFFFF
        window = max(0, start - WINDOW), count
        latents = nets.denoised(features, symbols, self._steps, seed, None, (window,))
        if number == self._next:
            latents = self._blended(latents, start, each)
        first = self._begin - zero
        end = count if last else self._end(latents, features, count, each)
        sound = None
        if symbols.head.samples:
            sent = symbols.head.point.semantic
            sound = self._spoken(features, latents, first, end, seed, sent)
        frames = Rendering(
            nets.renderer,
            self._shown(symbols, first, end),
            latents.motion,
            partial(nets.bank.meshes, key=first_key.mesh),
            self._device,
            wanted=np.arange(first, end),
            sharpness=features.sharpness,
        )
        self._motion = np.concatenate([self._motion, latents.motion[first:end]])
        self._begin = zero + end
        return Part(frames, end - first, sound)

    def _shown(self, symbols: Symbols, first: int, end: int) -> list[KeyFrame]:
        """What frames ``first`` to before ``end`` are drawn from: the latest key frame that shows
        one that was given already; a new one comes slowly."""
        passed = [one for one in symbols.identities[1:] if one.frame < self._begin]
        before = self._latest or self._key_of(symbols.identities[0], symbols)
        now = before
        with suppress(FormatError):  # it's no picture: the one before goes on
            now = self._key_of(passed[-1], symbols) if passed else before
        self._latest = now
        if before is now:
            return [now]
        return [replace(before, frame=first), replace(now, frame=end)]

    def _key_of(self, one: Identity, symbols: Symbols) -> KeyFrame:
        """The key frame of an identity: the first one's mesh was sent, others' follow from the
        motion of their frame."""
        assert self._nets is not None
        if one.frame not in self._keys:
            key = self._nets.keys(replace(symbols, identities=(one,)))[0]
            if self._keys:
                moved = self._motion[one.frame][None]
                first = next(iter(self._keys.values()))
                key = replace(key, mesh=self._nets.bank.meshes(moved, first.mesh)[0])
            self._keys[one.frame] = key
        return self._keys[one.frame]

    def _symbols(self, stream: Stream, base: int, number: int) -> Symbols:
        """Of the segments ``base`` to ``number`` alone, counted from the first of them."""
        there = slice(base, number + 1)
        zero = base * stream.head.segment_frames
        frames = self._end_of(stream, number) - zero
        samples = frames * SAMPLES_PER_FRAME if stream.head.samples else 0
        local = replace(
            stream,
            head=replace(stream.head, frames=frames, samples=samples),
            segments=stream.segments[there],
            copies=stream.copies[there],
            points=stream.points[there],
            pitch=(),
            finer=(),
            cuts=(),
            scene=None,
        )
        return coder.decode(local, weights.codebook(stream.head.model))

    @staticmethod
    def _end_of(stream: Stream, number: int) -> int:
        """The frame before which a segment ends."""
        return min(stream.head.frames, (number + 1) * stream.head.segment_frames)

    def _blended(self, latents: Latents, start: int, each: int) -> Latents:
        """Latents that go on from those before the frame ``start``; the last ones are kept."""
        motion, mel, old = latents.motion, latents.mel, self._old
        blend, quiet = _ends(each)
        if old is not None:
            kept = len(old.motion)
            ramp = (np.arange(kept) - (kept - blend) + 0.5) / blend
            share = np.clip(ramp, 0, 1).astype(np.float32)[:, None]
            here = slice(start - kept, start)
            motion[here] = old.motion + share * (motion[here] - old.motion)
            if mel is not None and old.mel is not None:
                heard, twice = slice(2 * here.start, 2 * here.stop), np.repeat(share, 2, 0)
                mel[heard] = old.mel + twice * (mel[heard] - old.mel)
        kept = min(len(motion), blend + quiet)
        self._old = Latents(motion[-kept:].copy(), None if mel is None else mel[-2 * kept :].copy())
        return Latents(motion, mel)

    @staticmethod
    def _end(latents: Latents, features: Features, count: int, each: int) -> int:
        """The frame before which a part ends: quiet, if there is one, for pulses of two parts don't
        fit together."""
        blend, quiet = _ends(each)
        if latents.mel is None:
            return count - blend
        return quietest(latents.mel, features.silent, count - blend - quiet, count - blend)

    def _spoken(
        self,
        features: Features,
        latents: Latents,
        first: int,
        end: int,
        seed: int,
        sent_at_all: bool,
    ) -> np.ndarray:
        """The sound of the frames ``first`` to before ``end``, at its level."""
        assert self._nets is not None and latents.mel is not None
        sent = torch.full((1, len(latents.mel)), torch.nan)
        wave = self._nets.speaker.piece(latents.mel, features.silent, sent, first, end, seed)
        if self._rest is not None:
            wave[:SAMPLES_PER_FRAME] += self._rest
        samples = (end - first) * SAMPLES_PER_FRAME
        rest = wave[samples:]
        self._rest = rest if len(rest) else None
        wave = wave[:samples]
        self._loud = np.append(self._loud, powers(wave))[-LOUD:]
        gain = float(features.voice[-1]) / counted(loud_level(self._loud), sent_at_all)
        ramp = np.linspace(gain if self._gain is None else self._gain, gain, len(wave))
        self._gain = gain
        return np.clip(wave * ramp.astype(np.float32), -1, 1)


def _ends(each: int) -> tuple[int, int]:
    """``BLEND`` and ``QUIET`` where segments are of so many frames: less in short ones, for that is
    how long what was decoded waits for the next one."""
    return min(BLEND, each // 5), min(QUIET, each * 2 // 5)


def _is_settled(stream: Stream, number: int) -> bool:
    """Whether nothing more can come of a segment: it is there, or its copy, or two others.

    The last one so far may be shorter than others, which only the end will tell; what is read then,
    as if it weren't, makes no sense.
    """
    if number + 2 < len(stream.segments):
        return True
    head = replace(stream.head, frames=stream.head.segment_frames, samples=0)
    one = slice(number, number + 1)
    local = replace(
        stream, head=head, identities=(), segments=stream.segments[one], copies=stream.copies[one],
        points=stream.points[one], pitch=(), finer=(),
    )  # fmt: skip
    return coder.decode(local, weights.codebook(head.model)).received(0) is not None


def _may_begin(data: bytes) -> bool:
    """Whether these bytes may be the start of a stream."""
    try:
        container.version(data)
    except FormatError:
        return len(data) < 10 and b"\x89AVC\r\n\x1a\n\1".startswith(data[:9])
    return True
