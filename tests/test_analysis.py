"""Analysis: mel, motion and shape, silence and level, the listening networks, the key frame."""

from __future__ import annotations

import os
from contextlib import suppress

import faces
import numpy as np
import pytest
import torch

from avcc import obus
from avcc.analysis import identity, look
from avcc.analysis.acoustic import AcousticEncoder, VoiceEncoder
from avcc.analysis.audiomae import PATCH, ROWS, AudioMAE, patches
from avcc.analysis.mel import LEVEL, SCALE, SILENCE, LogMel, mel_bank
from avcc.analysis.motion import MotionBank, ShapeBank
from avcc.analysis.speech import Ear, active_level, centred, mae_features, silent_frames, windows
from avcc.errors import FormatError, MediaError
from avcc.mesh import POINTS, face_size, point_weights
from avcc.pictures import resized
from avcc.stages import BANDS, LATENT, MOTION, SHAPE, VOICE, Clip

torch.set_num_threads(1)


def _tone(hz: float, samples: int = 16_000, size: float = 0.1) -> np.ndarray:
    return (size * np.sin(2 * np.pi * hz * np.arange(samples) / 16_000)).astype(np.float32)


def _mel(wave: np.ndarray) -> torch.Tensor:
    return LogMel()(torch.from_numpy(wave)[None])[0]


@pytest.mark.parametrize("hz", [100, 250, 440, 1000, 2500, 6000, 7500])
def test_a_tone_lands_in_its_band(hz: float) -> None:
    bank = mel_bank(8001)  # a bin a hertz
    mel = _mel(_tone(hz))
    assert mel.shape == (50, BANDS)
    band = int(mel[10:40].mean(0).argmax())
    heard = bank[:, band].nonzero()[:, 0]
    assert heard[0] <= hz <= heard[-1]
    if hz >= 250:  # where bands are wider than the window's resolution, it is there alone
        assert mel[20, band] > mel[20, [b for b in range(BANDS) if abs(b - band) > 6]].max() + 1


def test_filters_cover_speech_with_equal_area() -> None:
    bank = mel_bank(8001)
    torch.testing.assert_close(bank.sum(0), torch.ones(BANDS), atol=0.01, rtol=0)
    assert (bank[60:7900].sum(1) > 0).all()
    peaks = bank.argmax(0)
    assert (peaks.diff() > 0).all() and (peaks.diff()[40:] > peaks.diff()[0]).all()


def test_frames_are_where_they_say() -> None:
    for j in (3, 10, 31):
        wave = np.zeros(40 * 320, np.float32)
        wave[320 * j + 160] = 1
        mel = _mel(wave)
        assert mel.shape == (40, BANDS) and int(mel.mean(1).argmax()) == j
        assert (mel[: j - 1] == SILENCE).all() and (mel[j + 2 :] == SILENCE).all()
    assert (_mel(np.zeros(960, np.float32)) == SILENCE).all()
    assert _mel(_tone(300, 320)).shape == (1, BANDS)  # shorter than the window


def test_mel_is_logarithmic_and_local() -> None:
    rng = np.random.default_rng(0)
    wave = rng.normal(0, 0.1, 32_000).astype(np.float32)
    louder = _mel(wave * 4) - _mel(wave)
    torch.testing.assert_close(
        louder, torch.full_like(louder, np.log(4) / SCALE), atol=1e-3, rtol=0
    )
    part = _mel(wave[6400:19200])
    torch.testing.assert_close(part[2:-2], _mel(wave)[22:58], atol=1e-3, rtol=0)


def _directions(count: int) -> np.ndarray:
    """Orthonormal rows: cosines of rising frequency."""
    k, at = np.mgrid[1 : count + 1, 0 : 2 * POINTS]
    waves = np.cos(np.pi * (at + 0.5) * k / (2 * POINTS)) / POINTS**0.5
    waves[2 * POINTS - 1 :] = (2 * POINTS) ** -0.5
    return waves.astype(np.float32)


