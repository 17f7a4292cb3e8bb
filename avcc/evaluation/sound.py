"""How near a decoded voice is to its source: heard quality, intelligibility, voice and words.

Sound is float32 mono at 16 kHz in -1..1 throughout. Every metric comes from a package that may be
absent; then the metric is absent and ``SoundMeter.notes`` says what to install (the ``eval``
extra): PESQ wide band (``pesq``), STOI and ESTOI (``pystoi``), ViSQOL in speech mode
(``visqol-python``), DNSMOS overall and P.808 and PLCMOS v2 (``speechmos``, models in the wheel;
PLCMOS was made to rate concealed gaps and hears only what is decoded, as DNSMOS does), speaker
similarity (``resemblyzer``, model in the wheel) and word error rate (``pocketsphinx``, English
recogniser in the wheel; against the words that it hears in the source, so it measures lost
intelligibility and not recognition).
"""

from __future__ import annotations

import importlib
import logging
import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from avcc.evaluation.digests import version
from avcc.stages import SAMPLE_RATE

QUIET = 1e-3  # RMS below which a source counts as silent and isn't scored
HOP = 16  # samples, 1 ms: the resolution of the alignment
_PACKAGES = {  # metric: module, what to install, whose version it is
    "pesq": ("pesq", "pesq==0.0.4", "pesq"),
    "stoi": ("pystoi", "pystoi==0.4.1", "pystoi"),
    "visqol": ("visqol", "visqol-python[lattice]==3.8.0", "visqol-python"),
    "dnsmos": (
        "speechmos.dnsmos",
        "speechmos==0.0.1.1 onnxruntime librosa requests",
        "speechmos",
    ),
    "plcmos": ("speechmos.plcmos", "speechmos==0.0.1.1 onnxruntime", "speechmos"),
    "speaker": (
        "resemblyzer",
        "--no-deps resemblyzer==0.1.4 webrtcvad-wheels, and librosa",
        "Resemblyzer",
    ),
    "wer": ("pocketsphinx", "pocketsphinx==5.1.1", "pocketsphinx"),
}


@dataclass
class Reference:
    """A source's sound with what is worth keeping between rates (voice, words)."""

    audio: np.ndarray
    kept: dict[str, Any] = field(default_factory=dict)


