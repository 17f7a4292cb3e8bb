"""``python -m avcc.evaluation.speech``: the voice alone, beside Codec2, Opus and, where it is
there, Opus with a network behind it (``enhanced``).

Sizes are real bytes: of avcc those of a whole file without picture and motion (so head, chunks and
checks are in), of Codec2 its file, of Opus its packets. ``wer`` compares words with what the
recogniser hears in the source, ``text`` with the text of those utterances whose text the manifest
has; ``own`` is the share of the utterances whose decoded voice is nearer to its speaker's other
utterances (to the source where there are none) than to any other speaker.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import av
import numpy as np

from avcc import codec, weights
from avcc.container.write import write as written
from avcc.decoder import decoder as decoder_of
from avcc.encoder import encoder as encoder_of
from avcc.entropy import coder
from avcc.evaluation import enhanced, voices
from avcc.evaluation.bench import spread
from avcc.evaluation.sound import Reference, SoundMeter, word_error_rate
from avcc.evaluation.voices import Voice
from avcc.stages import (
    FRAME_RATE,
    MOTION,
    SAMPLE_RATE,
    SAMPLES_PER_FRAME,
    SHAPE,
    Features,
    Head,
    KeyFrame,
    OperatingPoint,
    Symbols,
)

METRICS = (
    *("pesq", "visqol", "stoi", "estoi", "dnsmos", "p808", "plcmos", "speaker"),
    *("wer", "text", "own"),
)

PITCH = {"sent": (True,), "found": (False,), "both": (False, True)}


@dataclass
class Utterance:
    """``said``: the words of its text, none where it isn't known; ``kept``: what metrics keep."""

    name: str
    audio: np.ndarray  # float32 (samples,), 16 kHz
    speaker: str
    said: list[str]
    kept: Reference = field(init=False)

    def __post_init__(self) -> None:
        self.kept = Reference(self.audio)


