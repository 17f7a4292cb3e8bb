"""A work folder without an AudioMAE: a voice is acoustic tokens, and silence."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from rehearsal import one_step, options
from safetensors.torch import load_file, save_file

import avcc
from avcc import weights
from avcc.decoder import Decoder
from avcc.encoder import Encoder
from avcc.entropy.count import segment_bits
from avcc.entropy.tables import Codebook, dump
from avcc.quantise.symbols import COARSE, Quantiser
from avcc.stages import MOTION, SILENT, UNSENT, Features, OperatingPoint
from avcc.training.acoustic import AcousticStage, Speech, depths, fewest
from avcc.training.codes import codes_of
from avcc.training.export import save_weights
from avcc.training.motion import fit as fit_motion
from avcc.training.pack import pack, unpack
from avcc.training.semantic import lone
from avcc.training.tables import fit, refit, voice_segments
from avcc.training.tokens import spoken
from tests.test_codec import talk
from tests.voices import vowels

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def mute(cache: Path, work: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Such a folder, with an untrained stage acoustic."""
    folder = tmp_path_factory.mktemp("mute")
    shutil.copy(work / "motion.npz", folder)
    stage = AcousticStage(options(cache, folder))
    save_weights(folder / "acoustic.safetensors", stage.export(stage.nets), {})
    return folder


@pytest.fixture(scope="module")
def book(cache: Path, mute: Path) -> Codebook:
    return fit(cache, mute)


def test_one_token_stands_for_all_that_sounds(cache: Path, mute: Path) -> None:
    for voice in spoken(cache, mute, "train").tokens:
        assert set(np.unique(voice)) <= {0, SILENT} and 0 in voice
    assert (np.load(mute / "centroids.npy") == lone()).all()
    assert lone().shape == (SILENT, 1) and (lone()[:, 0] > 0).sum() == SILENT - 1
    for codes in codes_of(cache, mute, "train"):
        assert set(np.unique(codes.semantic)) <= {0, SILENT}


def test_some_layer_is_always_learned_from(cache: Path, work: Path, mute: Path) -> None:
    assert (fewest(work), fewest(mute)) == (0, 1)
    rng = np.random.default_rng(0)
    for least in (0, 1):
        drawn = depths(rng, 2000, least)
        assert (drawn.min(), drawn.max()) == (least, 12)
        assert (drawn < 6).mean() > 0.5
    stage = AcousticStage(options(cache, mute))
    with torch.no_grad():
        assert "mel0" not in stage.validate(stage.nets)
    table = one_step(stage)["estimator.semantic.weight"]
    assert (table[:SILENT] == table[UNSENT]).all() and (table[SILENT] != table[UNSENT]).any()
    assert Speech(mute, "cpu").fewest == 1


def test_the_code_before_is_the_context_of_the_next(
    cache: Path, mute: Path, book: Codebook
) -> None:
    assert not book.words and list(book.depths) == list(range(1, book.layers + 1))
    assert book.acoustic_class == [list(range(256))] * book.layers
    assert book.members[1] == [SILENT] and len(book.members) == 2
    again = Codebook.from_arrays(book.arrays)
    assert again.id == book.id and dump(again.arrays) == dump(book.arrays)
    # nothing but acoustic tokens costs anything to speak of
    codes = codes_of(cache, mute, "train")[0]
    sounds = int((codes.semantic == 0).sum())
    none, one = (
        sum(
            segment_bits(s, OperatingPoint(0, 0, n, True), book)[1]
            for s in voice_segments(codes, n)
        )
        for n in (0, 1)
    )
    assert none < 0.3 * sounds < one


def test_motion_anew_beside_a_voice_that_stays(
    cache: Path, mute: Path, book: Codebook, tmp_path: Path
) -> None:
    """Arrays of voice to the number, those of motion of the directions that there are now."""
    arrays = fit_motion(cache, like=np.load(mute / "motion.npz"), seed=5)
    np.savez(tmp_path / "motion.npz", **arrays)  # type: ignore[arg-type]
    (tmp_path / "codebook.safetensors").write_bytes(dump(book.arrays))
    again = refit(cache, tmp_path)
    assert again.id != book.id and again.arrays.keys() == book.arrays.keys()
    moved = {n for n, x in again.arrays.items() if not np.array_equal(x, book.arrays[n])}
    assert "motion.directions" in moved
    assert {n.split(".")[1].split("_")[0] for n in moved} <= {
        *("motion", "shape", "directions", "mean", "scale")
    }
    kept = arrays["motion.directions"].astype(np.float16)
    np.testing.assert_array_equal(again.arrays["motion.directions"], kept)