class SoundMeter:
    """All sound metrics at once; packages and models are loaded once, at the first use."""

    def __init__(self, skip: tuple[str, ...] = ()) -> None:
        """``skip``: metrics not wanted (``wer`` and ``speaker`` are the slow ones)."""
        self._modules: dict[str, Any] = {}
        self._models: dict[str, Any] = {}
        notes = []
        for metric, (module, install, _) in _PACKAGES.items():
            if metric in skip:
                continue
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    self._modules[metric] = importlib.import_module(module)
            except Exception as error:  # a broken optional package is an absent one
                notes.append(f"{metric} absent ({error}): pip install {install}")
        self.notes = tuple(notes)
        # What tells these measures from others (``kept``).
        packages = [_PACKAGES[metric][2] for metric in self._modules]
        packages += ["ai-edge-litert"] if "visqol" in self._modules else []
        self.identity = [f"{name} {version(name)}" for name in packages]

    def has(self, metric: str) -> bool:
        """Whether this metric can be had."""
        return metric in self._modules

    def scores(self, reference: Reference, decoded: np.ndarray | None) -> dict[str, float]:
        """Every metric that can be had; empty where the source is silent or nothing was decoded.

        ``lag_ms``: how much later than its source the decoded sound is (an A/V offset where the
        pictures are in step); the other metrics are taken after removing it.
        """
        source = reference.audio
        if decoded is None or not len(decoded):
            return {}
        if len(source) < SAMPLE_RATE // 4 or _rms(source) < QUIET:
            return {}
        lag = lag_samples(source, decoded)
        a, b = aligned(source, decoded, lag)
        values = {"lag_ms": 1000 * lag / SAMPLE_RATE}
        for metric in self._modules:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                values |= getattr(self, f"_{metric}")(reference, a, b)
        return {name: float(value) for name, value in values.items() if np.isfinite(value)}

    def intelligibility(self, source: np.ndarray, decoded: np.ndarray) -> float:
        """ESTOI, what splits are chosen by (``split``); 0 where it can't be had."""
        if "stoi" not in self._modules or _rms(source) < QUIET:
            return 0.0
        a, b = aligned(source, decoded, lag_samples(source, decoded))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return float(self._stoi(Reference(source), a, b).get("estoi", 0.0))

    def _pesq(self, _: Reference, a: np.ndarray, b: np.ndarray) -> dict[str, float]:
        try:
            return {"pesq": self._modules["pesq"].pesq(SAMPLE_RATE, a, b, "wb")}
        except Exception:  # its own errors: no utterance found, or too short
            return {}

    def _stoi(self, _: Reference, a: np.ndarray, b: np.ndarray) -> dict[str, float]:
        stoi = self._modules["stoi"].stoi
        if len(a) < SAMPLE_RATE // 2:
            return {}
        return {
            "stoi": stoi(a, b, SAMPLE_RATE, extended=False),
            "estoi": stoi(a, b, SAMPLE_RATE, extended=True),
        }

    def _visqol(self, _: Reference, a: np.ndarray, b: np.ndarray) -> dict[str, float]:
        if "visqol" not in self._models:
            logging.getLogger("visqol").setLevel(logging.ERROR)  # the report says it (``about``)
            self._models["visqol"] = self._modules["visqol"].VisqolApi()
            self._models["visqol"].create(mode="speech")
        try:
            sounds = (np.asarray(x, np.float64) for x in (a, b))
            found = self._models["visqol"].measure_from_arrays(*sounds, SAMPLE_RATE)
        except Exception:  # its own errors: too short, or no speech to match
            return {}
        return {"visqol": float(found.moslqo)}

    def _dnsmos(self, reference: Reference, _: np.ndarray, b: np.ndarray) -> dict[str, float]:
        def rated(audio: np.ndarray) -> dict[str, float]:
            clipped = np.clip(audio, -1, 1)
            found = self._modules["dnsmos"].run(clipped, sr=SAMPLE_RATE, return_df=False)
            return {"dnsmos": found["ovrl_mos"], "p808": found["p808_mos"]}

        of_source = _once(reference, "dnsmos", lambda: rated(reference.audio))
        return rated(b) | {f"{name}_source": value for name, value in of_source.items()}

    def _plcmos(self, reference: Reference, _: np.ndarray, b: np.ndarray) -> dict[str, float]:
        def rated(audio: np.ndarray) -> float:
            before = np.random.get_state()  # its fifteen listeners are drawn from the global noise
            np.random.seed(0)
            try:
                found = self._modules["plcmos"].run(np.clip(audio, -1, 1), sr=SAMPLE_RATE)
            finally:
                np.random.set_state(before)
            return float(found["plcmos"])

        of_source = _once(reference, "plcmos", lambda: rated(reference.audio))
        return {"plcmos": rated(b), "plcmos_source": of_source}

    def _speaker(self, reference: Reference, _: np.ndarray, b: np.ndarray) -> dict[str, float]:
        of_source = _once(reference, "speaker", lambda: self.speaker(reference.audio))
        of_decoded = self.speaker(b)
        if of_source is None:
            return {}
        return {"speaker": 0.0 if of_decoded is None else float(of_source @ of_decoded)}

    def speaker(self, audio: np.ndarray) -> np.ndarray | None:
        """Whose voice it is: resemblyzer's embedding, of length 1; ``None`` for silence, for less
        than a quarter of a second, and without the package."""
        module = self._modules.get("speaker")
        if module is None or _rms(audio) == 0:
            return None
        if "speaker" not in self._models:
            self._models["speaker"] = module.VoiceEncoder("cpu", verbose=False)
        spoken = module.preprocess_wav(np.clip(audio, -1, 1).astype(np.float32))
        return self._models["speaker"].embed_utterance(spoken) if len(spoken) > 4000 else None

    def _wer(self, reference: Reference, _: np.ndarray, b: np.ndarray) -> dict[str, float]:
        said = _once(reference, "words", lambda: self.words(reference.audio))
        return {"wer": word_error_rate(said, self.words(b))} if said else {}

    def words(self, audio: np.ndarray) -> list[str]:
        """What the recogniser hears. A new decoder each time: it adapts to what it has heard."""
        decoder = self._modules["wer"].Decoder(loglevel="FATAL")
        pcm = (np.clip(audio, -1, 1) * 32767).astype(np.int16).tobytes()
        decoder.start_utt()
        decoder.process_raw(pcm, full_utt=True)
        decoder.end_utt()
        found = decoder.hyp()
        return found.hypstr.split() if found else []


