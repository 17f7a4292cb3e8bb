"""Training on a made-up cache: what each stage reads, learns in a step, and writes."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import faces
import numpy as np
import pytest
import torch
from needs import needs_mediapipe
from rehearsal import one_step, options, talking
from safetensors.torch import load_file
from torch import Tensor, nn

from avcc.analysis.audiomae import AudioMAE
from avcc.analysis.mel import LEVEL
from avcc.analysis.motion import MotionBank
from avcc.analysis.speech import active_level
from avcc.stages import MOTION, MOUTH, SHAPE, SILENT, TOKENS
from avcc.training import keys, motion, pairs, renderer
from avcc.training import round as rounds
from avcc.training.acoustic import AcousticStage
from avcc.training.audiomae import AudioMAEStage
from avcc.training.avdiff import AVDiffStage
from avcc.training.data import Voices, part, voices
from avcc.training.disguise import disguised
from avcc.training.driver import DriverStage
from avcc.training.export import save_weights
from avcc.training.follower import FollowerStage
from avcc.training.inbetween import InbetweenStage
from avcc.training.loop import Options
from avcc.training.renderer import RendererStage
from avcc.training.semantic import kmeans
from avcc.training.tokens import spoken

torch.set_num_threads(1)


def test_parts_of_the_cache(cache: Path) -> None:
    both, permissive = part(cache, "hi_train"), part(cache, "hi_train", "P")
    assert [r["frames"] for r in both.index] == [16, 14] and len(permissive.index) == 1
    assert both.frames.shape == (30, 256, 256, 3) and both.mesh.shape == (30, 478, 2)
    second = both.index[1]
    assert (both.frames[second["start"]] == faces.picture(256, 1)).all()
    voice = both.voice(second)
    assert voice.shape == (14 * 640,) and voice.dtype == np.float32 and 0.1 < abs(voice).max() < 1
    assert part(cache, "lo_val").frames.shape == (110, 128, 128, 3)


def test_voices_stand_at_one_level(cache: Path) -> None:
    heard = voices(cache, "train")
    assert [len(w) for w in heard.waves] == [38_400, 30_001, 16 * 640, 110 * 640]
    for wave in heard.waves:
        assert active_level(wave) == pytest.approx(LEVEL, rel=0.01)
    batch = heard.batch(np.random.default_rng(0), 5, 12_000)
    assert batch.shape == (5, 12_000) and batch.dtype == torch.float32
    assert (batch == heard.batch(np.random.default_rng(0), 5, 12_000)).all()
    assert batch.abs().amax(1).min() > 0
    short = Voices([np.ones(100, np.float32)]).batch(np.random.default_rng(0), 2, 300)
    assert (short[:, 100:] == 0).all() and (short[:, :100] != 0).all()


def test_motion_is_found_in_the_meshes(cache: Path, work: Path) -> None:
    arrays = dict(np.load(work / "motion.npz"))
    for name, count in (("motion.directions", MOTION), ("shape.directions", SHAPE)):
        assert arrays[name].dtype == np.float32
        np.testing.assert_allclose(arrays[name] @ arrays[name].T, np.eye(count), atol=1e-4)
    assert arrays["motion.scale"].shape == (MOTION,) and arrays["motion.scale"][0] > 0
    bank, (mesh, _) = MotionBank(arrays["motion.directions"]), talking(40, 1)
    mesh = mesh[~np.isnan(mesh[:, 0, 0])]
    back = bank.meshes(bank.coefficients(mesh, mesh[0]), mesh[0])
    assert abs(back - mesh).max() < 1e-3 < abs(mesh - mesh[0]).max()
    wrong = motion.errors(cache, arrays, 0.01)
    assert all(0 <= v < 5 for v in wrong.values()) and wrong["motion"] < 0.5
    assert wrong["motion"] < motion.errors(cache, arrays, 0.8)["motion"]


def test_tokens_line_up_with_their_sound(cache: Path, work: Path) -> None:
    made, again = spoken(cache, work, "train"), spoken(cache, work, "train")
    for wave, token, kept in zip(made.waves, made.tokens, again.tokens, strict=True):
        assert len(wave) == 640 * len(token) and (token == kept).all()
        assert ((token >= 0) & (token <= SILENT)).all()
    # with other centroids they are made anew
    centroids = np.load(work / "centroids.npy")
    np.save(work / "centroids.npy", centroids[::-1])
    turned = spoken(cache, work, "train")
    np.save(work / "centroids.npy", centroids)
    for token, other in zip(made.tokens, turned.tokens, strict=True):
        assert (np.where(token == SILENT, SILENT, TOKENS - 1 - token) == other).all()
    cuts = made.batch(np.random.default_rng(0), 6, 70)
    assert cuts[0].shape == (6, 70 * 640) and cuts[1].dtype == torch.int64
    for wave, token in zip(cuts[0].numpy(), cuts[1].numpy(), strict=True):
        assert any(_from(wave, token, w, t) for w, t in zip(made.waves, made.tokens, strict=True))


def _from(wave: np.ndarray, token: np.ndarray, voice: np.ndarray, tokens: np.ndarray) -> bool:
    """Whether a cut is one stretch of a voice, filled up with silence at its end."""
    for a in range(len(tokens)):
        n = min(len(token), len(tokens) - a)
        if (wave[: n * 640] == voice[a * 640 : (a + n) * 640]).all():
            rest = not wave[n * 640 :].any() and (token[n:] == SILENT).all()
            return bool(rest and (token[:n] == tokens[a : a + n]).all())
    return False


# -- one step of every stage --------------------------------------------------------------------


def test_audiomae_takes_a_step(cache: Path, work: Path) -> None:
    stage = AudioMAEStage(options(cache, work))
    stage.held = stage.held[:2]
    kept = stage._keep(np.random.default_rng(0), 3)
    assert kept.shape == (3, 200) and (kept.diff() > 0).all() and kept.min() >= 0
    written = one_step(stage)
    assert {k.removeprefix("mae.") for k in written} == set(AudioMAE().state_dict())


def test_a_disguised_voice_is_another_that_says_the_same() -> None:
    mel = np.random.default_rng(0).normal(size=(50, 2, 80)).astype(np.float32)
    mel += 2 * np.sin(np.arange(50) / 4)[:, None, None].astype(np.float32)
    mel = mel.reshape(50, 160)
    changed, loudness = [], mel.mean(1)
    for seed in range(20):
        other = disguised(np.random.default_rng(seed), mel.copy())
        assert other.shape == mel.shape and other.dtype == np.float32 and np.isfinite(other).all()
        assert np.corrcoef(other.mean(1), loudness)[0, 1] > 0.8
        changed.append(abs(other - mel).mean())
    assert min(changed) > 0.05


def test_acoustic_and_avdiff_take_a_step(cache: Path, work: Path) -> None:
    stage = AcousticStage(options(cache, work))
    stage.held = (stage.held[0][:2], stage.held[1][:2])
    save_weights(work / "acoustic.safetensors", one_step(stage), {})
    assert load_file(work / "acoustic.safetensors")["books"].shape == (12, 256, 32)
    diffusion = AVDiffStage(options(cache, work))
    assert len(diffusion.held) == 1 and len(diffusion.talks) == 3
    written = one_step(diffusion)
    assert all(k.startswith("avdiff.") for k in written)
    driver = DriverStage(options(cache, work))
    assert len(driver.takes.train) == 2 and len(driver.takes.held) == 2  # one of three has no sound
    lips = one_step(driver)
    assert all(k.startswith("driver.") for k in lips)
    assert lips["driver.mouth"].shape == (MOUTH, MOTION) and lips["driver.mouth"].abs().max() > 0
    with torch.no_grad():
        figures = driver.validate(driver.nets)
    assert abs(figures["correlation"]) <= 1 and 0 < figures["lips"] < 50 and figures["spread"] > 0
    between = InbetweenStage(options(cache, work))
    drawn = one_step(between)
    assert all(k.startswith("inbetween.") for k in drawn)
    with torch.no_grad():
        figures = between.validate(between.nets)
    assert 0 < figures["line"] < 50 and figures["score"] == figures["lips"] / figures["line"]
    follower = FollowerStage(options(cache, work))
    led = one_step(follower)
    assert all(k.startswith("follower.") for k in led)
    with torch.no_grad():
        figures = follower.validate(follower.nets)
    assert 0 < figures["lips"] < 50 and figures["score"] == figures["lips"]
    # all go on from what they have written, codebooks included
    for old, kind in (
        (load_file(work / "acoustic.safetensors"), AcousticStage),
        (written, AVDiffStage),
        (lips, DriverStage),
        (drawn, InbetweenStage),
        (led, FollowerStage),
    ):
        fresh = kind(replace(options(cache, work), seed=1))
        fresh.begin(old)
        for name, tensor in fresh.export(fresh.nets).items():
            if name not in ("follower.mean", "follower.basis", "follower.spread"):  # found anew
                torch.testing.assert_close(tensor, old[name].float(), msg=name)


def test_a_round_trains_and_tells(cache: Path, work: Path, tmp_path: Path) -> None:
    jobs = [rounds.Job.parsed("audiomae --batch 2"), rounds.Job.parsed("vocoder --start nowhere")]
    shared = ["--cache", str(cache), "--work", str(tmp_path / "work"), "--dry"]
    (tmp_path / "work").mkdir()
    for name in ("audiomae.safetensors", "centroids.npy"):
        (tmp_path / "work" / name).write_bytes((work / name).read_bytes())
    returned = rounds.train(jobs, shared, tmp_path / "out", 120)
    assert returned["audiomae"] == 0 and returned["vocoder"] != 0
    rounds.keep({"audiomae": 0}, tmp_path / "work", tmp_path / "out")
    assert len(load_file(tmp_path / "out" / "audiomae.safetensors"))
    told = rounds.summary(returned, tmp_path / "out").splitlines()
    assert told[0].startswith("audiomae validation score ")
    assert told[1].startswith("vocoder ended with") and "Error" in told[-1]


class _Distance(nn.Module):
    """Stands for LPIPS, whose weights aren't here."""

    def __init__(self, folder: Path) -> None:
        super().__init__()

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return (a - b).abs().mean((1, 2, 3))


