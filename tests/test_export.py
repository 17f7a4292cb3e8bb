"""ONNX files against PyTorch; skipped where the packages of ``avcc[onnx]`` are absent."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from avcc import cli, export, weights
from avcc.errors import AvccError
from avcc.layers import loaded
from avcc.pitch import contour, pitch_of
from avcc.render.voice import Filters, Vocoder, filtered

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.skipif(
    not (ROOT / "weights" / "manifest.json").exists(), reason="weights/manifest.json is absent"
)


@pytest.fixture
def packages() -> None:
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name, reason=f"{name} isn't installed: pip install 'avcc[onnx]'")


@pytest.mark.usefixtures("packages")
def test_a_voice_by_onnx_runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The vocoder's graph at a length that it wasn't traced at, and the sources behind it."""
    import onnxruntime

    graphs = list(export._graphs())
    monkeypatch.setattr(export, "_graphs", lambda: iter(graphs[-1:]))
    (told,) = export.export(tmp_path / "new")
    assert told.path == tmp_path / "new" / "vocoder.onnx" and told.size == told.path.stat().st_size
    assert 0 <= told.off <= export.TOLERANCE
    session = onnxruntime.InferenceSession(told.path, providers=["CPUExecutionProvider"])
    mel = torch.randn(1, 74, 80, generator=torch.Generator().manual_seed(9))
    found = [torch.from_numpy(part) for part in session.run(None, {"mel": mel.numpy()})]
    filters, likely = Filters(*found[:3]), found[3]
    assert filters.pulses.shape == filters.noise.shape == filters.phase.shape == (1, 321, 148)
    assert likely.shape == (1, 74, 96)
    tensors = weights.tensors(weights.default(), "vocoder")
    vocoder = loaded(Vocoder(), tensors, "vocoder.", "cpu")
    pitch = torch.from_numpy(contour(likely[0].numpy()))[None]
    noise = torch.randn(1, 74 * 320, generator=torch.Generator().manual_seed(3))
    wave = filtered(filters, pitch, noise, vocoder.window)
    # what differs in its last digits would add up over 1.5 s of phase: the pitch by itself
    torch.testing.assert_close(pitch, pitch_of(vocoder.pitch, mel), atol=0, rtol=1e-4)
    wanted = vocoder(mel, pitch, noise)
    assert wave.shape == wanted.shape == (1, 74 * 320)
    assert float((wave - wanted).abs().max()) < 1e-3 * float(wanted.abs().max())
    before = told.path.read_bytes()
    with pytest.raises(AvccError, match="exists already"):
        list(export.export(tmp_path / "new"))
    monkeypatch.setattr(export, "TOLERANCE", -1.0)
    with pytest.raises(AvccError, match="isn't written: its graph is"):
        list(export.export(tmp_path / "new", overwrite=True))
    assert told.path.read_bytes() == before


@pytest.mark.usefixtures("packages")
@pytest.mark.parametrize("number", [0, 1, 2])
def test_pictures_by_onnx_runtime(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Numbers of pictures that the graphs weren't traced at are among those compared."""
    graph = list(export._graphs())[number]
    monkeypatch.setattr(export, "_graphs", lambda: iter([graph]))
    (told,) = export.export(tmp_path)
    assert told.path.name == f"{graph.name}.onnx"
    assert 0 <= told.off <= export.TOLERANCE


def test_what_is_drawn_from_differs() -> None:
    """A graph that ignored an input would be found out: each of them changes the picture."""
    *_, two, _ = export._graphs()
    inputs = two.inputs(2)
    with torch.inference_mode():
        before = two.net(*inputs.values()).numpy()
        for name, value in inputs.items():
            changed = inputs | {name: value + 0.2 * torch.rand(value.shape)}
            after = two.net(*changed.values()).numpy()
            assert np.abs(after - before).max() > 1e-3, name


def test_without_the_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert cli.main(["export", str(tmp_path / "new")]) == cli.FAILED
    assert capsys.readouterr().err == "avcc: onnx isn't installed here: pip install 'avcc[onnx]'\n"
    assert not (tmp_path / "new").exists()
