"""The codebook: every integer table and context that the entropy coder stands on.

A codebook is one safetensors file, written once after training. Its tables are integer frequencies
that sum to 2^24, so no float takes part between bytes and symbols and a stream decodes to the same
symbols everywhere (docs/format.md, "Tables"). The file is named in each stream by the start of its
SHA-256, so a decoder can't read a stream with tables that the encoder didn't have.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from avcc.entropy import prior as priors
from avcc.entropy.places import SIGNED, AcousticLayout, MotionLayout
from avcc.entropy.prior import TOTAL, Prior
from avcc.errors import ModelError

REACH = 30  # a signed value v with |v| <= REACH is the symbol v + REACH
ESCAPE = 61  # the symbol that says: sign and magnitude follow as plain bits
MOTION_ROWS = 36  # 12 levels of activity of a coefficient, times 3 of the frame so far
# A coefficient's adaptive mean of |difference|, in 1/16 steps, falls in level 0 to 11: as many of
# these bounds as it reaches. About a factor 1.5 apart, as far as integers allow.
BOUNDS = (1, 2, 3, 5, 8, 12, 18, 28, 44, 72, 128)
LAYERS_MOST = 16  # acoustic layers that a head can name
ID_BYTES = 4


@dataclass(frozen=True, eq=False)
class Codebook:
    """Tables and contexts, checked; ``arrays`` also holds whatever else the file carries.

    ``id``: 4 bytes, the start of the SHA-256 of the file. ``arrays``: name -> array; those that
    start with ``table.`` are uint32 (contexts, symbols), the others belong to their users. Two
    codebooks are never equal unless they are the same object (models are cached per object).
    """

    id: bytes
    arrays: Mapping[str, np.ndarray]

    @classmethod
    def load(cls, path: Path | str) -> Codebook:
        """Read a safetensors file; ``ModelError`` if it is missing, damaged or senseless."""
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise ModelError(f"The codebook {path} can't be read: {error.strerror}.") from error
        try:
            arrays = safetensors.numpy.load(data)
        except (SafetensorError, ValueError, KeyError, TypeError) as error:
            raise ModelError(f"The codebook {path} isn't a safetensors file: {error}.") from error
        return cls._checked(data, arrays)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Codebook:
        """A codebook of these arrays; its id is that of the file that ``dump`` would write."""
        return cls._checked(dump(arrays), arrays)

    @classmethod
    def blank(
        cls, contexts: Mapping[str, np.ndarray], shape: int, voice: tuple[int, int]
    ) -> Codebook:
        """A codebook with flat tables, for counting before any table is trained.

        ``contexts``: the ``context.*`` arrays. ``shape``: M, values of the mesh. ``voice``: (V,
        levels) of the voice code.
        """
        arrays = dict(contexts)
        for name, size in table_shapes(contexts, shape, voice).items():
            arrays[f"table.{name}"] = frequencies(np.zeros(size), 1.0)
        return cls.from_arrays(arrays)

    @classmethod
    def _checked(cls, data: bytes, arrays: Mapping[str, np.ndarray]) -> Codebook:
        book = cls(hashlib.sha256(data).digest()[:ID_BYTES], dict(arrays))
        _check(book)
        return book

    def table(self, name: str) -> np.ndarray:
        """The table ``table.<name>``, uint32 (contexts, symbols)."""
        return self.arrays[f"table.{name}"]

    @cached_property
    def tables(self) -> dict[str, np.ndarray]:
        """All tables by their short names (without ``table.``)."""
        return {k[6:]: a for k, a in self.arrays.items() if k.startswith("table.")}

    # What follows is what the traversal needs as Python lists: indexing them is several times
    # faster than indexing arrays one symbol at a time.

    @property
    def directions(self) -> int:
        """K, motion coefficients a frame."""
        return int(self.arrays["context.motion_first"].shape[1])

    @property
    def steps(self) -> int:
        """How many quantiser steps the motion contexts know."""
        return int(self.arrays["context.motion_first"].shape[0])

    @property
    def layers(self) -> int:
        """L, the most acoustic layers that a stream of this codebook can have."""
        return int(self.arrays["context.acoustic_class"].shape[0])

    @cached_property
    def motion_first(self) -> list[list[int]]:
        """Rows into ``table.motion_first``: [step][coefficient]."""
        return self.arrays["context.motion_first"].tolist()

    @cached_property
    def motion_start(self) -> list[list[int]]:
        """Start states of the adaptive means, in 1/16 steps: [step][coefficient]."""
        return self.arrays["context.motion_start"].tolist()

    @cached_property
    def token_class(self) -> list[int]:
        """Class of each semantic token."""
        return self.arrays["context.semantic_class"].tolist()

    @cached_property
    def token_rank(self) -> list[int]:
        """Index of each semantic token inside its class."""
        return self.arrays["context.semantic_rank"].tolist()

    @cached_property
    def members(self) -> list[list[int]]:
        """Tokens of each class, in the order of their ranks."""
        return _members(self.arrays["context.semantic_class"], self.arrays["context.semantic_rank"])

    @property
    def words(self) -> bool:
        """Whether semantic tokens say more than where there is silence."""
        return len(self.members) > 2

    @property
    def depths(self) -> range:
        """Numbers of acoustic layers that a voice can be made out with."""
        return range(0 if self.words else 1, self.layers + 1)

    @cached_property
    def motion_prior(self) -> Prior | None:
        """What foretells changes of coefficients, if the codebook has it."""
        if "prior.motion.lookup" not in self.arrays:
            return None
        return Prior(self.arrays, "motion", ["motion"] * self.directions)

    @cached_property
    def acoustic_prior(self) -> Prior | None:
        """The same for acoustic tokens."""
        if "prior.acoustic.lookup" not in self.arrays:
            return None
        names = [f"acoustic_{layer}" for layer in range(self.layers)]
        return Prior(self.arrays, "acoustic", names)

    @cached_property
    def acoustic_class(self) -> list[list[int]]:
        """Class of each acoustic token: [layer][token]."""
        return self.arrays["context.acoustic_class"].tolist()

    @cached_property
    def acoustic_classes(self) -> int:
        """P, classes of acoustic tokens (the same in all layers; 1 if there is no layer)."""
        return _classes(self.arrays["context.acoustic_class"])


def dump(arrays: Mapping[str, np.ndarray]) -> bytes:
    """The bytes of a codebook file: safetensors with the names sorted, so equal in, equal out."""
    # Contiguous copies: safetensors writes the raw buffer, whatever the strides say.
    return safetensors.numpy.save({k: np.ascontiguousarray(arrays[k]) for k in sorted(arrays)})


def frequencies(counts: np.ndarray, prior: np.ndarray | float) -> np.ndarray:
    """Tables from counts: uint32 of the same shape, rows sum to 2^24, entries at least 1.

    ``counts``: (rows, symbols), not negative. ``prior``: pseudo-counts that broadcast to it; zero
    for a symbol outside the row's alphabet, which then gets the smallest frequency, 1. A row that
    has neither counts nor prior becomes flat.
    """
    weights = np.asarray(counts, np.float64) + np.asarray(prior, np.float64)
    if weights.ndim != 2 or not weights.shape[1] or not np.isfinite(weights).all():
        raise ValueError("counts must be finite, (rows, symbols)")
    if (weights < 0).any():
        raise ValueError("counts and prior must not be negative")
    weights = np.where(weights.sum(1, keepdims=True) > 0, weights, 1.0)
    spare = TOTAL - weights.shape[1]
    table = 1 + np.floor(weights / weights.sum(1, keepdims=True) * spare).astype(np.int64)
    # Rounding leaves at most a few units a row; the likeliest symbol takes (or gives) them.
    rows = np.arange(len(table))
    table[rows, weights.argmax(1)] += TOTAL - table.sum(1)
    return table.astype(np.uint32)


def table_shapes(
    contexts: Mapping[str, np.ndarray], shape: int, voice: tuple[int, int]
) -> dict[str, tuple[int, int]]:
    """(contexts, symbols) of each table, by short name, that these context arrays ask for."""
    classes = contexts["context.semantic_class"].astype(np.int64)
    count = int(classes.max()) + 1
    acoustic = contexts["context.acoustic_class"]
    shapes = {
        "motion": (MOTION_ROWS, SIGNED),
        "motion_first": (24, SIGNED),
        "shape": (shape, SIGNED),
        "voice": voice,
        "semantic_same": ((count + 1) * 2, 2),
        "semantic_class": ((count + 1) ** 2, count),
        # Two columns at least, even if all classes have one member: the coder wants a choice.
        "semantic_token": (count * (count + 1), max(2, int(np.bincount(classes).max()))),
    }
    for layer in range(len(acoustic)):
        shapes[f"acoustic_{layer}"] = (count * (_classes(acoustic) + 1), 256)
    return shapes


def _classes(acoustic: np.ndarray) -> int:
    return int(acoustic.max(initial=0)) + 1


def _members(classes: np.ndarray, ranks: np.ndarray) -> list[list[int]]:
    found: list[list[int]] = [[] for _ in range(int(classes.max()) + 1)]
    for token in np.lexsort((ranks, classes)).tolist():
        found[int(classes[token])].append(token)
    return found


def _require(ok: bool, what: str) -> None:
    if not ok:
        raise ModelError(f"The codebook is not usable: {what}.")


def _check(book: Codebook) -> None:
    """``ModelError`` unless every array that the traversal uses is what it relies on."""
    arrays = book.arrays
    for name, kind, ndim in (
        ("context.motion_first", np.uint8, 2),
        ("context.motion_start", np.int32, 2),
        ("context.semantic_class", np.uint8, 1),
        ("context.semantic_rank", np.uint16, 1),
        ("context.acoustic_class", np.uint8, 2),
    ):
        _require(name in arrays, f"it has no {name}")
        _require(arrays[name].dtype == kind, f"{name} is not {np.dtype(kind).name}")
        _require(arrays[name].ndim == ndim, f"{name} does not have {ndim} dimensions")
    for name in ("shape", "voice"):
        _require(f"table.{name}" in arrays, f"it has no table.{name}")
        _require(arrays[f"table.{name}"].ndim == 2, f"table.{name} does not have 2 dimensions")
    first, start = arrays["context.motion_first"], arrays["context.motion_start"]
    _require(first.shape == start.shape and first.size > 0, "the motion contexts differ in shape")
    _require(int(first.max()) < 24, "a row of table.motion_first does not exist")
    _require(int(start.min()) >= 0 and int(start.max()) < 1 << 20, "a start state is out of range")
    classes, ranks = arrays["context.semantic_class"], arrays["context.semantic_rank"]
    _require(classes.shape == ranks.shape and len(classes) > 1, "the token contexts differ in size")
    for tokens in _members(classes, ranks):
        expected = list(range(len(tokens)))
        _require(len(tokens) > 0 and ranks[tokens].tolist() == expected, "a class has gaps")
    silence = int(classes[-1])
    alone = silence == int(classes.max()) and int((classes == silence).sum()) == 1
    _require(alone, "silence is not alone in the last class")
    acoustic = arrays["context.acoustic_class"]
    _require(acoustic.shape[1:] == (256,), "context.acoustic_class is not (layers, 256)")
    _require(len(acoustic) <= LAYERS_MOST, "it has too many acoustic layers")
    shape, voice = arrays["table.shape"], arrays["table.voice"]
    wanted = table_shapes(arrays, shape.shape[0], (voice.shape[0], voice.shape[1]))
    for name, size in wanted.items():
        _require(f"table.{name}" in arrays, f"it has no table.{name}")
        _require(arrays[f"table.{name}"].shape == size, f"table.{name} is not {size}")
    for name, table in book.tables.items():
        _require(table.dtype == np.uint32 and table.ndim == 2, f"table.{name} is not uint32 (n, m)")
        _require(table.shape[1] > 1, f"table.{name} has fewer than two symbols")
        _require(bool((table > 0).all()), f"table.{name} has a frequency of zero")
        sums = table.sum(1, dtype=np.uint64)
        _require(bool((sums == TOTAL).all()), f"a row of table.{name} does not sum to 2^24")
    if "prior.motion.lookup" in arrays:
        places = MotionLayout(book.directions, book.steps).size
        priors.check(arrays, "motion", places, book.directions, SIGNED)
    if "prior.acoustic.lookup" in arrays:
        priors.check(arrays, "acoustic", AcousticLayout(book.layers).size, book.layers, 256)
