"""The two journeys: a clip to the bytes of an ``.avc`` file, and back.

    media.read -> analysis -> quantise -> entropy -> container
    container -> entropy -> quantise -> diffusion -> render -> media.write

The only file that knows more than one stage.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from avcc import weights
from avcc.analysis import identity
from avcc.analysis.look import look
from avcc.analysis.motion import MotionBank, ShapeBank
from avcc.analysis.speech import Ear
from avcc.container import read as container
from avcc.container.write import write as written
from avcc.device import device_named
from avcc.diffusion.avdiff import AVDiff
from avcc.diffusion.conditions import Conditions
from avcc.diffusion.estimate import Estimator
from avcc.diffusion.sample import sample
from avcc.entropy import coder
from avcc.entropy.count import segment_bits
from avcc.entropy.tables import Codebook
from avcc.errors import RateError
from avcc.quantise.rate import STRIDES, Costs, ranked
from avcc.quantise.scalar import STEPS
from avcc.quantise.symbols import Quantiser, shape_vector
from avcc.render.draw import Rendering
from avcc.render.face import Renderer
from avcc.render.speak import Speaker
from avcc.render.voice import Vocoder
from avcc.stages import (
    FRAME_RATE,
    Clip,
    Features,
    Head,
    Identity,
    Latents,
    OperatingPoint,
    Segment,
    Stream,
    Symbols,
)

DEFAULT_STEPS = 4
VARINT_GROWS = 2  # bytes at most, of the length of the chunk that a picture is put into
FOLLOWED = 0.8  # share of the pictures: with fewer, a person is told
SAMPLED = 12  # segments of a long clip from which its rate is foretold

Progress = Callable[[str, float], None]  # hears the stage and its share done, 0 to 1
Warn = Callable[[str], None]  # hears sentences about what was odd and went on


class Codec:
    """Encoder and decoder; networks are loaded when first needed, and kept."""

    def __init__(self, device: str = "auto") -> None:
        self.device = device_named(device)

    @property
    def _encoder(self) -> _Encoder:
        return _encoder(weights.default(), self.device)

    def encode(
        self,
        clip: Clip,
        bitrate: float,
        *,
        seed: int = 0,
        progress: Progress | None = None,
        warn: Warn | None = None,
    ) -> bytes:
        """A clip -> the bytes of an ``.avc`` file of at most ``bitrate`` bits a second in all.

        Raises ``MediaError`` where no face can be followed, ``RateError`` where the rate can't be
        reached.
        """
        budget = int(bitrate * clip.count / FRAME_RATE / 8)
        features, shape = self._analysed(clip, progress, warn)
        stream = self._fitted(clip, features, shape, budget, seed, progress)
        data = written(stream)
        assert len(data) <= budget
        return data

    def _analysed(
        self, clip: Clip, progress: Progress | None, warn: Warn | None
    ) -> tuple[Features, np.ndarray]:
        seen = look(clip, self._encoder.bank, partial(progress, "following") if progress else None)
        if warn and seen.seen < FOLLOWED:
            warn(f"the face could be followed in only {seen.seen:.0%} of the pictures")
        wave = np.zeros(0, np.float32) if clip.audio is None else clip.audio
        heard = self._encoder.ear(wave, clip.count)
        voice = np.append(heard.voice, np.float32(heard.level))
        picture = seen.picture, seen.mesh, seen.motion
        features = Features(*picture, heard.semantic, heard.acoustic, heard.silent, voice)
        return features, self._encoder.shape.vector(seen.mesh)

    def _fitted(
        self,
        clip: Clip,
        features: Features,
        shape: np.ndarray,
        budget: int,
        seed: int,
        progress: Progress | None,
    ) -> Stream:
        """The best stream of at most ``budget`` bytes."""
        quantiser, book = self._encoder.quantiser, self._encoder.book
        tokens = quantiser.tokens(features)
        sound = clip.audio is not None
        samples = 0 if clip.audio is None else len(clip.audio)
        one = quantiser.identity(shape, features, sound)
        point = OperatingPoint(STRIDES[-1], len(STEPS) - 1, 0, sound)
        head = Head(book.id, FRAME_RATE, clip.count, samples, clip.crop, seed, point)
        smallest = len(identity.smallest_picture(features.picture)) + VARINT_GROWS
        points = ranked(_costs(quantiser, book, features, tokens, one, head), budget - smallest)
        spent = 0
        for number, point in enumerate(points):
            if progress:
                progress("fitting", number / len(points))
            segments = quantiser.segments(features, tokens, point)
            stream = _stream(replace(head, point=point), one, segments, book)
            spent = len(written(stream)) - len(_PLACEHOLDER)
            room = budget - spent - VARINT_GROWS
            found = identity.fitting_picture(features.picture, room)
            if found is not None:
                first = stream.identities[0]
                return replace(stream, identities=((first[0], found[1], first[2], found[0]),))
        rate = int(np.ceil(8 * (spent + smallest) / float(clip.duration)))
        raise RateError(
            f"this clip of {float(clip.duration):.2f} s can't be coded in {budget} bytes: it needs"
            f" {rate} bit/s or more"
        )

    def decode(
        self,
        data: bytes,
        *,
        steps: int | None = None,
        seed: int | None = None,
        progress: Progress | None = None,
        warn: Warn | None = None,
    ) -> Clip:
        """The bytes of an ``.avc`` file -> a ``Clip`` whose frames are drawn as they are iterated.

        ``steps``: of the diffusion; ``seed``: other noise than the file's own. What was damaged is
        concealed, and ``warn`` hears of it. Raises ``FormatError``, ``ModelError``.
        """
        stream = container.read(data)
        symbols = coder.decode(stream, weights.codebook(stream.head.model))
        for sentence in coder.damage(stream, symbols):
            if warn:
                warn(sentence)
        nets = _decoder(stream.head.model, self.device)
        features = nets.dequantised(symbols)
        noise = symbols.head.seed if seed is None else seed
        told = partial(progress, "denoising") if progress else None
        latents = nets.denoised(features, symbols, steps or DEFAULT_STEPS, noise, told)
        frames = nets.drawn(features, symbols, latents)
        audio = nets.spoken(features, symbols.head.samples, latents)
        return Clip(frames, symbols.head.frames, audio, symbols.head.crop)


class _Encoder:
    """What encoding needs of one model."""

    def __init__(self, model: bytes, device: str) -> None:
        self.book = weights.codebook(model)
        self.bank, self.shape = _banks(self.book)
        self.quantiser = Quantiser(self.book)
        self.ear = _loaded(Ear(), weights.tensors(model, "speech"), "ear.", device)


class _Decoder:
    """What decoding needs of one model."""

    def __init__(self, model: bytes, device: str) -> None:
        self.book = weights.codebook(model)
        self.bank, self.shape = _banks(self.book)
        self.quantiser = Quantiser(self.book)
        self.device = device
        nets = {part: weights.tensors(model, part) for part in weights.PARTS[1:]}
        self.estimator = _loaded(Estimator(), nets["speech"], "estimator.", device)
        self.avdiff = _loaded(AVDiff(), nets["avdiff"], "avdiff.", device)
        self.renderer = _loaded(Renderer(), nets["renderer"], "renderer.", device)
        self.speaker = Speaker(_loaded(Vocoder(), nets["vocoder"], "vocoder.", device))

    def dequantised(self, symbols: Symbols) -> Features:
        first = symbols.identities[0]
        picture = identity.shown_picture(first.picture, first.side)
        mesh = self.shape.mesh(shape_vector(first))
        return self.quantiser.features(symbols, picture, mesh)

    def denoised(
        self,
        features: Features,
        symbols: Symbols,
        steps: int,
        seed: int,
        progress: Callable[[float], None] | None,
    ) -> Latents:
        """AVDiff's motion and mel."""
        point = symbols.head.point
        condition = Conditions(
            self.estimator,
            features,
            self.book.arrays["motion.scale"].astype(np.float32),
            step=float(STEPS[point.motion_step]),
            layers=point.acoustic_layers,
            shape=shape_vector(symbols.identities[0])[3:],
            sound=symbols.head.samples > 0,
            device=self.device,
        )
        mel, motion = sample(self.avdiff, condition, symbols.head.frames, seed, steps, progress)
        return condition.latents(mel, motion)

    def drawn(self, features: Features, symbols: Symbols, latents: Latents) -> Rendering:
        meshes = partial(self.bank.meshes, key=features.mesh)
        return Rendering(self.renderer, features, latents.motion, meshes, self.device)

    def spoken(self, features: Features, samples: int, latents: Latents) -> np.ndarray | None:
        if not samples or latents.mel is None:
            return None
        return self.speaker(latents.mel, features.silent, float(features.voice[-1]), samples)


