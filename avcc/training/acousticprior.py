"""Stage ``acousticprior``: what foretells acoustic tokens, however many layers of them."""

from __future__ import annotations

import numpy as np
import torch

from avcc.entropy.forecast import acoustic_rows
from avcc.entropy.places import NONE, AcousticLayout
from avcc.entropy.prior import UNIT, logarithms
from avcc.entropy.tables import Codebook
from avcc.quantise.trellis import Trellis
from avcc.stages import SEGMENT_FRAMES, SILENT
from avcc.training.codes import codes_of
from avcc.training.loop import Options
from avcc.training.priors import Batch, PriorNet, PriorStage

DEPTHS = (1, 2, 3, 4, 5, 6, 8, 10, 12)  # layers to learn from
LIKELY = 0.8  # of each beside that of the one before: files have few
Part = tuple[np.ndarray, np.ndarray]  # semantic tokens (T,) and acoustic ones (T, n) of a segment


class AcousticPriorStage(PriorStage):
    """Of acoustic tokens, however many layers of them."""

    name = "acousticprior"
    kind = "acoustic"
    width = 160
    batch = 32

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        book = self.book
        tables = [book.table(f"acoustic_{layer}") for layer in range(book.layers)]
        self._logs = torch.from_numpy(logarithms(np.stack(tables)) / UNIT).float()
        depths = [n for n in DEPTHS if n <= book.layers]
        chance = LIKELY ** np.arange(len(depths))
        self._depths, self._chance = depths, chance / chance.sum()
        self._coded = {split: _voices(options, split, book, depths) for split in ("train", "val")}

    def made(self) -> PriorNet:
        layout, books = AcousticLayout(self.book.layers), self.book.arrays["acoustic.books"]
        net = PriorNet(layout.size, layout.count, 256, self.width)
        # Codes that stand for neighbouring vectors begin as neighbours.
        vectors = torch.from_numpy(books.astype(np.float32))
        with torch.no_grad():
            for block in range(3):
                at = block * layout.count * (NONE + 1)
                part = net.lookup[at : at + layout.count * (NONE + 1)]
                part = part.view(layout.count, NONE + 1, self.width)
                part[:, :NONE] += vectors @ torch.randn(vectors.shape[-1], self.width) / 4
        return net

    def drawn(self, rng: np.random.Generator) -> Batch:
        depth = int(rng.choice(self._depths, p=self._chance))
        known = self._coded["train"][depth]
        chosen = rng.integers(0, len(known), self.batch)
        return self._batch([known[k] for k in chosen], depth)

    def held(self) -> list[Batch]:
        return [self._batch(known, depth) for depth, known in self._coded["val"].items()]

    def _batch(self, segments: list[Part], depth: int) -> Batch:
        layout = AcousticLayout(self.book.layers)
        found: list[tuple[np.ndarray, ...]] = []
        each = np.arange(depth)
        for semantic, token in segments:
            sounds = semantic != SILENT
            code = np.where(sounds[:, None], token, NONE)
            before = np.concatenate([np.full((2, depth), NONE), code])
            last = before[1:-1]
            row = acoustic_rows(self.book, semantic, last)
            told = layout.before(last, before[:-2])
            found.append((told[sounds], code[sounds], row[sounds]))
        told, symbol, rows = (np.concatenate(of) for of in zip(*found, strict=True))
        at = np.full((len(told), 1), layout.sent(depth))
        now = layout.now(0, 0) + each * (NONE + 1) + symbol
        whole = np.concatenate([told, at], 1), now, layout.bias(0) + each, symbol
        logs = self._logs[torch.from_numpy(each), torch.from_numpy(rows)]
        return *(torch.from_numpy(x) for x in whole), logs


def _voices(o: Options, split: str, book: Codebook, depths: list[int]) -> dict[int, list[Part]]:
    """Segments of semantic (T,) and acoustic tokens (T, n), by layers n."""
    trellis = Trellis(book)
    out: dict[int, list[Part]] = {n: [] for n in depths}
    for one in codes_of(o.cache, o.work, split, o.tier, o.hours if split == "train" else 0):
        tokens = trellis.tokens(one.latents, one.semantic)
        for a in range(0, len(one.semantic), SEGMENT_FRAMES):
            part = slice(a, a + SEGMENT_FRAMES)
            if (one.semantic[part] != SILENT).any():
                for n in depths:
                    out[n].append((one.semantic[part], tokens[n][part].astype(np.int64)))
    return out