def lag_samples(source: np.ndarray, decoded: np.ndarray, most_ms: int = 120) -> int:
    """How many samples ``decoded`` is late, to 1 ms, by correlating log spectra band by band.

    Spectra, because a vocoder doesn't keep the phase that a correlation of waveforms needs; each
    lag by its own overlap, because the silence before a late sound would speak for a smaller one.
    0 where nothing correlates.
    """
    count = min(len(source), len(decoded))
    if count < SAMPLE_RATE // 4:
        return 0
    a, b = (_log_bands(x[:count]) for x in (source, decoded))
    best, found = 0.02, 0
    for lag in range(-most_ms, most_ms + 1):
        x, y = a[max(0, -lag) : len(a) - max(0, lag)], b[max(0, lag) : len(b) - max(0, -lag)]
        x, y = x - x.mean(0), y - y.mean(0)
        size = float(np.linalg.norm(x) * np.linalg.norm(y))
        likeness = float(np.vdot(x, y)) / size if size > 1e-6 else 0.0
        if likeness > best:
            best, found = likeness, lag
    return found * HOP


def aligned(source: np.ndarray, decoded: np.ndarray, lag: int) -> tuple[np.ndarray, np.ndarray]:
    """Both sounds with ``decoded`` moved ``lag`` samples earlier, cut to the common length."""
    a, b = (source, decoded[lag:]) if lag >= 0 else (source[-lag:], decoded)
    count = min(len(a), len(b))
    return a[:count].astype(np.float32), b[:count].astype(np.float32)


def word_error_rate(said: list[str], heard: list[str]) -> float:
    """Substitutions, deletions and insertions over the number of words said."""
    row = list(range(len(heard) + 1))
    for i, word in enumerate(said, 1):
        before, row[0] = row[0], i
        for j, other in enumerate(heard, 1):
            cost = min(row[j] + 1, row[j - 1] + 1, before + (word != other))
            before, row[j] = row[j], cost
    return row[-1] / max(1, len(said))


def _log_bands(audio: np.ndarray, window: int = 400, bands: int = 16) -> np.ndarray:
    """Log magnitudes in equal bands to 4 kHz, every ms: (samples,) -> (frames, bands)."""
    padded = np.pad(audio.astype(np.float32), window // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[::HOP]
    spectrum = np.abs(np.fft.rfft(frames * np.hanning(window).astype(np.float32), axis=-1))
    kept = spectrum[:, 2 : 2 + 6 * bands].reshape(len(spectrum), bands, 6).sum(-1)
    return np.log(kept + 1e-3 * kept.mean() + 1e-9)


def _once(reference: Reference, name: str, compute: Any) -> Any:
    if name not in reference.kept:
        reference.kept[name] = compute()
    return reference.kept[name]


def _rms(audio: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(audio, dtype=np.float64)))) if len(audio) else 0.0
