"""Stage ``estimator``: the estimator alone, which learns to make use of a pitch that was sent.

Everything before it stays: symbols, codebooks, and so the model's id.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from avcc.analysis.mel import LEVEL, LogMel
from avcc.diffusion.estimate import COMBS, Estimator
from avcc.render.source import pulses
from avcc.stages import PITCHES, SILENT, UNSENT
from avcc.training.acoustic import FRAMES, Speech, depths
from avcc.training.contours import SENT, contours, cut_of
from avcc.training.export import grown
from avcc.training.loop import Options, Stage
from avcc.training.tokens import Spoken, heard
from avcc.training.varied import longer, varied

AROUND = 13  # bands whose mean is taken out of a comb
STEADY = 20  # mel frames of pulses that a comb is the mean of


def combs() -> Tensor:
    """What pulses at each pitch from 60 to 480 Hz, 32 an octave, look like in a mel beside their
    mean over the bands around: float32 (97, 80)."""
    found = []
    for pitch in np.geomspace(PITCHES[0], PITCHES[-1], COMBS):
        wave = LEVEL * pulses(torch.full((1, STEADY + 10), float(pitch)))
        found.append(LogMel()(wave)[0, 5:-5].mean(0))  # away from the ends
    whole = torch.stack(found)
    edges = nn.functional.pad(whole[:, None], (AROUND // 2, AROUND // 2), mode="replicate")
    return whole - nn.functional.avg_pool1d(edges, AROUND, 1)[:, 0]


class EstimatorStage(Stage):
    """Mel distance under any number of layers, pitch and tokens sometimes left out."""

    name = "estimator"
    batch = 16

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        torch.manual_seed(options.seed)
        self.speech = Speech(options.work, options.device)
        net = self.nets["estimator"] = Estimator()
        net.get_buffer("comb.combs").copy_(combs())
        before = self.speech.nets["estimator"].state_dict()
        grown(net, {f"estimator.{k}": v for k, v in before.items()}, "estimator")
        self.optims["all"] = self.adam(self.nets, 5e-4)
        self.mel = LogMel().to(options.device)
        self.train, self.spoken = self._voices("train")
        held, self.held_voices = self._voices("val")
        places = self.held_voices.places(np.random.default_rng(1), 64, FRAMES)
        self.held = *self.held_voices.cuts(places, FRAMES), cut_of(held, places, FRAMES)

    def _voices(self, split: str) -> tuple[list[np.ndarray], Spoken]:
        spoken = heard(self.o, split)
        return contours(self.o, split, spoken.waves), spoken

    def _cuts(self, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Waveforms, tokens, pitches, how many layers."""
        places = self.spoken.places(rng, self.batch, longer(FRAMES))
        wave, token = self.spoken.cuts(places, longer(FRAMES))
        pitch = cut_of(self.train, places, longer(FRAMES))
        wave, token, pitch, higher = varied(rng, FRAMES, wave, token, pitch)
        pitch *= higher
        pitch[torch.from_numpy(rng.random(self.batch) >= SENT)] = torch.nan
        unsent = torch.from_numpy(rng.random(self.batch) < 0.1)[:, None] & (token != SILENT)
        layers = torch.from_numpy(depths(rng, self.batch, self.speech.fewest))
        return wave, token.masked_fill(unsent, UNSENT), pitch, layers

    def _error(self, net: nn.Module, *cuts: Tensor) -> Tensor:
        """Mean absolute mel error."""
        wave, token, pitch, layers = (x.to(self.o.device) for x in cuts)
        mel = self.mel(wave)
        with self.autocast():
            acoustic, voice = self.speech.sent(mel, token, layers)
            guess = net(token, acoustic, voice, pitch).float()
        return (guess - mel).abs().mean()

    def step(self, i: int) -> dict[str, float]:
        loss = self._error(self.nets["estimator"], *self.next(self._cuts))
        self.descend("all", loss)
        return {"mel": loss.item()}

    def validate(self, nets: nn.ModuleDict) -> dict[str, float]:
        """Errors by layers, ``mel`` without a pitch and ``sung`` with one."""
        wave, token, pitch = self.held
        out = {}
        for n in (0, 1, 2, 6, 12)[self.speech.fewest :]:
            layers = torch.full((len(wave),), n)
            for name, known in (("mel", torch.full_like(pitch, torch.nan)), ("sung", pitch)):
                error = self._error(nets["estimator"], wave, token, known, layers)
                out[f"{name}{n}"] = float(error)
        return {"score": sum(out.values()) / len(out)} | out

    def export(self, nets: nn.ModuleDict) -> dict[str, Tensor]:
        own = {f"estimator.{k}": v for k, v in nets["estimator"].state_dict().items()}
        return own | {"books": self.speech.residuals.books}  # which it is for