def test_copies_can_be_made_out(book: Codebook) -> None:
    count = 30
    rng = np.random.default_rng(1)
    motion = rng.normal(0, 0.3, (count, MOTION)).astype(np.float32)
    latents = rng.normal(0, 1, (count, 32)).astype(np.float32)
    silent = np.arange(count) < 4
    heard = np.zeros((count, 1), np.float32), latents, silent, np.zeros(25, np.float32)
    features, quantiser = Features((), motion, *heard), Quantiser(book)
    tokens = quantiser.tokens(features)
    assert (tokens.semantic == np.where(silent, SILENT, 0)).all()
    copy = quantiser.copies(features, tokens, OperatingPoint(1, 0, 4))[0]
    assert copy.point == OperatingPoint(COARSE.motion_stride, COARSE.motion_step, 1)
    assert copy.segment.acoustic.shape == (count, 1)
    deaf = quantiser.copies(features, tokens, OperatingPoint(1, 0, 0, False))[0]
    assert deaf.point.acoustic_layers == 0 and not deaf.segment.acoustic.size


@pytest.fixture
def packed(
    mute: Path, book: Codebook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[bytes, Path]]:
    """The shipped weights, and beside them as default the voice of ``mute``, untrained."""
    place, made = tmp_path / "weights", tmp_path / "made"
    was = weights.default()
    shutil.copytree(weights.folder(), place)
    unpack(weights.folder(), made)
    for name in ("audiomae", "estimator"):
        (made / f"{name}.safetensors").unlink(missing_ok=True)
    shutil.copy(mute / "acoustic.safetensors", made)
    (made / "codebook.safetensors").write_bytes(dump(book.arrays))
    pack(made, place)
    monkeypatch.setenv(weights.FOLDER_VARIABLE, str(place))
    yield was, place


def test_a_model_without_words_codes_and_decodes(
    packed: tuple[bytes, Path], tmp_path: Path
) -> None:
    was, place = packed
    new = weights.default()
    assert new != was and set(weights.models()) >= {was, new}
    assert not any(".mae." in k for k in weights.tensors(new, "speech"))
    ear = Encoder(new, "cpu").ear
    heard = ear(vowels(2.0), 50)
    assert heard.semantic.shape == (50, 1) and not heard.silent.all()
    clip = talk(2.0)
    for fec in (False, True):
        data = avcc.encode(clip, 6000, fec=fec)
        out = avcc.decode(data)
        assert out.count == 50 and out.audio is not None and np.isfinite(out.audio).all()
    assert Decoder(new, "cpu").book.id == new
    # and back into a work folder
    unpack(place, tmp_path / "again")
    assert not (tmp_path / "again" / "audiomae.safetensors").exists()
    assert pack(tmp_path / "again", tmp_path / "weights2") == new.hex()
    a, b = (
        load_file(p / f"speech-{new.hex()}.safetensors") for p in (place, tmp_path / "weights2")
    )
    assert set(a) == set(b) and all(torch.equal(a[k], b[k]) for k in a)


def test_the_last_model_with_words_stays_whole(packed: tuple[bytes, Path], tmp_path: Path) -> None:
    was, place = packed
    kept = weights.tensors(was, "speech")
    if any(".mae." in k for k in kept):
        assert any(k.startswith("ear.voice.") for k in kept)
    arrays = load_file(weights.path_of(weights.default(), "codebook"))
    unpack(place, tmp_path / "next")
    arrays["table.bit2"] = torch.tensor([[1 << 23, 1 << 23]], dtype=torch.uint32)
    save_file(arrays, tmp_path / "next" / "codebook.safetensors")
    before = weights.default()
    pack(tmp_path / "next", place)
    weights._manifest.cache_clear()
    assert all(k.startswith("estimator.") for k in weights.tensors(before, "speech"))
    assert set(weights.tensors(was, "speech")) == set(kept)
