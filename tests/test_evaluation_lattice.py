"""The grid of two pixels: what is one, and what isn't."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from avcc.evaluation.lattice import WINDOW, grid, lattice

SIDE = 64


def pattern(kind: str) -> np.ndarray:
    """+1 and -1 in turn: from column to column, row to row, or both. (SIDE, SIDE, 1)."""
    y, x = np.mgrid[:SIDE, :SIDE]
    return (1 - 2 * ({"columns": x, "rows": y, "chess": x + y}[kind] % 2))[..., None]


def film(picture: np.ndarray) -> np.ndarray:
    return np.repeat(np.clip(picture, 0, 255).astype(np.uint8)[None], 2, 0)


@pytest.mark.parametrize("kind", ["columns", "rows", "chess"])
def test_a_grid_is_as_strong_as_it_was_drawn(kind: str) -> None:
    """In one of three directions, wherever it begins."""
    flat = np.full((SIDE, SIDE, 3), 120.0)
    for sign in (1, -1):
        assert grid(film(flat), film(flat + sign * 6 * pattern(kind))) == pytest.approx(2, abs=0.01)
    found = lattice(torch.from_numpy(np.float32(pattern(kind)))[None, None, ..., 0])
    strong = found.abs().amax((0, 2, 3))
    assert strong.tolist() == [float(kind == one) for one in ("columns", "rows", "chess")]


def test_other_detail_is_no_grid() -> None:
    rng = np.random.default_rng(3)
    flat = np.full((SIDE, SIDE, 3), 120.0)
    steep = flat + np.linspace(-90, 90, SIDE)[None, :, None]
    edge = flat + 60 * (np.arange(SIDE) > 31)[None, :, None]
    assert grid(film(flat), film(steep)) < 0.1
    noise = rng.normal(0, 6, flat.shape)
    grain = grid(film(flat), film(flat + noise))
    assert grain < 0.12 * 6, "grain has no phase that it keeps"
    assert grid(film(flat), film(edge)) < 0.5
    assert grid(film(flat + noise), film(flat)) == pytest.approx(-grain)


def test_its_size() -> None:
    places = (2 * SIDE // WINDOW - 1, 2 * SIDE // WINDOW - 1)
    found = lattice(torch.zeros(2, 3, SIDE + 2, SIDE + 2))
    assert found.shape == (2, 9, *places)
