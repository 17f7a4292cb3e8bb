"""The two journeys: a clip to the bytes of an ``.avc`` file, and back.

    media.read -> analysis -> quantise -> entropy -> container
    container -> entropy -> quantise -> diffusion -> render -> media.write

With ``encoder.py`` and ``decoder.py``, which hold the networks, ``fitting.py``, which finds the
best stream of a budget, ``prices.py``, ``portrait.py``, ``aim.py`` and ``trial.py``, where an
encoder tries before it decides, and ``live``, where neither end has all of a clip, the only file
that knows more than one stage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import numpy as np

from avcc import weights
from avcc.analysis.look import Look, look, rarely
from avcc.analysis.scene import fitting, squeezed
from avcc.container import read as container
from avcc.container.limits import DECODER, Limits
from avcc.container.write import write as written
from avcc.decoder import composed, decoder
from avcc.device import device_named
from avcc.encoder import Encoder, encoder
from avcc.entropy import coder
from avcc.errors import FormatError
from avcc.fitting import Fitting, Wanted
from avcc.live.receiver import Receiver
from avcc.live.sender import Sender
from avcc.quantise.rate import check_mode
from avcc.span import span
from avcc.stages import (
    FRAME_RATE,
    SEGMENT_SECONDS,
    Clip,
    Crop,
    Features,
    Head,
    OperatingPoint,
)

DEFAULT_STEPS = 4

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
        seen, features = self._analysed(clip, progress, warn)
        still = None
        if scene:
            still = _surroundings(clip, features.keys[0].frame, budget)
            if still is None and warn:
                warn("the crop is all that there is of the picture: no surroundings are sent")
        nets, wanted = self._encoder, Wanted(seed, still, fec)
        samples = 0 if clip.audio is None else len(clip.audio)
        blank = OperatingPoint(0, 0, 0, False)
        head = Head(nets.book.id, FRAME_RATE, clip.count, samples, clip.crop, seed, blank)
        choices = Fitting(nets, head, features, seen, wanted)
        stream = choices.best(budget, mode, partial(progress, "fitting") if progress else None)
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
    ) -> tuple[Look, Features]:
        seen = look(clip, self._encoder.bank, partial(progress, "following") if progress else None)
        if warn and (sentence := rarely(seen.seen)):
            warn(sentence)
        wave = np.zeros(0, np.float32) if clip.audio is None else clip.audio
        nets = self._encoder
        heard = nets.ear(wave, clip.count, nets.pitch, nets.follower)
        voice = np.append(heard.voice, np.float32(heard.level))
        sound = heard.semantic, heard.acoustic, heard.silent, voice
        told = seen.cuts, heard.pitch
        return seen, Features(seen.keys, seen.motion, *sound, *told, lips=heard.lips)

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
