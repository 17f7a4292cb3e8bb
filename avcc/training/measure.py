"""How far symbols alone are off, on validation data: the constants of ``diffusion/schedule.py`` and
``quantise/rate.py``."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from avcc.analysis.identity import dearness, fitting_picture, shown_picture
from avcc.analysis.keys import ITSELF, Candidate, acutance, chosen_keys
from avcc.analysis.look import CANDIDATES
from avcc.analysis.mel import LogMel
from avcc.analysis.motion import MotionBank, ShapeBank
from avcc.diffusion.estimate import fitting
from avcc.diffusion.schedule import between
from avcc.evaluation.perceptual import Lpips, distances
from avcc.quantise.codebook import residual_sum
from avcc.quantise.rate import KEY_BYTES, STRIDES
from avcc.quantise.scalar import SHAPE_STEPS, STEPS, rounded, voice_values
from avcc.render.draw import Rendering
from avcc.render.face import Renderer
from avcc.stages import SAMPLES_PER_FRAME, SILENT, KeyFrame
from avcc.training.codes import codes_of
from avcc.training.data import Part, part, voices
from avcc.training.export import acoustic_tensors, restore
from avcc.training.motion import clip_meshes, motion_paths

EYES = (33, 263)  # outer corners


def motion_errors(cache: Path, work: Path) -> dict[tuple[int, int], dict[str, float]]:
    """By (stride, step): mesh error in % of the eye distance, and the spread of what is left of
    coefficients between sent frames, in units of their spread."""
    arrays = dict(np.load(work / "motion.npz"))
    bank, scale = MotionBank(arrays["motion.directions"]), arrays["motion.scale"]
    clips, paths = part(cache, "hi_val"), motion_paths(work)
    out = {}
    for stride in STRIDES:
        for step, size in enumerate(STEPS):
            errors, left = [], []
            for row in clips.index:
                mesh = clip_meshes(clips, row)
                if len(mesh) < 10:
                    continue
                code = bank.coefficients(mesh, mesh[0])
                sent = paths.received(code, stride, step)
                full, _ = between(sent / scale, size / scale)
                left.append((full - code / scale)[stride // 2 :: stride])
                eyes = np.linalg.norm(mesh[:, EYES[0]] - mesh[:, EYES[1]], axis=-1)[:, None]
                wrong = np.linalg.norm(bank.meshes(full * scale, mesh[0]) - mesh, axis=-1)
                errors.append(float((wrong / eyes).mean() * 100))
            spread = float(np.concatenate(left).std())
            out[stride, step] = {"error": float(np.mean(errors)), "between": spread}
    return out


@torch.no_grad()
def voice_errors(cache: Path, work: Path) -> list[dict[str, float]]:
    """By acoustic layers: mean absolute error and spread of the estimator's mel where it sounds."""
    trained = acoustic_tensors(work)
    estimator = fitting(trained).eval()
    restore(estimator, trained, "estimator")
    books, mel = trained["books"].float().numpy(), LogMel()
    spoken = [w for w in voices(cache, "val").waves if len(w) >= 10 * SAMPLES_PER_FRAME]
    codes = codes_of(cache, work, "val")
    found: list[list[np.ndarray]] = [[] for _ in range(len(books) + 1)]
    for wave, code in zip(spoken, codes, strict=True):
        count = min(len(code.semantic), 500)
        true = mel(torch.from_numpy(wave[: count * SAMPLES_PER_FRAME])[None])[0].numpy()
        voice = torch.from_numpy(voice_values(code.voice))[None]
        token = torch.from_numpy(code.semantic[:count])[None]
        sounds = np.repeat(code.semantic[:count] != SILENT, 2)
        for layers in range(len(books) + 1):
            acoustic = residual_sum(code.acoustic[layers][:count], books)
            acoustic[code.semantic[:count] == SILENT] = 0
            guess = estimator(token, torch.from_numpy(acoustic)[None], voice)[0].numpy()
            found[layers].append((guess - true)[sounds])
    every = [np.concatenate(rows) for rows in found]
    return [{"error": float(np.abs(x).mean()), "off": float(x.std())} for x in every]


@torch.no_grad()
def picture_errors(
    cache: Path, work: Path, perceptual: Path, clips: int = 14, shown: int = 8
) -> tuple[dict[int, float], float]:
    """LPIPS of drawn frames by bytes of the key frame, at finely quantised motion: at no distance
    from the key frame, and what a unit of distance (``analysis.keys``) adds.

    Means, and least squares within clips, over frames of validation clips; the key frame is the one
    that would be sent.
    """
    arrays = dict(np.load(work / "motion.npz"))
    bank = MotionBank(arrays["motion.directions"])
    shape = ShapeBank(arrays["shape.mean"], arrays["shape.directions"])
    renderer = Renderer().eval()
    restore(renderer, load_file(work / "renderer.safetensors"), "renderer")
    lpips, held = Lpips(perceptual), part(cache, "hi_val")
    rows: list[tuple[int, int, float, float]] = []  # clip, index into KEY_BYTES, distance, LPIPS
    for i in np.linspace(0, len(held.index) - 1, clips).astype(int):
        row = held.index[i]
        there = np.flatnonzero(~np.isnan(held.mesh[row["start"] :][: row["frames"], 0, 0]))
        if not len(there):  # a title card
            continue
        there += row["start"]
        key = _key(held, there, bank)
        at = there[np.linspace(0, len(there) - 1, shown).astype(int)]
        code = bank.coefficients(held.mesh[at], key.mesh)
        away = np.linalg.norm(code, axis=1) + ITSELF
        code = (rounded(code, STEPS[1]) * STEPS[1]).astype(np.float32)
        vector = rounded(shape.vector(key.mesh), SHAPE_STEPS) * SHAPE_STEPS
        mesh = shape.mesh(vector.astype(np.float32))
        dear = dearness(key.picture)
        for number, size in enumerate(KEY_BYTES):
            coded = fitting_picture(key.picture, round(size * dear))
            if coded is None:
                continue
            keys = [KeyFrame(shown_picture(*coded), mesh, size=len(coded[0]))]
            drawn = Rendering(renderer, keys, code, partial(bank.meshes, key=mesh), "cpu")
            pair = distances(lpips, held.frames[at], np.stack(list(drawn)))
            rows += [(int(i), number, float(d), float(x)) for d, x in zip(away, pair, strict=True)]
    clip, which, away, seen = (np.array(column) for column in zip(*rows, strict=True))
    pieces = [(clip == c) & (which == n) for c in np.unique(clip) for n in np.unique(which)]
    pieces = [piece for piece in pieces if piece.any()]
    # within clips: that faces differ in how hard they are must not count as distance
    moved = np.concatenate([away[piece] - away[piece].mean() for piece in pieces])
    lost = np.concatenate([seen[piece] - seen[piece].mean() for piece in pieces])
    slope = float(moved @ lost / (moved @ moved))
    still = seen - slope * away
    sizes = {KEY_BYTES[n]: float(still[which == n].mean()) for n in np.unique(which)}
    return sizes, slope


def _key(held: Part, there: np.ndarray, bank: MotionBank) -> KeyFrame:
    """The key frame of a clip whose face is seen in the frames ``there``."""
    some = there[:: max(1, len(there) // CANDIDATES)]
    candidates = [
        Candidate(
            KeyFrame(np.array(held.frames[k]), held.mesh[k], int(k)),
            bank.project(held.mesh[k]),
            acutance(held.frames[k]),
        )
        for k in some
    ]
    places = np.stack([c.place for c in candidates])
    return chosen_keys(candidates, some, places)[0][0]