@needs_mediapipe
def test_renderer_takes_a_step(cache: Path, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "ProcessPoolExecutor", ThreadPoolExecutor)
    monkeypatch.setattr(keys, "A_CLIP", 2)
    monkeypatch.setattr(renderer, "Lpips", _Distance)
    monkeypatch.setattr(renderer, "TARGETS", 2)
    monkeypatch.setattr(pairs, "TARGETS", 2)
    for split in ("train", "val", "stills"):
        keys.build(cache, split)
    rows = json.loads((cache / "keys_train" / "index.json").read_text())
    pictures = np.fromfile(cache / "keys_train" / "frames.u8", np.uint8).reshape(-1, 256, 256, 3)
    assert len(rows) == len(pictures) >= 2
    stage = RendererStage(replace(options(cache, work), batch=1))
    assert all(k.startswith("renderer.") for k in one_step(stage))
    # the only still, coded three times, beside what coding made of it
    still = stage.stills.batch(np.random.default_rng(0), 5)
    assert len(still["key"]) == keys.A_STILL and (still["true_key"] == 0).all()
    x = stage.pictures["stills"].shown({k: torch.from_numpy(v) for k, v in still.items()})
    assert x["key"].shape == x["true_key"].shape and "frames" not in x
    assert (x["key"] - x["true_key"]).abs().mean() < 0.3
    # numbers become the pixels of the frames that they name, mirrored where the meshes are
    for flip in (False, True):
        one = stage.train.one(0, [1, 0], np.array([7, 8, 9]), pairs.Sent(1, 0), flip)
        x = stage.pictures["train"].shown({k: torch.from_numpy(v) for k, v in one.items()})
        true = stage.train.clips.frames
        wanted = {"key": pictures[[1, 0]], "frames": true[[7, 8, 9]]}
        wanted["true_key"] = true[[rows[1]["frame"], rows[0]["frame"]]]
        for name, frames in wanted.items():
            shown = (x[name].permute(0, 2, 3, 1).numpy() + 1) * 127.5
            np.testing.assert_allclose(shown[:, :, ::-1] if flip else shown, frames, atol=1e-3)
    with pytest.raises(ValueError, match="perceptual"):
        RendererStage(Options(cache, work))


