"""What each part of a voice is worth: semantic tokens, acoustic tokens, the voice code.

Of works whose stage ``acoustic`` was trained ``--without`` some of them. Each gets the entropy
coder's own tables, counted on its own symbols, so that bits can be compared; what the estimator
makes of the symbols goes to the shipped vocoder, without AVDiff.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from avcc import weights
from avcc.analysis.mel import SILENCE
from avcc.analysis.speech import Ear, Hearing
from avcc.diffusion.estimate import fitting
from avcc.entropy.count import segment_bits
from avcc.entropy.tables import Codebook
from avcc.evaluation.sound import SoundMeter
from avcc.evaluation.speech import Utterance, utterances
from avcc.layers import loaded
from avcc.quantise.codebook import nearest, residual_sum
from avcc.quantise.scalar import voice_levels, voice_values
from avcc.quantise.trellis import Trellis
from avcc.render.speak import Speaker
from avcc.render.voice import Vocoder
from avcc.stages import SAMPLES_PER_FRAME, SILENT, UNSENT, OperatingPoint
from avcc.training.codes import Codes, codes_of, trained_ear
from avcc.training.export import restore
from avcc.training.loop import PARTS
from avcc.training.tables import fit, voice_segments

LAYERS = (0, 1, 2, 3, 4, 6)
CLOSING = 4  # bits, about, that closing a segment's coder costs
METRICS = ("pesq", "stoi", "estoi", "dnsmos", "speaker")


class Variant:
    """One work: what its symbols are, what they cost, and what they say."""

    def __init__(self, cache: Path, work: Path, hours: float) -> None:
        tensors = load_file(work / "acoustic.safetensors")
        lacks = tensors.get("without", torch.zeros(len(PARTS), dtype=torch.bool)).tolist()
        self.without = {part for part, missing in zip(PARTS, lacks, strict=True) if missing}
        self.ear: Ear = trained_ear(work)
        self.centroids = np.load(work / "centroids.npy")
        self.books = tensors["books"].float().numpy()
        self.estimator = fitting(tensors).eval()
        restore(self.estimator, tensors, "estimator")
        voices = [self._sent(codes) for codes in codes_of(cache, work, "train", "PW", hours)]
        self.book: Codebook = fit(cache, work, hours=hours, voices=voices)
        self._trellis = Trellis(self.book)

    @property
    def name(self) -> str:
        """What is sent."""
        return ", ".join(part for part in PARTS if part not in self.without)

    @property
    def layers(self) -> tuple[int, ...]:
        """Of acoustic tokens, to compare."""
        if "acoustic" in self.without:
            return (0,)
        return LAYERS[1:] if "semantic" in self.without else LAYERS

    def _sent(self, codes: Codes) -> Codes:
        """Without semantic tokens one is left, for all that sounds."""
        if "semantic" not in self.without:
            return codes
        return replace(codes, semantic=np.where(codes.semantic == SILENT, SILENT, 0))

    def codes(self, heard: Hearing) -> Codes:
        """The symbols of a voice."""
        semantic = np.where(heard.silent, SILENT, nearest(heard.semantic, self.centroids))
        near = Codes(semantic.astype(np.int64), [], voice_levels(heard.voice), heard.acoustic)
        sent = self._sent(near)
        return replace(sent, acoustic=self._trellis.tokens(sent.latents, sent.semantic))

    def bits(self, codes: Codes, layers: int) -> float:
        """What a voice costs, without framing."""
        point = OperatingPoint(0, 0, layers, True)
        segments = voice_segments(codes, layers)
        spent = sum(segment_bits(seg, point, self.book)[1] + CLOSING for seg in segments)
        return spent + (0 if "voice" in self.without else 3 * len(codes.voice))

    @torch.inference_mode()
    def mel(self, codes: Codes, layers: int) -> np.ndarray:
        """The mel (2 T, 80) that the estimator makes of it."""
        silent = codes.semantic == SILENT
        token = np.where(silent, SILENT, UNSENT) if "semantic" in self.without else codes.semantic
        acoustic = residual_sum(codes.acoustic[layers], self.books).astype(np.float32)
        acoustic[silent] = 0
        voice = voice_values(codes.voice) * ("voice" not in self.without)
        given = token, acoustic, voice.astype(np.float32)
        mel = self.estimator(*(torch.from_numpy(x)[None] for x in given))[0].numpy()
        mel[np.repeat(silent, 2)] = SILENCE
        return mel


def compare(
    cache: Path, manifest: Path, works: Sequence[Path], limit: int, hours: float
) -> list[str]:
    """Lines of a table in Markdown: a row for each work and number of layers, means over ``limit``
    utterances of a list's test split (``evaluation.speech``)."""
    tensors = weights.tensors(weights.default(), "vocoder")
    speaker = Speaker(loaded(Vocoder(), tensors, "vocoder.", "cpu"))
    meter = SoundMeter(("visqol", "plcmos", "wer"))
    found = utterances(manifest, "test", limit)
    lines = [
        f"| sent | layers | bit/s | {' | '.join(METRICS)} |",
        "|---" * (3 + len(METRICS)) + "|",
    ]
    for work in works:
        variant = Variant(cache, work, hours)
        heard = [variant.ear(one.audio, -(-len(one.audio) // SAMPLES_PER_FRAME)) for one in found]
        for layers in variant.layers:
            rows = [
                _row(variant, speaker, meter, one, hearing, layers)
                for one, hearing in zip(found, heard, strict=True)
            ]
            means = np.nanmean(rows, 0)
            cells = " | ".join(f"{x:.3f}" for x in means[1:])
            lines.append(f"| {variant.name} | {layers} | {means[0]:.0f} | {cells} |")
            print(lines[-1], flush=True)
    return lines


def _row(
    variant: Variant,
    speaker: Speaker,
    meter: SoundMeter,
    one: Utterance,
    heard: Hearing,
    layers: int,
) -> list[float]:
    """Bits a second and ``METRICS`` of one utterance."""
    codes = variant.codes(heard)
    sound = speaker(variant.mel(codes, layers), heard.silent, heard.level, len(one.audio))
    scores = meter.scores(one.kept, sound)
    seconds = len(one.audio) / 16_000
    return [variant.bits(codes, layers) / seconds, *(scores.get(m, np.nan) for m in METRICS)]
