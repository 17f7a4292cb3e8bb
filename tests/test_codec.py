"""The two journeys with the shipped weights, on a face and a voice that the tests make."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

import avcc
from avcc import weights
from avcc.analysis.mel import LogMel
from avcc.container.read import chunks, read
from avcc.entropy import coder
from avcc.errors import FormatError, MediaError, ModelError, RateError
from avcc.media.arrays import from_arrays
from avcc.media.mesh import FaceMesh
from avcc.stages import Clip
from tests.clips import picture
from tests.voices import vowels

SECONDS = 2.0
RATE = 4000


@cache
def talk(seconds: float = SECONDS) -> Clip:
    """A head that sways and nods, with a voice that pauses from 0.8 to 1.2 s."""
    heads = (lambda t: (0.05 * np.sin(3 * t), 0.5 + 0.02 * np.sin(5 * t), 0.9),)
    frames = [picture(0, t, (256, 256), heads) for t in np.arange(round(25 * seconds)) / 25]
    return from_arrays(np.stack(frames), vowels(seconds, pause=(0.8, 1.2)))


@cache
def coded(rate: float = RATE) -> bytes:
    return avcc.encode(talk(), bitrate=rate)


@cache
def decoded(rate: float = RATE) -> tuple[np.ndarray, np.ndarray]:
    clip = avcc.decode(coded(rate))
    assert clip.audio is not None
    return np.stack(list(clip.frames)), clip.audio


def places(frames: np.ndarray) -> np.ndarray:
    """Centre of the face in each frame, pixels (N, 2)."""
    finder = FaceMesh(static=True)
    found = [finder.points(frame) for frame in frames]
    assert all(mesh is not None for mesh in found)
    return np.stack([256 * mesh.mean(0) for mesh in found if mesh is not None])


@pytest.mark.parametrize("rate", [1500, 2000, 4000, 8000, 100_000])
def test_a_rate_is_a_ceiling_and_is_used(rate: int) -> None:
    data = coded(rate)
    assert 8 * len(data) <= rate * SECONDS
    if rate <= 8000:  # more than a few kbps there is nothing left to buy with
        assert 8 * len(data) > 0.75 * rate * SECONDS


def test_the_way_there_and_back() -> None:
    frames, audio = decoded()
    assert frames.shape == (50, 256, 256, 3)
    assert frames.dtype == np.uint8
    assert audio.shape == (32_000,)
    assert audio.dtype == np.float32
    assert np.abs(audio).max() <= 1


def test_the_same_file_gives_the_same_pictures_and_sound() -> None:
    clip = avcc.decode(coded())
    frames, audio = decoded()
    assert clip.audio is not None
    assert np.array_equal(clip.audio, audio)
    assert np.array_equal(np.stack(list(clip.frames)), frames)
    assert np.array_equal(next(iter(clip.frames)), frames[0])  # frames can be drawn again


def test_the_same_clip_gives_the_same_file() -> None:
    assert avcc.encode(talk(), bitrate=RATE) == coded()


def test_the_face_moves_as_its_source() -> None:
    there, back = places(np.stack(list(talk().frames))), places(decoded()[0])
    assert np.corrcoef(there[:, 0], back[:, 0])[0, 1] > 0.95
    assert np.corrcoef(there[:, 1], back[:, 1])[0, 1] > 0.9
    assert np.abs(there - back).mean() < 2.0  # pixels


def test_the_picture_is_nearer_than_a_still() -> None:
    source = np.stack(list(talk().frames)).astype(np.float32)
    frames = decoded()[0].astype(np.float32)
    error = np.abs(frames - source).mean()
    still = np.abs(frames[:1] - source).mean()
    assert error < 0.75 * still
    assert error < 22  # levels of 255


def test_the_voice_says_the_same() -> None:
    """Log-mel spectra agree in time and frequency, and silence stays silent."""
    source, audio = talk().audio, decoded()[1]
    assert source is not None
    import torch

    a, b = (LogMel()(torch.from_numpy(x)[None])[0].numpy() for x in (source, audio))
    loud = a.mean(1) > np.quantile(a.mean(1), 0.3)
    assert np.corrcoef(a[loud].ravel(), b[loud].ravel())[0, 1] > 0.6
    assert np.corrcoef(a.mean(1), b.mean(1))[0, 1] > 0.8
    pause = audio[round(0.95 * 16_000) : round(1.1 * 16_000)]
    assert np.abs(pause).max() < 1e-3
    # the level it had, within the 2 dB that are sent
    assert abs(20 * np.log10(audio.std() / source.std())) < 4


def test_more_bits_are_better() -> None:
    source = np.stack(list(talk().frames)).astype(np.float32)
    errors = [np.abs(decoded(rate)[0] - source).mean() for rate in (1500, 8000)]
    assert errors[1] < errors[0]


def test_out_of_reach_names_what_is_in_reach() -> None:
    with pytest.raises(RateError) as told:
        avcc.encode(talk(), bitrate=300)
    needed = int(str(told.value).split("needs ")[1].split()[0])
    assert 300 < needed < 1500
    assert len(avcc.encode(talk(), bitrate=needed)) <= needed * SECONDS / 8


def test_without_sound_and_with_silence() -> None:
    clip = talk()
    mute = avcc.encode(replace(clip, audio=None), bitrate=2000)
    assert avcc.info(mute)["samples"] == 0
    assert avcc.decode(mute).audio is None
    assert clip.audio is not None
    data = avcc.encode(replace(clip, audio=np.zeros_like(clip.audio)), bitrate=2000)
    assert avcc.info(data)["streams"]["audio"]["bytes"] < 8
    audio = avcc.decode(data).audio
    assert audio is not None
    assert audio.shape == clip.audio.shape
    assert not audio.any()


@pytest.mark.parametrize("count", [1, 7])
def test_very_short_clips(count: int) -> None:
    clip = talk()
    assert clip.audio is not None
    short = from_arrays(np.stack(list(clip.frames))[:count], clip.audio[: 640 * count])
    back = avcc.decode(avcc.encode(short, bitrate=30_000))
    assert len(list(back.frames)) == count
    assert back.audio is not None
    assert len(back.audio) == 640 * count


def test_no_face() -> None:
    with pytest.raises(MediaError):
        avcc.encode(np.full((10, 256, 256, 3), 90, np.uint8))


def test_seed_and_steps_change_what_is_made_up() -> None:
    data = coded()
    asked = ((1, 1), (2, 1), (1, 3))
    voices = [avcc.decode(data, seed=seed, steps=steps).audio for seed, steps in asked]
    assert voices[0] is not None
    assert voices[1] is not None
    assert voices[2] is not None
    assert not np.array_equal(voices[0], voices[1])
    assert not np.array_equal(voices[0], voices[2])


def test_a_lost_segment_is_concealed_and_told() -> None:
    data = avcc.encode(talk(9.0), bitrate=3000)
    second = [c for c in chunks(data) if not isinstance(c, str) and c.type == ord("S")][1]
    broken = bytearray(data)
    broken[second.start + 5] ^= 0x10
    told: list[str] = []
    clip = avcc.Codec("cpu").decode(bytes(broken), warn=told.append)
    assert clip.count == 225
    assert any("Segment 1" in sentence for sentence in told)
    whole = avcc.decode(data)
    assert clip.audio is not None
    assert whole.audio is not None
    assert len(clip.audio) == len(whole.audio)
    # what lies in other segments, away from the border, is what it was
    away = slice(0, 3 * 16_000)
    # (its spectrum: pulses drift apart where the pitch differs by a hair)
    heard = clip.audio[away], whole.audio[away]
    a, b = (LogMel()(torch.from_numpy(x)[None]).numpy() for x in heard)
    assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.95
    start = next(iter(clip.frames)).astype(np.int16)
    assert np.abs(start - next(iter(whole.frames))).mean() < 3


def test_symbols_are_those_of_the_file() -> None:
    stream = read(coded())
    book = weights.codebook(stream.head.model)
    symbols = coder.decode(stream, book)
    assert coder.encode(symbols, book) == stream
    assert all(seg is not None for seg in symbols.segments)


def test_foreign_bytes_and_unknown_models() -> None:
    with pytest.raises(FormatError):
        avcc.decode(b"not a stream")
    data = bytearray(coded())
    stream = read(bytes(data))
    other = replace(stream, head=replace(stream.head, model=b"\0\1\2\3"))
    from avcc.container.write import write

    with pytest.raises(ModelError, match="00010203"):
        avcc.decode(write(other))


def test_info_needs_no_models() -> None:
    told = avcc.info(coded())
    assert told["bytes"] == len(coded())
    assert told["synthetic"] is True
    assert sum(part["bytes"] for part in told["streams"].values()) == pytest.approx(len(coded()))


def test_another_model_encodes_where_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any that is whole; one that is kept for its files, or isn't there, says so."""
    clip = talk(1.0)
    for model in weights.models():
        monkeypatch.setenv(weights.MODEL_VARIABLE, model.hex())
        if any(name.startswith("ear.") for name in weights.tensors(model, "speech")):
            data = avcc.encode(clip, bitrate=9000)
            assert avcc.info(data)["model"] == model.hex() and avcc.decode(data).count == 25
        else:
            with pytest.raises(ModelError, match="kept for decoding"):
                avcc.encode(clip, bitrate=9000)
    for name in ("beefbeef", "nothing"):
        monkeypatch.setenv(weights.MODEL_VARIABLE, name)
        with pytest.raises(ModelError, match=f"no model {name}; there are ca6a3130, "):
            avcc.encode(clip, bitrate=9000)