# -- clusters, directions, judges -------------------------------------------------------------


def test_kmeans_finds_clusters() -> None:
    g = torch.Generator().manual_seed(0)
    places = 10 * torch.randn(6, 5, generator=g)
    x = (places[:, None] + 0.1 * torch.randn(6, 60, 5, generator=g)).flatten(0, 1)
    found = kmeans(x, 30, seed=1)
    assert found.shape == (30, 5) and (kmeans(x, 30, seed=1) == found).all()
    assert torch.cdist(x, found).amin(1).mean() < 0.3
    assert kmeans(x[::40], 9, seed=1).isfinite().all()  # as good as one point a cluster


def test_directions_stay_near_those_before() -> None:
    """Of the same space, orthonormal, and as near as any turn of it brings them."""
    rng = np.random.default_rng(1)
    like, other = (np.linalg.qr(rng.normal(size=(40, 6)))[0].T for _ in range(2))
    near = np.linalg.qr((like + 0.1 * other).T)[0].T
    turned = np.linalg.qr(rng.normal(size=(6, 6)))[0] @ near
    found = motion.aligned(turned.astype(np.float32), like.astype(np.float32))
    np.testing.assert_allclose(found @ found.T, np.eye(6), atol=1e-5)
    np.testing.assert_allclose(found.T @ found, near.T @ near, atol=1e-5)
    assert ((found * like).sum(1) > 0.98).all()
    assert np.square(found - like).sum() <= np.square(near - like).sum() + 1e-5


def test_principal_directions() -> None:
    rng = np.random.default_rng(0)
    planted, _ = np.linalg.qr(rng.normal(size=(30, 3)))
    rows = rng.normal(size=(500, 3)) * (9, 5, 2) @ planted.T + rng.normal(0, 0.05, (500, 30))
    found = motion.principal(rows.astype(np.float32), 3)
    assert found.dtype == np.float32
    np.testing.assert_allclose(abs(found @ planted), np.eye(3), atol=0.1)
    np.testing.assert_allclose(found @ found.T, np.eye(3), atol=1e-5)
