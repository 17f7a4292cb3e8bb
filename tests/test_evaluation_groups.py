"""Figures by what kind of clip it is."""

from __future__ import annotations

import numpy as np
import pytest

from avcc.evaluation.bench import Row
from avcc.evaluation.groups import grouped, traits, yaws
from avcc.evaluation.kinds import table, tables
from tests.faces import mesh as face


def _turned(degrees: list[float]) -> np.ndarray:
    """Meshes (N, 478, 2) of a head turned to a side, seen from afar: only ears and nose matter."""
    out = []
    for angle in np.radians(degrees):
        points = 100 * face()
        depth = np.zeros(len(points))
        # MediaPipe's canonical face, in cm: ears 7.66 to the sides, the nose's tip 9.91 before them
        points[234], points[454], points[1] = (-7.66, 0), (7.66, 0), (0, 2)
        depth[1] = 9.91
        turn = points[:, 0] * np.cos(angle) + depth * np.sin(angle)
        out.append(np.stack([turn, points[:, 1]], 1))
    return np.stack(out).astype(np.float32)


def test_the_angle_of_a_turned_head() -> None:
    angles = [-30.0, -10, 0, 5, 20, 35]
    assert yaws(_turned(angles)) == pytest.approx(angles, abs=0.1)
    assert yaws(9 * _turned(angles) + 50) == pytest.approx(angles, abs=0.1)


def test_traits_of_a_clip() -> None:
    still = np.repeat(128 * face()[None], 5, 0)
    frames = np.full((5, 128, 128, 3), 200, np.uint8)
    frames[:, 20:110, 20:110] = (90, 90, 90)
    found = traits(frames, still)
    assert found["turn"] == found["moves"] == 0 and found["light"] == pytest.approx(90, abs=1)
    moved = still.copy()
    eyes = np.linalg.norm(still[0, [33, 133]].mean(0) - still[0, [362, 263]].mean(0))
    moved[4] += (eyes, 0)
    moved[1] = np.nan  # one of four that have a face stands an eye distance away
    assert traits(frames, moved)["moves"] == pytest.approx(25)
    assert traits(frames, np.full_like(still, np.nan)) == {}


def test_means_by_groups() -> None:
    rows = [
        Row(f"clip{i}", "avcc", 2000, 4, size, {"lpips": loss}, {"turn": turn, "light": 100})
        for i, (turn, loss, size) in enumerate([(1, 0.1, 9), (4, 0.2, 9), (12, 0.4, 9), (3, 9, 0)])
    ]
    rows += [Row("no face", "avcc", 2000, 4, 9, {"lpips": 7})]
    assert {k: len(v) for k, v in grouped(rows, "turn").items()} == {"under 5": 3, "12 or more": 1}
    lines = {line[:40].strip(): line[40:].split() for line in table(rows).splitlines()}
    assert lines["avcc 2k"][:2] == ["clips", "lpips"]
    assert lines["head turned, degrees: under 5"] == ["2", "0.150"]  # what failed isn't counted
    assert lines["head turned, degrees: 12 or more"] == ["1", "0.400"]
    assert lines["luma of the face, of 255: under 105"] == ["3", "0.233"]


def test_tables_by_groups_and_languages() -> None:
    rows = [
        Row(f"clip{i}", coder, 2000, 4, 9, {"lpips": loss + i / 10, "pesq": 2}, {"moves": moves})
        for coder, loss in (("avcc", 0.1), ("x265", 0.3))
        for i, moves in enumerate((1, 2, 30))
    ]
    rows.insert(0, Row("clip0", "avcc", 4000, 4, 9, {"lpips": 0.05}, {"moves": 1}))
    rows += [Row("lost", "avcc", 2000, 4, 0, traits={"moves": 1}, language="English")]
    (moves,) = tables(rows)
    assert moves.title == "Face moves, % of eye distance"
    assert moves.heads[:4] == ["clips", "coder", "asked, kbps", "how many"]
    assert moves.heads[4:] == ["LPIPS (squeeze)", "PESQ-WB"], "what nobody measured isn't there"
    assert moves.lines == [
        ["under 10", "avcc", "2", "2", "0.1500", "2.000"],
        ["under 10", "x265", "2", "2", "0.3500", "2.000"],
        ["under 10", "avcc", "4", "1", "0.0500", ""],
        ["20 or more", "avcc", "2", "1", "0.3000", "2.000"],
        ["20 or more", "x265", "2", "1", "0.5000", "2.000"],
    ]
    for row, spoken in zip(rows[1:], ("German", "English", "German"), strict=False):
        row.language = spoken
    found = tables(rows)[1]
    assert found.title == "Language"
    assert [line[:4] for line in found.lines] == [
        ["English", "avcc", "2", "1"],
        ["German", "avcc", "2", "2"],
    ]
    assert "language: German" in table(rows) and tables([]) == []
