"""Training of what finds faces: on a made-up cache, with photographs of nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rehearsal import cache, one_step, options  # noqa: F401
from torch.nn import functional as F

from avcc.media.findernet import CELL, LEAST, MOST, TYPICAL
from avcc.media.upright import frames_of
from avcc.training.export import save_weights
from avcc.training.facecuts import PICTURE, FaceCuts
from avcc.training.facelook import shown, worn
from avcc.training.facemesh import FaceMeshStage
from avcc.training.finder import SIDE, FinderStage, goal, scene
from avcc.training.loop import Options
from avcc.training.photos import photos

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    rng = np.random.default_rng(0)
    for i, (height, width) in enumerate([(300, 400), (2000, 1500), (100, 90)]):
        rough = rng.integers(0, 255, (height // 20, width // 20, 3), np.uint8)
        Image.fromarray(rough).resize((width, height)).save(folder / f"{i}.png")
    (folder / "notes.txt").write_text("no photograph")
    return folder


@pytest.fixture
def both(cache: Path, scenes: Path, tmp_path: Path) -> Options:  # noqa: F811
    return replace(options(cache, tmp_path), scenes=scenes, batch=4)


def test_photographs_are_made_smaller(scenes: Path) -> None:
    assert [p.shape for p in photos(scenes)] == [(300, 400, 3), (1280, 960, 3)]
    assert photos(None) == []


def test_the_finder_and_then_the_mesh(both: Options) -> None:
    finder = one_step(FinderStage(both))
    assert all(name.startswith("finder.") for name in finder)
    finder["finder.head.bias"] = torch.tensor([1.0, 0, 0, 0])  # one that sees faces everywhere
    save_weights(both.work / "finder.safetensors", finder, {})
    stage = FaceMeshStage(both)
    assert len(stage.cuts.mistakes) > 10
    assert {0, 1} == set(stage.cuts.mistakes[:, 0])
    mesh = one_step(stage)
    again = FaceMeshStage(both)
    again.begin(mesh)
    with torch.no_grad():
        x = torch.randn(1, 3, 128, 128)
        torch.testing.assert_close(again.nets["mesh"].eval()(x), stage.nets["mesh"](x))


def test_a_mesh_lies_where_its_face_is_shown(both: Options) -> None:
    """A picture whose every pixel says where it is: bent and turned, points keep their pixels."""
    cuts = FaceCuts(replace(both, scenes=None))
    drawn = cuts.drawn(np.random.default_rng(3), 60)
    assert drawn["picture"].shape == (60, PICTURE, PICTURE, 3)
    assert not drawn["face"].all() and drawn["face"].any()
    places = np.indices((PICTURE, PICTURE))[::-1].transpose(1, 2, 0)  # x, y
    drawn["picture"] = np.repeat(np.pad(places, ((0, 0), (0, 0), (0, 1)))[None], 60, 0)
    x = {k: torch.as_tensor(v) for k, v in drawn.items()}
    picture, mesh = shown(x)
    seen = F.grid_sample(picture[:, :2], mesh[:, None], align_corners=False)[:, :, 0]
    found = (seen.permute(0, 2, 1) + 1) * 127.5 + 0.5
    inside = (mesh.abs() < 0.95).all(-1) & (x["mesh"] > 0.02).all(-1) & (x["mesh"] < 0.98).all(-1)
    wrong = (found - PICTURE * x["mesh"])[inside]
    assert len(wrong) > 2000
    assert wrong.abs().max() < 0.7  # pixels


def test_what_is_worn_keeps_its_shape() -> None:
    torch.manual_seed(0)
    x = torch.rand(8, 3, 128, 128) * 2 - 1
    out = worn(x, np.random.default_rng(0))
    assert out.shape == x.shape and out.abs().max() <= 1.2 and torch.isfinite(out).all()


def test_a_place_holds_no_face(both: Options) -> None:
    cuts = FaceCuts(both)
    drawn = cuts.drawn(np.random.default_rng(0), 200)
    nowhere = (drawn["mesh"] == 0.5).all((1, 2))
    assert 4 < nowhere.sum() < 60
    assert not drawn["face"][nowhere].any()


def test_scenes_say_where_faces_are(both: Options) -> None:
    stage = FinderStage(both)
    rng = np.random.default_rng(5)
    made = [scene(rng, stage.train, stage.share, stage.places) for _ in range(40)]
    assert {len(there) for _, there in made} >= {0, 1, 2}
    assert all(picture.shape == (SIDE, SIDE, 3) for picture, _ in made)
    who = stage.train[0]
    axes, centre = frames_of(who.part.mesh[who.frames[0][:1]])
    np.testing.assert_allclose(who.centre[who.frames[0][0]], centre[0, 0])
    assert who.size[who.frames[0][0]] == pytest.approx(np.linalg.norm(axes[0, 0]) / 1.5)


def test_goals_of_the_finder() -> None:
    wanted = goal([(43.0, 60.0, 40.0), (120.0, 120.0, 2 * MOST), (400.0, 0.0, 40.0)])
    row, column = int(60 // CELL), int(43 // CELL)
    assert wanted[0, row, column] == 1 and (wanted[0] == 1).sum() == 1
    assert wanted[4, row, column] == 1
    place = [(column + 0.5 + wanted[1, row, column]), (row + 0.5 + wanted[2, row, column])]
    np.testing.assert_allclose(np.array(place) * CELL, [43, 60], atol=1e-4)
    assert np.exp(wanted[3, row, column]) * TYPICAL == pytest.approx(40)
    assert (wanted[0, 14:16, 14:16] == -1).all()  # too large to be marked here, but a face
    assert (goal([(80.0, 80.0, LEAST / 2)])[0] != 1).all()
