"""A clip that isn't over to the bytes of an open ``.avc`` stream, segment by segment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from avcc.analysis import identity
from avcc.analysis.keys import Candidate
from avcc.analysis.look import rarely
from avcc.container import layout
from avcc.container.write import (
    pack_copy,
    pack_cuts,
    pack_end,
    pack_identity,
    pack_segment,
    pack_start,
)
from avcc.detail import SHOWN_BYTES, restoration, sharpness
from avcc.encoder import Encoder
from avcc.entropy import coder
from avcc.entropy.count import segment_bits
from avcc.errors import MediaError, RateError
from avcc.live.listener import AFTER, BEFORE, Listener
from avcc.live.renewal import Renewal
from avcc.live.watcher import Watcher, chosen
from avcc.quantise.rate import Costs, points, priced, ranked
from avcc.quantise.symbols import Tokens
from avcc.stages import (
    FRAME_RATE,
    SAMPLES_PER_FRAME,
    SEGMENT_FRAMES,
    Copy,
    Crop,
    Features,
    Head,
    KeyFrame,
    OperatingPoint,
    Segment,
    Symbols,
)
from avcc.trial import drawn

# Frames, at least, that key frame, voice code and level are of. Whoever finds the face in a live
# source holds as many, so nobody waits for them.
FIRST = 50
SPREAD = 20.0  # seconds by whose end the key frame is paid for
BURST = 1.5  # of a segment's share of the rate: how much one may take of what others left
ENDING, CUT = 20, 3  # bytes at most of the chunks at the end, and of each cut in them
LOOKS = 8  # pictures that tell how sharp they are to be shown
FRAMING = 10  # bytes at most of a segment's chunk beside its code


class Sender:
    """Takes pictures and sound as they come, and gives the bytes that can be sent by then.

    ``crop``: of the source, ``sound``: whether it has any. ``bitrate``: bits a second, kept from 20
    s on; before that the key frame is ahead of it. Each segment, of ``each`` frames, has the
    operating point that its own share of the bits buys, and may take a piece of the next key frame
    along (``renewal``). ``warn`` hears sentences about what was odd.
    """

    def __init__(
        self,
        nets: Encoder,
        bitrate: float,
        *,
        crop: Crop | None,
        sound: bool,
        mode: str = "auto",
        fec: bool = False,
        seed: int = 0,
        each: int = SEGMENT_FRAMES,
        warn: Callable[[str], None] | None = None,
    ) -> None:
        self._nets, self._mode, self._fec, self._warn = nets, mode, fec, warn
        self._each, seconds = each, each / float(FRAME_RATE)
        self._share = bitrate * seconds / 8
        self._spread = SPREAD / seconds  # segments
        self._crop, self._sound, self._seed = crop, sound, seed
        self._renewal = Renewal(self._share, seconds)
        self._watcher, self._listener = Watcher(nets.bank), Listener(nets.ear)
        self._places = np.zeros((0, len(nets.bank.directions)), np.float32)
        self._candidates: list[Candidate] = []
        self._wave = np.zeros(0, np.float32)
        self._heard = 0  # frames of ``_wave`` in front of the next segment
        self._cuts: list[int] = []
        self._number = 0
        self._frames = 0
        self._key: KeyFrame | None = None
        self._voice = np.zeros(0, np.float32)
        self._head: Head | None = None
        self._debt = 0.0  # bytes of the key frame, which segments pay for
        self._spent = 0.0
        self._copy: tuple[int, OperatingPoint, bytes] | None = None

    def __call__(self, pictures: np.ndarray, sound: np.ndarray | None) -> bytes:
        """Pictures uint8 (n, 256, 256, 3) and their sound, float32 (640 n,) at 16 kHz in -1..1.

        Raises ``MediaError`` where the beginning shows no face, ``RateError`` where the rate can't
        be reached.
        """
        places, candidates = self._watcher(pictures)
        self._places = np.concatenate([self._places, places])
        self._candidates += candidates
        wave = np.zeros(len(pictures) * SAMPLES_PER_FRAME, np.float32)
        if sound is not None:
            wave[: len(sound)] = sound[: len(wave)]
        self._wave = np.concatenate([self._wave, wave])
        self._frames += len(pictures)
        out = b""
        while len(self._places) >= AFTER + max(self._each, 0 if self._key else FIRST):
            out += self._segment(self._each)
        return out

    def close(self) -> bytes:
        """What is left, and the end. ``MediaError`` where nothing came at all."""
        if not self._frames:
            raise MediaError("there are no pictures")
        out = b""
        while len(self._places):
            out += self._segment(min(self._each, len(self._places)))
        self._renewal.close()
        out += self._copied()
        out += pack_cuts(tuple(self._cuts), self._frames) if self._cuts else b""
        sentence = rarely(self._watcher.seen / self._watcher.shown)
        if self._warn and sentence:
            self._warn(sentence)
        return out + pack_end(self._frames, self._frames * SAMPLES_PER_FRAME * self._sound)

    def _segment(self, frames: int) -> bytes:
        """The next segment, of so many frames, and before the first one head and key frame."""
        places, self._places = np.split(self._places, [frames])
        hearing = self._listener(self._wave, self._heard, frames)
        past = max(0, self._heard + frames - BEFORE)
        self._wave = self._wave[past * SAMPLES_PER_FRAME :]
        self._heard = self._heard + frames - past
        end = self._number * self._each + frames
        if self._key is None:
            known = np.concatenate([places, self._places])
            self._key = chosen(self._candidates, known)
            self._watcher.begin(known)
            level = self._listener.level or 0.0
            self._voice = np.append(hearing.voice, np.float32(level))
        candidates = [one for one in self._candidates if one.key.frame < end]
        self._candidates = self._candidates[len(candidates) :]
        motion = self._nets.bank.relative(self._watcher.filled(places), self._key.mesh)
        sounds = hearing.semantic, hearing.acoustic, hearing.silent, self._voice
        features = Features((self._key,), motion, *sounds)
        tokens = self._nets.quantiser.tokens(features)
        costs = self._costs(features, tokens)
        front = b""
        if self._head is None:
            front = self._start(features, costs, [one.key for one in candidates])
            self._debt = float(len(front))
            self._spent = self._debt + ENDING
            candidates = []
        begun = self._shot(frames)
        behind = self._copied() + self._renewed(candidates, begun, places, features)
        budget = self._budget(frames) - FRAMING - len(behind)
        point = points(costs, budget, self._mode)[0]
        code = self._coded(point, self._cut(features, tokens, point))
        chunk = pack_segment(self._number, code, point)
        if self._fec:
            copy = self._nets.quantiser.copies(features, tokens, point)[0]
            self._copy = self._number, copy.point, self._coded(copy.point, copy.segment)
        self._number += 1
        self._spent += len(chunk) + len(behind)
        return front + chunk + behind

    def _shot(self, frames: int) -> int:
        """The frame at which the last shot of the next segment begins; 0: where it began before."""
        base = self._number * self._each
        found = [base + cut for cut in self._watcher.cuts(frames)]
        self._cuts += found
        self._spent += CUT * len(found)
        return found[-1] if found else 0

    def _renewed(
        self, candidates: list[Candidate], begun: int, places: np.ndarray, features: Features
    ) -> bytes:
        """A piece of a later key frame. One is taken where a shot has ``begun``, else not before
        the first one is paid for; none where no motion says where its face lies."""
        piece = self._renewal.piece()
        fitting = [one for one in candidates if one.key.frame >= begun]
        due = begun or (self._number >= self._spread and self._renewal.wanted)
        if due and fitting and self._mode != "audio-driven":
            code = partial(self._identity_code, features)
            self._renewal.take(chosen(fitting, places), code, hurry=begun > 0)
        return piece

    def _budget(self, frames: int) -> float:
        """Bytes for the next segment, of so many frames, and for what goes along with it."""
        due = self._number + frames / self._each
        owed = self._debt * max(0.0, 1 - due / self._spread)
        most = BURST * self._share * frames / self._each
        return min(self._share * due + owed - self._spent, most)

    def _start(self, features: Features, costs: Costs, looks: list[KeyFrame]) -> bytes:
        """Signature, head, key frame: as many bytes of it as 20 s like these leave for it.
        ``looks``: some of the pictures."""
        assert self._key is not None
        nets, count = self._nets, self._spread
        most = count * self._share
        cheapest = points(costs, 0, self._mode)[0]
        known = self._crop, self._seed, cheapest, self._each
        self._head = head = Head(nets.book.id, FRAME_RATE, 1, int(self._sound), *known)
        code = self._identity_code(features, self._key)
        several = replace(
            costs,
            motion={key: count * size for key, size in costs.motion.items()},
            voice={key: count * size for key, size in costs.voice.items()},
            fixed=len(pack_start(head, layout.BRIEF, True))
            + SHOWN_BYTES
            + len(code)
            + (count + 1) * FRAMING,
            dear=identity.dearness(self._key.picture),
        )
        smallest = len(identity.smallest_picture(self._key.picture))
        spent = 0.0
        for plan in ranked(several, most - smallest, self._mode):
            spent = several.fixed + _spent(several, plan.point)
            found = identity.fitting_picture(self._key.picture, int(most - spent))
            if found is not None:
                self._head = self._shown(replace(head, point=plan.point), features, *found, looks)
                start = pack_start(self._head, layout.BRIEF, True)
                return start + pack_identity(0, found[1], code, found[0], layout.FRAMES_MOST)
        rate = int(np.ceil(8 * (spent + smallest) / SPREAD))
        raise RateError(f"this clip can't be sent at that rate: it needs {rate} bit/s or more")

    def _shown(
        self, head: Head, features: Features, data: bytes, side: int, looks: list[KeyFrame]
    ) -> Head:
        """Where what is drawn from a key frame that is decoded from ``data`` has no more detail
        than the source."""
        (key,), some = features.keys, looks[:: -(-len(looks) // LOOKS) or 1]
        shown = KeyFrame(identity.shown_picture(data, side), key.mesh, 0, len(data))
        head = replace(head, restoration=restoration(self._nets, [key], [shown]))
        at = np.array([look.frame for look in some], int)
        keys = [replace(shown, restored=head.restored)]
        pictures = drawn(self._nets, keys, features.motion, (), at)
        return replace(head, sharpness=sharpness(pictures, some))

    def _identity_code(self, features: Features, key: KeyFrame) -> bytes:
        """What is coded of the shape of a key frame and of the voice."""
        assert self._head is not None
        nets = self._nets
        one = nets.quantiser.identity(nets.shape.vector(key.mesh), features, self._sound)
        symbols = Symbols(self._head, (replace(one, picture=b"\0", side=64),), (None,))
        return coder.encode(symbols, nets.book).identities[0][2]

    def _cut(
        self, features: Features, tokens: Tokens, point: OperatingPoint, draft: bool = False
    ) -> Segment:
        return self._nets.quantiser.segments(features, tokens, point, draft=draft)[0]

    def _coded(self, point: OperatingPoint, seg: Segment) -> bytes:
        """The code of one segment."""
        return coder.coded(self._nets.book, Copy(point, seg))

    def _copied(self) -> bytes:
        """The chunk of the copy that waits, which is sent behind the next segment."""
        copy, self._copy = self._copy, None
        return pack_copy(*copy) if copy else b""

    def _costs(self, features: Features, tokens: Tokens) -> Costs:
        """What every motion and every voice of one segment would cost."""
        book = self._nets.book

        def bits(point: OperatingPoint, which: int) -> float:
            return segment_bits(self._cut(features, tokens, point, draft=True), point, book)[which]

        motion, voice = priced(bits, book.depths if self._sound else range(0))
        return Costs(motion, voice, 0.0, 0.0, np.zeros(1))


def _spent(costs: Costs, point: OperatingPoint) -> float:
    """Bytes of motion and voice."""
    motion = costs.motion[point.motion_stride, point.motion_step] if point.motion_stride else 0.0
    return motion + (costs.voice[point.acoustic_layers] if point.semantic and costs.voice else 0.0)
