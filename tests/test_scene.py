"""The surroundings: a still that is sent beside the face, and the face put back into it."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as some

import avcc
from avcc import cli
from avcc.analysis import identity
from avcc.analysis.scene import LEAST, SQUARE, WORTH, fitting, squeezed
from avcc.container import describe, layout
from avcc.container.layout import Chunk, pack_chunk
from avcc.container.read import chunks, read
from avcc.container.write import pack_scene, write
from avcc.errors import FormatError, MediaError
from avcc.media import read as media
from avcc.media.arrays import from_arrays
from avcc.media.crop import cut
from avcc.media.write import write as written
from avcc.pictures import resized
from avcc.render.scene import LONGEST, Composed, Scene, size_of
from avcc.stages import SIDE, Clip, Crop
from tests.clips import Recipe, make, picture, still
from tests.voices import vowels

PIXELS = 4096 * 2304
WIDE = (481, 270)  # an odd width: videos have even ones


def _scene(crop: Crop, grey: int = 77, pixels: int = PIXELS) -> Scene:
    return Scene(np.full((64, 64, 3), grey, np.uint8), crop, pixels)


# -- putting a face into a still -------------------------------------------------------------


@settings(deadline=None, max_examples=80)
@given(
    x=some.integers(-500, 900),
    y=some.integers(-500, 900),
    side=some.integers(1, 700),
    size=some.tuples(some.integers(1, 400), some.integers(1, 400)),
    pixels=some.integers(1, 400 * 400),
)
@example(x=-30_000, y=-30_000, side=65_535, size=(65_535, 1), pixels=PIXELS)
@example(x=0, y=0, side=65_535, size=(65_535, 65_535), pixels=50_000)
@example(x=65_535, y=-65_535, side=1, size=(7, 65_535), pixels=PIXELS)
def test_any_square_of_any_picture(
    x: int, y: int, side: int, size: tuple[int, int], pixels: int
) -> None:
    crop = Crop(x, y, side, *size)
    scene = _scene(crop, pixels=pixels)
    width, height = scene.size
    grey = scene(np.full((SIDE, SIDE, 3), 77, np.uint8))
    assert grey.shape == (height, width, 3) and grey.dtype == np.uint8 and (grey == 77).all()
    white = scene(np.full((SIDE, SIDE, 3), 255, np.uint8))
    outside = np.ones((height, width), bool)
    down, across = height / size[1], width / size[0]
    rows = np.clip(np.array([np.floor(y * down), np.ceil((y + side) * down)]), 0, height)
    columns = np.clip(np.array([np.floor(x * across), np.ceil((x + side) * across)]), 0, width)
    outside[slice(*rows.astype(int)), slice(*columns.astype(int))] = False
    assert (white[outside] == 77).all(), "what isn't the crop's stays"
    assert (scene(np.full((SIDE, SIDE, 3), 77, np.uint8)) == 77).all(), "and the still as it was"


@given(
    width=some.integers(1, 65_535), height=some.integers(1, 65_535), pixels=some.integers(1, PIXELS)
)
def test_the_size_is_bounded_even_and_in_proportion(width: int, height: int, pixels: int) -> None:
    size = size_of(Crop(0, 0, 1, width, height), pixels)
    assert all(side % 2 == 0 and 2 <= side <= LONGEST for side in size)
    assert size[0] * size[1] <= max(pixels, 2 * max(size))
    if min(size) > 2:
        assert (size[0] - 1) / (size[1] + 2) <= width / height <= (size[0] + 2) / (size[1] - 1)


def test_the_size_is_the_sources() -> None:
    for size in ((640, 360), (1920, 1080), (3840, 2160), (1080, 1920)):
        assert size_of(Crop(0, 0, 100, *size), PIXELS) == size
    assert size_of(Crop(0, 0, 100, 641, 361), PIXELS) == (640, 360)
    assert size_of(Crop(0, 0, 100, 7680, 4320), PIXELS) == (4096, 2304)


@pytest.mark.parametrize("side", [120, SIDE, 250, 340])
def test_what_was_cut_can_be_put_back(side: int) -> None:
    shown = picture(77, 0, (480, 360), (still,))
    crop = Crop(70, 15, side, 480, 360)
    back = Scene(shown, crop, PIXELS)(cut(shown, crop))
    off = np.abs(back.astype(int) - shown)
    assert off.mean() <= (0 if side == SIDE else 2)
    assert np.quantile(off, 0.999) <= (0 if side == SIDE else 60)


def test_a_face_is_where_it_was_cut_to_a_fraction_of_a_pixel() -> None:
    dot = np.zeros((360, 480, 3), np.uint8)
    cv2.circle(dot, (220, 190), 9, (255, 255, 255), -1, cv2.LINE_AA)
    for side, pixels, factor in ((300, PIXELS, 1), (150, PIXELS, 1), (300, 43_200, 2)):
        crop = Crop(220 - side // 2, 180 - side // 2, side, 480, 360)
        back = Scene(np.zeros((64, 64, 3), np.uint8), crop, pixels)(cut(dot, crop))[..., 0]
        weight = back / back.sum(dtype=float)
        rows, columns = np.mgrid[: back.shape[0], : back.shape[1]] + 0.5
        found = np.array([(weight * columns).sum(), (weight * rows).sum()]) * factor
        np.testing.assert_allclose(found, [220.5, 190.5], atol=0.3)


def test_edges_fade_but_not_at_the_border_of_the_picture() -> None:
    white = np.full((SIDE, SIDE, 3), 255, np.uint8)
    inside = _scene(Crop(60, 20, SIDE, 400, 300), 0)(white)[20 + SIDE // 2, :, 0].astype(int)
    assert inside[59] == 0 and inside[60] < 30 and inside[60 + SIDE // 2] == 255
    assert (np.diff(inside[: 60 + SIDE // 2]) >= 0).all() and inside[60 + SIDE - 1] < 30
    corner = _scene(Crop(0, 0, SIDE, 400, 300), 0)(white)
    assert (corner[: SIDE // 2, : SIDE // 2] == 255).all()
    assert (_scene(Crop(-20, -20, 540, 500, 500), 0)(white) == 255).all()


# -- the still ------------------------------------------------------------------------------


def test_the_face_is_left_out_of_the_still() -> None:
    rng = np.random.default_rng(0)
    whole = np.full((300, 600, 3), (200, 100, 50), np.uint8)
    crop = Crop(200, 60, 200, 600, 300)
    whole[74:246, 214:386] = rng.integers(0, 256, (172, 172, 3))  # what the crop hides
    square = squeezed(whole, crop)
    assert square.shape == (SQUARE, SQUARE, 3) and square.dtype == np.uint8
    assert np.abs(square.astype(int) - (200, 100, 50)).max() <= 1
    textured = rng.integers(0, 256, whole.shape, np.uint8)
    near = squeezed(textured, Crop(1000, 1000, 100, 600, 300))
    assert (near == resized(textured, SQUARE, SQUARE)).all()
    hidden = squeezed(textured, Crop(-600, -600, 2000, 600, 300))
    assert hidden.shape == (SQUARE, SQUARE, 3)


def test_a_still_keeps_to_its_share() -> None:
    square = squeezed(_film()[0], Crop(150, 60, 150, *WIDE))
    sizes = []
    for budget in (1500, 2500, 5000, 20_000):
        side, data = fitting(square, budget)
        assert len(data) <= max(LEAST, 0.12 * budget) and len(data) <= WORTH * budget
        assert identity.shown_picture(data, side, side).shape == (side, side, 3)
        sizes.append((side, len(data)))
    assert sizes == sorted(sizes) and sizes[-1][0] >= 192
    assert fitting(square, 10)[1] == identity.smallest_picture(square)


# -- the file -------------------------------------------------------------------------------


@cache
def _film() -> np.ndarray:
    """uint8 (50, 270, 481, 3): a swaying head, left of the middle, before coloured stripes."""
    width, height = WIDE
    heads = (lambda t: (-0.3 + 0.03 * np.sin(3 * t), 0.55, 0.6),)
    frames = np.stack([picture(0, t, WIDE, heads) for t in np.arange(50) / 25])
    frames[:, : height // 3, width * 3 // 5 :] = (200, 40, 40)
    frames[:, height * 2 // 3 :, width * 3 // 5 :] = (40, 60, 190)
    return frames


@cache
def scenic() -> Clip:
    """A clip with something around its face, and a voice."""
    return from_arrays(_film(), vowels(2.0))


@cache
def _coded() -> bytes:
    return avcc.encode(scenic(), 6000, scene=True)


def test_the_whole_picture_comes_back() -> None:
    clip = avcc.decode(_coded(), duration=0.4)
    shown = np.stack(list(clip.frames))
    assert shown.shape == (10, 270, 480, 3) and shown.dtype == np.uint8 and clip.audio is not None
    for rows, colour in ((slice(10, 70), (200, 40, 40)), (slice(200, 260), (40, 60, 190))):
        assert np.abs(shown[:, rows, 320:470].mean((0, 1, 2)) - colour).max() < 12
    assert (shown[:, :, 330:] == shown[:1, :, 330:]).all(), "the surroundings stand still"
    faces = np.stack(list(avcc.decode(_coded(), duration=0.4, scene=False).frames))
    assert faces.shape == (10, 256, 256, 3)
    crop = read(_coded()).head.crop
    assert crop is not None
    inner = np.abs(cut(shown[3], crop).astype(int) - faces[3])[40:-40, 40:-40]
    assert inner.mean() < 6, "the same face, resized twice"
    with pytest.raises(MediaError, match="256x256"):
        avcc.encode(replace(clip, audio=None), 20_000)
    small = next(iter(avcc.decode(_coded(), duration=0.1, max_pixels=10_000).frames))
    assert small.shape == (74, 132, 3)


def test_the_rate_is_a_ceiling_and_what_is_left_is_as_without() -> None:
    assert 8 * len(_coded()) <= 6000 * 2
    told = avcc.info(_coded())
    assert told["format"] == "1.9"
    assert told["scene"]["bytes"] == told["streams"]["scene"]["bytes"]
    assert 100 < told["scene"]["bytes"] <= LEAST and told["streams"]["container"]["bytes"] < 100
    assert sum(part["bytes"] for part in told["streams"].values()) == pytest.approx(len(_coded()))
    assert any("in the whole picture" in line for line in describe.lines(told))
    plain = avcc.info(avcc.encode(scenic(), 6000))
    assert plain["scene"] is None
    assert any(line.endswith("the face alone") for line in describe.lines(plain))
    assert describe.checked(_coded(), None)["chunks"]["scene"] == 1


def test_nothing_around_is_said() -> None:
    frames = np.stack([picture(0, 0, (256, 256), (still,))] * 5)
    said: list[str] = []
    data = avcc.Codec("cpu").encode(from_arrays(frames), 40_000, scene=True, warn=said.append)
    assert read(data).scene is None and len(said) == 1 and "no surroundings" in said[0]


def _with(payload: bytes, flags: int = 0) -> bytes:
    """The file with another chunk of surroundings in front of its own."""
    (own,) = [c for c in chunks(_coded()) if isinstance(c, Chunk) and c.type == layout.SCENE]
    chunk = pack_chunk(layout.SCENE, flags, payload)
    return _coded()[: own.start] + chunk + _coded()[own.start :]


def test_surroundings_that_make_no_sense_cost_nothing_else() -> None:
    stream = read(_coded())
    assert stream.scene is not None
    for payload, flags in ((b"", 0), (b"\x08", 0), (b"\0abc", 0), (b"\x08abc", 1)):
        found = read(_with(payload, flags))  # the first one counts
        assert found.scene is None and not found.damage
        assert replace(found, scene=stream.scene) == stream
    alone = replace(stream, head=replace(stream.head, crop=None))
    assert read(write(alone)).scene is None, "without a crop there is nothing around"
    said: list[str] = []
    data = _with(b"\x08no picture")
    clip = avcc.Codec("cpu").decode(data, duration=0.1, warn=said.append)
    assert next(iter(clip.frames)).shape == (256, 256, 3)
    assert len(said) == 1 and "surroundings can't be decoded" in said[0]


def test_damage_to_the_surroundings() -> None:
    (own,) = [c for c in chunks(_coded()) if isinstance(c, Chunk) and c.type == layout.SCENE]
    spoiled = bytearray(_coded())
    spoiled[own.start + 20] ^= 1
    found, sound = read(bytes(spoiled)), read(_coded())
    assert found.scene is None and len(found.damage) == 1
    assert (found.identities, found.segments, found.pitch) == (
        sound.identities,
        sound.segments,
        sound.pitch,
    )
    before = bytearray(_coded())
    identity_end = own.start - 1
    before[identity_end] ^= 1  # of the chunk in front: the search finds the surroundings again
    with pytest.raises(FormatError):
        read(bytes(before))
    stranger = pack_chunk(layout.TEXT, 0, b"damaged")[:-1] + b"x"
    found = read(_coded()[: own.start] + stranger + _coded()[own.start :])
    assert found.scene == sound.scene and len(found.damage) == 1


def test_a_still_that_can_not_be_sent() -> None:
    for side, data in ((60, b"x"), (2048, b"x"), (64, b""), (64, bytes((1 << 20) + 1))):
        with pytest.raises(FormatError):
            pack_scene(side, data)


# -- video files ----------------------------------------------------------------------------


def test_the_whole_picture_of_a_frame(tmp_path: Path) -> None:
    path = make(tmp_path / "c.mp4", Recipe(seconds=0.6, rate=50))
    clip = media.read(path)
    assert clip.around is not None and clip.crop is not None
    size = clip.crop.width, clip.crop.height
    frames = list(clip.frames)
    for k in (0, 7, clip.count - 1, clip.count + 5):
        whole = clip.around(k)
        assert whole.shape == (size[1], size[0], 3)
        assert (cut(whole, clip.crop) == frames[min(k, clip.count - 1)]).all()


def test_files_and_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, coded, out = (tmp_path / name for name in ("talk.mp4", "talk.avc", "out.mp4"))
    written(source, Clip(_film()[:, :, :480], 50, vowels(2.0)))
    assert cli.main(["encode", str(source), "-b", "6k", "--scene"]) == cli.OK
    assert cli.main(["info", str(coded)]) == cli.OK
    assert "480x270, shown in the whole picture" in capsys.readouterr().out
    short = ["--duration", "0.2"]
    assert cli.main(["decode", str(coded), "-o", str(out), *short]) == cli.OK
    with av.open(str(out)) as found:
        assert (found.streams.video[0].width, found.streams.video[0].height) == (480, 270)
    assert cli.main(["decode", str(coded), "-o", str(out), "-f", "--face", *short]) == cli.OK
    with av.open(str(out)) as found:
        assert (found.streams.video[0].width, found.streams.video[0].height) == (256, 256)


def test_whole_pictures_are_made_as_they_are_asked_for() -> None:
    faces = (np.full((SIDE, SIDE, 3), grey, np.uint8) for grey in (0, 255))
    shown = iter(Composed(faces, _scene(Crop(0, 0, 300, 300, 300))))
    assert next(shown).max() == 0 and next(shown).min() == 255 and next(shown, None) is None
