"""Rendering: flow from meshes, the face, and drawing whole clips."""

from __future__ import annotations

from functools import partial

import faces
import numpy as np
import pytest
import torch
from clips import swaying
from torch import Tensor, nn

from avcc import weights
from avcc.analysis.motion import banks
from avcc.device import drawing
from avcc.layers import loaded
from avcc.mesh import EYES, INNER_LIPS, OVAL
from avcc.render import draw
from avcc.render.draw import Rendering
from avcc.render.face import Renderer
from avcc.render.warp import grid, mesh_flow, part_maps, resize_flow, warp
from avcc.stages import MOTION, KeyFrame

torch.set_num_threads(1)
SIZES = torch.tensor([400, 700])  # bytes of two key frames


def _meshes(*meshes: np.ndarray) -> Tensor:
    return torch.from_numpy(np.stack(meshes))


def _pictures(*seeds: int) -> Tensor:
    pictures = np.stack([faces.picture(seed=seed) for seed in seeds])
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1


def _inside(x: float, y: float, size: int = 64) -> tuple[int, int]:
    """Row and column of the pixel at (x, y) in units of the side."""
    return int(y * size), int(x * size)


# -- warp -------------------------------------------------------------------------------------


def test_still_mesh_gives_still_flow() -> None:
    mesh = _meshes(faces.mesh(), faces.mesh(0.1, 1))
    flow = mesh_flow(mesh, mesh)
    assert flow.shape == (2, 64, 64, 2) and flow.dtype == torch.float32
    torch.testing.assert_close(flow, grid(64).expand(2, -1, -1, -1), atol=1e-4, rtol=0)
    picture = _pictures(0, 1)
    torch.testing.assert_close(warp(picture, flow), picture, atol=1e-2, rtol=0)


@pytest.mark.parametrize("shift", [(0.05, 0.0), (0.0, -0.06), (-0.04, 0.04)])
def test_shifted_mesh_moves_the_face_and_leaves_the_border(shift: tuple[float, float]) -> None:
    key = faces.mesh()
    moved = mesh_flow(_meshes(key + np.array(shift, np.float32)), _meshes(key))[0] - grid(64)
    for point in (OVAL[0], OVAL[9], OVAL[18], 1, EYES[0], INNER_LIPS[0]):
        x, y = key[point] + shift
        found = moved[_inside(x, y)].numpy() / 2  # from -1..1 to units of the side
        np.testing.assert_allclose(found, np.negative(shift), atol=0.008)
    edge = torch.cat([moved[0], moved[-1], moved[:, 0], moved[:, -1]])
    assert edge.abs().max() / 2 < 0.25 * np.linalg.norm(shift)


def test_picture_follows_its_mesh() -> None:
    """What was drawn at a point of the key mesh stands at that point of the target mesh."""
    key, target = faces.mesh(0.02), faces.mesh(0.08) + np.array((0.02, -0.01), np.float32)
    place = np.indices((256, 256))[::-1].transpose(1, 2, 0) / 256
    for point in (INNER_LIPS[0], INNER_LIPS[5], EYES[8], OVAL[6]):
        spot = np.exp(-np.square(place - key[point]).sum(-1) / (2 * 0.015**2))
        flow = mesh_flow(_meshes(target), _meshes(key))
        out = warp(torch.from_numpy(spot[None, None]).float(), flow)
        y, x = np.unravel_index(int(out.argmax()), (256, 256))
        assert np.linalg.norm((np.array([x, y]) + 0.5) / 256 - target[point]) < 0.012


@pytest.mark.parametrize("opening", [0.0, 1e-5])
def test_closed_lips_do_not_blow_up(opening: float) -> None:
    """Several points on one place, each to come from another."""
    shut, open_ = faces.mesh(opening), faces.mesh(0.12)
    for target, key in ((shut, open_), (open_, shut), (shut, shut)):
        moved = mesh_flow(_meshes(target), _meshes(key)) - grid(64)
        assert moved.isfinite().all() and moved.abs().max() < 0.2


@pytest.mark.parametrize("mesh", [np.full((478, 2), 0.5), faces.mesh() * 1e4 - 5e3])
def test_senseless_meshes_give_some_flow(mesh: np.ndarray) -> None:
    """Only a broken or hostile stream has them, and even that must not end in an exception."""
    strange = _meshes(mesh.astype(np.float32))
    for pair in ((strange, _meshes(faces.mesh())), (_meshes(faces.mesh()), strange)):
        assert warp(_pictures(0), mesh_flow(*pair)).isfinite().all()


