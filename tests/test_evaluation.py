"""What the metrics of ``avcc.evaluation`` measure: pictures, faces, perception and sound."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest
from needs import needs_mediapipe

from avcc.evaluation import perceptual
from avcc.evaluation.picture import (
    LIPS,
    PictureMeter,
    correlation,
    eye_distances,
    face_meshes,
    flicker,
    landmark_scores,
    mouth_openings,
    ms_ssim,
    psnr,
    ssim,
)
from avcc.evaluation.sound import (
    Reference,
    SoundMeter,
    aligned,
    lag_samples,
    word_error_rate,
)
from tests.clips import picture

BESIDE = Path(__file__).parents[2] / "shared" / "data" / "perceptual"
NETWORKS = Path(os.environ.get("AVCC_PERCEPTUAL") or BESIDE)
needs_networks = pytest.mark.skipif(
    not (NETWORKS / perceptual.HEADS).exists(),
    reason="the perceptual networks are absent (AVCC_PERCEPTUAL names their folder)",
)
SIZE = (256, 256)


@pytest.fixture(scope="module")
def talk() -> np.ndarray:
    """uint8 (6, 256, 256, 3): a head that moves right by 4 pixels a frame."""
    near = (lambda t: (0.4 * t, 0.5, 1.1),)
    return np.stack([picture(5, i / 25, SIZE, near) for i in range(6)])


def degraded(frames: np.ndarray, quality: int) -> np.ndarray:
    """Each frame through JPEG without chroma subsampling."""
    full = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
    how = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, full]
    results = []
    for frame in frames:
        _, data = cv2.imencode(".jpg", frame[..., ::-1], how)
        stored = cv2.imdecode(data, cv2.IMREAD_COLOR)
        assert stored is not None
        results.append(stored[..., ::-1])
    return np.stack(results)


def test_pixels_as_scikit_image_measures_them(talk: np.ndarray) -> None:
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    talk = talk[:2]
    luma = np.array([0.299, 0.587, 0.114])
    for quality in (5, 60):
        other = degraded(talk, quality)
        pairs = list(zip(talk, other, strict=True))
        noise = np.mean([peak_signal_noise_ratio(a, b) for a, b in pairs])
        likeness = [
            structural_similarity(a @ luma, b @ luma, data_range=255, gaussian_weights=True,
                                  sigma=1.5, use_sample_covariance=False)
            for a, b in pairs
        ]  # fmt: skip
        assert psnr(talk, other) == pytest.approx(noise, abs=1e-3)
        assert ssim(talk, other) == pytest.approx(np.mean(likeness), abs=1e-4)
    assert (psnr(talk, talk), ssim(talk, talk)) == (100, pytest.approx(1))


def test_multi_scale_likeness(talk: np.ndarray) -> None:
    pytest.importorskip("pytorch_msssim", reason="pip install 'avcc[eval]'")
    talk = talk[:2]
    found = [ms_ssim(talk, degraded(talk, quality)) for quality in (80, 20, 3)]
    assert found == sorted(found, reverse=True) and 0.2 < found[2] < found[0] - 0.05
    assert ms_ssim(talk, talk) == pytest.approx(1, abs=1e-5)
    assert np.isnan(ms_ssim(talk[:, :128, :128], talk[:, :128, :128]))


def test_a_decoded_clip_that_flickers(talk: np.ndarray) -> None:
    assert flicker(talk, talk) == 0
    steps = np.array([0, 6] * 3)[:, None, None, None]
    assert flicker(talk, np.clip(talk.astype(int) + steps, 0, 255).astype(np.uint8)) > 4
    noisy = np.clip(talk + np.random.default_rng(0).normal(0, 3, talk.shape), 0, 255)
    assert flicker(noisy.astype(np.uint8), talk) < -1, "steadier than its source"
    assert np.isnan(flicker(talk[:1], talk[:1]))


def meshes(count: int, openings: np.ndarray | None = None) -> np.ndarray:
    """float32 (count, 478, 2) of one made-up face, 50 pixels from eye to eye."""
    mesh = np.random.default_rng(7).uniform(60, 200, (count, 478, 2)).astype(np.float32)
    mesh[:] = mesh[0]
    mesh[:, [33, 133]], mesh[:, [362, 263]] = (90, 100), (140, 100)
    for upper, lower in ((13, 14), (82, 87), (312, 317)):
        mesh[:, lower] = mesh[:, upper]
        if openings is not None:
            mesh[:, lower, 1] += openings
    return mesh


def test_landmarks_that_are_off() -> None:
    openings = np.array([0, 3, 8, 2, 0, 5, 9, 1], np.float32)
    source = meshes(8, openings)
    assert eye_distances(source) == pytest.approx(50)
    assert mouth_openings(source) == pytest.approx(openings / 50, abs=1e-6)
    assert mouth_openings(3 * source + 7) == pytest.approx(openings / 50, abs=1e-6)
    same = landmark_scores(source, source)
    assert same == {"faces_missing": 0, "landmark": 0, "mouth": 0, "mouth_corr": pytest.approx(1)}
    moved = landmark_scores(source, source + np.array([3, 4], np.float32))
    assert (moved["landmark"], moved["mouth"]) == (pytest.approx(10), pytest.approx(10))
    assert moved["mouth_corr"] == pytest.approx(1)
    lips = source.copy()
    lips[:, list(LIPS), 0] += 5
    only = landmark_scores(source, lips)
    assert only["mouth"] == pytest.approx(10) and only["landmark"] < 1
    assert landmark_scores(source, meshes(8))["mouth_corr"] == 0, "a mouth that never moves"
    assert np.isnan(landmark_scores(meshes(8), source)["mouth_corr"])
    against = landmark_scores(source, meshes(8, 9 - openings))
    assert against["mouth_corr"] == pytest.approx(-1)


def test_faces_that_are_lost() -> None:
    source, decoded = meshes(8), meshes(8)
    decoded[:2] = np.nan
    source[0] = np.nan
    assert landmark_scores(source, decoded)["faces_missing"] == pytest.approx(1 / 7)
    decoded[:] = np.nan
    assert landmark_scores(source, decoded) == {"faces_missing": 1}
    source[:] = np.nan
    assert np.isnan(landmark_scores(source, decoded)["faces_missing"])
    assert np.isnan(correlation(np.arange(2.0), np.arange(2.0))), "two frames say nothing"


@needs_mediapipe
def test_meshes_follow_the_face(talk: np.ndarray) -> None:
    blank = np.full_like(talk[:1], 128)
    found = face_meshes(np.concatenate([talk, blank, blank]))
    assert found.shape == (8, 478, 2) and np.isnan(found[-1]).all()
    assert not np.isnan(found[:6]).any()
    travel = (found[5] - found[0]).mean(0)
    assert travel == pytest.approx([0.4 * 5 / 25 * 256, 0], abs=3)
    assert face_meshes([]).shape == (0, 478, 2)


@needs_mediapipe
def test_the_picture_meter(talk: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AVCC_PERCEPTUAL", raising=False)
    meter = PictureMeter()
    absent = [note.split(" absent")[0] for note in meter.notes]
    assert absent[:2] == ["Lpips", "SecondDistance"]
    assert set(absent[2:]) <= {"likeness", "contours", "MS-SSIM"}
    talk, mesh = talk[:4], face_meshes(talk[:4])
    good = meter.scores(talk, degraded(talk, 90), mesh)
    poor = meter.scores(talk, degraded(talk, 4)[:3], mesh)
    assert good["faces_missing"] == 0 and good["landmark"] < 2
    assert good["landmark"] < poor["landmark"]
    assert good["psnr"] > poor["psnr"] and good["ssim"] > poor["ssim"]
    assert not {"lpips", "second"} & set(good)


@needs_networks
def test_lpips_as_its_authors_measure_it() -> None:
    import skimage

    stored = cv2.imread(str(Path(skimage.__file__).parent / "data" / "astronaut.png"))
    assert stored is not None
    face = stored[None, :256, 100:356, ::-1]
    measure, note = perceptual.load(perceptual.Lpips, NETWORKS)
    assert measure is not None and note == ""
    values = [perceptual.distances(measure, face, degraded(face, q))[0] for q in (90, 50, 10)]
    assert values == pytest.approx([0.0198, 0.0980, 0.3429], abs=2e-3)
    assert perceptual.distances(measure, face, face)[0] == 0


@needs_networks
@pytest.mark.parametrize("kind", [perceptual.Lpips, perceptual.SecondDistance])
def test_perceptual_distances(
    talk: np.ndarray, kind: type[perceptual.Lpips] | type[perceptual.SecondDistance]
) -> None:
    measure = kind(NETWORKS)
    talk = talk[:3, 64:192, 64:192]
    near, far = degraded(talk, 60), degraded(talk, 8)
    values = perceptual.distances(measure, talk, near, batch=2)
    assert values.shape == (3,)
    alone = perceptual.distances(measure, talk[2:], near[2:])
    assert alone == pytest.approx(values[2:], rel=1e-3)
    assert (perceptual.distances(measure, talk, far) > 2 * values).all()
    assert perceptual.distances(measure, talk[:0], near[:0]).shape == (0,)


def test_networks_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AVCC_PERCEPTUAL", raising=False)
    assert perceptual.load(perceptual.Lpips) == (
        None, "Lpips absent: name a folder (--perceptual or AVCC_PERCEPTUAL)"
    )  # fmt: skip
    (tmp_path / perceptual.BACKBONE).write_text("version https://git-lfs.github.com/spec/v1")
    for folder in (tmp_path, tmp_path / "nowhere"):
        monkeypatch.setenv("AVCC_PERCEPTUAL", str(folder))
        measure, note = perceptual.load(perceptual.Lpips)
        assert measure is None and note.startswith("Lpips absent: ")


def voice(seconds: float = 2.0) -> np.ndarray:
    """float32, 16 kHz: a buzz with formants that comes and goes like syllables, at random."""
    rng = np.random.default_rng(3)
    time = np.arange(round(seconds * 16_000)) / 16_000
    pitch = 120 + 20 * np.sin(2 * np.pi * 0.7 * time)
    phase = 2 * np.pi * np.cumsum(pitch) / 16_000
    beat = np.repeat(rng.uniform(0, 1, len(time) // 1600 + 1), 1600)[: len(time)]
    loud = np.convolve(beat, np.hanning(800) / 400, "same")
    formant = 500 + 400 * np.convolve(np.roll(beat, 1600), np.hanning(800) / 400, "same")
    parts = [np.sin(k * phase) / (1 + ((k * pitch - formant) / 250) ** 2) for k in range(1, 25)]
    return (0.3 * loud * np.sum(parts, 0) + rng.normal(0, 1e-3, len(time))).astype(np.float32)


@pytest.mark.parametrize("seconds", [0.5, 2])
@pytest.mark.parametrize("lag", [-1600, -320, 0, 16, 160, 1280])
def test_sound_that_comes_late(lag: int, seconds: float) -> None:
    source = voice(seconds)
    whole = np.pad(source, (max(lag, 0), max(-lag, 0)))
    decoded = whole[max(-lag, 0) :][: len(source)]
    flipped = -0.3 * decoded + np.random.default_rng(1).normal(0, 0.003, len(source))
    assert lag_samples(source, decoded) == lag
    assert lag_samples(source, flipped.astype(np.float32)) == pytest.approx(lag, abs=16)
    a, b = aligned(source, decoded, lag)
    count = len(source) - abs(lag)
    assert len(a) == len(b) == count and np.array_equal(a, b)


def test_sound_that_has_no_lag() -> None:
    assert lag_samples(voice(), np.zeros(32_000, np.float32)) == 0
    assert lag_samples(voice()[:1000], voice()[:1000]) == 0
    assert abs(lag_samples(voice(), voice()[:20_000])) == 0


@pytest.mark.parametrize(
    ("said", "heard", "rate"),
    [
        ("a b c d", "a b c d", 0),
        ("a b c d", "a x c d", 1 / 4),
        ("a b c d", "a c d", 1 / 4),
        ("a b c d", "a b b c d", 1 / 4),
        ("a b", "", 1),
        ("a", "x y z", 3),
        ("", "", 0),
    ],
)
def test_words_that_are_lost(said: str, heard: str, rate: float) -> None:
    assert word_error_rate(said.split(), heard.split()) == rate


def test_the_sound_meter_without_packages() -> None:
    meter = SoundMeter(skip=("pesq", "stoi", "visqol", "dnsmos", "plcmos", "speaker", "wer"))
    assert meter.notes == ()
    source = Reference(voice())
    late = np.concatenate([np.zeros(480, np.float32), voice()])
    assert meter.scores(source, late) == {"lag_ms": 30}
    assert meter.scores(source, None) == meter.scores(source, voice()[:0]) == {}
    assert meter.scores(Reference(np.zeros(32_000, np.float32)), voice()) == {}
    assert meter.scores(Reference(voice(0.1)), voice(0.1)) == {}


def test_packages_that_are_absent_are_named() -> None:
    meter = SoundMeter(skip=("visqol", "dnsmos", "plcmos", "speaker", "wer"))
    for metric, module in (("pesq", "pesq"), ("stoi", "pystoi")):
        named = [note for note in meter.notes if note.startswith(f"{metric} absent")]
        assert bool(named) == (find_spec(module) is None)
        assert all("pip install" in note for note in named)


def test_plcmos_hears_gaps_and_says_the_same_each_time() -> None:
    pytest.importorskip("speechmos.plcmos", reason="speechmos is absent (pip install 'avcc[eval]')")
    meter = SoundMeter(("pesq", "stoi", "visqol", "dnsmos", "speaker", "wer"))
    source = Reference(voice(3))
    gaps = source.audio * (np.arange(len(source.audio)) // 960 % 3 > 0)
    np.random.seed(5)
    drawn = np.random.normal()
    np.random.seed(5)
    whole, holes, again = (meter.scores(source, x) for x in (source.audio, gaps, gaps))
    assert np.random.normal() == drawn, "the noise of others is left as it was"
    assert holes["plcmos"] == again["plcmos"]
    assert 1 <= holes["plcmos"] < whole["plcmos"] - 0.2 <= 5
    assert whole["plcmos"] == whole["plcmos_source"] == holes["plcmos_source"]


@pytest.mark.parametrize(
    ("metric", "module", "most"),
    [("pesq", "pesq", 4.6), ("stoi", "pystoi", 1.0), ("visqol", "visqol", 4.85)],
)
def test_quality_falls_with_noise(metric: str, module: str, most: float) -> None:
    pytest.importorskip(module, reason=f"{module} is absent (pip install 'avcc[eval]')")
    others: Callable[[str], bool] = lambda name: name != metric  # noqa: E731
    meter = SoundMeter(
        skip=tuple(filter(others, ("pesq", "stoi", "visqol", "dnsmos", "plcmos", "speaker", "wer")))
    )
    source = Reference(voice(4 if metric != "visqol" else 1.5))  # the slow one
    noise = np.random.default_rng(2).normal(0, 1, len(source.audio)).astype(np.float32)
    found = [meter.scores(source, source.audio + x * noise)[metric] for x in (0, 0.01, 0.1)]
    assert found == sorted(found, reverse=True) and found[0] > found[2]
    assert found[0] == pytest.approx(most, abs=0.2), "4.7 or 5 by ViSQOL's two mappings"