_encoder = lru_cache(maxsize=2)(_Encoder)
_decoder = lru_cache(maxsize=2)(_Decoder)
_PLACEHOLDER = b"\0"  # stands for a picture while the rest of a file is measured


def _costs(
    quantiser: Quantiser,
    book: Codebook,
    features: Features,
    tokens: tuple[np.ndarray, np.ndarray],
    one: Identity,
    head: Head,
) -> Costs:
    """What every motion and every voice would cost, from all segments or a sample of them."""
    sound = head.samples > 0

    def bits(point: OperatingPoint, which: int) -> float:
        segments = quantiser.segments(features, tokens, point)
        chosen = np.unique(np.linspace(0, len(segments) - 1, SAMPLED).astype(int))
        total = sum(segment_bits(segments[i], point, book)[which] for i in chosen)
        return total * len(segments) / len(chosen) / 8

    motion = {
        (stride, step): bits(OperatingPoint(stride, step, 0, False), 0)
        for stride in STRIDES
        for step in range(len(STEPS))
    }
    layers = range(book.layers + 1)
    voice = {n: bits(OperatingPoint(0, 0, n, True), 1) for n in layers} if sound else {}
    nothing = OperatingPoint(0, 0, 0, False)
    blank = quantiser.segments(features, tokens, nothing)
    # Closing a segment's coder costs half a byte, and rounds up.
    fixed = len(written(_stream(replace(head, point=nothing), one, blank, book))) + len(blank)
    return Costs(motion, voice, fixed)


def _stream(head: Head, one: Identity, segments: list[Segment], book: Codebook) -> Stream:
    """Coded, with a placeholder for the picture."""
    stand_in = replace(one, picture=_PLACEHOLDER, side=256)
    return coder.encode(Symbols(head, (stand_in,), tuple(segments)), book)


def _banks(book: Codebook) -> tuple[MotionBank, ShapeBank]:
    arrays = {k: book.arrays[k].astype(np.float32) for k in _BANKS}
    return MotionBank(arrays[_BANKS[0]]), ShapeBank(arrays[_BANKS[1]], arrays[_BANKS[2]])


_BANKS = ("motion.directions", "shape.mean", "shape.directions")


_Net = TypeVar("_Net", bound=torch.nn.Module)


def _loaded(net: _Net, found: dict[str, Tensor], prefix: str, device: str) -> _Net:
    net.load_state_dict({k[len(prefix) :]: v for k, v in found.items() if k.startswith(prefix)})
    return net.to(device).eval().requires_grad_(False)
