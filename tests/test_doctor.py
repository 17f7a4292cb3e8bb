"""``avcc doctor``: well where all is there, and a name for what isn't."""

from __future__ import annotations

import shutil
from pathlib import Path

import av
import pytest

from avcc import weights
from avcc.cli import FAILED, OK, main
from avcc.doctor import CODECS, PACKAGES, Finding, findings, made_up
from avcc.entropy import coder


def test_all_is_well_here(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr("avcc.doctor.findings.__defaults__", ("auto", 0.2))
    assert main(["doctor", "--device", "cpu"]) == OK
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert said.err == "" and all(line.startswith("ok") for line in lines)
    assert len(lines) == len(PACKAGES) + len(CODECS) + 5
    assert weights.default().hex() in said.out
    assert "to 5 pictures and their sound" in lines[-1]


def _ill(found: list[Finding]) -> dict[str, str]:
    return {one.name: one.seen for one in found if not one.well}


def test_weights_that_are_damaged_or_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    for path in weights.folder().iterdir():
        (tmp_path / path.name).symlink_to(path)
    vocoder = weights.path_of(weights.default(), "vocoder").name
    (tmp_path / vocoder).unlink()
    monkeypatch.setenv(weights.FOLDER_VARIABLE, str(tmp_path))
    found = _ill(list(_without_self_test(monkeypatch)))
    assert list(found) == ["weights"] and vocoder in found["weights"]
    shutil.copy(Path(__file__), tmp_path / vocoder)
    assert main(["doctor"]) == FAILED
    said = capsys.readouterr()
    assert "FAILED weights: " in said.out and "is damaged" in said.out
    assert said.err.endswith("checks failed: weights\n") and said.err.count("\n") == 1


def _without_self_test(monkeypatch: pytest.MonkeyPatch) -> list[Finding]:
    monkeypatch.setattr("avcc.doctor._self_test", lambda *_: "left out")
    return list(findings("cpu"))


def test_codecs_and_packages_that_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    real = av.codec.Codec

    def lacking(name: str, mode: str) -> object:
        return real("no such codec" if name == "libsvtav1" else name, mode)  # type: ignore[arg-type]

    monkeypatch.setattr(av.codec, "Codec", lacking)
    monkeypatch.setattr("avcc.doctor.PACKAGES", ("numpy", "no-such-package"))
    assert set(_ill(_without_self_test(monkeypatch))) == {"libsvtav1", "no-such-package"}


def test_a_device_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("avcc.doctor._self_test", lambda *_: "left out")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    found = _ill(list(findings("cuda")))
    assert list(found) == ["devices"] and "no device cuda" in found["devices"]


def test_the_made_up_clip_of_any_length() -> None:
    for model in weights.models():
        book = weights.codebook(model)
        for frames in (1, 100, 250):
            symbols = made_up(model, frames, book)
            assert coder.decode(coder.encode(symbols, book), book).head.frames == frames
