"""One clip's features -> the best stream of at most so many bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from avcc.aim import aimed
from avcc.analysis import identity
from avcc.analysis.look import Look
from avcc.container.write import pack_scene
from avcc.container.write import write as written
from avcc.decoder import decoded_keys
from avcc.detail import restoration, sharpness
from avcc.encoder import Encoder
from avcc.entropy import coder
from avcc.errors import RateError
from avcc.portrait import portrait
from avcc.prices import Prices
from avcc.quantise.rate import STRIDES, Costs, Plan, ranked
from avcc.quantise.scalar import STEPS
from avcc.quantise.symbols import Tokens, motion_sent
from avcc.stages import (
    FRAME_RATE,
    Copy,
    Features,
    Head,
    KeyFrame,
    OperatingPoint,
    Segment,
    Stream,
    Symbols,
)
from avcc.trial import drawn, filled

VARINT_GROWS = 2  # bytes at most, of the length of the chunk that a picture is put into
ENOUGH = 0.97  # of a budget; where less is used, it is shared out again by better prices
AGAIN = 3  # plans tried then
LED_FROM = 400  # bytes of a file, from which on 15 to 20 that make lips move like this person's pay
EVERY = 2  # of the pictures looked at, one that tells how sharp they are
_PLACEHOLDER = b"\0"  # stands for a picture while the rest of a file is measured


class Wanted(NamedTuple):
    """What is sent beside what the budget decides. ``still``: of the surroundings, as
    ``container.write.pack_scene`` takes it; ``fec``: copies of segments."""

    seed: int = 0
    still: tuple[int, bytes] | None = None
    fec: bool = False


class Found(NamedTuple):
    """A plan that fits, and what it gives."""

    stream: Stream
    symbols: Symbols
    plan: Plan


class Fitting:
    """Of one clip: what was ``seen`` in its pictures, and the ``features`` made of that."""

    def __init__(
        self,
        nets: Encoder,
        head: Head,
        features: Features,
        seen: Look,
        wanted: Wanted,
    ) -> None:
        self._nets, self._head, self._features = nets, head, features
        self._seen, self._wanted, self._led = seen, wanted, False
        self._tokens: Tokens = nets.quantiser.tokens(features)
        self._prices = Prices(nets, features, self._tokens, head.segments)

    def best(
        self, budget: int, mode: str, progress: Callable[[float], None] | None = None
    ) -> Stream:
        """The stream. Raises ``RateError`` where none is as small as that."""
        self._led = budget >= LED_FROM
        smallest = len(identity.smallest_picture(self._features.keys[0].picture)) + VARINT_GROWS
        room = budget - smallest - self._extra()
        costs = self._costs()
        found, spent = self._first(ranked(costs, room, mode), budget, progress)
        if found is None:
            seconds = float(self._head.frames / FRAME_RATE)
            raise RateError(
                f"this clip of {seconds:.2f} s can't be coded in {budget} bytes: it needs"
                f" {int(np.ceil(8 * (spent + smallest) / seconds))} bit/s or more"
            )
        if len(written(found.stream)) < ENOUGH * budget:
            point = found.plan.point
            plans = ranked(costs.scaled(point, *self._prices.weighed(point)), room, mode)
            if plans[0] != found.plan:
                found = self._first(plans[:AGAIN], budget)[0] or found
        return self._drawn(found, budget)

    def _first(
        self,
        plans: Sequence[Plan],
        budget: int,
        progress: Callable[[float], None] | None = None,
    ) -> tuple[Found | None, int]:
        """What the first plan gives that fits; and the bytes of the last one tried, beside its
        pictures."""
        spent = 0
        for number, plan in enumerate(plans):
            if progress:
                progress(number / len(plans))
            symbols = self._wished(plan)
            full, spent = self._filled(symbols, plan, budget)
            if full is not None:
                return Found(full, symbols, plan), spent
        return None, spent

    def _extra(self) -> int:
        """Bytes of what is wanted beside."""
        still, fec = self._wanted.still, self._wanted.fec
        extra = len(pack_scene(*still)) if still else 0
        if fec:
            point = OperatingPoint(STRIDES[-1], len(STEPS) - 1, 0, self._head.samples > 0)
            with_copies, without = (
                len(written(self._stream(Plan(point, 1), also))) for also in (True, False)
            )
            extra += with_copies - without
        return extra

    def _filled(self, symbols: Symbols, plan: Plan, budget: int) -> tuple[Stream | None, int]:
        """Coded, with the best pictures that fit, ``None`` where none do; and the bytes of all
        else."""
        bare = coder.encode(symbols, self._nets.book)
        spent = len(written(bare)) - plan.keys * len(_PLACEHOLDER)
        room = budget - spent - plan.keys * VARINT_GROWS
        pictures = [key.picture for key in _sent(self._features, plan)]
        found = identity.fitting_pictures(pictures, room)
        if found is None:
            return None, spent
        pairs = zip(bare.identities, found, strict=True)
        full = tuple((one[0], side, one[2], data) for one, (data, side) in pairs)
        return replace(bare, identities=full), spent

    def _wished(self, plan: Plan) -> Symbols:
        """As planned, with all that is wanted beside."""
        symbols = self._symbols(plan, self._wanted.fec)
        return replace(symbols, scene=self._wanted.still)

    def _drawn(self, found: Found, budget: int) -> Stream:
        """As it is best drawn: from the best key frame, with motion that makes up for what drawing
        from it misses, where there is one; and with no more detail than the source has."""
        alone = len(found.stream.identities) == 1 and found.plan.point.motion_stride
        if alone:
            found = self._posed(found, budget)
        found = self._restored(found, budget)
        pictures: Sequence[np.ndarray] = ()
        if alone:
            found, pictures = self._aimed(found, budget)
        return self._sharpened(found, pictures, budget).stream

    def _posed(self, found: Found, budget: int) -> Found:
        """From another key frame if one of so many bytes is better."""
        seen, known = self._seen, self._features
        (present, *_), size = known.keys, len(found.stream.identities[0][3])
        best = portrait(self._nets, present, seen.rivals, known.motion, seen.looks, size)
        if best is present:
            return found
        motion = self._nets.bank.rebased(known.motion, present.mesh, best.mesh)
        self._features = replace(known, keys=(best,), motion=motion)
        again, _ = self._first([found.plan], budget)
        if again is None:
            self._features = known
        return again or found

    def _aimed(self, found: Found, budget: int) -> tuple[Found, Sequence[np.ndarray]]:
        """With motion that makes up for what drawing misses; and what is drawn of all looks then,
        as nearly as it is known."""
        nets, features = self._nets, self._features
        _, symbols, plan = found
        (shown,), base = self._shown(found), features.keys[0].mesh
        more, pictures = aimed(nets, shown, base, motion_sent(symbols), self._seen.looks)
        if more is None:
            return found, pictures
        moved = replace(features, motion=features.motion + more)
        segments = nets.quantiser.moved(_whole(symbols), moved, plan.point)
        copies = self._copies(moved, plan.point) if symbols.copies else ()
        symbols = replace(symbols, segments=tuple(segments), copies=copies)
        again, _ = self._filled(symbols, plan, budget)
        return (found, ()) if again is None else (Found(again, symbols, plan), pictures)

    def _restored(self, found: Found, budget: int) -> Found:
        """With key frames that are no more restored than to the source's detail."""
        keys = _sent(self._features, found.plan)
        told = restoration(self._nets, keys, self._shown(found))
        return self._headed(found, replace(found.stream.head, restoration=told), budget)

    def _sharpened(self, found: Found, pictures: Sequence[np.ndarray], budget: int) -> Found:
        """Shown no sharper than the source is. ``pictures``: what is drawn of all looks, or none,
        where that isn't known yet."""
        looks = self._seen.looks[::EVERY]
        some = pictures[::EVERY] or self._pictures(found, looks)
        head = replace(found.stream.head, sharpness=sharpness(some, looks))
        return self._headed(found, head, budget)

    def _pictures(self, found: Found, looks: Sequence[KeyFrame]) -> list[np.ndarray]:
        """As they are drawn where ``looks`` are."""
        told = filled(motion_sent(found.symbols))
        motion = self._features.motion if told is None else told
        at = np.array([look.frame for look in looks])
        return drawn(self._nets, self._shown(found), motion, found.symbols.cuts, at)

    def _headed(self, found: Found, head: Head, budget: int) -> Found:
        """With another head, which may take some bytes from the pictures."""
        stream, symbols, plan = found
        stream, symbols = replace(stream, head=head), replace(symbols, head=head)
        if len(written(stream)) > budget:
            again, _ = self._filled(symbols, plan, budget)
            if again is None:
                return found
            stream = again
        return Found(stream, symbols, plan)

    def _shown(self, found: Found) -> tuple[KeyFrame, ...]:
        """The key frames as they are decoded."""
        pairs = zip(found.symbols.identities, found.stream.identities, strict=True)
        sent = [replace(one, picture=data, side=side) for one, (_, side, _, data) in pairs]
        return decoded_keys(sent, self._nets.shape, found.stream.head.restored)

    def _costs(self) -> Costs:
        """What every motion and every voice would cost, and all else."""
        head = self._head
        motion, voice = self._prices.all(head.samples > 0)
        blank = OperatingPoint(0, 0, 0, False)
        bare = Plan(blank, 1), Plan(blank, 2), Plan(blank, 1, pitch=True)
        one, two, pitched = (len(written(self._stream(plan))) for plan in bare)
        # Closing a segment's coder costs half a byte, and rounds up.
        fixed = one + head.segments
        dear = identity.dearness(self._features.keys[0].picture)
        return Costs(motion, voice, fixed, two - one, self._seen.away, pitched - one, dear)

    def _stream(self, plan: Plan, fec: bool = False) -> Stream:
        return coder.encode(self._symbols(plan, fec), self._nets.book)

    def _symbols(self, plan: Plan, fec: bool = False) -> Symbols:
        """As planned, with a placeholder for each of the pictures. ``fec``: with copies."""
        nets, tokens, features = self._nets, self._tokens, self._features
        quantiser, bank = nets.quantiser, nets.bank
        head = replace(self._head, point=plan.point)
        sent = _sent(features, plan)
        base, first = features.keys[0].mesh, sent[0].mesh
        if first is not base:
            features = replace(features, motion=bank.rebased(features.motion, base, first))
        identities = []
        for key in sent:
            # alone, a key frame is good for all times
            frame = key.frame if len(sent) > 1 else 0
            shape = nets.shape.vector(key.mesh)
            one = quantiser.identity(shape, features, head.samples > 0, frame)
            identities.append(replace(one, picture=_PLACEHOLDER, side=256))
        segments = quantiser.segments(features, tokens, head.point)
        cuts = features.cuts if len(sent) > 1 else ()  # one key frame is for all shots
        pitch = tokens.pitch if plan.pitch else ()
        copies = self._copies(features, head.point) if fec else ()
        lips = self._lips(features.motion) if self._led and head.led else None
        coded = tuple(identities), tuple(segments), cuts, pitch
        return Symbols(head, *coded, copies=copies, lips=lips)

    def _lips(self, motion: np.ndarray) -> np.ndarray | None:
        """How they follow the voice, where there is a network that makes anything of that."""
        signals, follower = self._features.lips, self._nets.follower
        if signals is None or follower is None:
            return None
        return follower.code(signals, motion / self._nets.book.arrays["motion.scale"])

    def _copies(self, features: Features, point: OperatingPoint) -> tuple[Copy, ...]:
        return tuple(self._nets.quantiser.copies(features, self._tokens, point))


def _sent(features: Features, plan: Plan) -> list[KeyFrame]:
    """The key frames of a plan in the order of time."""
    return sorted(features.keys[: plan.keys], key=lambda key: key.frame)


def _whole(symbols: Symbols) -> list[Segment]:
    """All segments: an encoder has lost none."""
    return [segment for segment in symbols.segments if segment is not None]
