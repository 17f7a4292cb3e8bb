"""Stage ``finder``: faces found in scenes that are put together from clips, stills and places."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from avcc.media.finder import marked
from avcc.media.findernet import CELL, LEAST, MOST, TYPICAL, FinderNet
from avcc.media.upright import ROOM, frames_of
from avcc.training.data import Part, part
from avcc.training.export import restore
from avcc.training.facecuts import PARTS, chance, seen
from avcc.training.loop import Options, Stage
from avcc.training.photos import photos

SIDE = 160  # pixels of a scene
HELD = 256  # scenes of validation
NEAR = 0.3  # of a face's size, within which a mark is right
SURE = 0.0  # logit from which a mark counts


@dataclass(frozen=True)
class People:
    """Frames with a face: where it is and how large, in shares of the frame's side."""

    part: Part
    frames: list[np.ndarray]  # of each clip
    chance: np.ndarray  # of each clip
    centre: np.ndarray
    size: np.ndarray


class FinderStage(Stage):
    """Focal loss of the marks, absolute errors of place and size where a face is."""

    name = "finder"
    batch = 24

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        torch.manual_seed(options.seed)
        self.train = [_people(options.cache, name, options.tier) for name, _ in PARTS]
        self.share = np.array([share for _, share in PARTS])
        self.places = photos(options.scenes)
        held = [_people(options.cache, "hi_val", "PW")]
        rng = np.random.default_rng(1)
        self.held = [scene(rng, held, np.ones(1), self.places) for _ in range(HELD)]
        net = FinderNet()
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.nets["finder"] = net
        self.optims["finder"] = self.adam(net, 2e-3, weight_decay=0.02)

    def begin(self, tensors: dict[str, Tensor]) -> None:
        restore(self.nets["finder"], tensors, "finder")

    def _drawn(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        made = [scene(rng, self.train, self.share, self.places) for _ in range(self.batch)]
        return np.stack([s for s, _ in made]), np.stack([goal(f) for _, f in made])

    def step(self, i: int) -> dict[str, float]:
        picture, wanted = (torch.as_tensor(v).to(self.o.device) for v in self.next(self._drawn))
        with self.autocast():
            made = self.nets["finder"](_input(picture)).float()
        heat, known = wanted[:, 0], wanted[:, 4] > 0
        logit = made[:, 0]
        sure = logit.sigmoid()
        hit = (1 - sure).square() * F.logsigmoid(logit) * (heat == 1)
        miss = (1 - heat) ** 4 * sure.square() * F.logsigmoid(-logit) * (heat < 1) * (heat >= 0)
        count = (heat == 1).sum().clamp(min=1)
        mark = -(hit + miss).sum() / count
        off = (made[:, 1:] - wanted[:, 1:4]).abs().sum(1)[known].sum() / known.sum().clamp(min=1)
        self.descend("finder", mark + off)
        return {"mark": mark.item(), "off": off.item()}

    @torch.no_grad()
    def validate(self, nets: nn.ModuleDict) -> dict[str, float]:
        """Scenes of validation people: faces ``found`` of those within the range, marks a scene
        that are ``wrong``, and errors of place and size in shares of the face."""
        found = faces = wrong = 0
        away, sizes = [], []
        for picture, there in self.held:
            marks = marked(nets["finder"](_input(torch.from_numpy(picture[None])))[0])
            marks = marks[marks[:, 3] > SURE]
            taken = np.zeros(len(marks), bool)
            for x, y, size in there:
                near = np.hypot(marks[:, 0] - x, marks[:, 1] - y) < NEAR * size
                taken |= near
                if not LEAST <= size <= MOST:
                    continue
                faces += 1
                if near.any():
                    best = marks[near][np.argmax(marks[near, 3])]
                    found += 1
                    away.append(np.hypot(best[0] - x, best[1] - y) / size)
                    sizes.append(abs(np.log(best[2] / size)))
            wrong += int((~taken).sum())
        share = found / max(faces, 1)
        figures = {"score": 1 - share + wrong / HELD, "found": share, "wrong": wrong / HELD}
        return figures | {"away": float(np.mean(away or [1])), "size": float(np.mean(sizes or [1]))}

    def export(self, nets: nn.ModuleDict) -> dict[str, Tensor]:
        return {f"finder.{k}": v for k, v in nets["finder"].state_dict().items()}


def goal(faces: list[tuple[float, float, float]]) -> np.ndarray:
    """What the network should say of (x, y, size) in pixels: float32 (5, 20, 20): 1 at a centre,
    less around it and -1 where it doesn't matter; place; size; and where those count."""
    cells = SIDE // CELL
    out = np.zeros((5, cells, cells), np.float32)
    at = np.arange(cells) * CELL + CELL / 2
    for x, y, size in faces:
        column, row = int(x // CELL), int(y // CELL)
        if not (0 <= column < cells and 0 <= row < cells):
            continue
        away = np.hypot(at[None, :] - x, at[:, None] - y)
        inside = np.exp(-0.5 * (away / (0.12 * size)) ** 2)
        if not LEAST <= size <= MOST:
            out[0][away < 0.5 * size] = -1
            continue
        out[0] = np.where(out[0] < 0, out[0], np.maximum(out[0], np.minimum(inside, 0.99)))
        near = away <= max(0.15 * size, 0.6 * CELL)
        out[1][near] = ((x - at[None, :]) / CELL * np.ones_like(away))[near]
        out[2][near] = ((y - at[:, None]) / CELL * np.ones_like(away))[near]
        out[3][near] = np.log(size / TYPICAL)
        out[4][near] = 1
        out[0, row, column] = 1
    return out


def scene(
    rng: np.random.Generator, people: list[People], share: np.ndarray, places: list[np.ndarray]
) -> tuple[np.ndarray, list[tuple[float, float, float]]]:
    """A picture uint8 (160, 160, 3) with 0 to 3 faces, and each one's (x, y, size) in pixels."""
    picture = Image.fromarray(_place(rng, places))
    faces: list[tuple[float, float, float]] = []
    for _ in range(int(rng.choice([0, 1, 2], p=[0.6, 0.3, 0.1]))):
        _distract(rng, picture, people[rng.choice(len(people), p=share / share.sum())])
    for _ in range(int(rng.choice([0, 1, 2, 3], p=[0.2, 0.5, 0.2, 0.1]))):
        who = people[rng.choice(len(people), p=share / share.sum())]
        clip = rng.choice(len(who.frames), p=who.chance)
        frame = int(rng.choice(who.frames[clip]))
        size = float(np.exp(rng.uniform(np.log(12), np.log(110))))
        x, y = rng.uniform(0.1, 0.9, 2) * SIDE
        if any(np.hypot(x - a, y - b) < 0.7 * (size + s) for a, b, s in faces):
            continue
        faces.append((x, y, size))
        _paste(rng, picture, who, frame, faces[-1])
    return _worn(rng, np.asarray(picture)), faces


def _paste(
    rng: np.random.Generator,
    picture: Image.Image,
    who: People,
    frame: int,
    face: tuple[float, float, float],
) -> None:
    x, y, size = face
    whole = Image.fromarray(np.array(who.part.frames[frame]))
    centre, share = who.centre[frame], who.size[frame]
    if rng.random() < 0.5:
        whole = whole.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        centre = np.array([1 - centre[0], centre[1]])
    side = max(8, round(size / share))
    small = whole.resize((side, side), Image.Resampling.LANCZOS, reducing_gap=2.0)
    # the frame's own surroundings, all of them or a part: people don't float
    mask = np.ones((side, side), np.float32)
    if rng.random() < 0.7:
        rows, columns = np.mgrid[0:side, 0:side] / side
        reach = rng.uniform(0.75, 1.3)
        away = np.hypot((columns - centre[0]) / 0.9, rows - centre[1] + 0.06 * share)
        away = np.minimum(away, np.where(rows > centre[1], 0.8 * abs(columns - centre[0]), 9))
        mask = np.clip((reach * share - away) / (0.15 * share), 0, 1)
    angle = rng.normal() * 8 if rng.random() < 0.7 else rng.uniform(-35, 35)
    middle = (centre[0] * side, centre[1] * side)
    soft = Image.fromarray(np.uint8(255 * mask))
    small = small.rotate(angle, Image.Resampling.BILINEAR, center=middle)
    soft = soft.rotate(angle, Image.Resampling.BILINEAR, center=middle)
    picture.paste(small, (round(x - middle[0]), round(y - middle[1])), soft)


def _distract(rng: np.random.Generator, picture: Image.Image, who: People) -> None:
    """What lies under somebody's chin: skin and clothes, but no face."""
    frame = int(rng.choice(who.frames[rng.choice(len(who.frames), p=who.chance)]))
    whole = Image.fromarray(np.array(who.part.frames[frame]))
    chin = round((who.centre[frame, 1] + 0.55 * who.size[frame]) * whole.height)
    if chin > 0.85 * whole.height:
        return
    below = whole.crop((0, chin, whole.width, whole.height))
    share = rng.uniform(0.15, 0.8) * SIDE / whole.width
    small = below.resize((max(4, round(below.width * share)), max(4, round(below.height * share))))
    picture.paste(
        small.rotate(rng.choice([0, 90, 180])), tuple(rng.integers(-20, SIDE, 2).tolist())
    )


def _place(rng: np.random.Generator, places: list[np.ndarray]) -> np.ndarray:
    """A background: part of a photograph, or noise of some roughness, or plain."""
    if places and rng.random() < 0.75:
        photo = places[rng.integers(len(places))]
        side = int(min(photo.shape[:2]) * np.exp(rng.uniform(np.log(0.12), 0)))
        top, left = (int(rng.integers(0, n - side + 1)) for n in photo.shape[:2])
        cut = Image.fromarray(photo[top : top + side, left : left + side])
        if rng.random() < 0.5:
            cut = cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return np.array(cut.resize((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=2.0))
    colour = rng.uniform(0, 255, 3)
    grains = int(rng.choice([2, 4, 10, 30, 80]))
    rough = rng.normal(size=(grains, grains, 3)) * rng.uniform(0, 80) + colour
    small = Image.fromarray(np.uint8(np.clip(rough, 0, 255)))
    return np.array(small.resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def _worn(rng: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    """Other light, noise, and a coder's or a lens's blur."""
    x = picture.astype(np.float32) / 255
    if rng.random() < 0.15:
        x = np.repeat(x.mean(-1, keepdims=True), 3, -1)
    x = x ** np.exp(0.3 * rng.normal())
    x = x * np.exp(0.25 * rng.normal() + 0.08 * rng.normal(size=3)) + 0.05 * rng.normal()
    x = x + rng.normal(size=x.shape) * rng.uniform(0, 0.04)
    made = Image.fromarray(np.uint8(255 * np.clip(x, 0, 1)))
    if rng.random() < 0.3:
        small = int(SIDE / rng.uniform(1.2, 2.5))
        made = made.resize((small, small), Image.Resampling.BILINEAR)
        made = made.resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return np.array(made)


def _input(picture: Tensor) -> Tensor:
    x = picture.permute(0, 3, 1, 2).float() / 127.5 - 1
    return x.contiguous(memory_format=torch.channels_last)


def _people(cache: Path, name: str, tier: str) -> People:
    found = part(cache, name, tier, teacher=True)
    frames = seen(found)
    axes, centre = frames_of(found.mesh)
    size = np.linalg.norm(axes[:, 0], axis=-1) / ROOM
    return People(found, frames, chance(frames), centre[:, 0], size)
