"""What the face mesh's network learns from: frames of clips, stills, and places without faces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors.torch import load_file

from avcc.media.finder import found_in
from avcc.media.findernet import FinderNet
from avcc.media.upright import ROOM, frames_of
from avcc.mesh import POINTS
from avcc.pictures import resized
from avcc.training.data import Part, part
from avcc.training.export import restore
from avcc.training.loop import Options
from avcc.training.pairs import mirrored_points
from avcc.training.photos import photos

PARTS = (("hi_train", 0.5), ("lo_train", 0.2), ("stills", 0.3))  # of the cache, and their shares
PICTURE = 256  # pixels of a side
NOWHERE = 0.125  # of the pairs: pictures of faces that are far off
PLACES = 0.125  # of the pairs: pictures of no face at all
DOUBTFUL = -2.5  # logit of the finder, from which its mistakes are worth learning from


class FaceCuts:
    """Pairs of pictures and where to look in them. Photographs without faces come from
    ``options.scenes``; with the stage finder's network in the work folder, what it takes for faces
    there is shown more often."""

    def __init__(self, options: Options) -> None:
        self.parts = [part(options.cache, name, options.tier, teacher=True) for name, _ in PARTS]
        self.share = np.array([share for _, share in PARTS])
        self.seen = [seen(p) for p in self.parts]
        self.chance = [chance(rows) for rows in self.seen]
        self.photos = photos(options.scenes)
        self.mistakes = _mistakes(self.photos, options.work / "finder.safetensors")
        upright = self.upright()
        self.mirror = mirrored_points(upright.mean(0), upright.std(0)[None])

    def upright(self) -> np.ndarray:
        """Some hundred meshes in their own upright frames, -1..1: float32 (N, 478, 2)."""
        rows = []
        for p, seen in zip(self.parts, self.seen, strict=True):
            found = np.concatenate(seen)
            rows.append(p.mesh[found[:: max(1, len(found) // 1500)]])
        mesh = np.concatenate(rows)
        axes, centre = frames_of(mesh)
        return 2 * (mesh - centre) @ np.linalg.inv(axes)

    def drawn(self, rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
        """``count`` / 2 pairs of frames of one clip, float32 meshes; ``axes`` and ``centre`` of
        what to look at, ``warp``: a smooth field, ``face``: whether there is one."""
        rows = []
        for _ in range(count // 2):
            if self.photos and rng.random() < PLACES:
                rows += [self._place(rng), self._place(rng)]
                continue
            i = rng.choice(len(self.parts), p=self.share)
            p, k = self.parts[i], rng.choice(len(self.seen[i]), p=self.chance[i])
            pair = rng.choice(self.seen[i][k], 2)
            bend = _bend(rng)
            mirrored, face = rng.random() < 0.5, rng.random() > NOWHERE
            warp = rng.normal(size=(2, 5, 5)) * rng.choice([0, 0, 0.02])
            for at in pair:
                mesh = p.mesh[at]
                axes, centre = (x[0] for x in frames_of(mesh[None]))
                if mirrored:
                    mesh = mesh[self.mirror]
                    axes = np.diag([-1, 1]) @ axes
                centre = (
                    centre + rng.normal(size=(1, 2)) * rng.choice([0.01, 0.01, 0.03, 0.08]) @ axes
                )
                axes = _turned(rng) @ bend @ axes
                if not face:
                    axes, centre = _elsewhere(rng, axes, centre)
                picture = np.array(p.frames[at])
                if len(picture) < PICTURE:
                    picture = picture.repeat(PICTURE // len(picture), 0).repeat(2, 1)
                rows.append(
                    {
                        "picture": picture,
                        "mesh": mesh,
                        "axes": axes.astype(np.float32),
                        "centre": centre.astype(np.float32),
                        "warp": warp.astype(np.float32),
                        "face": np.array(face, np.float32),
                    }
                )
        return {k: np.stack([row[k] for row in rows]) for k in rows[0]}

    def _place(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Part of a photograph without faces; mostly one that the finder takes for one."""
        i = int(rng.integers(len(self.photos)))
        x, y, size = rng.uniform(0, 1, 3) * [*self.photos[i].shape[1::-1], 300]
        if len(self.mistakes) and rng.random() < 0.75:
            which, x, y, size = self.mistakes[rng.integers(len(self.mistakes))][:4]
            i = int(which)
        photo = self.photos[i]
        half = max(8, round(ROOM * size * np.exp(rng.normal() * 0.15) / 2))
        edge = np.pad(photo, ((half, half), (half, half), (0, 0)), "edge")
        left, top = (int(np.clip(v + rng.normal() * 0.1 * size, 0, n - 1)) for v, n in
                     zip((x, y), photo.shape[1::-1], strict=True))  # fmt: skip
        picture = resized(edge[top : top + 2 * half, left : left + 2 * half], PICTURE, PICTURE)
        axes = _turned(rng) @ np.diag([rng.choice([-1, 1]), 1])
        return {
            "picture": picture,
            "mesh": np.full((POINTS, 2), 0.5, np.float32),
            "axes": axes.astype(np.float32),
            "centre": np.full((1, 2), 0.5, np.float32),
            "warp": np.zeros((2, 5, 5), np.float32),
            "face": np.array(0, np.float32),
        }


