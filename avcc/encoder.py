"""What encoding needs of one model: the networks that listen, and its codebook."""

from __future__ import annotations

from functools import cached_property, lru_cache

from avcc import weights
from avcc.analysis.motion import banks
from avcc.analysis.speech import Ear
from avcc.device import drawing
from avcc.errors import ModelError
from avcc.follower import Follower
from avcc.layers import if_there, loaded
from avcc.pitch import Pitch
from avcc.quantise.symbols import Quantiser
from avcc.render.face import Renderer


class Encoder:
    """Of one model on one device."""

    def __init__(self, model: bytes, device: str) -> None:
        self.book = weights.codebook(model)
        self.bank, self.shape = banks(self.book.arrays)
        self.quantiser = Quantiser(self.book)
        speech = weights.tensors(model, "speech")
        if not any(name.startswith("ear.") for name in speech):
            raise ModelError(f"the model {model.hex()} is kept for decoding, and can't encode")
        self.ear = loaded(Ear(self.book.words), speech, "ear.", device)
        self._model, self.device = model, device
        self.follower = if_there(Follower, weights.tensors(model, "avdiff"), "follower.", device)
        self.pitch = loaded(Pitch(), weights.tensors(model, "vocoder"), "vocoder.pitch.", device)

    @cached_property
    def renderer(self) -> Renderer:
        """Loaded when first needed."""
        tensors, numbers = weights.tensors(self._model, "renderer"), drawing(self.device)
        return loaded(Renderer(), tensors, "renderer.", self.device, numbers)


@lru_cache(maxsize=2)
def encoder(model: bytes, device: str) -> Encoder:
    """The encoder of a model, made once."""
    return Encoder(model, device)
