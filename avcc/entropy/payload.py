"""One payload to bytes and back: the range coder.

The only file that imports constriction. ``Encoder`` and ``Decoder`` offer the two primitives to the
traversal of ``context.py``, as ``Cost`` and ``Counter`` of ``count.py`` do.

constriction's ``Categorical(weights, perfect=False)`` gives symbol i the frequency
1 + floor(scale * weights[i] + carry) with scale = (2^24 - n) / sum(weights). With the weights
``w - 1`` of a row w that sums to 2^24 that scale is exactly 1.0 and every product and sum is an
integer below 2^53, so the frequencies are the row itself, to the unit, on every machine.
``tests/test_entropy_coder.py`` reads all of them back.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import constriction
import numpy as np

from avcc.entropy.count import Rows
from avcc.entropy.foretold import Foretold
from avcc.entropy.primitive import Ask
from avcc.entropy.tables import Codebook
from avcc.errors import FormatError

WORD = 1 << 32  # constriction's range coder shifts out words of 32 bits


def _model(row: np.ndarray) -> Any:
    """constriction's model of one table row, with exactly the row's frequencies."""
    weights = row.astype(np.float64) - 1.0
    return constriction.stream.model.Categorical(weights, perfect=False)


# Models cost a microsecond and some kilobytes each, so each codebook keeps its own; a process
# rarely has more than one codebook.
@lru_cache(maxsize=4)
def _models(book: Codebook) -> Rows:
    return Rows(book, _model)


class Encoder:
    """Writes one payload; ``close`` gives its bytes."""

    def __init__(self, book: Codebook) -> None:
        self.kind = ""
        self._rows = _models(book)
        self._coder = constriction.stream.queue.RangeEncoder()
        self._foretold = Foretold()
        # Symbols with their models, or the number of what is still to be foretold: see ``_settled``
        self._due: list[tuple[int, Any]] = []

    def code(self, table: str, row: int, symbol: int | None) -> int:
        """Write ``symbol`` and return it; ``FormatError`` if the row has no such symbol."""
        if symbol is None:
            raise ValueError("an encoder needs a symbol")
        try:
            model = self._rows[table, row]
            if self._due:
                self._due.append((symbol, model))
            else:
                self._coder.encode(symbol, model)
        except (KeyError, IndexError, TypeError) as error:
            raise FormatError(f"Symbol {symbol} is not in row {row} of {table}.") from error
        return symbol

    def foretold(self, ask: Ask) -> int:
        """The same of what a prior foretells; it waits for others, and is written by ``close``."""
        if ask.symbol is None:
            raise ValueError("an encoder needs a symbol")
        self._due.append((ask.symbol, self._foretold.add(ask)))
        return ask.symbol

    def again(self, symbol: int, model: Any) -> None:
        """Write a symbol by a model of constriction's."""
        self._coder.encode(symbol, model)

    def _settled(self) -> None:
        """Write what is due."""
        due, self._due = self._due, []
        rows = self._foretold.taken()
        try:
            for symbol, model in due:
                known = _model(rows[model]) if isinstance(model, int) else model
                self._coder.encode(symbol, known)
        except (KeyError, IndexError, TypeError) as error:
            raise FormatError(f"Symbol {symbol} is not in its alphabet.") from error

    def close(self) -> bytes:
        """The payload: as many bytes as always tell an interval of the final size from the others.

        constriction would round up to whole words; a decoder that pads with zeros needs less,
        which saves 13 bits a segment. Stripping zero bytes that come out by luck would save one
        more, but then the length would say nothing; so it follows from the symbols alone, and a
        decoder can check it.
        """
        self._settled()
        count, (low, size) = self._coder.pos()
        words = self._coder.get_compressed()
        if not len(words):
            return b""
        # The last word that constriction seals with is the top of low + 2^32 - 1, carry included,
        # so the exact start of the interval follows from the words and the low bits of ``low``.
        sealed = int.from_bytes(words[: count + 1].astype(">u4").tobytes(), "big") * WORD
        start = sealed - (-low) % WORD  # of 32 * (count + 2) binary digits
        spare = (size.bit_length() - 1) // 8  # bytes of ``start`` that needn't be sent
        value = -(-start >> 8 * spare)
        return value.to_bytes(4 * (count + 2) - spare, "big")


class Decoder:
    """Reads one payload; bytes that are missing at its end read as zeros."""

    def __init__(self, book: Codebook, payload: bytes) -> None:
        self.kind = ""
        self._payload = payload
        self._rows = _models(book)
        words = np.frombuffer(payload + bytes(-len(payload) % 4), ">u4").astype(np.uint32)
        self._coder = constriction.stream.queue.RangeDecoder(words)
        # Everything that is read is written again: see ``close``.
        self._again = Encoder(book)
        self._write = self._again.again

    def code(self, table: str, row: int, symbol: int | None = None) -> int:
        """Read one symbol; ``FormatError`` if the bytes lie in no symbol's interval."""
        return self._read(self._rows[table, row])

    def foretold(self, ask: Ask) -> int:
        """The same by what a prior foretells."""
        return self.read(ask.prior.frequencies(ask.state, ask.slot, ask.row))

    def read(self, frequencies: np.ndarray) -> int:
        """Read a symbol of such frequencies, int64 (A,)."""
        return self._read(_model(frequencies))

    def _read(self, model: Any) -> int:
        try:
            found: int = self._coder.decode(model)
        except (AssertionError, ValueError, RuntimeError) as error:
            raise FormatError("The coded bytes make no sense.") from error
        self._write(found, model)
        return found

    def close(self) -> None:
        """``FormatError`` unless the symbols read so far are the payload, all of it, to the byte.

        A range decoder turns any bytes into symbols. There is one payload for each message, whose
        length follows from the message, so what was read must give the same bytes when it is
        written again. Most damage that gets past the CRC fails this.
        """
        if self._again.close() != self._payload:
            raise FormatError("The coded bytes go on after their last symbol, or end before it.")
