"""Coders of key frames side by side."""

from __future__ import annotations

from pathlib import Path

import faces
import numpy as np
import pytest

from avcc.analysis import identity
from avcc.evaluation import stills
from avcc.evaluation.stills import CODERS, Judge, coded, curve

FOLDER = Path(__file__).parent.parent.parent / "shared" / "data" / "perceptual"


class _Difference:
    """A judge that needs no networks."""

    def distances(self, source: np.ndarray, shown: np.ndarray, size: int) -> list[float]:
        return [float(np.abs(source.astype(int) - shown).mean())] * 4


def test_the_codecs_own_setting_stands_first() -> None:
    how = next(iter(CODERS.values()))
    size, shown = coded(how, faces.picture(), 50)
    own = identity.coded_picture(faces.picture(), 256, 50)
    # the temporal delimiter is there as well, and what a file leaves out
    assert size == len(faces.as_encoded(own, 256)) + 2
    assert (shown == identity.shown_picture(own, 256)).all()


@pytest.mark.parametrize("name", ["AV1, SVT, IQ", "HEVC, x265", "WebP"])
def test_finer_is_larger_and_nearer(name: str) -> None:
    how, picture = CODERS[name], faces.picture()
    rough, fine = (coded(how, picture, q) for q in (how.qualities[0], how.qualities[-1]))
    assert rough[0] < fine[0]
    away = [np.abs(picture.astype(int) - shown).mean() for _, shown in (rough, fine)]
    assert away[0] > 1.2 * away[1]


def test_a_curve_falls_and_starts_where_the_coder_does(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = np.array([10.0, 2000.0, 8000.0])
    found = curve(CODERS["WebP"], faces.picture(), sizes, _Difference())  # type: ignore[arg-type]
    assert np.isnan(found[:, 0]).all()
    assert (found[:, 1] > found[:, 2]).all()


def test_without_networks_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(stills.AvccError, match="--perceptual"):
        Judge(tmp_path)


def test_nowhere_to_look(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if not FOLDER.is_dir():
        pytest.skip("the perceptual networks' weights aren't here")
    assert stills.main(["--perceptual", str(FOLDER)]) == 2
    assert "no clips" in capsys.readouterr().err
    (tmp_path / "text.mp4").write_text("no film at all")
    assert stills.main([str(tmp_path), "--perceptual", str(FOLDER)]) == 2
    told = capsys.readouterr().err
    assert "text.mp4" in told and "no clips" in told
