"""What the traversal of ``context.py`` asks for, and who answers: coders, readers, counters.

A traversal is a generator. It yields what is to be coded next and goes on with what comes back, so
that it can wait: many segments are read side by side, each waiting until a prior has foretold a
symbol of all of them (``together.py``).
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np

from avcc.entropy.prior import Prior

_Found = TypeVar("_Found")

Row = tuple[str, int, int | None]  # code the symbol by this row of ``table.<name>``; decoders: None


@dataclass(frozen=True, slots=True)
class Ask:
    """Code ``symbol`` by what ``prior`` makes of a row of the slot's table and of ``state``,
    float64 (H,), which is never written to again."""

    prior: Prior
    slot: int
    state: np.ndarray
    row: int
    symbol: int | None


# A string is the kind of what comes next: "motion", "audio", "pitch", "lips" or "identity". What
# comes back is the symbol; of a kind, nothing.
Walk = Generator[Row | Ask | str, Any, _Found]


class Coder(Protocol):
    """Answers the requests of a traversal."""

    kind: str  # what the next symbols belong to

    def code(self, table: str, row: int, symbol: int | None) -> int:
        """A ``Row``. The tables ``bit``, two symbols of frequency 2^23, and ``glide``
        are built in."""

    def foretold(self, ask: Ask) -> int:
        """The same by a prior."""


def walked(coder: Coder, walk: Walk[_Found]) -> _Found:
    """What a traversal finds with this coder."""
    answer = None
    while True:
        try:
            ask = next_ask(coder, walk, answer)
        except StopIteration as stop:
            found: _Found = stop.value
            return found
        answer = coder.foretold(ask)


def next_ask(coder: Coder, walk: Walk[_Found], answer: int | None) -> Ask:
    """What a traversal asks a prior next, after an answer to what it asked last; all else that it
    wants the coder gives. ``StopIteration`` with what was found where it ends."""
    code = coder.code
    while True:
        request = walk.send(answer)
        if type(request) is tuple:
            answer = code(*request)
        elif isinstance(request, Ask):
            return request
        else:
            assert isinstance(request, str)
            coder.kind, answer = request, None
