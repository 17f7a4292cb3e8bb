"""Which of the sums of codes that are near a latent is sent: what it costs counts as well.

A code is cheap where the code before foretells it, so a sum that is a little farther away may save
more bits than another layer would buy. The best path through all candidates of a segment is found
(Viterbi 1967), by distortion and rate together, as entropy-constrained vector quantisation weighs
them (Chou, Lookabaugh and Gray 1989). Only an encoder does this; a decoder needn't know.
"""

from __future__ import annotations

import numpy as np

from avcc.entropy.tables import TOTAL, Codebook
from avcc.quantise.codebook import AT_ONCE, residual_choices
from avcc.stages import SEGMENT_FRAMES

# Share of the distortion that a bit has to save. A further layer of 6 to 8 bits takes 4 to 6 % for
# each of them (validation voices), so this is as much as other bits buy.
A_BIT = 0.05


class Trellis:
    """The prices of one codebook."""

    def __init__(self, book: Codebook) -> None:
        names = [f"acoustic_{layer}" for layer in range(book.layers)]
        tables = [book.table(name) for name in names]
        self._bits = (np.log2(TOTAL) - np.log2(np.stack(tables))).astype(np.float32)
        self._classes = book.arrays["context.acoustic_class"].astype(np.int64)
        self._absent = book.acoustic_classes
        self._groups = np.array(book.token_class)
        self._books = book.arrays["acoustic.books"].astype(np.float32)

    def tokens(self, latents: np.ndarray, semantic: np.ndarray) -> list[np.ndarray]:
        """Acoustic tokens int64 (N, n) for every number of layers n from none to all, of latents
        float32 (N, 32) and semantic tokens int64 (N,). Those under silence are zero."""
        count = len(latents)
        # written in place: parts that are joined at the end would stand in memory twice
        out = [np.zeros((count, n), np.int64) for n in range(len(self._books) + 1)]
        for a in range(0, count, AT_ONCE):
            w = slice(a, a + AT_ONCE)
            found = residual_choices(latents[w], self._books)
            for tokens, choices in zip(out, found, strict=True):
                tokens[w] = self.chosen(*choices, semantic[w])
        return out

    def chosen(self, paths: np.ndarray, away: np.ndarray, semantic: np.ndarray) -> np.ndarray:
        """The codes int64 (N, n) to send for N frames from the first of a segment on.

        ``paths``: (N, B, n), candidates of each; ``away``: float32 (N, B), how far their sums are,
        squared; ``semantic``: int64 (N,), tokens, the last of which means silence.
        """
        count, _, layers = paths.shape
        if not layers or not count:
            return np.zeros((count, layers), np.int64)
        sounds = self._groups[semantic] < self._groups[-1]
        if not sounds.any():
            return np.zeros((count, layers), np.int64)
        worth = A_BIT * float(away[sounds].min(1).mean())
        given = _segments(paths), _segments(away), _segments(semantic), _segments(sounds)
        picked = self._best(*given, worth).ravel()[:count]
        return np.where(sounds[:, None], paths[np.arange(count), picked], 0).astype(np.int64)

    def _best(
        self,
        paths: np.ndarray,
        away: np.ndarray,
        semantic: np.ndarray,
        sounds: np.ndarray,
        worth: float,
    ) -> np.ndarray:
        """Numbers of candidates (S, T), of S segments side by side."""
        segments, frames, beams, layers = paths.shape
        rows = self._bits.shape[1]
        layer = np.arange(layers)
        flat = self._bits[:layers].ravel()
        total = np.zeros((segments, beams), np.float32)
        back = np.zeros((frames, segments, beams), np.int64)
        for t in range(frames):
            before = np.full((segments, 1, layers), self._absent)
            if t:
                known = sounds[:, t - 1, None, None]
                before = np.where(known, self._classes[layer, paths[:, t - 1]], self._absent)
            row = self._groups[semantic[:, t], None, None] * (self._absent + 1) + before
            at = ((layer * rows + row)[:, :, None] * 256) + paths[:, t, None]
            reach = total[..., None] + worth * flat[at].sum(-1)
            best = np.where(sounds[:, t, None], reach.min(1) + away[:, t], total.min(1)[:, None])
            back[t] = np.where(sounds[:, t, None], reach.argmin(1), total.argmin(1)[:, None])
            total = best
        out = np.empty((segments, frames), np.int64)
        at = total.argmin(1)
        for t in range(frames - 1, -1, -1):
            out[:, t] = at
            at = back[t, np.arange(segments), at]
        return out


def _segments(x: np.ndarray) -> np.ndarray:
    """(N, ...) -> (S, 100, ...), the last one filled up with what comes last; alone, a segment
    keeps its length."""
    count = len(x)
    frames = min(count, SEGMENT_FRAMES)
    missing = -count % frames
    return np.concatenate([x, np.repeat(x[-1:], missing, 0)]).reshape(-1, frames, *x.shape[1:])
