"""Stage ``acoustic``: acoustic latents, their residual codebooks, the voice code, the estimator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from avcc.analysis.acoustic import AcousticEncoder, VoiceEncoder
from avcc.analysis.mel import LogMel
from avcc.diffusion.estimate import Estimator, fitting
from avcc.layers import halve
from avcc.quantise.scalar import VOICE_LEVELS
from avcc.stages import LATENT, SILENT, UNSENT
from avcc.training.export import acoustic_tensors, grown, restore
from avcc.training.loop import PARTS, Options, Stage
from avcc.training.tokens import heard
from avcc.training.varied import longer, varied

FRAMES = 100
LAYERS, CODES = 12, 256
SPREAD = 4.0  # brings the latents near unit variance


def voice_levels(code: Tensor) -> Tensor:
    """Voice code in -1..1 -> int64 levels 0..7 (finite scalar quantisation, Mentzer 2023)."""
    return ((code + 1) / 2 * (VOICE_LEVELS - 1)).round().long().clamp(0, VOICE_LEVELS - 1)


def voice_values(levels: Tensor) -> Tensor:
    """The way back: levels -> float32 in -1..1."""
    return levels.float() / (VOICE_LEVELS - 1) * 2 - 1


def depths(rng: np.random.Generator, count: int, least: int) -> np.ndarray:
    """Random numbers of layers, int64 (count,) of ``least`` to all; few are likelier than many, for
    that is where most files are."""
    return least + (rng.random(count) ** 1.5 * (LAYERS + 1 - least)).astype(np.int64)


def fewest(work: Path) -> int:
    """Acoustic layers that a voice can be made out with: one where there are no other tokens."""
    return 0 if (work / "audiomae.safetensors").exists() else 1


class Residuals(nn.Module):
    """Residual codebooks learned by moving averages, with unused codes restarted (EnCodec)."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("books", torch.randn(LAYERS, CODES, LATENT) * 0.1)
        self.register_buffer("size", torch.ones(LAYERS, CODES))
        self.register_buffer("total", torch.zeros(LAYERS, CODES, LATENT))
        self.register_buffer("ready", torch.zeros(()))
        self.books: Tensor
        self.size: Tensor
        self.total: Tensor
        self.ready: Tensor

    def forward(self, latent: Tensor, layers: Tensor, heard: Tensor) -> tuple[Tensor, Tensor]:
        """Latents (B, T, 32), layers a sample (B,), sounding (B, T) -> quantised, commitment."""
        left, out = latent.detach(), torch.zeros_like(latent)
        loss = latent.new_zeros(())
        for i in range(LAYERS):
            rows = left[heard]
            if self.training and self.ready < LAYERS and i == int(self.ready):
                self._start(i, rows)
            with torch.no_grad():
                book = self.books[i]
                flat = left.reshape(-1, LATENT)
                which = (flat @ book.T - 0.5 * book.square().sum(1)).argmax(1)
                which = which.view(left.shape[:2])
                picked = book[which]
            used = (layers > i)[:, None] & heard
            if self.training:
                self._learn(i, rows, which[heard])
            loss = loss + ((latent - out - picked).square() * used[..., None]).mean()
            out = out + picked * used[..., None]
            left = left - picked
        straight = latent * ((layers > 0)[:, None] & heard)[..., None]
        return straight + (out - straight).detach(), loss

    @torch.no_grad()
    def begin(self, books: Tensor) -> None:
        """Take over codebooks (L, 256, 32) that were learned before; further ones start anew."""
        known = len(books)
        self.books[:known], self.total[:known] = books, books
        self.size[:known] = 1
        self.ready.fill_(known)

    @torch.no_grad()
    def _start(self, i: int, rows: Tensor) -> None:
        if len(rows) < CODES:
            return
        chosen = rows[torch.randperm(len(rows))[:CODES]]
        self.books[i], self.total[i] = chosen, chosen
        self.size[i] = 1
        self.ready += 1

    @torch.no_grad()
    def _learn(self, i: int, rows: Tensor, which: Tensor) -> None:
        count = torch.bincount(which, minlength=CODES).float()
        total = torch.zeros_like(self.total[i]).index_add_(0, which, rows)
        self.size[i].mul_(0.99).add_(count, alpha=0.01)
        self.total[i].mul_(0.99).add_(total, alpha=0.01)
        self.books[i] = self.total[i] / self.size[i].clamp(min=1e-3)[:, None]
        dead = (self.size[i] < 0.05).nonzero()[:, 0]
        if len(dead) and len(rows) > len(dead):
            fresh = rows[torch.randperm(len(rows))[: len(dead)]]
            self.books[i, dead], self.total[i, dead] = fresh, fresh
            self.size[i, dead] = 1


def wordless(token: Tensor) -> Tensor:
    """Semantic tokens (...) -> where there is sound, and nothing else."""
    return torch.where(token == SILENT, SILENT, UNSENT)


