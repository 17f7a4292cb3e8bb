"""The voice alone, measured."""

from __future__ import annotations

import csv
from pathlib import Path

import av
import numpy as np
import pytest
import voices

from avcc.evaluation import speech
from avcc.evaluation.sound import SoundMeter
from avcc.evaluation.speech import Utterance, ours, rows_of, table, utterances


def _written(path: Path, audio: np.ndarray) -> None:
    with av.open(str(path), "w") as box:
        stream = box.add_stream("pcm_s16le", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray((audio[None] * 32767).astype("<i2"), "s16", "mono")
        frame.sample_rate = 16_000
        box.mux(stream.encode(frame))
        box.mux(stream.encode(None))


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("speech")
    path = folder / "list.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(["file", "split", "speaker", "text"])
        for i in range(3):
            _written(folder / f"{i}.wav", voices.vowels(1.5, pitch=100 + 20 * i))
            out.writerow([f"{i}.wav", "test" if i else "train", f"s{i}", "Oh, it's YOU!"])
    return path


def test_utterances_of_a_list(manifest: Path) -> None:
    one, two = utterances(manifest, "test", 0)
    assert (one.name, two.speaker) == ("1.wav", "s2")
    assert one.said == ["oh", "it's", "you"]
    assert len(one.audio) == pytest.approx(1.5 * 16_000, abs=800)
    assert len(utterances(manifest, "test", 1)) == 1


def test_more_layers_cost_more_and_come_nearer() -> None:
    audio = voices.vowels(1.5)
    bare, few, many = ours(audio, 0, False), ours(audio, 0, True), ours(audio, 4, True)
    assert bare.size < few.size < many.size
    assert few.sound is not None and many.sound is not None
    assert len(few.sound) == len(many.sound) == len(audio)
    away = [
        np.abs(_levels(audio) - _levels(v.sound)).mean() for v in (few, many) if v.sound is not None
    ]
    assert away[1] < away[0]


def _levels(audio: np.ndarray) -> np.ndarray:
    """Log energy in 16 bands, every 20 ms."""
    frames = audio[: len(audio) // 320 * 320].reshape(-1, 320) * np.hanning(320)
    power = np.square(np.abs(np.fft.rfft(frames)))[:, :160].reshape(-1, 16, 10).sum(-1)
    return np.log(power + 1e-3)


class _Known(SoundMeter):
    """Knows a voice by its mean level."""

    def __init__(self) -> None:
        super().__init__(("pesq", "visqol", "stoi", "dnsmos", "plcmos", "speaker", "wer"))

    def speaker(self, audio: np.ndarray) -> np.ndarray | None:
        level = float(np.abs(audio).mean())
        return np.array([np.cos(level), np.sin(level)])


def test_rows_say_whose_voice_it_is() -> None:
    found = [
        Utterance(name, np.full(16_000, level, np.float32), name[0], [])
        for name, level in (("a1", 0.1), ("a2", 0.12), ("b1", 0.8), ("b2", 0.78))
    ]
    keep = {
        "same": lambda x: speech.Voice(100, x, ""),
        "loud": lambda x: speech.Voice(50, x + 0.7, ""),
    }
    rows = rows_of(found, keep, _Known())
    assert [r["own"] for r in rows if r["coder"] == "source"] == [1, 1, 1, 1]
    own = {name: [r["own"] for r in rows if r["coder"] == name] for name in keep}
    assert own == {"same": [1, 1, 1, 1], "loud": [0, 0, 1, 1]}
    assert {r["bits"] for r in rows} == {0.0, 400.0, 800.0}
    told = table(rows).splitlines()
    assert (
        len(told) == 2 + 3 and told[3].startswith("| same | 800 |") and told[3].endswith("| 1.00 |")
    )


def test_nothing_listed(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert speech.main([str(manifest), "--split", "elsewhere"]) == 2
    assert "elsewhere" in capsys.readouterr().err
