"""What a report of ``avcc.evaluation`` says of its coders and measures."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest
from needs import needs_mediapipe

from avcc.evaluation import about, peers, voices
from avcc.evaluation.__main__ import main
from avcc.weights import default
from tests.clips import Recipe, make


def test_settings_of_coders() -> None:
    told = dict(about.settings(["avcc", "frozen", "warp", "x264"]))
    assert default().hex() in told["avcc"]
    if not peers.absence("svtav1"):
        assert "true mesh" in told["warp"] and "true mesh" not in told["frozen"]
    if not peers.absence("x264"):
        how = peers.PEERS["x264"]
        assert f"-c:v {how.encoder}" in told["x264"] and "-preset veryslow" in told["x264"]
        assert "-crf <quality>" in told["x264"] and "10 to 51" in told["x264"]
    rates = ", ".join(f"{rate / 1000:g}" for rate in voices.OPUS_RATES)
    assert f"Opus at {rates} kbps" in told["voices of the others"]
    assert "ESTOI" in told["split between picture and voice"]
    assert set(dict(about.settings(["avcc"]))) == {"avcc"}


@needs_mediapipe
def test_measures_have_versions_and_origins() -> None:
    told = dict(about.measures())
    assert (
        f"mediapipe {importlib.metadata.version('mediapipe')}"
        in told["landmarks, mouth, faces lost"]
    )
    for packages, origin in about.MEASURES.values():
        assert packages and isinstance(origin, str)
    text = " ".join(told.values())
    for packages, _ in about.MEASURES.values():
        for name in packages:
            try:
                assert f"{name} {importlib.metadata.version(name)}" in text
            except importlib.metadata.PackageNotFoundError:
                assert f"{name} absent" in text


def test_places_that_can_not_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    for option in ("--page", "--keep"):
        assert main(["talk.mp4", option, str(tmp_path / "file")]) == 1
        assert capsys.readouterr().err.count("\n") == 1
    assert main(["--manifest", str(tmp_path / "none.csv")]) == 1


def test_coders_that_are_absent_are_named_and_cost_no_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    peers.absence.cache_clear()
    assert about.absent(["avcc", "x264", "vvenc"]).keys() == {"vvenc"}
    clip = make(tmp_path / "talk.mp4", Recipe(seconds=0.2))
    skip = "pesq,stoi,visqol,dnsmos,plcmos,speaker,wer,memory"
    what = [str(clip), "--coders", "vvenc,x264", "--rates", "64k", "--skip", skip]
    assert main(what) == 0
    told = capsys.readouterr().out
    assert "note: vvenc absent: vvencapp isn't on the path" in told
    assert "x264 64k (1/1)" in told and "vvenc 64k" not in told
    assert "Codec2 absent" in told, "nor is it on the path"
    peers.absence.cache_clear()