class AcousticStage(Stage):
    """Mel distance of the estimator under any number of layers, tokens sometimes left out."""

    name = "acoustic"
    batch = 16

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        torch.manual_seed(options.seed)
        self.nets["encoder"] = AcousticEncoder()
        self.nets["voice"] = VoiceEncoder()
        self.nets["estimator"] = Estimator(pitched=False)  # that is learned after: stage estimator
        self.nets["residuals"] = Residuals()
        self.optims["all"] = self.adam(self.nets, 1e-3)
        self.mel = LogMel().to(options.device)
        # acoustic tokens, and no others
        self.alone = fewest(options.work) > 0 or "semantic" in options.without
        self.train = heard(options, "train")
        self._start_from_components()
        self.held = heard(options, "val").batch(np.random.default_rng(1), 64, FRAMES)

    def begin(self, tensors: dict[str, Tensor]) -> None:
        for name in ("encoder", "voice", "estimator"):
            grown(self.nets[name], tensors, name)
        residuals = self.nets["residuals"]
        assert isinstance(residuals, Residuals)
        residuals.begin(tensors["books"])

    @torch.no_grad()
    def _start_from_components(self) -> None:
        """The latents' linear part: principal components of the mel of a token, and back."""
        wave, _ = self.train.batch(np.random.default_rng(3), 64, FRAMES)
        mel = halve(self.mel(wave.to(self.o.device))).flatten(0, 1).double()
        _, vectors = torch.linalg.eigh(mel.T @ mel)
        chosen = vectors[:, -LATENT:].flip(1).float()
        encoder, estimator = self.nets["encoder"], self.nets["estimator"]
        assert isinstance(encoder, AcousticEncoder) and isinstance(estimator, Estimator)
        encoder.skip.weight.copy_(chosen.T / SPREAD)
        estimator.skip.weight.copy_(chosen * SPREAD)

    def _error(
        self, nets: nn.ModuleDict, wave: Tensor, token: Tensor, layers: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Mean absolute mel error of each sample (B,), and the commitment loss."""
        wave, token, layers = (x.to(self.o.device) for x in (wave, token, layers))
        mel, heard = self.mel(wave), token != SILENT
        spoken = heard & (token != UNSENT)
        if self.alone:
            spoken, token = heard, wordless(token)
        with self.autocast():
            latent = nets["encoder"](mel).float()
            voice = nets["voice"](mel, spoken).float()
        rounded = voice_values(voice_levels(voice))
        voice = voice + (rounded - voice).detach()
        if "voice" in self.o.without:
            voice = torch.zeros_like(voice)
        if "acoustic" in self.o.without:
            layers = torch.zeros_like(layers)
        acoustic, commitment = nets["residuals"](latent, layers, heard)
        with self.autocast():
            guess = nets["estimator"](token, acoustic, voice).float()
        return (guess - mel).abs().mean((1, 2)), commitment

    def _cuts(self, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Waveforms, tokens and how many layers: what ``_error`` takes."""
        wave, token = self.train.batch(rng, self.batch, longer(FRAMES))
        wave, token, _ = varied(rng, FRAMES, wave, token)
        unsent = torch.from_numpy(rng.random(self.batch) < 0.1)[:, None] & (token != SILENT)
        layers = torch.from_numpy(depths(rng, self.batch, int(self.alone)))
        return wave, token.masked_fill(unsent, UNSENT), layers

    def step(self, i: int) -> dict[str, float]:
        error, commitment = self._error(self.nets, *self.next(self._cuts))
        loss = error.mean() + 0.25 * commitment
        self.descend("all", loss)
        return {"mel": error.mean().item(), "commit": commitment.item()}

    def validate(self, nets: nn.ModuleDict) -> dict[str, float]:
        wave, token = self.held
        out = {}
        for n in (1, 2, 4, 6, 9, 12) if self.alone else (0, 1, 2, 4, 6, 9, 12):
            error, _ = self._error(nets, wave, token, torch.full((len(wave),), n))
            out[f"mel{n}"] = float(error.mean())
        return {"score": sum(out.values()) / len(out)} | out

    def export(self, nets: nn.ModuleDict) -> dict[str, Tensor]:
        own = {
            f"{k}.{n}": v
            for k in ("encoder", "voice", "estimator")
            for n, v in nets[k].state_dict().items()
        } | {"books": nets["residuals"].books}
        lacks = torch.tensor([part in self.o.without for part in PARTS])
        if self.alone:  # whatever token there is then says as little
            table = own["estimator.semantic.weight"].clone()
            table[:SILENT] = table[UNSENT]
            own["estimator.semantic.weight"] = table
        return own | ({"without": lacks} if lacks.any() else {})


class Speech:
    """What the stage acoustic has trained, as it is: ``nets`` and the codebooks; ``fewest`` layers
    that are sent."""

    def __init__(self, work: Path, device: str) -> None:
        self.fewest = fewest(work)
        trained = acoustic_tensors(work)
        estimator = fitting(trained)
        parts = {"encoder": AcousticEncoder(), "voice": VoiceEncoder(), "estimator": estimator}
        for name, net in parts.items():
            restore(net, trained, name)
        self.nets = nn.ModuleDict(parts).to(device).eval().requires_grad_(False)
        self.residuals = Residuals().to(device).eval()
        self.residuals.books.copy_(trained["books"].float())

    @torch.no_grad()
    def sent(self, mel: Tensor, token: Tensor, layers: Tensor) -> tuple[Tensor, Tensor]:
        """True mel (B, 2 T, 80), tokens (B, T), layers (B,) -> acoustic latents (B, T, 32), voice
        code (B, 24), as a decoder has them."""
        heard = token != SILENT
        voice = voice_values(voice_levels(self.nets["voice"](mel, heard).float()))
        acoustic, _ = self.residuals(self.nets["encoder"](mel).float(), layers, heard)
        return acoustic, voice

    @torch.no_grad()
    def decoded(
        self, mel: Tensor, token: Tensor, layers: Tensor, pitch: Tensor | None = None
    ) -> Tensor:
        """The mel (B, 2 T, 80) that the decoder's estimator makes of the symbols of a true one, and
        of a pitch (B, 2 T), NaN where none is sent."""
        return self.nets["estimator"](token, *self.sent(mel, token, layers), pitch).float()