def test_resized_flow() -> None:
    still = grid(16)[None]
    for size in (16, 64, 8):
        torch.testing.assert_close(resize_flow(still, size), grid(size)[None])
        shifted = resize_flow(still + 0.3, size)
        torch.testing.assert_close(shifted, grid(size)[None] + 0.3)


def test_part_maps_show_the_parts() -> None:
    mesh = faces.mesh(0.06)
    maps = part_maps(_meshes(mesh, mesh + 0.05))
    assert maps.shape == (2, 4, 64, 64) and maps.min() >= 0 and maps.max() <= 1
    inner, outer, eyes, irises = maps[0]
    for part, point in ((inner, INNER_LIPS[3]), (eyes, EYES[4]), (irises, 468)):
        assert part[_inside(*mesh[point])] > 0.5
    assert outer[_inside(*mesh[468])] < 0.01 and eyes[_inside(*mesh[INNER_LIPS[0]])] < 0.01
    assert irises[_inside(0.5, 0.5)] < 0.01


# -- face -------------------------------------------------------------------------------------


def _renderer(seed: int = 0, trained: bool = True) -> Renderer:
    torch.manual_seed(seed)
    net = Renderer().eval()
    if trained:  # the layers that start at zero too
        for p in net.parameters():
            nn.init.normal_(p, 0, 0.02)
    return net


@torch.inference_mode()
def test_untrained_renderer_is_the_warp() -> None:
    net, picture = _renderer(trained=False), _pictures(0)
    mesh = _meshes(faces.mesh())
    key = net.key(picture, mesh, SIZES[:1])
    assert (key.picture == picture).all()
    assert key.large.shape == (1, 32, 128, 128) and key.small.shape == (1, 128, 32, 32)
    targets = _meshes(faces.mesh(), faces.mesh(0.1) + np.float32(0.02))
    out = net([key.expand(2)], targets, torch.ones(2, MOTION))
    assert out.shape == (2, 3, 256, 256) and out.dtype == torch.float32
    warped = warp(picture.expand(2, -1, -1, -1), mesh_flow(targets, mesh.expand(2, -1, -1)))
    torch.testing.assert_close(out, warped)
    torch.testing.assert_close(out[0], picture[0], atol=1e-2, rtol=0)


@torch.inference_mode()
def test_large_key_frames_are_restored_less() -> None:
    net, picture, mesh = _renderer(), _pictures(0), _meshes(faces.mesh())
    net.get_parameter("restore_large.2.bias").fill_(0.1)  # something that is well above rounding
    sizes = (300, 1000, 2100, 5000)
    keys = [net.key(picture, mesh, torch.tensor([size])) for size in sizes]
    added = [float((key.picture - picture).abs().mean()) for key in keys]
    share = [a / added[0] for a in added]
    assert share == sorted(share, reverse=True) and share[-1] < 0.1
    assert share[2] == pytest.approx(0.5, abs=0.01) and share[1] > 0.85
    for key in keys[1:]:  # what is drawn from besides the picture doesn't depend on it
        assert (key.large == keys[0].large).all()


@torch.inference_mode()
def test_renderer_keeps_its_batch_apart() -> None:
    net, meshes = _renderer(), _meshes(faces.mesh(seed=1), faces.mesh(seed=2))
    keys = net.key(_pictures(0, 1), meshes, SIZES)
    code = torch.randn(4, MOTION, generator=torch.Generator().manual_seed(0))
    targets = (meshes + 0.02).repeat_interleave(2, 0)
    both = net([keys.repeat(2)], targets, code)
    second = net.key(_pictures(1), meshes[1:], SIZES[1:])
    torch.testing.assert_close(second.picture, keys.picture[1:], atol=1e-4, rtol=1e-4)
    alone = net([second.expand(2)], targets[2:], code[2:])
    torch.testing.assert_close(both[2:], alone, atol=1e-4, rtol=1e-4)
    assert (both[2] - both[3]).abs().max() > 1e-4  # the code alone differs


