"""Opus with a network behind it as a peer's voice: real packets, real decoding, or a reason."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import voices as made

from avcc.errors import AvccError
from avcc.evaluation import enhanced, voices
from avcc.evaluation.sound import lag_samples

needed = pytest.mark.skipif(bool(enhanced.absence()), reason=enhanced.absence() or "it is there")


def test_what_is_absent_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(enhanced.FOLDER_VARIABLE, str(tmp_path))
    monkeypatch.setattr(enhanced.importlib.util, "find_spec", lambda _: None)
    assert "pip install opuslib-next-bundled" in enhanced.absence()
    monkeypatch.setattr(enhanced.importlib.util, "find_spec", lambda _: object())
    monkeypatch.setenv("PATH", "")
    assert "node isn't on the path" in enhanced.absence()
    monkeypatch.setattr(enhanced.shutil, "which", lambda _: "/bin/node")
    assert f"npm install --prefix {tmp_path} @wasm-audio-decoders/opus-ml" in enhanced.absence()
    assert enhanced.identity() == enhanced.absence()
    (tmp_path / "node_modules" / enhanced.PACKAGE).mkdir(parents=True)
    assert enhanced.absence() == ""
    monkeypatch.delenv(enhanced.FOLDER_VARIABLE)
    assert enhanced.folder() == Path(sys.prefix, "node").absolute()


@needed
def test_a_voice_with_a_network_behind_it() -> None:
    sound = made.vowels(1.5)
    plain, network = (enhanced.opus(sound, 6_000, how) for how in ("none", "nolace"))
    assert plain.size == network.size, "the packets are the same, only the decoder isn't"
    assert 0.5 < 8 * network.size / 1.5 / 6_000 < 2
    assert plain.sound is not None and network.sound is not None
    assert plain.sound.shape == network.sound.shape == sound.shape
    assert abs(lag_samples(sound, network.sound)) <= 32
    assert np.corrcoef(sound, network.sound)[0, 1] > 0.5
    assert np.abs(plain.sound - network.sound).max() > 0.01
    assert network.model_bytes > 3_000_000 and "nolace" in network.setting
    assert network.decode_seconds > 0 and network.task is not None
    assert network.setting in [voice.setting for voice in voices.voices(sound[:8000])]
    assert "opus-ml 0.0.3" in enhanced.identity()


@needed
def test_what_node_says_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enhanced, "_packets", lambda *_: ([b"\xff\xff\xff"], 0))
    with pytest.raises(AvccError, match="INVALID_PACKET"):
        enhanced.opus(made.vowels(0.5), 6_000)