def test_coefficients_there_and_back() -> None:
    bank, key = MotionBank(_directions(MOTION)), faces.mesh()
    code = np.random.default_rng(1).normal(size=(6, MOTION)).astype(np.float32)
    meshes = bank.meshes(code, key)
    assert meshes.shape == (6, POINTS, 2) and meshes.dtype == np.float32
    np.testing.assert_allclose(bank.coefficients(meshes, key), code, atol=1e-4)
    assert abs(bank.meshes(np.zeros((1, MOTION), np.float32), key)[0] - key).max() < 1e-6
    assert abs(bank.coefficients(key[None], key)).max() < 1e-6
    # what one mesh's place on the directions says is the same
    place = np.stack([bank.project(m) for m in meshes]) - bank.project(key)
    np.testing.assert_allclose(place / face_size(key), code, atol=1e-3)


def test_motion_knows_neither_place_nor_size_of_the_key_face() -> None:
    bank, key = MotionBank(_directions(MOTION)), faces.mesh()
    moved = faces.mesh(0.1) + np.float32(0.02)
    code = bank.coefficients(moved[None], key)
    for size, away in ((1.0, 0.2), (0.5, 0.0), (2.0, -0.4)):
        other = bank.coefficients((moved * size + away)[None].astype(np.float32), key * size + away)
        np.testing.assert_allclose(other, code, atol=1e-4)


def test_a_whole_basis_loses_nothing_and_a_part_the_least() -> None:
    key, target = faces.mesh(), faces.mesh(0.1, 1)
    whole = _directions(2 * POINTS)
    wrong = []
    for count in (5, 20, 300, 2 * POINTS):
        bank = MotionBank(whole[:count])
        back = bank.meshes(bank.coefficients(target[None], key), key)[0]
        wrong.append(np.square((back - target) * point_weights()[:, None]).sum())
    assert wrong == sorted(wrong, reverse=True) and wrong[-1] < 1e-6


def test_shape_there_and_back() -> None:
    usual, mesh = faces.mesh(), (faces.mesh(0.08, 3) * 0.7 + 0.1).astype(np.float32)
    mean = ((usual - usual.mean(0)) / face_size(usual)).ravel()
    whole = ShapeBank(mean, _directions(2 * POINTS))
    np.testing.assert_allclose(whole.mesh(whole.vector(mesh)), mesh, atol=1e-5)
    bank = ShapeBank(mean, _directions(SHAPE))
    vector = bank.vector(mesh)
    assert vector.shape == (3 + SHAPE,) and vector.dtype == np.float32
    np.testing.assert_allclose(vector[:2], mesh.mean(0), atol=1e-6)
    assert vector[2] == pytest.approx(np.log(face_size(mesh)), abs=1e-5)
    moved = bank.vector(mesh * 2 - 0.3)
    np.testing.assert_allclose(moved[3:], vector[3:], atol=1e-4)  # shape alone


class _Finder:
    """Stands for the finder: the pixel in the corner says which mesh a picture has, 255: none."""

    def __init__(self, *, static: bool = False) -> None:
        self.meshes = [faces.mesh(0.02 * i) + np.float32(0.002 * i) for i in range(8)]

    def points(self, picture: np.ndarray) -> np.ndarray | None:
        number = int(picture[0, 0, 0])
        return None if number == 255 else self.meshes[number].astype(np.float32)


def _look(monkeypatch: pytest.MonkeyPatch, numbers: list[int]) -> tuple[look.Look, MotionBank]:
    monkeypatch.setattr(look, "FaceMesh", _Finder)
    frames = np.stack([faces.picture()] * len(numbers))
    frames[:, 0, 0, 0] = numbers
    bank = MotionBank(_directions(MOTION))
    return look.look(Clip(frames, len(frames), None), bank), bank