def ours(audio: np.ndarray, layers: int, pitch: bool) -> Voice:
    """A voice through avcc's own symbols, coder, AVDiff and vocoder."""
    model = weights.default()
    encoder, decoder = encoder_of(model, "cpu"), decoder_of(model, "cpu")
    count = -(-len(audio) // SAMPLES_PER_FRAME)
    heard = encoder.ear(audio, count, encoder.pitch if pitch else None)
    voice = np.append(heard.voice, np.float32(heard.level))
    motion = np.full((count, MOTION), np.nan, np.float32)
    sounds = heard.semantic, heard.acoustic, heard.silent, voice
    features = Features((), motion, *sounds, pitch=heard.pitch)
    quantiser, book = encoder.quantiser, encoder.book
    point = OperatingPoint(0, 0, layers, True)
    identity = quantiser.identity(np.zeros(3 + SHAPE), features, True)
    nothing = replace(identity, picture=b"\0", side=64)
    tokens = quantiser.tokens(features)
    segments = quantiser.segments(features, tokens, point)
    head = Head(book.id, FRAME_RATE, count, len(audio), None, 0, point)
    stream = coder.encode(Symbols(head, (nothing,), tuple(segments), (), tokens.pitch), book)
    symbols = coder.decode(stream, book)
    nowhere = KeyFrame(np.zeros((256, 256, 3), np.uint8), np.zeros((478, 2), np.float32), 0)
    features = decoder.quantiser.features(symbols, (nowhere,))
    latents = decoder.denoised(features, symbols, codec.DEFAULT_STEPS, 0)
    sound = decoder.spoken(features, len(audio), latents)
    return Voice(len(written(stream)), sound, f"{layers} layers")


def coders(
    layers: Iterable[int], pitches: Iterable[bool]
) -> dict[str, Callable[[np.ndarray], Voice]]:
    """What there is to compare, by name."""
    found: dict[str, Callable[[np.ndarray], Voice]] = {
        f"avcc, {n} layers{' and pitch' if pitch else ''}": partial(ours, layers=n, pitch=pitch)
        for n in layers
        for pitch in pitches
    }
    if voices.codec2_found():
        found |= {f"Codec2 {m}": partial(voices.codec2, mode=m) for m in voices.CODEC2_MODES}
    found |= {f"Opus {n // 1000}k": partial(voices.opus, bitrate=n) for n in (6_000, 8_000)}
    if not enhanced.absence():
        for name, how in (("LACE", "lace"), ("NoLACE", "nolace")):
            for n in enhanced.RATES:
                coder = partial(enhanced.opus, bitrate=n, network=how)
                found[f"Opus {n // 1000}k wideband, {name}"] = coder
    return found


def utterances(manifest: Path, split: str, limit: int) -> list[Utterance]:
    """Those of a list (columns file, split, speaker, and text if it's known), spread over it."""
    with open(manifest, newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == split]
    out = []
    for row in spread(rows, limit):
        said = re.sub(r"[^\w' ]", " ", row.get("text") or "").lower().split()
        audio = _sound(manifest.parent / row["file"])
        out.append(Utterance(row["file"], audio, row["speaker"], said))
    return out


def _sound(path: Path) -> np.ndarray:
    """float32 (samples,), 16 kHz mono."""
    with av.open(str(path)) as box:
        resampler = av.AudioResampler("flt", "mono", SAMPLE_RATE)
        pieces = [p for f in box.decode(audio=0) for p in resampler.resample(f)]
        pieces += resampler.resample(None)
    return np.concatenate([p.to_ndarray()[0] for p in pieces])


def rows_of(
    found: list[Utterance], compared: dict[str, Callable[[np.ndarray], Voice]], meter: SoundMeter
) -> list[dict[str, float | str]]:
    """One row an utterance and coder; the source is one too, of no bits."""
    homes = _homes(found, meter)
    rows: list[dict[str, float | str]] = []
    for number, one in enumerate(found, 1):
        print(f"{number}/{len(found)} {one.name}", file=sys.stderr)
        coded = {"source": Voice(0, one.audio, "")} | {
            n: code(one.audio) for n, code in compared.items()
        }
        for name, voice in coded.items():
            bits = 8 * voice.size * SAMPLE_RATE / len(one.audio)
            row: dict[str, float | str] = {"name": one.name, "coder": name, "bits": bits}
            row |= meter.scores(one.kept, voice.sound)
            if voice.sound is not None:
                row |= _known(one, voice.sound, homes, meter)
            rows.append(row)
    return rows


def _known(
    one: Utterance, sound: np.ndarray, homes: dict[str, dict[str, np.ndarray]], meter: SoundMeter
) -> dict[str, float]:
    """What a list knows of an utterance: its text, and whose it is among the others."""
    row = {}
    if one.said and meter.has("wer"):
        row["text"] = word_error_rate(one.said, meter.words(sound))
    own = meter.speaker(sound)
    if own is not None and len(homes) > 1:
        near = {speaker: float(own @ _home(v, one.name)) for speaker, v in homes.items()}
        row["own"] = float(max(near, key=lambda s: near[s]) == one.speaker)
    return row


def _homes(found: list[Utterance], meter: SoundMeter) -> dict[str, dict[str, np.ndarray]]:
    """Embeddings of every speaker's utterances, by their names."""
    homes: dict[str, dict[str, np.ndarray]] = {}
    for one in found:
        embedding = meter.speaker(one.audio)
        if embedding is not None:
            homes.setdefault(one.speaker, {})[one.name] = embedding
    return homes


def _home(known: dict[str, np.ndarray], but: str) -> np.ndarray:
    others = [v for name, v in known.items() if name != but] or list(known.values())
    mean = np.mean(others, 0)
    return mean / np.linalg.norm(mean)


def table(rows: list[dict[str, float | str]]) -> str:
    """Means by coder, as Markdown."""
    lines = ["| coder | bit/s | " + " | ".join(METRICS) + " |", "|---" * (len(METRICS) + 2) + "|"]
    for name in dict.fromkeys(row["coder"] for row in rows):
        of_it = [row for row in rows if row["coder"] == name]
        cells = [f"{np.mean([float(row['bits']) for row in of_it]):.0f}"]
        for metric in METRICS:
            values = [float(row[metric]) for row in of_it if metric in row]
            cells.append(f"{np.mean(values):.2f}" if values else "-")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m avcc.evaluation.speech", description=__doc__)
    parser.add_argument("manifest", type=Path, help="list of utterances (CSV)")
    parser.add_argument("--split", default="test")
    parser.add_argument("--limit", type=int, default=0, help="utterances at most")
    parser.add_argument(
        "--layers", default="1,2,3,4,6,12", help="acoustic layers of avcc, none: the others alone"
    )
    parser.add_argument(
        "--pitch", choices=PITCH, default="sent", help="of avcc: whether it is sent (default: sent)"
    )
    parser.add_argument("--skip", default="", help="metrics to leave out, by comma")
    parser.add_argument("--json", type=Path, help="write every row here")
    options = parser.parse_args(arguments)
    found = utterances(options.manifest, options.split, options.limit)
    if not found:
        print(f"{options.manifest} lists nothing for {options.split}", file=sys.stderr)
        return 2
    meter = SoundMeter(tuple(filter(None, options.skip.split(","))))
    layers = [int(n) for n in filter(None, options.layers.split(","))]
    rows = rows_of(found, coders(layers, PITCH[options.pitch]), meter)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))
    print(table(rows))
    seconds = sum(len(one.audio) for one in found) / SAMPLE_RATE
    print(f"\n{len(found)} utterances, {seconds:.0f} s, of {len(_speakers(found))} speakers")
    for note in filter(None, (*meter.notes, enhanced.absence())):
        print(f"note: {note}")
    return 0


def _speakers(found: list[Utterance]) -> set[str]:
    return {one.speaker for one in found}


if __name__ == "__main__":
    sys.exit(main())
