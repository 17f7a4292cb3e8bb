"""Codebooks: what is accepted, what is refused, and tables from counts."""

from __future__ import annotations

import hashlib
from pathlib import Path

import books
import numpy as np
import pytest

from avcc.entropy.coder import Counter
from avcc.entropy.context import segment
from avcc.entropy.tables import TOTAL, Codebook, dump, frequencies
from avcc.errors import ModelError


def test_frequencies_sum_exactly() -> None:
    rng = np.random.default_rng(0)
    for n in (2, 3, 62, 256, 4096):
        counts = rng.gamma(0.05, 1000, (20, n))
        counts[3] = 0
        table = frequencies(counts, rng.random((20, n)) < 0.5)
        assert table.dtype == np.uint32 and table.min() >= 1
        assert (table.sum(1, dtype=np.int64) == TOTAL).all()


def test_frequencies_keep_what_lies_outside_the_alphabet_smallest() -> None:
    prior = np.array([[1.0, 1.0, 0.0]])
    table = frequencies(np.array([[3.0, 0.0, 0.0]]), prior)
    assert table[0, 2] == 1 and table[0, 0] > table[0, 1] > TOTAL // 6
    assert frequencies(np.zeros((1, 4)), 0.0).tolist() == [[TOTAL // 4] * 4]


@pytest.mark.parametrize("counts", [np.array([[-1.0, 2]]), np.array([[np.nan, 1]]), np.ones(3)])
def test_frequencies_refuse_nonsense(counts: np.ndarray) -> None:
    with pytest.raises(ValueError):
        frequencies(counts, 0.0)


def test_id_is_the_hash_of_the_file(tmp_path: Path) -> None:
    book = books.book()
    data = dump(book.arrays)
    path = tmp_path / "book.safetensors"
    path.write_bytes(data)
    loaded = Codebook.load(path)
    assert loaded.id == book.id == hashlib.sha256(data).digest()[:4]
    assert set(loaded.arrays) == set(book.arrays)
    assert loaded.members == book.members


def test_missing_or_damaged_files(tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        Codebook.load(tmp_path / "none")
    data = dump(books.book().arrays)
    for cut in (b"", data[:7], data[:100], data[:-1], b"\xff" * 100, b"\x02" + bytes(7) + b"{}"):
        path = tmp_path / "cut"
        path.write_bytes(cut)
        with pytest.raises(ModelError):
            Codebook.load(path)


def _changed(name: str, value: np.ndarray | None) -> dict[str, np.ndarray]:
    arrays = dict(books.book().arrays)
    if value is None:
        del arrays[name]
    else:
        arrays[name] = value
    return arrays


def test_every_needed_array_is_needed() -> None:
    for name in books.book().arrays:
        with pytest.raises(ModelError):
            Codebook.from_arrays(_changed(name, None))
        array = books.book().arrays[name]
        with pytest.raises(ModelError):
            Codebook.from_arrays(_changed(name, array.astype(np.float32)))
        with pytest.raises(ModelError):
            Codebook.from_arrays(_changed(name, array[..., None]))


def test_rows_must_sum_and_hold_no_zero() -> None:
    table = books.book().table("motion").copy()
    table[4, 5] += 1
    with pytest.raises(ModelError, match="sum"):
        Codebook.from_arrays(_changed("table.motion", table))
    table = books.book().table("motion").copy()
    table[4, 5] += table[4, 6]
    table[4, 6] = 0
    with pytest.raises(ModelError, match="zero"):
        Codebook.from_arrays(_changed("table.motion", table))


def test_contexts_must_make_sense() -> None:
    contexts = books.contexts()
    classes = contexts["context.semantic_class"].copy()
    classes[0] = classes[-1]  # silence is no longer alone
    first = contexts["context.motion_first"].copy()
    first[0, 0] = 24
    ranks = contexts["context.semantic_rank"].copy()
    ranks[0] = 3
    for name, value in (
        ("context.semantic_class", classes),
        ("context.motion_first", first),
        ("context.semantic_rank", ranks),
        ("context.motion_start", contexts["context.motion_start"] - 100),
        ("context.acoustic_class", contexts["context.acoustic_class"][:, :200]),
    ):
        with pytest.raises(ModelError):
            Codebook.from_arrays(_changed(name, value))


def test_training_tables_from_counts() -> None:
    blank = Codebook.blank(books.contexts(), books.SHAPE, (books.VOICE, books.LEVELS))
    clip = books.symbols(5, frames=400)
    counter = Counter(blank)
    for seg in clip.segments:
        assert seg is not None
        segment(counter, blank, clip.head.point, seg.frames, seg)
    counts = counter.counts
    arrays = dict(books.contexts())
    for name, table in blank.tables.items():
        assert counts[name].shape == table.shape
        arrays[f"table.{name}"] = frequencies(counts[name], 0.1)
    trained = Codebook.from_arrays(arrays)
    assert counts["semantic_same"].sum() == 400 - 4
    assert counts["motion"].sum() == (200 - 4) * books.DIRECTIONS
    assert trained.id != blank.id
