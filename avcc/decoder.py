"""What decoding needs of one model: symbols -> features -> latents -> pictures and voice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache, partial

import numpy as np

from avcc import weights
from avcc.analysis import identity
from avcc.analysis.motion import ShapeBank, banks
from avcc.device import drawing
from avcc.diffusion.avdiff import AVDiff
from avcc.diffusion.conditions import Conditions
from avcc.diffusion.driver import Driver
from avcc.diffusion.estimate import fitting
from avcc.diffusion.inbetween import Inbetween
from avcc.diffusion.sample import sample
from avcc.follower import Follower
from avcc.layers import if_there, loaded
from avcc.quantise.symbols import Quantiser, fineness, shape_vector
from avcc.render.draw import Rendering, placed
from avcc.render.face import Renderer
from avcc.render.scene import Composed, Scene
from avcc.render.speak import Speaker
from avcc.render.voice import Vocoder
from avcc.stages import UNSENT, Crop, Features, Identity, KeyFrame, Latents, Symbols

Part = tuple[int, int]  # frames from the first to before the second


class Decoder:
    """The networks of one model on one device, and what each makes of a stream's symbols."""

    def __init__(self, model: bytes, device: str) -> None:
        self.book = weights.codebook(model)
        self.bank, self.shape = banks(self.book.arrays)
        self.quantiser = Quantiser(self.book)
        self.device = device
        nets = {part: weights.tensors(model, part) for part in weights.NETWORKS}
        self.estimator = loaded(fitting(nets["speech"]), nets["speech"], "estimator.", device)
        self.avdiff = loaded(AVDiff(), nets["avdiff"], "avdiff.", device)
        self.driver = if_there(Driver, nets["avdiff"], "driver.", device)
        self.follower = if_there(Follower, nets["avdiff"], "follower.", device)
        self.inbetween = if_there(Inbetween, nets["avdiff"], "inbetween.", device)
        numbers = drawing(device)
        self.renderer = loaded(Renderer(), nets["renderer"], "renderer.", device, numbers)
        self.speaker = Speaker(loaded(Vocoder(), nets["vocoder"], "vocoder.", device))

    def keys(self, symbols: Symbols) -> tuple[KeyFrame, ...]:
        """The decoded key frames. Raises ``FormatError`` where one is no picture."""
        return decoded_keys(symbols.identities, self.shape, symbols.head.restored)

    def dequantised(self, symbols: Symbols) -> Features:
        """Features with decoded key frames. Raises ``FormatError`` where one is no picture."""
        return self.quantiser.features(symbols, self.keys(symbols))

    def denoised(
        self,
        features: Features,
        symbols: Symbols,
        steps: int,
        seed: int,
        progress: Callable[[float], None] | None = None,
        windows: Sequence[Part] | None = None,
    ) -> Latents:
        """AVDiff's motion and mel, of some of its windows or all."""
        step, layers = fineness(symbols)
        condition = Conditions(
            self.estimator,
            features,
            self.book.arrays["motion.scale"].astype(np.float32),
            step=step,
            layers=layers,
            shape=shape_vector(symbols.identities[0])[3:],
            sound=symbols.head.samples > 0,
            device=self.device,
            driver=self.driver,
            inbetween=self.inbetween,
            follower=self.follower,
        )
        count = symbols.head.frames
        mel, motion = sample(self.avdiff, condition, count, seed, steps, progress, windows)
        return condition.latents(mel, motion)

    def drawn(self, features: Features, latents: Latents, part: Part | None = None) -> Rendering:
        """The pictures of a part, or of all of it."""
        meshes = partial(self.bank.meshes, key=features.keys[0].mesh)
        keys = placed(features.keys, latents.motion, meshes)
        wanted = np.arange(*part) if part else None
        how = self.device, features.cuts, wanted, features.sharpness
        return Rendering(self.renderer, keys, latents.motion, meshes, *how)

    def spoken(
        self, features: Features, samples: int, latents: Latents, first: int = 0, seed: int = 0
    ) -> np.ndarray | None:
        """The voice from frame ``first`` on, float32 (samples,); ``None`` where there is none."""
        if not samples or latents.mel is None:
            return None
        level = float(features.voice[-1])
        sent = bool((features.semantic != UNSENT).any())
        how = level, samples, first, seed, features.pitch, sent
        return self.speaker(latents.mel, features.silent, *how)


@lru_cache(maxsize=2)
def decoder(model: bytes, device: str) -> Decoder:
    """The decoder of a model, made once. Raises ``ModelError`` where there is no such model."""
    return Decoder(model, device)


def decoded_keys(
    identities: Iterable[Identity], shape: ShapeBank, restored: float | None
) -> tuple[KeyFrame, ...]:
    """Key frames as they are decoded, which an encoder asks for as well. Raises ``FormatError``
    where one is no picture."""
    return tuple(
        KeyFrame(
            identity.shown_picture(one.picture, one.side),
            shape.mesh(shape_vector(one)),
            one.frame,
            len(one.picture),
            restored,
        )
        for one in identities
    )


def composed(
    faces: Iterable[np.ndarray], still: tuple[int, bytes], crop: Crop, pixels: int
) -> Composed:
    """Pictures of the crop in their surroundings, at most ``pixels`` of them each. Raises
    ``FormatError`` where the still, (side, AV1 picture), is none."""
    side, data = still
    return Composed(faces, Scene(identity.shown_picture(data, side, side), crop, pixels))