@pytest.mark.parametrize("last", [False, True])
def test_one_key_frame_is_gathered_as_it_is_sampled(last: bool) -> None:
    """The quick way and ``grid_sample`` are one, at the edges and beyond them as well."""
    make = torch.Generator().manual_seed(0)
    features = torch.randn(1, 16, 32, 32, generator=make)
    if last:
        features = features.contiguous(memory_format=torch.channels_last)
    flow = 1.3 * (2 * torch.rand(3, 32, 32, 2, generator=make) - 1)
    flow[0, 0] = torch.tensor([[-1.0, -1.0], [1.0, 1.0]]).repeat(16, 1)
    wanted = warp(features.repeat(3, 1, 1, 1), flow)
    found = warp(features.expand(3, -1, -1, -1), flow)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert not wanted.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("count", [1, 2])
def test_bfloat16_draws_nearly_the_same(count: int) -> None:
    """With the shipped weights, on a portrait that moves."""
    looks, model = swaying(3, 6), weights.default()
    keys = [KeyFrame(x.picture, x.mesh, 2 * n, 1500) for n, x in enumerate(looks[::2][:count])]
    bank, _ = banks(weights.codebook(model).arrays)
    motion = bank.coefficients(np.stack([x.mesh for x in looks]), keys[0].mesh)
    meshes = partial(bank.meshes, key=keys[0].mesh)
    fine, coarse = (
        np.stack([*Rendering(_shipped(numbers), keys, motion, meshes, "cpu")]).astype(float)
        for numbers in (torch.float32, torch.bfloat16)
    )
    assert 0 < np.square(fine - coarse).mean() < 0.2 and abs(fine - coarse).max() <= 4


def _shipped(numbers: torch.dtype) -> Renderer:
    tensors = weights.tensors(weights.default(), "renderer")
    return loaded(Renderer(), tensors, "renderer.", "cpu", numbers)


@pytest.mark.parametrize("can", [True, False])
@pytest.mark.parametrize("used", ["AVX512", "AVX2"])
def test_bfloat16_is_for_those_who_multiply_it(
    monkeypatch: pytest.MonkeyPatch, can: bool, used: str
) -> None:
    told = {"avx512_bf16": can}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: told, raising=False)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: used)
    wanted = torch.bfloat16 if can and used == "AVX512" else torch.float32
    assert drawing("cpu") == wanted and drawing("cuda") == torch.float32
    monkeypatch.delattr(torch.cpu, "get_capabilities")  # an older PyTorch
    assert drawing("cpu") == torch.float32


# -- draw -------------------------------------------------------------------------------------


def _rendering(net: Renderer, motion: np.ndarray) -> Rendering:
    mesh = faces.mesh()

    def meshes(code: np.ndarray) -> np.ndarray:
        return (mesh + 0.01 * code[:, None, :2]).astype(np.float32)

    return Rendering(net, [KeyFrame(faces.picture(), mesh)], motion, meshes, "cpu")


def test_still_is_drawn_as_it_is() -> None:
    drawn = [*_rendering(_renderer(trained=False), np.zeros((1, MOTION), np.float32))]
    assert len(drawn) == 1 and drawn[0].dtype == np.uint8
    assert abs(drawn[0].astype(int) - faces.picture()).max() <= 1


def test_every_iteration_draws_alike_in_any_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    motion = np.random.default_rng(0).normal(size=(5, MOTION)).astype(np.float32)
    monkeypatch.setattr(draw, "BATCH", 2)
    frames = _rendering(_renderer(), motion)
    assert len(frames) == 5
    first, again = iter(frames), iter(frames)
    pairs = [(next(first), next(again)) for _ in range(5)]  # side by side: nothing is shared
    assert next(first, None) is None
    for a, b in pairs:
        assert a.shape == (256, 256, 3) and a.dtype == np.uint8 and a.flags["C_CONTIGUOUS"]
        assert (a == b).all()
    assert any((a[0] != pairs[0][0]).any() for a in pairs[1:])
    monkeypatch.setattr(draw, "BATCH", 3)
    for (a, _), b in zip(pairs, frames, strict=True):
        assert abs(a.astype(int) - b).max() <= 1  # a sum in another order may round otherwise


def test_nothing_to_draw() -> None:
    frames = _rendering(_renderer(), np.zeros((0, MOTION), np.float32))
    assert len(frames) == 0 and [*frames] == []
