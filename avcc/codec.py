"""The two journeys: a clip to the bytes of an ``.avc`` file, and back.

    media.read -> analysis -> quantise -> entropy -> container
    container -> entropy -> quantise -> diffusion -> render -> media.write

With ``encoder.py`` and ``decoder.py``, which hold the networks, and ``live``, where neither end has
all of a clip, the only file that knows more than one stage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

import numpy as np

from avcc import weights
from avcc.analysis import identity
from avcc.analysis.look import look, rarely
from avcc.analysis.scene import fitting, squeezed
from avcc.container import read as container
from avcc.container.limits import DECODER, Limits
from avcc.container.write import pack_scene
from avcc.container.write import write as written
from avcc.decoder import composed, decoder
from avcc.device import device_named
from avcc.encoder import Encoder, encoder
from avcc.entropy import coder
from avcc.entropy.count import segment_bits
from avcc.errors import FormatError, RateError
from avcc.live.receiver import Receiver
from avcc.live.sender import Sender
from avcc.quantise.rate import STRIDES, Costs, Plan, check_mode, priced, ranked
from avcc.quantise.scalar import STEPS
from avcc.quantise.symbols import Tokens
from avcc.span import span
from avcc.stages import (
    FRAME_RATE,
    SEGMENT_SECONDS,
    Clip,
    Crop,
    Features,
    Head,
    OperatingPoint,
    Stream,
    Symbols,
)

DEFAULT_STEPS = 4
VARINT_GROWS = 2  # bytes at most, of the length of the chunk that a picture is put into
SAMPLED = 12  # segments of a long clip from which its rate is foretold

Progress = Callable[[str, float], None]  # hears the stage and its share done, 0 to 1
Warn = Callable[[str], None]  # hears sentences about what was odd and went on


class Codec:
    """Encoder and decoder; networks are loaded when first needed, and kept."""

    def __init__(self, device: str = "auto") -> None:
        self.device = device_named(device)

    @property
    def _encoder(self) -> Encoder:
        return encoder(weights.default(), self.device)

    def encode(
        self,
        clip: Clip,
        bitrate: float,
        *,
        mode: str = "auto",
        scene: bool = False,
        fec: bool = False,
        seed: int = 0,
        progress: Progress | None = None,
        warn: Warn | None = None,
    ) -> bytes:
        """A clip -> the bytes of an ``.avc`` file of at most ``bitrate`` bits a second in all.

        ``mode``: one of ``stages.MODES``. ``scene``: send a still of what surrounds the crop, for
        about an eighth of the bytes. ``fec``: send a coarse copy of each segment behind the next
        one, which is used where the segment is lost. Raises ``MediaError`` where no face can be
        followed or the mode needs a sound, ``RateError`` where the rate can't be reached.
        """
        check_mode(mode, clip.audio is not None)
        budget = int(bitrate * clip.count / FRAME_RATE / 8)
        features, away = self._analysed(clip, progress, warn)
        still = None
        if scene:
            still = _surroundings(clip, features.keys[0].frame, budget)
            if still is None and warn:
                warn("the crop is all that there is of the picture: no surroundings are sent")
        stream = self._fitted(clip, features, away, budget, mode, seed, progress, still, fec)
        if warn and mode == "auto" and not stream.head.point.motion_stride:
            warn("the rate leaves no room for motion: key frame and voice alone are sent")
        data = written(stream)
        assert len(data) <= budget
        return data

    def sender(
        self,
        bitrate: float,
        *,
        crop: Crop | None = None,
        sound: bool = True,
        mode: str = "auto",
        fec: bool = False,
        seed: int = 0,
        segment: float = SEGMENT_SECONDS,
        warn: Warn | None = None,
    ) -> Sender:
        """What codes a clip that isn't over, as an open stream (``live.sender``), in segments of
        ``segment`` seconds, 0.2 to 4, which is what the far end waits for at least."""
        check_mode(mode, sound)
        each = round(segment * float(FRAME_RATE))
        return Sender(
            self._encoder, bitrate,
            crop=crop, sound=sound, mode=mode, fec=fec, seed=seed, each=each, warn=warn,
        )  # fmt: skip

    def receiver(
        self,
        *,
        steps: int | None = None,
        seed: int | None = None,
        max_duration: float = DECODER.seconds,
        warn: Warn | None = None,
    ) -> Receiver:
        """What decodes an open stream while it comes (``live.receiver``)."""
        return Receiver(
            self.device, steps=steps or DEFAULT_STEPS, seed=seed, max_duration=max_duration,
            warn=warn,
        )  # fmt: skip

    def _analysed(
        self, clip: Clip, progress: Progress | None, warn: Warn | None
    ) -> tuple[Features, np.ndarray]:
        seen = look(clip, self._encoder.bank, partial(progress, "following") if progress else None)
        if warn and (sentence := rarely(seen.seen)):
            warn(sentence)
        wave = np.zeros(0, np.float32) if clip.audio is None else clip.audio
        heard = self._encoder.ear(wave, clip.count, self._encoder.pitch)
        voice = np.append(heard.voice, np.float32(heard.level))
        sound = heard.semantic, heard.acoustic, heard.silent, voice
        return Features(seen.keys, seen.motion, *sound, seen.cuts, heard.pitch), seen.away

    def _fitted(
        self,
        clip: Clip,
        features: Features,
        away: np.ndarray,
        budget: int,
        mode: str,
        seed: int,
        progress: Progress | None,
        still: tuple[int, bytes] | None,
        fec: bool,
    ) -> Stream:
        """The best stream of at most ``budget`` bytes."""
        quantiser, book = self._encoder.quantiser, self._encoder.book
        tokens = quantiser.tokens(features)
        sound = clip.audio is not None
        samples = 0 if clip.audio is None else len(clip.audio)
        point = OperatingPoint(STRIDES[-1], len(STEPS) - 1, 0, sound)
        head = Head(book.id, FRAME_RATE, clip.count, samples, clip.crop, seed, point)
        smallest = len(identity.smallest_picture(features.keys[0].picture)) + VARINT_GROWS
        extra = len(pack_scene(*still)) if still else 0
        if fec:
            with_copies, without = (
                len(written(self._stream(features, tokens, head, Plan(point, 1), also)))
                for also in (True, False)
            )
            extra += with_copies - without
        plans = ranked(self._costs(features, tokens, head, away), budget - smallest - extra, mode)
        spent = 0
        for number, plan in enumerate(plans):
            if progress:
                progress("fitting", number / len(plans))
            stream = replace(self._stream(features, tokens, head, plan, fec), scene=still)
            spent = len(written(stream)) - plan.keys * len(_PLACEHOLDER)
            sent = sorted(features.keys[: plan.keys], key=lambda key: key.frame)
            room = budget - spent - plan.keys * VARINT_GROWS
            found = identity.fitting_pictures([key.picture for key in sent], room)
            if found is not None:
                pairs = zip(stream.identities, found, strict=True)
                full = tuple((one[0], side, one[2], data) for one, (data, side) in pairs)
                return replace(stream, identities=full)
        rate = int(np.ceil(8 * (spent + smallest) / float(clip.duration)))
        raise RateError(
            f"this clip of {float(clip.duration):.2f} s can't be coded in {budget} bytes: it needs"
            f" {rate} bit/s or more"
        )

    def _costs(self, features: Features, tokens: Tokens, head: Head, away: np.ndarray) -> Costs:
        """What every motion and every voice would cost, from all segments or a sample of them."""
        quantiser, book = self._encoder.quantiser, self._encoder.book
        count = head.segments
        chosen = np.unique(np.linspace(0, count - 1, SAMPLED).astype(int)).tolist()

        def bits(point: OperatingPoint, which: int) -> float:
            segments = quantiser.segments(features, tokens, point, chosen, draft=True)
            total = sum(segment_bits(one, point, book)[which] for one in segments)
            return total * count / len(chosen)

        motion, voice = priced(bits, book.depths if head.samples else range(0))
        blank = OperatingPoint(0, 0, 0, False)
        bare = Plan(blank, 1), Plan(blank, 2), Plan(blank, 1, pitch=True)
        one, two, pitched = (len(written(self._stream(features, tokens, head, p))) for p in bare)
        # Closing a segment's coder costs half a byte, and rounds up.
        fixed = one + head.segments
        dear = identity.dearness(features.keys[0].picture)
        return Costs(motion, voice, fixed, two - one, away, pitched - one, dear)

    def _stream(
        self, features: Features, tokens: Tokens, head: Head, plan: Plan, fec: bool = False
    ) -> Stream:
        """Coded as planned, with a placeholder for each of the pictures. ``fec``: with copies."""
        quantiser, bank, shape = self._encoder.quantiser, self._encoder.bank, self._encoder.shape
        head = replace(head, point=plan.point)
        sent = sorted(features.keys[: plan.keys], key=lambda key: key.frame)
        base, first = features.keys[0].mesh, sent[0].mesh
        if first is not base:
            features = replace(features, motion=bank.rebased(features.motion, base, first))
        identities = []
        for key in sent:
            # alone, a key frame is good for all times
            frame = key.frame if len(sent) > 1 else 0
            one = quantiser.identity(shape.vector(key.mesh), features, head.samples > 0, frame)
            identities.append(replace(one, picture=_PLACEHOLDER, side=256))
        segments = quantiser.segments(features, tokens, head.point)
        cuts = features.cuts if len(sent) > 1 else ()  # one key frame is for all shots
        pitch = tokens.pitch if plan.pitch else ()
        copies = tuple(quantiser.copies(features, tokens, head.point)) if fec else ()
        parts = tuple(identities), tuple(segments), cuts, pitch
        symbols = Symbols(head, *parts, copies=copies)
        return coder.encode(symbols, self._encoder.book)

    def decode(
        self,
        data: bytes,
        *,
        steps: int | None = None,
        seed: int | None = None,
        start: float = 0.0,
        duration: float | None = None,
        max_duration: float = DECODER.seconds,
        scene: bool = True,
        max_pixels: int = DECODER.pixels,
        progress: Progress | None = None,
        warn: Warn | None = None,
    ) -> Clip:
        """The bytes of an ``.avc`` file -> a ``Clip`` whose frames are drawn as they are iterated.

        What the options mean: ``avcc.decode``. What was damaged is concealed, and ``warn`` hears
        of it. Raises ``FormatError``, ``ModelError``, ``AvccError`` where there is no such part.
        """
        stream = container.read(data, Limits(max_duration))
        part = span(stream, start, duration)
        stream = part.of(stream)
        symbols = coder.decode(stream, weights.codebook(stream.head.model))
        for sentence in coder.damage(stream, symbols):
            if warn:
                warn(sentence)
        nets = decoder(stream.head.model, self.device)
        features = nets.dequantised(symbols)
        noise = symbols.head.seed if seed is None else seed
        told = partial(progress, "denoising") if progress else None
        latents = nets.denoised(
            features, symbols, steps or DEFAULT_STEPS, noise, told, part.windows
        )
        frames: Iterable[np.ndarray] = nets.drawn(features, latents, (part.first, part.last))
        if scene and symbols.scene and symbols.head.crop:
            try:
                frames = composed(frames, symbols.scene, symbols.head.crop, max_pixels)
            except FormatError:
                if warn:
                    warn("The surroundings can't be decoded; the crop alone is shown.")
        samples = part.samples(symbols.head.samples)
        audio = nets.spoken(features, samples, latents, part.first, noise)
        return Clip(frames, part.count, audio, symbols.head.crop)


def _surroundings(clip: Clip, frame: int, budget: int) -> tuple[int, bytes] | None:
    """The coded still of what lies around the crop at ``frame``; ``None`` where nothing does."""
    if clip.around is None or clip.crop is None:
        return None
    return fitting(squeezed(clip.around(frame), clip.crop), budget)


_PLACEHOLDER = b"\0"  # stands for a picture while the rest of a file is measured