def _mistakes(places: list[np.ndarray], finder: Path) -> np.ndarray:
    """Where the stage finder's network, if there is one, sees faces in photographs without:
    (photograph, x, y, size, logit) in pixels."""
    if not places or not finder.exists():
        return np.zeros((0, 5), np.float32)
    net = FinderNet()
    restore(net, load_file(finder), "finder")
    net.eval()
    rows = []
    for i, photo in enumerate(places):
        height, width = photo.shape[:2]
        for share in (1, 2):  # the whole, and so many parts along each side
            for row, column in np.ndindex(share, share):
                top, left = height * row // share, width * column // share
                part = photo[top : top + height // share, left : left + width // share]
                marks = found_in(net, part)
                marks = marks[marks[:, 3] > DOUBTFUL]
                marks[:, :2] += [left, top]
                rows.append(np.concatenate([np.full((len(marks), 1), i), marks], 1))
    return np.concatenate(rows)


def seen(p: Part) -> list[np.ndarray]:
    """The frames with a face of every clip that has some."""
    rows = [r["start"] + np.arange(r["frames"]) for r in p.index]
    found = [row[~np.isnan(p.mesh[row, 0, 0])] for row in rows]
    return [row for row in found if len(row)]


def chance(rows: list[np.ndarray]) -> np.ndarray:
    weight = np.array([len(row) for row in rows], np.float64) ** 0.5
    return weight / weight.sum()


def _bend(rng: np.random.Generator) -> np.ndarray:
    """A pair's common stretch: longer, wider faces, a little sheared."""
    stretch = np.diag(np.exp(rng.normal(size=2) * 0.06))
    stretch[0, 1] = rng.normal() * 0.04
    return stretch


def _turned(rng: np.random.Generator) -> np.ndarray:
    wild = rng.random() < 0.12
    angle = np.radians(rng.uniform(-45, 45) if wild else rng.normal() * 4)
    size = np.exp(rng.normal() * (0.18 if wild else 0.05))
    return size * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])


def _elsewhere(
    rng: np.random.Generator, axes: np.ndarray, centre: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """A frame that doesn't hold the face: beside it, or far too near or too far off."""
    if rng.random() < 0.25:
        return axes * rng.uniform(0.15, 0.3), centre + rng.uniform(-0.3, 0.3, (1, 2)) @ axes
    angle = rng.uniform(0, 2 * np.pi)
    away = rng.uniform(0.6, 1.0) * np.array([[np.cos(angle), np.sin(angle)]])
    return axes * rng.uniform(0.3, 1.1), centre + away @ axes