def test_the_key_frame_is_the_most_usual(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = [0, 3, 4, 3, 7, 255, 3, 255, 255]
    seen, bank = _look(monkeypatch, numbers)
    assert seen.keys[0].picture[0, 0, 0] == 3 and seen.keys[0].mesh.shape == (POINTS, 2)
    meshes = np.stack(_Finder().meshes).astype(np.float32)
    code = bank.coefficients(meshes, meshes[3])
    filled = [code[n] for n in numbers[:5]] + [(code[7] + code[3]) / 2] + [code[3]] * 3
    assert seen.motion.shape == (9, MOTION) and seen.motion.dtype == np.float32
    np.testing.assert_allclose(seen.motion, np.stack(filled), atol=1e-3)


def test_a_face_seen_late_or_never(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, _ = _look(monkeypatch, [255] * 61 + [2] + [255])
    assert seen.keys[0].picture[0, 0, 0] == 2 and abs(seen.motion).max() < 1e-5
    with pytest.raises(MediaError, match="face"):
        _look(monkeypatch, [255] * 5)


def test_active_level_hears_through_pauses() -> None:
    tone = _tone(200, 64_000, 0.2)
    assert active_level(tone) == pytest.approx(0.2 / 2**0.5, rel=0.01)
    paused = tone * (np.arange(64_000) // 6400 % 2 == 0)
    assert active_level(paused) == pytest.approx(active_level(tone), rel=0.01)
    assert active_level(paused * 0.1) == pytest.approx(active_level(tone) / 10, rel=0.01)
    assert active_level(np.zeros(6400, np.float32)) == active_level(tone[:100]) == 0


def test_silent_frames_leave_room_around_sound() -> None:
    wave = np.zeros(20 * 640, np.float32)
    wave[8 * 640 : 10 * 640] = _tone(200, 1280, LEVEL)
    wave[15 * 640] = 1e-4  # too faint to count
    assert np.flatnonzero(~silent_frames(wave)).tolist() == [7, 8, 9, 10]
    wave[0] = wave[-1] = 0.5
    assert np.flatnonzero(~silent_frames(wave)).tolist() == [0, 1, 7, 8, 9, 10, 18, 19]


@pytest.mark.parametrize("frames", [1, 74, 75, 99, 100, 101, 150, 201, 1003])
def test_windows_cover_exactly(frames: int) -> None:
    covered: list[int] = []
    for start, end, first, last in windows(frames):
        assert 0 <= start <= first < last <= end <= frames and end - start <= 150
        assert (first - start >= 25 or start == 0) and (end - last >= 25 or end == frames)
        covered += range(first, last)
    assert covered == list(range(frames))


def test_centred_features() -> None:
    x = np.random.default_rng(0).normal(3, 1, (40, 5)).astype(np.float32)
    silent = np.arange(40) % 3 == 0
    assert abs(centred(x, silent)[~silent].mean(0)).max() < 1e-5
    assert (centred(x, np.ones(40, bool)) == x).all()


def test_the_ear_hears_the_same_at_any_level() -> None:
    torch.manual_seed(0)
    ear = Ear().eval()
    rng = np.random.default_rng(1)
    wave = (rng.normal(0, 0.05, 160 * 640) * (np.arange(160 * 640) // 25_600 % 2)).astype(
        np.float32
    )
    heard, quiet = ear(wave, 160), ear(wave / 8, 160)
    assert heard.semantic.shape == (160, 192) and heard.acoustic.shape == (160, LATENT)
    assert heard.voice.shape == (VOICE,) and abs(heard.voice).max() <= 1
    assert heard.silent.sum() == pytest.approx(80, abs=4)
    assert heard.level == pytest.approx(8 * quiet.level, rel=1e-3)
    for name in ("semantic", "acoustic", "voice"):
        np.testing.assert_allclose(getattr(heard, name), getattr(quiet, name), atol=2e-2)
    # cut or filled to the frames that there are
    assert len(ear(wave, 30).silent) == 30 and ear(wave[:50_000], 130).silent[-40:].all()


def test_an_ear_without_words_hears_all_the_rest() -> None:
    torch.manual_seed(0)
    ear = Ear().eval()
    bare = Ear(words=False).eval()
    missing = bare.load_state_dict(ear.state_dict(), strict=False)
    assert not missing.missing_keys and all(k.startswith("mae.") for k in missing.unexpected_keys)
    wave = np.random.default_rng(1).normal(0, 0.05, 160 * 640).astype(np.float32)
    heard, whole = bare(wave, 160), ear(wave, 160)
    assert heard.semantic.shape == (160, 1) and not heard.semantic.any()
    assert (heard.acoustic == whole.acoustic).all() and (heard.voice == whole.voice).all()


def test_the_ear_hears_nothing_in_silence() -> None:
    for wave in (np.zeros(0, np.float32), np.full(9000, 1e-6, np.float32)):
        heard = Ear()(wave, 12)
        assert heard.silent.all() and len(heard.silent) == 12 and heard.level == 0
        assert not heard.acoustic.any() and not heard.voice.any() and len(heard.semantic) == 12


def test_patches_are_a_frame_by_sixteen_bands() -> None:
    mel = torch.arange(4 * BANDS).float().view(1, 4, BANDS)
    cut = patches(mel)
    assert cut.shape == (1, 2 * ROWS, PATCH)
    assert (cut[0, ROWS + 2] == mel[0, 2:4, 32:48].flatten()).all()


@torch.no_grad()
def test_audiomae_shapes_and_relative_time() -> None:
    torch.manual_seed(0)
    mae = AudioMAE(32, 3, 4, 2).eval()
    mel = torch.randn(2, 30, BANDS)
    assert mae(mel).shape == (2, 15, 32)
    x, seconds = mae.embed(mel)
    assert x.shape == (2, 15 * ROWS, 32) and seconds.shape == (15 * ROWS,)
    assert seconds[ROWS] == pytest.approx(1 / 25) and (seconds[:ROWS] == 0).all()
    later, now = (mae.blocks[0](x, seconds + shift) for shift in (9.0, 0.0))
    torch.testing.assert_close(later, now, atol=1e-3, rtol=1e-3)
    assert mae_features(mel[:1], mae).shape == (15, 32)


@torch.no_grad()
def test_acoustic_and_voice_shapes() -> None:
    torch.manual_seed(0)
    mel = torch.randn(2, 30, BANDS)
    assert AcousticEncoder(16, 1)(mel).shape == (2, 15, LATENT)
    net = VoiceEncoder(16, 1)
    sounding = torch.arange(15).expand(2, -1) < 8
    code = net(mel, sounding)
    assert code.shape == (2, VOICE) and code.abs().max() <= 1
    mel[:, 24:] = 5  # in silence, and far enough from what sounds
    torch.testing.assert_close(net(mel, sounding), code)
    assert net(mel, sounding & False).isfinite().all()


def test_key_frames_fit_their_budgets(capfd: pytest.CaptureFixture[str]) -> None:
    picture, sizes, wrong = faces.picture(), [], []
    for budget in (80, 200, 450):
        found = identity.fitting_picture(picture, budget)
        assert found is not None and len(found[0]) <= budget and found[1] in identity.SIDES
        shown = identity.shown_picture(*found)
        assert shown.shape == (256, 256, 3) and shown.dtype == np.uint8
        sizes.append(len(found[0]))
        wrong.append(np.abs(shown.astype(float) - picture).mean())
    assert sizes == sorted(sizes) and wrong == sorted(wrong, reverse=True) and wrong[-1] < 12
    assert identity.fitting_picture(picture, 40) is None
    assert len(identity.smallest_picture(picture)) <= sizes[0]
    assert capfd.readouterr() == ("", "")  # the encoder's chatter is nobody's business


def test_budgets_are_used_and_few_tries_find_how(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nearly all bytes, or a picture that a quarter of a CRF less would make too large."""
    picture, code = faces.picture(256, 3), identity.coded_picture
    tried: list[float] = []

    def coded(picture: np.ndarray, side: int, crf: float, preset: int) -> bytes:
        tried.append(crf)
        return code(picture, side, crf, preset)

    monkeypatch.setattr(identity, "coded_picture", coded)
    for budget in (500, 640, 930, 1500):
        tried.clear()
        found = identity.fitting_picture(picture, budget, {256: 0})
        assert found is not None
        data, _ = found
        assert identity.CLOSE * budget <= len(data) <= budget or any(
            len(code(picture, 256, crf - 0.25)) > budget
            for crf in tried
            if code(picture, 256, crf) == data
        )
        assert len(tried) < 12 and len(set(tried)) == len(tried)


def test_what_is_rich_in_detail_is_dear() -> None:
    picture = faces.picture()
    plain = identity.dearness(picture)
    checks = np.random.default_rng(0).normal(0, 50, (64, 64, 1)).repeat(4, 0).repeat(4, 1)
    rich = np.clip(picture + checks, 0, 255).astype(np.uint8)
    blurred = resized(resized(picture, 12, 12), 256, 256)
    assert identity.dearness(blurred) < 0.85 * plain < 0.7 * identity.dearness(rich)
    assert 0.3 < plain < 3  # a typical face's is 1


@pytest.mark.skipif(not hasattr(os, "sched_getscheduler"), reason="only Linux has such priorities")
def test_coding_a_key_frame_leaves_the_priority_alone() -> None:
    """SVT-AV1 would make root's process a realtime one."""
    before = os.sched_getscheduler(0)
    identity.coded_picture(faces.picture(), 64, 63, preset=8)
    assert os.sched_getscheduler(0) == before


@pytest.mark.parametrize("side", [64, 72, 128, 192, 256, 384])
def test_headers_of_stills_go_without_saying(side: int) -> None:
    """Whatever tools an encoder takes; and the decoded picture is the same."""
    for crf, preset in ((63, 0), (40, 5), (10, 8)):
        sent = identity.coded_picture(faces.picture(), side, crf, preset)
        encoded = faces.as_encoded(sent, side)
        assert obus.short(encoded, side) == sent and len(encoded) >= len(sent) + 9
        assert obus.short(encoded, side + 8) == encoded  # of another size
        shown, same = (identity.shown_picture(data, side) for data in (sent, encoded))
        assert (shown == same).all()


def test_unusual_stills_stay_as_they_are() -> None:
    large = identity.coded_picture(faces.picture(), 512, 63, preset=8)  # of another level
    assert not obus.is_short(large) and obus.whole(large, 512) == large
    for odd in (b"", b"\n", large[:9], large[:12], large + b"\0"):
        assert obus.short(odd, 512) == obus.whole(odd, 512) == odd


def test_what_is_no_picture_is_refused() -> None:
    short = identity.coded_picture(faces.picture(), 64, 50, preset=8)
    assert identity.shown_picture(short, 64).shape == (256, 256, 3)
    data = faces.as_encoded(short, 64)
    rng = np.random.default_rng(0)
    two = data + faces.as_encoded(identity.coded_picture(faces.picture(), 64, 63, preset=8), 64)
    noise = [bytes((n,)) + rng.bytes(99) for n in range(0, 256, 3)]
    for bad in (b"", b"\0" * 60, data[: len(data) // 2], two, short[:1], *noise):
        if obus.is_short(bad[:2]):  # then nearly all bytes are a frame of something
            with suppress(FormatError):
                assert identity.shown_picture(bad, 64).shape == (256, 256, 3)
            continue
        with pytest.raises(FormatError):
            identity.shown_picture(bad, 64)
    large = identity.coded_picture(faces.picture(), 512, 63, preset=8)
    for other, side in ((data, 128), (data, 56), (short, 2040), (large, 64)):
        with pytest.raises(FormatError):
            identity.shown_picture(other, side)
